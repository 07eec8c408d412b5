"""Guards: what goes wrong in self-supervised training, found in the estimates and said by name.

All views can agree on a wrong point, so nothing here looks at consistency. The 3D estimates of a
network on labelled and on unlabelled samples are held against the labels and against the shape that
the labels show. The score that chooses between checkpoints is made of the same two things.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import torch

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.method.shape_prior import ShapePrior

Array = npt.NDArray[np.float64]

COLLAPSE, SWAP, LABELS, DRIFT = "COLLAPSE", "SWAP", "LABELS", "DRIFT"
KINDS = (COLLAPSE, SWAP, LABELS, DRIFT)

SPREAD_LIMIT = 0.9
"""Least spread about the object's centre, as a part of the labelled one."""
STILL_LIMIT = 0.3
"""Least spread over the workspace between samples, as a part of the labelled one."""
SWAP_LIMIT = 0.05
"""Largest part of the samples with a keypoint in another one's place, or mirrored."""
DRIFT_LIMIT = 0.25
"""Largest part of the samples in which a keypoint's distances leave the labelled range."""
MISSING_LIMIT = 0.5
"""Largest part of the labelled samples without an estimate."""
_FEW = 3
"""Fewer samples than this say nothing."""
_CLAMP = 4.0
"""One gross error counts as this many tolerances in the score."""
_MARGIN = 0.1
"""Largest margin as a part of the score."""
_RIGID = 0.25
"""Largest flex of a rigid shape, in tolerances."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: COLLAPSE, SWAP, LABELS or DRIFT.
        keypoint: its name.
        message: what was measured, what is expected, and what to do.
        value: the figure that was measured, in the unit of the message.
        limit: what it should not pass.
    """

    kind: str
    keypoint: str
    message: str
    value: float
    limit: float

    def __str__(self) -> str:
        return f"{self.kind} {self.keypoint}: {self.message}"


@dataclasses.dataclass(frozen=True)
class GuardReport:
    """What the guards found.

    Attributes:
        findings: none when all is well.
        score: lower is better, mm; from agreement with labels and from shape, never from
            consistency.
        margin: scores nearer than this differ by chance, mm: of two such the later weights count
            as the better ones, because they have learned longer.
        figures: what was measured, for logs; per keypoint by name.
    """

    findings: tuple[Finding, ...]
    score: float
    margin: float
    figures: dict[str, dict[str, float]]


def inspect(
    names: Sequence[str],
    labels: Array,
    on_labels: Array,
    unlabelled: Array,
    prior: ShapePrior | None,
    params: TrainingParameters,
) -> GuardReport:
    """Looks for collapse, swaps, labels that are not met, and drift.

    Args:
        names: of the K keypoints.
        labels: (N, K, 3) m, base frame: triangulated clicks, NaN where unknown.
        on_labels: (N, K, 3) estimates on the same samples, NaN where there is none.
        unlabelled: (M, K, 3) estimates on unlabelled samples.
        prior: the labelled shape; None: made from ``labels``.
        params: gives the tolerance, ``shape_tolerance_m``.

    Raises:
        ConfigurationError: shapes that do not belong together.
    """
    labels, on_labels, unlabelled = (np.asarray(a, float) for a in (labels, on_labels, unlabelled))
    _check(names, labels, on_labels, unlabelled)
    tolerance = params.shape_tolerance_m
    if prior is None:
        prior = ShapePrior.from_points(labels, tolerance)
    estimates = unlabelled if len(unlabelled) >= _FEW else on_labels
    error = _label_error(labels, on_labels)
    outside = _outside(prior, estimates)
    exchanged = _exchanged(prior, estimates)
    measured = {
        "label_error_mm": 1e3 * _median(error, 0),
        "missing_on_labels": np.isnan(error).mean(0) - np.isnan(labels).any(-1).mean(0),
        "spread_ratio": _spread_ratio(labels, estimates),
        "still_ratio": _still_ratio(labels, estimates),
        "swapped": np.maximum(
            _swapped_on_labels(labels, on_labels, tolerance), _mean(exchanged, 0)
        ),
        "mirrored": _mirrored(prior, estimates, exchanged),
        "outside_range": _mean(np.where(np.isnan(outside), np.nan, outside > tolerance), 0),
        "outside_mm": 1e3 * _mean(np.clip(outside, 0, _CLAMP * tolerance), 0),
    }
    figures = {
        name: {key: float(values[k]) for key, values in measured.items()}
        for k, name in enumerate(names)
    }
    findings = [f for name in names for f in _findings(name, figures[name], tolerance)]
    departure = _departure(prior, estimates) if _is_rigid(prior) else outside
    score, margin = _score(figures, error, labels, departure, tolerance)
    return GuardReport(tuple(findings), score, margin, figures)


