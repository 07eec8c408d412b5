"""Rendering of a dataset against a bare MuJoCo loop on the same scenes: `s3k bench render`.

The bare loop is `mujoco.Renderer`: for scenes that have been put up it calls ``update_scene`` and
``render`` for each camera, and drops the pictures. Ours is what `s3k dataset render` does: it draws
the scenes, renders them, encodes the images and writes the dataset. Scenes, model, image size and
machine are the same, and each has the whole machine while it runs. Both use all its cores: Mesa's
software renderer draws the bare loop's pictures in as many threads as there are cores, ours renders
in as many processes. Neither the start of a renderer nor its first round is measured.

One bare loop leaves a part of the cores idle, so there is a harder figure beside the agreed one:
bare loops side by side, as many as ours has processes.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from s3k_ros.errors import ConfigurationError
from s3k_ros.results import Result, Target
from s3k_ros.simulation import dataset_options, pipeline, tiles
from s3k_ros.simulation.dataset import ObjectScenes
from s3k_ros.simulation.object_plan import ScenePlan
from s3k_ros.simulation.object_scene import ObjectSceneRenderer, ObjectSceneSpec, RandomRig
from s3k_ros.training.dataset.writer import DatasetWriter

LEAST_SHARE = 0.9
LABEL_EVERY = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k bench render`."""
    parser.add_argument("--object", default="box", help="as of s3k dataset render")
    parser.add_argument("--width", type=int, default=128, help="image width and height, px")
    parser.add_argument("--samples", type=int, default=100, help="a round, four images each")
    parser.add_argument("--rounds", type=int, default=9, help="of each kind, in turn")
    parser.add_argument("--processes", type=int, default=pipeline.most_processes(), help="of ours")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> Result:
    """Measures all kinds in turn; medians over the rounds.

    Raises:
        ConfigurationError: a number out of range.
    """
    for name, low, high in (
        ("samples", 1, 100_000), ("rounds", 1, 1000), ("seed", 0, 2**48), ("processes", 1, 100),
    ):  # fmt: skip
        if not low <= getattr(args, name) <= high:
            value = getattr(args, name)
            raise ConfigurationError(f"--{name} = {value} must be within {low}..{high}")
    objects = tuple(dataset_options.load_objects([args.object], []))
    spec = ObjectSceneSpec(objects, rig=RandomRig(args.width, args.width))
    scenes = ObjectScenes(spec, args.seed, args.samples, LABEL_EVERY)
    with contextlib.ExitStack() as stack:
        bare = stack.enter_context(contextlib.closing(_BareRenderer(spec)))
        plans = [bare.scenes.planner.plan(args.seed + i) for i in range(args.samples)]
        ours = stack.enter_context(pipeline.studio(scenes, args.processes))
        bares = stack.enter_context(pipeline.studio(_BareScenes(spec, plans), args.processes))
        # Deleted at the end only: ext4 takes twenty times as long to make a file where others were
        # deleted a moment ago, which is not what a dataset meets.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rates = [
            (
                _bare_rate(bare, plans),
                _written_rate(ours, _writer(spec, folder / f"ours_{i}"), args.samples),
                _side_by_side_rate(bares, _writer(spec, folder / f"bare_{i}"), args.samples),
            )
            for i in range(1 + args.rounds)
        ]
    del rates[0]  # it started processes, uploaded textures and loaded libraries
    alone, written, side_by_side = (statistics.median(kind) for kind in zip(*rates, strict=True))
    return Result.of_this_run(
        name="render",
        seed=args.seed,
        figures={
            "object": args.object,
            "image_px": args.width,
            "antialiasing": spec.antialiasing,
            "images_per_sample": spec.rig.count,
            "processes": args.processes,
            "samples_per_s_bare": alone,
            "samples_per_s_written": written,
            "images_per_s_written": written * spec.rig.count,
            "samples_per_s_bare_side_by_side": side_by_side,
            "written_rate_over_bare_side_by_side": written / side_by_side,
            "rates_bare_written_and_side_by_side": rates,
        },
        targets=(
            Target.at_least("written rate over bare rate", written / alone, LEAST_SHARE, "ratio"),
        ),
    )


class _BareRenderer:
    """MuJoCo's own renderer of the same scenes."""

    def __init__(self, spec: ObjectSceneSpec) -> None:
        self.scenes = ObjectSceneRenderer(spec)
        rig = spec.rig
        self._cameras = range(rig.count)
        self._plain = tiles.plain_renderer(self.scenes.scene.model, rig.width, rig.height)

    def draw(self, plan: ScenePlan) -> float:
        """Draws all cameras of a scene; seconds that it took, putting it up not counted."""
        self.scenes.show(plan)
        start = time.perf_counter()
        for camera in self._cameras:
            self._plain.update_scene(self.scenes.scene.data, camera)
            self._plain.render()
        return time.perf_counter() - start

    def close(self) -> None:
        self._plain.close()
        self.scenes.close()


@dataclasses.dataclass(frozen=True)
class _BareScenes:
    """Planned scenes for bare loops in several processes; none becomes a sample."""

    spec: ObjectSceneSpec
    plans: Sequence[ScenePlan]
    samples_each: int = 1
    worth_a_process: int = 1

    def renderer(self) -> _BareRenderer:
        return _BareRenderer(self.spec)

    def shots(self, renderer: _BareRenderer, number: int) -> Sequence[pipeline.Shot]:
        renderer.draw(self.plans[number])
        return ()


def _bare_rate(bare: _BareRenderer, plans: Sequence[ScenePlan]) -> float:
    """Samples a second of one bare loop."""
    return len(plans) / sum(map(bare.draw, plans))


def _written_rate(render: pipeline.Render, writer: DatasetWriter, samples: int) -> float:
    """Samples a second of ours, from drawing the scenes to the finished dataset on the disk."""
    start = time.perf_counter()
    pipeline.write(render, writer, range(samples))
    return samples / (time.perf_counter() - start)


def _side_by_side_rate(render: pipeline.Render, writer: DatasetWriter, samples: int) -> float:
    """Samples a second of bare loops in several processes, together; scenes are planned before."""
    with writer:
        start = time.perf_counter()
        for _ in render(writer.samples, range(samples), 0):
            pass
        return samples / (time.perf_counter() - start)


def _writer(spec: ObjectSceneSpec, folder: Path) -> DatasetWriter:
    return DatasetWriter(folder, spec.object_id, spec.keypoint_names, spec.rig.names)
