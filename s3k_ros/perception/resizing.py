"""Resizing of images by area, each pixel read once."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
FloatArray = NDArray[np.float32]

# Multiplications in one matrix product. For larger ones OpenBLAS starts threads, which cost more
# than they bring here.
_MOST_WORK = 2**19
# Rows worked on at a time: as floats they stay in a core's cache.
_ROWS = 96


def resize(image: Image, size: tuple[int, int]) -> Image:
    """A BGR image (H, W, 3) resized to ``size`` = (height, width).

    Enlarging is bilinear, shrinking by area: each target pixel is the mean of what it covers.
    OpenCV is fast at that for ratios that are whole numbers; the others are done here in a third
    of the time, with the same result up to the rounding of a mean that lies between two levels.
    """
    height, width = size
    rows, columns = image.shape[:2]
    if width > columns or height > rows:
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR))
    down, across = _shares(rows, height), _across(columns, width)
    whole = len(down) == 1 and across.shape[1] == 3
    if whole or down.size * columns * 3 > _MOST_WORK:
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
    return _shrink(image, down, across)


def _shrink(image: Image, down: FloatArray, across: FloatArray) -> Image:
    """By area, with matrices that repeat along each axis: p pixels become q."""
    rows, columns = image.shape[:2]
    q, p = down.shape
    blocks, width = rows // p, columns * across.shape[1] // len(across)
    result = np.empty((blocks, q, 3 * width), np.uint8)
    # Memory for one step, used again and again: new arrays of this size would cost page faults.
    step = max(min(_ROWS // p, _MOST_WORK // (q * 3 * columns * across.shape[1])), 1)
    pixels = np.empty((step, p, 3 * columns), np.float32)
    narrow = np.empty((step, q, 3 * columns), np.float32)
    small = np.empty((step, q, 3 * width), np.float32)
    for first in range(0, blocks, step):
        n = min(step, blocks - first)
        pixels[:n] = image[first * p : (first + n) * p].reshape(n, p, 3 * columns)
        np.matmul(down, pixels[:n], out=narrow[:n])
        spans = narrow[:n].reshape(-1, len(across))
        np.matmul(spans, across, out=small[:n].reshape(len(spans), -1))
        result[first : first + n] = np.rint(small[:n], out=small[:n])
    return result.reshape(blocks * q, width, 3)


@functools.lru_cache(maxsize=16)
def _across(columns: int, width: int) -> FloatArray:
    """(3 p, 3 q) as `_shares`, transposed, for pixels whose channels lie side by side."""
    return np.kron(_shares(columns, width).T, np.eye(3, dtype=np.float32))


@functools.lru_cache(maxsize=16)
def _shares(pixels: int, targets: int) -> FloatArray:
    """(q, p) of p pixels in q wider ones, after which it repeats; each row adds up to 1."""
    repeats = math.gcd(pixels, targets)
    p, q = pixels // repeats, targets // repeats
    edges = np.arange(q + 1) * p / q
    begin = np.maximum(edges[:-1, np.newaxis], np.arange(p))
    end = np.minimum(edges[1:, np.newaxis], np.arange(p) + 1)
    shares: FloatArray = (np.maximum(end - begin, 0.0) * q / p).astype(np.float32)
    return shares
