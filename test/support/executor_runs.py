"""Grasps of the executor on the kinematic cell, and how to stop in the middle of one."""

from __future__ import annotations

import numpy as np

from s3k_ros.grasp.codes import Phase
from s3k_ros.grasp.goal import GraspGoal
from support.kinematic_cell import TABLE_HEIGHT_M, Cell

GOAL = GraspGoal("right_front_paw", toward_keypoint="body")
PHASES = [Phase.OBSERVE, Phase.APPROACH, Phase.ALIGN, Phase.CLOSE, Phase.LIFT, Phase.VERIFY]
STANDSTILL_S = 0.3
PAW = np.array([0.60, 0.05, TABLE_HEIGHT_M + 0.03])


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


def started(cell: Cell, goal: GraspGoal = GOAL, **grasp):
    executor = cell.make_executor(**grasp)
    assert executor.start(goal) is None
    return executor


def grasp(cell: Cell, goal: GraspGoal = GOAL, **parameters):
    started(cell, goal, **parameters)
    return cell.run()
