"""What closes a shoe: laces in bars or crossed, straps, and a bow, laid over tongue and upper.

The frame is that of `shoe_form`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, PchipInterpolator

from s3k_ros.simulation.generators.shoe_shape import ShoeShape

Array = NDArray[np.float64]

_SIDES = 6  # of a tube


@dataclasses.dataclass(frozen=True)
class Seat:
    """What laces lie on.

    Attributes:
        wall: (rows, columns, 3) the upper, from the sole to its rim.
        rim: (columns, 3) its upper edge, around from the heel by the inner side.
        tongue: (rows, columns, 3) the tongue's outer face.
    """

    wall: Array
    rim: Array
    tongue: Array

    def on_wall(self, outer: bool, x: float, t: float) -> Array:
        """The point of the upper below the rim's point at x, at height t (0 sole, 1 rim)."""
        last = len(self.rim) - 1
        columns = np.arange(last // 2, last + 1)[::-1] if outer else np.arange(last // 2 + 1)
        column = float(np.interp(x, self.rim[columns, 0], columns))
        row = t * (len(self.wall) - 1)
        left, low = min(int(column), last - 1), min(int(row), len(self.wall) - 2)
        a, b = column - left, row - low
        corners = self.wall[low : low + 2, left : left + 2]
        return np.einsum("i,j,ijk->k", [1 - b, b], [1 - a, a], corners)

    def crest(self, x: float) -> Array:
        """The tongue's outer face in the middle at x."""
        middle = self.tongue[:, self.tongue.shape[1] // 2]
        order = np.argsort(middle[:, 0])
        return np.array([np.interp(x, middle[order, 0], middle[order, k]) for k in range(3)])

    def axes(self, x: float) -> tuple[Array, Array]:
        """Unit vectors at the tongue's crest at x: out of it, and up along it."""
        along = self.crest(x - 0.03) - self.crest(x + 0.03)
        along /= np.linalg.norm(along)
        return np.array([along[2], 0.0, -along[0]]), along


def laces(shape: ShoeShape, seat: Seat) -> list[Array]:
    """Grids of points, (around, along, 3), one a lace, strap or part of the bow."""
    mouth, throat = shape["mouth_x"], shape["throat_x"]
    if shape.lacing == "straps":
        places = np.linspace(mouth + 0.035, throat - 0.05, shape.rows)
        half = 0.36 * abs(places[1] - places[0])
        return [_over(seat, (x, x), (0.62, 0.5), half, 0.006) for x in places]
    places = np.linspace(mouth + 0.012, throat - 0.02, shape.rows)
    width, thick = shape["lace"], 0.4 * shape["lace"] + 0.001
    made = [_over(seat, (places[-1],) * 2, (0.9, 0.9), width, thick)]
    for i in range(shape.rows - 1):
        upper, lower = places[i], places[i + 1]
        pairs = [(upper, upper)] if shape.lacing == "bars" else [(upper, lower), (lower, upper)]
        made += [_over(seat, pair, (0.9, 0.9), width, thick) for pair in pairs]
    if shape.bow:
        made += _bow(seat, float(places[0]), width, thick)
    return made


def _over(
    seat: Seat, x: tuple[float, float], t: tuple[float, float], half_width: float,
    half_height: float,
) -> Array:  # fmt: skip
    """A tube from the inner side at x[0] over the tongue to the outer side at x[1]."""
    normal, along = seat.axes(0.5 * (x[0] + x[1]))
    lift = (half_height + 0.003) * normal
    ends = []
    for outer in (False, True):
        steps = np.array([t[outer], 0.5 * (t[outer] + 0.98), 0.98])
        aside = np.array([0.0, 0.004 if outer else -0.004, 0.0])
        points = [seat.on_wall(outer, x[outer], step) + lift + aside for step in steps]
        points[0] = points[0] - 1.2 * lift  # into the eyelet
        ends.append(points)
    crest = seat.crest(0.5 * (x[0] + x[1])) + lift
    knots = np.stack([*ends[0], crest, *ends[1][::-1]])
    length = _lengths(knots)
    line = PchipInterpolator(length, knots)(np.linspace(0, length[-1], 13))
    return _tube(line, half_width, half_height, along)


def _bow(seat: Seat, x: float, half_width: float, half_height: float) -> list[Array]:
    """Two loops, two ends and the knot, lying on the upper."""
    normal, along = seat.axes(x)
    knot = seat.crest(x) + (3.0 * half_height + 0.003) * normal
    made = [_tube(knot + np.outer([-0.016, 0, 0.016], [0, 1, 0]), half_width, 0.014, along)]
    for outer in (False, True):
        away = np.array([0.0, 1.0 if outer else -1.0, 0.0])

        def lying(dx: float, t: float, lift: float, out: float, outer: bool = outer) -> Array:
            aside = np.array([0.25 * lift, out if outer else -out, 0.97 * lift])
            return np.asarray(seat.on_wall(outer, x + dx, t) + aside, float)

        loop = [
            *(knot, knot + 0.03 * away + 0.02 * normal, lying(0.0, 0.72, 0.03, 0.012)),
            *(lying(0.05, 0.6, 0.03, 0.018), lying(0.09, 0.74, 0.028, 0.008)),
            *(knot + 0.03 * away + [0.03, 0, 0.0], knot),
        ]
        end = [
            *(knot, lying(0.05, 0.85, 0.02, 0.0), lying(0.10, 0.6, 0.012, 0.008)),
            lying(0.13, 0.45, 0.008, 0.008),
        ]
        for points, count in ((loop, 15), (end, 8)):
            knots = np.stack(points)
            length = _lengths(knots)
            line = np.asarray(CubicSpline(length, knots)(np.linspace(0, length[-1], count)), float)
            made.append(_tube(line, 0.8 * half_width, half_height, along))
    return made


def _lengths(line: Array) -> Array:
    return np.concatenate([[0], np.linalg.norm(np.diff(line, axis=0), axis=1).cumsum()])


def _tube(line: Array, half_width: float, half_height: float, side: Array) -> Array:
    """An elliptic tube about a line (N, 3), closed at its ends: rows around, columns along it.

    ``side`` (3,) is the way in which it is ``half_width`` wide, as far as the line allows.
    """
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-12
    over = np.cross(np.broadcast_to(side, line.shape), along)
    over /= np.linalg.norm(over, axis=1, keepdims=True) + 1e-12
    across = np.cross(along, over)
    angle = np.linspace(0, 2 * np.pi, _SIDES + 1)[:, None, None]
    skin = line + half_width * np.cos(angle) * across + half_height * np.sin(angle) * over
    caps = [np.repeat(line[None, i : i + 1], _SIDES + 1, axis=0) for i in (0, -1)]
    return np.concatenate([caps[0], skin, caps[1]], axis=1)
