"""Scenes of the cell: what is to be grasped among other toys, all random and given by one seed."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import mujoco
import numpy as np
from dm_control import mjcf
from numpy.typing import NDArray

from s3k_ros.errors import ConfigurationError
from s3k_ros.simulation import fox, plush, things, toys

Array = NDArray[np.float64]

TABLE_TEXTURE = "table_cloth"
TABLE_TEXTURE_PX = 256
# Where the fox's body lies, base frame: within the arm's reach and all four cameras' views.
FOX_X_M = (0.50, 0.68)
FOX_Y_M = (-0.20, 0.20)
TOY_X_M = (0.40, 0.88)
TOY_Y_M = (-0.42, 0.42)
# Where box and boot stand, and toys where there is a bin.
THING_X_M = (0.44, 0.74)
THING_Y_M = (-0.28, 0.28)
TOY_BESIDE_BIN_Y_M = (-0.42, 0.32)
# Free ground around what is to be grasped: room for an open gripper's fingers.
CLEARANCE_M = 0.06
SETTLE_S = 0.8

FOX = "fox"
OBJECTS = (FOX, "box", "boot", things.BIN)
"""What a scene may hold beside the distractors."""
# Far away on the unbounded ground plane: not seen.
_AWAY_M = -50.0


class ToyScene:
    """What is to be grasped and its distractors: put into a cell, then laid out for each seed.

    Args:
        table_height_m: height of the table's top in the world frame.
        family: "train", "dev" or "test": kinds of toys, their colours, cloths and lights are
            disjoint between families; the look of the objects is shared on purpose.
        objects: of `OBJECTS`, at least one that is no bin.

    Attributes:
        names, object_id: of the first object's keypoints.
        present: objects that the next scene shows; the others are out of sight.

    Raises:
        ConfigurationError: an unknown family or object.
    """

    def __init__(
        self, table_height_m: float, family: str = "test", objects: Sequence[str] = (FOX,)
    ) -> None:
        if family not in toys.FAMILIES:
            raise ConfigurationError(f"family = {family!r} must be one of {toys.FAMILIES}")
        unknown = [name for name in objects if name not in OBJECTS]
        if unknown or len(set(objects)) != len(objects) or not set(objects) - {things.BIN}:
            raise ConfigurationError(
                f"objects = {list(objects)} must be different ones of {', '.join(OBJECTS)}, and not"
                " a bin alone"
            )
        self._height = table_height_m
        self._family = toys.FAMILIES.index(family)
        self.objects = tuple(objects)
        self.present = self.objects
        self._things = [things.things()[o] for o in objects if o not in (FOX, things.BIN)]
        self._fox: plush.PlushFox | None = None
        graspable = [name for name in objects if name != things.BIN]
        self.object_ids = {name: _object_id(name) for name in graspable}
        self.object_id = self.object_ids[graspable[0]]
        self.names = self.names_of(self.object_id)

    def names_of(self, object_id: str) -> tuple[str, ...]:
        """Names of an object's keypoints, in the order of `keypoints_of`."""
        for thing in self._things:
            if thing.mesh.name == object_id:
                return thing.names
        if object_id != fox.OBJECT_ID:
            raise ConfigurationError(f"object_id = {object_id!r} is not in the scene")
        return fox.KEYPOINTS

    def attach(self, root: mjcf.RootElement) -> None:
        """Adds objects, toys and the table's cloth to a cell before it is compiled."""
        if FOX in self.objects:
            plush.add_fox(root)
        for thing in self._things:
            things.add_thing(root, thing)
        if things.BIN in self.objects:
            things.add_bin(root, self._height)
        toys.add_toys(root)
        root.worldbody.add(
            "geom", name="ground", type="plane", size=(1, 1, 0.1), pos=(0, 0, self._height),
            group=3,
            contype=plush.GROUND_BIT, conaffinity=0, friction=(1.0, 0.01, 0.001),
        )  # fmt: skip
        root.asset.add(
            "texture", name=TABLE_TEXTURE, type="2d", builtin="flat", rgb1=(0.7, 0.7, 0.7),
            width=TABLE_TEXTURE_PX, height=TABLE_TEXTURE_PX,
        )  # fmt: skip
        root.asset.add("material", name=TABLE_TEXTURE, texture=TABLE_TEXTURE, specular=0.0)
        top = root.find("geom", "table_top")
        top.material = TABLE_TEXTURE
        top.rgba = (1, 1, 1, 1)

    def finish(self, spec: mujoco.MjSpec) -> None:
        """Adds what needs the parsed model, before it is compiled."""
        if FOX in self.objects:
            plush.firm_paws(spec)

    def randomise(self, model: mujoco.MjModel, data: mujoco.MjData, seed: int) -> list[int]:
        """Lays out the scene of a seed, in place: same seed and family, same scene.

        Poses start just above the table: let the physics settle for `SETTLE_S`.

        Returns:
            Ids of the textures that a renderer must upload again.
        """
        self.arrange(model, data, seed)
        return self.decorate(model, seed)

    def arrange(self, model: mujoco.MjModel, data: mujoco.MjData, seed: int) -> None:
        """The physical half of `randomise`: shapes and poses."""
        rng = np.random.default_rng([seed, self._family, 0])
        taken = self._lay_fox(model, data, rng) if FOX in self.objects else []
        self._stand_things(data, np.random.default_rng([seed, self._family, 3]), taken)
        if things.BIN in self.objects:
            things.show_bin(model, things.BIN in self.present)
        y = TOY_BESIDE_BIN_Y_M if things.BIN in self.objects else TOY_Y_M
        used = [toy for toy in toys.TOYS if toy.family == toys.FAMILIES[self._family]]
        for i, toy in enumerate(toys.TOYS):
            place = _free_place(rng, toy.radius_m, taken, TOY_X_M, y) if toy in used else None
            if place is None:  # parked on the unbounded ground plane, too far to be seen
                place = np.array([_AWAY_M, 0.5 * i, self._height + 0.003])
            else:
                taken.append((place, toy.radius_m))
                place = np.array([*place, self._height + 0.003])
            toys.place(data, toy.name, place, rng.uniform(-np.pi, np.pi))

    def _lay_fox(
        self, model: mujoco.MjModel, data: mujoco.MjData, rng: np.random.Generator
    ) -> list[tuple[Array, float]]:
        """Lays the fox; returns the ground that it needs."""
        self._fox = self._fox or plush.PlushFox(model)
        position = np.array([rng.uniform(*FOX_X_M), rng.uniform(*FOX_Y_M), self._height + 0.01])
        rotation = _rotation(rng.uniform(-np.pi, np.pi), rng.normal(0, 0.15), rng.normal(0, 0.3))
        turns = fox.random_turns(rng)
        shown = FOX in self.present
        if not shown:
            position[0] = _AWAY_M
        self._fox.arrange(model, data, turns, rotation, position)
        mujoco.mj_kinematics(model, data)
        return [(node[:2], CLEARANCE_M) for node in self._fox.nodes(data)] if shown else []

    def _stand_things(
        self, data: mujoco.MjData, rng: np.random.Generator, taken: list[tuple[Array, float]]
    ) -> None:
        """Stands box and boot where there is room; they take it."""
        for i, thing in enumerate(self._things):
            place = None
            for less in (0.0, 0.03, 0.06, 0.10):  # closer where the table is full
                radius = thing.radius_m - less
                if place is None and thing.name in self.present:
                    place = _free_place(rng, radius, taken, THING_X_M, THING_Y_M)
            if place is None:
                place = np.array([_AWAY_M, -5.0 - i])
            else:
                taken.append((place, thing.radius_m + CLEARANCE_M))
            yaw = rng.uniform(-np.pi, np.pi)
            things.place(data, thing, np.array([*place, self._height + 0.0005]), yaw)

    def decorate(self, model: mujoco.MjModel, seed: int) -> list[int]:
        """The visible half of `randomise`: colours, textures and light. Returns texture ids."""
        rng = np.random.default_rng([seed, self._family, 1])
        for toy in toys.TOYS:
            toys.paint(model, toy.name, np.array([self._colour(rng) for _ in range(3)]))
        _light(model, rng, self._family)
        texture = model.texture(TABLE_TEXTURE).id
        pixels = _cloth(rng, self._family, self._colour(rng), self._colour(rng))
        start = model.tex_adr[texture]
        model.tex_data[start : start + pixels.size] = pixels.ravel()
        if FOX not in self.objects:
            return [texture]
        self._fox = self._fox or plush.PlushFox(model)
        return [texture, self._fox.paint(model, rng)]

    def keypoints(self, data: mujoco.MjData) -> Array:
        """True keypoints (K, 3) of the first object, world, m, in the order of `names`."""
        return self.keypoints_of(data, self.object_id)

    def keypoints_of(self, data: mujoco.MjData, object_id: str) -> Array:
        """True keypoints (K, 3) of an object, world, m, in the order of its names."""
        for thing in self._things:
            if thing.mesh.name == object_id:
                return things.keypoints(data, thing)
        assert self._fox is not None, "randomise first"
        return self._fox.keypoints(data)

    def _colour(self, rng: np.random.Generator) -> tuple[float, float, float]:
        """A colour whose hue belongs to this family alone: 36 hues, every third one."""
        hue = (3 * rng.integers(12) + self._family) / 36.0
        return colorsys.hsv_to_rgb(hue, rng.uniform(0.05, 0.9), rng.uniform(0.25, 0.95))


