"""Which of several peaks to believe, decided jointly over the views of a set.

A heatmap may show two paws. A single view cannot tell which peak is right, but a wrong choice
rarely agrees with the other views: every pair of peaks in two views proposes a point in space, and
the point that explains the most probability mass over all views decides the peak in each view.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from s3k_ros.errors import DataError
from s3k_ros.geometry.camera import MIN_DEPTH_M, Camera, CameraStack
from s3k_ros.geometry.triangulation import intersect_rays
from s3k_ros.perception.detector import ViewKeypoints, ViewPeaks

Array = NDArray[np.float64]

# Of the image's width: 4 px at 640 px, about 1 cm at 1 m for the cameras of the reference cell.
DEFAULT_TOLERANCE = 0.006


def choose_peaks(
    cameras: Sequence[Camera],
    views: Sequence[ViewPeaks | None],
    tolerance: float = DEFAULT_TOLERANCE,
) -> list[ViewKeypoints | None]:
    """Picks one peak a view and keypoint, so that the views agree on the most probability mass.

    A view in which no peak fits the chosen point keeps its strongest peak: whether the views are
    consistent after all is for the triangulator to judge.

    Args:
        cameras: C cameras.
        views: candidates of C views, or None.
        tolerance: standard deviation of a good peak's distance to the point's projection, as a
            fraction of the image width.

    Raises:
        DataError: another number of views than of cameras.
    """
    if len(cameras) != len(views):
        raise DataError(f"{len(views)} views, but {len(cameras)} cameras")
    there = [i for i, view in enumerate(views) if view is not None]
    present = [view for view in views if view is not None]
    if len(present) < 2:
        return [None if view is None else view.select() for view in views]
    used = [cameras[i] for i in there]
    choice = _choose(used, present, tolerance)
    result: list[ViewKeypoints | None] = [None] * len(views)
    for i, view, peak in zip(there, present, choice, strict=True):
        result[i] = view.select(peak)
    return result


def _choose(
    cameras: Sequence[Camera], views: Sequence[ViewPeaks], tolerance: float
) -> NDArray[np.int_]:
    """Chosen peaks (C, K)."""
    pixels = np.array([view.pixels for view in views])  # (C, K, P, 2)
    masses = np.nan_to_num(np.array([view.masses for view in views]))
    stack = CameraStack(cameras)
    points = _proposals(stack, pixels)  # (K, H, 3)
    count, keypoints = masses.shape[:2]
    projected, _, depth = stack.project(points.reshape(-1, 3))
    projected = projected.reshape(count, keypoints, -1, 1, 2)
    distance = ((projected - pixels[:, :, np.newaxis]) ** 2).sum(axis=-1)  # (C, K, H, P)
    width = np.array([camera.width for camera in cameras]).reshape(-1, 1, 1, 1)
    fit = np.exp(-0.5 * np.nan_to_num(distance, nan=np.inf) / (tolerance * width) ** 2)
    explained = masses[:, :, np.newaxis] * fit
    behind = ~(depth > MIN_DEPTH_M).reshape(count, keypoints, -1)
    score = np.where(behind, 0.0, explained.max(axis=-1)).sum(axis=0)  # (K, H)
    best = score.argmax(axis=-1)
    chosen = explained[:, np.arange(keypoints), best]  # (C, K, P)
    # Three sigmas away a peak has nothing to do with the point any more.
    near = fit[:, np.arange(keypoints), best].max(axis=-1) > np.exp(-4.5)
    return np.where(near, chosen.argmax(axis=-1), 0)


def _proposals(stack: CameraStack, pixels: Array) -> Array:
    """The points (K, H, 3) that pairs of peaks in pairs of views meet in; NaN where none."""
    count, keypoints, peaks, _ = pixels.shape
    rays = stack.rays(pixels.reshape(count, -1, 2)).reshape(count, keypoints, peaks, 3)
    points = []
    for a, b in itertools.combinations(range(count), 2):
        pairs = np.empty((keypoints, peaks, peaks, 2, 3))
        pairs[..., 0, :] = rays[a][:, :, np.newaxis]
        pairs[..., 1, :] = rays[b][:, np.newaxis, :]
        met = intersect_rays(stack.centres[[a, b]], pairs, np.ones(pairs.shape[:-1]))
        points.append(met.reshape(keypoints, -1, 3))
    return np.concatenate(points, axis=1)
