"""Cost of the self-supervised loss: `s3k bench training`.

A step of the plain method (labelled and unlabelled samples) is held against a supervised step of
the same batch (the same number of samples, all labelled); both with every other idea off. The
steps take turns, so that a busy machine slows both. The best configuration's step is told beside.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.camera import Camera, look_at
from s3k_ros.params.training import TrainingParameters
from s3k_ros.results import Result, Target
from s3k_ros.training.inputs.sources import Sources
from s3k_ros.training.inputs.views import ViewSet, frames, geometry, stack_geometry
from s3k_ros.training.run.devices import make_fabric
from s3k_ros.training.run.loop import Trainer, deterministic

MOST = 1.15
"""A self-supervised step over a supervised one."""

_SAMPLES = 64
_KEYPOINTS = ("corner_a", "corner_b", "corner_c")
_WARM_STEPS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k bench training`."""
    parser.add_argument("--size", type=int, default=128, help="width of the network's input, px")
    parser.add_argument("--labelled", type=int, default=2, help="samples a batch, 4 views each")
    parser.add_argument("--unlabelled", type=int, default=6, help="samples a batch, 4 views each")
    parser.add_argument("--steps", type=int, default=10, help="of each kind in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--accelerator", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--compile", action="store_true", help="compile the network")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> Result:
    """Measures the kinds of steps in turn; ratios are medians over the rounds.

    Raises:
        ConfigurationError: a number out of range.
    """
    for name, low in (("steps", 1), ("rounds", 1), ("labelled", 1), ("unlabelled", 1)):
        if getattr(args, name) < low:
            raise ConfigurationError(f"--{name} = {getattr(args, name)} must be at least {low}")
    kinds = parameters(args)
    before = torch.get_num_threads()
    torch.set_num_threads(args.threads)
    try:
        with deterministic(), tempfile.TemporaryDirectory() as folder:
            trainers = {k: _trainer(p, Path(folder) / k, args.seed) for k, p in kinds.items()}
            for trainer in trainers.values():
                for _ in range(_WARM_STEPS):
                    _timed(trainer)
            rounds = [_round(trainers, args.steps) for _ in range(args.rounds)]
    finally:
        torch.set_num_threads(before)
    ratio = statistics.median(r["s3k"] / r["supervised"] for r in rounds)
    best = statistics.median(r["best"] / r["supervised"] for r in rounds)
    return Result.of_this_run(
        name="training",
        seed=args.seed,
        figures={
            "input_px": args.size,
            "samples_per_step": args.labelled + args.unlabelled,
            "views_per_sample": 4,
            "threads": args.threads,
            "step_ms": {k: 1e3 * statistics.median(r[k] for r in rounds) for k in kinds},
            "s3k_over_supervised": ratio,
            "best_over_supervised": best,
        },
        targets=(Target.at_most("S3K step over supervised step", ratio, MOST, "ratio"),),
    )


def parameters(args: argparse.Namespace) -> dict[str, TrainingParameters]:
    """A supervised run, the plain method, and the best configuration, on batches of one size."""
    best = TrainingParameters(
        seed=args.seed,
        accelerator=args.accelerator,
        threads=args.threads,
        compile=args.compile,
        input_height=args.size,
        input_width=args.size,
        labelled_samples=args.labelled,
        unlabelled_samples=args.unlabelled,
        warmup_steps=0,
        ramp_steps=0,
        teacher_turns=1,
        shape="rigid",
    )
    plain = dataclasses.replace(
        best, teacher=False, gate=False, shape="none", augment=False, photometric=0.0, cutout=0.0
    )
    samples = args.labelled + args.unlabelled
    supervised = dataclasses.replace(plain, labelled_samples=samples, unlabelled_samples=0)
    return {"supervised": supervised, "s3k": plain, "best": best}


def _round(trainers: dict[str, Trainer], steps: int) -> dict[str, float]:
    """Median seconds a step of each kind; the kinds take turns."""
    found: dict[str, list[float]] = {kind: [] for kind in trainers}
    for _ in range(steps):
        for kind, trainer in trainers.items():
            found[kind].append(_timed(trainer))
    return {kind: statistics.median(times) for kind, times in found.items()}


def _timed(trainer: Trainer) -> float:
    begun = time.perf_counter()
    float(trainer.train_step().total.detach())  # waits for the device
    return time.perf_counter() - begun


def _trainer(params: TrainingParameters, out: Path, seed: int) -> Trainer:
    fabric = make_fabric(params)
    sources = made_up_sources(params, seed)
    sources = dataclasses.replace(sources, views=sources.views.to(fabric.device))
    return Trainer(fabric, sources, list(_KEYPOINTS), params, out, {}, say=_silent, progress=False)


def _silent(_: str) -> None:
    """Says nothing."""


def made_up_sources(params: TrainingParameters, seed: int) -> Sources:
    """Samples of noise, seen by four cameras, with three points a sample; half are labelled."""
    rng = np.random.default_rng(seed)
    size = params.input_width
    cameras = [_camera(f"camera_{i}", angle, size) for i, angle in enumerate((0.6, 2.1, 3.7, 5.3))]
    kept, aims = frames(cameras, params)
    pixels = rng.integers(0, 256, (_SAMPLES, 4, *kept[0].kept, 3), np.uint8)
    points = np.array([[0.1, 0.0, 0.0], [-0.1, 0.0, 0.0], [0.1, 0.0, 0.1]])
    half = _SAMPLES // 2
    return Sources(
        ViewSet(
            torch.from_numpy(pixels),
            stack_geometry([geometry(cameras, kept, aims)] * _SAMPLES),
            tuple(range(_SAMPLES)),
        ),
        np.arange(half),
        points + rng.uniform(-0.05, 0.05, (half, 1, 3)),
        np.arange(half, _SAMPLES),
    )


def _camera(name: str, angle: float, size: int) -> Camera:
    middle = (size - 1) / 2
    eye = np.array([0.7 * np.cos(angle), 0.7 * np.sin(angle), 0.8])
    return Camera(
        name=name,
        width=size,
        height=size,
        matrix=np.array([[2.0 * size, 0, middle], [0, 2.0 * size, middle], [0, 0, 1]]),
        distortion_model="plumb_bob",
        distortion=np.zeros(5),
        base_from_camera=look_at(eye, np.zeros(3)),
    )
