"""Triangulation against aniposelib on the same points: `s3k bench triangulation`.

Four cameras with distortion see points with 1 px of noise; of a tenth of the points a view is
missing, of another tenth one is up to 120 px off. Ours is `triangulate_robust`: it finds the wrong
views and gives covariances. Each of aniposelib's ways gets the same pixels: plain (DLT of all
views), ``fast`` (median over pairs), RANSAC (the best of all subsets). Cameras are set up before,
the compilers of all are warm, and undistortion is in the time of all. Rounds alternate.

Errors are distances to the truth on the largest set; a refused point counts as a miss, beyond all.
RANSAC takes about 10 ms a point, so of large sets it gets one round.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.camera import Camera, CameraStack, look_at
from s3k_ros.geometry.triangulation import triangulate, triangulate_robust
from s3k_ros.results import Result, Target

Array = npt.NDArray[np.float64]
Method = Callable[[Array], Array]

SIZES = (4, 100, 10_000)
LEAST_FASTER = 10.0
NOISE_PX = 1.0
LENS = (-0.11, 0.02, 0.001, -0.0008, -0.002)
_SHARE = 0.1
"""Of the points, with a missing view; and as many with a wrong one."""
_WRONG_PX = 120.0
_LEAST_ROUND_S = 0.02
"""Short calls are repeated so long, so that the clock does not count."""
_SLOW_S = 1.0
"""What takes longer gets one round."""
OURS, RANSAC = "ours", "RANSAC"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k bench triangulation`."""
    parser.add_argument("--rounds", type=int, default=15, help="of each method, in turn")
    parser.add_argument(
        "--ransac-points", type=int, default=SIZES[-1],
        help="of larger sets RANSAC gets the first so many, and its time is scaled",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> Result:
    """Times by number of points, and errors.

    Raises:
        ConfigurationError: a number out of range.
    """
    for name, low, high in (("rounds", 1, 10_000), ("ransac_points", 1, 10**7)):
        if not low <= getattr(args, name) <= high:
            value = getattr(args, name)
            raise ConfigurationError(
                f"--{name.replace('_', '-')} = {value} must be within {low}..{high}"
            )
    rig = make_rig()
    methods = {OURS: ours(rig, triangulate_robust), **peers(rig)}
    sets = {n: views(rig, n, args.seed) for n in SIZES}
    times: dict[int, dict[str, float]] = {}
    for n, (_, pixels) in sets.items():
        few = pixels[:, : args.ransac_points] if n > args.ransac_points else pixels
        calls = {name: (method, pixels) for name, method in methods.items()}
        calls[RANSAC] = (methods[RANSAC], few)
        times[n] = timed(calls, args.rounds)
        times[n][RANSAC] *= pixels.shape[1] / few.shape[1]
    truth, pixels = sets[SIZES[-1]]
    errors = {
        name: error_figures(methods, name, truth, pixels, args.ransac_points) for name in methods
    }
    plain = timed({"plain": (ours(rig, triangulate), pixels)}, args.rounds)["plain"]
    return Result.of_this_run(
        name="triangulation",
        seed=args.seed,
        figures={
            "cameras": len(rig),
            "ms": {f"{n} points": _scaled(times[n], 1e3) for n in SIZES},
            "ms_ours_without_dropping_views_10000": 1e3 * plain,
            "error_mm": {name: figures for name, (figures, _) in errors.items()},
            "ransac_points": min(args.ransac_points, SIZES[-1]),
        },
        targets=_targets(times, errors),
    )


def _targets(
    times: Mapping[int, Mapping[str, float]],
    errors: Mapping[str, tuple[dict[str, float], dict[str, float]]],
) -> tuple[Target, ...]:
    peer_names = [name for name in errors if name != OURS]
    faster = [
        Target.at_least(
            f"times as fast as {name}, {n} points",
            times[n][name] / times[n][OURS],
            LEAST_FASTER,
            "ratio",
        )
        for n in times
        for name in peer_names
    ]
    nearer = []
    for name in peer_names:
        theirs, same = errors[name]
        nearer += [
            Target.at_most(
                f"error over that of {name}, {kind}", same[kind] / theirs[kind], 1, "ratio"
            )
            for kind in ("median", "p95")
        ]
    return (*faster, *nearer)


def make_rig() -> list[Camera]:
    """Four cameras 1 m around (0.6, 0, 0), 640 x 480 px at f = 393.5 px, with distortion."""
    matrix = np.array([[393.5, 0.0, 319.5], [0.0, 393.5, 239.5], [0.0, 0.0, 1.0]])
    cameras = []
    for i in range(4):
        angle = np.pi * (0.5 * i + 0.25)
        eye = [0.6 + 0.75 * np.cos(angle), 0.75 * np.sin(angle), 0.7 + 0.05 * i]
        pose = look_at(eye, [0.6, 0.0, 0.0])
        cameras.append(Camera(f"cam{i}", 640, 480, matrix, "plumb_bob", np.array(LENS), pose))
    return cameras


def views(rig: list[Camera], count: int, seed: int) -> tuple[Array, Array]:
    """Points (N, 3) and what the cameras say of them (C, N, 2), at least one lie among them."""
    rng = np.random.default_rng(seed)
    truth = np.array([0.6, 0.0, 0.05]) + rng.uniform(-0.1, 0.1, (count, 3))
    pixels = np.array([camera.project(truth) for camera in rig])
    pixels += NOISE_PX * rng.normal(size=pixels.shape)
    affected = max(1, round(_SHARE * count))
    for wrong, points in enumerate(rng.permutation(count)[: 2 * affected].reshape(2, -1)):
        of = rng.integers(len(rig), size=affected)
        off = rng.uniform(-_WRONG_PX, _WRONG_PX, (affected, 2))
        pixels[of, points] += off if wrong else np.nan
    return truth, pixels


def ours(rig: list[Camera], method: Callable[..., Any]) -> Method:
    """Our way with covariances, from pixels (C, N, 2) to points (N, 3)."""
    stack, covariance = CameraStack(rig), NOISE_PX**2 * np.eye(2)

    def points(pixels: Array) -> Array:
        covariances = np.broadcast_to(covariance, (*pixels.shape, 2))
        found: Array = method(stack, pixels, covariances).points
        return found

    return points


def peers(rig: list[Camera]) -> dict[str, Method]:
    """The ways of aniposelib with the same cameras."""
    import cv2
    from aniposelib.cameras import Camera as Peer
    from aniposelib.cameras import CameraGroup

    cameras = []
    for camera in rig:
        rotation = camera.base_from_camera.rotation.T
        cameras.append(
            Peer(
                matrix=camera.matrix,
                dist=camera.distortion,
                size=(camera.width, camera.height),
                rvec=cv2.Rodrigues(rotation)[0].ravel(),
                tvec=-rotation @ camera.centre,
                name=camera.name,
            )
        )
    group = CameraGroup(cameras)
    return {
        "plain": lambda pixels: np.asarray(group.triangulate(pixels)),
        "fast": lambda pixels: np.asarray(group.triangulate(pixels, fast=True)),
        RANSAC: lambda pixels: np.asarray(group.triangulate_ransac(pixels)[0]),
    }


def timed(calls: Mapping[str, tuple[Method, Array]], rounds: int) -> dict[str, float]:
    """Seconds a call, medians over alternating rounds; the first calls are not counted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of points without a pair
        for method, pixels in calls.values():
            method(pixels[:, :4])  # compiles
        first = {name: _seconds(method, pixels, 1) for name, (method, pixels) in calls.items()}
        slow = {name for name, seconds in first.items() if seconds > _SLOW_S}
        again = {name: _seconds(*calls[name], 1) for name in calls if name not in slow}
        taken: dict[str, list[float]] = {
            name: [first[name]] if name in slow else [] for name in calls
        }
        for _ in range(rounds):
            for name, seconds in again.items():
                taken[name].append(_seconds(*calls[name], max(1, round(_LEAST_ROUND_S / seconds))))
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _seconds(method: Method, pixels: Array, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        method(pixels)
    return (time.perf_counter() - start) / calls


def error_figures(
    methods: Mapping[str, Method], name: str, truth: Array, pixels: Array, ransac_points: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Errors of a method, and ours on the same points, mm: median, 95th percentile, refused %."""
    if name == RANSAC:
        truth, pixels = truth[:ransac_points], pixels[:, :ransac_points]

    def figures(method: Method) -> dict[str, float]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            error = 1e3 * np.linalg.norm(method(pixels) - truth, axis=1)
        missed = np.where(np.isfinite(error), error, np.inf)
        # The method "lower" takes a value that is there: none between a number and infinity.
        median, p95 = np.percentile(missed, [50, 95], method="lower")
        refused = 100 * float(np.mean(np.isinf(missed)))
        return {"median": float(median), "p95": float(p95), "refused_percent": refused}

    return figures(methods[name]), figures(methods[OURS])


def _scaled(values: Mapping[str, float], factor: float) -> dict[str, float]:
    return {name: factor * value for name, value in values.items()}
