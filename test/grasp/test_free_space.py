"""The built-in planner of free space on made-up worlds, and the timing of its ways."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kinematic_cell import sawyer

from s3k_ros.grasp.arm.hand import OPEN_HAND
from s3k_ros.grasp.arm.kinematics import JointLimits
from s3k_ros.grasp.arm.path_timing import timed
from s3k_ros.grasp.arm.trajectory import exceeded, stop_move
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import Refusal
from s3k_ros.grasp.planning.free_space import SampledWays, _coarse_to_fine

ARM = sawyer()
WEIGHT = np.array([1.5, 1.3, 1.1, 0.9, 0.7, 0.4, 0.3])
LIMITS = JointLimits(ARM.lower, ARM.upper, ARM.velocity, np.full(7, 4.0), np.full(7, 40.0))
START, GOAL = np.full(7, -0.8), np.array([0.8, *[-0.8] * 6])


def behind_a_door(path: np.ndarray) -> bool:
    """Joint 0 passes zero only where joint 1 is high: a door in a wall."""
    return not blocked(path, 0.2, 0.4)


def blocked(path: np.ndarray, half: float, sill: float) -> bool:
    return bool(((np.abs(path[:, 0]) < half) & (path[:, 1] < sill)).any())


def ways(**options) -> SampledWays:
    return SampledWays(ARM, WEIGHT, 0.02, **options)


def fine(path: np.ndarray) -> np.ndarray:
    return np.concatenate([np.linspace(a, b, 200) for a, b in itertools.pairwise(path)])


def test_the_way_leads_through_the_door():
    path = ways().path(START, GOAL, OPEN_HAND, behind_a_door)
    assert isinstance(path, np.ndarray)
    assert np.allclose(path[0], START) and np.allclose(path[-1], GOAL)
    # Checks stand up to 0.02 m apart, that is 0.013 rad of joint 0.
    assert not blocked(fine(path), 0.19, 0.38)


def test_the_way_is_short_after_the_shortcuts():
    path = ways().path(START, GOAL, OPEN_HAND, behind_a_door)
    length = (np.abs(np.diff(path, axis=0)) @ WEIGHT).sum()
    # By joint 1 up through the door and down again, the least that there is: 1.6 and 2 x 1.2 rad.
    assert length < 2.2 * (1.6 * WEIGHT[0] + 2.4 * WEIGHT[1])


def test_a_free_line_is_taken_as_it_is():
    path = ways().path(START, GOAL, OPEN_HAND, lambda _: True)
    assert np.allclose(path, [START, GOAL])


def test_calls_do_not_change_each_other():
    planner = ways()
    first = planner.path(START, GOAL, OPEN_HAND, behind_a_door)
    planner.path(GOAL, START, OPEN_HAND, lambda _: True)
    assert np.array_equal(planner.path(START, GOAL, OPEN_HAND, behind_a_door), first)


def test_a_wall_without_a_door_is_refused_after_its_attempts():
    asked = []

    def walled(path: np.ndarray) -> bool:
        asked.append(len(path))
        return not (np.abs(path[:, 0]) < 0.2).any()

    result = ways(max_edges=100, time_limit_s=60.0).path(START, GOAL, OPEN_HAND, walled)
    assert isinstance(result, Refusal) and result.code == GraspCode.IN_COLLISION
    assert "100" in result.message or "101" in result.message
    assert len(asked) <= 110


corners = st.lists(
    st.lists(st.floats(-1.0, 1.0), min_size=7, max_size=7).map(np.array), min_size=2, max_size=5
).filter(lambda path: np.linalg.norm(np.diff(path, axis=0), axis=1).min() > 0.05)


@settings(deadline=None, max_examples=25)
@given(corners)
def test_timed_ways_keep_every_limit_and_their_ends(path):
    path = np.clip(np.array(path), LIMITS.lower, LIMITS.upper)
    found = timed(path, LIMITS, 0.01)
    assert found == sorted(found, key=lambda each: each.duration)
    for each in found:
        assert exceeded(each, LIMITS) == ""
        jerk = np.diff(each.accelerations, axis=0) / np.diff(each.times)[:, None]
        assert (np.abs(jerk) <= 1.02 * LIMITS.jerk).all()
        assert np.allclose(each.positions[[0, -1]], path[[0, -1]], atol=1e-6)
        assert np.abs(each.velocities[[0, -1]]).max() < 1e-6


@settings(deadline=None, max_examples=25)
@given(*[st.lists(st.floats(-1.0, 1.0), min_size=7, max_size=7).map(np.array)] * 2)
def test_a_stop_comes_to_a_standstill_within_the_limits(speed, growth):
    velocity, acceleration = speed * LIMITS.velocity, growth * LIMITS.acceleration
    stop = stop_move(np.zeros(7), velocity, acceleration, LIMITS, 0.01)
    assert np.abs(stop.velocities[-1]).max() < 1e-6
    assert (np.abs(stop.accelerations) <= 1.001 * LIMITS.acceleration).all()
    jerk = np.diff(stop.accelerations, axis=0) / np.diff(stop.times)[:, None]
    assert (np.abs(jerk) <= 1.02 * LIMITS.jerk).all()


def test_rounded_corners_save_time():
    path = np.stack([np.zeros(7), [0.5, *[0.0] * 6], [0.5, 0.5, *[0.0] * 5]])
    stops = timed(path[:2], LIMITS, 0.01)[0].duration + timed(path[1:], LIMITS, 0.01)[0].duration
    assert timed(path, LIMITS, 0.01)[0].duration < 0.95 * stops


@pytest.mark.parametrize("count", range(1, 40))
def test_edges_are_checked_at_every_share_once(count):
    shares = _coarse_to_fine(count)
    assert sorted((shares * count).round().astype(int)) == list(range(1, count + 1))
