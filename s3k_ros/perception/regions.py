"""Regions of an image as network inputs, and the way back to full-resolution pixels.

Pixel centres lie at integers, so an image w px wide reaches from -1/2 to w - 1/2. Resized by area
from w to n pixels, u becomes u' = (u + 1/2) n / w - 1/2.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from s3k_ros.perception.resizing import resize

Array = NDArray[np.float64]
Image = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class Region:
    """A rectangle of whole pixels, which may reach beyond the image.

    Attributes:
        x, y: the upper left pixel.
        width, height: size in px.
    """

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def whole(cls, width: int, height: int) -> Region:
        """The whole image."""
        return cls(0, 0, width, height)

    @classmethod
    def square(cls, centre: ArrayLike, side: int, width: int, height: int) -> Region:
        """A square around ``centre`` (u, v), moved into the image as far as it fits.

        Args:
            centre: (2,) px.
            side: side of the square, px.
            width: the image's width, px.
            height: the image's height, px.
        """
        u, v = np.asarray(centre, dtype=np.float64)
        return cls(_place(float(u), side, width), _place(float(v), side, height), side, side)

    def cut(self, image: Image, size: tuple[int, int]) -> Image:
        """The region resized to ``size`` = (height, width); each pixel is read once.

        Parts beyond the image repeat its border. Enlarging is bilinear, shrinking by area.
        """
        rows, columns = image.shape[:2]
        top, left = max(-self.y, 0), max(-self.x, 0)
        bottom = max(self.y + self.height - rows, 0)
        right = max(self.x + self.width - columns, 0)
        part = image[
            max(self.y, 0) : self.y + self.height - bottom,
            max(self.x, 0) : self.x + self.width - right,
        ]
        if top or left or bottom or right:
            part = np.asarray(
                cv2.copyMakeBorder(part, top, bottom, left, right, cv2.BORDER_REPLICATE), np.uint8
            )
        return resize(part, size)

    def cell_size(self, grid: tuple[int, int]) -> Array:
        """(2,) full-resolution pixels per heatmap cell along x, y, for a grid (rows, columns)."""
        return np.array([self.width / grid[1], self.height / grid[0]])

    def to_image(self, cells: Array, grid: tuple[int, int]) -> Array:
        """Full-resolution pixels (..., 2) of heatmap positions x, y (..., 2).

        Cell j of a heatmap of stride s stands for input pixel s j + (s - 1) / 2, which is the same
        rule as for resizing by area, so both steps are one.
        """
        corner = np.array([self.x, self.y])
        pixels: Array = (cells + 0.5) * self.cell_size(grid) - 0.5 + corner
        return pixels

    def to_cells(self, pixels: Array, grid: tuple[int, int]) -> Array:
        """Inverse of `to_image`."""
        shifted: Array = pixels - np.array([self.x, self.y])
        cells: Array = (shifted + 0.5) / self.cell_size(grid) - 0.5
        return cells


def _place(centre: float, side: int, size: int) -> int:
    """First pixel of a span around the centre, inside the image or, too long, about its middle."""
    if side >= size:
        return (size - side) // 2
    return min(max(round(centre - (side - 1) / 2), 0), size - side)
