"""``s3k calibrate``: the uncertainty constants of a model file, METHOD.md's "honest" section.

* A_k and b_k of the 2D error covariance A_k + b_k max(Cov - sigma^2 I, 0), by maximum likelihood of
  leave-one-view-out residuals on scenes without labels; the propagated covariance of the other
  views is part of each residual's.
* The confidence: a logistic of the heatmap's features for "this view agrees with the others".
* The object's distances and the confidence in space, from the same scenes (`space`).
* The common-mode term Q_k from labelled samples that the network did not learn from: either of
  another dataset (``--held-out``, they count in the budget of labels) or the run's own, by
  cross-fitting (``--run``). With neither, the labels that the model was trained on give a lower
  bound, and the result is marked provisional.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from scipy.optimize import minimize

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.perception import DetectorParameters
from s3k_ros.perception.description import (
    CONFIDENCE_FEATURES,
    DistanceDescription,
    ModelDescription,
)
from s3k_ros.perception.detector import KeypointDetector
from s3k_ros.perception.model_file import (
    ConfidenceDescription,
    UncertaintyDescription,
    attach_description,
)
from s3k_ros.perception.triangulator import CommonMode
from s3k_ros.training.dataset.reader import Dataset
from s3k_ros.training.model.figures import GROSS_FRACTION, LEAST_GROSS_PX
from s3k_ros.training.uncertainty.common_mode import HeldOut
from s3k_ros.training.uncertainty.held_out import (
    Witness,
    clicked_points,
    estimate,
    explain,
    locate,
    see,
)
from s3k_ros.training.uncertainty.residuals import Detections, Residuals, detect, leave_one_out
from s3k_ros.training.uncertainty.space import Scene, distances, space_confidence

Array = npt.NDArray[np.float64]

_LEAST_PX_AT_640 = 0.1
"""Least floor of a view's standard deviation: nothing is located better than that."""
_MOST_PX_AT_640 = 10.0
_RIDGE = 1e-4
_LEAST_SHARE = 0.5
"""A keypoint with fewer of its held-out clicks found than this is not calibrated by them."""
_COMPARED = 200
"""Scenes on which the networks of the folds are compared with the shipped one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``s3k calibrate``."""
    parser.add_argument("--model", required=True, help="the exported ONNX file")
    parser.add_argument("--dataset", required=True, help="scenes not used in training, unlabelled")
    parser.add_argument("--labelled", required=True, help="the training dataset, for its labels")
    parser.add_argument("--out", required=True, help="the ONNX file to write")
    parser.add_argument("--limit", type=int, default=500, help="scenes to use")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--run", help="folder of the training run, for cross-fitting")
    how.add_argument("--held-out", help="labelled dataset that was not used in training")
    parser.add_argument("--folds", type=int, default=5, help="folds of the cross-fitting")
    parser.add_argument("--fold-steps", type=int, help="training steps a fold")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the detector")


def run(args: argparse.Namespace) -> int:
    """Writes a copy of the model file with fitted constants."""
    detector = KeypointDetector.load(args.model, DetectorParameters(threads=args.threads))
    description = detector.model.description
    scenes = Dataset(args.dataset)
    rest = [i for i in range(len(scenes)) if not scenes.labelled[i]][: args.limit]
    if not rest:
        raise ConfigurationError(f"{args.dataset}: no scene without labels")
    uncertainty = calibrate(detect(detector, scenes, rest), len(description.keypoints))
    some = rest[:_COMPARED]
    seen = see(detector, scenes, some, uncertainty)
    description = _in_space(seen, detector.model.description)
    uncertainty, shape = description.uncertainty, description.shape
    shipped = estimate(seen, description)
    witnesses, record = _witnesses(args, detector, scenes, some, description)
    mode, held_out = explain(witnesses, shipped)
    unseen = _unseen(description.keypoints, witnesses, held_out)
    nothing_held_out = args.run is None and args.held_out is None
    provisional = nothing_held_out or bool(unseen)
    uncertainty = with_common_mode(uncertainty, mode, provisional=provisional)
    record |= {"scenes": len(rest), "errors": int(held_out.known.sum()), "growth": mode.growth}
    record["unseen"] = unseen
    training = {**description.training, "calibration": record}
    model = onnx.load(args.model)
    attach_description(
        model, dataclasses.replace(description, uncertainty=uncertainty, training=training)
    )
    Path(args.out).write_bytes(model.SerializeToString())
    print(summary(description.keypoints, uncertainty, record, shape))
    if nothing_held_out:
        print("provisional: no label was held out (--run or --held-out)")
    elif unseen:
        print(f"provisional: most held-out errors of {', '.join(unseen)} are gross (--fold-steps)")
    return 0


