"""The figures of METHOD.md's protocol from predictions and truth, and their table.

A refused keypoint is a miss in every "all" figure. Bias, spread and sharpness describe inliers;
coverage counts every valid keypoint, so that a gross error costs coverage.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from s3k_ros.training.model.keypoints import mirror_names

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

LEVELS = (0.5, 0.9, 0.95)
"""Confidence levels of the regions whose coverage is reported."""
INLIER_M = 0.03
"""Bias, spread and sharpness describe errors below this; those above are gross."""
GROSS_FRACTION = 0.0125
"""A 2D error above this part of the image width is gross: 8 px at 640 px, 2 cm at 1 m."""
LEAST_GROSS_PX = 4.0
"""No 2D error below this is gross, however small the image."""
PAPER_WIDTH_PX = 128
"""The paper's errors are in pixels of images about this wide."""
_BINS = (0.0, 0.5, 0.9, 0.97, 0.99, 1.0)
"""Bounds of the confidences whose observed rate of gross errors is compared with the claim."""


@dataclasses.dataclass(frozen=True)
class Results:
    """Predictions on N scenes seen by C views.

    Attributes:
        names: K keypoints.
        truth: (N, K, 3) m, base frame; NaN where unknown.
        points: (N, K, 3) m, NaN where refused.
        covariances: (N, K, 3, 3) m^2.
        status: (N, K) of `s3k_ros.perception.triangulator.Status`.
        confidences: (N, K) of the points.
        views_used: (N, K) number of views behind each point.
        pixels: (N, C, K, 2) full-resolution px found in each view; NaN in a view without image.
        view_confidences: (N, C, K).
        true_pixels: (N, C, K, 2) projected truth, NaN outside the image.
        widths: (N, C) of the images, px.
        seconds: (N,) duration of detector and triangulator.
    """

    names: list[str]
    truth: Array
    points: Array
    covariances: Array
    status: npt.NDArray[np.int_]
    confidences: Array
    views_used: npt.NDArray[np.int_]
    pixels: Array
    view_confidences: Array
    true_pixels: Array
    widths: Array
    seconds: Array

    @property
    def errors(self) -> Array:
        """(N, K) distances to the truth, m, infinite where refused, NaN where it is unknown."""
        distance = np.linalg.norm(self.points - self.truth, axis=-1)
        distance = np.where(np.isfinite(distance), distance, np.inf)
        return np.where(np.isfinite(self.truth).all(-1), distance, np.nan)

    @property
    def pixel_errors(self) -> Array:
        """(N, C, K) full-resolution px between a view's keypoint and the truth; NaN outside."""
        return np.asarray(np.linalg.norm(self.pixels - self.true_pixels, axis=-1))


def figures(results: Results) -> dict[str, Any]:
    """All figures of the protocol, lengths in mm.

    Returns:
        ``scenes``; ``keypoints`` by name; ``all``: the same of all keypoints together;
        ``reliability`` of the confidences, in space and in single views; ``latency_ms``.
    """
    partner = mirror_names(results.names)
    count = len(results.names)
    out: dict[str, Any] = {"scenes": len(results.truth), "keypoints": {}}
    for k, name in enumerate(results.names):
        entry = {**_errors(results, [k]), **_in_object_frame(results, k), **_honesty(results, [k])}
        if partner[k] != k:
            entry["swap_fraction"] = _swaps(results, k, partner[k])
        out["keypoints"][name] = entry
    out["all"] = {**_errors(results, range(count)), **_honesty(results, range(count))}
    swaps = [
        entry["swap_fraction"] for entry in out["keypoints"].values() if "swap_fraction" in entry
    ]
    if swaps:
        out["all"]["swap_fraction"] = float(np.mean(swaps))
    out["reliability"] = {"space": _reliability_in_space(results), "views": _in_views(results)}
    out["latency_ms"] = {
        "p50": float(np.median(results.seconds) * 1e3),
        "p99": float(np.quantile(results.seconds, 0.99) * 1e3),
    }
    return out


