"""Goals of control_msgs/FollowJointTrajectory: what they hold, and whether they fit the arm."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BPoly

Array = NDArray[np.float64]

UNRESTRICTED = -1.0
"""A tolerance that never fails, as in control_msgs/JointTolerance."""

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

    def end(self, state: GoalState, code: ErrorCode, message: str) -> None:
        """Sets the outcome; the state comes last, since others look at it."""
        self.code, self.message, self.state = code, message, state


@dataclasses.dataclass(frozen=True)
class PreparedTrajectory:
    """A goal that was checked, in the arm's order of joints.

    Attributes:
        goal: as it came.
        times: (p,) s since the start.
        derivatives: positions, and velocities and accelerations where given, (p, n) each.
        spline: through these points; None for one point.
    """

    goal: TrajectoryGoal
    times: Array
    derivatives: tuple[Array, ...]
    spline: BPoly | None

    def spline_from(self, elapsed: float, position: Array, velocity: Array) -> BPoly:
        """The spline with the way from the arm's commanded state (n,) to its first point."""
        times, derivatives, spline = self.times, self.derivatives, self.spline
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


def prepare(goal: TrajectoryGoal, joints: Sequence[str], limits: JointLimits) -> PreparedTrajectory:
    """Checks a goal and fits its spline.

    Args:
        goal: joints in any order.
        joints: of the arm, in its order.
        limits: of these joints.

    Raises:
        TrajectoryRefusedError: the goal does not fit the arm.
    """
    order = _order(goal, joints)
    times, derivatives = _points(goal, order)
    _check_limits(derivatives, joints, limits)
    spline = _spline(times, derivatives) if times.size > 1 else None
    return PreparedTrajectory(goal, times, tuple(derivatives), spline)


def invalid(message: str) -> TrajectoryRefusedError:
    """A refusal as INVALID_GOAL."""
    return TrajectoryRefusedError(ErrorCode.INVALID_GOAL, message)


def or_default(value: float, default: float) -> float:
    """The rule of control_msgs: 0 means the default, a negative value no limit."""
    if value < 0:
        return np.inf
    return value if value > 0 else default


def _order(goal: TrajectoryGoal, joints: Sequence[str]) -> list[int]:
    if sorted(goal.joints) != sorted(joints):
        raise TrajectoryRefusedError(
            ErrorCode.INVALID_JOINTS,
            f"joints {list(goal.joints)} must be {list(joints)}, in any order",
        )
    unknown = sorted((set(goal.path_tolerance) | set(goal.goal_tolerance)) - set(joints))
    if unknown:
        raise TrajectoryRefusedError(
            ErrorCode.INVALID_JOINTS, f"tolerance for an unknown joint {unknown[0]!r}"
        )
    return [goal.joints.index(name) for name in joints]


def _points(goal: TrajectoryGoal, order: Sequence[int]) -> tuple[Array, list[Array]]:
    """Checked times (p,) and [positions, velocities?, accelerations?] (p, n) in this order."""
    times = np.asarray(goal.times, dtype=np.float64)
    if times.ndim != 1 or times.size == 0:
        raise invalid("the trajectory has no points")
    derivatives = [goal.positions]
    if goal.velocities is not None:
        derivatives.append(goal.velocities)
        if goal.accelerations is not None:
            derivatives.append(goal.accelerations)
    arrays = []
    names = ("positions", "velocities", "accelerations")
    for name, values in zip(names, derivatives, strict=False):
        array = np.asarray(values, dtype=np.float64)
        if array.shape != (times.size, len(order)):
            raise invalid(f"{name} have shape {array.shape}, one value a joint and point")
        arrays.append(array[:, order])
    if not (np.isfinite(times).all() and all(np.isfinite(a).all() for a in arrays)):
        raise invalid("the trajectory holds values that are not finite")
    if times[0] < 0 or np.any(np.diff(times) <= 0):
        raise invalid("time_from_start must not be negative and must increase")
    return times, arrays


def _check_limits(derivatives: Sequence[Array], joints: Sequence[str], limits: JointLimits) -> None:
    low, high = limits.lower, limits.upper
    outside = np.any((derivatives[0] < low) | (derivatives[0] > high), axis=0)
    if outside.any():
        i = int(np.argmax(outside))
        raise invalid(f"{joints[i]} leaves its limits {low[i]} to {high[i]} rad")
    if len(derivatives) > 1 and np.any(np.abs(derivatives[1][-1]) > 1e-3):
        raise invalid("the final velocity must be zero")


def _spline(times: Array, derivatives: Sequence[Array]) -> BPoly:
    """Straight, cubic or quintic through points (p,) with 1, 2 or 3 derivatives (p, n) each."""
    return BPoly.from_derivatives(times, np.stack(list(derivatives), axis=1))
