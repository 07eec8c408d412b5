"""``s3k evaluate``: the protocol of METHOD.md on held-out scenes with ground truth.

The figures are those of the shipped chain: the model file goes through the runtime's own detector
and triangulator. A refused keypoint is a miss, also in the "all" quantiles.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from s3k_ros.perception.detector import KeypointDetector
from s3k_ros.perception.triangulator import KeypointTriangulator, Status
from s3k_ros.training.dataset import Dataset, Image
from s3k_ros.training.keypoints import mirror_names

Array = npt.NDArray[np.float64]
_LEVELS = (0.5, 0.9, 0.95)
_INLIER_M = 0.03
"""Bias, spread and sharpness describe errors below this; those above are gross."""


@dataclasses.dataclass(frozen=True)
class Results:
    """Predictions on N scenes.

    Attributes:
        names: K keypoints.
        truth: (N, K, 3) m, base frame.
        points: (N, K, 3) m, NaN where refused.
        covariances: (N, K, 3, 3) m^2.
        status: (N, K) of `Status`.
        seconds: (N,) duration of the detector.
    """

    names: list[str]
    truth: Array
    points: Array
    covariances: Array
    status: npt.NDArray[np.int_]
    seconds: Array

    @property
    def errors(self) -> Array:
        """(N, K) distances to the truth, m, infinite where refused."""
        distance = np.linalg.norm(self.points - self.truth, axis=-1)
        return np.where(np.isfinite(distance), distance, np.inf)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``s3k evaluate``."""
    parser.add_argument("--model", required=True, help="the ONNX model file")
    parser.add_argument("--dataset", required=True, help="dataset folder with ground truth")
    parser.add_argument("--limit", type=int, help="only the first scenes")
    parser.add_argument("--threads", type=int, default=1, help="scenes at a time")
    parser.add_argument("--json", help="file for the figures")
    parser.add_argument("--raw", help="npz file for the predictions")


def run(args: argparse.Namespace) -> int:
    """Prints the table and writes the figures."""
    dataset = Dataset(args.dataset)
    results = evaluate(dataset, args.model, args.limit, args.threads)
    found = figures(results)
    print(table(found))
    found["command"] = " ".join(["s3k", *sys.argv[1:]])
    found["model_sha256"] = hashlib.sha256(Path(args.model).read_bytes()).hexdigest()
    found["dataset"] = dataset.info
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=2) + "\n")
    if args.raw:
        np.savez_compressed(
            args.raw,
            **{f.name: getattr(results, f.name) for f in dataclasses.fields(results)},
        )
    return 0


def evaluate(dataset: Dataset, model: str, limit: int | None = None, threads: int = 1) -> Results:
    """Runs the shipped chain over the scenes of a dataset."""
    count = len(dataset) if limit is None else min(limit, len(dataset))
    names = dataset.keypoint_names
    detector = KeypointDetector.load(model, keypoints=names)
    triangulator = KeypointTriangulator.from_description(detector.model.description)
    truth = np.stack([dataset.truth(i) for i in range(count)])
    points = np.full((count, len(names), 3), np.nan)
    covariances = np.full((count, len(names), 3, 3), np.nan)
    status = np.zeros((count, len(names)), int)
    seconds = np.zeros(count)
    begun = shown = time.monotonic()
    for i, images in enumerate(_decoded(dataset, count, threads)):
        start = time.perf_counter()
        views = detector.detect(images)
        estimates = triangulator.estimate(dataset.cameras(i), views)
        seconds[i] = time.perf_counter() - start
        for k, estimate in enumerate(estimates):
            status[i, k] = estimate.status
            if estimate.status == Status.OK:
                points[i, k], covariances[i, k] = estimate.position, estimate.covariance
        if time.monotonic() - shown > 5:
            shown = time.monotonic()
            print(f"evaluated {i + 1} of {count}, {(i + 1) / (shown - begun):.1f} /s", flush=True)
    return Results(names, truth, points, covariances, status, seconds)


def _decoded(dataset: Dataset, count: int, threads: int) -> Iterator[Sequence[Image]]:
    """Images of the scenes in order, decoded a few scenes ahead."""
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(dataset.images, i) for i in range(min(8, count))]
        for i in range(count):
            yield waiting[i].result()
            waiting[i] = waiting[0]  # frees the images
            if i + 8 < count:
                waiting.append(pool.submit(dataset.images, i + 8))


