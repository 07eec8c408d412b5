"""Time-parameterised joint trajectories: ruckig for joint moves, and along a path's parameter."""

from __future__ import annotations

import dataclasses

import numpy as np
import ruckig
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from s3k_ros.errors import UnsafeMotionError
from s3k_ros.geometry.se3 import read_only
from s3k_ros.grasp.arm.kinematics import JointLimits

Array = NDArray[np.float64]

# Sampling and differentiation leave this much over an exact limit.
_LIMIT_TOLERANCE = 1.02
# Share of the jerk that is tried where ruckig fails at all of it.
_JERK_ASIDE = 0.999
# On a path, the budget of acceleration and jerk is split between its curvature and its speed-up.
_PATH_SHARE = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class JointTrajectory:
    """Positions over time, with derivatives, as a controller takes them.

    Attributes:
        times: (T,) s from the start, increasing, first 0.
        positions, velocities, accelerations: (T, n) rad, rad/s, rad/s^2.
    """

    times: Array
    positions: Array
    velocities: Array
    accelerations: Array

    def __post_init__(self) -> None:
        count = len(self.times)
        shape = (count, np.shape(self.positions)[-1])
        object.__setattr__(self, "times", read_only(self.times, (count,), "times"))
        for name in ("positions", "velocities", "accelerations"):
            object.__setattr__(self, name, read_only(getattr(self, name), shape, name))

    @property
    def duration(self) -> float:
        """Seconds from the first to the last point."""
        return float(self.times[-1])

    @property
    def end(self) -> Array:
        """(n,) rad, the last position."""
        last: Array = self.positions[-1]
        return last

    def sample(self, time: float) -> tuple[Array, Array, Array]:
        """Position, velocity and acceleration at a time, held beyond the ends.

        Between points the position follows the cubic of its neighbours' positions and velocities,
        the derivatives are interpolated linearly.
        """
        time = float(np.clip(time, 0.0, self.duration))
        index = int(np.clip(np.searchsorted(self.times, time, side="right") - 1, 0, None))
        if index >= len(self.times) - 1:
            return self.positions[-1], self.velocities[-1], self.accelerations[-1]
        step = self.times[index + 1] - self.times[index]
        u = (time - self.times[index]) / step
        p0, p1 = self.positions[index], self.positions[index + 1]
        v0, v1 = self.velocities[index], self.velocities[index + 1]
        a0, a1 = self.accelerations[index], self.accelerations[index + 1]
        position = (
            (1 + 2 * u) * (1 - u) ** 2 * p0
            + u * (1 - u) ** 2 * step * v0
            + u * u * (3 - 2 * u) * p1
            - u * u * (1 - u) * step * v1
        )
        return position, (1 - u) * v0 + u * v1, (1 - u) * a0 + u * a1

    def between(self, start: float, stop: float) -> JointTrajectory:
        """The part from ``start`` to ``stop``, in seconds of this trajectory, with its own zero."""
        inside = (self.times > start + 1e-9) & (self.times < stop - 1e-9)
        times = np.concatenate([[start], self.times[inside], [stop]])
        samples = [self.sample(time) for time in times]
        positions, velocities, accelerations = (
            np.array(part) for part in zip(*samples, strict=True)
        )
        return JointTrajectory(times - start, positions, velocities, accelerations)

    def then(self, other: JointTrajectory) -> JointTrajectory:
        """This trajectory, and the other one from where this ends."""
        return JointTrajectory(
            np.concatenate([self.times, self.duration + other.times[1:]]),
            np.concatenate([self.positions, other.positions[1:]]),
            np.concatenate([self.velocities, other.velocities[1:]]),
            np.concatenate([self.accelerations, other.accelerations[1:]]),
        )


