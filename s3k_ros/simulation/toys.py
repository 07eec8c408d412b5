"""Distractor toys: rigid free bodies made of a few ellipsoids, boxes or cylinders.

Families keep evaluation honest: training, development and test scenes draw from disjoint kinds.
"""

from __future__ import annotations

import dataclasses

import mujoco
import numpy as np
from dm_control import mjcf
from numpy.typing import NDArray

from s3k_ros.simulation.plush import ARM_BIT, GROUND_BIT, TOY_BIT

Array = NDArray[np.float64]
Shape = tuple[str, tuple[float, ...], tuple[float, float, float], int]


@dataclasses.dataclass(frozen=True)
class Toy:
    """A kind of toy.

    Attributes:
        shapes: (geom type, size, centre, colour slot) a shape; m, toy frame with the ground at z 0.
        radius_m: of the disc that the toy needs on the table.
    """

    name: str
    family: str
    radius_m: float
    shapes: tuple[Shape, ...]


_E, _B, _C = "ellipsoid", "box", "cylinder"


def _pair(
    kind: str, size: tuple[float, ...], centre: tuple[float, float, float], slot: int
) -> tuple[Shape, Shape]:
    """A shape and its mirror image across the toy's middle."""
    x, y, z = centre
    return (kind, size, (x, y, z), slot), (kind, size, (x, -y, z), slot)


_BEAR = (
    (_E, (0.055, 0.05, 0.045), (0, 0, 0.045), 0),
    (_E, (0.036, 0.036, 0.034), (0.075, 0, 0.06), 0),
    *_pair(_E, (0.012, 0.01, 0.012), (0.072, 0.03, 0.09), 1),
    *_pair(_E, (0.02, 0.03, 0.02), (0.04, 0.055, 0.022), 1),
    *_pair(_E, (0.022, 0.03, 0.02), (-0.045, 0.045, 0.022), 1),
)
_BRICKS = (
    (_B, (0.045, 0.022, 0.018), (0, 0, 0.018), 0),
    (_B, (0.022, 0.022, 0.018), (0.01, 0, 0.054), 1),
)
_BALL = ((_E, (0.042, 0.042, 0.042), (0, 0, 0.042), 0),)
_RABBIT = (
    (_E, (0.05, 0.04, 0.04), (0, 0, 0.04), 0),
    (_E, (0.03, 0.03, 0.03), (0.06, 0, 0.06), 0),
    *_pair(_E, (0.04, 0.01, 0.008), (0.03, 0.02, 0.092), 1),
    (_E, (0.016, 0.016, 0.016), (-0.055, 0, 0.045), 1),
)
_RINGS = (
    (_C, (0.045, 0.012), (0, 0, 0.012), 0),
    (_C, (0.034, 0.012), (0, 0, 0.036), 1),
    (_C, (0.022, 0.012), (0, 0, 0.06), 2),
)
_DUCK = (
    (_E, (0.055, 0.04, 0.034), (0, 0, 0.034), 0),
    (_E, (0.028, 0.028, 0.028), (0.045, 0, 0.078), 0),
    (_E, (0.018, 0.012, 0.006), (0.075, 0, 0.074), 1),
    (_E, (0.02, 0.012, 0.014), (-0.06, 0, 0.045), 1),
)
_CAR = (
    (_B, (0.06, 0.028, 0.014), (0, 0, 0.028), 0),
    (_B, (0.03, 0.025, 0.013), (-0.008, 0, 0.055), 1),
    *_pair(_E, (0.015, 0.008, 0.015), (0.038, 0.03, 0.015), 2),
    *_pair(_E, (0.015, 0.008, 0.015), (-0.038, 0.03, 0.015), 2),
)
_CATERPILLAR = tuple(
    (_E, (0.026, 0.026, 0.026), (0.04 * i - 0.08, 0.012 * (-1) ** i, 0.026), i % 3)
    for i in range(5)
)

TOYS = (
    Toy("bear", "train", 0.085, _BEAR),
    Toy("bricks", "train", 0.06, _BRICKS),
    Toy("ball", "train", 0.045, _BALL),
    Toy("rabbit", "dev", 0.085, _RABBIT),
    Toy("rings", "dev", 0.05, _RINGS),
    Toy("duck", "test", 0.075, _DUCK),
    Toy("car", "test", 0.075, _CAR),
    Toy("caterpillar", "test", 0.1, _CATERPILLAR),
)

FAMILIES = ("train", "dev", "test")
_COLOURS = 3


def add_toys(root: mjcf.RootElement) -> None:
    """Adds every toy of every family to an MJCF tree, each a free body with a fur of its own."""
    for toy in TOYS:
        body = root.worldbody.add("body", name=toy.name)
        body.add("freejoint", name=toy.name)
        for slot in range(_COLOURS):
            root.asset.add("material", name=f"{toy.name}_{slot}", specular=0.05, shininess=0.1)
        for kind, size, centre, slot in toy.shapes:
            body.add(
                "geom",
                type=kind,
                size=size,
                pos=centre,
                material=f"{toy.name}_{slot}",
                density=150,
                friction=(0.9, 0.02, 0.01),
                condim=6,
                contype=TOY_BIT,
                conaffinity=ARM_BIT | GROUND_BIT | TOY_BIT,
            )


def place(data: mujoco.MjData, name: str, position: Array, yaw_rad: float) -> None:
    """Puts a toy at a world position (3,), m, turned about z, at rest."""
    joint = data.joint(name)
    joint.qpos[:3] = position
    joint.qpos[3:] = [np.cos(yaw_rad / 2), 0.0, 0.0, np.sin(yaw_rad / 2)]
    joint.qvel[:] = 0.0


def paint(model: mujoco.MjModel, name: str, colours: Array) -> None:
    """Gives a toy's colour slots the colours (3, 3), RGB in 0..1."""
    for slot, colour in enumerate(colours):
        model.material(f"{name}_{slot}").rgba[:3] = colour
