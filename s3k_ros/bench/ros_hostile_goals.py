"""Malformed goals for the grasp server's three actions; each has at least one thing wrong.

What is wrong is put into an otherwise good goal, alone or with others, so that each check is met by
itself too. Harmless oddities (subnormal offsets, negative numbers, names with spaces in a field
that is not looked at) come on top: they must not make a bad goal pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from s3k_ros.action import GraspAtKeypoint, PlaceAt, Release

Rng = np.random.Generator
Change = Callable[[Any, Rng], None]

NOT_FINITE = (float("nan"), float("inf"), float("-inf"))
HUGE = (1e9, 1e30, 1.7e308)
SUBNORMAL = (5e-324, 1e-310)
NAMES = (
    "", "left_ear", "right_front_paw ", "Right_Front_Paw", "../../etc/passwd", "%s%n{}", "\n", "爪",
    "'; --", "a" * 300, "b" * 100_000,
)  # fmt: skip
FRAMES = ("nowhere", "/base", "base ", "\n", "f" * 50_000)


def _numbers(names: tuple[str, ...], values: tuple[float, ...]) -> Change:
    def change(goal: Any, rng: Rng) -> None:
        setattr(goal, str(rng.choice(names)), float(rng.choice(values)))

    return change


def _vector(field: str, values: tuple[float, ...]) -> Change:
    """One component of a vector, or all."""

    def change(goal: Any, rng: Rng) -> None:
        vector = getattr(goal, field)
        vector = getattr(vector, "vector", vector)
        axes = ("x", "y", "z") if rng.integers(2) else (str(rng.choice(["x", "y", "z"])),)
        for axis in axes:
            setattr(vector, axis, float(rng.choice(values)))

    return change


def _name(field: str, keep_empty: bool = False) -> Change:
    """A name that the model lacks; an empty one only where it means something bad."""

    def change(goal: Any, rng: Rng) -> None:
        setattr(goal, field, NAMES[int(rng.integers(0 if keep_empty else 1, len(NAMES)))])

    return change


def _frame(goal: Any, rng: Rng) -> None:
    goal.approach.header.frame_id = str(FRAMES[int(rng.integers(len(FRAMES)))])
    goal.approach.vector.z = -1.0


def _same_names(goal: Any, rng: Rng) -> None:
    goal.toward_keypoint = goal.keypoint


def _pose_only(goal: Any) -> None:
    goal.keypoint = goal.toward_keypoint = ""


def _place_frame(goal: Any, rng: Rng) -> None:
    _pose_only(goal)
    goal.pose.header.frame_id = str(FRAMES[int(rng.integers(len(FRAMES)))])


def _place_position(goal: Any, rng: Rng) -> None:
    _pose_only(goal)
    setattr(goal.pose.pose.position, str(rng.choice(["x", "y", "z"])),
            float(rng.choice(NOT_FINITE + HUGE)))  # fmt: skip


def _place_turn(goal: Any, rng: Rng) -> None:
    """A quaternion that is none: norm 0, subnormal, far from 1, or not finite."""
    _pose_only(goal)
    goal.use_orientation = True
    value = float(rng.choice((0.0, *SUBNORMAL, 1e200, *NOT_FINITE)))
    q = goal.pose.pose.orientation
    q.x = q.y = q.z = q.w = value


_GRASP_NUMBERS = (
    "approach_distance", "lift_height", "opening_width", "grip_force", "contact_force_limit",
    "min_confidence",
)  # fmt: skip
_PLACE_NUMBERS = (
    "approach_distance", "retreat_distance", "release_width", "contact_force_limit",
    "min_confidence",
)  # fmt: skip
_RELEASE_NUMBERS = ("release_width", "retreat_distance", "contact_force_limit")
# A zero contact force would stop every motion: out of range. So are all subnormal ones.
_GRASP = (
    _numbers(_GRASP_NUMBERS, NOT_FINITE),
    _numbers(_GRASP_NUMBERS[:-1], HUGE),
    _numbers(_GRASP_NUMBERS[:-1], (0.0, *SUBNORMAL)),
    _numbers(("min_confidence",), (1.0001, 3e38)),
    _vector("approach", NOT_FINITE),
    _vector("offset", NOT_FINITE + HUGE),
    _name("keypoint", keep_empty=True),
    _name("toward_keypoint"),
    _name("object_id"),
    _frame,
    _same_names,
)
_PLACE = (
    _numbers(_PLACE_NUMBERS, NOT_FINITE),
    _numbers(_PLACE_NUMBERS[:-1], HUGE),
    _vector("approach", NOT_FINITE),
    _vector("offset", NOT_FINITE + HUGE),
    _name("keypoint"),
    _name("toward_keypoint"),
    _name("object_id"),
    _frame,
    _place_frame,
    _place_position,
    _place_turn,
)
_RELEASE = (
    _numbers(_RELEASE_NUMBERS, NOT_FINITE),
    _numbers(_RELEASE_NUMBERS, HUGE),
)
_ODD = (_vector("offset", SUBNORMAL), _vector("approach", SUBNORMAL))

KINDS = {"grasp_at_keypoint": GraspAtKeypoint, "place_at": PlaceAt, "release": Release}
_BAD = {"grasp_at_keypoint": _GRASP, "place_at": _PLACE, "release": _RELEASE}


def hostile_goal(action: str, rng: Rng) -> Any:
    """A goal for an action by its name, with one to three things wrong."""
    goal = KINDS[action].Goal()
    if action != "release":
        goal.keypoint, goal.toward_keypoint = "right_front_paw", "body"
        if rng.integers(2):
            goal.dry_run = bool(rng.integers(2))
            _ODD[int(rng.integers(len(_ODD)))](goal, rng)
    changes = _BAD[action]
    # Later changes may mend what earlier ones broke, so the last one decides: it comes last.
    for index in rng.integers(len(changes), size=int(rng.integers(1, 4))):
        changes[int(index)](goal, rng)
    return goal
