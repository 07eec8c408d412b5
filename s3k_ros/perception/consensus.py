"""One point for every keypoint from views of which some are wrong.

Hypotheses are where two of the surest views meet, and where all of them do (Eq. 2). The most
likely ones under `s3k_ros.perception.mixture` are refined by Gauss-Newton with the weights of the
mixture (expectation maximisation). Of each keypoint one is chosen, all of them jointly where the
object's distances are known, and refined with these. How much more likely the best one is than the
others, or than no point at all, is a part of the confidence.

Shapes: C views, K keypoints, M hypotheses a keypoint.
"""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from s3k_ros.geometry import _native
from s3k_ros.geometry.camera import CameraStack
from s3k_ros.geometry.triangulation import intersect_rays
from s3k_ros.perception.mixture import STEP_TOLERANCE_M, Fit, Mixture, fit_at, refine
from s3k_ros.perception.rescue import rescue
from s3k_ros.perception.shape import Shape

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int_]

# Part of the span: starts nearer to each other than this end at the same point.
_APART = 0.02
_STARTS = 3
_ROUNDS = 6
# Views of each keypoint that are paired, the surest ones: so the cost grows with the views alone.
_PAIRED = 5
# Pairs of views meet exactly in their point, so the other views see it with more error than S.
_START_WIDENING = 4.0
# Squared Mahalanobis distance of two hypotheses that are one: 99 % of chi-square with 3 degrees.
_SAME = 11.3


@dataclasses.dataclass(frozen=True, eq=False)
class Consensus:
    """The best point of each keypoint.

    Attributes:
        points: (K, 3) m, base frame; NaN where no two views meet.
        covariances: (K, 3, 3) m^2, without what all views share.
        odds: (K,) logarithm of the odds that the point is right, by the mixture: against the other
            points, and against none. Minus infinity where fewer than two views take part and no
            distances stand in: one view and near misses of others are as often wrong as right.
        support: (K,) sum of the logarithms of how much better its distances to other keypoints fit
            than those of a wrong point would; zero without known distances.
        taking_part: (C, K) whether each view is more likely right than not.
        residuals: (C, K, 2) px.
        parallel: (K,) no two views look at it from different sides.
    """

    points: Array
    covariances: Array
    odds: Array
    support: Array
    taking_part: BoolArray
    residuals: Array
    parallel: BoolArray


def find_consensus(
    stack: CameraStack, mixture: Mixture, weights: Array, shape: Shape | None = None
) -> Consensus:
    """The most likely point of every keypoint.

    Args:
        stack: the C cameras.
        mixture: what they say.
        weights: (C, K) detection weights of Eq. 2.
        shape: distances between the keypoints, if any are known.
    """
    starts = _starts(stack, mixture, weights)
    parallel = np.asarray(np.isnan(starts).any(axis=-1).all(axis=0))
    count = starts.shape[1]
    many = mixture.at(np.tile(np.arange(count), len(starts)))
    found = _hypotheses(refine(stack, starts.reshape(-1, 3), many, _ROUNDS), count)
    best, scores, support = _choose(found, shape)
    odds = _against_rivals(found, best, scores)
    points = found.points[best, np.arange(count)]
    covariances = found.covariances[best, np.arange(count)]
    if shape is None:
        fit = fit_at(stack, points, mixture)
    else:
        fit, covariances = _refine_jointly(stack, points, mixture, shape)
    part = fit.right > 0.5
    known = np.isfinite(odds) & (part.sum(axis=0) >= 2)
    consensus = Consensus(
        points=np.where(known[:, np.newaxis], fit.points, np.nan),
        covariances=np.where(known[:, np.newaxis, np.newaxis], covariances, np.nan),
        odds=np.where(known, odds, -np.inf),
        support=support,
        taking_part=part & known,
        residuals=np.where(known[:, np.newaxis], fit.residuals, np.nan),
        parallel=parallel,
    )
    if shape is not None:
        _rescue_doubtful(consensus, stack, mixture, shape)
    return consensus


def _rescue_doubtful(
    consensus: Consensus, stack: CameraStack, mixture: Mixture, shape: Shape
) -> None:
    """Replaces points that are more likely wrong by those of one view and known distances."""
    believed = consensus.odds > 0.0
    for k in np.flatnonzero(~believed):
        links = shape.links(int(k), consensus.points, consensus.covariances, believed)
        found = rescue(stack, mixture.at(np.array([k])), links)
        if found is None or not (found.right > 0.5).any() or found.odds < consensus.odds[k]:
            continue
        consensus.points[k], consensus.covariances[k] = found.point, found.covariance
        consensus.odds[k], consensus.support[k] = found.odds, found.support
        consensus.taking_part[:, k] = found.right > 0.5
        consensus.residuals[:, k] = found.residuals


def _starts(stack: CameraStack, mixture: Mixture, weights: Array) -> Array:
    """(M, K, 3) the best hypotheses of each keypoint; NaN where it has fewer."""
    rays = stack.rays(mixture.pixels).swapaxes(0, 1)
    chosen = _bundles(mixture)
    count = len(chosen)
    counts = np.where(mixture.seen, np.maximum(weights, 1e-6), 0.0).T
    points = intersect_rays(stack.centres, rays[:, np.newaxis], chosen * counts[:, np.newaxis])
    columns = np.repeat(np.arange(count), chosen.shape[1])
    fit = fit_at(stack, points.reshape(-1, 3), mixture.at(columns).widened(_START_WIDENING))
    left = np.where(np.isfinite(fit.span), fit.gain, -np.inf).reshape(count, -1)
    span = fit.span.reshape(count, -1)
    rows = np.arange(count)
    picked = []
    for _ in range(min(_STARTS, chosen.shape[1])):
        best = left.argmax(axis=1)
        known = np.isfinite(left[rows, best])
        at = np.where(known[:, np.newaxis], points[rows, best], np.nan)
        picked.append(at)
        apart = np.linalg.norm(points - at[:, np.newaxis], axis=-1)
        left = np.where(apart > _APART * span, left, -np.inf)
    return np.array(picked)


