"""The gates: each judgement alone, and as the executor asks them on the kinematic cell."""

from __future__ import annotations

import numpy as np
import pytest
from support.executor_runs import GOAL, in_phase, started
from support.kinematic_cell import STEP_S, Cell, sawyer

from s3k_ros.grasp.codes import GraspCode, Phase
from s3k_ros.grasp.monitors import ContactMonitor
from s3k_ros.grasp.ports import JointReading, RobotReading, WrenchReading
from s3k_ros.grasp.safety import SafetyMonitor, refused_by
from s3k_ros.grasp.tasks.events import Fault
from s3k_ros.params.grasp import GraspParameters, RobotParameters

HOME = np.array(RobotParameters().home_rad)
MOVING = [Phase.APPROACH, Phase.ALIGN, Phase.LIFT]
STOP_S = 0.1


def monitor(**grasp) -> SafetyMonitor:
    return SafetyMonitor(GraspParameters(**grasp), RobotParameters(speed_scale=0.5), sawyer())


def code(fault: Fault | None) -> GraspCode | None:
    return None if fault is None else fault.code


# -- the robot's own word ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ({}, None),
        ({"enabled": False}, GraspCode.ROBOT_DISABLED),
        ({"connected": False}, GraspCode.ROBOT_DISABLED),
        ({"stopped": True}, GraspCode.ROBOT_DISABLED),
        ({"error": True}, GraspCode.ROBOT_DISABLED),
        ({"collision": True}, GraspCode.ROBOT_COLLISION),
        # The cause before its effect: a collision may switch the motors off.
        ({"collision": True, "enabled": False, "stopped": True}, GraspCode.ROBOT_COLLISION),
    ],
)
def test_a_robot_that_may_not_move_says_so(says, expected):
    assert code(refused_by(RobotReading(1.0, reason="because", **says))) == expected
    assert code(monitor().robot(RobotReading(1.0, **says), 1.1)) == expected


def test_a_reason_reaches_the_message():
    fault = refused_by(RobotReading(1.0, enabled=False, reason="cuff pressed"))
    assert fault is not None and "cuff pressed" in fault.message


def test_a_silent_robot_state_fails_but_its_age_is_that_of_the_message():
    safety = monitor(robot_state_max_age_s=0.5)
    assert code(safety.robot(None, 1.0)) == GraspCode.ROBOT_DISABLED
    assert safety.robot(RobotReading(1.0), 1.49) is None
    assert code(safety.robot(RobotReading(1.0), 1.51)) == GraspCode.ROBOT_DISABLED


# -- wrench --------------------------------------------------------------------------------------


def wrenches(count: int, noise: float, begin: float = 0.0) -> tuple[WrenchReading, ...]:
    rng = np.random.default_rng(0)
    return tuple(
        WrenchReading(np.array([0.0, 0.0, 9.0]) + noise * rng.normal(size=3), begin + 0.01 * i)
        for i in range(count)
    )


def test_a_living_wrench_passes_and_a_silent_one_does_not():
    safety = monitor(wrench_max_age_s=0.3)
    assert safety.wrench(wrenches(40, 0.5), 0.4) is None
    assert code(safety.wrench(wrenches(40, 0.5), 0.7)) == GraspCode.NO_WRENCH
    assert code(monitor().wrench((), 0.0)) == GraspCode.NO_WRENCH
    assert monitor(require_wrench=False).wrench((), 0.0) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_wrench_that_is_not_finite_is_enough(bad):
    readings = (*wrenches(5, 0.5), WrenchReading(np.array([0.0, bad, 0.0]), 0.05))
    more = (*readings, *wrenches(3, 0.5, 0.06))
    assert code(monitor().wrench(more, 0.09)) == GraspCode.NO_WRENCH


def test_a_wrench_that_repeats_itself_is_silent_and_noise_of_a_digit_is_not():
    for noise, expected in ((0.0, GraspCode.NO_WRENCH), (0.01, None)):
        safety, found = monitor(wrench_stuck_s=0.3), None
        readings = wrenches(100, noise)
        for i in range(1, 100):
            found = found or safety.wrench(readings[max(0, i - 40) : i], 0.01 * i)
        assert code(found) == expected
    # Few equal readings of a slow sensor are no proof.
    safety = monitor(wrench_stuck_s=0.3)
    slow = tuple(WrenchReading(np.ones(3), 0.2 * i) for i in range(10))
    assert all(safety.wrench(slow[:i], 0.2 * i) is None for i in range(1, 10))


