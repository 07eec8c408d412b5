"""From held-out labelled samples to the common-mode term: what their errors consist of.

A network that did not learn from a sample errs there by

    error = geometry + common mode + (this network - shipped network) - click error

The geometry's part is predicted by its covariance, the clicks' part follows from how well the
clicks of several views agree, and the third part is measured on many scenes without labels. Its
mean, fixed to the object, is taken off the error. Of its scatter d, a part n_w is this network's
own: networks of other folds scatter by it about each other. Another part is the shipped network's
own, taken for as large as far as d leaves room. What is left, the shipped network knows better, and
such a difference is uncorrelated with the better one's error. So the witness errs more than the
shipped network by d - 2 min(n_w, d - n_w). `common_mode` beside this file does the rest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from s3k_ros.errors import DataError
from s3k_ros.geometry.triangulation import triangulate
from s3k_ros.perception.description import (
    DistanceDescription,
    ModelDescription,
    UncertaintyDescription,
)
from s3k_ros.perception.detector import KeypointDetector
from s3k_ros.perception.shape import Shape
from s3k_ros.perception.triangulator import CommonMode, KeypointTriangulator, Status
from s3k_ros.training.dataset.reader import Dataset
from s3k_ros.training.inputs.views import CLICK_PX
from s3k_ros.training.model.figures import INLIER_M
from s3k_ros.training.uncertainty.common_mode import HeldOut, common_mode
from s3k_ros.training.uncertainty.object_turn import rotations, turns
from s3k_ros.training.uncertainty.space import Scene

Array = npt.NDArray[np.float64]

USUAL_GROWTH = 1.5
"""Growth of the common mode where no other networks tell: what both the disagreement of networks
and the true errors show on the plush fox."""
_GROWTHS = np.linspace(0.0, 2.0, 21)
_LEAST_FREEDOM = 20
"""Agreement of fewer clicks than this says less about a click's error than experience."""


@dataclasses.dataclass(frozen=True)
class Estimates:
    """Keypoints of N samples as the runtime's chain gives them, without any common mode.

    Attributes:
        points: (N, K, 3) m, base frame, NaN where refused.
        geometry: (N, K, 3, 3) m^2, their covariances from geometry alone.
    """

    points: Array
    geometry: Array

    @property
    def traces(self) -> Array:
        """(N, K) m^2, traces of the covariances."""
        return np.asarray(np.trace(self.geometry, axis1=2, axis2=3))

    @property
    def reference(self) -> Array:
        """(K,) m^2, average traces; of all keypoints for one that is never found."""
        known = np.isfinite(self.traces)
        total, count = np.where(known, self.traces, 0.0).sum(0), known.sum(0)
        overall = total.sum() / max(int(count.sum()), 1)
        return np.asarray(np.where(count > 0, total / np.maximum(count, 1), overall))


@dataclasses.dataclass(frozen=True)
class Witness:
    """A network with labelled samples that it did not learn from.

    Attributes:
        held: its estimates on N of them.
        clicks: (N, K, 3) m, their triangulated clicks, NaN where unknown.
        click_variance: (N, K, 3) m^2, of the clicks, per axis.
        scenes: its estimates on the scenes of the shipped model's; None: it is the shipped one.
    """

    held: Estimates
    clicks: Array
    click_variance: Array
    scenes: Estimates | None = None


def locate(
    detector: KeypointDetector,
    dataset: Dataset,
    samples: Sequence[int],
    uncertainty: UncertaintyDescription,
    shape: Sequence[DistanceDescription] = (),
) -> Estimates:
    """Runs detector and triangulator with other constants than the model file's."""
    scenes = see(detector, dataset, samples, uncertainty)
    return estimate(scenes, dataclasses.replace(detector.model.description, shape=tuple(shape)))


def see(
    detector: KeypointDetector,
    dataset: Dataset,
    samples: Sequence[int],
    uncertainty: UncertaintyDescription,
) -> list[Scene]:
    """Cameras and views of samples; from here on the detector has these constants."""
    model = detector.model
    model.description = dataclasses.replace(model.description, uncertainty=uncertainty)
    return [(dataset.cameras(i), detector.detect(dataset.images(i))) for i in samples]


