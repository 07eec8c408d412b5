"""Keypoints with their uncertainty drawn into an image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from s3k_ros.perception.detector import ViewKeypoints

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

# Okabe and Ito's colours in OpenCV's order (BGR), told apart by colour-blind readers too.
PALETTE: tuple[Colour, ...] = (
    (0, 159, 230),
    (233, 180, 86),
    (0, 94, 213),
    (115, 158, 0),
    (167, 121, 204),
    (66, 228, 240),
    (178, 114, 0),
)

# 95 % quantile of the chi-squared distribution with 2 degrees of freedom.
_CHI2_2_95 = 5.991
_SHIFT = 4  # OpenCV's fixed point: sixteenths of a pixel
# OpenCV's fixed-point numbers overflow beyond; that is far outside any image.
_MAX_PX = 1e4


def palette(index: int) -> Colour:
    """BGR colour of the keypoint with an index."""
    return PALETTE[index % len(PALETTE)]


def draw_keypoints(
    image: Image, view: ViewKeypoints, names: Sequence[str], scale: float = 1.0
) -> Image:
    """A copy of the image with each keypoint, its 95 % ellipse, name and confidence.

    Args:
        image: (H, W, 3) uint8 BGR.
        view: keypoints in px of ``image``; those that are not finite are left out.
        names: K names.
        scale: size of the result relative to the image.
    """
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    # resize copies as well, also when the size stays the same
    drawn = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    for k, name in enumerate(names):
        centre = (view.pixels[k] + 0.5) * scale - 0.5  # pixel centres lie at integers
        covariance = view.covariances[k] * scale**2
        if not (np.isfinite(centre).all() and np.isfinite(covariance).all()):
            continue
        if np.abs(centre).max() > _MAX_PX:
            continue
        _draw_ellipse(drawn, centre, covariance, palette(k))
        _draw_text(drawn, centre, f"{name} {view.confidences[k]:.2f}", palette(k))
    return drawn


def _draw_ellipse(image: Image, centre: Array, covariance: Array, colour: Colour) -> None:
    variances, axes = np.linalg.eigh(covariance)
    lengths = np.minimum(np.sqrt(_CHI2_2_95 * np.maximum(variances[::-1], 0.0)), _MAX_PX)
    angle = float(np.degrees(np.arctan2(axes[1, 1], axes[0, 1])))
    at = _fixed(centre)
    box = tuple(max(side, 1 << _SHIFT) for side in _fixed(lengths))
    for shade, width in (((20, 20, 20), 3), (colour, 1)):
        cv2.ellipse(image, at, box, angle, 0, 360, shade, width, cv2.LINE_AA, _SHIFT)
    cv2.circle(image, at, 2 << _SHIFT, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _draw_text(image: Image, centre: Array, text: str, colour: Colour) -> None:
    at = (round(float(centre[0])) + 6, round(float(centre[1])) - 6)
    for shade, width in (((20, 20, 20), 3), (colour, 1)):
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, shade, width, cv2.LINE_AA)


def _fixed(values: Array) -> tuple[int, int]:
    return round(float(values[0]) * 2**_SHIFT), round(float(values[1]) * 2**_SHIFT)