def test_a_spike_while_taring_is_no_contact_afterwards():
    quiet = wrenches(25, 0.5)
    hit = tuple(
        WrenchReading(r.force + (300.0 if 5 <= i < 15 else 0.0), r.received_at)
        for i, r in enumerate(quiet)
    )
    contact = ContactMonitor()
    contact.tare(hit, 0.25)
    assert contact.change(wrenches(3, 0.5, 0.3)) < 5.0


# -- time ----------------------------------------------------------------------------------------


def test_a_clock_that_jumps_is_noticed_once():
    safety = monitor(clock_jump_s=1.0)
    assert [code(safety.clock(t)) for t in (5.0, 5.1, 5.1, 6.0)] == [None] * 4
    back = safety.clock(3.0)
    assert code(back) == GraspCode.WATCHDOG and "went back by 3.00 s" in back.message
    assert safety.clock(3.1) is None
    leap = safety.clock(10.0)
    assert code(leap) == GraspCode.WATCHDOG and "leapt by 6.90 s" in leap.message
    safety.reset()
    assert safety.clock(0.0) is None


# -- motion --------------------------------------------------------------------------------------


def fly(safety: SafetyMonitor, positions, stamped: bool = True) -> GraspCode | None:
    for i, joints in enumerate(positions):
        time = 1.0 + 0.01 * i
        found = safety.motion(JointReading(joints, None, time, time if stamped else None))
        if found is not None:
            return found.code
    return None


def turning(joint: int, speed: float, count: int = 60):
    step = np.zeros(7)
    step[joint] = 0.01 * speed
    return [HOME + i * step for i in range(count)]


def test_joints_and_hand_keep_their_measured_speeds():
    # right_j6: 4.545 rad/s, half of it by speed_scale, a quarter more by the margin: 2.84.
    assert fly(monitor(), turning(6, 2.7)) is None
    assert fly(monitor(), turning(6, 3.0)) == GraspCode.TOO_FAST
    assert fly(monitor(hand_speed_limit_m_s=0.2), turning(0, 0.3)) is None
    assert fly(monitor(hand_speed_limit_m_s=0.2), turning(0, 0.6)) == GraspCode.TOO_FAST


def test_messages_in_bunches_are_no_speed():
    moving = [JointReading(q, None, 1.0 + 0.1 * (i // 10), None)
              for i, q in enumerate(turning(6, 2.0, 100))]  # fmt: skip
    safety = monitor()
    assert not any(safety.motion(reading) for reading in moving)
    stamped = [
        JointReading(r.positions, None, r.received_at, 0.01 * i) for i, r in enumerate(moving)
    ]
    safety = monitor()
    assert not any(safety.motion(reading) for reading in stamped)


def test_the_hand_may_not_leave_the_box_but_may_come_in():
    safety = monitor(workspace_low_m=(-2.0, 0.05, -2.0), workspace_high_m=(2.0, 2.0, 2.0))
    out = turning(0, -0.4, 200)  # towards negative y
    assert fly(safety, out) == GraspCode.OUTSIDE_WORKSPACE
    safety.reset()
    back = out[::-1][:100]
    assert fly(safety, back) is None
    assert fly(safety, out[100:]) == GraspCode.OUTSIDE_WORKSPACE  # it was further in meanwhile


# -- as the executor asks ------------------------------------------------------------------------


def spoil(cell: Cell, what: str) -> GraspCode:
    if what == "disabled":
        cell.state.say(enabled=False, reason="cuff")
    elif what == "stopped":
        cell.state.say(stopped=True, enabled=False)
    elif what == "collision":
        cell.state.say(collision=True)
    elif what == "contact":
        cell.wrench.force = np.array([0.0, 0.0, 300.0])
    elif what == "nan":
        cell.wrench.force = np.array([np.nan, 0.0, 9.0])
    elif what == "back":
        cell.time -= 20.0
    elif what == "leap":
        cell.time += 20.0
    return {
        "collision": GraspCode.ROBOT_COLLISION,
        "contact": GraspCode.CONTACT_FORCE,
        "nan": GraspCode.NO_WRENCH,
        "back": GraspCode.WATCHDOG,
        "leap": GraspCode.WATCHDOG,
    }.get(what, GraspCode.ROBOT_DISABLED)


@pytest.mark.parametrize("phase", MOVING)
@pytest.mark.parametrize(
    "what", ["disabled", "stopped", "collision", "contact", "nan", "back", "leap"]
)
def test_a_gate_stops_the_arm_at_the_message_and_the_next_goal_works(phase, what):
    cell = Cell()
    executor = started(cell)
    cell.run(until=in_phase(phase, 0.1))
    assert executor.guarded and cell.arm.motion is not None
    expected = spoil(cell, what)
    cell.step()
    executor.guard()  # what a node does when the message came
    assert cell.arm.motion is None
    outcome = cell.run()
    assert outcome.code == expected and outcome.phase == phase and "at rest" in outcome.message
    cell.state.say()
    cell.wrench.force = np.array([0.0, 0.0, 9.0])
    cell.wrench.readings.clear()
    cell.step()
    cell.keypoints.due = 0.0
    assert executor.start(GOAL) is None
    assert cell.run().code == GraspCode.SUCCESS


@pytest.mark.parametrize("what", ["wrench", "state"])
@pytest.mark.parametrize("phase", MOVING)
def test_silence_stops_the_arm(phase, what):
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(phase, 0.05))
    getattr(cell, what).alive = False
    began = cell.time
    outcome = cell.run()
    codes = {"wrench": GraspCode.NO_WRENCH, "state": GraspCode.ROBOT_DISABLED}
    assert outcome.code == codes[what] and outcome.phase == phase
    assert cell.time - began < 0.5 + 2 * STOP_S + 0.1


def test_a_wrench_that_freezes_stops_the_arm():
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(Phase.APPROACH, 0.1))
    cell.wrench.noisy = False
    outcome = cell.run()
    assert outcome.code == GraspCode.NO_WRENCH and "the same for" in outcome.message