def _in_space(seen: Sequence[Scene], description: ModelDescription) -> ModelDescription:
    """The description with the object's distances and a fitted confidence in space."""
    alone = estimate(seen, dataclasses.replace(description, shape=()))
    shape = distances(alone.points, alone.geometry)
    description = dataclasses.replace(description, shape=shape)
    space = space_confidence(seen, description)
    uncertainty = dataclasses.replace(description.uncertainty, space_confidence=space)
    return dataclasses.replace(description, uncertainty=uncertainty)


def _unseen(keypoints: Sequence[str], witnesses: Sequence[Witness], held_out: HeldOut) -> list[str]:
    """Keypoints of which most held-out clicks were refused or grossly missed."""
    clicked = np.sum([np.isfinite(w.clicks).all(-1).sum(0) for w in witnesses], axis=0)
    found = held_out.known.sum(0)
    return [
        name for k, name in enumerate(keypoints) if found[k] < _LEAST_SHARE * max(clicked[k], 1)
    ]


def _witnesses(
    args: argparse.Namespace,
    detector: KeypointDetector,
    scenes: Dataset,
    some: Sequence[int],
    description: ModelDescription,
) -> tuple[list[Witness], dict[str, Any]]:
    """Networks with held-out labels, and how they were come by."""
    if args.run is None:
        labels = Dataset(args.held_out or args.labelled)
        samples = [int(i) for i in np.flatnonzero(labels.labelled)]
        points, variance, click = clicked_points(labels, samples)
        held = locate(detector, labels, samples, description.uncertainty, description.shape)
        how = "labels of another dataset" if args.held_out else "the labels of the training"
        return [Witness(held, points, variance)], {"how": how, "click_px": click}
    # PyTorch is needed for cross-fitting alone.
    from s3k_ros.training.model.export import load_run
    from s3k_ros.training.uncertainty.crossfit import folds_of, labels_of

    taught = Dataset(args.labelled)
    coarse, crop = load_run(Path(args.run))
    _, _, click = clicked_points(taught, labels_of(taught, crop or coarse))
    witnesses, steps = [], 0
    for fold in folds_of(taught, coarse, crop, args.folds, args.fold_steps, print):
        witnesses.append(
            witness(fold.detector, taught, fold.held, scenes, some, description, click)
        )
        steps = fold.steps
    how = f"cross-fitted, {args.folds} folds of {steps} steps"
    return witnesses, {"how": how, "click_px": click}


def witness(
    detector: KeypointDetector,
    taught: Dataset,
    held: Sequence[int],
    scenes: Dataset,
    some: Sequence[int],
    description: ModelDescription,
    click_px: float,
) -> Witness:
    """What a fold's network says of its held-out samples and of some scenes."""
    points, variance, _ = clicked_points(taught, held, click_px)
    constants = description.uncertainty, description.shape
    known = locate(detector, taught, held, *constants)
    return Witness(known, points, variance, locate(detector, scenes, some, *constants))


def with_common_mode(
    uncertainty: UncertaintyDescription, mode: CommonMode, *, provisional: bool
) -> UncertaintyDescription:
    """The constants with a common mode in place of theirs."""
    return dataclasses.replace(
        uncertainty,
        common_mode=tuple(
            tuple(tuple(float(v) for v in row) for row in matrix) for matrix in mode.matrices
        ),
        common_reference=tuple(float(trace) for trace in mode.reference),
        common_growth=mode.growth,
        provisional=provisional,
    )


def summary(
    keypoints: Sequence[str],
    uncertainty: UncertaintyDescription,
    record: dict[str, Any],
    shape: Sequence[DistanceDescription] = (),
) -> str:
    """The constants as text."""
    lines = [
        f"common mode: {record['how']}, {record['errors']} errors, clicks of "
        f"{record['click_px']:.2f} px, growth {uncertainty.common_growth:.1f}"
    ]
    for k, name in enumerate(keypoints):
        level, _, vertical = 1e3 * np.sqrt(np.diagonal(uncertainty.common_mode[k]))
        floor = uncertainty.pixel_variance[k][0][0]
        lines.append(
            f"{name}: A {floor:.2f} px^2, b {uncertainty.spread_gain[k]:.2f}, common mode "
            f"{level:.1f} mm level, {vertical:.1f} mm vertical"
        )
    for distance in shape:
        pair = " to ".join(keypoints[i] for i in distance.keypoints)
        lengths = f"{1e3 * distance.distance_m:.1f} mm, give or take {1e3 * distance.spread_m:.1f}"
        lines.append(f"{pair}: {lengths} mm")
    lines.append(f"confidence: {uncertainty.confidence}, {uncertainty.space_confidence}")
    return "\n".join(lines)


