"""A whole grasp on perfect kinematics and a made-up clock: devices that fail, ends from outside."""

from __future__ import annotations

import numpy as np
import pytest
from support.executor_runs import GOAL, PHASES, STANDSTILL_S, grasp, in_phase, started
from support.kinematic_cell import Cell

from s3k_ros.grasp.codes import GraspCode, Holding, Phase
from s3k_ros.grasp.tasks.events import JawsFinished

# -- devices -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "code"),
    [("arm", GraspCode.ARM_UNAVAILABLE), ("gripper", GraspCode.GRIPPER_UNAVAILABLE)],
)
def test_a_missing_controller_ends_before_anything_moves(device, code):
    cell = Cell()
    getattr(cell, device).there = False
    outcome = grasp(cell)
    assert outcome.code == code and not cell.arm.sent and not cell.gripper.orders


def test_missing_joint_states_end_before_anything_moves():
    cell = Cell()
    cell.joints.alive, cell.joints.reading = False, None
    outcome = grasp(cell)
    assert outcome.code == GraspCode.ROBOT_NOT_READY and not cell.arm.sent


@pytest.mark.parametrize("phase", [Phase.APPROACH, Phase.ALIGN, Phase.LIFT])
def test_joint_states_that_stop_end_the_motion(phase):
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(phase, 0.1))
    cell.joints.alive = False
    outcome = cell.run()
    assert outcome.code == GraspCode.ROBOT_NOT_READY and outcome.phase == phase
    assert "NOT CONFIRMED AT REST" in outcome.message and cell.arm.motion is None


@pytest.mark.parametrize("phase", [Phase.APPROACH, Phase.ALIGN, Phase.LIFT])
def test_an_arm_that_aborts_ends_the_grasp(phase):
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(phase, 0.05))
    cell.arm.fails_after = 0.1
    outcome = cell.run()
    assert outcome.code == GraspCode.ARM_ABORTED and "path tolerance" in outcome.message


@pytest.mark.parametrize("phase", [Phase.APPROACH, Phase.ALIGN, Phase.LIFT])
def test_an_arm_that_vanishes_ends_the_grasp(phase):
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(phase, 0.1))
    cell.arm.there = False
    outcome = cell.run()
    assert outcome.code == GraspCode.ARM_UNAVAILABLE and outcome.phase == phase


@pytest.mark.parametrize("phase", [Phase.APPROACH, Phase.ALIGN, Phase.LIFT])
def test_an_arm_that_does_not_arrive_meets_the_watchdog(phase):
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(phase, 0.1))
    cell.arm.frozen = True
    outcome = cell.run()
    assert outcome.code == GraspCode.WATCHDOG and outcome.phase == phase


def test_an_arm_that_does_not_stop_is_told_so():
    cell = Cell()
    executor = started(cell)
    cell.run(until=in_phase(Phase.APPROACH, 0.1))
    cell.arm.coasts = True
    executor.end(GraspCode.CANCELED, "canceled")
    cell.executor.grasp = type(executor.grasp)(stop_timeout_s=0.1)
    outcome = cell.run()
    assert outcome.code == GraspCode.CANCELED


def test_a_gripper_that_vanishes_while_it_closes_ends_the_grasp():
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(Phase.CLOSE))
    cell.gripper.there = False
    assert cell.run().code == GraspCode.GRIPPER_UNAVAILABLE


@pytest.mark.parametrize("phase", [Phase.OBSERVE, Phase.ALIGN])
def test_a_gripper_that_does_not_answer_has_failed(phase):
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(phase))
    cell.gripper.dead = True
    outcome = cell.run()
    assert outcome.code == GraspCode.GRIPPER_FAILED and not cell.arm.speed


def test_jaws_that_cannot_open_have_failed():
    cell = Cell()

    def jam(width: float, force: float) -> None:
        cell.gripper.report = JawsFinished(0.02, True)

    cell.gripper.width, cell.gripper.move = 0.02, jam
    outcome = grasp(cell)
    assert outcome.code == GraspCode.GRIPPER_FAILED and "20 mm only" in outcome.message


def test_jaws_that_close_on_nothing_have_missed():
    cell = Cell()
    cell.gripper.toy_width = 0.0
    outcome = grasp(cell)
    assert outcome.code == GraspCode.MISSED and outcome.phase == Phase.CLOSE
    assert outcome.holding == Holding.NOT_HOLDING and outcome.width < 0.001
    assert "gripper closed at 0 mm" in outcome.message


@pytest.mark.parametrize("phase", [Phase.LIFT, Phase.VERIFY])
def test_a_toy_that_slips_out_is_noticed(phase):
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(phase, 0.2))
    cell.gripper.toy_width = 0.0
    outcome = cell.run()
    assert outcome.code == GraspCode.SLIPPED and outcome.phase == phase
    assert outcome.holding == Holding.NOT_HOLDING


