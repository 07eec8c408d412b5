"""The transforms of one frame in its parent over time.

Rotations are quaternions xyzw as plain tuples: at these sizes NumPy would cost more than it saves.
"""

import bisect
import math
from typing import NamedTuple

from .exceptions import ExtrapolationException


class Edge(NamedTuple):
    """A frame in its parent at one moment: parent_from_child."""

    parent: str
    rotation: tuple[float, float, float, float]
    translation: tuple[float, float, float]


def multiply(a, b):
    """Quaternion product a * b, xyzw."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def conjugate(q):
    """The inverse rotation."""
    return (-q[0], -q[1], -q[2], q[3])


def rotate(q, v):
    """The vector v turned by q."""
    return multiply(multiply(q, (*v, 0.0)), conjugate(q))[:3]


def slerp(a, b, ratio):
    """From rotation a (ratio 0) to b (ratio 1) along the shorter arc."""
    dot = sum(p * q for p, q in zip(a, b, strict=True))
    if dot < 0.0:
        b, dot = tuple(-q for q in b), -dot
    angle = math.acos(min(dot, 1.0))
    if angle < 1e-9:
        return a
    first, second = math.sin((1 - ratio) * angle), math.sin(ratio * angle)
    return tuple((first * p + second * q) / math.sin(angle) for p, q in zip(a, b, strict=True))


class StaticCache:
    """One transform that holds at all times."""

    latest = 0  # no time of its own

    def __init__(self, edge):
        self._edge = edge

    @property
    def parent(self):
        return self._edge.parent

    def at(self, stamp):
        return self._edge

    def clear(self):
        """What is static survives a clearing."""


class TimeCache:
    """Transforms by stamp, the last `length` nanoseconds of them."""

    def __init__(self, length):
        self._length = length
        self._stamps = []
        self._edges = []

    @property
    def latest(self):
        return self._stamps[-1] if self._stamps else 0

    @property
    def parent(self):
        return self._edges[-1].parent if self._edges else None

    def insert(self, stamp, edge):
        """Stores a transform; False when it is older than everything worth keeping."""
        expired = bisect.bisect_left(self._stamps, self.latest - self._length)
        del self._stamps[:expired], self._edges[:expired]
        if self._stamps and stamp < self.latest - self._length:
            return False
        place = bisect.bisect_right(self._stamps, stamp)
        same = bisect.bisect_left(self._stamps, stamp)
        if edge not in self._edges[same:place]:
            self._stamps.insert(place, stamp)
            self._edges.insert(place, edge)
        return True

    def at(self, stamp):
        """The transform at a time (0: the latest), between two stored ones interpolated."""
        stamps = self._stamps
        if not stamps:
            raise ExtrapolationException("no data is in the buffer")
        if stamp == 0 or stamp == stamps[-1]:
            return self._edges[-1]
        if stamp == stamps[0]:
            return self._edges[0]
        if not stamps[0] < stamp < stamps[-1]:
            raise ExtrapolationException(_outside(stamp, stamps))
        after = bisect.bisect_right(stamps, stamp)
        older, newer = self._edges[after - 1], self._edges[after]
        if older.parent != newer.parent:
            return older
        ratio = (stamp - stamps[after - 1]) / (stamps[after] - stamps[after - 1])
        translation = tuple(
            (1 - ratio) * a + ratio * b
            for a, b in zip(older.translation, newer.translation, strict=True)
        )
        return Edge(older.parent, slerp(older.rotation, newer.rotation, ratio), translation)

    def clear(self):
        self._stamps.clear()
        self._edges.clear()


def _outside(stamp, stamps):
    requested = f"requested time {stamp / 1e9:.6f}"
    if len(stamps) == 1:
        return f"{requested}, but only time {stamps[0] / 1e9:.6f} is in the buffer"
    if stamp > stamps[-1]:
        return f"{requested} lies in the future: the latest data is at {stamps[-1] / 1e9:.6f}"
    return f"{requested} lies in the past: the earliest data is at {stamps[0] / 1e9:.6f}"
