"""The distances between keypoints of one object, as far as they hardly change.

A box is rigid, and of a plush toy at least the body keeps its size. A view that sees one corner for
another does not keep the distances, and a keypoint that one view shows well is fixed by the others.

Shapes: D distances, K keypoints, M hypotheses a keypoint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from s3k_ros.geometry import _native
from s3k_ros.perception.description import DistanceDescription

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Part of the keypoints' distances that is far off for reasons of its own: a limb that bends as
# never seen before.
_UNUSUAL = 0.02
# Metres over which the distance of a wrong keypoint scatters.
_SCATTER_M = 0.3
_LOG_SCALE = float(np.log((1.0 - _UNUSUAL) * _SCATTER_M) - 0.5 * np.log(2 * np.pi))
_LOG_UNUSUAL = float(np.log(_UNUSUAL))


@dataclasses.dataclass(frozen=True, eq=False)
class Shape:
    """D distances between K keypoints.

    Attributes:
        first, second: (D,) indices of the keypoints.
        distance: (D,) m.
        spread: (D,) m, standard deviation.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: Array
    spread: Array

    @classmethod
    def of(cls, distances: Sequence[DistanceDescription]) -> Shape:
        """As a model file states them."""
        return cls(
            np.array([d.keypoints[0] for d in distances], np.int64),
            np.array([d.keypoints[1] for d in distances], np.int64),
            np.array([d.distance_m for d in distances], float),
            np.array([d.spread_m for d in distances], float),
        )

    def __len__(self) -> int:
        return len(self.distance)

    def gains(self, points: Array, covariances: Array) -> Array:
        """(M, M, D) log-likelihood of each distance between hypotheses, above that of wrong ones.

        Args:
            points: (M, K, 3) m. NaN: no hypothesis, which says nothing (zero).
            covariances: (M, K, 3, 3) m^2.
        """
        offset = points[:, np.newaxis, self.first] - points[np.newaxis, :, self.second]
        both = covariances[:, np.newaxis, self.first] + covariances[np.newaxis, :, self.second]
        distance, direction = _polar(offset)
        variance = self.spread**2 + _along(direction, both)
        return _gain(_log_right(distance - self.distance, variance))

    def links(self, k: int, points: Array, covariances: Array, found: BoolArray) -> Links:
        """The distances of keypoint k to those found, at points (K, 3) with (K, 3, 3) m^2."""
        other = np.where(self.first == k, self.second, self.first)
        number = np.flatnonzero(((self.first == k) | (self.second == k)) & found[other])
        other = other[number]
        distance, spread = self.distance[number], self.spread[number]
        return Links(points[other], covariances[other], distance, spread)

    def gradient(self, points: Array) -> tuple[Array, Array]:
        """Information (3 K, 3 K) and gradient (3 K,) of the distances at points (K, 3).

        A distance counts as in `Links.gradient`, the points being variables: by its spread alone.
        """
        size = 3 * len(points)
        information, gradient = np.zeros((size, size)), np.zeros(size)
        _native.add_distances(
            points,
            self.first,
            self.second,
            self.distance,
            self.spread,
            _LOG_SCALE,
            _LOG_UNUSUAL,
            information,
            gradient,
        )
        return information, gradient


@dataclasses.dataclass(frozen=True, eq=False)
class Links:
    """The distances of one keypoint to L others that have a point.

    Attributes:
        points: (L, 3) m. covariances: (L, 3, 3) m^2. distance, spread: (L,) m.
    """

    points: Array
    covariances: Array
    distance: Array
    spread: Array

    def __len__(self) -> int:
        return len(self.distance)

    def gains(self, trial: Array) -> Array:
        """(N,) log-likelihood of trial points (N, 3), above that of wrong ones."""
        distance, direction = _polar(trial[:, np.newaxis] - self.points)
        variance = self.spread**2 + _along(direction, self.covariances)
        gain: Array = _gain(_log_right(distance - self.distance, variance)).sum(axis=1)
        return gain

    def gradient(self, trial: Array) -> tuple[Array, Array]:
        """Information (N, 3, 3) and gradient (N, 3) at trial points (N, 3)."""
        distance, direction = _polar(trial[:, np.newaxis] - self.points)
        variance = self.spread**2 + _along(direction, self.covariances)
        residual = self.distance - distance
        weight = _weight(_log_right(residual, variance), variance)
        scaled = weight[..., np.newaxis] * direction
        return direction.swapaxes(1, 2) @ scaled, (scaled * residual[..., np.newaxis]).sum(axis=1)


def _log_right(residual: Array, variance: Array) -> Array:
    """Logarithm of the density of a right distance over that of a wrong one."""
    return np.asarray(_LOG_SCALE - 0.5 * np.log(variance) - 0.5 * residual**2 / variance)


def _gain(right: Array) -> Array:
    """Log-likelihood of a distance that may be unusual; zero where nothing is known."""
    known = np.isfinite(right)
    return np.where(known, np.logaddexp(np.where(known, right, 0.0), _LOG_UNUSUAL), 0.0)


def _weight(right: Array, variance: Array) -> Array:
    """Inverse variance of a distance, times the probability that it is not unusual."""
    return np.asarray(expit(right - _LOG_UNUSUAL) / variance)


def _along(direction: Array, covariances: Array) -> Array:
    """Variances (...) of covariances (..., 3, 3) along directions (..., 3)."""
    return np.asarray(
        (direction[..., np.newaxis, :] @ covariances @ direction[..., np.newaxis])[..., 0, 0]
    )


def _polar(offset: Array) -> tuple[Array, Array]:
    """Lengths (...) and directions (..., 3) of vectors (..., 3)."""
    length = np.linalg.norm(offset, axis=-1)
    return length, offset / np.maximum(length, 1e-9)[..., np.newaxis]
