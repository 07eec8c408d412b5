"""Execution of joint trajectories with the meaning of control_msgs/FollowJointTrajectory.

A pure library: time comes in with every call, joint states come in, references go out. It is what
stands behind `/robot/limb/right/follow_joint_trajectory` of the simulated cell.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BPoly

from s3k_ros.params.simulation import ArmControlParameters

Array = NDArray[np.float64]

UNRESTRICTED = -1.0
"""A tolerance that never fails, as in control_msgs/JointTolerance."""

# A planner's limits and the sampled spline's peaks differ a little.
_VELOCITY_SLACK = 1.05
_CHECK_SAMPLES = 200
_STILL_RAD_S = 0.02
_SHORTEST_ENTRY_S = 1e-3


class ErrorCode(enum.IntEnum):
    """Results of control_msgs/FollowJointTrajectory."""

    SUCCESSFUL = 0
    INVALID_GOAL = -1
    INVALID_JOINTS = -2
    OLD_HEADER_TIMESTAMP = -3
    PATH_TOLERANCE_VIOLATED = -4
    GOAL_TOLERANCE_VIOLATED = -5


class GoalState(enum.Enum):
    """Where a goal stands."""

    ACTIVE = "active"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    ABORTED = "aborted"
    CANCELED = "canceled"


@dataclasses.dataclass(frozen=True)
class JointLimits:
    """Limits of n joints: rad and rad/s, (n,) each."""

    lower: Array
    upper: Array
    velocity: Array


@dataclasses.dataclass(frozen=True)
class TrajectoryGoal:
    """A trajectory in the order of the goal's own joint names.

    Attributes:
        joints: names of the joints.
        times: (p,) s since the start, increasing.
        positions: (p, n) rad.
        velocities, accelerations: (p, n) or None.
        start: time at which it starts, s; None: at once.
        path_tolerance, goal_tolerance: rad by joint name; 0 is the default, -1 unrestricted.
        goal_time_tolerance: s; 0 is the default, negative unlimited.
    """

    joints: tuple[str, ...]
    times: Array
    positions: Array
    velocities: Array | None = None
    accelerations: Array | None = None
    start: float | None = None
    path_tolerance: dict[str, float] = dataclasses.field(default_factory=dict)
    goal_tolerance: dict[str, float] = dataclasses.field(default_factory=dict)
    goal_time_tolerance: float = 0.0


class TrajectoryRefusedError(Exception):
    """A goal that is not executed; ``code`` is the action's error code."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclasses.dataclass
class GoalHandle:
    """A goal under execution. ``state``, ``code`` and ``message`` change until it is done."""

    state: GoalState = GoalState.ACTIVE
    code: ErrorCode = ErrorCode.SUCCESSFUL
    message: str = ""
    desired: Array = dataclasses.field(default_factory=lambda: np.zeros(0))
    elapsed: float = 0.0

    @property
    def done(self) -> bool:
        """True when nothing will change any more."""
        return self.state not in (GoalState.ACTIVE, GoalState.STOPPING)


@dataclasses.dataclass(frozen=True)
class PreparedTrajectory:
    """A goal that was checked, with its spline through the given points (None for one point)."""

    goal: TrajectoryGoal
    times: Array
    derivatives: tuple[Array, ...]
    spline: BPoly | None


@dataclasses.dataclass
class _Motion:
    """A running trajectory. Its own time runs with the clock, slower while it stops."""

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