def estimate(scenes: Sequence[Scene], description: ModelDescription) -> Estimates:
    """The triangulator's points, without any common mode."""
    names = description.keypoints
    shape = Shape.of(description.shape) if description.shape else None
    space = description.uncertainty.space_confidence
    triangulator = KeypointTriangulator(names, space=space, shape=shape)
    points = np.full((len(scenes), len(names), 3), np.nan)
    geometry = np.full((*points.shape, 3), np.nan)
    for n, (cameras, views) in enumerate(scenes):
        for k, found in enumerate(triangulator.estimate(cameras, views)):
            if found.status == Status.OK:
                points[n, k], geometry[n, k] = found.position, found.covariance
    return Estimates(points, geometry)


def clicked_points(
    dataset: Dataset, samples: Sequence[int], click_px: float | None = None
) -> tuple[Array, Array, float]:
    """Triangulated clicks (N, K, 3) m, their variances (N, K, 3) m^2, and a click's error in px.

    Unless stated, the error is that with which the clicks of several views agree, or `CLICK_PX`
    where too few do.
    """
    shape = (len(samples), len(dataset.keypoint_names), 3)
    points, unit = np.full(shape, np.nan), np.full(shape, np.nan)
    chi_square, freedom = 0.0, 0
    for n, sample in enumerate(samples):
        clicks = dataset.labels(sample)
        seen = np.isfinite(clicks).all(-1)
        covariances = np.broadcast_to(np.eye(2), (*seen.shape, 2, 2)).copy()
        found = triangulate(dataset.cameras(sample), clicks, covariances, seen.astype(float))
        views = found.views_used.sum(1)
        good = views >= 2
        points[n, good] = found.points[good]
        unit[n, good] = np.diagonal(found.covariances, axis1=1, axis2=2)[good]
        chi_square += float(found.chi_square[good].sum())
        freedom += int((2 * views[good] - 3).sum())
    if click_px is None:
        agreeing = freedom >= _LEAST_FREEDOM
        click_px = float(np.sqrt(chi_square / freedom)) if agreeing else CLICK_PX
    return points, unit * click_px**2, click_px