def _bundles(mixture: Mixture) -> Array:
    """(K, H, C) which rays meet in each hypothesis: all of them, and pairs of the surest views."""
    views, count = mixture.seen.shape
    surest = np.argsort(np.where(mixture.seen, mixture.log_lost, np.inf), axis=0)[:_PAIRED]
    pairs = list(combinations(surest, 2))
    chosen = np.zeros((count, len(pairs) + 1, views))
    chosen[:, 0] = 1.0
    for row, pair in enumerate(pairs, start=1):
        for view in pair:
            chosen[np.arange(count), row, view] = 1.0
    return chosen


@dataclasses.dataclass(frozen=True, eq=False)
class _Hypotheses:
    """Points (M, K, 3) with covariances (M, K, 3, 3) and log-evidence (M, K).

    The evidence of a point is its likelihood, integrated over the space around it (Laplace); minus
    infinity where there is no point.
    """

    points: Array
    covariances: Array
    evidence: Array


def _hypotheses(fit: Fit, count: int) -> _Hypotheses:
    covariances = np.asarray(np.linalg.inv(fit.damped), np.float64)
    size = 0.5 * np.linalg.slogdet(2 * np.pi * covariances)[1] - 3.0 * np.log(fit.span)
    known = np.isfinite(size)
    return _Hypotheses(
        points=np.where(known[:, np.newaxis], fit.points, np.nan).reshape(-1, count, 3),
        covariances=covariances.reshape(-1, count, 3, 3),
        evidence=np.where(known, fit.gain + size, -np.inf).reshape(-1, count),
    )


def _choose(found: _Hypotheses, shape: Shape | None) -> tuple[IntArray, Array, Array]:
    """(K,) chosen hypotheses, (M, K) scores of all given the other choices, (K,) support.

    Starts from the best of each keypoint by itself; then the keypoint that gains most by another
    choice is changed, as long as one does.
    """
    best = found.evidence.argmax(axis=0)
    rows = np.arange(len(best))
    if shape is None:
        return best, found.evidence, np.zeros(len(best))
    gains = shape.gains(found.points, found.covariances)
    for _ in range(2 * len(best)):
        bonus = _bonus(gains, shape, best)
        scores = found.evidence + bonus
        # A keypoint without any hypothesis has nothing to choose.
        present = np.where(np.isfinite(scores[best, rows]), scores[best, rows], np.inf)
        better = scores - present
        k = int(better.max(axis=0).argmax())
        if not better[:, k].max() > 0.0:
            break
        best[k] = better[:, k].argmax()
    return best, scores, bonus[best, rows]


def _bonus(gains: Array, shape: Shape, best: IntArray) -> Array:
    """(M, K) what the distances to the chosen points of the others add to each hypothesis."""
    bonus = np.zeros((len(gains), len(best)))
    number = np.arange(len(shape))
    np.add.at(bonus.T, shape.first, gains[:, best[shape.second], number].T)
    np.add.at(bonus.T, shape.second, gains[best[shape.first], :, number])
    return bonus


def _against_rivals(found: _Hypotheses, best: IntArray, scores: Array) -> Array:
    """(K,) log-odds of the chosen hypotheses against those elsewhere, and against no point."""
    rows = np.arange(len(best))
    apart = np.nan_to_num(found.points - found.points[best, rows])
    both = found.covariances + found.covariances[best, rows]
    solved = np.linalg.solve(both, apart[..., np.newaxis])[..., 0]
    elsewhere = (apart * solved).sum(axis=-1) > _SAME
    rivals = np.where(elsewhere, scores, -np.inf)
    none = np.zeros((1, len(best)))
    against = np.logaddexp.reduce(np.concatenate([rivals, none]), axis=0)
    return np.asarray(scores[best, rows] - against)


def _refine_jointly(
    stack: CameraStack, points: Array, mixture: Mixture, shape: Shape
) -> tuple[Fit, Array]:
    """All points (K, 3) with their distances, and their covariances (K, 3, 3)."""
    count = len(points)
    fit = fit_at(stack, points, mixture)
    information, gradient = _joint(fit, shape)
    for _ in range(_ROUNDS):
        # Positive definite by the views' prior. The gradient becomes the step.
        _native.solve_positive(information, gradient)
        step = gradient.reshape(count, 3)
        fit = fit_at(stack, fit.points + step, mixture)
        information, gradient = _joint(fit, shape)
        if np.abs(step).max() < STEP_TOLERANCE_M:
            break
    _native.solve_positive(information, gradient)
    covariances = np.empty((count, 3, 3))
    _native.inverse_blocks(information, covariances)
    return fit, covariances


def _joint(fit: Fit, shape: Shape) -> tuple[Array, Array]:
    """Information (3 K, 3 K) and gradient (3 K,) of views and distances."""
    count = len(fit.points)
    rows = np.arange(count)
    information, gradient = shape.gradient(fit.points)
    # A view: the diagonal blocks of the information change in place.
    information.reshape(count, 3, count, 3)[rows, :, rows, :] += fit.damped
    return information, gradient + fit.gradient.ravel()
