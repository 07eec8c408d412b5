"""Tools for procedural textures: colours, noise, patterns, lettering. RGB images, uint8 (H, W, 3).

Everything random comes from the generator that is passed in. Images have row 0 at the top.
"""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Array = NDArray[np.float64]
Colour = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]  # x, y of the upper left corner, width, height; px

WHITE: Colour = (246, 244, 238)
BLACK: Colour = (24, 24, 28)
_FONTS = (
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_SIMPLEX,
)


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """A colour from hue (of any turn), saturation and value in 0..1."""
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue % 1.0, saturation, value))


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Between two colours: ``first`` at share 0, ``second`` at 1."""
    return tuple(round((1 - share) * a + share * b) for a, b in zip(first, second, strict=True))


def plain(width: int, height: int, colour: Colour) -> Image:
    """An image of one colour."""
    return np.full((height, width, 3), colour, np.uint8)


def gradient(width: int, height: int, top: Colour, bottom: Colour) -> Image:
    """From one colour at the top to another at the bottom."""
    share = np.linspace(0, 1, height)[:, None, None]
    rows = (1 - share) * np.array(top, float) + share * np.array(bottom, float)
    return np.repeat(rows, width, axis=1).round().astype(np.uint8)


def noise(rng: np.random.Generator, width: int, height: int, cell_px: float) -> Array:
    """Smooth noise (height, width) in 0..1 with features of about ``cell_px``."""
    grid = rng.random((max(2, int(height / cell_px) + 2), max(2, int(width / cell_px) + 2)))
    return np.clip(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


def grain(image: Image, rng: np.random.Generator, amount: float, cell_px: float = 40.0) -> Image:
    """The image with brightness that varies by up to ``amount`` (0..1): blotches and fine grain."""
    height, width = image.shape[:2]
    blotches = noise(rng, width, height, cell_px).astype(np.float32) - np.float32(0.5)
    fine = rng.standard_normal((height, width), np.float32) * np.float32(0.25)
    return scaled(image, 1 + np.float32(amount) * (blotches + fine))


def scaled(image: Image, factor: Array) -> Image:
    """The image with each texel's brightness times a factor (H, W)."""
    bright = image * np.asarray(factor, np.float32)[..., None]
    return np.clip(bright, 0, 255).astype(np.uint8)


def blend(image: Image, colour: Colour, share: Array) -> Image:
    """The image with a colour laid over it by a mask (H, W) of shares 0..1."""
    result = image.copy()
    rows, columns = (np.flatnonzero((share > 0).any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return result
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    weight = np.clip(share[part], 0, 1).astype(np.float32)[..., None]
    laid = image[part] * (1 - weight) + np.array(colour, np.float32) * weight
    result[part] = laid.round().astype(np.uint8)
    return result


def write(
    image: Image, words: str, where: Rectangle, colour: Colour, *,
    font: int = 0, outline: Colour | None = None, bold: float = 1.0,
) -> None:  # fmt: skip
    """Writes a line into a rectangle, as large as fits and in its middle, in place.

    ``font`` is any whole number, ``outline`` the colour of a rim about the letters, ``bold`` the
    thickness of the strokes (1 = usual).
    """
    x, y, width, height = where
    face = _FONTS[font % len(_FONTS)]
    (unit_width, unit_height), base = cv2.getTextSize(words, face, 1.0, 2)
    scale = min(width / max(unit_width, 1), 0.94 * height / max(unit_height + 0.4 * base, 1))
    thickness = max(1, round(1.6 * bold * scale))
    (text_width, text_height), _ = cv2.getTextSize(words, face, scale, thickness)
    origin = (x + (width - text_width) // 2, y + (height + text_height) // 2)
    letters = np.zeros(image.shape[:2], np.uint8)
    cv2.putText(letters, words, origin, face, scale, 255, thickness, cv2.LINE_AA)
    if outline is not None:
        rim = 1 + 2 * max(1, round(2.2 * scale))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (rim, rim))
        image[:] = blend(image, outline, cv2.dilate(letters, disc) / 255)
    image[:] = blend(image, colour, letters / 255)


def paragraph(
    image: Image, rng: np.random.Generator, where: Rectangle, colour: Colour, line_px: int = 9
) -> None:
    """Fills a rectangle with what looks like small print, in place: words as short bars."""
    x0, y0, width, height = where
    for y in range(y0, y0 + height - line_px // 2, line_px):
        x, end = x0, x0 + int(width * (1.0 if rng.random() < 0.75 else rng.uniform(0.4, 0.9)))
        while x < end:
            length = int(rng.integers(2, 9) * line_px * 0.45)
            cv2.rectangle(image, (x, y), (min(x + length, end), y + line_px // 2), colour, -1)
            x += length + max(2, line_px // 2)


def barcode(image: Image, rng: np.random.Generator, where: Rectangle) -> None:
    """A barcode with digits below on a white label, in place."""
    x, y, width, height = where
    cv2.rectangle(image, (x, y), (x + width, y + height), (255, 255, 255), -1)
    bar, end = x + width // 16, x + width - width // 16
    unit = max(1, width // 95)
    while bar < end:
        thick = unit * int(rng.integers(1, 4))
        bottom = y + int(height * 0.74)
        cv2.rectangle(
            image, (bar, y + height // 12), (min(bar + thick, end) - 1, bottom), BLACK, -1
        )
        bar += thick + unit * int(rng.integers(1, 4))
    digits = "".join(str(d) for d in rng.integers(0, 10, 13))
    write(image, digits, (x + 4, y + int(height * 0.77), width - 8, int(height * 0.2)), BLACK)


def badge(image: Image, words: str, centre: tuple[int, int], radius: int, fill: Colour) -> None:
    """A round badge with a word, in place."""
    cv2.circle(image, centre, radius, WHITE, -1, cv2.LINE_AA)
    cv2.circle(image, centre, int(radius * 0.86), fill, -1, cv2.LINE_AA)
    side = int(radius * 1.2)
    corner = (centre[0] - side // 2, centre[1] - side // 2, side, side)
    write(image, words, corner, WHITE, bold=1.3)


def star(centre: tuple[float, float], radius: float, points: int = 5, inner: float = 0.45) -> Array:
    """Corners (2 * points, 2) of a star that stands on two of its points, px."""
    angle = np.pi * np.arange(2 * points) / points - np.pi / 2
    reach = radius * np.where(np.arange(2 * points) % 2 == 0, 1.0, inner)
    return np.array(centre) + reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def fill(image: Image, corners: Array | list[tuple[float, float]], colour: Colour) -> None:
    """Fills a polygon (N, 2), px, in place."""
    points = np.asarray(corners, float).round().astype(np.int32)
    cv2.fillPoly(image, [points], colour, cv2.LINE_AA)