def explain(witnesses: Sequence[Witness], shipped: Estimates) -> tuple[CommonMode, HeldOut]:
    """The common mode of the shipped network, and the errors that it was estimated from.

    Args:
        witnesses: networks with the labelled samples that each did not learn from.
        shipped: the shipped network's estimates on scenes without labels.

    Raises:
        DataError: hardly any held-out error is known, or no keypoint is found.
    """
    reference = shipped.reference
    if not (reference > 0).all():
        raise DataError("the model finds no keypoint in the scenes without labels")
    clicks = np.concatenate([witness.clicks for witness in witnesses])
    frames = rotations(turns(np.concatenate([shipped.points, clicks])))
    in_scenes, in_labels = np.split(frames, [len(shipped.points)])
    means, scatter = _differences(witnesses, shipped, in_scenes)
    growth = growth_of(scatter, shipped) if len(scatter) else USUAL_GROWTH
    mode = CommonMode(np.zeros((len(reference), 3, 3)), reference, growth)
    worse = _worse_by(scatter, mode.factors(shipped.geometry))
    starts = np.cumsum([len(witness.clicks) for witness in witnesses])[:-1]
    parts = [
        _held_out(witness, mode, worse, np.einsum("nij,kj->nki", turned, mean))
        for witness, mean, turned in zip(witnesses, means, np.split(in_labels, starts), strict=True)
    ]
    held_out = HeldOut(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    return CommonMode(common_mode(held_out), reference, growth), held_out


def _differences(
    witnesses: Sequence[Witness], shipped: Estimates, frames: Array
) -> tuple[Array, Array]:
    """Each witness against the shipped network, on scenes with base-from-object rotations.

    Returns:
        means (W, K, 3) m in the object's frame, zero for the shipped network itself; and what is
        left of the differences (V, N, K, 3) m in the base frame, of the V other networks, NaN where
        either is refused or they are grossly apart.
    """
    means = np.zeros((len(witnesses), *shipped.points.shape[1:]))
    scatter = []
    for w, witness in enumerate(witnesses):
        if witness.scenes is None:
            continue
        difference = _inliers(witness.scenes.points - shipped.points)
        local = np.einsum("nji,nkj->nki", frames, difference)
        known = np.isfinite(local)
        means[w] = np.where(known, local, 0.0).sum(0) / np.maximum(known.sum(0), 1)
        scatter.append(difference - np.einsum("nij,kj->nki", frames, means[w]))
    return means, np.array(scatter)


def growth_of(differences: Array, shipped: Estimates) -> float:
    """How fast networks come apart as the geometry's trace grows: most likely power, 0 to 2.

    Where a network is unsure, another one trained on other labels gives another answer. That part
    of the common mode can be measured on scenes without labels, and the rest behaves alike.

    Args:
        differences: (V, N, K, 3) m, points minus the shipped network's, NaN where unknown.
        shipped: the shipped network's estimates on the same scenes.
    """
    matrices = np.zeros((shipped.points.shape[1], 3, 3))
    known = np.isfinite(differences).all(-1)
    count = np.maximum(known.sum((0, 1)), 1)
    costs = []
    for growth in _GROWTHS:
        factors = CommonMode(matrices, shipped.reference, float(growth)).factors(shipped.geometry)
        variance = _alike(_mean(differences**2 / factors[..., np.newaxis]))
        spread = np.where(known, 3 * np.log(factors), 0.0).sum() / count.sum()
        costs.append(spread + np.average(np.log(np.maximum(variance, 1e-12)).sum(1), weights=count))
    return float(_GROWTHS[int(np.argmin(costs))])


def _worse_by(differences: Array, factors: Array) -> Array:
    """(K, 3) m^2, at a factor of 1, by which a witness errs more than the shipped network."""
    if not len(differences):
        return np.zeros((factors.shape[1], 3))
    apart = _alike(_mean(differences**2 / factors[..., np.newaxis]))
    known = np.isfinite(differences)
    count = known.sum(0)
    mean = np.where(known, differences, 0.0).sum(0) / np.maximum(count, 1)
    squared = np.where(known, differences - mean, 0.0) ** 2
    own = squared.sum(0) / np.maximum(count - 1, 1) / factors[..., np.newaxis]
    own = _alike(_mean(np.where(count > 1, own, np.nan)[np.newaxis]))
    shared = np.clip(np.minimum(own, apart - own), 0.0, None)
    return np.asarray(apart - 2.0 * shared)


def _mean(values: Array) -> Array:
    """(K, 3) over networks and scenes of (V, N, K, 3), so far as they are known."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum((0, 1))
    return np.asarray(total / np.maximum(known.sum((0, 1)), 1))


def _alike(variance: Array) -> Array:
    """(K, 3) with the mean of the level axes in both."""
    level = variance[:, :2].mean(1)
    return np.stack([level, level, variance[:, 2]], axis=1)


def _inliers(errors: Array) -> Array:
    distance = np.linalg.norm(errors, axis=-1, keepdims=True)
    return np.where(distance < INLIER_M, errors, np.nan)


def _held_out(
    witness: Witness, mode: CommonMode, worse: Array, mean: Array
) -> tuple[Array, Array, Array]:
    """Errors, explained variances and growth factors of one network.

    A network trained with fewer labels is less sure everywhere. Its geometry is brought to that of
    the shipped one by the ratio of their averages: on samples that the shipped network learned
    from, its own would be too good.
    """
    own = mode.reference if witness.scenes is None else witness.scenes.reference
    ratio = (mode.reference / own)[:, np.newaxis]
    factors = mode.factors(witness.held.geometry * ratio[..., np.newaxis])
    geometry = np.diagonal(witness.held.geometry, axis1=2, axis2=3) * ratio
    explained = geometry + witness.click_variance
    if witness.scenes is not None:
        explained = explained + worse * factors[..., np.newaxis]
    return _inliers(witness.held.points - witness.clicks) - mean, explained, factors
