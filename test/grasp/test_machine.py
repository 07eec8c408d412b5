"""The transition function as a table: state and event in, state and commands out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.arm.trajectory import JointTrajectory, hold
from s3k_ros.grasp.codes import GraspCode, Holding, KeypointStatus, Phase
from s3k_ros.grasp.goal import GraspGoal, Refusal
from s3k_ros.grasp.planning.planner import GraspPlan, Target
from s3k_ros.grasp.tasks.events import (
    ArmFinished,
    Fault,
    Finish,
    JawsFinished,
    Looked,
    MakePlan,
    Move,
    MoveJaws,
    NotPlanned,
    Planned,
    ShowPlan,
    StopArm,
    StopJaws,
    Tare,
    Tick,
)
from s3k_ros.grasp.tasks.gates import KeypointReading
from s3k_ros.grasp.tasks.machine import transition
from s3k_ros.grasp.tasks.state import GraspState, Jaws, begin, progress
from s3k_ros.params.grasp import GraspParameters

PARAMS = GraspParameters()
NOW = 50.0
POINT = np.array([0.6, 0.0, -0.13])
GOAL = GraspGoal(
    "paw", approach=(0.0, 0.0, -1.0), approach_distance_m=0.12, lift_height_m=0.15,
    opening_width_m=0.085, grip_force_n=20.0, contact_force_limit_n=30.0, min_confidence=0.5,
)  # fmt: skip


def reading(position=POINT, status=KeypointStatus.OK, at=NOW):
    return KeypointReading("paw", status, position, np.eye(3) * 1e-5, 0.9, at)


def a_plan(position=POINT, approach=True) -> GraspPlan:
    still = hold(np.zeros(7), 1.0)
    joints, speed = np.outer([0.0, 1.0], np.ones(7)), np.full((2, 7), 0.25)
    align = JointTrajectory(np.array([0.0, 4.0]), joints, speed, np.zeros((2, 7)))
    pose = Transform(np.eye(3), position)
    above = Transform(np.eye(3), position + np.array([0.0, 0.0, GOAL.approach_distance_m]))
    target = Target(position, np.eye(3) * 1e-5)
    path = np.stack([above.translation, position])
    return GraspPlan(target, pose, above, pose, still if approach else None, align, still, path)


def seen(count=3, position=POINT):
    return tuple((NOW - 0.1 * i, Target(position, np.eye(3) * 1e-5)) for i in range(count))


def state(phase: Phase, **changes) -> GraspState:
    """A grasp in the middle of a phase, as the executor would have it there."""
    busy = phase in (Phase.APPROACH, Phase.ALIGN, Phase.LIFT)
    order = {Phase.OBSERVE: "", Phase.APPROACH: "open", Phase.ALIGN: "open"}.get(phase, "close")
    jaws = Jaws(order, busy=phase == Phase.CLOSE, stalled=True, width=0.03, grip_width=0.03)
    base = GraspState(
        GOAL, phase, NOW - 1.0, NOW + 1.0, readings=seen(), keypoint=reading(), last_good=NOW,
        plan=None if phase == Phase.OBSERVE else a_plan(), arm_busy=busy,
        moved=phase != Phase.OBSERVE, jaws=jaws if order else Jaws(), lifted_at=NOW - 1.0,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def kinds(commands) -> list[type]:
    return [type(command) for command in commands]


LATE = {"deadline": NOW - 0.1}
FAR = reading(POINT + np.array([0.03, 0.0, 0.0]))
JUMP = reading(POINT + np.array([0.3, 0.0, 0.0]))
MOVED = {"readings": seen(3, FAR.position)}
JUMPED = {"readings": seen(3, JUMP.position)}
FAULT = Fault(GraspCode.ROBOT_DISABLED, "off")
NO_WAY = NotPlanned(Refusal(GraspCode.UNREACHABLE, "too far"))
S, A, G, C, L, V = Phase.OBSERVE, Phase.APPROACH, Phase.ALIGN, Phase.CLOSE, Phase.LIFT, Phase.VERIFY
TABLE = [
    # state, changes, event -> phase, commands
    (S, {"readings": seen(2)}, Looked(reading()), S, []),
    (S, {}, Tick(), S, [MakePlan]),
    (S, {}, Tick(at_rest=False), S, []),
    (S, {"readings": seen(2)}, Tick(), S, []),
    (S, {"planning": True}, Planned(a_plan()), A, [ShowPlan, Tare, MoveJaws, Move]),
    (S, {}, Planned(a_plan()), S, []),
    (A, {}, ArmFinished(), G, [Tare, Move]),
    (A, {"jaws": Jaws("open", busy=True)}, ArmFinished(), A, []),
    (A, {"arm_busy": False, "jaws": Jaws("open", busy=True)}, JawsFinished(0.085, False), G,
     [Tare, Move]),
    (A, {"planning": True}, ArmFinished(), A, []),
    (A, MOVED, Looked(FAR), A, [MakePlan]),
    (A, MOVED | {"planning": True}, Looked(FAR), A, []),
    (A, {"planning": True}, Planned(a_plan()), A, [ShowPlan, Tare, Move]),
    (G, MOVED, Looked(FAR), G, [MakePlan]),
    (G, {"planning": True}, Planned(a_plan(approach=False)), G, [ShowPlan, Move]),
    (G, JUMPED, Looked(JUMP), S, [StopArm]),
    (G, {"planning": True}, NO_WAY, S, [StopArm]),
    (A, {}, NO_WAY, A, []),
    (G, {}, ArmFinished(), C, [Tare, MoveJaws]),
    (C, {}, JawsFinished(0.03, True), L, [Move]),
    (C, {}, Looked(FAR), C, []),
    (L, {}, ArmFinished(), V, []),
    (L, MOVED, Looked(FAR), L, []),
    (V, {}, Tick(width=0.03), V, []),
]  # fmt: skip


@pytest.mark.parametrize(("phase", "changes", "event", "after", "commands"), TABLE)
def test_step(phase, changes, event, after, commands):
    result, given = transition(state(phase, **changes), event, NOW, PARAMS)
    assert result.phase == after and kinds(given) == commands
    assert result.ending is None and result.outcome is None


ENDS = [
    # state, changes, event -> code, commands before the arm stands still
    (A, {}, FAULT, GraspCode.ROBOT_DISABLED, [StopArm]),
    (G, {}, FAULT, GraspCode.ROBOT_DISABLED, [StopArm]),
    (L, {}, FAULT, GraspCode.ROBOT_DISABLED, [StopArm]),
    (C, {}, FAULT, GraspCode.ROBOT_DISABLED, [StopJaws]),
    (V, {}, FAULT, GraspCode.ROBOT_DISABLED, []),
    (A, {"jaws": Jaws("open", busy=True)}, FAULT, GraspCode.ROBOT_DISABLED, [StopArm, StopJaws]),
    (A, {"planning": True}, NO_WAY, GraspCode.UNREACHABLE, [StopArm]),
    (A, {"last_good": NOW - 9.0}, Tick(), GraspCode.LOST, [StopArm]),
    (G, {"last_good": NOW - 9.0}, Tick(), GraspCode.LOST, [StopArm]),
    (A, MOVED | {"corrections": 99}, Looked(FAR), GraspCode.LOST, [StopArm]),
    (A, LATE, Tick(), GraspCode.WATCHDOG, [StopArm]),
    (G, LATE, Tick(), GraspCode.WATCHDOG, [StopArm]),
    (L, LATE, Tick(), GraspCode.WATCHDOG, [StopArm]),
    (C, LATE, Tick(), GraspCode.GRIPPER_FAILED, [StopJaws]),
    (A, LATE | {"arm_busy": False, "jaws": Jaws("open", busy=True)}, Tick(),
     GraspCode.GRIPPER_FAILED, [StopJaws]),
    (A, {"jaws": Jaws("open", busy=True)}, JawsFinished(0.02, True), GraspCode.GRIPPER_FAILED,
     [StopArm]),
    (C, {}, JawsFinished(0.001, False), GraspCode.MISSED, []),
    (L, {}, Tick(width=0.001), GraspCode.SLIPPED, [StopArm]),
    (V, {}, Tick(width=0.001), GraspCode.SLIPPED, []),
    (V, LATE, Tick(width=0.03), GraspCode.SUCCESS, []),
]  # fmt: skip


@pytest.mark.parametrize(("phase", "changes", "event", "code", "commands"), ENDS)
def test_an_end_stops_what_moves_and_waits_for_rest(phase, changes, event, code, commands):
    stopping, given = transition(state(phase, **changes), event, NOW, PARAMS)
    assert stopping.ending is not None and stopping.ending.code == code, stopping.ending
    assert kinds(given) == commands and stopping.outcome is None
    moving, none = transition(stopping, Tick(at_rest=False), NOW + 0.15, PARAMS)
    assert moving.outcome is None and not none
    done, last = transition(moving, Tick(at_rest=True), NOW + 0.2, PARAMS)
    assert kinds(last) == [Finish] and done.outcome is not None
    assert done.outcome.code == code and done.outcome.phase == phase
    assert "arm at rest, gripper" in done.outcome.message


OBSERVE_ENDS = [
    (LATE | {"readings": (), "keypoint": None}, Tick(), GraspCode.NO_KEYPOINTS),
    (LATE | {"readings": seen(1)}, Tick(), GraspCode.NO_KEYPOINTS),
    (LATE | {"readings": (), "keypoint": reading(at=NOW - 5)}, Tick(), GraspCode.STALE),
    (LATE, Tick(at_rest=False), GraspCode.ROBOT_NOT_READY),
    (LATE | {"planning": True}, Tick(), GraspCode.WATCHDOG),
    ({"planning": True}, NO_WAY, GraspCode.UNREACHABLE),
    ({}, Fault(GraspCode.CANCELED, "canceled"), GraspCode.CANCELED),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "event", "code"), OBSERVE_ENDS)
def test_an_end_before_anything_moved_is_immediate(changes, event, code):
    done, commands = transition(state(Phase.OBSERVE, **changes), event, NOW, PARAMS)
    assert kinds(commands) == [Finish] and done.outcome is not None
    assert done.outcome.code == code, done.outcome.message


@pytest.mark.parametrize("approach", [True, False])
@pytest.mark.parametrize("since", [2.2, 2.6])  # 54 and 42 mm before the grasp
def test_no_correction_where_the_hand_hides_the_keypoint(since, approach):
    near = state(Phase.ALIGN, since=NOW - since, plan=a_plan(approach=approach), **MOVED)
    after, commands = transition(near, Looked(FAR), NOW, PARAMS)
    assert kinds(commands) == ([MakePlan] if since < 2.4 else [])
    assert after.phase == Phase.ALIGN


def test_an_arm_that_does_not_come_to_rest_is_told_so():
    stopping, _ = transition(state(Phase.LIFT), FAULT, NOW, PARAMS)
    late = NOW + PARAMS.stop_timeout_s + 0.1
    done, _ = transition(stopping, Tick(at_rest=False), late, PARAMS)
    assert done.outcome is not None and "ARM NOT CONFIRMED AT REST" in done.outcome.message


def test_a_tick_right_after_the_stop_proves_no_rest():
    stopping, _ = transition(state(Phase.LIFT), FAULT, NOW, PARAMS)
    assert transition(stopping, Tick(at_rest=True), NOW + 0.05, PARAMS)[0].outcome is None


def test_the_first_reason_to_end_counts():
    stopping, _ = transition(state(Phase.LIFT), FAULT, NOW, PARAMS)
    again, commands = transition(stopping, Fault(GraspCode.CANCELED, "x"), NOW, PARAMS)
    assert again.ending is not None and again.ending.code == GraspCode.ROBOT_DISABLED
    assert not commands


def test_after_the_end_nothing_happens():
    done, _ = transition(state(Phase.OBSERVE), FAULT, NOW, PARAMS)
    for event in (Tick(), FAULT, Looked(reading()), Planned(a_plan()), ArmFinished()):
        assert transition(done, event, NOW + 1, PARAMS) == (done, ())


def test_a_dry_run_ends_with_the_plan():
    dry = state(Phase.OBSERVE, planning=True, goal=dataclasses.replace(GOAL, dry_run=True))
    done, commands = transition(dry, Planned(a_plan()), NOW, PARAMS)
    assert kinds(commands) == [ShowPlan, Finish] and not done.moved
    assert done.outcome is not None and done.outcome.code == GraspCode.SUCCESS


def test_the_jaws_are_ordered_with_the_goals_width_and_force():
    _, commands = transition(state(Phase.OBSERVE, planning=True), Planned(a_plan()), NOW, PARAMS)
    assert MoveJaws(0.085, 20.0) in commands
    _, commands = transition(state(Phase.ALIGN), ArmFinished(), NOW, PARAMS)
    assert MoveJaws(0.0, 20.0) in commands


def test_success_reports_holding_width_pose_and_keypoint():
    stopping, _ = transition(state(Phase.VERIFY, **LATE), Tick(width=0.029), NOW, PARAMS)
    done, _ = transition(stopping, Tick(width=0.029), NOW + 0.2, PARAMS)
    assert done.outcome is not None and done.outcome.holding == Holding.HOLDING
    assert done.outcome.width == 0.029 and done.outcome.keypoint is not None
    assert done.outcome.grasp_pose is not None


def test_progress_rises_from_phase_to_phase():
    values = [progress(state(phase), NOW) for phase in (S, A, G, C, L, V)]
    assert values == sorted(values) and values[0] > 0.0 and values[-1] <= 1.0
    assert progress(begin(GOAL, NOW, PARAMS), NOW) == 0.0
