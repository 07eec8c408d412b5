"""What a client hands out, and goals of what it is given: no ROS types on the user's side."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from geometry_msgs.msg import Pose as PoseMessage
from geometry_msgs.msg import PoseStamped, Vector3, Vector3Stamped
from numpy.typing import NDArray

from s3k_ros.action import GraspAtKeypoint, PlaceAt, Release
from s3k_ros.errors import ConfigurationError
from s3k_ros.grasp.codes import GraspCode, Holding, KeypointStatus
from s3k_ros.msg import Keypoint3D, Keypoint3DArray
from s3k_ros.ros.conversions import nanoseconds

Array = NDArray[np.float64]
Vector = Sequence[float]


@dataclasses.dataclass(frozen=True)
class Pose:
    """A pose: m, unit quaternion (x, y, z, w), and the frame; empty for the robot's base."""

    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)
    frame: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Keypoint:
    """One keypoint in the base frame.

    Attributes:
        position: (3,) m; NaN unless `valid`.
        covariance: (3, 3) m^2.
        confidence: 0 to 1.
        status: OK, or why there is no position.
    """

    name: str
    position: Array
    covariance: Array
    confidence: float
    status: KeypointStatus

    @property
    def valid(self) -> bool:
        """Whether it was seen."""
        return self.status == KeypointStatus.OK

    @property
    def spread_m(self) -> float:
        """Largest standard deviation of the position, m; NaN when not known."""
        if not np.isfinite(self.covariance).all():
            return math.nan
        return float(math.sqrt(max(np.linalg.eigvalsh(self.covariance)[-1], 0.0)))


@dataclasses.dataclass(frozen=True, eq=False)
class Progress:
    """Where a task stands: its phase, 0 to 1 over the whole, and the keypoint as last seen."""

    phase: str
    fraction: float
    keypoint: Keypoint | None


@dataclasses.dataclass(frozen=True, eq=False)
class TaskResult:
    """How a grasp, a place or a release ended. True where it did what it was asked to.

    Attributes:
        code: why it ended.
        message: for people, with values.
        phase: in which it ended.
        holding: whether the jaws hold something now.
        width_m: between the jaws; NaN when not known.
        pose: of the tool centre point at the grasp or place, base frame; None when there
            is none.
        keypoint: that it rests on; None when there was none.
        dry_run: nothing was to move.
    """

    code: GraspCode
    message: str
    phase: str
    holding: Holding
    width_m: float
    pose: Pose | None = None
    keypoint: Keypoint | None = None
    dry_run: bool = False

    @property
    def held(self) -> bool:
        """Whether the jaws hold something now, as far as the server knows."""
        return self.holding == Holding.HOLDING

    @property
    def succeeded(self) -> bool:
        """Whether the code is SUCCESS; a grasp may end so and leave `holding` UNKNOWN."""
        return self.code == GraspCode.SUCCESS

    def __bool__(self) -> bool:
        return self.succeeded

    def __str__(self) -> str:
        where = "" if self.succeeded or not self.phase else f" in {self.phase}"
        return f"{self.code.name}{where}: {self.message}"


class ReleaseOptions(TypedDict, total=False):
    """What may be said of a release; what is left out is the server's parameter.

    release_width_m: gap to which the jaws open. retreat_distance_m: straight way back afterwards.
    contact_force_limit_n: force at the wrist that stops the motion.
    """

    release_width_m: float
    retreat_distance_m: float
    contact_force_limit_n: float


class _MotionOptions(TypedDict, total=False):
    """What grasps and places have in common.

    object_id: empty for any running model's. approach: direction of the hand's motion, base frame.
    offset: m, base frame, added to the position. approach_distance_m: straight way before it.
    min_confidence: 0 to 1, of the keypoint. dry_run: plan and show the plan, move nothing.
    """

    object_id: str
    approach: Vector
    offset: Vector
    approach_distance_m: float
    contact_force_limit_n: float
    min_confidence: float
    dry_run: bool


class GraspOptions(_MotionOptions, total=False):
    """What may be said of a grasp; what is left out is the server's parameter.

    As `_MotionOptions`, and lift_height_m: straight way up after the grasp. opening_width_m: gap
    of the jaws on the way in. grip_force_n: with which they close.
    """

    lift_height_m: float
    opening_width_m: float
    grip_force_n: float


class PlaceOptions(_MotionOptions, total=False):
    """What may be said of a place; what is left out is the server's parameter.

    As `_MotionOptions`, and retreat_distance_m: straight way back after it. release_width_m: gap
    to which the jaws open. until_contact: let go at the first contact on the way down.
    """

    retreat_distance_m: float
    release_width_m: float
    until_contact: bool


