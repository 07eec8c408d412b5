"""What is around the objects of a scene: tables and light, disjoint between families of scenes."""

from __future__ import annotations

import colorsys
import dataclasses

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from s3k_ros.errors import ConfigurationError

Image = NDArray[np.uint8]
Array = NDArray[np.float64]

FAMILIES = ("train", "dev", "test")
TABLE_PX = 512
_HUES = 36


def family_index(family: str) -> int:
    """The number of a family.

    Raises:
        ConfigurationError: an unknown family.
    """
    if family not in FAMILIES:
        raise ConfigurationError(f"family = {family!r} must be one of {FAMILIES}")
    return FAMILIES.index(family)


def family_colour(rng: np.random.Generator, family: str) -> Array:
    """A colour (3,), RGB in 0..1, whose hue belongs to this family: every third of 36."""
    hue = (3 * rng.integers(_HUES // 3) + family_index(family)) / _HUES
    return np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.05, 0.9), rng.uniform(0.2, 0.95)))


def table_texture(rng: np.random.Generator, family: str, size_px: int = TABLE_PX) -> Image:
    """A table's top (size_px, size_px, 3), RGB: cloth, wood or print, by family.

    Each family has kinds of pattern and hues of its own.
    """
    kinds = {
        "train": (_blotches, _planks, _veins, _patches),
        "dev": (_checks, _triangles),
        "test": (_stripes, _dots, _waves),
    }[FAMILIES[family_index(family)]]
    blend = kinds[rng.integers(len(kinds))](rng, size_px)
    blend = 0.5 + rng.uniform(0.05, 0.5) * np.clip(blend, -1, 1)
    first, second = family_colour(rng, family), family_colour(rng, family)
    colour = blend[..., None] * first + (1 - blend[..., None]) * second
    colour = colour + rng.normal(0, rng.uniform(0, 0.06), blend.shape)[..., None]
    return (np.clip(colour, 0, 1) * 255).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Light:
    """A lamp far away and the light of the room.

    Attributes:
        direction: (3,) in which the lamp shines, base frame.
        diffuse: (3,) of the lamp, RGB in 0..1.
        ambient, headlight: of the room, 0..1.
    """

    direction: Array
    diffuse: Array
    ambient: float
    headlight: float

    def shine(self, model: mujoco.MjModel) -> None:
        """Lights a model, in place; its light 0 is the lamp."""
        model.light_dir[0] = self.direction
        model.light_diffuse[0] = self.diffuse
        model.vis.headlight.ambient[:] = self.ambient
        model.vis.headlight.diffuse[:] = self.headlight


def draw_light(rng: np.random.Generator, family: str) -> Light:
    """A random light; the side that it comes from is the family's own."""
    azimuth = 2 * np.pi / 3 * (family_index(family) + rng.uniform(0, 1))
    tilt = rng.uniform(0.1, 0.9)
    across = np.array([np.cos(azimuth), np.sin(azimuth)]) * np.sin(tilt)
    return Light(
        direction=np.array([*across, -np.cos(tilt)]),
        diffuse=rng.uniform(0.3, 0.6) * rng.uniform(0.9, 1.0, 3),
        ambient=rng.uniform(0.25, 0.45),
        headlight=rng.uniform(0.2, 0.4),
    )


def _noise(rng: np.random.Generator, size: int, cells: tuple[int, int]) -> Array:
    """Smooth noise (size, size) of unit scale with so many cells down and across; it tiles."""
    rows, columns = cells
    coarse = np.pad(rng.normal(0, 1, (rows, columns)), 2, mode="wrap")
    large = cv2.resize(
        coarse,
        (size * (columns + 4) // columns, size * (rows + 4) // rows),
        interpolation=cv2.INTER_CUBIC,
    )
    down, across = 2 * size // rows, 2 * size // columns
    noise: Array = large[down : down + size, across : across + size]
    return noise


def _blotches(rng: np.random.Generator, size: int) -> Array:
    sum_: Array = np.zeros((size, size))
    for octave in range(5):
        cells = int(rng.integers(3, 6)) << octave
        sum_ += _noise(rng, size, (cells, cells)) / 2 ** (octave * rng.uniform(0.2, 1.0))
    return 0.6 * sum_


def _planks(rng: np.random.Generator, size: int) -> Array:
    """Boards with grain along them, a tone and a dark joint each."""
    boards = int(rng.integers(3, 9))
    grain = _noise(rng, size, (int(rng.integers(60, 160)), 3)) + _noise(rng, size, (24, 2))
    row = np.arange(size) * boards / size
    tone = rng.normal(0, 0.5, boards)[row.astype(int)][:, None]
    joint = np.where(row % 1 < 0.03, -1.5, 0.0)[:, None]
    return 0.35 * grain + tone + joint


def _veins(rng: np.random.Generator, size: int) -> Array:
    """Marble."""
    cells = int(rng.integers(3, 8))
    bent = _noise(rng, size, (cells, cells)) + 0.5 * _noise(rng, size, (4 * cells, 4 * cells))
    return 1.0 - 2.5 * np.abs(bent) ** rng.uniform(0.3, 0.8)


def _patches(rng: np.random.Generator, size: int) -> Array:
    """Rectangles thrown over one another, like papers on a desk."""
    image = np.zeros((size, size))
    for _ in range(int(rng.integers(10, 60))):
        centre, extent = rng.uniform(0, size, 2), rng.uniform(0.05, 0.3, 2) * size
        corners = cv2.boxPoints((centre.tolist(), extent.tolist(), rng.uniform(0, 180)))
        cv2.fillPoly(image, [corners.astype(np.int32)], rng.uniform(-1, 1))
    return image


def _checks(rng: np.random.Generator, size: int) -> Array:
    y, x = np.mgrid[:size, :size] / size
    n = 2 * rng.integers(2, 14)
    return np.sign(np.sin(n * np.pi * x) * np.sin(n * np.pi * y))


def _triangles(rng: np.random.Generator, size: int) -> Array:
    y, x = np.mgrid[:size, :size] / size
    n = rng.integers(3, 14)
    return np.sign(((n * x) % 1) - ((n * y) % 1)) * (0.5 + 0.5 * ((n * x).astype(int) % 2))


def _stripes(rng: np.random.Generator, size: int) -> Array:
    x = np.arange(size) / size
    n, share = rng.integers(4, 25), rng.uniform(0.2, 0.8)
    return np.broadcast_to(np.where((n * x) % 1 < share, 1.0, -1.0), (size, size))


def _dots(rng: np.random.Generator, size: int) -> Array:
    y, x = np.mgrid[:size, :size] / size
    n, radius = rng.integers(3, 16), rng.uniform(0.15, 0.45)
    return np.where(np.hypot((n * x) % 1 - 0.5, (n * y) % 1 - 0.5) < radius, 1.0, -1.0)


def _waves(rng: np.random.Generator, size: int) -> Array:
    y, x = np.mgrid[:size, :size] / size
    n, m, depth = rng.integers(4, 16), rng.integers(1, 6), rng.uniform(0.5, 3.0)
    return np.sin(2 * np.pi * n * x + depth * np.sin(2 * np.pi * m * y))
