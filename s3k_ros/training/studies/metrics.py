"""What is kept of an evaluation: the protocol's figures, confusions, collapse, lengths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from s3k_ros.training.model.figures import Results, figures

Array = npt.NDArray[np.float64]


def summary(results: Results, lengths_m: Array | None = None) -> dict[str, Any]:
    """Figures of one test; None stands for infinity: so many were refused.

    Args:
        results: of the runtime's chain on N scenes.
        lengths_m: (N,) length of the object in each scene, where errors are to be divided by it.

    Returns:
        ``median_mm``, ``p95_mm`` of all keypoints (3D, a refused one is infinitely wrong);
        ``median_valid_mm`` of those not refused; ``rms_px`` of single views, refused or not, in
        pixels of a view shrunk to 128 px; ``valid``, ``valid_worst``, ``swaps`` of the worst
        keypoint; ``size_ratio``: spread of the keypoints about their middle over the true one;
        ``paws_confused``, ``length_fraction`` where they apply; ``keypoints`` by name.
    """
    found = figures(results)
    errors = results.errors
    whole = found["all"]
    keypoints = {}
    for k, name in enumerate(results.names):
        entry = found["keypoints"][name]
        keypoints[name] = {
            "median_mm": entry["median_mm"],
            "p95_mm": entry["p95_mm"],
            "rms_px": entry["rms_px_at_128"],
            "valid": entry["valid_fraction"],
            "swaps": entry.get("swap_fraction", _confused(results, [k])),
            "bias_mm": entry["bias_mm"],
            "spread_mm": entry["spread_mm"],
        }
    summed = {
        "scenes": found["scenes"],
        "median_mm": whole["median_mm"],
        "p95_mm": whole["p95_mm"],
        "median_valid_mm": _median(1e3 * errors[np.isfinite(errors)]),
        "rms_px": whole["rms_px_at_128"],
        "valid": whole["valid_fraction"],
        "valid_worst": min(entry["valid"] for entry in keypoints.values()),
        "swaps": max(entry["swaps"] for entry in keypoints.values()),
        "size_ratio": _size_ratio(results),
        "keypoints": keypoints,
    }
    paws = [k for k, name in enumerate(results.names) if "paw" in name]
    if len(paws) > 1:
        summed["paws_confused"] = _confused(results, paws, paws)
    if lengths_m is not None:
        known = ~np.isnan(errors)
        part = np.where(known, errors, np.nan) / lengths_m[:, None]
        summed["length_fraction"] = _median(part[known])
    return summed


def _median(values: Array) -> float | None:
    if not len(values):
        return None
    # As the protocol's quantile: no mean of a number and infinity.
    value = float(np.sort(values)[len(values) // 2])
    return value if math.isfinite(value) else None


def _confused(results: Results, chosen: list[int], others: list[int] | None = None) -> float:
    """Part of the estimates that lie nearer to the truth of another keypoint than to their own."""
    others = list(range(len(results.names))) if others is None else others
    wrong = []
    for k in chosen:
        rest = [other for other in others if other != k]
        if not rest:
            return 0.0
        points = results.points[:, k, None]
        nearest = np.linalg.norm(points - results.truth[:, rest], axis=-1)
        nearest = np.where(np.isnan(nearest), np.inf, nearest).min(1)
        own = results.errors[:, k]
        wrong.append(np.isfinite(own) & (nearest < own))
    return float(np.mean(wrong))


def _size_ratio(results: Results) -> float | None:
    """1: as large as it is, 0: all keypoints in one point; of scenes with all keypoints."""
    whole = np.isfinite(results.points).all((1, 2)) & np.isfinite(results.truth).all((1, 2))
    if len(results.names) < 2 or not whole.any():
        return None
    return _median(_size(results.points[whole]) / _size(results.truth[whole]))


def _size(points: Array) -> Array:
    middle = points.mean(1, keepdims=True)
    return np.asarray(np.linalg.norm(points - middle, axis=-1).mean(1))
