"""``s3k calibrate``: the uncertainty constants of a model file, METHOD.md's "honest" section.

* A_k and b_k of the 2D error covariance A_k + b_k max(Cov - sigma^2 I, 0), by maximum likelihood of
  leave-one-view-out residuals on scenes without labels; the propagated covariance of the other
  views is part of each residual's.
* The confidence: a logistic of the heatmap's features for "this view agrees with the others".
* The common-mode term Q_k from the labelled samples, cross-fitted when both checkpoints are given.
  Otherwise from the samples that the model was trained on: what is left of their errors is a lower
  bound then, and the result is marked provisional.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from scipy.optimize import minimize
from scipy.stats import chi2

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.geometry.triangulation import triangulate
from s3k_ros.perception.description import CONFIDENCE_FEATURES
from s3k_ros.perception.detector import KeypointDetector
from s3k_ros.perception.model_file import (
    ConfidenceDescription,
    UncertaintyDescription,
    attach_description,
)
from s3k_ros.training.dataset import Dataset
from s3k_ros.training.views import triangulated_clicks

Array = npt.NDArray[np.float64]

GROSS_FRACTION = 0.0125
"""A 2D error above this part of the image width is gross: 8 px at 640 px, 2 cm at 1 m."""
_LEAST_GROSS_PX = 4.0
_MIN_MASS = 0.3
"""Views with less mass in their peak take no part in the fit of the covariance."""
_LEAST_PX2 = 0.25
"""Least floor A: residuals of a few hundred scenes do not show the errors that views share."""
_CONSISTENT = 0.99
_FLOOR_COMMON_M = 0.0015
"""Least standard deviation of the common-mode error: what 10 noisy labels cannot resolve."""


@dataclasses.dataclass(frozen=True)
class Detections:
    """Raw detections of N scenes, C views, K keypoints: first peak of each map.

    Attributes:
        cameras: N lists of C cameras.
        pixels: (N, C, K, 2) px. excess: (N, C, K, 2, 2) px^2. features: (N, C, K, F).
    """

    cameras: list[list[Camera]]
    pixels: Array
    excess: Array
    features: Array

    def covariances(self, floor: Array, gain: Array) -> Array:
        """(N, C, K, 2, 2) px^2 for isotropic floors (K,) px^2 and gains (K,)."""
        return floor[:, None, None] * np.eye(2) + gain[:, None, None] * self.excess

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """(N, C, K) finite and with a clear peak."""
        clear = self.features[..., 0] > np.log(_MIN_MASS)
        return np.asarray(clear & np.isfinite(self.pixels).all(-1))


@dataclasses.dataclass(frozen=True)
class Residuals:
    """Leave-one-view-out residuals, R of them.

    Attributes:
        keypoint: (R,) index. residual: (R, 2) px. spread: (R, 2, 2) px^2, of the other views'
            point, projected. excess: (R, 2, 2) px^2. features: (R, F). clear: (R,) usable view.
    """

    keypoint: npt.NDArray[np.int_]
    residual: Array
    spread: Array
    excess: Array
    features: Array
    clear: npt.NDArray[np.bool_]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``s3k calibrate``."""
    parser.add_argument("--model", required=True, help="the exported ONNX file")
    parser.add_argument("--dataset", required=True, help="scenes not used in training, unlabelled")
    parser.add_argument("--labelled", required=True, help="the training dataset, for its labels")
    parser.add_argument("--out", required=True, help="the ONNX file to write")
    parser.add_argument("--limit", type=int, default=500, help="scenes to use")
    parser.add_argument("--coarse", help="checkpoint of the coarse stage, for cross-fitting")
    parser.add_argument("--crop", help="checkpoint of the crop stage, for cross-fitting")
    parser.add_argument("--folds", type=int, default=5, help="folds of the cross-fitting")
    parser.add_argument("--fold-steps", type=int, default=400, help="training steps a fold")


def run(args: argparse.Namespace) -> int:
    """Writes a copy of the model file with fitted constants."""
    detector = KeypointDetector.load(args.model)
    description = detector.model.description
    scenes, taught = Dataset(args.dataset), Dataset(args.labelled)
    rest = [i for i in range(len(scenes)) if not scenes.labelled[i]][: args.limit]
    detections = detect(detector, scenes, rest)
    uncertainty = calibrate(detections, len(description.keypoints))
    labelled, held_out = _labelled_detections(args, detector, taught)
    clicks = [triangulated_clicks(taught, i) for i in labelled]
    common = common_mode(
        held_out, np.stack([c[0] for c in clicks]), np.stack([c[1] for c in clicks]), uncertainty
    )
    crossfit = args.crop is not None
    uncertainty = dataclasses.replace(uncertainty, common_mode=common, provisional=not crossfit)
    for k, name in enumerate(description.keypoints):
        print(
            f"{name}: A {uncertainty.pixel_variance[k][0][0]:.2f} px^2, "
            f"b {uncertainty.spread_gain[k]:.2f}, "
            f"common mode {1e3 * np.sqrt(np.trace(np.array(common[k])) / 3):.1f} mm an axis"
        )
    print(f"confidence: {uncertainty.confidence}")
    model = onnx.load(args.model)
    attach_description(model, dataclasses.replace(description, uncertainty=uncertainty))
    Path(args.out).write_bytes(model.SerializeToString())
    return 0