def test_jaws_that_creep_are_watched_until_they_close_or_rest():
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(Phase.VERIFY))
    began = cell.time

    def creep(executor):
        cell.gripper.width = cell.gripper.toy_width = max(0.03 - 0.01 * (cell.time - began), 0.0)
        return False

    outcome = cell.run(until=creep)
    assert outcome.code == GraspCode.SLIPPED and cell.time - began > 2.0

    cell.gripper.width = cell.gripper.toy_width = 0.03
    assert cell.executor.start(GOAL) is None
    cell.run(until=in_phase(Phase.VERIFY))
    cell.gripper.width = cell.gripper.toy_width = 0.026
    outcome = cell.run()
    assert outcome.code == GraspCode.SUCCESS and outcome.holding == Holding.HOLDING


def test_jaws_that_never_rest_leave_holding_unknown():
    cell = Cell()
    started(cell, max_verify_s=1.0)
    cell.run(until=in_phase(Phase.VERIFY))
    began = cell.time

    def creep(executor):
        cell.gripper.width = cell.gripper.toy_width = 0.03 - 0.005 * (cell.time - began)
        return False

    outcome = cell.run(until=creep)
    assert outcome.holding == Holding.UNKNOWN and "still closing" in outcome.message


@pytest.mark.parametrize("phase", [Phase.APPROACH, Phase.ALIGN, Phase.LIFT])
def test_a_contact_stops_the_arm(phase):
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(phase, 0.1))
    cell.wrench.force = np.array([0.0, 0.0, 80.0])
    time = cell.time
    outcome = cell.run(until=lambda executor: cell.arm.motion is None)
    assert outcome is None and cell.time - time < 0.15
    outcome = cell.run()
    assert outcome.code == GraspCode.CONTACT_FORCE and outcome.phase == phase


def test_the_turning_weight_of_the_hand_is_no_contact():
    cell = Cell()
    started(cell)
    cell.run(until=in_phase(Phase.APPROACH, 0.05))
    cell.wrench.force = np.array([0.0, 0.0, -15.0])
    assert cell.run().code == GraspCode.SUCCESS


def test_without_a_wrench_the_grasp_works_and_says_nothing_of_a_load():
    cell = Cell()
    cell.wrench.recent = tuple
    outcome = grasp(cell, min_load_n=0.5, require_wrench=False)
    assert outcome.code == GraspCode.SUCCESS and "load" not in outcome.message


def test_the_load_of_the_toy_is_measured():
    cell = Cell()
    started(cell, min_load_n=0.5)
    cell.run(until=in_phase(Phase.LIFT, 0.1))
    cell.wrench.force = np.array([0.0, 0.0, 11.5])
    outcome = cell.run()
    assert outcome.holding == Holding.HOLDING and "load 2.5 N" in outcome.message


# -- ending from outside -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "code", [GraspCode.CANCELED, GraspCode.PREEMPTED, GraspCode.EMERGENCY_STOP]
)
@pytest.mark.parametrize("phase", PHASES)
def test_an_end_in_any_phase_stands_still_and_the_next_goal_works(phase, code):
    cell = Cell()
    executor = started(cell)
    # Phases that wait for an answer end long before their deadline.
    cell.run(until=in_phase(phase, 0.0 if phase in (Phase.OBSERVE, Phase.CLOSE) else 0.1))
    asked = cell.time
    executor.end(code, "told to end")
    outcome = executor.state.outcome or cell.run()
    assert outcome.code == code and outcome.phase == phase
    assert cell.time - asked < STANDSTILL_S and cell.arm.speed == 0.0
    assert executor.start(GOAL) is None
    assert cell.run().code == GraspCode.SUCCESS


def test_an_end_while_planning_moves_nothing():
    cell = Cell()
    executor = started(cell)
    cell.planner.silent = True
    cell.run(until=lambda executor: executor.state.planning)
    executor.end(GraspCode.CANCELED, "told to end")
    assert executor.state.outcome.code == GraspCode.CANCELED
    cell.planner.silent = False
    cell.planner.submit(*cell.planner.requests[-1])
    executor.tick()
    assert not cell.arm.sent


def test_the_statement_of_the_gripper_is_true():
    cell = Cell()
    executor = started(cell)
    cell.run(until=in_phase(Phase.LIFT, 0.2))
    executor.end(GraspCode.CANCELED, "told to end")
    assert "gripper closed at 30 mm" in cell.run().message
    assert executor.start(GOAL) is None
    cell.run(until=in_phase(Phase.CLOSE))
    cell.run(until=lambda executor: cell.gripper.width < 0.06)
    executor.end(GraspCode.CANCELED, "told to end")
    assert "gripper stopped while closing at" in cell.run().message