def _rotation(yaw: float, pitch: float, roll: float) -> Array:
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return about_z @ about_y @ about_x


def _object_id(name: str) -> str:
    return fox.OBJECT_ID if name == FOX else things.things()[name].mesh.name


def _free_place(
    rng: np.random.Generator,
    radius_m: float,
    taken: list[tuple[Array, float]],
    x_m: tuple[float, float],
    y_m: tuple[float, float],
    tries: int = 200,
) -> Array | None:
    for _ in range(tries):
        place = np.array([rng.uniform(*x_m), rng.uniform(*y_m)])
        if all(np.hypot(*(place - other)) > radius_m + clear for other, clear in taken):
            return place
    return None


def _light(model: mujoco.MjModel, rng: np.random.Generator, family: int) -> None:
    """One directional light from a side that is the family's own, and a random ambient part."""
    azimuth = 2 * np.pi / 3 * (family + rng.uniform(0, 1))
    tilt = rng.uniform(0.1, 0.9)
    across = np.array([np.cos(azimuth), np.sin(azimuth)]) * np.sin(tilt)
    model.light_dir[0] = [*across, -np.cos(tilt)]
    model.light_diffuse[0] = rng.uniform(0.3, 0.6) * rng.uniform(0.9, 1.0, 3)
    model.vis.headlight.ambient[:] = rng.uniform(0.25, 0.45)
    model.vis.headlight.diffuse[:] = rng.uniform(0.2, 0.4)


