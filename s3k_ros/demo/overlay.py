"""Keypoints and their uncertainty drawn into images, as the report and the video show them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from s3k_ros.demo.recording import View

Image = NDArray[np.uint8]

PALETTE = ("#e69f00", "#56b4e9", "#d55e00", "#009e73", "#cc79a7", "#f0e442", "#0072b2")
"""Okabe and Ito's colours, told apart by colour-blind readers too; one for each keypoint."""

CHI2_2_95 = 5.991
"""95 % quantile of the chi-squared distribution with 2 degrees of freedom."""

_SHIFT = 4
_SUBPIXEL = 1 << _SHIFT
_LEAST_RADIUS = 3  # px in the drawing: a smaller region could not be seen


def colour(index: int) -> str:
    """Colour of the keypoint with an index, as CSS writes it."""
    return PALETTE[index % len(PALETTE)]


def bgr(css: str) -> tuple[int, int, int]:
    """Turns ``#rrggbb`` into OpenCV's order."""
    red, green, blue = (int(css[i : i + 2], 16) for i in (1, 3, 5))
    return blue, green, red


def draw_view(image: Image, view: View, scale: float, origin: tuple[float, float] = (0, 0)) -> None:
    """Draws the keypoints of a view with their 95 % ellipses, in place.

    Args:
        image: (H, W, 3) uint8 BGR to draw on: a crop of the full image, enlarged.
        view: keypoints in pixels of the full image.
        scale: enlargement of the crop.
        origin: (u, v) px of the full image at the crop's upper left corner.
    """
    for index in range(len(view.names)):
        pixel, covariance = view.pixels[index], view.covariances[index]
        if not (np.isfinite(pixel).all() and np.isfinite(covariance).all()):
            continue
        # Pixel centres are at integers, so the image's corner lies at -0.5.
        centre = (pixel + 0.5 - np.asarray(origin)) * scale - 0.5
        _draw_ellipse(image, centre, covariance * scale**2, bgr(colour(index)))


def _draw_ellipse(
    image: Image,
    centre: NDArray[np.float64],
    covariance: NDArray[np.float64],
    bgr_colour: tuple[int, int, int],
) -> None:
    variances, axes = np.linalg.eigh(covariance)
    lengths = np.sqrt(CHI2_2_95 * np.maximum(variances[::-1], 0.0))
    angle = np.degrees(np.arctan2(axes[1, 1], axes[0, 1]))
    if np.abs(centre).max() > 1e4 or lengths.max() > 1e4:
        return  # OpenCV's fixed point numbers would overflow; far outside the image anyway
    at = tuple(round(float(value) * _SUBPIXEL) for value in centre)
    size = tuple(
        max(round(float(value) * _SUBPIXEL), _LEAST_RADIUS * _SUBPIXEL) for value in lengths
    )
    for shade, width in (((20, 20, 20), 4), (bgr_colour, 2)):
        cv2.ellipse(
            image, at, size, angle, 0, 360, shade, width, lineType=cv2.LINE_AA, shift=_SHIFT
        )
    radius = round(1.5 * _SUBPIXEL)
    cv2.circle(image, at, radius, bgr_colour, -1, lineType=cv2.LINE_AA, shift=_SHIFT)


def crop_around(
    view: View, size: tuple[int, int], aspect: float, margin: float = 0.35, least: float = 96.0
) -> tuple[int, int, int, int] | None:
    """A box of a given aspect around all keypoints of a view.

    Args:
        view: keypoints.
        size: width and height of the image, px.
        aspect: width over height of the box.
        margin: added on each side, as a share of the keypoints' extent.
        least: least width, px.

    Returns:
        Left, top, width, height in px inside the image; None without finite keypoints.
    """
    pixels = view.pixels[np.isfinite(view.pixels).all(axis=1)]
    if not len(pixels):
        return None
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    extent = (high - low) * (1 + 2 * margin)
    width = max(float(extent[0]), aspect * float(extent[1]), least)
    width = min(width, size[0], aspect * size[1])
    height = width / aspect
    middle = (low + high) / 2
    left = float(np.clip(middle[0] - width / 2, 0, size[0] - width))
    top = float(np.clip(middle[1] - height / 2, 0, size[1] - height))
    return int(left), int(top), int(width), int(height)


def decode(jpeg: bytes) -> Image:
    """Decodes a JPEG into (H, W, 3) uint8 BGR."""
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def encode(image: Image, quality: int = 85) -> bytes:
    """Encodes (H, W, 3) uint8 BGR as JPEG."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data)
