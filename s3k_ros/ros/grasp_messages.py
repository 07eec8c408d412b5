"""GraspAtKeypoint's goal, feedback and result, and a grasp plan as markers."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point, PoseStamped, Vector3
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from s3k_ros.action import GraspAtKeypoint
from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.events import Outcome
from s3k_ros.grasp.goal import GraspGoal
from s3k_ros.grasp.planner import GraspPlan
from s3k_ros.grasp.state import GraspState
from s3k_ros.msg import Keypoint3D
from s3k_ros.ros.conversions import transform_to_message

Array = NDArray[np.float64]

# Sizes of the drawn hand, m: fingers as of a 2F-85, seen beside its open jaws.
_FINGER_SIZE_M = (0.022, 0.012, 0.045)
_PATH_WIDTH_M = 0.004
_ARROW_M = (0.01, 0.02, 0.02)
_COLOURS = {
    "path": (0.1, 0.6, 1.0, 0.9),
    "pregrasp": (1.0, 0.8, 0.1, 0.4),
    "grasp": (0.1, 0.9, 0.2, 0.7),
    "lifted": (0.7, 0.3, 1.0, 0.4),
}


def goal_from_message(
    goal: GraspAtKeypoint.Goal, base_from_frame: Transform | None = None
) -> GraspGoal:
    """The library's goal.

    Args:
        goal: the message.
        base_from_frame: pose of the frame of ``goal.approach``; None when it is the base frame.
    """
    v = goal.approach.vector
    approach = np.array([v.x, v.y, v.z])
    if base_from_frame is not None:
        approach = base_from_frame.rotate(approach)
    x, y, z = (float(value) for value in approach)
    return GraspGoal(
        object_id=goal.object_id,
        keypoint=goal.keypoint,
        toward_keypoint=goal.toward_keypoint,
        approach=(x, y, z),
        offset=(goal.offset.x, goal.offset.y, goal.offset.z),
        approach_distance_m=goal.approach_distance,
        lift_height_m=goal.lift_height,
        opening_width_m=goal.opening_width,
        grip_force_n=goal.grip_force,
        contact_force_limit_n=goal.contact_force_limit,
        min_confidence=float(goal.min_confidence),
        dry_run=goal.dry_run,
    )


def result_to_message(outcome: Outcome, header: Header) -> GraspAtKeypoint.Result:
    """The action's result; ``header`` has the base frame."""
    result = GraspAtKeypoint.Result(
        code=int(outcome.code),
        message=outcome.message,
        phase=str(outcome.phase),
        width=float(outcome.width),
        holding=int(outcome.holding),
    )
    if outcome.grasp_pose is not None:
        result.grasp_pose = pose_stamped(outcome.grasp_pose, header)
    if outcome.keypoint is not None and isinstance(outcome.keypoint.source, Keypoint3D):
        result.keypoint = outcome.keypoint.source
    return result


def feedback_to_message(state: GraspState, fraction: float) -> GraspAtKeypoint.Feedback:
    """The action's feedback."""
    feedback = GraspAtKeypoint.Feedback(phase=str(state.phase), progress=float(fraction))
    if state.keypoint is not None and isinstance(state.keypoint.source, Keypoint3D):
        feedback.keypoint = state.keypoint.source
    return feedback


def pose_stamped(base_from_tcp: Transform, header: Header) -> PoseStamped:
    """A pose in the base frame."""
    message = PoseStamped(header=header)
    transform = transform_to_message(base_from_tcp)
    t = transform.translation
    message.pose.position = Point(x=t.x, y=t.y, z=t.z)
    message.pose.orientation = transform.rotation
    return message


def plan_markers(plan: GraspPlan, opening: float, header: Header) -> MarkerArray:
    """A plan for people: the tool's path, the way in, and the fingers at its three poses.

    Args:
        plan: the plan.
        opening: m between the open jaws.
        header: base frame and time.
    """
    path = _marker(header, "path", 0, Marker.LINE_STRIP)
    path.points = [_point(p) for p in plan.tcp_path]
    path.scale = Vector3(x=_PATH_WIDTH_M)
    arrow = _marker(header, "grasp", 10, Marker.ARROW)
    arrow.points = [_point(plan.pregrasp.translation), _point(plan.grasp.translation)]
    arrow.scale = Vector3(**dict(zip("xyz", _ARROW_M, strict=True)))
    clear = Marker(header=header, action=Marker.DELETEALL)
    poses = {"pregrasp": plan.pregrasp, "grasp": plan.grasp, "lifted": plan.lifted}
    fingers = [
        _finger(header, name, index, pose, side * (opening + _FINGER_SIZE_M[1]) / 2)
        for name, pose in poses.items()
        for index, side in enumerate((-1.0, 1.0))
    ]
    return MarkerArray(markers=[clear, path, arrow, *fingers])


def _finger(header: Header, name: str, index: int, pose: Transform, y: float) -> Marker:
    marker = _marker(header, name, index, Marker.CUBE)
    centre = Transform(np.eye(3), np.array([0.0, y, -_FINGER_SIZE_M[2] / 2]))
    marker.pose = pose_stamped(pose @ centre, header).pose
    marker.scale = Vector3(**dict(zip("xyz", _FINGER_SIZE_M, strict=True)))
    return marker


def _marker(header: Header, name: str, index: int, kind: int) -> Marker:
    r, g, b, a = _COLOURS[name]
    marker = Marker(header=header, ns=f"grasp_plan/{name}", id=index, type=kind, action=Marker.ADD)
    marker.color = ColorRGBA(r=r, g=g, b=b, a=a)
    marker.pose.orientation.w = 1.0
    return marker


def _point(values: Array) -> Point:
    x, y, z = (float(value) for value in values)
    return Point(x=x, y=y, z=z)
