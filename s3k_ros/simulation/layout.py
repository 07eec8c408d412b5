"""Poses of objects on a table, so that none stands in another."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_TRIES = 60


@dataclasses.dataclass(frozen=True)
class Placed:
    """An object on the table.

    Attributes:
        rotation: (3, 3) base_from_object.
        position: (3,) of the object's origin in the base frame, m.
        corners: (4, 2) of the upright rectangle around it, seen from above, m.
    """

    rotation: Array
    position: Array
    corners: Array


def turned(yaw: float, pitch: float, roll: float) -> Array:
    """Rotation (3, 3) about z by yaw, then about the turned y by pitch and x by roll, rad."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    rotation: Array = about_z @ about_y @ about_x
    return rotation


def put(vertices: Array, place: Array, yaw: float, pitch: float = 0.0, roll: float = 0.0) -> Placed:
    """An object of vertices (V, 3), m, with its middle over a place (2,), its lowest point at z 0.

    It is tilted about its own y and x by ``pitch`` and ``roll``, then turned by ``yaw``, rad.
    """
    tilted = vertices @ turned(0.0, pitch, roll).T
    low, high = tilted.min(axis=0), tilted.max(axis=0)
    middle = (low + high) / 2
    rotation = turned(yaw, 0.0, 0.0)
    position = np.array([*place, 0.0]) - rotation @ np.array([*middle[:2], low[2]])
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    corners = place + (signs * (high - low)[:2] / 2) @ rotation[:2, :2].T
    return Placed(turned(yaw, pitch, roll), position, corners)


def overlap(first: Array, second: Array, gap_m: float) -> bool:
    """Whether two rectangles (4, 2) come closer than a gap; exact but for their corners."""
    for box in (first, second):
        for axis in (box[1] - box[0], box[3] - box[0]):
            axis = axis / max(float(np.linalg.norm(axis)), 1e-12)
            one, other = first @ axis, second @ axis
            if one.min() > other.max() + gap_m or other.min() > one.max() + gap_m:
                return False
    return True


def find_place(
    rng: np.random.Generator,
    vertices: Array,
    reach_m: tuple[float, float],
    tilt: tuple[float, float],
    taken: list[Placed],
    gap_m: float,
) -> Placed | None:
    """A random free place within +-reach of the middle, any yaw; None if none was found.

    Args:
        rng: gives place and yaw.
        vertices: (V, 3) of the object, m.
        reach_m: greatest distance of its middle from the workspace's, along x and y.
        tilt: pitch and roll, rad.
        taken: what stands there already.
        gap_m: least distance from it, seen from above.
    """
    for _ in range(_TRIES):
        place = rng.uniform(-1, 1, 2) * reach_m
        placed = put(vertices, place, rng.uniform(-np.pi, np.pi), *tilt)
        if not any(overlap(placed.corners, other.corners, gap_m) for other in taken):
            return placed
    return None
