"""Each fault in each phase of each task: at rest, the gripper stated, the next goal works."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
from support.executor_runs import (
    GOAL,
    PHASES,
    PLACE_AT,
    PLACE_PHASES,
    RELEASE,
    in_phase,
    tcp,
)
from support.kinematic_cell import Cell, sawyer

from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.codes import GraspCode, Holding, Phase
from s3k_ros.grasp.planning.ways_back import RetractGoal
from s3k_ros.grasp.tasks.events import Fault
from s3k_ros.grasp.tasks.state import Grip
from s3k_ros.params.grasp import GraspParameters, RobotParameters

TASKS = {
    "grasp": (GOAL, PHASES),
    "place": (PLACE_AT, PLACE_PHASES),
    "release": (RELEASE, [Phase.RELEASE, Phase.RETREAT]),
}
WHERE = [(task, phase) for task, (_, phases) in TASKS.items() for phase in phases]
MOVING = {
    Phase.APPROACH, Phase.ALIGN, Phase.LIFT, Phase.TRANSFER, Phase.LOWER, Phase.RETREAT
}  # fmt: skip
JAWS = {Phase.CLOSE, Phase.RELEASE}


ABOVE = sawyer().solve(
    Transform(np.diag([1.0, -1.0, -1.0]), [0.6, 0.05, -0.02]), RobotParameters().home_rad
)


def bump(cell):
    cell.wrench.force = cell.wrench.force + np.array([0.0, 0.0, 90.0])


def lose_joints(cell):
    cell.joints.alive = False


def abort_arm(cell):
    cell.arm.motion, cell.arm.report = None, Fault(GraspCode.ARM_ABORTED, "path tolerance")


def lose_arm(cell):
    cell.arm.there = False


def lose_gripper(cell):
    cell.gripper.there = False


def freeze_arm(cell):
    cell.arm.frozen = True


def break_clock(cell):
    cell.time += 5.0


def stop_robot(cell):
    cell.state.say(stopped=True)


def collide(cell):
    cell.state.say(collision=True)


def silence_wrench(cell):
    cell.wrench.alive = False


def break_planner(cell):
    def crash():
        raise RuntimeError("defect")

    cell.executor._driver.poll = lambda now, moving: crash()


def end_as(code):
    def do(cell):
        cell.executor.end(code, "told to end")

    return do


FAULTS = {
    "contact": (bump, GraspCode.CONTACT_FORCE, MOVING | JAWS | {Phase.VERIFY}),
    "no joint states": (lose_joints, GraspCode.ROBOT_NOT_READY, set(Phase) - {Phase.OBSERVE}),
    "arm aborts": (abort_arm, GraspCode.ARM_ABORTED, MOVING),
    "arm gone": (lose_arm, GraspCode.ARM_UNAVAILABLE, MOVING),
    "gripper gone": (lose_gripper, GraspCode.GRIPPER_UNAVAILABLE, JAWS),
    "arm stuck": (freeze_arm, GraspCode.WATCHDOG, MOVING),
    "clock leaps": (break_clock, GraspCode.WATCHDOG, set(Phase)),
    "robot stopped": (stop_robot, GraspCode.ROBOT_DISABLED, set(Phase)),
    "robot felt a collision": (collide, GraspCode.ROBOT_COLLISION, set(Phase)),
    "no wrench": (silence_wrench, GraspCode.NO_WRENCH, set(Phase) - {Phase.OBSERVE}),
    "cancel": (end_as(GraspCode.CANCELED), GraspCode.CANCELED, set(Phase)),
    "preempted": (end_as(GraspCode.PREEMPTED), GraspCode.PREEMPTED, set(Phase)),
    "emergency stop": (end_as(GraspCode.EMERGENCY_STOP), GraspCode.EMERGENCY_STOP, set(Phase)),
    "defect": (break_planner, GraspCode.INTERNAL, set(Phase)),
}
CASES = [
    (task, phase, name)
    for task, phase in WHERE
    for name, (_, _, phases) in FAULTS.items()
    if phase in phases
]
GRIPPER = ("gripper untouched", "gripper open", "gripper closed", "gripper stopped while")


class Remembered:
    """A planner that plans the same thing once: until its fault, every case is alike."""

    plans: ClassVar[dict] = {}

    def __init__(self, planner) -> None:
        self.planner = planner

    def plan(self, goal, target, start):
        seen = (goal, target and target.position.tobytes(), start.position.tobytes())
        if isinstance(goal, RetractGoal) or start.moving:
            return self.planner.plan(goal, target, start)
        if seen not in self.plans:
            self.plans[seen] = self.planner.plan(goal, target, start)
        return self.plans[seen]

    def correct(self, goal, target, start):
        return self.planner.correct(goal, target, start)


def ready(task: str) -> Cell:
    """A cell in which a task may begin: what is to be placed or released is held."""
    cell = Cell(speed_scale=1.0)
    cell.make_executor()
    cell.planner.planner = Remembered(cell.planner.planner)
    if task != "grasp":
        cell.executor.grip = Grip("close", Holding.HOLDING, 0.03, 0.085)
        cell.gripper.width, cell.gripper.orders = 0.03, [(0.0, 20.0)]
        cell.arm.position = ABOVE.copy()
        cell.keypoints.positions["right_front_paw"] += np.array([-0.03, -0.2, 0.0])
    return cell


def begun(task: str, phase: Phase) -> Cell:
    """A cell in the middle of a phase."""
    cell = ready(task)
    assert cell.executor.start(TASKS[task][0]) is None
    waits = phase in JAWS or phase == Phase.OBSERVE
    reached = in_phase(phase, 0.0 if waits else 0.15)
    cell.run(until=lambda e: reached(e) and (phase not in JAWS or e.state.jaws.busy))
    return cell


def repair(cell) -> None:
    cell.joints.alive = cell.arm.there = cell.gripper.there = cell.wrench.alive = True
    cell.arm.frozen = False
    cell.state.say()
    cell.wrench.force = np.array([0.0, 0.0, 9.0])
    cell.executor._driver.__dict__.pop("poll", None)
    for _ in range(30):
        cell.step()


@pytest.mark.parametrize(("task", "phase", "name"), CASES)
def test_every_exit_is_at_rest_with_the_gripper_stated_and_the_next_goal_works(task, phase, name):
    cell = begun(task, phase)
    spoil, code, _ = FAULTS[name]
    spoil(cell)
    outcome = cell.executor.state.outcome or cell.run()
    later = TASKS[task][1][TASKS[task][1].index(phase) :]  # silence takes a while to be noticed
    assert outcome.code == code, outcome.message
    assert outcome.phase in (later if name in ("no joint states", "no wrench") else [phase])
    cell.step()
    assert cell.arm.motion is None and cell.arm.speed == 0.0
    moved = cell.executor.state.moved
    if code == GraspCode.INTERNAL:
        assert "arm and gripper were told to stop" in outcome.message
    elif moved:
        assert any(text in outcome.message for text in GRIPPER), outcome.message
        resting = "NOT CONFIRMED AT REST" if name == "no joint states" else "; arm at rest"
        assert resting in outcome.message
    held = cell.arm.position.copy()
    repair(cell)
    assert np.array_equal(cell.arm.position, held) and cell.executor.tick() is None
    # A release serves whatever is left; other tests grasp again after an end in any phase.
    assert cell.executor.start(RELEASE) is None
    assert cell.run().code == GraspCode.SUCCESS


# -- after a contact ---------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "phase"), [w for w in WHERE if w[1] in MOVING | JAWS])
def test_a_contact_draws_the_hand_back_along_where_it_came_from(task, phase):
    cell = begun(task, phase)
    way = []
    bump(cell)
    cell.run(until=lambda executor: executor.state.ending is not None)
    stopped, sent = tcp(cell), len(cell.arm.sent)
    outcome = cell.run(until=lambda executor: way.append(tcp(cell)))
    back = np.linalg.norm(tcp(cell) - stopped)
    if "not drawn back" in outcome.message:  # it had not moved far enough to know a way
        assert phase in (Phase.RELEASE, Phase.RETREAT) and back < 0.005
        return
    assert "drawn back" in outcome.message and len(cell.arm.sent) == sent + 1
    assert 0.002 < back < GraspParameters().retract_distance_m + 0.002
    speeds = np.linalg.norm(np.diff(way, axis=0), axis=1) / 0.03
    assert speeds.max() < 2.0 * GraspParameters().retract_speed_m_s


def drawing_back(cell) -> None:
    bump(cell)
    cell.run(until=lambda executor: executor.state.ending is not None and executor.state.arm_busy)
    cell.run(until=lambda executor: cell.arm.speed > 0.01)


@pytest.mark.parametrize("name", ["cancel", "emergency stop", "robot stopped", "contact"])
def test_a_fault_while_the_hand_is_drawn_back_stops_it(name):
    cell = begun("grasp", Phase.ALIGN)
    drawing_back(cell)
    asked, where = cell.time, tcp(cell)
    FAULTS[name][0](cell)
    if name == "contact":  # more than what the first one pressed
        bump(cell)
        bump(cell)
    outcome = cell.run()
    assert outcome.code == GraspCode.CONTACT_FORCE and "not drawn back" in outcome.message
    assert cell.time - asked < 0.4 and np.linalg.norm(tcp(cell) - where) < 0.01
    assert "arm at rest" in outcome.message


def test_a_stop_before_the_hand_is_drawn_back_leaves_it():
    cell = begun("grasp", Phase.ALIGN)
    bump(cell)
    cell.run(until=lambda executor: executor.state.ending is not None)
    sent = len(cell.arm.sent)
    cell.executor.end(GraspCode.EMERGENCY_STOP, "emergency stop")
    outcome = cell.run()
    assert len(cell.arm.sent) == sent and "not drawn back: emergency stop" in outcome.message


def test_without_a_distance_the_hand_stays():
    cell = begun("grasp", Phase.ALIGN)
    cell.executor.grasp = dataclasses.replace(cell.executor.grasp, retract_distance_m=0.0)
    bump(cell)
    sent = len(cell.arm.sent)
    outcome = cell.run()
    assert outcome.code == GraspCode.CONTACT_FORCE and len(cell.arm.sent) == sent
