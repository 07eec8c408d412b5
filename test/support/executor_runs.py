"""Tasks of the executor on the kinematic cell, and how to stop in the middle of one."""

from __future__ import annotations

import numpy as np

from s3k_ros.grasp.codes import GraspCode, Phase
from s3k_ros.grasp.goal import GraspGoal, PlaceGoal, ReleaseGoal
from support.kinematic_cell import TABLE_HEIGHT_M, Cell

GOAL = GraspGoal("right_front_paw", toward_keypoint="body")
PHASES = [Phase.OBSERVE, Phase.APPROACH, Phase.ALIGN, Phase.CLOSE, Phase.LIFT, Phase.VERIFY]
PLACE_PHASES = [Phase.OBSERVE, Phase.TRANSFER, Phase.LOWER, Phase.RELEASE, Phase.RETREAT]
STANDSTILL_S = 0.3
PAW = np.array([0.60, 0.05, TABLE_HEIGHT_M + 0.03])
SPOT = (0.55, -0.25, TABLE_HEIGHT_M + 0.04)
PLACE = PlaceGoal(position=SPOT)
PLACE_AT = PlaceGoal("right_front_paw")
RELEASE = ReleaseGoal()


def moved(by: list[float]) -> np.ndarray:
    return PAW + np.array(by)


def in_phase(phase: Phase, share: float = 0.0):
    def reached(executor) -> bool:
        state = executor.state
        if state.phase != phase or state.planning:
            return False
        # Phases that wait for a motion are met in its middle.
        length = state.deadline - state.since
        return executor._ports.clock.now() - state.since >= share * length

    return reached


def started(cell: Cell, goal=GOAL, **grasp):
    executor = cell.make_executor(**grasp)
    assert executor.start(goal) is None
    return executor


def grasp(cell: Cell, goal: GraspGoal = GOAL, **parameters):
    started(cell, goal, **parameters)
    return cell.run()


def holding(cell: Cell, **parameters):
    """An executor after a grasp that holds."""
    assert grasp(cell, **parameters).code == GraspCode.SUCCESS
    return cell.executor


def task(cell: Cell, goal, **parameters):
    """The outcome of a task that follows a grasp that holds."""
    executor = holding(cell, **parameters)
    assert executor.start(goal) is None
    return cell.run()


def tcp(cell: Cell) -> np.ndarray:
    """(3,) m, where the hand is."""
    from support.kinematic_cell import sawyer

    return sawyer().forward(cell.arm.position).translation
