"""Scenes of the cell: the fox among other toys, everything random and given by one seed."""

from __future__ import annotations

import colorsys

import mujoco
import numpy as np
from dm_control import mjcf
from numpy.typing import NDArray

from s3k_ros.errors import ConfigurationError
from s3k_ros.simulation import fox, plush, toys

Array = NDArray[np.float64]

TABLE_TEXTURE = "table_cloth"
TABLE_TEXTURE_PX = 256
# Where the fox's body lies, base frame: within the arm's reach and all four cameras' views.
FOX_X_M = (0.50, 0.68)
FOX_Y_M = (-0.20, 0.20)
TOY_X_M = (0.40, 0.88)
TOY_Y_M = (-0.42, 0.42)
# Free ground around the fox's nodes: room for an open gripper's fingers.
CLEARANCE_M = 0.06
SETTLE_S = 0.8


class ToyScene:
    """The fox and its distractors: attached to a cell, then laid out anew for each seed.

    Args:
        table_height_m: height of the table's top in the world frame.
        family: "train", "dev" or "test": kinds of toys, their colours, cloths and lights are
            disjoint between families; the fox's own look is shared on purpose.

    Raises:
        ConfigurationError: an unknown family.
    """

    object_id = fox.OBJECT_ID
    names = fox.KEYPOINTS

    def __init__(self, table_height_m: float, family: str = "test") -> None:
        if family not in toys.FAMILIES:
            raise ConfigurationError(f"family = {family!r} must be one of {toys.FAMILIES}")
        self._height = table_height_m
        self._family = toys.FAMILIES.index(family)
        self._fox: plush.PlushFox | None = None

    def attach(self, root: mjcf.RootElement) -> None:
        """Adds fox, toys and the table's cloth to a cell before it is compiled."""
        plush.add_fox(root)
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
        self._fox = self._fox or plush.PlushFox(model)
        position = np.array([rng.uniform(*FOX_X_M), rng.uniform(*FOX_Y_M), self._height + 0.01])
        rotation = _rotation(rng.uniform(-np.pi, np.pi), rng.normal(0, 0.15), rng.normal(0, 0.3))
        self._fox.arrange(model, data, fox.random_turns(rng), rotation, position)
        mujoco.mj_kinematics(model, data)
        taken = [(node[:2], CLEARANCE_M) for node in self._fox.nodes(data)]
        used = [toy for toy in toys.TOYS if toy.family == toys.FAMILIES[self._family]]
        for i, toy in enumerate(toys.TOYS):
            place = _free_place(rng, toy.radius_m, taken) if toy in used else None
            if place is None:  # parked on the unbounded ground plane, too far to be seen
                place = np.array([-50.0, 0.5 * i, self._height + 0.003])
            else:
                taken.append((place, toy.radius_m))
                place = np.array([*place, self._height + 0.003])
            toys.place(data, toy.name, place, rng.uniform(-np.pi, np.pi))

    def decorate(self, model: mujoco.MjModel, seed: int) -> list[int]:
        """The visible half of `randomise`: colours, textures and light. Returns texture ids."""
        rng = np.random.default_rng([seed, self._family, 1])
        self._fox = self._fox or plush.PlushFox(model)
        for toy in toys.TOYS:
            toys.paint(model, toy.name, np.array([self._colour(rng) for _ in range(3)]))
        _light(model, rng, self._family)
        texture = model.texture(TABLE_TEXTURE).id
        pixels = _cloth(rng, self._family, self._colour(rng), self._colour(rng))
        start = model.tex_adr[texture]
        model.tex_data[start : start + pixels.size] = pixels.ravel()
        return [texture, self._fox.paint(model, rng)]

    def keypoints(self, data: mujoco.MjData) -> Array:
        """True keypoints (K, 3), world, m, in the order of `names`."""
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


def _free_place(
    rng: np.random.Generator, radius_m: float, taken: list[tuple[Array, float]], tries: int = 200
) -> Array | None:
    for _ in range(tries):
        place = np.array([rng.uniform(*TOY_X_M), rng.uniform(*TOY_Y_M)])
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
