"""3D keypoints from the keypoints of several views, with a status in place of a bad position."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from s3k_ros.errors import DataError
from s3k_ros.geometry.camera import Camera, CameraStack
from s3k_ros.params.perception import TriangulationParameters
from s3k_ros.perception.consensus import Consensus, find_consensus
from s3k_ros.perception.description import ModelDescription, SpaceConfidence
from s3k_ros.perception.detector import ViewKeypoints
from s3k_ros.perception.mixture import Mixture
from s3k_ros.perception.shape import Shape

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Beyond this the ratio of the geometry's trace to its average says no more about the common mode.
_MOST_HARD = 10.0
# Confidences of exactly 0 or 1 would be certain beyond all evidence.
_MIN_PROBABILITY = 1e-4
# Log-odds by which a point must be likelier than all others to be believed by half: the likelihoods
# of two points differ by as much for no good reason, such as their distances from the cameras.
_RIVAL_MARGIN = 1.0


class Status(enum.IntEnum):
    """What a 3D keypoint is worth; the values of Keypoint3D.status."""

    OK = 0
    PREDICTED = 1
    TOO_FEW_VIEWS = 2
    LOW_CONFIDENCE = 3
    INCONSISTENT = 4


@dataclasses.dataclass(frozen=True, eq=False)
class KeypointEstimate:
    """One keypoint in space.

    Attributes:
        name: the keypoint's name.
        status: OK, or why there is no position.
        position: (3,) base frame, metres; NaN unless OK.
        covariance: (3, 3) of the position's error, m^2; NaN unless OK.
        confidence: calibrated probability of no gross error; 0 when no views could be combined.
        reprojection_error: RMS over the views used, px; NaN unless OK.
        views_used: bit i set when view i took part; also set for the views that were found
            inconsistent or too unsure together.
        shared: (3, 3) m^2, the part of the covariance that is the same in every set (common mode,
            calibration of the rig), which tracking cannot average out; NaN unless OK.
    """

    name: str
    status: Status
    position: Array
    covariance: Array
    confidence: float
    reprojection_error: float
    views_used: int
    shared: Array


@dataclasses.dataclass(frozen=True, eq=False)
class _Views:
    """All views stacked: C views, K keypoints."""

    pixels: Array
    covariances: Array
    confidences: Array
    weights: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """What speaks for K points.

    Attributes:
        points: (K, 3) m, base frame; NaN where there is none.
        second: (K,) log-odds of the second surest view that takes part, or of the only one.
        views: (K,) number of views that take part.
        support: (K,) of the distances to other keypoints.
        odds: (K,) log-odds against other points and against none; minus infinity without a point.
    """

    points: Array
    second: Array
    views: NDArray[np.int_]
    support: Array
    odds: Array

    def probability(self, space: SpaceConfidence) -> Array:
        """(K,) that the views are not deceived and no other point explains them; 0 without any."""
        known = np.isfinite(self.odds)
        agreed = space.log_odds(self.second, self.views, self.support)
        combined = expit(agreed) * expit(np.where(known, self.odds, 0.0) - _RIVAL_MARGIN)
        return np.asarray(np.where(known, combined, 0.0))


@dataclasses.dataclass(frozen=True, eq=False)
class CommonMode:
    """The error that all views share, K keypoints.

    Attributes:
        matrices: (K, 3, 3) m^2, in a scene of average difficulty.
        reference: (K,) m^2, average traces of the geometry's covariances.
        growth: power of a trace over its reference that the matrices grow with.

    Raises:
        DataError: shapes that do not fit each other.
    """

    matrices: Array
    reference: Array
    growth: float = 0.0

    def __post_init__(self) -> None:
        """Checks the shapes."""
        count = len(self.matrices)
        if self.matrices.shape != (count, 3, 3) or self.reference.shape != (count,):
            raise DataError(
                f"common_mode has matrices {self.matrices.shape} and references "
                f"{self.reference.shape}, expected (K, 3, 3) and (K,)"
            )

    @classmethod
    def constant(cls, matrices: Array) -> CommonMode:
        """The same in every scene."""
        return cls(np.asarray(matrices, np.float64), np.ones(len(matrices)))

    @classmethod
    def from_description(cls, description: ModelDescription) -> CommonMode:
        """As a model file states it."""
        stated = description.uncertainty
        matrices = np.array(stated.common_mode, np.float64)
        if not stated.common_reference:
            return cls.constant(matrices)
        return cls(matrices, np.array(stated.common_reference), stated.common_growth)

    def factors(self, geometry: Array) -> Array:
        """(..., K) what the matrices are multiplied with, for covariances (..., K, 3, 3)."""
        ratio = np.trace(geometry, axis1=-2, axis2=-1) / self.reference
        factors: Array = np.clip(ratio, 1.0 / _MOST_HARD, _MOST_HARD) ** self.growth
        return factors

    def of(self, geometry: Array) -> Array:
        """(K, 3, 3) for the geometry's covariances (K, 3, 3) in one scene; NaN stays NaN."""
        return np.asarray(self.matrices * self.factors(geometry)[:, np.newaxis, np.newaxis])