def figures(results: Results) -> dict[str, Any]:
    """All figures of the protocol, lengths in mm."""
    partner = mirror_names(results.names)
    errors = results.errors
    out: dict[str, Any] = {"scenes": len(errors), "keypoints": {}}
    for k, name in enumerate(results.names):
        finite = np.isfinite(errors[:, k])
        entry = {
            "median_mm": _quantile(errors[:, k], 0.5),
            "p95_mm": _quantile(errors[:, k], 0.95),
            "valid_fraction": float(finite.mean()),
            "within_10_mm": float((errors[:, k] < 0.010).mean()),
            "gross_fraction": float((finite & (errors[:, k] > _INLIER_M)).mean()),
            **_in_object_frame(results, k),
            **_calibration(results, k),
        }
        if partner[k] != k:
            entry["swap_fraction"] = _swaps(results, k, partner[k])
        out["keypoints"][name] = entry
    out["latency_ms"] = {
        "p50": float(np.median(results.seconds) * 1e3),
        "p99": float(np.quantile(results.seconds, 0.99) * 1e3),
    }
    return out


def _quantile(errors: Array, level: float) -> float | None:
    """Quantile in mm over all scenes, refused ones as infinite; None when it is infinite."""
    value = float(np.sort(errors)[min(len(errors) - 1, int(level * len(errors)))])
    return value * 1e3 if np.isfinite(value) else None


def _swaps(results: Results, k: int, partner: int) -> float:
    """Part of all scenes in which keypoint k lies nearer to the truth of its mirror image."""
    own = results.errors[:, k]
    other = np.linalg.norm(results.points[:, k] - results.truth[:, partner], axis=-1)
    return float((np.isfinite(own) & (other < own)).mean())


def _in_object_frame(results: Results, k: int) -> dict[str, list[float]]:
    """Bias and spread in mm of the inliers in the object's frame.

    The frame is made of the true keypoints: x from their mean to the first one, level; z up.
    """
    x = results.truth[:, 0] - results.truth.mean(1)
    x[:, 2] = 0
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    z = np.broadcast_to(np.array([0.0, 0.0, 1.0]), x.shape)
    axes = np.stack([x, np.cross(z, x), z], axis=1)
    good = results.errors[:, k] < _INLIER_M
    local = np.einsum("nij,nj->ni", axes[good], (results.points - results.truth)[good, k]) * 1e3
    if len(local) < 2:
        return {"bias_mm": [], "spread_mm": []}
    return {
        "bias_mm": [round(float(v), 2) for v in local.mean(0)],
        "spread_mm": [round(float(v), 2) for v in local.std(0)],
    }


def _calibration(results: Results, k: int) -> dict[str, Any]:
    """Coverage of the 50/90/95 % regions and predicted over actual RMS, of the valid ones."""
    valid = np.isfinite(results.errors[:, k])
    if valid.sum() < 2:
        return {"coverage": {}, "sharpness": None}
    difference = (results.points - results.truth)[valid, k]
    covariance = results.covariances[valid, k]
    distance = np.einsum(
        "ni,ni->n", difference, np.linalg.solve(covariance, difference[..., None])[..., 0]
    )
    coverage = {f"{level:g}": float((distance < chi2.ppf(level, 3)).mean()) for level in _LEVELS}
    inlier = np.linalg.norm(difference, axis=1) < _INLIER_M
    if not inlier.any():
        return {"coverage": coverage, "sharpness": None}
    predicted = np.sqrt(np.trace(covariance[inlier], axis1=1, axis2=2).mean())
    actual = np.sqrt((difference[inlier] ** 2).sum(1).mean())
    return {"coverage": coverage, "sharpness": float(predicted / max(actual, 1e-9))}


def table(found: dict[str, Any]) -> str:
    """The figures as text."""
    head = f"{'keypoint':18} {'median':>7} {'p95':>7} {'valid':>6} {'swap':>6} {'gross':>6}"
    lines = [head + "   bias x, y, z      spread x, y, z     cover 50/90/95      sharp"]
    for name, entry in found["keypoints"].items():

        def number(key: str, entry: dict[str, Any] = entry) -> str:
            return "-" if entry.get(key) is None else f"{entry[key]:.1f}"

        swap = f"{100 * entry['swap_fraction']:.1f}%" if "swap_fraction" in entry else ""
        bias, spread = (
            " ".join(f"{v:5.1f}" for v in entry[key]) for key in ("bias_mm", "spread_mm")
        )
        cover = " ".join(f"{100 * v:5.1f}" for v in entry["coverage"].values())
        sharp = "-" if entry["sharpness"] is None else f"{entry['sharpness']:.2f}"
        lines.append(
            f"{name:18} {number('median_mm'):>7} {number('p95_mm'):>7} "
            f"{100 * entry['valid_fraction']:5.1f}% {swap:>6} {100 * entry['gross_fraction']:5.1f}%"
            f"   {bias}   {spread}   {cover}   {sharp}"
        )
    latency = found["latency_ms"]
    lines.append(
        f"{found['scenes']} scenes; detector and triangulator {latency['p50']:.0f} ms median, "
        f"{latency['p99']:.0f} ms p99"
    )
    return "\n".join(lines)


def main() -> int:
    """``python -m s3k_ros.training.evaluate``."""
    parser = argparse.ArgumentParser(prog="s3k evaluate")
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
