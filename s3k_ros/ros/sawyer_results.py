"""Results and feedback of intera's server, and what may have happened when it does not say."""

from __future__ import annotations

from typing import Any

from control_msgs.action import FollowJointTrajectory
from trajectory_msgs.msg import JointTrajectoryPoint

from s3k_ros.ros.conversions import duration_message
from s3k_ros.ros.rosbridge_action import RemoteGoal

_NS = 1_000_000_000
_Result = FollowJointTrajectory.Result
NAMES = {
    _Result.INVALID_GOAL: "INVALID_GOAL",
    _Result.INVALID_JOINTS: "INVALID_JOINTS",
    _Result.OLD_HEADER_TIMESTAMP: "OLD_HEADER_TIMESTAMP",
    _Result.PATH_TOLERANCE_VIOLATED: "PATH_TOLERANCE_VIOLATED",
    _Result.GOAL_TOLERANCE_VIOLATED: "GOAL_TOLERANCE_VIOLATED",
}


def result_from_ros1(message: dict[str, Any]) -> FollowJointTrajectory.Result:
    """The result, checked: it may raise whatever, when it is not one."""
    code, text = int(message["error_code"]), str(message.get("error_string", ""))
    return _Result(error_code=code, error_string=text)


def feedback_from_ros1(message: dict[str, Any]) -> FollowJointTrajectory.Feedback:
    """The feedback, checked: it may raise whatever, when it is none."""
    names = [str(name) for name in message.get("joint_names") or ()]
    points = {name: _point(message.get(name) or {}) for name in ("desired", "actual", "error")}
    return FollowJointTrajectory.Feedback(joint_names=names, **points)


def code_and_text(goal: RemoteGoal) -> tuple[int, str]:
    """FollowJointTrajectory's code, and what was said, of a goal that ended otherwise than well."""
    result = goal.result or _Result()
    said = "; ".join(filter(None, (goal.text, result.error_string)))
    # intera's server names no code for what it refuses.
    code = result.error_code
    return (_Result.INVALID_GOAL if code == _Result.SUCCESSFUL else code), said


def guess(code: int, feedback: FollowJointTrajectory.Feedback | None, tolerance_rad: float) -> str:
    """What may have happened when neither intera nor the robot's state says.

    Args:
        code: FollowJointTrajectory's.
        feedback: the last.
        tolerance_rad: of the path.
    """
    if code != _Result.PATH_TOLERANCE_VIOLATED:
        return "the robot gave no reason; its own log (rosout on the ROS 1 side) may"
    errors = (
        {}
        if feedback is None
        else dict(zip(feedback.joint_names, feedback.error.positions, strict=False))
    )
    worst = max(errors, key=lambda name: abs(errors[name]), default="")
    if worst and abs(errors[worst]) > 0.5 * tolerance_rad:
        return f"{worst} was {errors[worst]:.3f} rad off its path: too fast, or held"
    return (
        "the robot gave no reason, and its state shows none: the cuff was pressed, or a joint left "
        "its path"
    )


def _point(message: dict[str, Any]) -> JointTrajectoryPoint:
    def floats(name: str) -> list[float]:
        return [float("nan") if v is None else float(v) for v in message.get(name) or ()]

    time = message.get("time_from_start") or {}
    return JointTrajectoryPoint(
        positions=floats("positions"),
        velocities=floats("velocities"),
        accelerations=floats("accelerations"),
        time_from_start=duration_message(
            int(time.get("secs", 0)) * _NS + int(time.get("nsecs", 0))
        ),
    )