def _labelled_detections(
    args: argparse.Namespace, detector: KeypointDetector, taught: Dataset
) -> tuple[list[int], Detections]:
    """The labelled samples, in some order, and their detections, held out if possible."""
    if args.crop is None:
        labelled = [int(i) for i in np.flatnonzero(taught.labelled)]
        return labelled, detect(detector, taught, labelled)
    # PyTorch is needed for cross-fitting alone.
    from s3k_ros.training.checkpoint import Checkpoint
    from s3k_ros.training.crossfit import held_out_detections

    if args.coarse is None:
        raise ConfigurationError("cross-fitting needs both checkpoints, --coarse and --crop")
    coarse, crop = Checkpoint.load(Path(args.coarse)), Checkpoint.load(Path(args.crop))
    return held_out_detections(taught, coarse, crop, args.folds, args.fold_steps, print)


def detect(detector: KeypointDetector, dataset: Dataset, samples: Iterable[int]) -> Detections:
    """Runs the shipped detector on samples; scenes with an unusable image are left out."""
    cameras, pixels, excess, features = [], [], [], []
    shown = time.monotonic()
    for sample in samples:
        views = detector.detect_peaks(dataset.images(sample))
        present = [view for view in views if view is not None]
        if len(present) < len(views):
            continue
        cameras.append(dataset.cameras(sample))
        pixels.append([view.pixels[:, 0] for view in present])
        excess.append([view.excess[:, 0] for view in present])
        features.append([view.features[:, 0] for view in present])
        if time.monotonic() - shown > 5:
            shown = time.monotonic()
            print(f"detected {len(cameras)} scenes", flush=True)
    if not cameras:
        raise DataError(f"{dataset.folder}: no usable scene")
    return Detections(cameras, np.array(pixels), np.array(excess), np.array(features))


def calibrate(detections: Detections, keypoints: int, rounds: int = 3) -> UncertaintyDescription:
    """Fits A_k (isotropic), b_k and the confidence; the common-mode term stays zero."""
    floor, gain = np.full(keypoints, 2.0), np.ones(keypoints)
    width = detections.cameras[0][0].width
    gross = max(GROSS_FRACTION * width, _LEAST_GROSS_PX)
    residuals = leave_one_out(detections, floor, gain)
    for _ in range(rounds):
        for k in range(keypoints):
            floor[k], gain[k] = _fit_covariance(residuals, k, gross, floor[k], gain[k])
        residuals = leave_one_out(detections, floor, gain)
    zero = ((0.0,) * 3,) * 3
    return UncertaintyDescription(
        pixel_variance=tuple(((float(a), 0.0), (0.0, float(a))) for a in floor),
        reference_width=width,
        spread_gain=tuple(float(b) for b in gain),
        common_mode=(zero,) * keypoints,
        confidence=_fit_confidence(residuals, floor, gain, gross),
        provisional=True,
    )


def leave_one_out(detections: Detections, floor: Array, gain: Array) -> Residuals:
    """Residual of every view against the point that the other views, agreeing, give."""
    covariances, usable = detections.covariances(floor, gain), detections.usable
    parts: dict[str, list[Array]] = {f.name: [] for f in dataclasses.fields(Residuals)}
    for n, cameras in enumerate(detections.cameras):
        for c, camera in enumerate(cameras):
            weights = usable[n].astype(float)
            weights[c] = 0.0
            result = triangulate(cameras, detections.pixels[n], covariances[n], weights)
            freedom = np.maximum(2 * result.views_used.sum(1) - 3, 1)
            agree = np.nan_to_num(result.chi_square, nan=np.inf) < chi2.ppf(_CONSISTENT, freedom)
            keep = np.flatnonzero(agree & np.isfinite(detections.pixels[n, c]).all(-1))
            points = result.points[keep]
            jacobian = camera.projection_jacobian(points)
            parts["keypoint"].append(keep.astype(float))
            parts["residual"].append(detections.pixels[n, c, keep] - camera.project(points))
            parts["spread"].append(jacobian @ result.covariances[keep] @ jacobian.swapaxes(-1, -2))
            parts["excess"].append(detections.excess[n, c, keep])
            parts["features"].append(detections.features[n, c, keep])
            parts["clear"].append(usable[n, c, keep].astype(float))
    whole = {name: np.concatenate(values) for name, values in parts.items()}
    good = np.isfinite(whole["residual"]).all(-1) & np.isfinite(whole["features"]).all(-1)
    whole = {name: values[good] for name, values in whole.items()}
    return Residuals(
        keypoint=whole["keypoint"].astype(int),
        residual=whole["residual"],
        spread=whole["spread"],
        excess=whole["excess"],
        features=whole["features"],
        clear=whole["clear"].astype(bool),
    )


