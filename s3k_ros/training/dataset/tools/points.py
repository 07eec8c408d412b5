"""The 3D points that clicks mean, and the clicks that contradict the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from s3k_ros.geometry.camera import Camera
from s3k_ros.geometry.triangulation import triangulate

Array = npt.NDArray[np.float64]


def triangulated(cameras: Sequence[Camera], clicks: Array) -> Array:
    """Points (K, 3), base frame, m, of clicks (C, K, 2) px; NaN where under two views fix one."""
    covariances = np.broadcast_to(np.eye(2), (*clicks.shape[:2], 2, 2))
    return triangulate(cameras, clicks, covariances).points


def contradictions(cameras: Sequence[Camera], clicks: Array, share: float) -> Array:
    """How far wrong clicks lie from where the other views say the keypoint is.

    With three views or more, the click without which the rest agrees best is the wrong one. With
    two, nobody can tell, so both are.

    Args:
        cameras: C cameras.
        clicks: (C, K, 2) px, NaN where absent.
        share: allowed distance, as a share of each image's width.

    Returns:
        (C, K) px; NaN for clicks that agree or are absent; infinite where the views meet nowhere.
    """
    wrong = np.full(clicks.shape[:2], np.nan)
    widths = np.array([camera.width for camera in cameras], float)
    for k in range(clicks.shape[1]):
        rest = clicks[:, k].copy()
        while np.isfinite(rest).all(axis=1).sum() >= 2:
            errors = _errors(cameras, rest, rest)
            if np.nanmax(errors / widths) <= share:
                break
            views = np.nonzero(np.isfinite(rest).all(axis=1))[0]
            if len(views) == 2:
                wrong[views, k] = errors[views]
                break
            without = [np.where(np.arange(len(cameras))[:, None] == c, np.nan, rest) for c in views]
            spreads = [np.nanmax(_errors(cameras, left, left) / widths) for left in without]
            best = int(np.argmin(spreads))
            wrong[views[best], k] = _errors(cameras, without[best], rest)[views[best]]
            rest = without[best]
    return wrong


def _errors(cameras: Sequence[Camera], taught: Array, clicks: Array) -> Array:
    """Distances (C,) px of clicks (C, 2) from the point that others (C, 2) meet in."""
    point = triangulated(cameras, taught[:, None])[0]
    pixels = np.array([camera.project(point) for camera in cameras])
    distances: Array = np.linalg.norm(pixels - clicks, axis=1)
    clicked = np.isfinite(clicks).all(axis=1)
    distances[clicked & ~np.isfinite(distances)] = np.inf
    return distances