@pytest.mark.parametrize(
    ("grasp", "expected"),
    [
        ({"hand_speed_limit_m_s": 0.05}, GraspCode.TOO_FAST),
        ({"workspace_margin_m": 0.0, "workspace_high_m": (0.62, 0.65, 0.7)}, None),
    ],
)
def test_the_measured_motion_is_judged(grasp, expected):
    cell = Cell()
    started(cell, **grasp)
    outcome = cell.run()
    assert outcome.code == (expected or GraspCode.SUCCESS)


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ({"enabled": False}, GraspCode.ROBOT_DISABLED),
        ({"collision": True}, GraspCode.ROBOT_COLLISION),
    ],
)
def test_a_robot_that_may_not_move_ends_a_goal_at_once(says, expected):
    cell = Cell()
    cell.state.say(**says)
    executor = started(cell)
    began = cell.time
    outcome = cell.run()
    assert outcome.code == expected and not cell.arm.sent and cell.time - began < 0.1
    assert not executor.busy


@pytest.mark.parametrize("what", ["wrench", "state"])
def test_what_is_silent_from_the_start_ends_before_anything_moves(what):
    cell = Cell()
    cell.state.reading = None
    getattr(cell, what).alive = False
    started(cell)
    outcome = cell.run()
    assert outcome.code in (GraspCode.NO_WRENCH, GraspCode.ROBOT_DISABLED)
    assert not cell.arm.sent


def test_the_robots_reason_takes_the_place_of_an_abort_without_one():
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(Phase.APPROACH, 0.1))
    cell.arm.report, cell.arm.motion = Fault(GraspCode.ARM_ABORTED, "no text"), None
    cell.run(until=lambda executor: executor.state.ending is not None)
    cell.state.say(collision=True)
    outcome = cell.run()
    assert outcome.code == GraspCode.ROBOT_COLLISION and "no text" in outcome.message


def test_a_clock_that_goes_back_while_the_arm_stops_does_not_hold_the_end():
    cell = Cell()
    executor = started(cell)
    cell.run(until=in_phase(Phase.APPROACH, 0.1))
    executor.end(GraspCode.CANCELED, "told to end")
    cell.step()
    cell.time -= 50.0
    outcome = cell.run(limit=3.0)
    assert outcome.code == GraspCode.CANCELED and "at rest" in outcome.message


def test_a_dry_run_asks_no_gate_of_a_robot_that_stands():
    cell = Cell()
    cell.state.say(enabled=False)
    cell.wrench.alive = False
    executor = cell.make_executor()
    assert executor.start(type(GOAL)(**{**vars(GOAL), "dry_run": True})) is None
    assert cell.run().code == GraspCode.SUCCESS and STEP_S < STOP_S
