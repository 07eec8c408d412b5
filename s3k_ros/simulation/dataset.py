"""Rendered datasets: `s3k dataset render`, of any mesh or of an object in the simulated cell."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from s3k_ros.errors import ConfigurationError
from s3k_ros.results import source_commit
from s3k_ros.simulation import dataset_options, rig
from s3k_ros.simulation.cell import TABLE_HEIGHT_M
from s3k_ros.simulation.cell_samples import CellRenderer
from s3k_ros.simulation.object_scene import ObjectSceneRenderer, ObjectSceneSpec
from s3k_ros.simulation.pipeline import Shot, write_scenes
from s3k_ros.simulation.scene import FOX, ToyScene
from s3k_ros.training.dataset.writer import DatasetWriter


@dataclasses.dataclass(frozen=True)
class ObjectScenes:
    """Scenes of objects on a table, one sample each.

    Attributes:
        spec: what they show.
        seed: of the first; the others count up from it.
        labelled: number of samples with clicks.
        label_every: one labelled sample in so many, from the first on, until there are enough.
    """

    spec: ObjectSceneSpec
    seed: int
    labelled: int
    label_every: int = 1
    samples_each = 1
    worth_a_process = 200

    def renderer(self) -> ObjectSceneRenderer:
        """Renders them."""
        return ObjectSceneRenderer(self.spec)

    def shots(self, renderer: ObjectSceneRenderer, number: int) -> Iterator[Shot]:
        """The sample of a scene."""
        plan = renderer.planner.plan(self.seed + number)
        labelled = number % self.label_every == 0 and number // self.label_every < self.labelled
        yield Shot(renderer.shoot(plan, labelled), labelled, plan.seed, number)


@dataclasses.dataclass(frozen=True)
class CellScenes:
    """Arrangements of an object in the simulated cell.

    Attributes:
        family: "train", "dev" or "test".
        width: of the images, px.
        seed: of the first arrangement; the others count up from it.
        labelled: number of arrangements, from the first, whose first sample has clicks.
        samples_each: samples of an arrangement: nothing but the arm moves.
        target: whose keypoints they show.
        beside: other objects, each in some of them.
    """

    family: str
    width: int
    seed: int
    labelled: int
    samples_each: int = 1
    target: str = FOX
    beside: tuple[str, ...] = ()
    worth_a_process = 10

    def renderer(self) -> CellRenderer:
        """Renders them."""
        return CellRenderer(self.family, self.width, self.target, self.beside)

    def shots(self, renderer: CellRenderer, number: int) -> Iterator[Shot]:
        """The samples of an arrangement, one segment."""
        seed, steps = self.seed + number, self.samples_each
        samples = renderer.timesteps(seed, steps) if steps > 1 else [renderer.sample(seed)]
        for step, sample in enumerate(samples):
            yield Shot(sample, number < self.labelled and step == 0, seed, number)


def render_object_dataset(
    spec: ObjectSceneSpec,
    out: Path,
    labelled: int,
    unlabelled: int,
    seed: int,
    *,
    label_every: int | None = None,
    processes: int | None = 1,
    progress: bool = True,
    image_format: str = "jpg",
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Renders a dataset of a spec's scenes; one that was interrupted goes on.

    Args:
        spec: what the scenes show.
        out: new folder of the dataset.
        labelled: number of samples with clicks: the first ones, unless ``label_every`` is given.
        unlabelled: number of samples without clicks.
        seed: of the first sample; the others count up from it.
        label_every: one labelled sample in so many, from the first on, until there are enough.
        processes: that render; 1: this one; None: as many as make it fastest. The same dataset.
        progress: show a bar.
        image_format: "jpg" or "png".
        meta: more facts for the dataset's record.

    Raises:
        ConfigurationError: a number out of range, or a folder that already holds a dataset.
    """
    count = _checked_count(labelled, unlabelled, label_every)
    info = {"seed": seed, **describe(spec), "commit": source_commit(), **(meta or {})}
    writer = DatasetWriter(
        out, spec.object_id, spec.keypoint_names, spec.rig.names, info,
        image_format=image_format, resume=True,
    )  # fmt: skip
    scenes = ObjectScenes(spec, seed, labelled, label_every or 1)
    write_scenes(scenes, writer, count, processes, progress)


