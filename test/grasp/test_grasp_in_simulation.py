"""Whole grasps in the simulated cell, in one process: planner, state machine and real contact."""

from __future__ import annotations

import numpy as np
import pytest

from s3k_ros.grasp.codes import GraspCode, Holding
from s3k_ros.grasp.goal import GraspGoal

pytestmark = [pytest.mark.sim, pytest.mark.slow]

PAW = "right_front_paw"
STANDSTILL_S = 0.3


@pytest.fixture(scope="module")
def stage():
    from s3k_ros.simulation.grasp_cell import Stage

    return Stage.build()


def make_cell(stage, seed: int):
    from s3k_ros.simulation.grasp_cell import GraspCell

    cell = GraspCell(stage, seed)
    executor = cell.make_executor()
    assert executor.start(GraspGoal(PAW, toward_keypoint="body")) is None
    return cell


def test_most_foxes_are_held_and_the_verdict_is_true(stage):
    held = []
    for seed in (1, 4, 5):
        cell = make_cell(stage, seed)
        before = cell.truth()[PAW]
        outcome = cell.run()
        assert outcome is not None
        cell.wait(0.3)
        risen = cell.truth()[PAW][2] - before[2] > 0.05
        assert risen == (outcome.holding == Holding.HOLDING), outcome.message
        held.append(risen)
    assert sum(held) >= 2


@pytest.mark.parametrize("phase", ["approach", "align", "lift"])
def test_a_cancel_stands_still_in_time_against_the_simulated_arm(stage, phase):
    cell = make_cell(stage, 4)
    canceled_at = []

    def watch(cell) -> None:
        state = cell.executor.state
        if state.phase == phase and state.ending is None and state.outcome is None:
            cell.executor.end(GraspCode.CANCELED, "canceled by the test")
            canceled_at.append(cell.time)

    outcome = cell.run(watch=watch)
    assert outcome is not None
    assert outcome.code == GraspCode.CANCELED and outcome.phase == phase
    assert "arm at rest" in outcome.message
    # The verdict itself waits for a tenth of a second of rest.
    assert cell.time - canceled_at[0] < STANDSTILL_S + 0.15
    assert np.abs(cell.simulator.state.velocity).max() < 0.02
