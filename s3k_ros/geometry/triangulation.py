"""Points from the rays of several cameras, with the covariance of their error.

`intersect_rays` is Eq. 2 of the S3K paper ("S3K: Self-Supervised Semantic Keypoints for Robotic
Manipulation via Multi-View Consistency", CoRL 2020); `triangulate` refines its point by
Gauss-Newton on the reprojection error and propagates the pixels' error covariances.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from s3k_ros.errors import DataError
from s3k_ros.geometry.camera import MIN_DEPTH_M, Camera, CameraStack

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Rays that all lie within this angle of each other fix no depth.
MIN_ANGLE_RAD = 0.02
# Gauss-Newton starts at Eq. 2, so it ends after two or three steps.
_REFINEMENT_STEPS = 5
_STEP_TOLERANCE_M = 1e-7


class TriangulationStatus(enum.IntEnum):
    """Why a point has no position."""

    OK = 0
    TOO_FEW_VIEWS = 1
    """Fewer than two usable views see the point in front of them."""
    DEGENERATE = 2
    """The rays are parallel within `MIN_ANGLE_RAD`."""
    DIVERGED = 3
    """The refinement left the space in front of the cameras."""


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
            residual should have (chi-square with 2 degrees of freedom); NaN elsewhere.
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
    cameras: Sequence[Camera],
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
        cameras: C cameras.
        pixels: (C, K, 2) measured pixels; a view that is not finite is refused.
        covariances: (C, K, 2, 2) error covariances, px^2; a view whose covariance is not finite
            and positive definite is refused.
        weights: (C, K) detection weights of Eq. 2; a view of weight zero is refused. Default 1.
        common_mode: (K, 3, 3) or (3, 3) m^2, added to the covariances: errors that all views
            share, which no residual shows.

    Returns:
        The points with status; a point that is not OK has NaN in place of numbers.

    Raises:
        DataError: shapes that do not fit each other.
    """
    pixels, covariances, weights = _checked(cameras, pixels, covariances, weights)
    stack = CameraStack(cameras)
    information, valid = inverse_2x2(covariances)
    rays = stack.rays(pixels)
    usable = valid & (weights > 0) & np.isfinite(rays).all(axis=-1)
    points, usable = _start(stack, rays, weights, usable)
    status = np.where(usable.sum(axis=0) < 2, TriangulationStatus.TOO_FEW_VIEWS, 0)
    status[(status == 0) & np.isnan(points[:, 0])] = TriangulationStatus.DEGENERATE
    points, fit = _refine(stack, points, pixels, information, usable)
    lost = usable & ~((fit.depth > MIN_DEPTH_M) & np.isfinite(fit.residuals).all(axis=-1))
    failed = lost.any(axis=0) | ~np.isfinite(points).all(axis=-1) | ~fit.solvable
    status[(status == 0) & failed] = TriangulationStatus.DIVERGED
    return _result(points, fit, covariances, usable, status.astype(np.uint8), common_mode)


def _checked(
    cameras: Sequence[Camera], pixels: Array, covariances: Array, weights: Array | None
) -> tuple[Array, Array, Array]:
    pixels = np.asarray(pixels, dtype=np.float64)
    covariances = np.asarray(covariances, dtype=np.float64)
    if pixels.ndim != 3 or pixels.shape[0] != len(cameras) or pixels.shape[2] != 2:
        raise DataError(f"pixels have shape {pixels.shape}, expected ({len(cameras)}, K, 2)")
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


def _start(
    stack: CameraStack, rays: Array, weights: Array, usable: BoolArray
) -> tuple[Array, BoolArray]:
    """Eq. 2, without the views that have the point behind them."""
    directions = rays.swapaxes(0, 1)
    while True:
        points = intersect_rays(stack.centres, directions, np.where(usable, weights, 0.0).T)
        behind = usable & (stack.depth(points) <= MIN_DEPTH_M)
        if not behind.any():
            return points, usable
        usable = usable & ~behind


@dataclasses.dataclass(frozen=True, eq=False)
class _Fit:
    """The linearised problem at the points."""

    residuals: Array
    jacobians: Array
    depth: Array
    information: Array
    chi_square: Array
    solvable: BoolArray
    gradient: Array


def _linearise(
    stack: CameraStack, points: Array, pixels: Array, information: Array, usable: BoolArray
) -> _Fit:
    projected, jacobians, depth = stack.project(points)
    residuals = pixels - projected
    counted = usable & np.isfinite(residuals).all(axis=-1)
    r = np.where(counted[..., np.newaxis], residuals, 0.0)
    j = np.where(counted[..., np.newaxis, np.newaxis], jacobians, 0.0)
    weighted = information @ j
    matrix = (j.swapaxes(-1, -2) @ weighted).sum(axis=0)
    gradient = (weighted * r[..., np.newaxis]).sum(axis=(0, 2))
    chi_square = np.einsum("cki,ckij,ckj->k", r, information, r)
    eigenvalues = np.linalg.eigvalsh(matrix)
    solvable = eigenvalues[:, 0] > 1e-12 * eigenvalues[:, 2]
    matrix = np.where(solvable[:, np.newaxis, np.newaxis], matrix, np.eye(3))
    return _Fit(residuals, jacobians, depth, matrix, chi_square, solvable, gradient)


