"""How triangulation's time grows with cameras and keypoints: `s3k bench scaling`.

Two ways: ``set``, what a node does with a set of images (mixture of views, distances between
keypoints known, status and covariance of each), and ``points``, `triangulate_robust` for library
users. Of a tenth of the keypoints one view is wrong by up to 120 px. Every combination is timed in
turn, round by round; figures are medians of the processor's time, which other programs on the
machine hardly change. The cost of a view and keypoint shall stay flat or fall, when cameras are
added and when keypoints are.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.camera import Camera, CameraStack, look_at
from s3k_ros.geometry.triangulation import triangulate_robust
from s3k_ros.perception.description import DistanceDescription
from s3k_ros.perception.detector import ViewKeypoints
from s3k_ros.perception.shape import Shape
from s3k_ros.perception.triangulator import KeypointTriangulator
from s3k_ros.results import Result, Target

Array = npt.NDArray[np.float64]
Times = Mapping[tuple[int, int], float]

CAMERAS = (2, 3, 4, 6, 8)
KEYPOINTS = (1, 2, 4, 8, 16, 32, 64)
MOST_GROWTH = 1.1
"""Flat, as far as a clock can tell."""
LENS = (-0.11, 0.02, 0.001, -0.0008, -0.002)
_EVERY = 10
"""Every tenth keypoint has a wrong view."""
_WRONG_PX = 120.0
_LEAST_ROUND_S = 0.003
"""Short calls are repeated so long, so that the clock does not count."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k bench scaling`."""
    parser.add_argument("--rounds", type=int, default=30, help="of every combination, in turn")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> Result:
    """Times of all combinations.

    Raises:
        ConfigurationError: a number out of range.
    """
    if not 1 <= args.rounds <= 10_000:
        raise ConfigurationError(f"--rounds = {args.rounds} must be within 1..10000")
    sizes = list(itertools.product(CAMERAS, KEYPOINTS))
    scenes = {size: Scene(*size, args.seed) for size in sizes}
    ways = {
        "set": timed({size: scene.set_call() for size, scene in scenes.items()}, args.rounds),
        "points": timed({size: scene.points_call() for size, scene in scenes.items()}, args.rounds),
    }
    targets = []
    for way, times in ways.items():
        for what, axis in (("view", 0), ("keypoint", 1)):
            name = f"growth of the cost of a {what}, {way}"
            targets.append(Target.at_most(name, growth(times, axis), MOST_GROWTH, "ratio"))
    return Result.of_this_run(
        name="scaling",
        seed=args.seed,
        figures={way: _table(times) for way, times in ways.items()},
        targets=targets,
    )


def growth(times: Times, axis: int) -> float:
    """The largest ratio of costs from one number on an axis to the next one, the other kept.

    Args:
        times: seconds by (cameras, keypoints).
        axis: 0: cost of a view as cameras are added; 1: of a keypoint as keypoints are.
    """
    cost = {size: seconds / size[axis] for size, seconds in times.items()}
    numbers = sorted({size[axis] for size in times})
    worst = 0.0
    for fewer, more in itertools.pairwise(numbers):
        for size in times:
            if size[axis] == fewer:
                after = (more, size[1]) if axis == 0 else (size[0], more)
                worst = max(worst, cost[after] / cost[size])
    return worst


class Scene:
    """Cameras around keypoints, and what they say of them."""

    def __init__(self, cameras: int, keypoints: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.rig = make_rig(cameras)
        self.truth = np.array([0.6, 0.0, 0.05]) + rng.uniform(-0.1, 0.1, (keypoints, 3))
        self.pixels = np.array([camera.project(self.truth) for camera in self.rig])
        self.pixels += rng.normal(size=self.pixels.shape)
        liar = rng.integers(cameras, size=keypoints)
        wrong = np.zeros((cameras, keypoints), bool)
        wrong[liar, np.arange(keypoints)] = np.arange(keypoints) % _EVERY == _EVERY - 1
        self.pixels[wrong] += rng.uniform(-_WRONG_PX, _WRONG_PX, (int(wrong.sum()), 2))
        self._confidences = np.where(wrong, 0.6, 0.95)

    def set_call(self) -> Callable[[], Any]:
        """One set of images through the node's triangulator."""
        count = len(self.truth)
        names = [str(k) for k in range(count)]
        triangulator = KeypointTriangulator(names, shape=self._shape())
        covariances = np.broadcast_to(np.eye(2), (count, 2, 2))
        views = [
            ViewKeypoints(pixels, covariances, confidences)
            for pixels, confidences in zip(self.pixels, self._confidences, strict=True)
        ]
        return lambda: triangulator.estimate(self.rig, views)

    def points_call(self) -> Callable[[], Any]:
        """The same as plain points."""
        stack = CameraStack(self.rig)
        covariances = np.broadcast_to(np.eye(2), (*self.pixels.shape, 2))
        return lambda: triangulate_robust(stack, self.pixels, covariances)

    def _shape(self) -> Shape | None:
        """As many distances as fix a rigid body, from each keypoint to the three before it."""
        pairs = [(i, k) for k in range(len(self.truth)) for i in range(max(0, k - 3), k)]
        stated = [
            DistanceDescription(
                (i, k), float(np.linalg.norm(self.truth[i] - self.truth[k])), spread_m=1e-3
            )
            for i, k in pairs
        ]
        return Shape.of(stated) if stated else None


def make_rig(count: int) -> list[Camera]:
    """Cameras 1 m around (0.6, 0, 0), 640 x 480 px at f = 393.5 px, with distortion."""
    matrix = np.array([[393.5, 0.0, 319.5], [0.0, 393.5, 239.5], [0.0, 0.0, 1.0]])
    cameras = []
    for i in range(count):
        angle = 2.0 * np.pi * (i + 0.5) / count + 0.3
        eye = [0.6 + 0.75 * np.cos(angle), 0.75 * np.sin(angle), 0.7 + 0.05 * i]
        pose = look_at(eye, [0.6, 0.0, 0.0])
        cameras.append(Camera(f"cam{i}", 640, 480, matrix, "plumb_bob", np.array(LENS), pose))
    return cameras


def timed(
    calls: Mapping[tuple[int, int], Callable[[], Any]], rounds: int
) -> dict[tuple[int, int], float]:
    """Seconds a call, medians over alternating rounds; the first calls are not counted."""
    repeats = {}
    for size, call in calls.items():
        call()
        repeats[size] = max(1, round(_LEAST_ROUND_S / _seconds(call, 3)))
    taken: dict[tuple[int, int], list[float]] = {size: [] for size in calls}
    for _ in range(rounds):
        for size, call in calls.items():
            taken[size].append(_seconds(call, repeats[size]))
    return {size: statistics.median(seconds) for size, seconds in taken.items()}


def _seconds(call: Callable[[], Any], calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - start) / calls


def _table(times: Times) -> dict[str, Any]:
    """Milliseconds, and microseconds of a view and keypoint, by cameras; a column a keypoints."""
    cameras, keypoints = sorted({c for c, _ in times}), sorted({k for _, k in times})
    return {
        "keypoints": keypoints,
        "ms": {f"{c} cameras": [1e3 * times[c, k] for k in keypoints] for c in cameras},
        "us_of_a_view_and_keypoint": {
            f"{c} cameras": [1e6 * times[c, k] / (c * k) for k in keypoints] for c in cameras
        },
    }
