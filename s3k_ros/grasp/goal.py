"""The goal of a grasp and its checks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from s3k_ros.grasp.codes import GraspCode
from s3k_ros.params.grasp import GraspParameters, RobotParameters

Vector = tuple[float, float, float]


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


_NUMBERS = (
    "approach_distance_m",
    "lift_height_m",
    "opening_width_m",
    "grip_force_n",
    "contact_force_limit_n",
    "min_confidence",
)
# An offset is for reaching beside a keypoint, not for other places.
_MAX_OFFSET_M = 0.3


def resolve(goal: GraspGoal, grasp: GraspParameters, robot: RobotParameters) -> GraspGoal | Refusal:
    """Fills a goal's gaps from the parameters and checks it.

    Returns:
        The goal with every number set, or INVALID_GOAL with the field, its value and the range.
    """
    if not goal.keypoint:
        return Refusal(GraspCode.INVALID_GOAL, "keypoint must not be empty")
    if goal.keypoint == goal.toward_keypoint:
        return Refusal(
            GraspCode.INVALID_GOAL, f"toward_keypoint must differ from keypoint {goal.keypoint!r}"
        )
    values = [(name, getattr(goal, name)) for name in _NUMBERS]
    values += [
        (f"{name}[{i}]", v)
        for name in ("approach", "offset")
        for i, v in enumerate(getattr(goal, name))
    ]
    for name, value in values:
        if not math.isfinite(value):
            return Refusal(GraspCode.INVALID_GOAL, f"{name} = {value} must be finite")
    if math.hypot(*goal.offset) > _MAX_OFFSET_M:
        return Refusal(
            GraspCode.INVALID_GOAL, f"offset = {goal.offset} is longer than {_MAX_OFFSET_M} m"
        )
    filled = {name: getattr(goal, name) for name in _NUMBERS if getattr(goal, name) >= 0.0}
    for info in GraspParameters.describe():
        if info.name in filled and _outside(filled[info.name], info.low, info.high):
            return Refusal(
                GraspCode.INVALID_GOAL,
                f"{info.name} = {filled[info.name]:g} is not allowed: {info.allowed}",
            )
    defaults = {name: getattr(grasp, name) for name in _NUMBERS}
    width = filled.get("opening_width_m", min(grasp.opening_width_m, robot.gripper_opening_m))
    if width > robot.gripper_opening_m + 1e-9:
        return Refusal(
            GraspCode.INVALID_GOAL,
            f"opening_width_m = {width:g} is wider than the gripper: {robot.gripper_opening_m:g} m",
        )
    numbers = {**defaults, **filled, "opening_width_m": width}
    approach = grasp.approach if math.hypot(*goal.approach) < 1e-6 else goal.approach
    length = math.hypot(*approach)
    unit = (approach[0] / length, approach[1] / length, approach[2] / length)
    return dataclasses.replace(goal, approach=unit, **numbers)


def check_names(goal: GraspGoal, object_id: str, names: Sequence[str]) -> Refusal | None:
    """Whether the running model knows the goal's object and keypoints."""
    if goal.object_id and object_id and goal.object_id != object_id:
        return Refusal(
            GraspCode.INVALID_GOAL,
            f"object_id {goal.object_id!r} is not the running model's object {object_id!r}",
        )
    for name in filter(None, (goal.keypoint, goal.toward_keypoint)):
        if name not in names:
            return Refusal(
                GraspCode.UNKNOWN_KEYPOINT,
                f"keypoint {name!r} is unknown; valid: {', '.join(names)}",
            )
    return None


def _outside(value: float, low: float | None, high: float | None) -> bool:
    return (low is not None and value < low) or (high is not None and value > high)