def _errors(results: Results, keypoints: list[int] | range) -> dict[str, Any]:
    errors = results.errors[:, keypoints]
    errors = errors[~np.isnan(errors)]
    if not len(errors):
        return dict.fromkeys(("median_mm", "p95_mm", "valid_fraction", "within_10_mm",
                              "gross_fraction", "rms_px", "rms_px_at_128"))  # fmt: skip
    finite = np.isfinite(errors)
    pixels = results.pixel_errors[:, :, keypoints]
    scaled = pixels * (PAPER_WIDTH_PX / results.widths)[:, :, None]
    return {
        "median_mm": _quantile(errors, 0.5),
        "p95_mm": _quantile(errors, 0.95),
        "valid_fraction": float(finite.mean()),
        "within_10_mm": float((errors < 0.010).mean()),
        "gross_fraction": float((finite & (errors > INLIER_M)).mean()),
        "rms_px": _rms(pixels),
        "rms_px_at_128": _rms(scaled),
    }


def _quantile(errors: Array, level: float) -> float | None:
    """Quantile in mm over all scenes, refused ones as infinite; None when it is infinite."""
    value = float(np.sort(errors)[min(len(errors) - 1, int(level * len(errors)))])
    return value * 1e3 if np.isfinite(value) else None


def _rms(errors: Array) -> float | None:
    known = errors[np.isfinite(errors)]
    return float(np.sqrt((known**2).mean())) if len(known) else None


def _swaps(results: Results, k: int, partner: int) -> float:
    """Part of all scenes in which keypoint k lies nearer to the truth of its mirror image."""
    own = results.errors[:, k]
    other = np.linalg.norm(results.points[:, k] - results.truth[:, partner], axis=-1)
    return float((np.isfinite(own) & (other < own)).mean())


def object_axes(points: Array) -> Array:
    """(N, 3, 3) rows x, y, z of the object's frame, made of keypoints (N, K, 3).

    x points from their mean to the first one, level; z up.
    """
    x = points[:, 0] - points.mean(1)
    x[:, 2] = 0
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    z = np.broadcast_to(np.array([0.0, 0.0, 1.0]), x.shape)
    return np.stack([x, np.cross(z, x), z], axis=1)


def _in_object_frame(results: Results, k: int) -> dict[str, list[float]]:
    """Bias and spread in mm of the inliers in the object's frame."""
    axes = object_axes(results.truth)
    good = (results.errors[:, k] < INLIER_M) & np.isfinite(axes).all((1, 2))
    local = np.einsum("nij,nj->ni", axes[good], (results.points - results.truth)[good, k]) * 1e3
    if len(local) < 2:
        return {"bias_mm": [], "spread_mm": []}
    return {
        "bias_mm": [round(float(v), 2) for v in local.mean(0)],
        "spread_mm": [round(float(v), 2) for v in local.std(0)],
    }


def _honesty(results: Results, keypoints: list[int] | range) -> dict[str, Any]:
    """Coverage of the regions, also by number of views, and sharpness, of the valid ones."""
    valid = np.isfinite(results.errors[:, keypoints])
    difference = (results.points - results.truth)[:, keypoints][valid]
    covariance = results.covariances[:, keypoints][valid]
    views = results.views_used[:, keypoints][valid]
    distance = squared_distances(difference, covariance)
    inlier = np.linalg.norm(difference, axis=1) < INLIER_M
    return {
        "coverage": _coverage(distance),
        "coverage_by_views": {
            str(n): {"keypoints": int((views == n).sum()), **_coverage(distance[views == n])}
            for n in np.unique(views)
        },
        "sharpness": _sharpness(difference[inlier], covariance[inlier]),
    }


def squared_distances(difference: Array, covariance: Array) -> Array:
    """(N,) squared Mahalanobis distances of differences (N, 3) under covariances (N, 3, 3)."""
    solved = np.linalg.solve(covariance, difference[..., None])[..., 0]
    return np.asarray(np.einsum("ni,ni->n", difference, solved))


def _coverage(distance: Array) -> dict[str, float]:
    if len(distance) < 2:
        return {}
    return {f"{level:g}": float((distance < chi2.ppf(level, 3)).mean()) for level in LEVELS}