class KeypointTriangulator:
    """Combines the views of one set into 3D keypoints.

    Args:
        names: K keypoint names.
        params: thresholds and calibration errors.
        common_mode: the error that all views share, from the model's description; none by default.
        space: the confidence in space, from the model's description.
        shape: distances between the keypoints, from the model's description; none by default.

    Raises:
        DataError: ``common_mode`` does not fit the names.
    """

    def __init__(
        self,
        names: Sequence[str],
        params: TriangulationParameters | None = None,
        common_mode: CommonMode | None = None,
        space: SpaceConfidence | None = None,
        shape: Shape | None = None,
    ) -> None:
        """Checks that names and matrices fit each other."""
        self.names = tuple(names)
        self.params = params or TriangulationParameters()
        self._space = space or SpaceConfidence()
        self._shape = shape
        count = len(self.names)
        self._common_mode = common_mode or CommonMode.constant(np.zeros((count, 3, 3)))
        found = len(self._common_mode.matrices)
        if found != count:
            raise DataError(f"common_mode is of {found} keypoints, expected {count}")

    @classmethod
    def from_description(
        cls, description: ModelDescription, params: TriangulationParameters | None = None
    ) -> KeypointTriangulator:
        """The triangulator for a model's keypoints."""
        common_mode = CommonMode.from_description(description)
        space = description.uncertainty.space_confidence
        shape = Shape.of(description.shape) if description.shape else None
        return cls(description.keypoints, params, common_mode, space, shape)

    def estimate(
        self, cameras: Sequence[Camera], views: Sequence[ViewKeypoints | None]
    ) -> list[KeypointEstimate]:
        """The most likely position of every keypoint, see `s3k_ros.perception.consensus`.

        A view takes no part when it is None, not finite, less confident than
        ``min_view_confidence`` or has the point behind its camera. Views that disagree count as far
        as they may be right. A keypoint whose confidence stays below ``min_confidence`` is
        INCONSISTENT where sure views contradict it, otherwise LOW_CONFIDENCE.

        Args:
            cameras: C cameras, for the images in which the keypoints were found.
            views: C views with K keypoints each, or None.

        Raises:
            DataError: another number of views than of cameras, or of keypoints than of names.
        """
        stacked = self._stack(cameras, views)
        seen: BoolArray = np.asarray(np.isfinite(stacked.pixels).all(axis=-1))
        usable = seen & (stacked.confidences >= self.params.min_view_confidence)
        found = self._consensus(cameras, stacked, usable)
        return self._estimates(stacked, seen, usable, found)

    def evidence(
        self, cameras: Sequence[Camera], views: Sequence[ViewKeypoints | None]
    ) -> Evidence:
        """The points as `estimate` finds them, refused or not, and what speaks for them."""
        stacked = self._stack(cameras, views)
        usable = stacked.confidences >= self.params.min_view_confidence
        found = self._consensus(cameras, stacked, usable)
        return _evidence(stacked.confidences, found)

    def _consensus(self, cameras: Sequence[Camera], views: _Views, usable: BoolArray) -> Consensus:
        widths = np.array([float(camera.width) for camera in cameras])
        mixture = Mixture.of(views.pixels, views.covariances, views.confidences, usable, widths)
        return find_consensus(CameraStack(cameras), mixture, views.weights, self._shape)

    def _stack(self, cameras: Sequence[Camera], views: Sequence[ViewKeypoints | None]) -> _Views:
        shape = (len(views), len(self.names))
        if len(cameras) != len(views):
            raise DataError(f"{len(views)} views, but {len(cameras)} cameras")
        pixels, confidences = np.full((*shape, 2), np.nan), np.zeros(shape)
        covariances, weights = np.full((*shape, 2, 2), np.nan), np.zeros(shape)
        for i, view in enumerate(views):
            if view is None:
                continue
            if view.pixels.shape != (shape[1], 2):
                raise DataError(f"view {i} has {len(view.pixels)} keypoints, expected {shape[1]}")
            pixels[i], covariances[i] = view.pixels, view.covariances
            confidences[i] = np.nan_to_num(view.confidences, nan=0.0)
            weights[i] = confidences[i] if view.weights is None else view.weights
        covariances += self.params.calibration_error_px**2 * np.eye(2)
        return _Views(pixels, covariances, confidences, np.nan_to_num(weights))

    def _estimates(
        self, views: _Views, seen: BoolArray, usable: BoolArray, found: Consensus
    ) -> list[KeypointEstimate]:
        confidences = _evidence(views.confidences, found).probability(self._space)
        rig = self.params.calibration_error_m**2 * np.eye(3)
        shared = self._common_mode.of(found.covariances) + rig
        covariances = found.covariances + shared
        part = found.taking_part
        squared = np.where(part, (found.residuals**2).sum(axis=-1), 0.0).sum(axis=0)
        reprojection = np.sqrt(squared / np.maximum(part.sum(axis=0), 1))
        # Views that would be believed alone.
        sure = usable & (views.confidences >= self.params.min_confidence)
        estimates = []
        for k, name in enumerate(self.names):
            good = confidences[k] >= self.params.min_confidence
            if good:
                status = Status.OK
            elif usable[:, k].sum() < 2:
                status = Status.LOW_CONFIDENCE if seen[:, k].sum() >= 2 else Status.TOO_FEW_VIEWS
            elif found.parallel[k]:
                status = Status.TOO_FEW_VIEWS  # the same view twice, as far as depth goes
            elif sure[:, k].sum() >= 2 and not part[sure[:, k], k].all():
                status = Status.INCONSISTENT
            else:
                status = Status.LOW_CONFIDENCE
            used = part[:, k] if good else usable[:, k] & (usable[:, k].sum() >= 2)
            estimates.append(
                KeypointEstimate(
                    name=name,
                    status=status,
                    position=found.points[k] if good else np.full(3, np.nan),
                    covariance=covariances[k] if good else np.full((3, 3), np.nan),
                    confidence=float(confidences[k]),
                    reprojection_error=float(reprojection[k]) if good else np.nan,
                    views_used=sum(1 << int(i) for i in np.flatnonzero(used)),
                    shared=shared[k] if good else np.full((3, 3), np.nan),
                )
            )
        return estimates


def _evidence(confidences: Array, found: Consensus) -> Evidence:
    probability = np.clip(confidences, _MIN_PROBABILITY, 1.0 - _MIN_PROBABILITY)
    odds = np.where(found.taking_part, logit(probability), -np.inf)
    known = np.isfinite(found.odds)
    count = found.taking_part.sum(axis=0)
    # Of a single view, which distances confirm, its own.
    ranked = np.sort(odds, axis=0)[::-1]
    second = np.where(known, ranked[np.clip(count - 1, 0, 1), np.arange(len(count))], 0.0)
    return Evidence(found.points, second, count, found.support, found.odds)
