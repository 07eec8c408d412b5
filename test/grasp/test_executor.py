"""A whole grasp on perfect kinematics and a made-up clock: how it goes well and how it ends."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.executor_runs import GOAL, PAW, PHASES, grasp, in_phase, moved, started
from support.kinematic_cell import NAMES, Cell, sawyer

from s3k_ros.grasp.codes import GraspCode, Holding, KeypointStatus, Phase
from s3k_ros.grasp.goal import GraspGoal
from s3k_ros.grasp.ports import JointReading, WrenchReading
from s3k_ros.grasp.tasks.events import ArmFinished, Finish, Looked, Move, Outcome, Planned, Tick
from s3k_ros.grasp.tasks.state import GraspState

# -- the good case -----------------------------------------------------------------------------


def test_a_grasp_goes_through_all_phases_and_holds():
    cell = Cell()
    executor = started(cell)
    seen, fractions = [], []

    def watch(executor):
        if not seen or seen[-1] != executor.state.phase:
            seen.append(executor.state.phase)
        fractions.append(executor.fraction)
        return False

    outcome = cell.run(until=watch)
    assert seen == PHASES
    assert (np.diff(fractions) >= -1e-9).all() and executor.fraction == 1.0
    assert outcome.code == GraspCode.SUCCESS and outcome.holding == Holding.HOLDING
    assert outcome.width == pytest.approx(0.03) and "arm at rest, gripper closed" in outcome.message
    tcp = sawyer().forward(cell.arm.position).translation
    assert np.abs(tcp - PAW - [0, 0, 0.15]).max() < 1e-3
    assert np.abs(outcome.grasp_pose.translation - PAW).max() < 1e-9
    assert outcome.keypoint.name == "right_front_paw"


def test_the_jaws_open_to_the_goal_and_close_with_its_force():
    cell = Cell()
    grasp(cell, GraspGoal("right_front_paw", opening_width_m=0.06, grip_force_n=25.0))
    assert cell.gripper.orders == [(0.06, 25.0), (0.0, 25.0)]


def test_a_dry_run_shows_the_plan_and_moves_nothing():
    cell = Cell()
    cell.arm.there = cell.gripper.there = False  # it needs neither
    outcome = grasp(cell, GraspGoal("right_front_paw", dry_run=True))
    assert outcome.code == GraspCode.SUCCESS and "nothing moved" in outcome.message
    assert outcome.phase == Phase.OBSERVE and outcome.grasp_pose is not None
    assert len(cell.shown) == 1 and not cell.arm.sent and not cell.gripper.orders


def test_a_second_grasp_follows_the_first():
    cell = Cell()
    executor = started(cell)
    assert cell.run().code == GraspCode.SUCCESS
    assert executor.start(GOAL) is None
    assert cell.run().code == GraspCode.SUCCESS


def test_a_goal_meets_busy_while_another_runs():
    cell = Cell()
    executor = started(cell)
    cell.run(until=in_phase(Phase.ALIGN))
    refused = executor.start(GOAL)
    assert refused is not None and refused.code == GraspCode.BUSY
    assert cell.run().code == GraspCode.SUCCESS


def test_an_invalid_goal_does_not_start():
    executor = Cell().make_executor()
    refused = executor.start(GraspGoal("head", lift_height_m=float("nan")))
    assert refused is not None and refused.code == GraspCode.INVALID_GOAL and not executor.busy


# -- correcting while it moves -----------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.APPROACH, Phase.ALIGN])
def test_a_toy_that_moves_is_followed(phase):
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(phase, 0.15))
    cell.keypoints.positions["right_front_paw"] = moved([0.025, -0.02, 0.0])
    outcome = cell.run()
    assert outcome.code == GraspCode.SUCCESS
    tcp = sawyer().forward(cell.arm.position).translation
    assert np.abs(tcp - PAW - [0.025, -0.02, 0.15]).max() < 1e-3
    assert len(cell.shown) >= 2


@pytest.mark.parametrize("phase", [Phase.APPROACH, Phase.ALIGN])
def test_a_correction_causes_no_step_in_position_or_speed(phase):
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(phase, 0.15))
    cell.keypoints.positions["right_front_paw"] = moved([0.02, 0.02, 0.0])
    count = len(cell.arm.sent)
    cell.run(until=lambda executor: len(cell.arm.sent) > count)
    (old, old_start), (new, new_start) = cell.arm.sent[-2:]
    for time in np.arange(new_start, new_start + 0.14, 0.01):
        before, after = old.sample(time - old_start), new.sample(time - new_start)
        assert np.abs(before[0] - after[0]).max() < 1e-4
    assert np.abs(np.diff(new.velocities, axis=0)).max() < 0.15


def test_a_toy_that_jumps_during_align_is_approached_anew():
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(Phase.ALIGN, 0.2))
    cell.keypoints.positions["right_front_paw"] = moved([0.05, -0.15, 0.0])
    cell.run(until=in_phase(Phase.OBSERVE))
    outcome = cell.run()
    assert outcome.code == GraspCode.SUCCESS
    tcp = sawyer().forward(cell.arm.position).translation
    assert np.abs(tcp - PAW - [0.05, -0.15, 0.15]).max() < 1e-3


def test_noise_below_the_threshold_corrects_nothing():
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(Phase.APPROACH))
    cell.keypoints.positions["right_front_paw"] = moved([0.006, -0.005, 0.003])
    assert cell.run().code == GraspCode.SUCCESS and len(cell.shown) == 1


def test_a_plan_that_comes_too_late_is_made_again():
    cell = Cell()
    executor = started(cell)
    cell.run(until=in_phase(Phase.APPROACH, 0.1))
    cell.planner.silent = True
    cell.keypoints.positions["right_front_paw"] = moved([0.03, 0.0, 0.0])
    cell.run(until=lambda executor: executor.state.planning)
    late = executor._driver.request
    for _ in range(25):
        cell.step()
    cell.planner.silent = False
    cell.planner.submit(*cell.planner.requests[-1])
    executor.tick()
    assert executor._driver.request is not late and executor._driver.request.lead == 2 * late.lead
    assert cell.run().code == GraspCode.SUCCESS


def test_a_keypoint_that_never_rests_ends_as_lost():
    cell = Cell()
    started(cell, max_corrections=2)

    def shake(executor):
        wave = 0.04 * np.sign(np.sin(2 * np.pi * cell.time / 1.4))
        cell.keypoints.positions["right_front_paw"] = moved([wave, 0.0, 0.0])
        return False

    cell.run(until=in_phase(Phase.APPROACH))
    outcome = cell.run(until=shake)
    assert outcome.code == GraspCode.LOST and "keeps moving" in outcome.message


# -- perception --------------------------------------------------------------------------------


def no_sets(cell):
    cell.keypoints.alive = False


def old_sets(cell):
    for _ in range(20):
        cell.step()
    cell.keypoints.alive = False


def hide(status):
    def do(cell):
        cell.keypoints.hidden.add("right_front_paw")
        cell.keypoints.hidden_status = status

    return do


def hide_toward(cell):
    cell.keypoints.hidden.add("body")


def doubt(cell):
    cell.keypoints.confidence = 0.2


def blur(cell):
    cell.keypoints.sigma = 0.03


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (no_sets, GraspCode.NO_KEYPOINTS),
        (old_sets, GraspCode.STALE),
        (hide(KeypointStatus.TOO_FEW_VIEWS), GraspCode.NO_KEYPOINTS),
        (hide(KeypointStatus.LOW_CONFIDENCE), GraspCode.LOW_CONFIDENCE),
        (hide(KeypointStatus.INCONSISTENT), GraspCode.TOO_UNCERTAIN),
        (hide_toward, GraspCode.NO_KEYPOINTS),
        (doubt, GraspCode.LOW_CONFIDENCE),
        (blur, GraspCode.TOO_UNCERTAIN),
    ],
)
def test_bad_perception_ends_before_anything_moves(spoil, code):
    cell = Cell()
    cell.make_executor()
    spoil(cell)
    assert cell.executor.start(GOAL) is None
    if spoil is old_sets:
        # Old sets are there when the goal comes; the executor waits for new ones.
        cell.executor._seen = -1
    outcome = cell.run()
    assert outcome.code == code, outcome.message
    assert not cell.arm.sent and not cell.gripper.orders


def test_an_unknown_keypoint_ends_with_the_valid_names():
    outcome = grasp(Cell(), GraspGoal("left_ear"))
    assert outcome.code == GraspCode.UNKNOWN_KEYPOINT
    assert all(name in outcome.message for name in NAMES)


def test_names_that_come_late_are_checked_all_the_same():
    cell = Cell()
    cell.keypoints.names = ()
    cell.keypoints.alive = False
    started(cell, GraspGoal("left_ear"))
    cell.run(until=lambda executor: cell.time > 101.0)
    cell.keypoints.names = NAMES
    assert cell.run().code == GraspCode.UNKNOWN_KEYPOINT


@pytest.mark.parametrize("phase", [Phase.APPROACH, Phase.ALIGN])
@pytest.mark.parametrize("how", ["hidden", "silent"])
def test_a_keypoint_lost_while_the_arm_moves_ends_as_lost(phase, how):
    cell = Cell(speed_scale=0.25)
    started(cell)
    cell.run(until=in_phase(phase))
    if how == "hidden":
        cell.keypoints.hidden.add("right_front_paw")
    else:
        cell.keypoints.alive = False
    outcome = cell.run()
    assert outcome.code == GraspCode.LOST and outcome.phase == phase
    assert "arm at rest" in outcome.message and cell.arm.speed == 0.0


def test_a_predicted_keypoint_is_not_lost():
    cell = Cell()
    started(cell, lost_timeout_s=0.3)
    cell.run(until=in_phase(Phase.ALIGN))
    cell.keypoints.hidden.add("right_front_paw")
    cell.keypoints.hidden_status = KeypointStatus.PREDICTED
    assert cell.run().code == GraspCode.SUCCESS


def test_a_hidden_toward_keypoint_does_not_matter_once_the_arm_moves():
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(Phase.APPROACH))
    cell.keypoints.hidden.add("body")
    assert cell.run().code == GraspCode.SUCCESS


# -- planning ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "fields", "code"),
    [
        ((1.4, 0.0, -0.1), {}, GraspCode.OUTSIDE_WORKSPACE),
        ((0.95, 0.6, 0.34), {}, GraspCode.UNREACHABLE),
        ((0.7, 0.05, -0.13), {"approach": (1.0, 0.0, 0.0)}, GraspCode.IN_COLLISION),
    ],
)
def test_what_cannot_be_planned_ends_before_anything_moves(position, fields, code):
    cell = Cell()
    cell.keypoints.positions["right_front_paw"] = np.array(position)
    outcome = grasp(cell, GraspGoal("right_front_paw", **fields))
    assert outcome.code == code, outcome.message
    assert not cell.arm.sent and not cell.gripper.orders


def test_planning_that_never_ends_meets_the_watchdog():
    cell = Cell()
    started(cell)
    cell.planner.silent = True
    assert cell.run().code == GraspCode.WATCHDOG


# -- journal -----------------------------------------------------------------------------------


def test_the_journal_hears_goal_events_states_commands_and_inputs_in_order():
    cell = Cell()
    executor = started(cell)
    heard = []

    class Journal:
        def record(self, time, entry):
            heard.append((time, entry))

    executor._ports = dataclasses.replace(executor._ports, journal=Journal())
    executor.end(GraspCode.CANCELED, "anew")
    heard.clear()
    assert executor.start(GOAL) is None and isinstance(heard[0][1], GraspGoal)
    outcome = cell.run()
    kinds = [type(entry) for _, entry in heard]
    for kind in (Looked, Planned, ArmFinished, Tick, Move, Finish, JointReading, WrenchReading):
        assert kind in kinds
    last = [entry for _, entry in heard if isinstance(entry, GraspState)][-1]
    assert last.outcome is outcome
    wrenches = [entry.received_at for _, entry in heard if isinstance(entry, WrenchReading)]
    assert (np.diff(wrenches) > 0).all()
    assert executor.start(GraspGoal("head", lift_height_m=9.0)) is not None
    assert [type(entry) for _, entry in heard[-2:]] == [GraspGoal, Outcome]