def render_cell_dataset(
    out: Path,
    family: str,
    labelled: int,
    unlabelled: int,
    seed: int,
    *,
    width: int = 640,
    timesteps: int = 1,
    target: str = FOX,
    beside: Sequence[str] = (),
    processes: int | None = 1,
    progress: bool = True,
    image_format: str = "jpg",
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Renders a dataset of an object in the simulated cell; as `render_object_dataset`.

    ``target`` is the object, ``beside`` are others, each of which stands in half of the scenes.

    With several ``timesteps`` there are so many samples an arrangement, all in one segment: nothing
    but the arm moves, and only the first is clicked. ``labelled`` and ``unlabelled`` then count
    arrangements.

    Raises:
        ConfigurationError: a number out of range, or a folder that already holds a dataset.
    """
    count = _checked_count(labelled, unlabelled, None)
    if not 1 <= timesteps <= 1000:
        raise ConfigurationError(f"timesteps = {timesteps} must be within 1..1000")
    scene = ToyScene(TABLE_HEIGHT_M, family, (target, *beside))
    info = {"seed": seed, "family": family, "timesteps": timesteps, "commit": source_commit()}
    cameras = [camera.name for camera in rig.demo_rig(width)]
    writer = DatasetWriter(
        out, scene.object_id, scene.names, cameras, {**info, **(meta or {})},
        image_format=image_format, resume=True,
    )  # fmt: skip
    scenes = CellScenes(family, width, seed, labelled, timesteps, target, tuple(beside))
    write_scenes(scenes, writer, count, processes, progress)


def describe(spec: ObjectSceneSpec) -> dict[str, Any]:
    """The facts of a spec that fit into a dataset's record; meshes by name."""
    facts = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    facts["rig"] = dataclasses.asdict(spec.rig)
    facts["objects"] = [thing.name for thing in spec.objects]
    facts["distractor_meshes"] = [thing.name for thing in spec.distractor_meshes]
    return {"family": facts.pop("family"), "scene": facts}


def seed_from(path: Path) -> int:
    """A seed that only the file's content decides: the first 48 bits of its SHA-256.

    Raises:
        ConfigurationError: a file that cannot be read.
    """
    try:
        return int.from_bytes(hashlib.sha256(path.read_bytes()).digest()[:6], "big")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k dataset render`."""
    dataset_options.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Renders a dataset; prints progress."""
    dataset_options.check(args)
    seed = args.seed if args.seed_from is None else seed_from(args.seed_from)
    counts = (args.labelled, args.unlabelled, seed)
    # Not the number of processes: the dataset is the same, and may be finished with another one.
    command = re.sub(r" --processes[ =]\d+", "", " ".join(["s3k", *sys.argv[1:]]))
    common: dict[str, Any] = {
        "processes": args.processes,
        "image_format": args.image_format,
        "meta": {"command": command},
    }
    if args.object:
        spec = dataset_options.object_spec(args)
        render_object_dataset(spec, args.out, *counts, label_every=args.label_every, **common)
    else:
        render_cell_dataset(
            args.out, args.family, *counts,
            width=args.width or 640, timesteps=args.timesteps, target=args.in_cell,
            beside=tuple(args.beside), **common,
        )  # fmt: skip
    return 0


def _checked_count(labelled: int, unlabelled: int, label_every: int | None) -> int:
    """Number of samples.

    Raises:
        ConfigurationError: a number out of range.
    """
    for name, value in (("labelled", labelled), ("unlabelled", unlabelled)):
        if not 0 <= value <= 10_000_000:
            raise ConfigurationError(f"{name} = {value} must be within 0..10000000")
    count = labelled + unlabelled
    if count == 0:
        raise ConfigurationError("labelled + unlabelled = 0: nothing to render")
    if label_every is not None and not (label_every >= 1 and (labelled - 1) * label_every < count):
        raise ConfigurationError(
            f"label_every = {label_every} must be at least 1 and leave room for {labelled} labelled"
            f" samples among {count}"
        )
    return count
