"""The goals of grasp, place and release, and their checks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, TypeVar

from s3k_ros.grasp.codes import GraspCode
from s3k_ros.params.grasp import GraspParameters, RobotParameters

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

# An offset is for reaching beside a place, not for other places.
_MAX_OFFSET_M = 0.3
# A quaternion whose length is further from 1 than this was not meant as an orientation.
_QUATERNION_TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why something is not done: a code for programs, a message for people."""

    code: GraspCode
    message: str


@dataclasses.dataclass(frozen=True)
class GraspGoal:
    """A goal as it was asked for; numbers below zero stand for the server's parameter.

    Attributes:
        object_id: empty accepts the running model's.
        keypoint, toward_keypoint: names; an empty ``toward_keypoint`` leaves the yaw free.
        approach: direction of motion in the base frame, zero for the server's.
        offset: m in the base frame, added to the keypoint.
    """

    keypoint: str
    object_id: str = ""
    toward_keypoint: str = ""
    approach: Vector = (0.0, 0.0, 0.0)
    offset: Vector = (0.0, 0.0, 0.0)
    approach_distance_m: float = -1.0
    lift_height_m: float = -1.0
    opening_width_m: float = -1.0
    grip_force_n: float = -1.0
    contact_force_limit_n: float = -1.0
    min_confidence: float = -1.0
    dry_run: bool = False


@dataclasses.dataclass(frozen=True)
class PlaceGoal:
    """Where to put down what is held; numbers below zero stand for the server's parameter.

    Attributes:
        keypoint: name; empty: ``position`` says where.
        object_id, toward_keypoint, approach, offset: as in a grasp.
        position: m, where the tool centre point stands when the jaws open, base frame.
        orientation: of the hand, (x, y, z, w) in the base frame; None: it comes along the approach
            and keeps its yaw as far as it can.
        keep: orientation whose yaw is kept; None: that of the hand when the plan is made.
        held_width_m: gap between the jaws that hold; the server fills it in.
        until_contact: the way down ends at the first contact.
    """

    keypoint: str = ""
    object_id: str = ""
    toward_keypoint: str = ""
    position: Vector = (0.0, 0.0, 0.0)
    orientation: Quaternion | None = None
    keep: Quaternion | None = None
    held_width_m: float = 0.0
    approach: Vector = (0.0, 0.0, 0.0)
    offset: Vector = (0.0, 0.0, 0.0)
    approach_distance_m: float = -1.0
    retreat_distance_m: float = -1.0
    release_width_m: float = -1.0
    until_contact: bool = False
    contact_force_limit_n: float = -1.0
    min_confidence: float = -1.0
    dry_run: bool = False


@dataclasses.dataclass(frozen=True)
class ReleaseGoal:
    """Opening the jaws where the hand is; numbers below zero stand for the server's parameter."""

    release_width_m: float = -1.0
    retreat_distance_m: float = -1.0
    contact_force_limit_n: float = -1.0
    dry_run: bool = False


Goal = GraspGoal | PlaceGoal | ReleaseGoal
G = TypeVar("G", bound=Goal)
_WIDTHS = ("opening_width_m", "release_width_m")


def resolve(goal: G, grasp: GraspParameters, robot: RobotParameters) -> G | Refusal:
    """Fills a goal's gaps from the parameters and checks it.

    Returns:
        The goal with every number set, or INVALID_GOAL with the field, its value and the range.
    """
    if isinstance(goal, ReleaseGoal):
        return _filled(goal, grasp, robot)
    refusal = _refused_names(goal) or _refused_vectors(goal)
    if refusal is not None:
        return refusal
    approach = grasp.approach if math.hypot(*goal.approach) < 1e-6 else goal.approach
    length = math.hypot(*approach)
    unit = (approach[0] / length, approach[1] / length, approach[2] / length)
    return _filled(dataclasses.replace(goal, approach=unit), grasp, robot)


def check_names(
    goal: GraspGoal | PlaceGoal, object_id: str, names: Sequence[str]
) -> Refusal | None:
    """Whether the running model knows the goal's object and keypoints."""
    if goal.object_id and object_id and goal.object_id != object_id:
        return _invalid(
            f"object_id {goal.object_id!r} is not the running model's object {object_id!r}"
        )
    for name in filter(None, (goal.keypoint, goal.toward_keypoint)):
        if name not in names:
            return Refusal(
                GraspCode.UNKNOWN_KEYPOINT,
                f"keypoint {name!r} is unknown; valid: {', '.join(names)}",
            )
    return None


def _refused_names(goal: GraspGoal | PlaceGoal) -> Refusal | None:
    if not goal.keypoint and isinstance(goal, GraspGoal):
        return _invalid("keypoint must not be empty")
    if goal.toward_keypoint and goal.keypoint == goal.toward_keypoint:
        return _invalid(f"toward_keypoint must differ from keypoint {goal.keypoint!r}")
    if goal.toward_keypoint and not goal.keypoint:
        return _invalid(f"toward_keypoint {goal.toward_keypoint!r} needs a keypoint, not a pose")
    return None


def _refused_vectors(goal: GraspGoal | PlaceGoal) -> Refusal | None:
    vectors: dict[str, Sequence[float]] = {"approach": goal.approach, "offset": goal.offset}
    if isinstance(goal, PlaceGoal):
        if not goal.keypoint:
            vectors["pose.position"] = goal.position
        if goal.orientation is not None:
            vectors["pose.orientation"] = goal.orientation
    for name, vector in vectors.items():
        for axis, value in enumerate(vector):
            if not math.isfinite(value):
                return _invalid(f"{name}[{axis}] = {value} must be finite")
    if math.hypot(*goal.offset) > _MAX_OFFSET_M:
        return _invalid(f"offset = {goal.offset} is longer than {_MAX_OFFSET_M} m")
    if isinstance(goal, PlaceGoal) and goal.orientation is not None:
        norm, slack = math.hypot(*goal.orientation), _QUATERNION_TOLERANCE
        if abs(norm - 1.0) > slack:
            allowed = f"allowed: {1 - slack:g} to {1 + slack:g}"
            return _invalid(f"pose.orientation = {goal.orientation} has norm {norm:g}, {allowed}")
    return None


def _filled(goal: G, grasp: GraspParameters, robot: RobotParameters) -> G | Refusal:
    """Every number of a goal, from the goal or from the parameters, within its range."""
    filled: dict[str, Any] = {}
    infos = {info.name: info for info in GraspParameters.describe()}
    names = [f.name for f in dataclasses.fields(goal) if f.name in infos and f.name != "approach"]
    for name in names:
        value, info = getattr(goal, name), infos[name]
        if not math.isfinite(value):
            return _invalid(f"{name} = {value} must be finite")
        if value < 0.0:
            filled[name] = getattr(grasp, name)
            if name in _WIDTHS:
                filled[name] = min(filled[name], robot.gripper_opening_m)
        elif _outside(value, info.low, info.high):
            return _invalid(f"{name} = {value:g} is not allowed: {info.allowed}")
        elif name in _WIDTHS and value > robot.gripper_opening_m + 1e-9:
            widest = f"{robot.gripper_opening_m:g} m"
            return _invalid(f"{name} = {value:g} is wider than the gripper: {widest}")
    return dataclasses.replace(goal, **filled)


def _invalid(message: str) -> Refusal:
    return Refusal(GraspCode.INVALID_GOAL, message)


def _outside(value: float, low: float | None, high: float | None) -> bool:
    return (low is not None and value < low) or (high is not None and value > high)
