"""How well a few labels fix the common mode: `s3k bench uncertainty`.

No network: worlds whose truth is known, with an error that is fixed to an object that turns, errors
that change from scene to scene, clicks, and networks of folds that are a little off the shipped
one. The estimator of `s3k calibrate` sees the labels; its regions are tested on other scenes.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from s3k_ros.errors import ConfigurationError
from s3k_ros.results import Result, Target
from s3k_ros.training.uncertainty.common_mode import HeldOut, common_mode

Array = npt.NDArray[np.float64]

LEVELS = np.array([0.5, 0.9, 0.95])
KEYPOINTS = 5
GEOMETRY_M = np.array([1.4e-3, 1.4e-3, 2.0e-3])
"""Standard deviations that the geometry explains, of four views of a plush toy at 640 px."""
LABELS = (10, 20, 40, 100)
CLICKS_M = (0.5e-3, 2e-3)
_MOST_OFF = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k bench uncertainty`."""
    parser.add_argument("--worlds", type=int, default=200, help="worlds a figure")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> Result:
    """Coverage on average over worlds, and its scatter, by labels and clicks.

    Raises:
        ConfigurationError: a number out of range.
    """
    if not 10 <= args.worlds <= 100_000:
        raise ConfigurationError(f"--worlds = {args.worlds} must be within 10..100000")
    figures, targets = {}, []
    for labels in LABELS:
        for click in CLICKS_M:
            name = f"{labels} labels, clicks of {1e3 * click:g} mm"
            figures[name] = _figures(args.seed, args.worlds, labels, click)
            off = max(abs(v) for v in figures[name]["coverage_off_points"])
            targets.append(Target.at_most(f"coverage, {name}", off, _MOST_OFF, "points"))
    return Result.of_this_run(
        name="uncertainty",
        seed=args.seed,
        figures=figures,
        targets=targets,
    )


def _figures(seed: int, worlds: int, labels: int, click_m: float) -> dict[str, Any]:
    found = [honesty(make_world(seed + i, labels, click_m)) for i in range(worlds)]
    coverage = np.array([c for c, _ in found])
    sharpness = np.array([s for _, s in found])
    together = np.exp(np.log(sharpness).mean(1))
    low, high = np.quantile(together, [0.05, 0.95])
    return {
        "coverage_off_points": [round(float(v), 2) for v in _off(coverage)],
        "sharpness": round(float(sharpness.mean()), 3),
        "sharpness_of_all_5_to_95_percent": [round(float(low), 3), round(float(high), 3)],
        "scatter_of_a_keypoint": round(float(sharpness.std()), 3),
    }


def _off(coverage: Array) -> Array:
    """(3,) percentage points off the levels, on average, for (W, K, 3)."""
    return np.asarray(100 * (coverage.mean((0, 1)) - LEVELS))


@dataclasses.dataclass(frozen=True)
class World:
    """Held-out errors of labelled samples, and the errors of the shipped network elsewhere."""

    held_out: HeldOut
    errors: Array


def make_world(
    seed: int, labels: int = 10, click_m: float = 2e-3, apart_m: float = 1.5e-3, folds: int = 5
) -> World:
    """An object that turns, with a bias fixed to it; folds that are a little off the final network.

    Half of the common mode is bias, half changes from scene to scene; keypoints differ by factors.
    """
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.normal(0.0, 0.4, KEYPOINTS))[:, np.newaxis]
    bias = rng.normal(0.0, 1.3e-3, (KEYPOINTS, 3)) * scale
    fold_bias = rng.normal(0.0, apart_m / np.sqrt(2), (folds, KEYPOINTS, 3)) * scale

    def turned(yaw: Array, fixed: Array) -> Array:
        c, s = np.cos(yaw), np.sin(yaw)
        zero, one = np.zeros_like(yaw), np.ones_like(yaw)
        rows = np.array([[c, -s, zero], [s, c, zero], [zero, zero, one]])
        return np.einsum("ijn,nkj->nki", rows, np.broadcast_to(fixed, (len(yaw), KEYPOINTS, 3)))

    def noise(count: int, size: float | Array) -> Array:
        return rng.normal(0.0, 1.0, (count, KEYPOINTS, 3)) * size

    def errors(yaw: Array) -> Array:
        own = noise(len(yaw), 1.3e-3) * scale + noise(len(yaw), GEOMETRY_M)
        return turned(yaw, bias) + own

    yaw = rng.uniform(-np.pi, np.pi, labels)
    fold = np.arange(labels) % folds
    apart = turned(yaw, fold_bias[fold]) + noise(labels, apart_m / np.sqrt(2)) * scale
    held = errors(yaw) + apart - noise(labels, click_m)
    explained = GEOMETRY_M**2 + click_m**2 + (apart_m * scale) ** 2
    return World(
        HeldOut(held, np.broadcast_to(explained, held.shape).copy(), np.ones((labels, KEYPOINTS))),
        errors(rng.uniform(-np.pi, np.pi, 400)),
    )


def honesty(world: World, held_out: HeldOut | None = None) -> tuple[Array, Array]:
    """Coverage (K, 3) of the 50/90/95 % regions and sharpness (K,) on the other scenes."""
    common = np.diagonal(common_mode(held_out or world.held_out), axis1=1, axis2=2)
    variance = GEOMETRY_M**2 + common
    distance = (world.errors**2 / variance).sum(-1)
    coverage = (distance[..., np.newaxis] < chi2.ppf(LEVELS, 3)).mean(0)
    return coverage, np.sqrt(variance.sum(-1) / (world.errors**2).sum(-1).mean(0))
