"""Points from the rays of several cameras, with the covariance of their error.

`intersect_rays` is Eq. 2 of the S3K paper ("S3K: Self-Supervised Semantic Keypoints for Robotic
Manipulation via Multi-View Consistency", CoRL 2020); `triangulate` refines its point by
Gauss-Newton on the reprojection error and propagates the pixels' error covariances.
`triangulate_robust` does the same and drops views that disagree, by Baarda's test of the largest
standardised residual ("A testing procedure for use in geodetic networks", 1968).

The loops over points are compiled (src/triangulation.h): 10,000 points of four views take a few
milliseconds, 4 points a few microseconds. All points of all keypoints and frames go in at once.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from s3k_ros.errors import DataError
from s3k_ros.geometry import _native
from s3k_ros.geometry.camera import Camera, CameraStack

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Rays that all lie within this angle of each other fix no depth.
MIN_ANGLE_RAD = 0.02
_MIN_SINE_SQUARED = float(np.sin(MIN_ANGLE_RAD) ** 2)
# Part of the points without any wrong view that are taken to have one.
FALSE_ALARM = 1e-3
_NO_LIMITS = np.empty((2, 0))


class TriangulationStatus(enum.IntEnum):
    """Why a point has no position."""

    OK = 0
    TOO_FEW_VIEWS = 1
    """Fewer than two usable views see the point in front of them."""
    DEGENERATE = 2
    """The rays are parallel within `MIN_ANGLE_RAD`."""
    DIVERGED = 3
    """The refinement left the space in front of the cameras."""
    INCONSISTENT = 4
    """Views disagree, and it cannot be told which are right. `triangulate_robust` alone."""


@dataclasses.dataclass(frozen=True, eq=False)
class Triangulation:
    """K points seen by C cameras. Whatever belongs to a point that is not OK is NaN.

    Attributes:
        points: (K, 3) base frame, metres.
        covariances: (K, 3, 3) of the points' errors, m^2.
        reprojection_error: (K,) root of the mean squared distance over the views used, px.
        views_used: (K, C); False everywhere for a point that is not OK.
        residuals: (C, K, 2) measured minus projected, px; NaN where the point is not OK, or where
            there is nothing to compare. Views that were not used are compared as well.
        mahalanobis: (C, K) squared residual of each view used over the covariance that this
            residual should have (chi-square with 2 degrees of freedom): how far the view is from
            what the others say, (S - J P J^T) being less than S because the point was fitted to
            this very residual. With two views that matrix has rank one (the distance to the
            epipolar line) and its pseudo-inverse is taken. NaN elsewhere.
        chi_square: (K,) weighted sum of squared residuals; 2 n - 3 degrees of freedom, n views.
        status: (K,) values of `TriangulationStatus`.
    """

    points: Array
    covariances: Array
    reprojection_error: Array
    views_used: BoolArray
    residuals: Array
    mahalanobis: Array
    chi_square: Array
    status: NDArray[np.uint8]


def detection_weights(spread: Array, sigma: float, alpha: float = 2.0, beta: float = 4.0) -> Array:
    """Weights w = 1 / (1 + (s / (alpha sigma))^beta) of Eq. 2.

    Args:
        spread: (...) s, the root of half the trace of a heatmap's covariance; any unit.
        sigma: width of the training target in the unit of ``spread``.
        alpha: spread, in sigmas, at which the weight is one half.
        beta: steepness.

    Returns:
        (...) weights in 0..1; zero where the spread is not finite.
    """
    spread = np.asarray(spread, dtype=np.float64)
    known = np.isfinite(spread)
    ratio = np.where(known, spread, 0.0) / (alpha * sigma)
    weights: Array = np.where(known, 1.0 / (1.0 + ratio**beta), 0.0)
    return weights


def intersect_rays(origins: Array, directions: Array, weights: Array) -> Array:
    """The points nearest to bundles of rays, Eq. 2 of the S3K paper.

    x = (sum_c w_c P_c)^-1 sum_c w_c P_c o_c with P_c = I - d_c d_c^T.

    Args:
        origins: (C, 3) ray origins, metres.
        directions: (..., C, 3) unit directions; a ray that is not finite is left out.
        weights: (..., C) non-negative weights; zero leaves a ray out.

    Returns:
        (..., 3) points; NaN where fewer than two rays are left or all of them are parallel
        within `MIN_ANGLE_RAD`. Rays are taken as lines: a point may lie behind its camera.
    """
    used = (weights > 0) & np.isfinite(directions).all(axis=-1)
    directions = np.where(used[..., np.newaxis], directions, 0.0)
    # A common factor changes nothing; without it very small weights underflow.
    weights = np.where(used, weights, 0.0)
    weights = weights / np.maximum(weights.max(axis=-1, keepdims=True), np.finfo(np.float64).tiny)
    scaled = directions * weights[..., np.newaxis]
    system = weights.sum(axis=-1)[..., np.newaxis, np.newaxis] * np.eye(3)
    system = system - scaled.swapaxes(-1, -2) @ directions
    along = (directions * origins).sum(axis=-1, keepdims=True)
    right = (weights[..., np.newaxis] * origins - scaled * along).sum(axis=-2)
    solvable = _spread_in_angle(directions, used)
    system = np.where(solvable[..., np.newaxis, np.newaxis], system, np.eye(3))
    points = np.linalg.solve(system, right[..., np.newaxis])[..., 0]
    return np.where(solvable[..., np.newaxis], points, np.nan)


def _spread_in_angle(directions: Array, used: BoolArray) -> BoolArray:
    """Whether some pair of used rays (..., C, 3) is further apart than `MIN_ANGLE_RAD`."""
    cosine = directions @ directions.swapaxes(-1, -2)
    apart = np.abs(cosine) < np.cos(MIN_ANGLE_RAD)
    pairs = used[..., np.newaxis, :] & used[..., :, np.newaxis]
    result: BoolArray = (apart & pairs).any(axis=(-2, -1))
    return result


def triangulate(
    cameras: Sequence[Camera] | CameraStack,
    pixels: Array,
    covariances: Array,
    weights: Array | None = None,
    common_mode: Array | None = None,
) -> Triangulation:
    """Triangulates K points from C cameras and propagates the pixels' error covariances.

    Eq. 2 gives the start, its weights decide how much each ray counts there; Gauss-Newton then
    minimises the sum of r^T S^-1 r, with the residuals r and their error covariances S. The
    covariance of a point is the inverse of its information matrix, so it is right when S is.

    Args:
        cameras: C cameras; a stack saves the time to make one, where many calls share it.
        pixels: (C, K, 2) measured pixels; a view that is not finite is refused.
        covariances: (C, K, 2, 2) error covariances, px^2, those of the calibration included; a view
            whose covariance is not finite and positive definite is refused. Broadcast arrays are
            not copied.
        weights: (C, K) detection weights of Eq. 2; a view of weight zero is refused. Default 1.
        common_mode: (K, 3, 3) or (3, 3) m^2, added to the covariances: errors that all views
            share, which no residual shows.

    Returns:
        The points with status; a point that is not OK has NaN in place of numbers.

    Raises:
        DataError: shapes that do not fit each other.
    """
    return _solve(cameras, pixels, covariances, weights, common_mode, _NO_LIMITS)


def triangulate_robust(
    cameras: Sequence[Camera] | CameraStack,
    pixels: Array,
    covariances: Array,
    weights: Array | None = None,
    common_mode: Array | None = None,
    false_alarm: float = FALSE_ALARM,
) -> Triangulation:
    """`triangulate` without the views that disagree with the others.

    The n views of a point disagree when the sum of squared residuals passes the quantile of
    chi-square with 2 n - 3 degrees of freedom, or the largest of `Triangulation.mahalanobis` that
    with 2 degrees, shared out over the n views (Bonferroni). Then the view of the largest one is
    dropped and the point solved again: no more solutions than dropped views, and no subsets. Four
    views lose one at most, five to seven two or three, never half of them. A point whose views
    still disagree is INCONSISTENT, and so is every point of three views that disagree. Of two
    views nothing can be told but their distance across the epipolar line, so they are left alone:
    along that line an error of two views cannot be seen.

    Args:
        cameras: C cameras or their stack.
        pixels: (C, K, 2) as of `triangulate`.
        covariances: (C, K, 2, 2) px^2, as of `triangulate`.
        weights: (C, K) as of `triangulate`.
        common_mode: (K, 3, 3) or (3, 3) m^2, as of `triangulate`.
        false_alarm: part of the points without any wrong view that either test takes to have one.

    Raises:
        DataError: shapes that do not fit each other, or ``false_alarm`` not within 0..1.
    """
    if not 0.0 < false_alarm < 1.0:
        raise DataError(f"false_alarm = {false_alarm} must be within 0..1")
    limits = _limits(len(cameras), false_alarm)
    return _solve(cameras, pixels, covariances, weights, common_mode, limits)


@functools.lru_cache(maxsize=64)
def _limits(views: int, false_alarm: float) -> Array:
    """(2, views + 1) limits of chi-square and of the largest distance, by the views of a point."""
    count = np.maximum(np.arange(views + 1), 2)
    limits = np.array([chdtri(2 * count - 3, false_alarm), chdtri(2, false_alarm / count)])
    limits.setflags(write=False)
    return limits


def _solve(
    cameras: Sequence[Camera] | CameraStack,
    pixels: Array,
    covariances: Array,
    weights: Array | None,
    common_mode: Array | None,
    limits: Array,
) -> Triangulation:
    stack = cameras if isinstance(cameras, CameraStack) else CameraStack(cameras)
    pixels, covariances, weights = _checked(len(stack), pixels, covariances, weights)
    views, count = weights.shape
    found = Triangulation(
        points=np.empty((count, 3)),
        covariances=np.empty((count, 3, 3)),
        reprojection_error=np.empty(count),
        views_used=np.empty((count, views), np.bool_),
        residuals=np.empty((views, count, 2)),
        mahalanobis=np.empty((views, count)),
        chi_square=np.empty(count),
        status=np.empty(count, np.uint8),
    )
    _native.triangulate(
        stack.packed,
        pixels,
        covariances,
        weights,
        _MIN_SINE_SQUARED,
        limits[0],
        limits[1],
        found.points,
        found.covariances,
        found.residuals,
        found.mahalanobis,
        found.chi_square,
        found.reprojection_error,
        found.views_used,
        found.status,
    )
    if common_mode is not None:
        np.add(found.covariances, common_mode, out=found.covariances)
    return found


def _checked(
    cameras: int, pixels: Array, covariances: Array, weights: Array | None
) -> tuple[Array, Array, Array]:
    pixels = np.asarray(pixels, dtype=np.float64)
    covariances = np.asarray(covariances, dtype=np.float64)
    if pixels.ndim != 3 or pixels.shape[0] != cameras or pixels.shape[2] != 2:
        raise DataError(f"pixels have shape {pixels.shape}, expected ({cameras}, K, 2)")
    views = pixels.shape[:2]
    weights = np.ones(views) if weights is None else np.asarray(weights, dtype=np.float64)
    if covariances.shape != (*views, 2, 2) or weights.shape != views:
        raise DataError(
            f"covariances {covariances.shape} and weights {weights.shape} do not fit pixels "
            f"{pixels.shape}"
        )
    return pixels, covariances, weights


def inverse_2x2(covariances: Array) -> tuple[Array, BoolArray]:
    """Inverses of (..., 2, 2) and whether each matrix is finite and positive definite."""
    finite: BoolArray = np.asarray(np.isfinite(covariances).all(axis=(-2, -1)))
    known = np.where(finite[..., np.newaxis, np.newaxis], covariances, 0.0)
    a, b, d = known[..., 0, 0], known[..., 0, 1], known[..., 1, 1]
    determinant = a * d - b * b
    valid = finite & (a > 0) & (determinant > 0)
    scale = np.divide(1.0, determinant, out=np.zeros_like(determinant), where=valid)
    inverse = np.empty_like(known)
    inverse[..., 0, 0], inverse[..., 1, 1] = d, a
    inverse[..., 0, 1] = inverse[..., 1, 0] = -b
    return inverse * scale[..., np.newaxis, np.newaxis], valid
