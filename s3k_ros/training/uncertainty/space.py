"""What scenes without labels tell of points in space: the object's distances, the confidence.

Distances between keypoints that hardly change are found where many views agree. For the confidence
views are left out: where the point that some views give lies far from what a sure view that was
left out shows, those were deceived.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from s3k_ros.geometry.camera import Camera
from s3k_ros.perception.description import (
    DistanceDescription,
    ModelDescription,
    SpaceConfidence,
)
from s3k_ros.perception.detector import ViewKeypoints
from s3k_ros.perception.triangulator import Evidence, KeypointTriangulator
from s3k_ros.training.model.figures import GROSS_FRACTION, LEAST_GROSS_PX

Array = npt.NDArray[np.float64]
Scene = tuple[list[Camera], list[ViewKeypoints | None]]

_LEAST_SCENES = 30
"""A distance that was seen in fewer scenes is not known."""
_LEAST_SPREAD_M = 5e-4
"""Networks are that far from rigid: a smaller spread would outweigh every view."""
_MOST_SPREAD = 0.1
"""Part of a distance; one that varies more says nothing."""
_FAR = 4.0
"""Robust standard deviations from the median beyond which a distance is of a wrong point."""
_SURE = 0.9
"""Confidence from which a view that was left out counts."""
_CHANCE = 0.03
"""Share of the wrong points that lie where a sure view shows the keypoint all the same."""
_BEFORE = SpaceConfidence(0.5, 0.45, 2.2, 0.3)
_BEFORE_WIDTH = np.array([2.0, 0.3, 1.0, 0.3])
"""What is known of the constants beforehand, from the box and the plush fox, and how well."""


def distances(points: Array, geometry: Array) -> tuple[DistanceDescription, ...]:
    """The distances that hardly change, at most as many as a shape has degrees of freedom.

    Args:
        points: (N, K, 3) m, NaN where unknown.
        geometry: (N, K, 3, 3) m^2, their covariances.
    """
    count = points.shape[1]
    found = []
    for i, j in combinations(range(count), 2):
        known = np.isfinite(points[:, [i, j]]).all((1, 2))
        if known.sum() < _LEAST_SCENES:
            continue
        offset = points[known, i] - points[known, j]
        length = np.linalg.norm(offset, axis=1)
        direction = offset / length[:, np.newaxis]
        both = geometry[known, i] + geometry[known, j]
        expected = np.einsum("na,nab,nb->n", direction, both, direction)
        error = length - np.median(length)
        near = np.abs(error) <= _FAR * 1.4826 * np.median(np.abs(error))
        variance = error[near].var() - np.median(expected)
        spread = float(np.sqrt(max(variance, _LEAST_SPREAD_M**2)))
        if spread < _MOST_SPREAD * np.median(length):
            found.append(DistanceDescription((i, j), float(length[near].mean()), spread))
    found.sort(key=lambda distance: distance.spread_m / distance.distance_m)
    return tuple(found[: max(1, 3 * count - 6)])


def space_confidence(scenes: Sequence[Scene], description: ModelDescription) -> SpaceConfidence:
    """Fits the confidence in space to what views that were left out show."""
    triangulator = KeypointTriangulator.from_description(description)
    parts = [_left_out(cameras, views, triangulator) for cameras, views in scenes]
    evidence, agreed, sure = (np.concatenate(values) for values in zip(*parts, strict=True))
    rivals = expit(evidence[:, 3])
    # Without known distances nothing supports a point.
    with_shape = bool(description.shape)

    def cost(values: Array) -> float:
        space = _space(values, with_shape)
        odds = space.log_odds(evidence[:, 0], evidence[:, 1], evidence[:, 2])
        right = expit(odds) * rivals
        seen = np.clip(right * sure + (1.0 - right) * _CHANCE, 1e-9, 1.0 - 1e-9)
        loss = -np.where(agreed > 0, np.log(seen), np.log1p(-seen)).sum()
        before = np.array(dataclasses.astuple(_BEFORE))
        return float(loss + 0.5 * (((values - before) / _BEFORE_WIDTH) ** 2).sum())

    start = np.array(dataclasses.astuple(_BEFORE))
    bounds = [(-10.0, 10.0), (0.0, 5.0), (0.0, 10.0), (0.0, 5.0)]
    found = minimize(cost, start, method="L-BFGS-B", bounds=bounds)
    return _space(found.x, with_shape)


def _space(values: Array, with_shape: bool) -> SpaceConfidence:
    bias, second, further, support = (float(value) for value in values)
    return SpaceConfidence(bias, second, further, support if with_shape else 0.0)


def _left_out(
    cameras: list[Camera], views: list[ViewKeypoints | None], triangulator: KeypointTriangulator
) -> tuple[Array, Array, Array]:
    """Evidence (R, 4) of points from two views and more, whether the sure views that were left out
    agree (R,), and how probable it is that all of these are right (R,).
    """
    known = [c for c, view in enumerate(views) if view is not None]
    evidence, agreed, sure = [], [], []
    for size in range(2, len(known)):
        for chosen in combinations(known, size):
            some = [view if c in chosen else None for c, view in enumerate(views)]
            found = triangulator.evidence(cameras, some)
            rest = [c for c in known if c not in chosen]
            others = [cameras[c] for c in rest], [views[c] for c in rest]
            right, together = _witnesses(found, *others)
            use = np.isfinite(found.odds) & np.isfinite(together)
            columns = (found.second, found.views, found.support, found.odds)
            evidence.append(np.stack(columns, axis=1)[use])
            agreed.append(right[use])
            sure.append(together[use])
    if not evidence:
        return np.zeros((0, 4)), np.zeros(0), np.zeros(0)
    return np.concatenate(evidence), np.concatenate(agreed), np.concatenate(sure)


def _witnesses(
    found: Evidence, cameras: list[Camera], views: list[ViewKeypoints | None]
) -> tuple[Array, Array]:
    """(K,) whether all sure views see the points, (K,) probability that these are right; NaN where
    no view is sure.
    """
    agree, together = np.ones(len(found.odds)), np.ones(len(found.odds))
    asked = np.zeros(len(found.odds), bool)
    for camera, view in zip(cameras, views, strict=True):
        if view is None:
            continue
        gross = max(GROSS_FRACTION * camera.width, LEAST_GROSS_PX)
        distance = np.linalg.norm(camera.project(found.points) - view.pixels, axis=-1)
        use = view.confidences >= _SURE
        asked |= use
        agree[use & ~(distance < gross)] = 0.0
        together[use] *= view.confidences[use]
    return agree, np.where(asked, together, np.nan)
