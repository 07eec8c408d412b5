"""A whole task in the simulated cell, in one process: the fox is picked up here and lies there."""

from __future__ import annotations

import numpy as np
import pytest

from s3k_ros.grasp.codes import GraspCode, Holding
from s3k_ros.grasp.goal import GraspGoal, PlaceGoal

pytestmark = [pytest.mark.sim, pytest.mark.slow]

PAW = "right_front_paw"
SPOT = (0.55, -0.30)
# The toy swings and tips over as it is let go.
NEAR_M = 0.08


def test_the_fox_is_grasped_by_the_paw_and_lies_at_another_place():
    from s3k_ros.simulation.cell import TABLE_HEIGHT_M
    from s3k_ros.simulation.grasp_cell import GraspCell, Stage

    cell = GraspCell(Stage.build(), 4)
    executor = cell.make_executor()
    assert executor.start(GraspGoal(PAW, toward_keypoint="body")) is None
    held = cell.run()
    assert held is not None and held.holding == Holding.HOLDING, held
    assert np.linalg.norm(cell.truth()[PAW][:2] - SPOT) > 0.2
    assert (
        executor.start(PlaceGoal(position=(*SPOT, TABLE_HEIGHT_M + 0.05), until_contact=True))
        is None
    )
    placed = cell.run()
    assert placed is not None and placed.code == GraspCode.SUCCESS, placed
    assert "at the first contact" in placed.message and placed.holding == Holding.NOT_HOLDING
    cell.wait(1.0)
    first = cell.truth()
    cell.wait(0.3)
    fox = cell.truth()
    assert np.linalg.norm(fox[PAW][:2] - SPOT) < NEAR_M
    assert max(point[2] for point in fox.values()) < TABLE_HEIGHT_M + 0.15
    assert max(np.linalg.norm(fox[name] - first[name]) for name in fox) < 0.002
    assert cell.tcp()[2] > placed.grasp_pose.translation[2] + 0.09
    assert np.abs(cell.simulator.state.velocity).max() < 0.02
