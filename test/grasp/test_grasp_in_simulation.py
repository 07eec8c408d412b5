"""Whole grasps in the simulated cell, in one process: planner, state machine and real contact."""

from __future__ import annotations

import numpy as np
import pytest

from s3k_ros.grasp.codes import GraspCode, Holding
from s3k_ros.grasp.goal import GraspGoal

pytestmark = [pytest.mark.sim, pytest.mark.slow]

PAW = "right_front_paw"
STANDSTILL_S = 0.3


def in_phase(phase: str):
    def watch(cell) -> None:
        state = cell.executor.state
        if state.phase == phase and state.ending is None and state.outcome is None:
            cell.executor.end(GraspCode.CANCELED, "canceled by the test")
            cell.canceled_at = cell.time

    return watch


def test_most_foxes_are_held_and_the_verdict_is_true():
    from support.simulated_grasp import SimulatedCell

    held = []
    for seed in (1, 4, 5):
        cell = SimulatedCell(seed)
        executor = cell.make_executor()
        before = cell.truth()[PAW]
        assert executor.start(GraspGoal(PAW, toward_keypoint="body")) is None
        outcome = cell.run()
        cell.wait(0.3)
        risen = cell.truth()[PAW][2] - before[2] > 0.05
        assert risen == (outcome.holding == Holding.HOLDING), outcome.message
        held.append(risen)
    assert sum(held) >= 2


@pytest.mark.parametrize("phase", ["approach", "align", "lift"])
def test_a_cancel_stands_still_in_time_against_the_simulated_arm(phase):
    from support.simulated_grasp import SimulatedCell

    cell = SimulatedCell(4)
    executor = cell.make_executor()
    assert executor.start(GraspGoal(PAW, toward_keypoint="body")) is None
    outcome = cell.run(watch=in_phase(phase))
    assert outcome.code == GraspCode.CANCELED and outcome.phase == phase
    assert "arm at rest" in outcome.message
    # The verdict itself waits for a tenth of a second of rest.
    assert cell.time - cell.canceled_at < STANDSTILL_S + 0.15
    assert np.abs(cell.simulator.state.velocity).max() < 0.02