def grasp_goal(keypoint: str, toward: str, options: GraspOptions) -> GraspAtKeypoint.Goal:
    """A goal of the client's arguments.

    Raises:
        ConfigurationError: an option that is none, or of another kind.
    """
    goal = GraspAtKeypoint.Goal(keypoint=keypoint, toward_keypoint=toward)
    return _filled(goal, dict(options), GraspOptions)


def place_goal(at: str | Vector | Pose, toward: str, options: PlaceOptions) -> PlaceAt.Goal:
    """A goal for a keypoint, a position in the base frame, or a pose.

    Raises:
        ConfigurationError: it is none of these, or as in `grasp_goal`.
    """
    goal = PlaceAt.Goal(toward_keypoint=toward)
    if isinstance(at, str):
        goal.keypoint = at
    elif isinstance(at, Pose):
        goal.pose = _pose_message(at)
        goal.use_orientation = True
    else:
        goal.pose = _pose_message(Pose(_three("at", at)))
    return _filled(goal, dict(options), PlaceOptions)


def release_goal(options: ReleaseOptions) -> Release.Goal:
    """A goal of the client's arguments."""
    return _filled(Release.Goal(), dict(options), ReleaseOptions)


def keypoint_from_message(message: Keypoint3D) -> Keypoint | None:
    """None for an empty one: a goal without a keypoint."""
    if not message.name:
        return None
    p = message.position
    return Keypoint(
        name=message.name,
        position=np.array([p.x, p.y, p.z]),
        covariance=np.array(message.covariance).reshape(3, 3),
        confidence=float(message.confidence),
        status=KeypointStatus(message.status),
    )


def keypoints_from_message(message: Keypoint3DArray) -> dict[str, Keypoint]:
    """By name."""
    found = map(keypoint_from_message, message.keypoints)
    return {keypoint.name: keypoint for keypoint in found if keypoint is not None}


def stamp_s(message: Keypoint3DArray) -> float:
    """When its images were exposed, s."""
    return 1e-9 * nanoseconds(message.header.stamp)


def progress_from_message(feedback: Any) -> Progress:
    """Of any of the three actions."""
    keypoint = getattr(feedback, "keypoint", None)
    return Progress(
        phase=feedback.phase,
        fraction=float(feedback.progress),
        keypoint=None if keypoint is None else keypoint_from_message(keypoint),
    )


def result_from_message(result: Any, *, dry_run: bool = False) -> TaskResult:
    """Of any of the three actions."""
    known = result.code in list(GraspCode)
    note = "" if known else f" (code {result.code}, which this client does not know)"
    pose = getattr(result, "grasp_pose", None) or getattr(result, "place_pose", None)
    keypoint = getattr(result, "keypoint", None)
    return TaskResult(
        code=GraspCode(result.code) if known else GraspCode.INTERNAL,
        message=result.message + note,
        phase=result.phase,
        holding=Holding(result.holding),
        width_m=float(result.width),
        pose=None if pose is None else _pose(pose),
        keypoint=None if keypoint is None else keypoint_from_message(keypoint),
        dry_run=dry_run,
    )


def _filled(goal: Any, options: dict[str, Any], kind: type) -> Any:
    """Sets the goal's fields, which have the options' names without units."""
    valid = list(kind.__annotations__)
    for name, value in options.items():
        if name not in valid:
            raise ConfigurationError(f"there is no option {name!r}; valid: {', '.join(valid)}")
        if name == "approach":
            x, y, z = _three(name, value)
            value = Vector3Stamped(vector=Vector3(x=x, y=y, z=z))
        elif name == "offset":
            x, y, z = _three(name, value)
            value = Vector3(x=x, y=y, z=z)
        elif not isinstance(value, str):
            value = value if isinstance(value, bool) else float(value)
        setattr(goal, name.removesuffix("_m").removesuffix("_n"), value)
    return goal


def _three(name: str, values: Vector) -> tuple[float, float, float]:
    try:
        x, y, z = (float(value) for value in values)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{name} = {values!r} must be three numbers") from None
    return x, y, z


def _pose_message(pose: Pose) -> PoseStamped:
    message = PoseStamped()
    message.header.frame_id = pose.frame
    p, q = message.pose.position, message.pose.orientation
    p.x, p.y, p.z = _three("position", pose.position)
    q.x, q.y, q.z, q.w = (float(value) for value in pose.orientation)
    return message


def _pose(message: PoseStamped) -> Pose | None:
    if not message.header.frame_id:
        return None
    inner: PoseMessage = message.pose
    p, q = inner.position, inner.orientation
    return Pose((p.x, p.y, p.z), (q.x, q.y, q.z, q.w), message.header.frame_id)
