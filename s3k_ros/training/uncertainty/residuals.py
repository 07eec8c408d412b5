"""What views say about each other: each one's distance to where the others see a keypoint.

These residuals need no labels. They show the errors that views do not share, and only those.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from s3k_ros.errors import DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.geometry.triangulation import triangulate
from s3k_ros.perception.detector import KeypointDetector
from s3k_ros.training.dataset.reader import Dataset

Array = npt.NDArray[np.float64]

_MIN_MASS = 0.3
"""Views with less mass in their peak take no part in the fit of the covariance."""
_CONSISTENT = 0.99


@dataclasses.dataclass(frozen=True)
class Detections:
    """Raw detections of N scenes, C views, K keypoints: first peak of each map.

    Attributes:
        cameras: N lists of C cameras.
        pixels: (N, C, K, 2) px. excess: (N, C, K, 2, 2) px^2. features: (N, C, K, F).
    """

    cameras: list[list[Camera]]
    pixels: Array
    excess: Array
    features: Array

    def covariances(self, floor: Array, gain: Array) -> Array:
        """(N, C, K, 2, 2) px^2 for isotropic floors (K,) px^2 and gains (K,)."""
        return floor[:, None, None] * np.eye(2) + gain[:, None, None] * self.excess

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """(N, C, K) finite and with a clear peak."""
        clear = self.features[..., 0] > np.log(_MIN_MASS)
        return np.asarray(clear & np.isfinite(self.pixels).all(-1))


@dataclasses.dataclass(frozen=True)
class Residuals:
    """Leave-one-view-out residuals, R of them.

    Attributes:
        keypoint: (R,) index. residual: (R, 2) px. spread: (R, 2, 2) px^2, of the other views'
            point, projected. excess: (R, 2, 2) px^2. features: (R, F). clear: (R,) usable view.
    """

    keypoint: npt.NDArray[np.int_]
    residual: Array
    spread: Array
    excess: Array
    features: Array
    clear: npt.NDArray[np.bool_]


def detect(detector: KeypointDetector, dataset: Dataset, samples: Iterable[int]) -> Detections:
    """Runs the shipped detector on samples; scenes with an unusable image are left out."""
    cameras, pixels, excess, features = [], [], [], []
    shown = time.monotonic()
    for sample in samples:
        views = detector.detect_peaks(dataset.images(sample))
        present = [view for view in views if view is not None]
        if len(present) < len(views):
            continue
        cameras.append(dataset.cameras(sample))
        pixels.append([view.pixels[:, 0] for view in present])
        excess.append([view.excess[:, 0] for view in present])
        features.append([view.features[:, 0] for view in present])
        if time.monotonic() - shown > 5:
            shown = time.monotonic()
            print(f"detected {len(cameras)} scenes", flush=True)
    if not cameras:
        raise DataError(f"{dataset.folder}: no usable scene")
    return Detections(cameras, np.array(pixels), np.array(excess), np.array(features))


def leave_one_out(detections: Detections, floor: Array, gain: Array) -> Residuals:
    """Residual of every view against the point that the other views, agreeing, give.

    Raises:
        DataError: nowhere do views agree.
    """
    covariances, usable = detections.covariances(floor, gain), detections.usable
    parts: dict[str, list[Array]] = {f.name: [] for f in dataclasses.fields(Residuals)}
    for cameras, scenes in _by_rig(detections.cameras):
        pixels, spread, excess, features, clear = (
            _points_of(values[scenes])
            for values in (
                detections.pixels, covariances, detections.excess, detections.features, usable,
            )
        )  # fmt: skip
        count = detections.pixels.shape[2]
        for c, camera in enumerate(cameras):
            weights = clear.astype(float)
            weights[c] = 0.0
            result = triangulate(cameras, pixels, spread, weights)
            freedom = np.maximum(2 * result.views_used.sum(1) - 3, 1)
            agree = np.nan_to_num(result.chi_square, nan=np.inf) < chi2.ppf(_CONSISTENT, freedom)
            keep = np.flatnonzero(agree & np.isfinite(pixels[c]).all(-1))
            points = result.points[keep]
            jacobian = camera.projection_jacobian(points)
            parts["keypoint"].append(keep % count)
            parts["residual"].append(pixels[c, keep] - camera.project(points))
            parts["spread"].append(jacobian @ result.covariances[keep] @ jacobian.swapaxes(-1, -2))
            parts["excess"].append(excess[c, keep])
            parts["features"].append(features[c, keep])
            parts["clear"].append(clear[c, keep])
    whole = {name: np.concatenate(values) for name, values in parts.items()}
    good = np.isfinite(whole["residual"]).all(-1) & np.isfinite(whole["features"]).all(-1)
    if not good.any():
        raise DataError("in no scene do enough views agree on a keypoint")
    return Residuals(**{name: values[good] for name, values in whole.items()})


def _by_rig(cameras: list[list[Camera]]) -> list[tuple[list[Camera], list[int]]]:
    """Scenes that were seen by the same cameras, which are triangulated at once."""
    rigs: dict[bytes, tuple[list[Camera], list[int]]] = {}
    for scene, rig in enumerate(cameras):
        key = b"".join(
            part.tobytes()
            for camera in rig
            for part in (
                camera.matrix, camera.distortion, camera.base_from_camera.rotation, camera.centre,
            )
        )  # fmt: skip
        rigs.setdefault(key, (rig, []))[1].append(scene)
    return list(rigs.values())


def _points_of(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(C, N K, ...) of (N, C, K, ...)."""
    views = values.swapaxes(0, 1)
    return views.reshape(len(views), -1, *values.shape[3:])