class ArmController:
    """Turns trajectories into references of position and velocity, and judges their execution.

    One goal at a time: a new one replaces the old, which ends as aborted. The old motion goes on
    until the new trajectory begins (its header's time); any difference then fades out smoothly.

    Args:
        joints: names in the order of all arrays here.
        limits: joint limits.
        params: tolerances and times.
        position: (n,) rad at which the arm stands.
    """

    def __init__(
        self,
        joints: Sequence[str],
        limits: JointLimits,
        params: ArmControlParameters,
        position: Array,
    ) -> None:
        self._joints = tuple(joints)
        self._limits = limits
        self._params = params
        self._alive: float | None = None
        self._now = 0.0
        self.hold(position)

    def hold(self, position: Array) -> None:
        """Ends any goal as aborted and holds a posture (n,), rad, from now on."""
        motion = getattr(self, "_motion", None)
        if motion is not None:
            _end(motion.handle, GoalState.ABORTED, ErrorCode.INVALID_GOAL, "the cell was reset")
        self._motion: _Motion | None = None
        self._next: tuple[float, _Motion] | None = None
        self._position = np.array(position, dtype=np.float64)
        self._velocity = np.zeros_like(self._position)

    @property
    def reference(self) -> tuple[Array, Array]:
        """Commanded position and velocity, (n,) each, of the last update."""
        return self._position, self._velocity

    def feed(self, now: float) -> None:
        """A sign of life of whoever gives the goals, at time ``now``."""
        self._alive = now

    def prepare(self, goal: TrajectoryGoal) -> PreparedTrajectory:
        """Checks a goal and fits its spline: the slow part, which touches no state.

        Raises:
            TrajectoryRefusedError: the goal does not fit the arm.
        """
        times, derivatives = self._points(goal, self._order(goal))
        spline = _spline(times, derivatives) if times.size > 1 else None
        return PreparedTrajectory(goal, times, tuple(derivatives), spline)

    def start(self, prepared: PreparedTrajectory, now: float) -> GoalHandle:
        """Starts a prepared goal at time ``now``.

        Raises:
            TrajectoryRefusedError: it does not fit the arm's present state; a running one goes on.
        """
        begin = now if prepared.goal.start is None else prepared.goal.start
        late = now - begin - float(prepared.times[-1])
        if prepared.goal.start is not None and late > 0:
            raise TrajectoryRefusedError(
                ErrorCode.OLD_HEADER_TIMESTAMP, f"the trajectory ended {late:.3f} s ago"
            )
        running = self._motion
        wait = begin - now if running is not None and running.outcome is None else 0.0
        if running is not None and wait > 0:
            # The old path goes on until the new one begins where it was planned to begin.
            at_begin = self._sample(running, running.progress + wait, running.blend_age + wait, 1.0)
            motion = self._motion_of(prepared, 0.0, *at_begin)
            self._next = (begin, motion)
        else:
            motion = self._motion_of(prepared, now - begin, self._position, self._velocity)
            self._motion, self._next = motion, None
        if running is not None:
            replaced = (GoalState.ABORTED, ErrorCode.INVALID_GOAL, "replaced by a new goal")
            _end(running.handle, *(running.outcome or replaced))
            running.handle = motion.handle
        self.feed(now)
        return motion.handle

    def cancel(self, handle: GoalHandle) -> None:
        """Brings a goal's motion to a stand on its path; it then ends as canceled."""
        if self._motion is not None and self._motion.handle is handle:
            self._stop(GoalState.CANCELED, ErrorCode.SUCCESSFUL, "canceled")

    def update(self, now: float, position: Array, velocity: Array) -> tuple[Array, Array]:
        """One control cycle.

        Args:
            now: time of this cycle, s.
            position: (n,) measured, rad.
            velocity: (n,) measured, rad/s.

        Returns:
            References (n,) of position and velocity for this cycle.
        """
        step, self._now = max(now - self._now, 0.0), now
        motion = self._motion
        if motion is None:
            self._velocity = np.zeros_like(self._velocity)
            return self.reference
        self._watch(now)
        motion = self._switch(now, step) or motion
        rate = self._advance(motion, step)
        self._position, self._velocity = self._sample(
            motion, motion.progress, motion.blend_age, rate
        )
        motion.handle.desired = self._position
        motion.handle.elapsed = motion.progress
        self._judge(motion, position, velocity)
        return self.reference

    def _switch(self, now: float, step: float) -> _Motion | None:
        """Goes over to the next motion when its time has come."""
        if self._next is None or now < self._next[0]:
            return None
        (begin, motion), self._next = self._next, None
        old, self._motion = self._motion, motion
        assert old is not None
        position, velocity = self._sample(old, old.progress + step, old.blend_age + step, 1.0)
        elapsed = now - begin
        motion.offset = position - motion.position(elapsed)
        motion.offset_rate = velocity - motion.velocity(elapsed)
        motion.progress, motion.blend_age = elapsed - step, -step  # this cycle adds its step
        return motion

    def _watch(self, now: float) -> None:
        limit = self._params.watchdog_s
        if limit > 0 and self._alive is not None and now - self._alive > limit:
            self._stop(
                GoalState.ABORTED, ErrorCode.PATH_TOLERANCE_VIOLATED,
                f"watchdog: no sign of life of the action server for {limit} s",
            )  # fmt: skip

    def _stop(self, state: GoalState, code: ErrorCode, message: str) -> None:
        motion = self._motion
        if motion is None or motion.outcome is not None:
            return
        self._next = None
        motion.handle.state = GoalState.STOPPING
        motion.stop_age = 0.0
        motion.outcome = (state, code, message)

    def _advance(self, motion: _Motion, step: float) -> float:
        """Moves the trajectory's own time and returns its rate, 1 running, 0 stopped."""
        motion.blend_age += step
        if motion.stop_age is None:
            motion.progress += step
            return 1.0
        # Slowing the path's time linearly keeps the arm on the path that was checked.
        stop = self._params.stop_time_s
        before = min(motion.stop_age / stop, 1.0)
        motion.stop_age += step
        after = min(motion.stop_age / stop, 1.0)
        motion.progress += stop * ((after - before) - 0.5 * (after**2 - before**2))
        return 1.0 - after

    def _sample(
        self, motion: _Motion, progress: float, blend_age: float, rate: float
    ) -> tuple[Array, Array]:
        """Position and velocity at a time of the trajectory's own, running at a rate."""
        t = min(max(progress, 0.0), motion.duration)
        moving = 0.0 <= progress < motion.duration
        position = motion.position(t)
        velocity = motion.velocity(t) * rate if moving else np.zeros_like(position)
        drift, drift_rate = _fade(
            motion.offset, motion.offset_rate, max(blend_age, 0.0), self._params.blend_time_s
        )
        return position + drift, velocity + drift_rate

    def _judge(self, motion: _Motion, position: Array, velocity: Array) -> None:
        error = np.abs(position - self._position)
        still = bool(np.all(np.abs(velocity) < _STILL_RAD_S))
        if motion.outcome is not None:
            stop = self._params.stop_time_s
            stood = motion.stop_age is not None and motion.stop_age >= stop
            if stood and (still or (motion.stop_age or 0.0) > 2 * stop):
                self._finish(*motion.outcome)
            return
        if np.any(error > motion.path_tolerance):
            worst = int(np.argmax(error - motion.path_tolerance))
            self._stop(
                GoalState.ABORTED, ErrorCode.PATH_TOLERANCE_VIOLATED,
                f"{self._joints[worst]} is {error[worst]:.4f} rad off its path, allowed "
                f"{motion.path_tolerance[worst]:.4f}",
            )  # fmt: skip
            return
        over = motion.progress - motion.duration
        if over < 0 or self._next is not None:
            return
        if np.all(error <= motion.goal_tolerance) and still:
            self._finish(GoalState.SUCCEEDED, ErrorCode.SUCCESSFUL, "")
        elif over > motion.goal_time:
            worst = int(np.argmax(error - motion.goal_tolerance))
            self._finish(
                GoalState.ABORTED, ErrorCode.GOAL_TOLERANCE_VIOLATED,
                f"{self._joints[worst]} is {error[worst]:.4f} rad off its goal, allowed "
                f"{motion.goal_tolerance[worst]:.4f}",
            )  # fmt: skip

    def _finish(self, state: GoalState, code: ErrorCode, message: str) -> None:
        assert self._motion is not None
        _end(self._motion.handle, state, code, message)
        self._motion = None
        self._velocity = np.zeros_like(self._velocity)

    def _order(self, goal: TrajectoryGoal) -> list[int]:
        if sorted(goal.joints) != sorted(self._joints):
            raise TrajectoryRefusedError(
                ErrorCode.INVALID_JOINTS,
                f"joints {list(goal.joints)} must be {list(self._joints)}, in any order",
            )
        unknown = sorted((set(goal.path_tolerance) | set(goal.goal_tolerance)) - set(self._joints))
        if unknown:
            raise TrajectoryRefusedError(
                ErrorCode.INVALID_JOINTS, f"tolerance for an unknown joint {unknown[0]!r}"
            )
        return [goal.joints.index(name) for name in self._joints]

    def _points(self, goal: TrajectoryGoal, order: list[int]) -> tuple[Array, list[Array]]:
        """Checked times (p,) and [positions, velocities?, accelerations?] in our joint order."""
        times = np.asarray(goal.times, dtype=np.float64)
        if times.ndim != 1 or times.size == 0:
            raise _invalid("the trajectory has no points")
        derivatives = [goal.positions]
        if goal.velocities is not None:
            derivatives.append(goal.velocities)
            if goal.accelerations is not None:
                derivatives.append(goal.accelerations)
        arrays = []
        for name, values in zip(
            ("positions", "velocities", "accelerations"), derivatives, strict=False
        ):
            array = np.asarray(values, dtype=np.float64)
            if array.shape != (times.size, len(self._joints)):
                raise _invalid(f"{name} have shape {array.shape}, one value a joint and point")
            arrays.append(array[:, order])
        if not (np.isfinite(times).all() and all(np.isfinite(a).all() for a in arrays)):
            raise _invalid("the trajectory holds values that are not finite")
        if times[0] < 0 or np.any(np.diff(times) <= 0):
            raise _invalid("time_from_start must not be negative and must increase")
        self._check_limits(arrays)
        return times, arrays

    def _check_limits(self, arrays: list[Array]) -> None:
        low, high = self._limits.lower, self._limits.upper
        outside = np.any((arrays[0] < low) | (arrays[0] > high), axis=0)
        if outside.any():
            i = int(np.argmax(outside))
            raise _invalid(f"{self._joints[i]} leaves its limits {low[i]} to {high[i]} rad")
        if len(arrays) > 1 and np.any(np.abs(arrays[1][-1]) > 1e-3):
            raise _invalid("the final velocity must be zero")

    def _motion_of(
        self, prepared: PreparedTrajectory, elapsed: float, position: Array, velocity: Array
    ) -> _Motion:
        """The motion that starts from a commanded state with its own time at ``elapsed``."""
        goal = prepared.goal
        spline = _with_entry(prepared, elapsed, position, velocity)
        rate = spline.derivative()
        self._check_speed(rate, spline.x)
        t = min(max(elapsed, float(spline.x[0])), float(spline.x[-1]))
        offset = position - spline(t)
        worst = int(np.argmax(np.abs(offset)))
        if abs(offset[worst]) > self._params.start_tolerance_rad:
            raise _invalid(
                f"{self._joints[worst]} starts {abs(offset[worst]):.3f} rad from where the arm is"
            )
        moving = elapsed >= spline.x[0]
        return _Motion(
            handle=GoalHandle(desired=position),
            position=spline,
            velocity=rate,
            duration=float(spline.x[-1]),
            path_tolerance=self._tolerance(goal.path_tolerance, self._params.path_tolerance_rad),
            goal_tolerance=self._tolerance(goal.goal_tolerance, self._params.goal_tolerance_rad),
            goal_time=_or_default(goal.goal_time_tolerance, self._params.goal_time_tolerance_s),
            progress=elapsed,
            offset=offset,
            offset_rate=velocity - (rate(t) if moving else 0.0),
        )

    def _check_speed(self, rate: BPoly, times: Array) -> None:
        samples = np.abs(rate(np.linspace(times[0], times[-1], _CHECK_SAMPLES)))
        fast = samples.max(axis=0) > self._limits.velocity * _VELOCITY_SLACK
        if fast.any():
            i = int(np.argmax(fast))
            raise _invalid(
                f"{self._joints[i]} reaches {samples[:, i].max():.3f} rad/s, its limit is "
                f"{self._limits.velocity[i]}"
            )

    def _tolerance(self, named: dict[str, float], default: float) -> Array:
        values = [_or_default(named.get(name, 0.0), default) for name in self._joints]
        return np.array([np.inf if v == 0 else v for v in values])


