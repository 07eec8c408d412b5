"""One point from views of which some are wrong: a mixture model of a view's error, in 3D.

What a view says of a keypoint is, with its calibrated confidence, where the keypoint is, up to the
error covariance. Otherwise it is a near miss (another corner, the same paw a little further) or
anywhere. So the likelihood of a point x has three parts a view,

    c N(z - pi(x); S) + (1 - c) (m N(z - pi(x); L) + (1 - m) / area)

and the views that disagree lose their weight by themselves. Hypotheses are where two views meet,
and where all of them do (Eq. 2); the most likely ones are refined by Gauss-Newton with the weights
of the mixture (expectation maximisation). How much more likely the best one is than the others, or
than no point at all, is what the confidence is made of.

Shapes: C views, K keypoints, H hypotheses a keypoint.
"""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from s3k_ros.geometry.camera import MIN_DEPTH_M, CameraStack
from s3k_ros.geometry.triangulation import intersect_rays, inverse_2x2

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Part of the image width: a near miss lies about this far away, 12 px of 640 (3 cm at 1 m), half as
# far again as an error has to be to be called gross.
_NEAR_MISS = 0.01875
# Of the wrong views, this part are near misses; about as many on the box and on the plush fox.
_NEAR_SHARE = 0.5
# Part of the image width: side of the square in which a lost keypoint lies, about an object crop.
_SPAN = 0.5
# Part of the span: starts nearer to each other than this end at the same point.
_APART = 0.02
_STARTS = 3
_ROUNDS = 6
_STEP_TOLERANCE_M = 1e-7
# Pairs of views meet exactly in their point, so the other views see it with more error than S.
_START_WIDENING = 4.0
# Nothing is as sure as that; also keeps logarithms finite.
_LEAST_DOUBT = 5e-3
# Squared Mahalanobis distance of two hypotheses that are one: 99 % of chi-square with 3 degrees.
_SAME = 11.3


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """What C views say of K keypoints, with the constants of the mixture.

    Attributes:
        pixels: (C, K, 2) px; zero where there is nothing.
        seen: (C, K) whether there is something.
        precisions: (C, K, 2, 2) inverses of the error covariances, px^-2.
        loose: (C, 1) inverse variance of a near miss, px^-2.
        log_right, log_near, log_lost: (C, K) logarithms of what multiplies the three exponentials.
        spans: (C, 1) px, side of the square in which a lost keypoint lies.
    """

    pixels: Array
    seen: BoolArray
    precisions: Array
    loose: Array
    log_right: Array
    log_near: Array
    log_lost: Array
    spans: Array

    @classmethod
    def of(
        cls, pixels: Array, covariances: Array, confidences: Array, usable: BoolArray, widths: Array
    ) -> Mixture:
        """From pixels (C, K, 2), covariances (C, K, 2, 2), confidences (C, K), widths (C,) px."""
        precisions, valid = inverse_2x2(covariances)
        seen = usable & valid & np.isfinite(pixels).all(axis=-1)
        a, b, d = precisions[..., 0, 0], precisions[..., 0, 1], precisions[..., 1, 1]
        determinant = np.where(seen, a * d - b * b, 1.0)
        right = np.clip(np.where(seen, confidences, 0.5), _LEAST_DOUBT, 1.0 - _LEAST_DOUBT)
        loose = 1.0 / (_NEAR_MISS * widths[:, np.newaxis]) ** 2
        spans = _SPAN * widths[:, np.newaxis]
        wrong = np.log1p(-right)
        return cls(
            pixels=np.where(seen[..., np.newaxis], pixels, 0.0),
            seen=seen,
            precisions=np.where(seen[..., np.newaxis, np.newaxis], precisions, 0.0),
            loose=loose,
            log_right=np.log(right) + 0.5 * np.log(determinant) - np.log(2 * np.pi),
            log_near=wrong + np.log(_NEAR_SHARE * loose / (2 * np.pi)),
            log_lost=wrong + np.log((1.0 - _NEAR_SHARE) / spans**2),
            spans=spans,
        )

    def at(self, keypoints: NDArray[np.int_]) -> Mixture:
        """The columns (N,) of keypoints, as often as they are named."""
        return dataclasses.replace(
            self,
            pixels=self.pixels[:, keypoints],
            seen=self.seen[:, keypoints],
            precisions=self.precisions[:, keypoints],
            log_right=self.log_right[:, keypoints],
            log_near=self.log_near[:, keypoints],
            log_lost=self.log_lost[:, keypoints],
        )

    def widened(self, factor: float) -> Mixture:
        """With error covariances that are larger by a factor."""
        return dataclasses.replace(
            self,
            precisions=self.precisions / factor,
            log_right=self.log_right - np.log(factor),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """N points, one a column of a `Mixture`, and what the views say there.

    Attributes:
        points: (N, 3) m, base frame.
        gain: (N,) log-likelihood, above that of views that are all lost.
        right, near: (C, N) probabilities that each view is right, or a near miss; zero where it
            shows nothing or has the point behind it.
        residuals: (C, N, 2) px, measured minus projected.
        information: (N, 3, 3) m^-2. gradient: (N, 3) m^-1.
        span: (N,) m, side of the square in which a lost keypoint lies, at the point's distance;
            NaN where no view has the point before it.
    """

    points: Array
    gain: Array
    right: Array
    near: Array
    residuals: Array
    information: Array
    gradient: Array
    span: Array


def fit_at(stack: CameraStack, points: Array, mixture: Mixture) -> Fit:
    """The likelihood of points (N, 3), one a column of the mixture, and its derivatives."""
    projected, jacobians, depth = stack.project(points)
    residuals = mixture.pixels - projected
    counted = mixture.seen & (depth > MIN_DEPTH_M) & np.isfinite(residuals).all(axis=-1)
    r = np.where(counted[..., np.newaxis], residuals, 0.0)
    j = np.where(counted[..., np.newaxis, np.newaxis], jacobians, 0.0)
    weighted = (mixture.precisions @ r[..., np.newaxis])[..., 0]
    right = mixture.log_right - 0.5 * (r * weighted).sum(axis=-1)
    near = mixture.log_near - 0.5 * mixture.loose * (r * r).sum(axis=-1)
    top = np.maximum(np.maximum(right, near), mixture.log_lost)
    parts = np.exp(np.stack([right, near, mixture.log_lost]) - top)
    total = parts.sum(axis=0)
    gain = np.where(counted, top + np.log(total) - mixture.log_lost, 0.0).sum(axis=0)
    right, near = np.where(counted, parts[:2] / total, 0.0)
    slack = near * mixture.loose
    precision = right[..., np.newaxis, np.newaxis] * mixture.precisions
    precision[..., 0, 0] += slack
    precision[..., 1, 1] += slack
    scaled = precision @ j
    # Squared pixels a metre, across the lines of sight.
    scale = (0.5 * (j * j).sum(axis=(-2, -1)) / mixture.spans**2).sum(axis=0)
    count = counted.sum(axis=0)
    span = np.sqrt(np.divide(count, scale, out=np.full(len(points), np.nan), where=count > 1))
    return Fit(
        points=points,
        gain=gain,
        right=right,
        near=near,
        residuals=residuals,
        information=(j.swapaxes(-1, -2) @ scaled).sum(axis=0),
        gradient=(scaled * r[..., np.newaxis]).sum(axis=(0, 2)),
        span=span,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Consensus:
    """The best point of each keypoint.

    Attributes:
        points: (K, 3) m, base frame; NaN where no two views meet.
        covariances: (K, 3, 3) m^2, of the geometry alone.
        odds: (K,) logarithm of the odds that the point is right, by the mixture: against the other
            points, and against none. Minus infinity where fewer than two views take part: one view
            and the near misses of others are as often wrong as right.
        taking_part: (C, K) whether each view is more likely right than not.
        residuals: (C, K, 2) px.
        parallel: (K,) no two views look at it from different sides.
    """

    points: Array
    covariances: Array
    odds: Array
    taking_part: BoolArray
    residuals: Array
    parallel: BoolArray


def find_consensus(stack: CameraStack, mixture: Mixture, weights: Array) -> Consensus:
    """The most likely point of every keypoint.

    Args:
        stack: the C cameras.
        mixture: what they say.
        weights: (C, K) detection weights of Eq. 2.
    """
    starts = _starts(stack, mixture, weights)
    count = mixture.pixels.shape[1]
    many = mixture.at(np.tile(np.arange(count), len(starts)))
    fit = _refine(stack, starts.reshape(-1, 3), many)
    best, covariances, odds = _best(fit, count)
    part = fit.right[:, best] > 0.5
    odds = np.where(part.sum(axis=0) >= 2, odds, -np.inf)
    found = np.isfinite(odds)
    return Consensus(
        points=np.where(found[:, np.newaxis], fit.points[best], np.nan),
        covariances=np.where(found[:, np.newaxis, np.newaxis], covariances[best], np.nan),
        odds=odds,
        taking_part=part & found,
        residuals=np.where(found[:, np.newaxis], fit.residuals[:, best], np.nan),
        parallel=np.asarray(np.isnan(starts).any(axis=-1).all(axis=0)),
    )


def _starts(stack: CameraStack, mixture: Mixture, weights: Array) -> Array:
    """(M, K, 3) the best hypotheses of each keypoint; NaN where it has fewer."""
    rays = stack.rays(mixture.pixels).swapaxes(0, 1)
    views, count = mixture.seen.shape
    pairs = list(combinations(range(views), 2))
    chosen = np.zeros((len(pairs) + 1, views))
    chosen[0] = 1.0
    for row, pair in enumerate(pairs, start=1):
        chosen[row, pair] = 1.0
    counts = np.where(mixture.seen, np.maximum(weights, 1e-6), 0.0).T
    points = intersect_rays(stack.centres, rays[:, np.newaxis], chosen * counts[:, np.newaxis])
    flat = points.reshape(-1, 3)
    columns = np.repeat(np.arange(count), len(chosen))
    fit = fit_at(stack, flat, mixture.at(columns).widened(_START_WIDENING))
    left = np.where(np.isfinite(fit.span), fit.gain, -np.inf).reshape(count, -1)
    span = fit.span.reshape(count, -1)
    rows = np.arange(count)
    picked = []
    for _ in range(min(_STARTS, len(chosen))):
        best = left.argmax(axis=1)
        known = np.isfinite(left[rows, best])
        at = np.where(known[:, np.newaxis], points[rows, best], np.nan)
        picked.append(at)
        apart = np.linalg.norm(points - at[:, np.newaxis], axis=-1)
        left = np.where(apart > _APART * span, left, -np.inf)
    return np.array(picked)


def _refine(stack: CameraStack, points: Array, mixture: Mixture) -> Fit:
    """Gauss-Newton with the mixture's weights; every round makes the points more likely."""
    fit = fit_at(stack, points, mixture)
    for _ in range(_ROUNDS):
        step = np.linalg.solve(_damped(fit), fit.gradient[..., np.newaxis])[..., 0]
        step = np.nan_to_num(step)
        fit = fit_at(stack, fit.points + step, mixture)
        if np.abs(step).max(initial=0.0) < _STEP_TOLERANCE_M:
            break
    return fit


def _damped(fit: Fit) -> Array:
    """The information (N, 3, 3) and a prior as wide as what the views show."""
    span = np.where(np.isfinite(fit.span), fit.span, 1.0)
    return np.asarray(fit.information + np.eye(3) / span[:, np.newaxis, np.newaxis] ** 2)


def _best(fit: Fit, count: int) -> tuple[NDArray[np.int_], Array, Array]:
    """(K,) the best of the N points for each keypoint, (N, 3, 3) covariances and (K,) log-odds.

    The evidence of a point is its likelihood, integrated over the space around it (Laplace).
    """
    covariances = np.asarray(np.linalg.inv(_damped(fit)), np.float64)
    size = 0.5 * np.linalg.slogdet(2 * np.pi * covariances)[1] - 3.0 * np.log(fit.span)
    evidence = np.where(np.isfinite(size), fit.gain + size, -np.inf).reshape(-1, count)
    best = evidence.argmax(axis=0)
    rows = best * count + np.arange(count)
    points = fit.points.reshape(-1, count, 3)
    spread = covariances.reshape(-1, count, 3, 3)
    top = evidence[best, np.arange(count)]
    apart = points - fit.points[rows]
    solved = np.linalg.solve(spread + covariances[rows], apart[..., np.newaxis])[..., 0]
    other = np.nan_to_num((apart * solved).sum(axis=-1)) > _SAME
    rivals = np.where(other, evidence, -np.inf)
    # The last rival: no point at all.
    against = np.logaddexp.reduce(np.concatenate([rivals, np.zeros((1, count))]), axis=0)
    return rows, covariances, top - against