def joint_move(
    start: ArrayLike,
    goal: ArrayLike,
    limits: JointLimits,
    step: float,
    velocity: ArrayLike | None = None,
    acceleration: ArrayLike | None = None,
    straight: bool = False,
) -> JointTrajectory:
    """The fastest jerk-limited move to a standstill at ``goal``, all joints arriving together.

    Args:
        start: (n,) rad.
        goal: (n,) rad.
        limits: limits of the joints.
        step: s between points.
        velocity: (n,) rad/s at the start; None stands for rest.
        acceleration: (n,) rad/s^2 at the start; None stands for none.
        straight: along a straight line in joint space, which needs a start at rest.

    Raises:
        UnsafeMotionError: no move keeps the limits, positions included.
    """
    start, goal = np.asarray(start, float), np.asarray(goal, float)
    size = len(start)
    given = ruckig.InputParameter(size)
    given.current_position, given.target_position = start.tolist(), goal.tolist()
    given.current_velocity = _within(velocity, limits.velocity).tolist()
    given.current_acceleration = _within(acceleration, limits.acceleration).tolist()
    given.max_velocity = limits.velocity.tolist()
    given.max_acceleration = limits.acceleration.tolist()
    given.max_jerk = limits.jerk.tolist()
    if straight:
        given.synchronization = ruckig.Synchronization.Phase
    what = f"trajectory from {start.round(3)} to {goal.round(3)}"
    return _sampled(given, size, limits, step, what)


def stop_move(
    position: ArrayLike,
    velocity: ArrayLike,
    acceleration: ArrayLike,
    limits: JointLimits,
    step: float,
) -> JointTrajectory:
    """From a state, (n,) rad, rad/s, rad/s^2, to a standstill as soon as the limits allow.

    Raises:
        UnsafeMotionError: it would leave the position limits.
    """
    size = len(np.asarray(position))
    given = ruckig.InputParameter(size)
    given.control_interface = ruckig.ControlInterface.Velocity
    given.current_position = np.asarray(position, float).tolist()
    given.current_velocity = _within(velocity, limits.velocity).tolist()
    given.current_acceleration = _within(acceleration, limits.acceleration).tolist()
    given.max_acceleration, given.max_jerk = limits.acceleration.tolist(), limits.jerk.tolist()
    return _sampled(given, size, limits, step, "way to a standstill")


def _sampled(
    given: ruckig.InputParameter, size: int, limits: JointLimits, step: float, what: str
) -> JointTrajectory:
    profile = _calculated(given, size, what)
    times = _times(profile.duration, step)
    samples = [profile.at_time(time)[:3] for time in times]
    positions, velocities, accelerations = (np.array(part) for part in zip(*samples, strict=True))
    _check_positions(positions, limits)
    return JointTrajectory(times, positions, velocities, accelerations)


def _calculated(given: ruckig.InputParameter, size: int, what: str) -> ruckig.Trajectory:
    """Ruckig's profile.

    Where a distance just meets one of its case distinctions (0.04 rad at 1 rad/s, 2 rad/s^2 and
    20 rad/s^3), ruckig 0.19.4 finds none and raises: a jerk a thousandth lower leads past that.
    """
    profile = ruckig.Trajectory(size)
    try:
        result = ruckig.Ruckig(size).calculate(given, profile)
    except ruckig.RuckigError:
        given.max_jerk = [_JERK_ASIDE * jerk for jerk in given.max_jerk]
        try:
            result = ruckig.Ruckig(size).calculate(given, profile)
        except ruckig.RuckigError as error:
            raise UnsafeMotionError(f"no {what}: {error}") from error
    if result < 0:
        raise UnsafeMotionError(f"no {what}: {result}")
    return profile


def path_move(
    path: ArrayLike, speed: float, limits: JointLimits, step: float, length: float
) -> JointTrajectory:
    """From rest to rest along a path of joint positions that stand for evenly spaced points.

    The path's parameter follows a jerk-limited profile (ruckig); its limits are those that keep
    every joint within its own, by the chain rule: q' = dq/ds, q'' = d2q/ds2, so that
    qd = q' sd, qdd = q'' sd^2 + q' sdd, qddd = q''' sd^3 + 3 q'' sd sdd + q' sddd.

    Args:
        path: (T, n) rad, T >= 2.
        speed: m/s, largest speed along the path.
        limits: limits of the joints.
        step: s between points.
        length: m, length of the path.

    Raises:
        UnsafeMotionError: positions beyond the limits.
    """
    path = np.asarray(path, float)
    _check_positions(path, limits)
    s = np.linspace(0.0, length, len(path))
    spline = CubicSpline(s, path, bc_type="natural" if len(path) > 2 else "not-a-knot")
    fine = np.linspace(0.0, length, 4 * len(path))
    first, second, third = (np.abs(spline(fine, order)) for order in (1, 2, 3))
    bound = _path_limits(first, second, third, speed, limits)
    times, profile = _profile(length, bound, step)
    along, rate, growth = (profile[:, i : i + 1] for i in range(3))
    d1, d2 = spline(along[:, 0], 1), spline(along[:, 0], 2)
    return JointTrajectory(times, spline(along[:, 0]), d1 * rate, d2 * rate**2 + d1 * growth)


