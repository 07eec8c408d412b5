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

from s3k_ros.perception.description import DistanceDescription

Array = NDArray[np.float64]

# Part of the keypoints' distances that is far off for reasons of its own: a limb that bends as
# never seen before.
_UNUSUAL = 0.02
# Metres over which the distance of a wrong keypoint scatters.
_SCATTER_M = 0.3


@dataclasses.dataclass(frozen=True, eq=False)
class Shape:
    """D distances between K keypoints.

    Attributes:
        first, second: (D,) indices of the keypoints.
        distance: (D,) m.
        spread: (D,) m, standard deviation.
    """

    first: NDArray[np.int_]
    second: NDArray[np.int_]
    distance: Array
    spread: Array

    @classmethod
    def of(cls, distances: Sequence[DistanceDescription]) -> Shape:
        """As a model file states them."""
        return cls(
            np.array([d.keypoints[0] for d in distances], int),
            np.array([d.keypoints[1] for d in distances], int),
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
        variance = (direction[..., np.newaxis, :] @ both @ direction[..., np.newaxis])[..., 0, 0]
        right = self._log_right(distance, self.spread**2 + variance)
        known = np.isfinite(distance)
        right = np.where(known, right, 0.0)
        gain: Array = np.where(known, np.logaddexp(right, np.log(_UNUSUAL)), 0.0)
        return gain

    def gradient(self, points: Array) -> tuple[Array, Array]:
        """Information (3 K, 3 K) and gradient (3 K,) of the distances at points (K, 3)."""
        count = len(points)
        distance, direction = _polar(points[self.first] - points[self.second])
        known = np.isfinite(distance)
        residual = np.where(known, self.distance - distance, 0.0)
        direction = np.where(known[:, np.newaxis], direction, 0.0)
        odds = self._log_right(self.distance + residual, self.spread**2) - np.log(_UNUSUAL)
        weight = expit(odds) / self.spread**2
        rows = np.arange(len(self))
        jacobian = np.zeros((len(self), count, 3))
        jacobian[rows, self.first] = direction
        jacobian[rows, self.second] = -direction
        flat = jacobian.reshape(len(self), 3 * count)
        return flat.T @ (weight[:, np.newaxis] * flat), flat.T @ (weight * residual)

    def _log_right(self, distance: Array, variance: Array) -> Array:
        """Logarithm of the density of a right distance over that of a wrong one."""
        squared = (distance - self.distance) ** 2 / variance
        scale = np.log((1.0 - _UNUSUAL) * _SCATTER_M) - 0.5 * np.log(2 * np.pi * variance)
        return np.asarray(scale - 0.5 * squared)


def _polar(offset: Array) -> tuple[Array, Array]:
    """Lengths (...) and directions (..., 3) of vectors (..., 3)."""
    length = np.linalg.norm(offset, axis=-1)
    return length, offset / np.maximum(length, 1e-9)[..., np.newaxis]
