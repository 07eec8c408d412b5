"""Plans as markers, for people."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point, PoseStamped, Vector3
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.planning.place_planner import PlacePlan, Plan
from s3k_ros.grasp.planning.planner import GraspPlan
from s3k_ros.ros.conversions import transform_to_message

Array = NDArray[np.float64]

# Sizes of the drawn hand, m: fingers as of a 2F-85, seen beside its open jaws.
_FINGER_SIZE_M = (0.022, 0.012, 0.045)
_PATH_WIDTH_M = 0.004
_ARROW_M = (0.01, 0.02, 0.02)
_PATH_COLOUR = (0.1, 0.6, 1.0, 0.9)
_BEFORE, _THERE, _AFTER = (1.0, 0.8, 0.1, 0.4), (0.1, 0.9, 0.2, 0.7), (0.7, 0.3, 1.0, 0.4)
_COLOURS = {
    "path": _PATH_COLOUR,
    **{"pregrasp": _BEFORE, "grasp": _THERE, "lifted": _AFTER},
    **{"above": _BEFORE, "place": _THERE, "retreated": _AFTER},
    "release": _THERE,
}


def plan_markers(plan: Plan, opening: float, header: Header) -> MarkerArray:
    """A plan for people: the tool's path, the way in, and the fingers at its poses.

    Args:
        plan: the plan.
        opening: m between the open jaws.
        header: base frame and time.
    """
    path = _marker(header, "path", 0, Marker.LINE_STRIP)
    path.points = [_point(p) for p in plan.tcp_path]
    path.scale = Vector3(x=_PATH_WIDTH_M)
    clear = Marker(header=header, action=Marker.DELETEALL)
    poses = _poses(plan)
    fingers = [
        _finger(header, name, index, pose, side * (opening + _FINGER_SIZE_M[1]) / 2)
        for name, pose in poses.items()
        for index, side in enumerate((-1.0, 1.0))
    ]
    if len(poses) == 1:
        return MarkerArray(markers=[clear, path, *fingers])
    before, there = list(poses)[:2]
    arrow = _marker(header, there, 10, Marker.ARROW)
    arrow.points = [_point(poses[name].translation) for name in (before, there)]
    arrow.scale = Vector3(**dict(zip("xyz", _ARROW_M, strict=True)))
    return MarkerArray(markers=[clear, path, arrow, *fingers])


def _poses(plan: Plan) -> dict[str, Transform]:
    """Poses of the hand by name, in order; one alone when there is no way in."""
    match plan:
        case GraspPlan():
            return {"pregrasp": plan.pregrasp, "grasp": plan.grasp, "lifted": plan.lifted}
        case PlacePlan():
            return {"above": plan.above, "place": plan.pose, "retreated": plan.retreated}
    return {"release": plan.pose}


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


def pose_stamped(base_from_tcp: Transform, header: Header) -> PoseStamped:
    """A pose in the base frame."""
    message = PoseStamped(header=header)
    transform = transform_to_message(base_from_tcp)
    t = transform.translation
    message.pose.position = Point(x=t.x, y=t.y, z=t.z)
    message.pose.orientation = transform.rotation
    return message