def _cloth(
    rng: np.random.Generator, family: int, first: tuple[float, ...], second: tuple[float, ...]
) -> NDArray[np.uint8]:
    """A table cloth (H, W, 3): blotches, checks or stripes by family, with a fine weave."""
    y, x = np.mgrid[:TABLE_TEXTURE_PX, :TABLE_TEXTURE_PX] / TABLE_TEXTURE_PX
    if family == 0:
        waves = rng.normal(0, 1, (6, 3)) * [25.0, 25.0, 3.0]
        phase = waves[:, :1, None] * x + waves[:, 1:2, None] * y + waves[:, 2:, None]
        blend = 1.5 * np.sin(phase).mean(axis=0)
    elif family == 1:
        n = rng.integers(4, 20)
        blend = np.sign(np.sin(n * np.pi * x) * np.sin(n * np.pi * y))
    else:
        angle, n = rng.uniform(0, np.pi), rng.integers(4, 25)
        blend = np.sign(np.sin(2 * np.pi * n * (x * np.cos(angle) + y * np.sin(angle))))
    blend = 0.5 + 0.5 * rng.uniform(0, 0.8) * np.clip(blend, -1, 1)
    colour = blend[..., None] * np.array(first) + (1 - blend[..., None]) * np.array(second)
    colour = colour + rng.normal(0, rng.uniform(0, 0.06), colour.shape[:2])[..., None]
    return (np.clip(colour, 0, 1) * 255).astype(np.uint8)
