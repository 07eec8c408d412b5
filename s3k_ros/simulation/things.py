"""Rigid things of the cell, beside the fox: the game box, the toy boot, and the bin for them.

A thing is seen as its textured mesh, the one that datasets show, and touched as convex colliders.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
from functools import lru_cache

import mujoco
import numpy as np
from dm_control import mjcf
from numpy.typing import NDArray
from PIL import Image

from s3k_ros.simulation.generators import boot, box
from s3k_ros.simulation.mesh import MeshObject
from s3k_ros.simulation.plush import ARM_BIT, GROUND_BIT, TOY_BIT

Array = NDArray[np.float64]

BIN = "bin"
BIN_CENTRE_M = (0.56, 0.54)
"""Middle of the bin's floor on the table, base frame."""
BIN_INNER_M = (0.30, 0.19, 0.10)
"""Inner length along x, width along y and height of the bin."""
BIN_WALL_M = 0.006
_BIN_RGBA = (0.35, 0.42, 0.48, 1.0)

# Fixed things touch the arm (which meets what has the default bit) and all toys.
_FIXED = {"contype": 1 | GROUND_BIT, "conaffinity": 1}
_LOOSE = {"contype": TOY_BIT, "conaffinity": ARM_BIT | GROUND_BIT | TOY_BIT}


@dataclasses.dataclass(frozen=True)
class Thing:
    """A rigid object with keypoints.

    Attributes:
        name: of its body and in `scene_objects`.
        mesh: its look, size and keypoints; its name is the object's id.
        mass_kg: of all.
        slices: number of convex hulls, cut along x, that stand in for it; 0: its bounding box.
        friction: sliding, torsional (m) and rolling (m).
    """

    name: str
    mesh: MeshObject
    mass_kg: float
    slices: int = 0
    friction: tuple[float, float, float] = (0.9, 0.02, 0.001)

    @property
    def radius_m(self) -> float:
        """Of the disc that it needs on the table."""
        return float(np.hypot(*self.mesh.size[:2]) / 2)

    @property
    def names(self) -> tuple[str, ...]:
        """Of its keypoints."""
        return tuple(self.mesh.keypoints)


@lru_cache
def things() -> dict[str, Thing]:
    """All that there are, by name."""
    # A game box of 17 mm holds board, cards and pieces; the boot is hollow plastic.
    known = (Thing("box", box.make_box(), 0.18), Thing("boot", boot.make_boot(), 0.12, slices=5))
    return {thing.name: thing for thing in known}


def add_thing(root: mjcf.RootElement, thing: Thing) -> None:
    """Adds a thing to an MJCF tree as a free body."""
    mesh = thing.mesh
    root.asset.add("texture", name=thing.name, type="2d", file=_png(mesh.texture))
    root.asset.add("material", name=thing.name, texture=thing.name, specular=0.1, shininess=0.1)
    root.asset.add(
        "mesh", name=thing.name, vertex=mesh.vertices.ravel(), face=mesh.faces.ravel(),
        texcoord=mesh.uv.ravel(), inertia="shell",
    )  # fmt: skip
    body = root.worldbody.add("body", name=thing.name)
    body.add("freejoint", name=thing.name)
    body.add(
        "geom", name=thing.name, type="mesh", mesh=thing.name, material=thing.name, group=1,
        mass=0, contype=0, conaffinity=0,
    )  # fmt: skip
    touch = {"group": 3, "condim": 6, "friction": thing.friction, **_LOOSE}
    if not thing.slices:
        body.add("geom", type="box", size=mesh.size / 2, mass=thing.mass_kg, **touch)
    for i, hull in enumerate(_slices(mesh.vertices, thing.slices)):
        name = f"{thing.name}_hull_{i}"
        root.asset.add("mesh", name=name, vertex=hull.ravel())
        body.add("geom", type="mesh", mesh=name, mass=thing.mass_kg / thing.slices, **touch)


def add_bin(root: mjcf.RootElement, table_height_m: float) -> None:
    """Adds the bin to an MJCF tree, fixed. Its floor is the table: only its walls are touched."""
    length, width, height = BIN_INNER_M
    wall = BIN_WALL_M
    body = root.worldbody.add("body", name=BIN, pos=(*BIN_CENTRE_M, table_height_m))
    long, short = (length / 2 + wall, wall / 2, height / 2), (wall / 2, width / 2, height / 2)
    across, along = (width + wall) / 2, (length + wall) / 2
    sides = ((long, 0, across), (long, 0, -across), (short, along, 0), (short, -along, 0))
    for size, x, y in sides:
        body.add(
            "geom", type="box", size=size, pos=(x, y, height / 2), rgba=_BIN_RGBA, group=0, **_FIXED
        )
    body.add(
        "geom", type="box", size=(length / 2, width / 2, 0.001), pos=(0, 0, 0.001), rgba=_BIN_RGBA,
        group=0, contype=0, conaffinity=0,
    )  # fmt: skip


def place(data: mujoco.MjData, thing: Thing, ground: Array, yaw_rad: float) -> None:
    """Stands a thing on a point of the table (3,), world, m, turned about z, at rest."""
    joint = data.joint(thing.name)
    joint.qpos[:3] = ground
    joint.qpos[2] += thing.mesh.size[2] / 2
    joint.qpos[3:] = [np.cos(yaw_rad / 2), 0.0, 0.0, np.sin(yaw_rad / 2)]
    joint.qvel[:] = 0.0


def keypoints(data: mujoco.MjData, thing: Thing) -> Array:
    """True keypoints (K, 3), world, m, in the order of the thing's names."""
    body = data.body(thing.name)
    points = np.array(list(thing.mesh.keypoints.values()))
    placed: Array = points @ body.xmat.reshape(3, 3).T + body.xpos
    return placed


def show_bin(model: mujoco.MjModel, shown: bool) -> None:
    """Lets the cameras see the bin or not."""
    body = model.body(BIN)
    first = int(body.geomadr[0])
    model.geom_group[first : first + int(body.geomnum[0])] = 0 if shown else 4


def _slices(vertices: Array, count: int) -> list[Array]:
    """Vertices between cuts along x, those on the cuts' other sides included up to a tenth."""
    if not count:
        return []
    cuts = np.linspace(vertices[:, 0].min(), vertices[:, 0].max(), count + 1)
    slack = 0.1 * (cuts[1] - cuts[0])
    x = vertices[:, 0]
    pairs = itertools.pairwise(cuts)
    return [vertices[(x >= low - slack) & (x <= high + slack)] for low, high in pairs]


def _png(pixels: NDArray[np.uint8]) -> mjcf.Asset:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return mjcf.Asset(buffer.getvalue(), ".png")