def calibrate(detections: Detections, keypoints: int, rounds: int = 3) -> UncertaintyDescription:
    """Fits A_k (isotropic), b_k and the confidence; the common-mode term stays zero."""
    width = detections.cameras[0][0].width
    floor, gain = np.full(keypoints, 2.0 * (width / 640) ** 2), np.ones(keypoints)
    gross = max(GROSS_FRACTION * width, LEAST_GROSS_PX)
    residuals = leave_one_out(detections, floor, gain)
    for _ in range(rounds):
        for k in range(keypoints):
            floor[k], gain[k] = _fit_covariance(residuals, k, gross, floor[k], gain[k], width)
        residuals = leave_one_out(detections, floor, gain)
    zero = ((0.0,) * 3,) * 3
    return UncertaintyDescription(
        pixel_variance=tuple(((float(a), 0.0), (0.0, float(a))) for a in floor),
        reference_width=width,
        spread_gain=tuple(float(b) for b in gain),
        common_mode=(zero,) * keypoints,
        confidence=_fit_confidence(residuals, gross),
        provisional=True,
    )


def _fit_covariance(
    residuals: Residuals, k: int, gross: float, floor: float, gain: float, width: int
) -> tuple[float, float]:
    """Maximum likelihood of (A, b) for the inliers of keypoint k."""
    size = np.linalg.norm(residuals.residual, axis=1)
    chosen = (residuals.keypoint == k) & residuals.clear & (size < gross)
    if chosen.sum() < 20:
        return floor, gain
    x, y = residuals.residual[chosen].T
    spread, excess = residuals.spread[chosen], residuals.excess[chosen]

    def cost(logs: Array) -> float:
        # The other views' part was propagated with the present floor and grows along with it;
        # without this the rounds would swing instead of settling.
        others = spread * (np.exp(logs[0]) / floor)
        covariance = np.exp(logs[0]) * np.eye(2) + np.exp(logs[1]) * excess + others
        a, b, d = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
        determinant = a * d - b * b
        distance = (d * x * x - 2 * b * x * y + a * y * y) / determinant
        return float((distance + np.log(determinant)).mean())

    start = np.log([floor, max(gain, 1e-3)])
    scale = width / 640
    least, most = ((value * scale) ** 2 for value in (_LEAST_PX_AT_640, _MOST_PX_AT_640))
    bounds = [(np.log(least), np.log(most)), (np.log(1e-4), np.log(20.0))]
    found = minimize(cost, start, method="Nelder-Mead", bounds=bounds, options={"maxiter": 80})
    return float(np.exp(found.x[0])), float(np.exp(found.x[1]))


def _fit_confidence(residuals: Residuals, gross: float) -> ConfidenceDescription:
    """Logistic regression of "no gross error", with a ridge that keeps it finite."""
    good = (np.linalg.norm(residuals.residual, axis=1) < gross).astype(float)
    features = np.column_stack([np.ones(len(good)), residuals.features])

    def cost(weights: Array) -> tuple[float, Array]:
        odds = features @ weights
        probability = 1 / (1 + np.exp(-np.clip(odds, -50, 50)))
        loss = np.logaddexp(0, odds) - good * odds
        ridge = 0.5 * _RIDGE * weights[1:] @ weights[1:]
        gradient = features.T @ (probability - good) / len(good)
        gradient[1:] += _RIDGE * weights[1:]
        return float(loss.mean() + ridge), gradient

    found = minimize(cost, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B")
    weights = dict(zip(CONFIDENCE_FEATURES, map(float, found.x[1:]), strict=True))
    return ConfidenceDescription(float(found.x[0]), weights)


def main() -> int:
    """``python -m s3k_ros.training.uncertainty.calibration``."""
    parser = argparse.ArgumentParser(prog="s3k calibrate")
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
