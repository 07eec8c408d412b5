"""Goals of FollowJointTrajectory as ROS 1 and intera's action server take them.

rosbridge refuses a message with a field that ROS 1's definition lacks, and intera's server fails
without a word on much that a ros2_control controller checks. So all of that is checked here.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from control_msgs.action import FollowJointTrajectory
from control_msgs.msg import JointTolerance
from numpy.typing import NDArray

from s3k_ros.errors import DataError
from s3k_ros.ros.conversions import nanoseconds

Array = NDArray[np.float64]

ARM_JOINTS_MUST = "the trajectory must name each joint of the arm once"
_NS_PER_S = 1_000_000_000
# Of a motion that ends at rest, after a planner's last rounding.
_REST_RAD_S = 1e-3
# Shorter numbers on the wire: a nanoradian.
_DIGITS = 9
_Codes = FollowJointTrajectory.Result


class GoalRefusedError(DataError):
    """A goal that the robot cannot follow; ``code`` is FollowJointTrajectory's."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def check_goal(goal: FollowJointTrajectory.Goal, joints: Sequence[str]) -> None:
    """Refuses what intera's server would end without a reason, or follow otherwise than meant.

    Raises:
        GoalRefusedError: with the reason.
    """
    trajectory = goal.trajectory
    if goal.multi_dof_trajectory.points:
        raise _invalid("motion of joints with several degrees of freedom is not possible")
    if sorted(trajectory.joint_names) != sorted(joints):
        found = ", ".join(trajectory.joint_names) or "none"
        raise GoalRefusedError(
            _Codes.INVALID_JOINTS, f"{ARM_JOINTS_MUST}, {', '.join(joints)}; it names {found}"
        )
    if not trajectory.points:
        raise _invalid("the trajectory has no points")
    for name in ("positions", "velocities", "accelerations"):
        _check_column(name, [getattr(p, name) for p in trajectory.points], len(joints))
    times = [nanoseconds(p.time_from_start) for p in trajectory.points]
    if times[0] < 0 or any(b <= a for a, b in itertools.pairwise(times)):
        raise _invalid("time_from_start must increase from point to point, from 0 on")
    last = trajectory.points[-1].velocities
    if len(last) and np.abs(last).max() > _REST_RAD_S:
        raise _invalid("the trajectory does not end at rest: its last velocities are not zero")
    for tolerance in (*goal.path_tolerance, *goal.goal_tolerance):
        if tolerance.name not in joints:
            raise _invalid(f"a tolerance is for joint {tolerance.name!r}, not one of the arm's")
        if not np.isfinite([tolerance.position, tolerance.velocity, tolerance.acceleration]).all():
            raise _invalid(f"the tolerance of joint {tolerance.name!r} is not finite")


def check_start(goal: FollowJointTrajectory.Goal, positions: dict[str, float], most: float) -> None:
    """Refuses a trajectory that begins away from the arm: intera aborts it without a reason.

    Args:
        goal: a checked goal.
        positions: rad, where each joint is.
        most: rad, largest distance where the goal has no tolerance of its own.

    Raises:
        GoalRefusedError: with the joint and its distance.
    """
    own = {t.name: abs(t.position) for t in goal.path_tolerance if t.position != 0.0}
    for name, start in zip(
        goal.trajectory.joint_names, goal.trajectory.points[0].positions, strict=True
    ):
        if name not in positions:
            raise _invalid(f"the position of {name} is not known yet")
        off = abs(start - positions[name])
        if off >= own.get(name, most):
            raise _invalid(
                f"the trajectory begins {off:.3f} rad from where {name} is; "
                f"allowed: {own.get(name, most):.3f}"
            )


def goal_to_ros1(goal: FollowJointTrajectory.Goal, positions: dict[str, float]) -> dict[str, Any]:
    """The goal as a JSON object of ROS 1's control_msgs/FollowJointTrajectoryGoal.

    It starts when it arrives: the start time is kept on this side, see `s3k_ros.ros.sawyer_arm`.
    Left out is what ROS 1's definition lacks (motion and tolerances of joints with several degrees
    of freedom) and the efforts, which intera ignores.

    Args:
        goal: a checked goal.
        positions: rad, where each joint is.
    """
    trajectory = goal.trajectory
    points = [
        {
            "positions": _rounded(p.positions),
            "velocities": _rounded(p.velocities),
            "accelerations": _rounded(p.accelerations),
            "effort": [],
            "time_from_start": _duration(nanoseconds(p.time_from_start)),
        }
        for p in trajectory.points
    ]
    if nanoseconds(trajectory.points[0].time_from_start):
        points.insert(0, _standing(trajectory, positions))
    names = list(trajectory.joint_names)
    return {
        "trajectory": {
            # Without a stamp rosbridge would fill in the present: zero says "at once".
            "header": {"stamp": _duration(0), "frame_id": ""},
            "joint_names": names,
            "points": points,
        },
        "path_tolerance": _tolerances(goal.path_tolerance, names),
        "goal_tolerance": _tolerances(goal.goal_tolerance, names),
        "goal_time_tolerance": _duration(nanoseconds(goal.goal_time_tolerance)),
    }


def goal_end(goal: FollowJointTrajectory.Goal) -> dict[str, float]:
    """rad, where each joint is at the end."""
    last = goal.trajectory.points[-1].positions
    return dict(zip(goal.trajectory.joint_names, map(float, last), strict=True))


def duration_s(goal: FollowJointTrajectory.Goal) -> float:
    """s, from the start to the last point."""
    return nanoseconds(goal.trajectory.points[-1].time_from_start) / _NS_PER_S


def _check_column(name: str, rows: list[Sequence[float]], size: int) -> None:
    lengths = {len(row) for row in rows}
    if name != "positions" and lengths == {0}:
        return
    if lengths != {size}:
        raise _invalid(
            f"{name} must be given for each joint of each point, or (not positions) none"
        )
    if not np.isfinite(np.array(rows)).all():
        raise _invalid(f"{name} are not all finite")


def _standing(trajectory: Any, positions: dict[str, float]) -> dict[str, Any]:
    """A point at time 0: intera's interpolation begins at the first point, whenever that is."""
    first = trajectory.points[0]
    return {
        "positions": _rounded([positions[name] for name in trajectory.joint_names]),
        "velocities": [0.0] * len(first.velocities),
        "accelerations": [0.0] * len(first.accelerations),
        "effort": [],
        "time_from_start": _duration(0),
    }


def _tolerances(given: Sequence[JointTolerance], joints: list[str]) -> list[dict[str, Any]]:
    """All joints or none: intera's server fails on a list that lacks one. 0: its default."""
    if not given:
        return []
    named = {t.name: t for t in given}
    return [
        {
            "name": name,
            "position": named[name].position if name in named else 0.0,
            "velocity": named[name].velocity if name in named else 0.0,
            "acceleration": named[name].acceleration if name in named else 0.0,
        }
        for name in joints
    ]


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), _DIGITS) for value in values]


def _duration(time_ns: int) -> dict[str, int]:
    return {"secs": time_ns // _NS_PER_S, "nsecs": time_ns % _NS_PER_S}


def _invalid(text: str) -> GoalRefusedError:
    return GoalRefusedError(_Codes.INVALID_GOAL, text)