def _refine(
    stack: CameraStack, points: Array, pixels: Array, information: Array, usable: BoolArray
) -> tuple[Array, _Fit]:
    """Gauss-Newton from the start; a point whose cost would rise keeps its place."""
    fit = _linearise(stack, points, pixels, information, usable)
    moving = fit.solvable
    for _ in range(_REFINEMENT_STEPS):
        step = np.linalg.solve(fit.information, fit.gradient[..., np.newaxis])[..., 0]
        step[~moving] = 0.0
        moving = moving & (np.abs(step).max(axis=-1, initial=0.0) > _STEP_TOLERANCE_M)
        if not moving.any():
            break
        trial = _linearise(stack, points + step, pixels, information, usable)
        seen = (trial.depth > MIN_DEPTH_M) | ~usable
        better = trial.solvable & seen.all(axis=0) & (trial.chi_square <= fit.chi_square)
        moving = moving & better
        points = np.where(moving[:, np.newaxis], points + step, points)
        fit = trial if moving.all() else _merge(moving, trial, fit)
    return points, fit


def _merge(moved: BoolArray, new: _Fit, old: _Fit) -> _Fit:
    """The new fit of the points that moved and the old one of the others."""

    def pick(name: str, point_axis: int) -> Array:
        a, b = getattr(new, name), getattr(old, name)
        shape = [1] * a.ndim
        shape[point_axis] = -1
        picked: Array = np.where(moved.reshape(shape), a, b)
        return picked

    return _Fit(
        residuals=pick("residuals", 1),
        jacobians=pick("jacobians", 1),
        depth=pick("depth", 1),
        information=pick("information", 0),
        chi_square=pick("chi_square", 0),
        solvable=np.where(moved, new.solvable, old.solvable),
        gradient=pick("gradient", 0),
    )


def _result(
    points: Array,
    fit: _Fit,
    covariances: Array,
    usable: BoolArray,
    status: NDArray[np.uint8],
    common_mode: Array | None,
) -> Triangulation:
    good = status == TriangulationStatus.OK
    used = usable & good
    point_covariance: Array = np.linalg.inv(fit.information).astype(np.float64)
    point_covariance[~good] = np.nan
    residuals = np.where(good[:, np.newaxis], fit.residuals, np.nan)
    shared = np.zeros((3, 3)) if common_mode is None else np.asarray(common_mode)
    total: Array = point_covariance + shared.astype(np.float64)
    squared = np.where(used, (residuals * residuals).sum(axis=-1), 0.0).sum(axis=0)
    count = np.where(good, used.sum(axis=0), np.nan)
    return Triangulation(
        points=np.where(good[:, np.newaxis], points, np.nan),
        covariances=total,
        reprojection_error=np.sqrt(squared / count),
        views_used=used.T,
        residuals=residuals,
        mahalanobis=_mahalanobis(fit, point_covariance, covariances, residuals, used),
        chi_square=np.where(good, fit.chi_square, np.nan),
        status=status,
    )


def _mahalanobis(
    fit: _Fit, point_covariance: Array, covariances: Array, residuals: Array, used: BoolArray
) -> Array:
    """r^T (S - J P J^T)^-1 r: as large as the view is far from what the other views say.

    The point was fitted to this very residual, which takes J P J^T away from its covariance S. For
    linear models this is the squared Mahalanobis distance of the view to the others' prediction.
    With two views that covariance is singular (one degree of freedom, the epipolar distance); the
    pseudo-inverse deals with it.
    """
    keep = used[..., np.newaxis, np.newaxis]
    j = np.where(keep, fit.jacobians, 0.0)
    p = np.nan_to_num(point_covariance)
    expected = np.where(keep, covariances - j @ p @ j.swapaxes(-1, -2), np.eye(2))
    values, vectors = np.linalg.eigh(expected)
    scale = np.where(keep[..., 0], covariances[..., 0, 0, None] + covariances[..., 1, 1, None], 1.0)
    inverse = np.where(values > 1e-9 * scale, 1.0 / np.maximum(values, 1e-300), 0.0)
    r = np.where(used[..., np.newaxis], residuals, 0.0)
    along = (vectors * r[..., np.newaxis]).sum(axis=-2)
    distance: Array = np.where(used, (along * along * inverse).sum(axis=-1), np.nan)
    return distance
