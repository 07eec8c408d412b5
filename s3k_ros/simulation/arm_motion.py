"""A trajectory that runs: where it is at a time of its own, and how it stops on its path."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BPoly

from s3k_ros.params.simulation import ArmControlParameters
from s3k_ros.simulation.trajectory_goal import (
    ErrorCode,
    GoalHandle,
    GoalState,
    JointLimits,
    PreparedTrajectory,
    invalid,
    or_default,
)

Array = NDArray[np.float64]

# A planner's limits and the sampled spline's peaks differ a little.
_VELOCITY_SLACK = 1.05
_CHECK_SAMPLES = 200


@dataclasses.dataclass
class Motion:
    """A running trajectory. Its own time runs with the clock, slower while it stops.

    Attributes:
        handle: of its goal.
        position, velocity: splines (n,) over its own time, rad and rad/s.
        duration: s.
        path_tolerance, goal_tolerance: (n,) rad, infinite where unrestricted.
        goal_time: how late it may arrive, s.
        progress: its own time now, s; negative before it begins.
        offset, offset_rate: (n,) where the arm was commanded beside the path at the start; this
            fades out.
        blend_age: how long it has been fading, s.
        stop_age: how long it has been stopping, s; None: it runs.
        outcome: what it ends with once it stands.
    """

    handle: GoalHandle
    position: BPoly
    velocity: BPoly
    duration: float
    path_tolerance: Array
    goal_tolerance: Array
    goal_time: float
    progress: float
    offset: Array
    offset_rate: Array
    blend_age: float = 0.0
    stop_age: float | None = None
    outcome: tuple[GoalState, ErrorCode, str] | None = None

    def advance(self, step: float, stop_time: float) -> float:
        """Moves its own time and returns its rate, 1 running, 0 stopped."""
        self.blend_age += step
        if self.stop_age is None:
            self.progress += step
            return 1.0
        # Slowing the path's time linearly keeps the arm on the path that was checked.
        before = min(self.stop_age / stop_time, 1.0)
        self.stop_age += step
        after = min(self.stop_age / stop_time, 1.0)
        self.progress += stop_time * ((after - before) - 0.5 * (after**2 - before**2))
        return 1.0 - after

    def sample(
        self, blend_time: float, rate: float = 1.0, ahead: float = 0.0
    ) -> tuple[Array, Array]:
        """Position and velocity, (n,) each, so far ahead of now, s, its own time at a rate."""
        progress = self.progress + ahead
        t = min(max(progress, 0.0), self.duration)
        moving = 0.0 <= progress < self.duration
        position = self.position(t)
        velocity = self.velocity(t) * rate if moving else np.zeros_like(position)
        age = max(self.blend_age + ahead, 0.0)
        drift, drift_rate = _fade(self.offset, self.offset_rate, age, blend_time)
        return position + drift, velocity + drift_rate


def begin(
    prepared: PreparedTrajectory,
    joints: Sequence[str],
    limits: JointLimits,
    params: ArmControlParameters,
    elapsed: float,
    position: Array,
    velocity: Array,
) -> Motion:
    """The motion that starts from a commanded state (n,), its own time at ``elapsed``.

    Raises:
        TrajectoryRefusedError: too fast, or too far from that state.
    """
    goal = prepared.goal
    spline = prepared.spline_from(elapsed, position, velocity)
    rate = spline.derivative()
    _check_speed(rate, spline.x, joints, limits)
    t = min(max(elapsed, float(spline.x[0])), float(spline.x[-1]))
    offset = position - spline(t)
    worst = int(np.argmax(np.abs(offset)))
    if abs(offset[worst]) > params.start_tolerance_rad:
        raise invalid(f"{joints[worst]} starts {abs(offset[worst]):.3f} rad from where the arm is")
    moving = elapsed >= spline.x[0]
    return Motion(
        handle=GoalHandle(desired=position),
        position=spline,
        velocity=rate,
        duration=float(spline.x[-1]),
        path_tolerance=_tolerance(goal.path_tolerance, joints, params.path_tolerance_rad),
        goal_tolerance=_tolerance(goal.goal_tolerance, joints, params.goal_tolerance_rad),
        goal_time=or_default(goal.goal_time_tolerance, params.goal_time_tolerance_s),
        progress=elapsed,
        offset=offset,
        offset_rate=velocity - (rate(t) if moving else 0.0),
    )


def _check_speed(rate: BPoly, times: Array, joints: Sequence[str], limits: JointLimits) -> None:
    samples = np.abs(rate(np.linspace(times[0], times[-1], _CHECK_SAMPLES)))
    fast = samples.max(axis=0) > limits.velocity * _VELOCITY_SLACK
    if fast.any():
        i = int(np.argmax(fast))
        raise invalid(
            f"{joints[i]} reaches {samples[:, i].max():.3f} rad/s, its limit is "
            f"{limits.velocity[i]}"
        )


def _tolerance(named: Mapping[str, float], joints: Sequence[str], default: float) -> Array:
    values = [or_default(named.get(name, 0.0), default) for name in joints]
    return np.array([np.inf if v == 0 else v for v in values])


def _fade(offset: Array, rate: Array, age: float, time: float) -> tuple[Array, Array]:
    """A quintic from (offset, rate, 0) at age 0 to rest at zero at age ``time``, and its rate."""
    if age >= time:
        return np.zeros_like(offset), np.zeros_like(offset)
    s = age / time
    b, db = 1 - 10 * s**3 + 15 * s**4 - 6 * s**5, -30 * s**2 + 60 * s**3 - 30 * s**4
    c, dc = s - 6 * s**3 + 8 * s**4 - 3 * s**5, 1 - 18 * s**2 + 32 * s**3 - 15 * s**4
    return offset * b + rate * time * c, offset * db / time + rate * dc