def hold(position: ArrayLike, duration: float) -> JointTrajectory:
    """Standing still at a position (n,) rad for some seconds."""
    positions = np.stack([np.asarray(position, float)] * 2)
    zeros = np.zeros_like(positions)
    return JointTrajectory(np.array([0.0, duration]), positions, zeros, zeros)


def exceeded(trajectory: JointTrajectory, limits: JointLimits) -> str:
    """What breaks the limits, in words; empty when nothing does."""
    pairs = (
        ("velocity", np.abs(trajectory.velocities), limits.velocity),
        ("acceleration", np.abs(trajectory.accelerations), limits.acceleration),
        ("position", trajectory.positions - limits.upper, np.full_like(limits.upper, 1e-6)),
        ("position", limits.lower - trajectory.positions, np.full_like(limits.upper, 1e-6)),
    )
    for name, values, bound in pairs:
        worst = np.unravel_index(np.argmax(values / bound), values.shape)
        if values[worst] > bound[worst[1]] * _LIMIT_TOLERANCE:
            return f"{name} of joint {worst[1]} at point {worst[0]}"
    return ""


def _path_limits(
    first: Array, second: Array, third: Array, speed: float, limits: JointLimits
) -> tuple[float, float, float]:
    def least(bound: Array, values: Array) -> float:
        return float((bound / np.maximum(values.max(axis=0), 1e-9)).min())

    share = _PATH_SHARE
    velocity = min(
        speed,
        least(limits.velocity, first),
        np.sqrt(share * least(limits.acceleration, second)),
        np.cbrt(share / 2 * least(limits.jerk, third)),
    )
    acceleration = min(
        share * least(limits.acceleration, first),
        share / 2 * least(limits.jerk, second) / (3 * velocity),
    )
    return velocity, acceleration, share * least(limits.jerk, first)


def _profile(length: float, bound: tuple[float, float, float], step: float) -> tuple[Array, Array]:
    given = ruckig.InputParameter(1)
    given.current_position, given.target_position = [0.0], [length]
    given.max_velocity, given.max_acceleration, given.max_jerk = ([value] for value in bound)
    profile = _calculated(given, 1, f"profile over a path of {length:.3f} m")
    times = _times(profile.duration, step)
    samples = [[part[0] for part in profile.at_time(time)[:3]] for time in times]
    return times, np.clip(np.array(samples), [0.0, -np.inf, -np.inf], [length, np.inf, np.inf])


def _times(duration: float, step: float) -> Array:
    count = max(2, int(np.ceil(duration / step)) + 1)
    return np.linspace(0.0, max(duration, step / 10), count)


def _within(values: ArrayLike | None, bound: Array) -> Array:
    """A start state clipped to the limits: interpolation may leave a trace above them."""
    return np.zeros_like(bound) if values is None else np.clip(np.asarray(values), -bound, bound)


def _check_positions(positions: Array, limits: JointLimits) -> None:
    beyond = (positions < limits.lower - 1e-6) | (positions > limits.upper + 1e-6)
    if beyond.any():
        joint = int(np.argmax(beyond.any(axis=0)))
        raise UnsafeMotionError(
            f"joint {joint} would pass its limit: {positions[:, joint].min():.3f} to "
            f"{positions[:, joint].max():.3f} rad, allowed {limits.lower[joint]:.3f} to "
            f"{limits.upper[joint]:.3f}"
        )
