"""From the exposure to keypoints in space: `s3k bench pipeline`.

Three parts on rendered pictures of the model's object, four views of 1280 x 960. `memory`: images
in memory to keypoints, without ROS. `fused`: four cameras, the node `perception`, and a process
that receives its keypoints. `separate`: the same with `camera_rig`, `keypoint_detector` and
`triangulator`. The cameras are fake (`cameras/fake.py`), with frames in Bayer's pattern that arrive
4 to 6 ms after the exposure; the rig that drives them, its threads, pairing and debayering are the
real ones. Latency counts from the exposure's stamp to the listener's callback.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from s3k_ros.bench import pictures
from s3k_ros.calibration.rig_file import rig_text
from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.params.perception import DetectorParameters
from s3k_ros.perception.detector import KeypointDetector
from s3k_ros.perception.parity import LIMIT_PX, distances
from s3k_ros.perception.session import CPU
from s3k_ros.perception.triangulator import KeypointTriangulator
from s3k_ros.results import Result, Target

PARTS = ("memory", "fused", "separate")
SCENES = 4
SETTLE_S = 5.0
# What the processes may take beyond that: starts of Python, models, discovery, the end.
PATIENCE_S = 120.0
# Tests and other benchmarks use those above.
DOMAINS = range(20, 40)
# Coarse stage, crop stage and geometry may take this much of a set's 60 ms.
MEMORY_MS = 45.0


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is agreed.

    Attributes:
        fused_hz, separate_hz: least rates.
        fused_ms: 99 % of the keypoints of the fused node come within this.
        source_hz: rate of the cameras, a little above what is asked for.
    """

    fused_hz: float
    separate_hz: float
    fused_ms: float
    source_hz: float