def _with_entry(
    prepared: PreparedTrajectory, elapsed: float, position: Array, velocity: Array
) -> BPoly:
    """The spline with the way from the arm's commanded state to its first point."""
    times, derivatives, spline = prepared.times, prepared.derivatives, prepared.spline
    first = float(times[0])
    if first > 0:
        begin = max(0.0, min(elapsed, first - _SHORTEST_ENTRY_S))
        here = [position, velocity, np.zeros_like(position)]
    elif spline is None:  # one point, at once: stay there
        begin, first = 0.0, _SHORTEST_ENTRY_S
        here = [d[0] for d in derivatives]
    else:
        return spline
    ends = [np.vstack([h, d[0]]) for h, d in zip(here, derivatives, strict=False)]
    entry = _spline(np.array([begin, first]), ends)
    if spline is None:
        return entry
    return BPoly(
        np.concatenate([entry.c, spline.c], axis=1), np.concatenate([entry.x[:1], spline.x])
    )


def _spline(times: Array, derivatives: Sequence[Array]) -> BPoly:
    """Straight, cubic or quintic through points (p,) with 1, 2 or 3 derivatives (p, n) each."""
    return BPoly.from_derivatives(times, np.stack(list(derivatives), axis=1))


def _or_default(value: float, default: float) -> float:
    """The rule of control_msgs: 0 means the default, a negative value no limit."""
    if value < 0:
        return np.inf
    return value if value > 0 else default


def _fade(offset: Array, rate: Array, age: float, time: float) -> tuple[Array, Array]:
    """A quintic from (offset, rate, 0) at age 0 to rest at zero at age ``time``, and its rate."""
    if age >= time:
        return np.zeros_like(offset), np.zeros_like(offset)
    s = age / time
    b, db = 1 - 10 * s**3 + 15 * s**4 - 6 * s**5, -30 * s**2 + 60 * s**3 - 30 * s**4
    c, dc = s - 6 * s**3 + 8 * s**4 - 3 * s**5, 1 - 18 * s**2 + 32 * s**3 - 15 * s**4
    return offset * b + rate * time * c, offset * db / time + rate * dc


def _end(handle: GoalHandle, state: GoalState, code: ErrorCode, message: str) -> None:
    handle.code, handle.message, handle.state = code, message, state


def _invalid(message: str) -> TrajectoryRefusedError:
    return TrajectoryRefusedError(ErrorCode.INVALID_GOAL, message)
