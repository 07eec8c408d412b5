"""Goals, feedback and results of the actions GraspAtKeypoint, PlaceAt and Release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geometry_msgs.msg import PoseStamped, Quaternion, Vector3Stamped
from std_msgs.msg import Header

from s3k_ros.action import GraspAtKeypoint, PlaceAt, Release
from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.codes import Phase
from s3k_ros.grasp.goal import Goal, GraspGoal, PlaceGoal, ReleaseGoal, Vector
from s3k_ros.grasp.goal import Quaternion as Orientation
from s3k_ros.grasp.tasks.events import Outcome
from s3k_ros.grasp.tasks.state import TaskState, WatchingState
from s3k_ros.msg import Keypoint3D
from s3k_ros.ros.plan_markers import pose_stamped

ACTIONS = {"grasp_at_keypoint": GraspAtKeypoint, "place_at": PlaceAt, "release": Release}
"""The action types by name."""


def first_phase(action: type) -> Phase:
    """The phase in which a goal of an action is refused."""
    return Phase.RELEASE if action is Release else Phase.OBSERVE


def frames(request: Any, base_frame: str) -> dict[str, str]:
    """Name of the frame for each field of a goal that is not in the base frame, and counts."""
    stamped: dict[str, str] = {}
    if isinstance(request, GraspAtKeypoint.Goal | PlaceAt.Goal):
        v = request.approach.vector
        if (v.x, v.y, v.z) != (0.0, 0.0, 0.0):
            stamped["approach"] = request.approach.header.frame_id
    if isinstance(request, PlaceAt.Goal) and (request.use_orientation or not request.keypoint):
        stamped["pose"] = request.pose.header.frame_id
    return {field: name for field, name in stamped.items() if name not in ("", base_frame)}


def goal_from_message(request: Any, base_from: Mapping[str, Transform] | None = None) -> Goal:
    """The library's goal.

    Args:
        request: a goal of any of the actions.
        base_from: pose of the frame of each field that `frames` names.
    """
    base_from = base_from or {}
    if isinstance(request, GraspAtKeypoint.Goal):
        return GraspGoal(
            object_id=request.object_id,
            keypoint=request.keypoint,
            toward_keypoint=request.toward_keypoint,
            approach=_direction(request.approach, base_from.get("approach")),
            offset=(request.offset.x, request.offset.y, request.offset.z),
            approach_distance_m=request.approach_distance,
            lift_height_m=request.lift_height,
            opening_width_m=request.opening_width,
            grip_force_n=request.grip_force,
            contact_force_limit_n=request.contact_force_limit,
            min_confidence=float(request.min_confidence),
            dry_run=request.dry_run,
        )
    if isinstance(request, PlaceAt.Goal):
        position, orientation = _pose(request.pose, base_from.get("pose"))
        return PlaceGoal(
            object_id=request.object_id,
            keypoint=request.keypoint,
            toward_keypoint=request.toward_keypoint,
            position=position,
            orientation=orientation if request.use_orientation else None,
            approach=_direction(request.approach, base_from.get("approach")),
            offset=(request.offset.x, request.offset.y, request.offset.z),
            approach_distance_m=request.approach_distance,
            retreat_distance_m=request.retreat_distance,
            release_width_m=request.release_width,
            until_contact=request.until_contact,
            contact_force_limit_n=request.contact_force_limit,
            min_confidence=float(request.min_confidence),
            dry_run=request.dry_run,
        )
    return ReleaseGoal(
        release_width_m=request.release_width,
        retreat_distance_m=request.retreat_distance,
        contact_force_limit_n=request.contact_force_limit,
    )


def result_to_message(action: type, outcome: Outcome, header: Header) -> Any:
    """The result of an action; ``header`` has the base frame."""
    result = action.Result(  # type: ignore[attr-defined]
        code=int(outcome.code),
        message=outcome.message,
        phase=str(outcome.phase),
        width=float(outcome.width),
        holding=int(outcome.holding),
    )
    if outcome.grasp_pose is not None and action is GraspAtKeypoint:
        result.grasp_pose = pose_stamped(outcome.grasp_pose, header)
    if outcome.grasp_pose is not None and action is PlaceAt:
        result.place_pose = pose_stamped(outcome.grasp_pose, header)
    if outcome.keypoint is not None and isinstance(outcome.keypoint.source, Keypoint3D):
        result.keypoint = outcome.keypoint.source
    return result


def feedback_to_message(action: type, state: TaskState, fraction: float) -> Any:
    """The feedback of an action."""
    feedback = action.Feedback(  # type: ignore[attr-defined]
        phase=str(state.phase), progress=float(fraction)
    )
    if isinstance(state, WatchingState) and state.keypoint is not None:
        source = state.keypoint.source
        if isinstance(source, Keypoint3D):
            feedback.keypoint = source
    return feedback


def _direction(stamped: Vector3Stamped, base_from_frame: Transform | None) -> Vector:
    v = (stamped.vector.x, stamped.vector.y, stamped.vector.z)
    if base_from_frame is None:
        return v
    x, y, z = base_from_frame.rotate(v).tolist()
    return x, y, z


def _pose(stamped: PoseStamped, base_from_frame: Transform | None) -> tuple[Vector, Orientation]:
    """Position and quaternion in the base frame; the quaternion keeps its norm, good or bad."""
    p, q = stamped.pose.position, stamped.pose.orientation
    position, orientation = (p.x, p.y, p.z), (q.x, q.y, q.z, q.w)
    if base_from_frame is None:
        return position, orientation
    x, y, z = (base_from_frame.rotate(position) + base_from_frame.translation).tolist()
    bx, by, bz, bw = base_from_frame.quaternion.tolist()
    return (x, y, z), _times(Quaternion(x=bx, y=by, z=bz, w=bw), q)


def _times(a: Quaternion, b: Quaternion) -> Orientation:
    """The Hamilton product."""
    return (
        a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
        a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x,
        a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w,
        a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z,
    )
