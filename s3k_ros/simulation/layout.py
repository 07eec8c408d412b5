"""Poses of objects on a table, so that none stands in another."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_TRIES = 60


@dataclasses.dataclass(frozen=True)
class Footprint:
    """A rectangle on the table, m: its middle, half its length and width, and the turn of it."""

    x: float
    y: float
    half_x: float
    half_y: float
    yaw_rad: float

    def apart(self, other: Footprint, gap_m: float) -> bool:
        """Whether another rectangle keeps a distance, along some side of one of the two."""
        dx, dy = other.x - self.x, other.y - self.y
        turn = other.yaw_rad - self.yaw_rad
        c, s = abs(math.cos(turn)), abs(math.sin(turn))
        for one, two in ((self, other), (other, self)):
            cy, sy = math.cos(one.yaw_rad), math.sin(one.yaw_rad)
            along = abs(dx * cy + dy * sy) - one.half_x - two.half_x * c - two.half_y * s
            across = abs(dy * cy - dx * sy) - one.half_y - two.half_x * s - two.half_y * c
            if max(along, across) >= gap_m:
                return True
        return False

    @property
    def corners(self) -> Array:
        """(4, 2) in order, m."""
        signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        turned_ = turned(self.yaw_rad, 0.0, 0.0)[:2, :2]
        corners: Array = [self.x, self.y] + signs * [self.half_x, self.half_y] @ turned_.T
        return corners


@dataclasses.dataclass(frozen=True)
class Placed:
    """An object on the table.

    Attributes:
        rotation: (3, 3) base_from_object.
        position: (3,) of the object's origin in the base frame, m.
        footprint: the upright rectangle around it, seen from above.
    """

    rotation: Array
    position: Array
    footprint: Footprint


def turned(yaw: float, pitch: float, roll: float) -> Array:
    """Rotation (3, 3) about z by yaw, then about the turned y by pitch and x by roll, rad."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def find_place(
    rng: np.random.Generator,
    vertices: Array,
    reach_m: tuple[float, float],
    tilt: tuple[float, float],
    taken: list[Placed],
    gap_m: float,
) -> Placed | None:
    """A random free place within +-reach of the middle, any yaw; None if none was found.

    The object's lowest point lies on the table, at z 0.

    Args:
        rng: gives place and yaw.
        vertices: (V, 3) of the object, m.
        reach_m: greatest distance of its middle from the workspace's, along x and y.
        tilt: pitch and roll about its own y and x, before it is turned by the yaw, rad.
        taken: what stands there already.
        gap_m: least distance from it, seen from above.
    """
    tilted = vertices @ turned(0.0, *tilt).T
    low, high = tilted.min(axis=0), tilted.max(axis=0)
    half_x, half_y = ((high - low) / 2)[:2].tolist()
    for x, y, yaw in (rng.uniform(-1, 1, (_TRIES, 3)) * [*reach_m, math.pi]).tolist():
        footprint = Footprint(x, y, half_x, half_y, yaw)
        if all(footprint.apart(other.footprint, gap_m) for other in taken):
            middle = np.array([*((low + high) / 2)[:2], low[2]])
            position = np.array([x, y, 0.0]) - turned(yaw, 0.0, 0.0) @ middle
            return Placed(turned(yaw, *tilt), position, footprint)
    return None
