"""Printed patterns that cover a rectangle. Each takes a generator, a size in px and colours."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from s3k_ros.simulation.generators import textures
from s3k_ros.simulation.generators.textures import Array, Colour, Image

Palette = tuple[Colour, ...]
Pattern = Callable[[np.random.Generator, int, int, Palette], Image]


def _paint(choice: np.ndarray, palette: Palette) -> Image:
    """Colours by index (H, W), counted around the palette."""
    return np.array(palette, np.uint8)[choice.astype(int) % len(palette)]


def _mesh(width: int, height: int) -> tuple[Array, Array]:
    y, x = np.mgrid[:height, :width].astype(float)
    return x, y


def stripes(rng: np.random.Generator, width: int, height: int, palette: Palette) -> Image:
    """Straight bands of unequal widths."""
    x, y = _mesh(width, height)
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.06, 0.2) * width
    along = (x * np.cos(angle) + y * np.sin(angle)) / period + rng.uniform(0, 1)
    return _paint(np.floor(along + 0.3 * (np.floor(along) % 2)), palette)


def checks(rng: np.random.Generator, width: int, height: int, palette: Palette) -> Image:
    """A board of squares, turned."""
    x, y = _mesh(width, height)
    angle, side = rng.uniform(0, np.pi / 2), rng.uniform(0.06, 0.15) * width
    a, b = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return _paint(np.floor(a / side) + np.floor(b / side), palette)


def dots(rng: np.random.Generator, width: int, height: int, palette: Palette) -> Image:
    """Discs of one size in rows, colours at random."""
    image = textures.plain(width, height, palette[0])
    step = rng.uniform(0.07, 0.16) * width
    radius = int(step * rng.uniform(0.28, 0.42))
    for row in range(int(height / step) + 2):
        for column in range(int(width / step) + 2):
            centre = (int((column + 0.5 * (row % 2)) * step), int(row * step))
            colour = palette[1 + int(rng.integers(len(palette) - 1))]
            cv2.circle(image, centre, radius, colour, -1, cv2.LINE_AA)
    return image


def rays(rng: np.random.Generator, width: int, height: int, palette: Palette) -> Image:
    """Wedges that burst from a point."""
    x, y = _mesh(width, height)
    centre = rng.uniform(0.2, 0.8, 2) * [width, height]
    angle = np.arctan2(y - centre[1], x - centre[0])
    return _paint(
        np.floor((angle / (2 * np.pi) + rng.uniform()) * 2 * rng.integers(6, 13)), palette
    )


def rings(rng: np.random.Generator, width: int, height: int, palette: Palette) -> Image:
    """Circles about a point, like a target."""
    x, y = _mesh(width, height)
    centre = rng.uniform(0.2, 0.8, 2) * [width, height]
    period = rng.uniform(0.05, 0.13) * width
    return _paint(np.floor(np.hypot(x - centre[0], y - centre[1]) / period), palette)


def mosaic(rng: np.random.Generator, width: int, height: int, palette: Palette) -> Image:
    """Cells about points at random, with joints between them."""
    count = int(rng.integers(25, 70))
    points = rng.uniform(0, 1, (count, 2)) * [width, height]
    x, y = _mesh(width // 2 + 1, height // 2 + 1)
    distance = np.hypot(2 * x[..., None] - points[:, 0], 2 * y[..., None] - points[:, 1])
    nearest = np.argmin(distance, axis=-1)
    image = _paint(rng.integers(0, len(palette), count)[nearest], palette)
    gaps = np.partition(distance, 1, axis=-1)
    image[gaps[..., 1] - gaps[..., 0] < 0.012 * width] = textures.BLACK
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def triangles(rng: np.random.Generator, width: int, height: int, palette: Palette) -> Image:
    """Squares halved along a diagonal."""
    x, y = _mesh(width, height)
    side = rng.uniform(0.09, 0.2) * width
    column, row = np.floor(x / side).astype(int), np.floor(y / side).astype(int)
    upper = (x / side - column) + (y / side - row) < 1
    table = rng.integers(0, len(palette), (row.max() + 1, column.max() + 1, 2))
    return _paint(table[row, column, upper.astype(int)], palette)


def waves(rng: np.random.Generator, width: int, height: int, palette: Palette) -> Image:
    """Wavy bands."""
    x, y = _mesh(width, height)
    if rng.random() < 0.5:
        x, y = y, x
    bend = rng.uniform(0.03, 0.08) * width * np.sin(x * rng.uniform(2, 6) * 2 * np.pi / width)
    return _paint(np.floor((y + bend) / (rng.uniform(0.07, 0.16) * width)), palette)


def hills(rng: np.random.Generator, width: int, height: int, palette: Palette) -> Image:
    """A landscape: sky, sun and ranges of hills one before the other."""
    image = textures.gradient(width, height, palette[0], textures.WHITE)
    sun = (int(rng.uniform(0.15, 0.85) * width), int(rng.uniform(0.15, 0.45) * height))
    cv2.circle(image, sun, int(0.12 * height), palette[-1], -1, cv2.LINE_AA)
    x = np.arange(width)
    for i in range(4):
        base = (0.45 + 0.14 * i) * height
        terms = rng.uniform(0, 1, (4, 2)) * [2 * np.pi, 0.07 * height]
        ridge = base + sum(
            a * np.sin((1.2 + k) * 2 * np.pi * x / width + p) for k, (p, a) in enumerate(terms)
        )
        outline = np.concatenate([np.stack([x, ridge], 1), [[width, height], [0, height]]])
        colour = textures.mix(palette[1 + i % (len(palette) - 1)], textures.BLACK, 0.1 * i)
        textures.fill(image, outline, colour)
    return image


def city(rng: np.random.Generator, width: int, height: int, palette: Palette) -> Image:
    """A skyline with lit windows."""
    image = textures.gradient(width, height, palette[0], palette[1])
    x = 0
    while x < width:
        across, top = int(rng.uniform(0.05, 0.14) * width), int(rng.uniform(0.2, 0.75) * height)
        colour = textures.mix(palette[2 % len(palette)], textures.BLACK, rng.uniform(0.1, 0.6))
        cv2.rectangle(image, (x, top), (x + across, height), colour, -1)
        pane = max(3, width // 60)
        for wy in range(top + pane, height, 3 * pane):
            for wx in range(x + pane, x + across - pane, 2 * pane):
                if rng.random() < 0.6:
                    cv2.rectangle(image, (wx, wy), (wx + pane - 1, wy + pane), palette[-1], -1)
        x += across
    return image


def blobs(rng: np.random.Generator, width: int, height: int, palette: Palette) -> Image:
    """Patches with smooth borders, like camouflage."""
    field = textures.noise(rng, width, height, rng.uniform(0.1, 0.22) * width)
    return _paint(np.floor(field * 2.2 * len(palette)), palette)


def stars(rng: np.random.Generator, width: int, height: int, palette: Palette) -> Image:
    """Stars of several sizes scattered on a plain ground."""
    image = textures.plain(width, height, palette[0])
    for _ in range(int(rng.integers(18, 40))):
        centre = tuple(rng.uniform(0, 1, 2) * [width, height])
        points, radius = int(rng.integers(4, 8)), rng.uniform(0.02, 0.08) * width
        colour = palette[1 + int(rng.integers(len(palette) - 1))]
        textures.fill(image, textures.star(centre, radius, points), colour)
    return image


PATTERNS: dict[str, Pattern] = {
    "stripes": stripes,
    "dots": dots,
    "hills": hills,
    "checks": checks,
    "rays": rays,
    "city": city,
    "mosaic": mosaic,
    "waves": waves,
    "stars": stars,
    "triangles": triangles,
    "rings": rings,
    "blobs": blobs,
}