def _sharpness(difference: Array, covariance: Array) -> float | None:
    """Predicted over actual RMS error."""
    if len(difference) < 2:
        return None
    predicted = np.sqrt(np.trace(covariance, axis1=1, axis2=2).mean())
    actual = np.sqrt((difference**2).sum(1).mean())
    return float(predicted / max(actual, 1e-9))


def _reliability_in_space(results: Results) -> dict[str, Any]:
    """Of the valid keypoints: gross is a distance above `INLIER_M`."""
    valid = np.isfinite(results.errors)
    return _reliability(results.confidences[valid], results.errors[valid] > INLIER_M)


def _in_views(results: Results) -> dict[str, Any]:
    """Of all views that have the keypoint in the image, also where it is hidden."""
    errors = results.pixel_errors
    known = np.isfinite(errors)
    gross = np.maximum(GROSS_FRACTION * results.widths, LEAST_GROSS_PX)[:, :, None]
    return _reliability(results.view_confidences[known], (errors > gross)[known])


def _reliability(confidences: Array, gross: BoolArray) -> dict[str, Any]:
    """Expected and observed rates of gross errors, in all and by confidence."""
    if not len(confidences):
        return {"expected": None, "observed": None, "bins": []}
    where = np.clip(np.searchsorted(_BINS, confidences, side="right") - 1, 0, len(_BINS) - 2)
    bins = [
        {
            "from": _BINS[i],
            "to": _BINS[i + 1],
            "count": int((where == i).sum()),
            "expected": float(1.0 - confidences[where == i].mean()),
            "observed": float(gross[where == i].mean()),
        }
        for i in np.unique(where)
    ]
    return {
        "expected": float(1.0 - confidences.mean()),
        "observed": float(gross.mean()),
        "bins": bins,
    }


def table(found: dict[str, Any]) -> str:
    """The figures as text."""
    head = f"{'keypoint':18} {'median':>7} {'p95':>7} {'valid':>6} {'swap':>6} {'gross':>6}"
    lines = [head + f" {'px':>6}   bias x, y, z      spread x, y, z     cover 50/90/95      sharp"]
    for name, entry in {**found["keypoints"], "all": found["all"]}.items():
        lines.append(_row(name, entry))
    for views, cover in found["all"]["coverage_by_views"].items():
        levels = " ".join(f"{100 * cover[f'{v:g}']:5.1f}" for v in LEVELS if f"{v:g}" in cover)
        lines.append(f"{views} views: {cover['keypoints']} keypoints, cover 50/90/95 {levels}")
    for place, entry in found["reliability"].items():
        if entry["bins"]:
            lines.append(_reliability_line(place, entry))
    latency = found["latency_ms"]
    lines.append(
        f"{found['scenes']} scenes; detector and triangulator {latency['p50']:.0f} ms median, "
        f"{latency['p99']:.0f} ms p99"
    )
    return "\n".join(lines)


def _row(name: str, entry: dict[str, Any]) -> str:
    def number(key: str, digits: int = 1, scale: float = 1.0, unit: str = "") -> str:
        value = entry.get(key)
        return "-" if value is None else f"{scale * value:.{digits}f}{unit}"

    bias, spread = (
        " ".join(f"{v:5.1f}" for v in entry.get(key, [])) or " " * 17
        for key in ("bias_mm", "spread_mm")
    )
    cover = " ".join(f"{100 * v:5.1f}" for v in entry["coverage"].values()) or " " * 17
    percent = [
        f"{number(f'{key}_fraction', 1, 100.0, '%'):>6}" for key in ("valid", "swap", "gross")
    ]
    return (
        f"{name:18} {number('median_mm'):>7} {number('p95_mm'):>7} {' '.join(percent)} "
        f"{number('rms_px', 2):>6}   {bias}   {spread}   {cover}   {number('sharpness', 2)}"
    )


def _reliability_line(place: str, entry: dict[str, Any]) -> str:
    bins = "; ".join(
        f"{b['from']:g}-{b['to']:g}: {100 * b['expected']:.1f}/{100 * b['observed']:.1f} % of "
        f"{b['count']}"
        for b in entry["bins"]
    )
    return (
        f"gross errors in {place}, expected/observed: {100 * entry['expected']:.2f}/"
        f"{100 * entry['observed']:.2f} %  (by confidence: {bins})"
    )