def _fit_covariance(
    residuals: Residuals, k: int, gross: float, floor: float, gain: float
) -> tuple[float, float]:
    """Maximum likelihood of (A, b) for the inliers of keypoint k."""
    size = np.linalg.norm(residuals.residual, axis=1)
    chosen = (residuals.keypoint == k) & residuals.clear & (size < gross)
    if chosen.sum() < 20:
        return floor, gain
    r, spread, excess = (
        values[chosen] for values in (residuals.residual, residuals.spread, residuals.excess)
    )

    def cost(logs: Array) -> float:
        # The other views' part was propagated with the present floor and grows along with it;
        # without this the rounds would swing instead of settling.
        others = spread * (np.exp(logs[0]) / floor)
        covariance = np.exp(logs[0]) * np.eye(2) + np.exp(logs[1]) * excess + others
        distance = np.einsum("ni,ni->n", r, np.linalg.solve(covariance, r[..., None])[..., 0])
        return float((distance + np.linalg.slogdet(covariance)[1]).mean())

    start = np.log([floor, max(gain, 1e-3)])
    bounds = [(np.log(_LEAST_PX2), np.log(100.0)), (np.log(1e-4), np.log(20.0))]
    found = minimize(cost, start, method="Nelder-Mead", bounds=bounds, options={"maxiter": 80})
    return float(np.exp(found.x[0])), float(np.exp(found.x[1]))


def _fit_confidence(
    residuals: Residuals, floor: Array, gain: Array, gross: float
) -> ConfidenceDescription:
    """Logistic regression of "no gross error", with a ridge that keeps it finite."""
    k = residuals.keypoint
    covariance = (
        floor[k, None, None] * np.eye(2) + gain[k, None, None] * residuals.excess + residuals.spread
    )
    r = residuals.residual
    distance = np.einsum("ni,ni->n", r, np.linalg.solve(covariance, r[..., None])[..., 0])
    size = np.linalg.norm(r, axis=1)
    good = ((size < gross) | (distance < chi2.ppf(0.999, 2))).astype(float)
    features = np.column_stack([np.ones(len(good)), residuals.features])

    def cost(weights: Array) -> tuple[float, Array]:
        odds = features @ weights
        probability = 1 / (1 + np.exp(-np.clip(odds, -50, 50)))
        loss = np.logaddexp(0, odds) - good * odds
        ridge = 0.5e-3 * weights[1:] @ weights[1:]
        gradient = features.T @ (probability - good) / len(good)
        gradient[1:] += 1e-3 * weights[1:]
        return float(loss.mean() + ridge), gradient

    found = minimize(cost, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B")
    weights = dict(zip(CONFIDENCE_FEATURES, map(float, found.x[1:]), strict=True))
    return ConfidenceDescription(float(found.x[0]), weights)


def common_mode(
    detections: Detections, points: Array, spread: Array, uncertainty: UncertaintyDescription
) -> tuple[tuple[tuple[float, ...], ...], ...]:
    """Q_k (K, 3, 3) m^2: what geometry and click noise do not explain of the labels' errors.

    Args:
        detections: of the labelled samples.
        points: (N, K, 3) triangulated clicks, base frame, m.
        spread: (N, K, 3, 3) their covariances, m^2.
        uncertainty: with fitted A and b.
    """
    floor = np.array([matrix[0][0] for matrix in uncertainty.pixel_variance])
    gain = np.array(uncertainty.spread_gain)
    covariances, usable = detections.covariances(floor, gain), detections.usable
    errors = np.full(points.shape, np.nan)
    explained = np.full(spread.shape, np.nan)
    for n, cameras in enumerate(detections.cameras):
        weights = usable[n].astype(float)
        result = triangulate(cameras, detections.pixels[n], covariances[n], weights)
        errors[n] = result.points - points[n]
        explained[n] = result.covariances + spread[n]
    return tuple(_common_of(errors[:, k], explained[:, k]) for k in range(points.shape[1]))


def _common_of(errors: Array, explained: Array) -> tuple[tuple[float, ...], ...]:
    good = np.isfinite(errors).all(-1) & (np.linalg.norm(errors, axis=-1) < 0.03)
    floor = _FLOOR_COMMON_M**2
    if good.sum() < 3:
        return _rows(np.eye(3) * 0.005**2)
    second = np.einsum("ni,nj->ij", errors[good], errors[good]) / good.sum()
    rest = np.diagonal(second - explained[good].mean(0))
    # The object turns about the vertical, and a bias with it: level axes are alike in the base
    # frame, and ten samples cannot tell more than two numbers.
    level, vertical = max(float(rest[:2].mean()), floor), max(float(rest[2]), floor)
    return _rows(np.diag([level, level, vertical]))


def _rows(matrix: Array | Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    symmetric = 0.5 * (np.asarray(matrix) + np.asarray(matrix).T)
    return tuple(tuple(float(v) for v in row) for row in symmetric)


def main() -> int:
    """``python -m s3k_ros.training.calibration``."""
    parser = argparse.ArgumentParser(prog="s3k calibrate")
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