def _check(names: Sequence[str], labels: Array, on_labels: Array, unlabelled: Array) -> None:
    tail = (len(names), 3)
    for key, value in (("labels", labels), ("on_labels", on_labels), ("unlabelled", unlabelled)):
        if value.ndim != 3 or value.shape[1:] != tail:
            raise ConfigurationError(f"{key} has shape {value.shape}: must be (samples, *{tail})")
    if len(labels) != len(on_labels):
        raise ConfigurationError(
            f"labels has {len(labels)} samples and on_labels {len(on_labels)}: must be the same"
        )


def _findings(name: str, figures: dict[str, float], tolerance: float) -> list[Finding]:
    """The findings of one keypoint; a comparison with an unknown (NaN) figure finds nothing."""
    found = []

    def add(kind: str, value: float, limit: float, message: str) -> None:
        found.append(Finding(kind, name, message, value, limit))

    spread, still = figures["spread_ratio"], figures["still_ratio"]
    if spread < SPREAD_LIMIT:
        add(COLLAPSE, spread, SPREAD_LIMIT, _COLLAPSE_TEXT.format(spread, SPREAD_LIMIT))
    if still < STILL_LIMIT:
        add(COLLAPSE, still, STILL_LIMIT, _STILL_TEXT.format(still, STILL_LIMIT))
    if figures["swapped"] > SWAP_LIMIT:
        add(SWAP, figures["swapped"], SWAP_LIMIT, _SWAP_TEXT.format(figures["swapped"], SWAP_LIMIT))
    if figures["mirrored"] > SWAP_LIMIT:
        value = figures["mirrored"]
        add(SWAP, value, SWAP_LIMIT, _MIRROR_TEXT.format(value, SWAP_LIMIT))
    if figures["label_error_mm"] > 1e3 * tolerance:
        value, limit = figures["label_error_mm"], 1e3 * tolerance
        add(LABELS, value, limit, _LABELS_TEXT.format(value, limit))
    if figures["missing_on_labels"] > MISSING_LIMIT:
        value = figures["missing_on_labels"]
        add(LABELS, value, MISSING_LIMIT, _MISSING_TEXT.format(value, MISSING_LIMIT))
    if figures["outside_range"] > DRIFT_LIMIT and not spread < SPREAD_LIMIT:
        value, limit = figures["outside_range"], DRIFT_LIMIT
        add(DRIFT, value, limit, _DRIFT_TEXT.format(value, 1e3 * tolerance, limit))
    return found


