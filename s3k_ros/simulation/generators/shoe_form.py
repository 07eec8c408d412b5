"""The surfaces of a shoe, lofted from its measures: sole, upper, lining, tongue and lacing.

Frame while it is built: a left shoe of length 1, heel at x = 0, toe towards +x, the outer side
towards +y, the ground at z = 0. Rings run around the shoe, anticlockwise seen from above, from the
middle of the heel along the inner side to the toe and back along the outer side.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, PchipInterpolator

from s3k_ros.simulation.generators import shoe_lacing
from s3k_ros.simulation.generators.shoe_shape import HEELED, TALL, ShoeShape

Array = NDArray[np.float64]

COLUMNS = 60  # around a ring; even
WALL_ROWS = 13
# Outline of a usual last: x and y of the outer and the inner side, from heel to toe.
_OUTER = np.array([
    (0.03, 0.082), (0.10, 0.121), (0.22, 0.133), (0.40, 0.146), (0.58, 0.176),
    (0.70, 0.184), (0.82, 0.164), (0.92, 0.116), (0.98, 0.052),
])  # fmt: skip
_INNER = np.array([
    (0.03, -0.078), (0.11, -0.113), (0.25, -0.117), (0.42, -0.112), (0.58, -0.141),
    (0.72, -0.169), (0.83, -0.164), (0.93, -0.135), (0.985, -0.085),
])  # fmt: skip
_TIP = (1.0, -0.022)
_HEEL_BREAST_X = 0.27  # where a separate heel ends


@dataclasses.dataclass(frozen=True)
class ShoeForm:
    """Grids of points, (rows, columns, 3), in lengths of the last, which the sole overhangs.

    Attributes:
        wall: the upper from the sole (row 0) to its rim.
        lining: from the rim over the edge down to the insole and its middle.
        sole_side: from the ground up to the seam with the upper.
        sole_bottom: from the middle line out to the edge.
        tongue: its outer and its inner face, each from its foot to its free end.
        laces: one tube each, columns around it; straps are wide, flat tubes.
        sole_top: (COLUMNS + 1,) height of the seam around the shoe.
        keypoints: front, tongue and heel, (3,).
    """

    wall: Array
    lining: Array
    sole_side: Array
    sole_bottom: Array
    tongue: tuple[Array, Array]
    laces: tuple[Array, ...]
    sole_top: Array
    keypoints: dict[str, Array]


def build_form(shape: ShoeShape) -> ShoeForm:
    """All surfaces of a shoe and its keypoints.

    `front` is the foremost point of the seam of sole and upper, `heel` the middle of the rim at the
    back, `tongue` the middle of the tongue's free end.
    """
    outline = _outline(shape)
    outward = _outward(outline)
    top, bottom = _sole_heights(shape, outline[:, 0])
    rim = _rim(shape, outline, top)
    wall = _wall(shape, outline - 0.004 * outward, top - 0.004, rim)
    tongue, tip = _tongue(shape, rim)
    edge = wall[-1]
    side = _sole_side(shape, outline, outward, top, bottom)
    half = COLUMNS // 2
    return ShoeForm(
        wall=wall,
        lining=_lining(edge, outline, outward, top),
        sole_side=side,
        sole_bottom=np.stack([_spine(side[0]), side[0]]),
        tongue=tongue,
        laces=tuple(shoe_lacing.laces(shape, shoe_lacing.Seat(wall, rim, tongue[0]))),
        sole_top=top,
        keypoints={"front": side[-2, half], "tongue": tip, "heel": edge[0]},
    )


def _smooth(value: Array) -> Array:
    value = np.clip(value, 0, 1)
    return value * value * (3 - 2 * value)


def _close(ring: Array) -> Array:
    return np.concatenate([ring, ring[:1]])


def _outline(shape: ShoeShape) -> Array:
    """The last seen from above, (COLUMNS + 1, 2), closed, points at equal arcs on each side."""
    points = np.concatenate([[(0.0, 0.0)], _INNER, [_TIP], _OUTER[::-1]])
    x, y = points.T
    share = _smooth((x - 0.25) / 0.3)
    y = y * ((1 - share) * shape["heel"] + share * shape["ball"])
    y = y * (1 - 0.45 * shape["pointed"] * np.clip((x - 0.66) / 0.34, 0, 1) ** 1.5)
    y = y - shape["bend"] * _smooth((x - 0.5) / 0.5)
    ring = _close(np.stack([x, y], axis=1))
    length = np.concatenate([[0], np.linalg.norm(np.diff(ring, axis=0), axis=1).cumsum()])
    dense = CubicSpline(length, ring, bc_type="periodic")(np.linspace(0, length[-1], 2001))[:-1]
    dense = np.roll(dense, -int(np.argmin(dense[:, 0])), axis=0)
    dense = _close(dense)
    toe = int(np.argmax(dense[:, 0]))
    sides = [_even(dense[: toe + 1]), _even(dense[toe:])[1:]]
    ring = np.concatenate(sides)
    ring[:, 0] = (ring[:, 0] - dense[0, 0]) / (dense[toe, 0] - dense[0, 0])
    return ring


def _even(line: Array) -> Array:
    """A line's points at COLUMNS / 2 equal arcs."""
    length = np.concatenate([[0], np.linalg.norm(np.diff(line, axis=0), axis=1).cumsum()])
    at = np.linspace(0, length[-1], COLUMNS // 2 + 1)
    return np.stack([np.interp(at, length, c) for c in line.T], axis=1)


def _outward(ring: Array) -> Array:
    """Unit normals (N, 2) of a closed, anticlockwise ring (N, 2) whose ends are one point."""
    along = np.roll(ring[:-1], -1, axis=0) - np.roll(ring[:-1], 1, axis=0)
    normal = np.stack([along[:, 1], -along[:, 0]], axis=1)
    return _close(normal / np.linalg.norm(normal, axis=1, keepdims=True))


def _sole_heights(shape: ShoeShape, x: Array) -> tuple[Array, Array]:
    """Heights of the seam with the upper and of the lower edge, at places x."""
    spring = shape["spring"] * np.clip((x - 0.68) / 0.32, 0, 1) ** 2
    spring = spring + 0.012 * np.clip((0.06 - x) / 0.06, 0, 1) ** 2
    drop = _smooth((x - 0.15) / 0.45)
    thickness = (1 - drop) * shape["heel_sole"] + drop * shape["fore_sole"]
    if shape.style == "court":  # a rubber bumper at the toe
        thickness = thickness + 0.03 * _smooth((x - 0.8) / 0.15)
    top = spring + thickness
    if shape.style in HEELED:
        behind = _smooth((x - _HEEL_BREAST_X) / 0.02)
        return top, spring + behind * np.maximum(0.0, thickness - shape["fore_sole"])
    return top, spring


def _rim(shape: ShoeShape, outline: Array, top: Array) -> Array:
    """The upper edge of the upper, (COLUMNS + 1, 3): collar, lacing and the lacing's front end."""
    half = COLUMNS // 2
    inner = _rim_side(shape, outline[: half + 1, 0])
    outer = _rim_side(shape, outline[half:, 0][::-1])[::-1]
    inner[:, 1] *= -1
    ring = np.concatenate([inner, outer[1:]])
    ring[:, 1] -= 0.012 * _smooth((ring[:, 0] - 0.2) / 0.4)
    seam = np.interp(ring[:, 0], outline[: half + 1, 0], top[: half + 1])
    ring[:, 2] += seam
    return ring


def _rim_side(shape: ShoeShape, x: Array) -> Array:
    """Half of the rim for columns that start at the outline's places x, from heel to toe."""
    mouth, throat, gap = shape["mouth_x"], shape["throat_x"], shape["gap"]
    width = shape["heel"]
    mid_z = 0.5 * (shape["mouth_z"] + shape["throat_z"])
    sag = (0.24 if shape.style in TALL else 0.16) * (shape["mouth_z"] - shape["throat_z"])
    lift = shape["mouth_z"] - shape["ankle_z"]
    back = 0.035 if shape.style in TALL else 0.045
    knots = np.array([
        # x of the outline, then x, |y| and z of the rim
        (0.0, back, 0.0, shape["heel_z"]),
        (0.03, back + 0.012, 0.052 * width, shape["heel_z"] - 0.004),
        (0.10, 0.11, 0.088 * width, 0.5 * (shape["heel_z"] + shape["ankle_z"])),
        (0.22, 0.21, 0.104 * width, shape["ankle_z"]),
        (0.82 * mouth, 0.82 * mouth, 0.094 * width, shape["ankle_z"] + 0.5 * lift),
        (mouth + 0.03, mouth, gap, shape["mouth_z"]),
        (0.5 * (mouth + throat) + 0.06, 0.5 * (mouth + throat), 0.8 * gap, mid_z - sag),
        (throat + 0.10, throat - 0.012, 0.62 * gap, shape["throat_z"]),
        (0.5 * (throat + 0.10) + 0.5, throat + 0.012, 0.45 * gap, shape["throat_z"] - 0.004),
        (1.0, throat + 0.02, 0.0, shape["throat_z"] - 0.006),
    ])  # fmt: skip
    return np.asarray(PchipInterpolator(knots[:, 0], knots[:, 1:])(np.clip(x, 0, 1)), float)


def _wall(shape: ShoeShape, outline: Array, top: Array, rim: Array) -> Array:
    """The upper: from each point of the outline a superellipse's quarter up to the rim."""
    x = outline[:, 0]
    mouth = shape["mouth_x"]
    knots = (0.0, 0.25, mouth + 0.03, 0.75, 1.0)
    exponent = np.interp(x, knots, (2.4, 2.3, 1.75, 1.85, shape["toe_box"]))[None, :, None]
    t = np.linspace(0, 1, WALL_ROWS)[:, None, None]
    up = np.sin(np.pi / 2 * t) ** (2 / exponent)
    across = 1 - np.cos(np.pi / 2 * t) ** (2 / exponent)
    start = np.concatenate([outline, top[:, None]], axis=1)
    wall = start + np.concatenate([across, across, up], axis=-1) * (rim - start)
    # The counter bulges behind the heel and the ball is fuller than a straight wall.
    full = np.concatenate([_outward(outline), np.zeros((len(outline), 1))], axis=1)
    bulge = 0.012 * np.exp(-((x / 0.1) ** 2)) + 0.006 * np.exp(-(((x - 0.7) / 0.1) ** 2))
    wall = wall + np.sin(np.pi * t) * bulge[None, :, None] * full
    if shape.style in TALL:  # and a shaft is narrow above the heel
        waist = np.exp(-(((wall[..., 2:] - top[None, :, None] - 0.26) / 0.12) ** 2))
        behind = (1 - _smooth((x - 0.05) / 0.4))[None, :, None]
        wall = wall - 0.028 * waist * behind * np.sin(np.pi * t) ** 0.5 * full
    return wall


def _spine(ring: Array, rise: float = 0.0) -> Array:
    """For each point of a ring (N, 3) the middle of the shoe at its x: a line from heel to toe."""
    half = COLUMNS // 2
    inner, outer = ring[: half + 1], ring[half:][::-1]
    x = np.clip(ring[:, 0], ring[:, 0].min() + 0.03, ring[:, 0].max() - 0.03)
    sides = [
        np.stack([np.interp(x, side[:, 0], side[:, k]) for k in (1, 2)], axis=1)
        for side in (inner, outer)
    ]
    y, z = (0.5 * (sides[0] + sides[1])).T
    return np.stack([x, y, z + rise], axis=1)


def _lining(edge: Array, outline: Array, outward: Array, top: Array) -> Array:
    """From the rim over a rounded edge down to the insole."""
    inward = -_outward(edge[:, :2])
    # The front end of the lacing is narrow: neighbours must not cross.
    step = np.minimum(0.022, 0.6 * np.abs(edge[:, 1] - edge[0, 1]) + 0.012)[:, None]
    over = edge + np.concatenate([0.5 * step * inward, np.full((len(edge), 1), 0.005)], axis=1)
    within = edge + np.concatenate([step * inward, np.full((len(edge), 1), -0.008)], axis=1)
    foot = outline - 0.03 * outward
    low = np.concatenate([foot, top[:, None] + 0.012], axis=1)
    return np.stack([edge, over, within, low, _spine(low, -0.004)])


def _sole_side(
    shape: ShoeShape, outline: Array, outward: Array, top: Array, bottom: Array
) -> Array:
    flare = shape["flare"]
    rows = [
        (0.0, -0.012),
        (0.1, -0.2 * flare),
        (0.5, 0.85 * flare),
        (0.85, flare),
        (1.0, 0.6 * flare),
    ]
    ring = [
        np.concatenate(
            [outline + out * outward, (bottom + share * (top - bottom))[:, None]], axis=1
        )
        for share, out in rows
    ]
    lip = np.concatenate([outline - 0.012 * outward, top[:, None] + 0.002], axis=1)
    return np.stack([*ring, lip])


def _middle(shape: ShoeShape, rim: Array) -> tuple[Array, Array]:
    """The tongue's middle line from its foot to its free end, (rows, 3), and its half widths."""
    half = COLUMNS // 2
    mouth, throat = shape["mouth_x"], shape["throat_x"]
    outer = rim[half:]
    order = np.argsort(outer[:, 0])
    centre = 0.5 * (rim[: half + 1] + outer[::-1])
    x = np.linspace(throat + 0.015, mouth, 5)
    z = np.interp(x, outer[order, 0], outer[order, 2]) - [0.02, 0.004, 0.002, 0.002, 0.004]
    angle = np.radians(shape["tongue_angle"])
    rise = shape["tongue_rise"] / np.sin(angle)
    end = np.array([x[-1] - rise * np.cos(angle), z[-1] + rise * np.sin(angle)])
    line = np.concatenate([np.stack([x, z], axis=1), [end]])
    length = np.concatenate([[0], np.linalg.norm(np.diff(line, axis=0), axis=1).cumsum()])
    at = length[-1] * np.array([0, 0.15, 0.3, 0.45, 0.6, 0.72, 0.82, 0.9, 0.95, 0.985, 1.0])
    path = PchipInterpolator(length, line)(at)
    y = np.interp(path[:, 0], centre[:, 0], centre[:, 1])
    gap = shape["gap"]
    wide = np.interp(
        path[:, 0], [mouth - 0.04, mouth, throat], [gap + 0.036, gap + 0.028, 0.62 * gap + 0.018]
    )
    wide = wide * np.array([1, 1, 1, 1, 1, 1, 1, 0.98, 0.9, 0.66, 0.0])
    return np.stack([path[:, 0], y, path[:, 1]], axis=1), wide


def _tongue(shape: ShoeShape, rim: Array) -> tuple[tuple[Array, Array], Array]:
    """Both faces of the tongue, and the middle of its free end."""
    line, wide = _middle(shape, rim)
    along = np.gradient(line, axis=0)
    normal = np.stack([along[:, 2], np.zeros(len(line)), -along[:, 0]], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    across = np.linspace(-1, 1, 9)
    y = across[None, :] * wide[:, None]
    # Arched over the foot, thick in the middle, thin at its border and at its end.
    arch = -0.42 * y**2 / max(wide.max(), 1e-9)
    body = np.sqrt(1 - across**2) * np.minimum(1.0, wide / (0.6 * wide.max()))[:, None]
    thick = shape["tongue_thick"] * body
    faces = []
    for side in (1.0, -1.0):
        points = line[:, None, :] + (arch + side * 0.5 * thick)[..., None] * normal[:, None, :]
        points[..., 1] += y
        faces.append(points)
    # Columns run to the right of who looks at a face: along +y from in front, with the tongue up.
    return (faces[0], faces[1][:, ::-1]), line[-1]