ON_CPU = Limits(20.0, 12.0, 60.0, 21.0)
ON_GPU = Limits(54.0, 12.0, 18.5, 56.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k bench pipeline`."""
    defaults = DetectorParameters()
    parser.add_argument("--seconds", type=float, default=60.0, help="of each part with ROS")
    parser.add_argument("--settle", type=float, default=SETTLE_S, help="seconds before that")
    parser.add_argument("--model", default="models/plush_fox.onnx", help="of the fox or the box")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=300, help="sets of the part memory")
    parser.add_argument("--rate", type=float, help="of the cameras, Hz; default: 21, 56 on a GPU")
    parser.add_argument("--width", type=int, default=1280, help="px; the height is 3/4 of it")
    parser.add_argument("--threads", type=int, default=defaults.threads)
    parser.add_argument("--provider", default=defaults.provider)
    parser.add_argument("--precision", default=defaults.precision)
    parser.add_argument("--seed", type=int, default=0, help="of the scenes")


def run(args: argparse.Namespace) -> Result:
    """Measures the parts one after the other.

    Raises:
        ConfigurationError: an argument out of range, or no scenes of the model's object.
        DataError: one of the processes failed; the message has what it said.
    """
    if args.seconds <= 0.0 or args.rounds < 1 or (args.rate or 1.0) <= 0.0:
        raise ConfigurationError("--seconds, --rounds and --rate must be positive")
    params = DetectorParameters(
        threads=args.threads, provider=args.provider, precision=args.precision
    )
    detector = KeypointDetector.load(args.model, params)
    limits = ON_CPU if detector.model.provider == CPU else ON_GPU
    if args.rate:
        limits = dataclasses.replace(limits, source_hz=args.rate)
    shown = pictures.draw(detector.model.description.object_id, SCENES, args.width, args.seed)
    figures: dict[str, Any] = {
        "model": detector.model.name,
        "provider": f"{detector.model.provider}, {detector.model.precision}",
        "fallback": detector.model.fallback,
        "views": f"{len(shown.cameras)} x {args.width} x {args.width * 3 // 4} px",
        "threads": args.threads,
        "source_hz": limits.source_hz,
    }
    targets: list[Target] = []
    if "memory" in args.parts:
        figures["memory"], found = _memory(detector, shown, params, args.rounds)
        targets += found
    del detector
    with tempfile.TemporaryDirectory() as folder:
        model = Path(args.model).resolve()
        cell = _Cell(Path(folder), model, params, limits, args.seconds, args.settle)
        cell.write(shown)
        for part in ("fused", "separate"):
            if part in args.parts:
                figures[part] = cell.measure(part)
                targets += _targets(part, figures[part], limits)
    return Result.of_this_run(
        name="pipeline",
        seed=args.seed,
        figures=figures,
        targets=targets,
    )


def _targets(part: str, figures: Mapping[str, Any], limits: Limits) -> list[Target]:
    least = limits.fused_hz if part == "fused" else limits.separate_hz
    targets = [Target.at_least(f"rate, {part}", figures["rate_hz"], least, "Hz")]
    if part == "fused":
        latency = figures["latency_ms_p99"]
        targets.append(
            Target.at_most("exposure to message, fused, p99", latency, limits.fused_ms, "ms")
        )
    return targets


def _memory(
    detector: KeypointDetector, shown: pictures.Pictures, params: DetectorParameters, rounds: int
) -> tuple[dict[str, Any], list[Target]]:
    """Images in memory to keypoints in space."""
    triangulator = KeypointTriangulator.from_description(detector.model.description)
    cameras = list(shown.cameras)
    stages: list[list[float]] = []
    walls, used = [], time.process_time()
    misses: list[float] = []
    for i in range(rounds + 10):
        if i == 10:  # the first ones warm up
            used, stages, walls = time.process_time(), [], []
        scene = i % len(shown.images)
        begun = time.perf_counter()
        views = detector.detect(list(shown.images[scene]))
        detected = time.perf_counter()
        found = triangulator.estimate(cameras, views)
        ended = time.perf_counter()
        stages.append([*dataclasses.astuple(detector.timings), ended - detected])
        walls.append(1e3 * (ended - begun))
        positions = np.array([estimate.position for estimate in found])
        misses += list(np.linalg.norm(positions - shown.keypoints[scene], axis=1))
    used = time.process_time() - used
    names = [f.name.removesuffix("_s") for f in dataclasses.fields(detector.timings)]
    medians = 1e3 * np.median(stages, axis=0)
    p99 = float(np.quantile(walls, 0.99))
    figures = {
        "sets": rounds,
        "ms_median": float(np.median(walls)),
        "ms_p99": p99,
        "processor_ms_a_set": 1e3 * used / rounds,
        "stages_ms_median": dict(zip([*names, "triangulate"], medians, strict=True)),
        "keypoints_found_percent": 100.0 * float(np.isfinite(misses).mean()),
        "error_mm_median": 1e3 * float(np.nanmedian(misses)),
    }
    targets = []
    if detector.model.provider == CPU:
        name = "coarse, crop and geometry, in memory, p99"
        targets.append(Target.at_most(name, p99, MEMORY_MS, "ms"))
    else:
        figures["parity_px"] = parity = _parity(detector, shown, params)
        targets.append(Target.at_most("distance from CPU in fp32", parity, LIMIT_PX, "px"))
    return figures, targets


def _parity(
    detector: KeypointDetector, shown: pictures.Pictures, params: DetectorParameters
) -> float:
    """Largest distance of a confident keypoint from that of the CPU in fp32, px."""
    reference = detector.model.reference
    assert reference is not None
    expected = KeypointDetector(reference)
    found = [np.zeros(1)]
    for images in shown.images:
        pairs = zip(detector.detect(list(images)), expected.detect(list(images)), strict=True)
        good = [(a, b) for a, b in pairs if a is not None and b is not None]
        found.append(distances([a for a, _ in good], [b for _, b in good]))
    return float(np.concatenate(found).max())


@dataclasses.dataclass(frozen=True)
class _Cell:
    """Nodes on cameras that show the pictures in a folder."""

    folder: Path
    model: Path
    detector: DetectorParameters
    limits: Limits
    seconds: float
    settle_s: float

    def write(self, shown: pictures.Pictures) -> None:
        """Puts pictures and calibration where the nodes look for them."""
        from s3k_ros.bench.ros_pipeline import mosaic

        np.save(self.folder / "pictures.npy", mosaic(shown.images))
        (self.folder / "rig.yaml").write_text(rig_text(shown.cameras, "base"))
        names = [camera.name for camera in shown.cameras]
        (self.folder / "cameras.json").write_text(json.dumps(names))

    def measure(self, part: str) -> dict[str, Any]:
        """Runs the nodes of a part and a listener."""
        names = {"fused": ["perception"]}.get(
            part, ["camera_rig", "keypoint_detector", "triangulator"]
        )
        with contextlib.ExitStack() as stack:
            domain = DOMAINS[(os.getpid() + (part == "fused")) % len(DOMAINS)]
            environment = self._environment(domain)
            nodes = {
                name: stack.enter_context(self._node(name, environment))
                for name in ["rig_description", *names]
            }
            job = {
                "seconds": self.seconds,
                "settle_s": self.settle_s,
                "pids": {name: process.pid for name, process in nodes.items()},
            }
            try:
                heard = self._listen(job, environment)
            except DataError as error:
                logs = [p.read_text(errors="replace") for p in self.folder.glob("*.log")]
                raise DataError(f"{error}: {' '.join(logs)[-1000:]}") from None
        return _figures(heard)

    def _environment(self, domain: int) -> dict[str, str]:
        from s3k_ros.bench.ros_pipeline import profile

        return os.environ | {
            "ROS_DOMAIN_ID": str(domain),
            "FASTRTPS_DEFAULT_PROFILES_FILE": profile(),
        }

    @contextlib.contextmanager
    def _node(self, name: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "s3k_ros.bench.ros_pipeline", name]
        command += [str(self.folder / "pictures.npy"), "--ros-args"]
        for key, value in self._parameters(name).items():
            command += ["-p", f"{key}:={value}"]
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
            try:
                yield process
            finally:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(10.0)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _parameters(self, name: str) -> dict[str, Any]:
        cameras = (self.folder / "cameras.json").read_text()
        rig = {"cameras": cameras, "rig": self.folder / "rig.yaml"}
        source = {**rig, "camera.frame_rate_hz": self.limits.source_hz}
        network = {
            "model": self.model,
            **{
                f"detector.{key}": getattr(self.detector, key)
                for key in ("threads", "provider", "precision")
            },
        }
        return {
            "rig_description": {"rig": self.folder / "rig.yaml"},
            "perception": {**source, **network},
            "camera_rig": source,
            "keypoint_detector": {"cameras": cameras, **network},
            "triangulator": {"cameras": cameras, "model": self.model},
        }[name]

    def _listen(self, job: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
        command = [sys.executable, "-m", "s3k_ros.bench.ros_pipeline", "listen", json.dumps(job)]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True,
                timeout=self.seconds + PATIENCE_S,
            )  # fmt: skip
            heard: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        except subprocess.TimeoutExpired:
            raise DataError("the listener did not end") from None
        except (ValueError, IndexError):
            raise DataError(f"the listener failed: {done.stderr.strip()[-300:]}") from None
        return heard


def _figures(heard: dict[str, Any]) -> dict[str, Any]:
    """Rate, latency, processor time and stages of what was received."""
    ids, latencies, times, good = (np.array(column) for column in zip(*heard["sets"], strict=True))
    span = times[-1] - times[0] if len(times) > 1 else np.nan
    told = heard["diagnostics"]

    def value(ending: str) -> float:
        """Median of a diagnostic value, in whichever node it is."""
        return next((v for name, v in told.items() if name.endswith(ending)), float("nan"))

    stages = {name: value(f"model: {name}_ms") for name in ("prepare", "coarse", "crop", "decode")}
    until_2d = value("sets: latency_ms_median")
    return {
        "sets": len(ids),
        "lost_percent": 100.0 * (1.0 - len(ids) / (ids[-1] - ids[0] + 1)),
        "rate_hz": (len(times) - 1) / span,
        "latency_ms_median": float(np.median(latencies)),
        "latency_ms_p99": float(np.quantile(latencies, 0.99)),
        "latency_ms_max": float(latencies.max()),
        "keypoints_a_set": float(good.mean()),
        "stages_ms_median": {
            "exposure to detector": until_2d - sum(stages.values()),
            **stages,
            "triangulate and deliver": float(np.median(latencies)) - until_2d,
        },
        "processor_ms_a_set": {
            name: 1e3 * used / len(ids) for name, used in heard["processor_s"].items()
        },
    }