_COLLAPSE_TEXT = (
    "estimates lie at {:.2f} of their labelled distance from the object's other keypoints "
    "(expected: at least {:.2f}). Label more samples, lower self_weight, or set shape to rigid or "
    "distances"
)
_STILL_TEXT = (
    "estimates move between samples by {:.2f} of what the labels do (expected: at least {:.2f}). "
    "Label more samples or lower self_weight"
)
_SWAP_TEXT = (
    "in another keypoint's place in {:.0%} of the samples (expected: at most {:.0%}). Set shape to "
    "rigid or distances with gate on, or label more samples that show both"
)
_MIRROR_TEXT = (
    "on the wrong side of the others in {:.0%} of the samples (expected: at most {:.0%}). Set "
    "shape to rigid or distances with gate on, or label more samples"
)
_LABELS_TEXT = (
    "median error on the labelled samples {:.1f} mm (expected: at most {:.1f} mm). Train longer, "
    "lower self_weight, or check its clicks"
)
_MISSING_TEXT = (
    "no estimate on {:.0%} of the labelled samples (expected: at most {:.0%}). Train longer, lower "
    "self_weight, or check its clicks"
)
_DRIFT_TEXT = (
    "a distance to another keypoint more than {1:.0f} mm outside its labelled range in {0:.0%} of "
    "the samples (expected: at most {2:.0%}). Label more samples, lower self_weight, or set shape "
    "to rigid or distances"
)


def _label_error(labels: Array, on_labels: Array) -> Array:
    """Distances (N, K), m, NaN without a label or an estimate."""
    return np.asarray(np.linalg.norm(on_labels - labels, axis=-1))


def _distances(points: Array) -> Array:
    """(N, K, K) m, NaN on the diagonal."""
    found = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
    found[:, np.arange(points.shape[1]), np.arange(points.shape[1])] = np.nan
    return found


def _spread_ratio(labels: Array, estimates: Array) -> Array:
    """How far from its object's centre each keypoint (K,) lies, as a part of the labelled.

    The smaller of two figures: its distance from the centre of the other keypoints, and the median
    over its distances to them, which one wrong keypoint among the others does not move.
    """
    pairs = _median(_median(_distances(estimates), 0) / _median(_distances(labels), 0), 0)
    radius = _radius(estimates) / _radius(labels)
    return np.fmin(pairs, radius)


def _radius(points: Array) -> Array:
    """Median distance (K,) of each keypoint from the mean of all others, m."""
    count = points.shape[1]
    if count < 2:
        return np.full(count, np.nan)
    others = (points.sum(1, keepdims=True) - points) / (count - 1)
    return _median(np.linalg.norm(points - others, axis=-1), 0)


def _still_ratio(labels: Array, estimates: Array) -> Array:
    """Spread (K,) of positions over the samples, as a part of the labelled."""
    spread = [
        np.where(np.isfinite(p).all(-1).sum(0) >= _FEW, _deviation(p), np.nan)
        for p in (estimates, labels)
    ]
    return np.asarray(spread[0] / np.maximum(spread[1], 1e-9))


def _deviation(points: Array) -> Array:
    distance = np.linalg.norm(points - _median(points, 0), axis=-1)
    return _median(distance, 0)


def _swapped_on_labels(labels: Array, on_labels: Array, tolerance: float) -> Array:
    """Part (K,) of the labelled samples where the estimate is at another one's label."""
    distance = np.linalg.norm(on_labels[:, :, None] - labels[:, None], axis=-1)
    own = np.diagonal(distance, axis1=1, axis2=2)
    away = np.where(np.isnan(distance), np.inf, distance).min(2)
    wrong = (own > tolerance) & (away < 0.5 * own)
    return _mean(np.where(np.isnan(own), np.nan, wrong), 0)


def _exchanged(prior: ShapePrior, estimates: Array) -> Array:
    """1 (N, K) for the two keypoints whose exchange makes a wrong shape right, if there are such.

    Wrong are distances or, for mirror partners, whose distances to everything else are often alike,
    the handedness. 0 elsewhere, NaN where there is no estimate.
    """
    known = np.isfinite(estimates).all(-1)
    plain = _wrongness(prior, estimates)
    result = np.where(known, 0.0, np.nan)
    pairs = list(combinations(range(estimates.shape[1]), 2))
    if not pairs:
        return result
    cost = []
    for i, j in pairs:
        order = list(range(estimates.shape[1]))
        order[i], order[j] = j, i
        value = _wrongness(prior, estimates[:, order])
        cost.append(np.where(known[:, i] & known[:, j] & np.isfinite(value), value, np.inf))
    best = np.argmin(cost, 0)
    wrong = (plain > 1.0) & (np.min(cost, 0) < 0.3 * plain)
    for sample in np.flatnonzero(wrong):
        result[sample, list(pairs[best[sample]])] = 1.0
    return result


