"""Rendering of a dataset against a bare MuJoCo loop on the same scenes: `s3k bench render`.

Both render the same scenes with the same model. The bare loop is `mujoco.Renderer`: for scenes that
have been put up it calls ``update_scene`` and ``render`` for each camera, and drops the pictures.
Ours draws the scenes, renders them, encodes the images and writes the dataset.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path

from s3k_ros.errors import ConfigurationError
from s3k_ros.results import Result, Target, machine_description, source_commit
from s3k_ros.simulation import dataset, dataset_options, pipeline, tiles
from s3k_ros.simulation.object_scene import ObjectSceneRenderer, ObjectSceneSpec, RandomRig

LEAST_SHARE = 0.9
LABEL_EVERY = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k bench render`."""
    parser.add_argument("--object", default="box", help="as of s3k dataset render")
    parser.add_argument("--width", type=int, default=128, help="image width and height, px")
    parser.add_argument("--samples", type=int, default=100, help="a round, four images each")
    parser.add_argument("--rounds", type=int, default=9, help="of each kind, in turn")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> Result:
    """Measures both in turn; medians over the rounds.

    Raises:
        ConfigurationError: a number out of range.
    """
    for name, low, high in (("samples", 1, 100_000), ("rounds", 1, 1000), ("seed", 0, 2**48)):
        if not low <= getattr(args, name) <= high:
            value = getattr(args, name)
            raise ConfigurationError(f"--{name} = {value} must be within {low}..{high}")
    objects = tuple(dataset_options.load_objects([args.object], []))
    spec = ObjectSceneSpec(objects, rig=RandomRig(args.width, args.width))
    seeds = range(args.seed, args.seed + args.samples)
    with contextlib.ExitStack() as stack:
        renderer = stack.enter_context(contextlib.closing(ObjectSceneRenderer(spec)))
        bare = stack.enter_context(
            tiles.plain_renderer(renderer.scene.model, args.width, args.width)
        )
        # The first images wait for textures, the first tables for their library.
        _bare_rate(bare, renderer, seeds[:4])
        _written_rate(renderer, seeds[:4])
        rates = [
            (_bare_rate(bare, renderer, seeds), _written_rate(renderer, seeds))
            for _ in range(args.rounds)
        ]
    alone, ours = (statistics.median(kind) for kind in zip(*rates, strict=True))
    share = ours / alone
    return Result(
        name="render",
        command=shlex.join(["s3k", *sys.argv[1:]]),
        seed=args.seed,
        commit=source_commit(),
        machine=machine_description(),
        figures={
            "object": args.object,
            "image_px": args.width,
            "antialiasing": spec.antialiasing,
            "images_per_sample": spec.rig.count,
            "samples_per_s_bare": alone,
            "samples_per_s_written": ours,
            "images_per_s_written": ours * spec.rig.count,
            "rates_bare_and_written": rates,
        },
        targets=(Target.at_least("written rate over bare rate", share, LEAST_SHARE, "ratio"),),
    )


def _bare_rate(bare: tiles.PlainRenderer, renderer: ObjectSceneRenderer, seeds: range) -> float:
    """Samples a second of MuJoCo alone: scenes are put up outside the measured time."""
    spent = 0.0
    for seed in seeds:
        renderer.show(renderer.planner.plan(seed))
        start = time.perf_counter()
        for camera in range(renderer.spec.rig.count):
            bare.update_scene(renderer.scene.data, camera)
            bare.render()
        spent += time.perf_counter() - start
    return len(seeds) / spent


def _written_rate(renderer: ObjectSceneRenderer, seeds: range) -> float:
    """Samples a second of ours, from drawing the scenes to the finished dataset on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        writer = dataset.writer_of(renderer, Path(folder) / "dataset", {})
        shots = pipeline.object_shots(renderer, seeds, lambda i: i % LABEL_EVERY == 0, seeds.start)
        pipeline.write_shots(shots, writer, None)
        return len(seeds) / (time.perf_counter() - start)
