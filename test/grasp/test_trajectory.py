from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s3k_ros.errors import UnsafeMotionError
from s3k_ros.grasp.arm.kinematics import JointLimits
from s3k_ros.grasp.arm.trajectory import JointTrajectory, exceeded, hold, joint_move, path_move

LIMITS = JointLimits(
    lower=np.array([-3.0, -2.0]),
    upper=np.array([3.0, 2.0]),
    velocity=np.array([1.5, 1.0]),
    acceleration=np.array([3.0, 2.0]),
    jerk=np.array([30.0, 20.0]),
)
STEP = 0.02
position = st.tuples(st.floats(-2.5, 2.5), st.floats(-1.5, 1.5)).map(np.array)


def consistent(trajectory: JointTrajectory) -> None:
    """Velocities and accelerations are the derivatives of the positions, to second order."""
    times = trajectory.times
    if len(times) < 5:
        return
    step = times[1] - times[0]
    velocity = (trajectory.positions[2:] - trajectory.positions[:-2]) / (2 * step)
    acceleration = (trajectory.velocities[2:] - trajectory.velocities[:-2]) / (2 * step)
    # Bounds: jerk times step^2 / 6 for velocity, jerk times step for acceleration.
    assert np.abs(velocity - trajectory.velocities[1:-1]).max() < 60 * step**2
    assert np.abs(acceleration - trajectory.accelerations[1:-1]).max() < 40 * step


@settings(max_examples=60, deadline=None)
@given(position, position)
@example(np.array([0.0, 0.5]), np.array([0.0, 0.54]))  # ruckig raises
def test_joint_move_goes_from_rest_to_rest_within_the_limits(start, goal):
    move = joint_move(start, goal, LIMITS, STEP)
    assert np.allclose(move.positions[0], start) and np.allclose(move.end, goal, atol=1e-6)
    assert np.abs(move.velocities[[0, -1]]).max() < 1e-6
    assert exceeded(move, LIMITS) == ""
    consistent(move)


@settings(max_examples=60, deadline=None)
@given(position, position, st.tuples(st.floats(-0.5, 0.5), st.floats(-0.4, 0.4)).map(np.array))
def test_joint_move_continues_a_running_motion(start, goal, velocity):
    move = joint_move(start, goal, LIMITS, STEP, velocity=velocity)
    assert np.allclose(move.velocities[0], velocity)
    assert np.allclose(move.end, goal, atol=1e-6)
    assert exceeded(move, LIMITS) == ""


def test_joint_move_that_would_overshoot_a_limit_is_refused():
    with pytest.raises(UnsafeMotionError, match="joint 0 would pass its limit"):
        joint_move([2.99, 0.0], [0.0, 0.0], LIMITS, STEP, velocity=[1.4, 0.0])


def curved_path(points: int = 30) -> np.ndarray:
    s = np.linspace(0, 1, points)
    return np.stack([np.sin(2 * s), 1.2 * s**2 - 0.3], axis=1)


@pytest.mark.parametrize("speed", [0.02, 0.3, 5.0])
def test_path_move_keeps_every_joint_within_its_limits(speed):
    move = path_move(curved_path(), speed, LIMITS, STEP, length=0.5)
    assert exceeded(move, LIMITS) == ""
    assert np.abs(move.velocities[[0, -1]]).max() < 1e-6
    consistent(move)
    jerk = np.abs(np.diff(move.accelerations, axis=0)) / np.diff(move.times)[:, None]
    assert (jerk <= 1.1 * LIMITS.jerk).all()


def test_path_move_stays_on_its_path():
    path = curved_path()
    move = path_move(path, 0.3, LIMITS, STEP, length=0.5)
    for q in move.positions:
        assert np.abs(path - q).max(axis=1).min() < 0.05  # half the distance of two points
    assert np.allclose(move.positions[0], path[0]) and np.allclose(move.end, path[-1], atol=1e-6)


def test_path_move_keeps_its_speed():
    path = np.stack([np.linspace(0, 0.1, 20), np.linspace(0, 0.05, 20)], axis=1)
    slow, fast = (path_move(path, v, LIMITS, STEP, length=0.2) for v in (0.05, 0.1))
    assert slow.duration > 0.2 / 0.05
    assert slow.duration > 1.7 * fast.duration


def test_path_move_refuses_positions_beyond_the_limits():
    with pytest.raises(UnsafeMotionError, match="joint 1"):
        path_move(np.array([[0.0, 1.9], [0.0, 2.1]]), 0.1, LIMITS, STEP, length=0.1)


def test_half_the_speed_scale_halves_velocity_acceleration_and_jerk():
    slow = LIMITS.scaled(0.5)
    assert np.allclose(slow.velocity, LIMITS.velocity / 2)
    assert np.allclose(slow.jerk, LIMITS.jerk / 2) and np.allclose(slow.upper, LIMITS.upper)
    far = [2.0, -1.0]
    assert (
        joint_move([0, 0], far, slow, STEP).duration
        > joint_move([0, 0], far, LIMITS, STEP).duration
    )


def test_sample_meets_the_points_and_holds_beyond_the_ends():
    move = joint_move([0, 0], [1, -1], LIMITS, STEP)
    for time, expected in zip(move.times[::7], move.positions[::7], strict=True):
        assert np.allclose(move.sample(time)[0], expected)
    assert np.allclose(move.sample(-1.0)[0], [0, 0])
    assert np.allclose(move.sample(1e9)[0], [1, -1]) and np.allclose(move.sample(1e9)[1], 0)


def test_a_part_and_the_rest_make_the_same_motion():
    move = joint_move([0, 0], [1, -1], LIMITS, STEP)
    middle = 0.43 * move.duration
    joined = move.between(0.1, middle).then(move.between(middle, move.duration))
    assert joined.duration == pytest.approx(move.duration - 0.1)
    for time in np.linspace(0.0, joined.duration, 50):
        assert np.abs(joined.sample(time)[0] - move.sample(time + 0.1)[0]).max() < 1e-4
        assert np.abs(joined.sample(time)[1] - move.sample(time + 0.1)[1]).max() < 0.02
    assert (np.diff(joined.times) > 0).all()


def test_exceeded_names_what_is_beyond():
    move = joint_move([0, 0], [1, -1], LIMITS, STEP)
    assert "velocity" in exceeded(move, LIMITS.scaled(0.5))
    tight = dataclasses.replace(LIMITS, upper=np.array([0.5, 2.0]))
    assert exceeded(move, tight).startswith("position of joint 0")


def test_hold_stands_still():
    assert np.allclose(hold([0.1, 0.2], 1.0).sample(0.5)[0], [0.1, 0.2])