def _wrongness(prior: ShapePrior, points: Array) -> Array:
    """Departure (N,) from the labelled distances, in tolerances, plus the handedness penalty."""
    hand = np.asarray(prior.handedness_penalty(torch.from_numpy(points)).numpy())
    return _mean(_outside(prior, points), 1) / prior.tolerance + hand


def _mirrored(prior: ShapePrior, estimates: Array, exchanged: Array) -> Array:
    """Part (K,) of the samples in which most senses of rotation with this keypoint are wrong.

    Samples that an exchange of two keypoints explains do not count.
    """
    wrong, known = np.zeros(estimates.shape[:2]), np.zeros(estimates.shape[:2])
    for members, value in prior.senses(estimates):
        for k in members:
            known[:, k] += np.isfinite(value)
            wrong[:, k] += value < 0
    bad = (wrong > 0.5 * known) & ~(exchanged == 1).any(1, keepdims=True)
    return _mean(np.where(known > 0, bad, np.nan), 0)


def _outside(prior: ShapePrior, points: Array) -> Array:
    """How far (N, K) a keypoint's distances leave their ranges: the median over the others, m."""
    low, high = prior.low.numpy().astype(float), prior.high.numpy().astype(float)
    never = ~(np.isfinite(low) & np.isfinite(high))
    distance = _distances(points)
    found = np.maximum(low - distance, 0) + np.maximum(distance - high, 0)
    found[:, never] = np.nan
    return _median(found, 2)


def _is_rigid(prior: ShapePrior) -> bool:
    return prior.mean is not None and bool(prior.flex.max() < _RIGID * prior.tolerance)


def _departure(prior: ShapePrior, points: Array) -> Array:
    """How far (N, K) a keypoint's distances are from those of the mean shape: median, m.

    Within the labelled ranges it still tells good from better, which ``_outside`` does not.
    """
    assert prior.mean is not None
    mean = _distances(prior.mean.numpy().astype(float)[None])
    return _median(np.abs(_distances(points) - mean), 2)


def _score(
    figures: dict[str, dict[str, float]],
    error: Array,
    labels: Array,
    departure: Array,
    tolerance: float,
) -> tuple[float, float]:
    """Mean label error plus mean departure from the shape plus mirrored parts, and margin, mm.

    One gross error, or one missing estimate, counts as a few tolerances and not more.
    """
    worst = _CLAMP * tolerance
    labelled = np.isfinite(labels).all(-1)
    on_labels = np.where(np.isnan(error), worst, np.minimum(error, worst))
    on_labels = _mean(np.where(labelled, on_labels, np.nan), 1)
    shape = np.where(np.isnan(departure), worst, np.minimum(departure, worst)).mean(1)
    if departure.shape[1] < 2:
        shape = np.zeros(1)
    mirrored = np.nan_to_num([f["mirrored"] for f in figures.values()])
    total, variance = worst * mirrored.mean(), 0.0
    for values in (on_labels[np.isfinite(on_labels)], shape):
        if values.size:
            total += values.mean()
            variance += values.var() / values.size
    return float(1e3 * total), float(1e3 * min(np.sqrt(variance), _MARGIN * total))


def _median(values: Array, axis: int) -> Array:
    """Median of the finite values; NaN without any."""
    return np.asarray(torch.from_numpy(np.asarray(values, float)).nanquantile(0.5, axis).numpy())


def _mean(values: Array, axis: int) -> Array:
    """Mean of the finite values; NaN without any."""
    return np.asarray(torch.from_numpy(np.asarray(values, float)).nanmean(axis).numpy())
