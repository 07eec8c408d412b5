"""Rendered datasets: `s3k dataset render`, of any mesh or of the fox in the simulated cell."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from s3k_ros.errors import ConfigurationError
from s3k_ros.results import source_commit
from s3k_ros.simulation import dataset_options
from s3k_ros.simulation.fox_samples import FoxRenderer
from s3k_ros.simulation.object_scene import ObjectSceneRenderer, ObjectSceneSpec
from s3k_ros.simulation.pipeline import Shot, object_shots, write_shots
from s3k_ros.training.dataset.writer import DatasetWriter


def render_object_dataset(
    spec: ObjectSceneSpec,
    out: Path,
    labelled: int,
    unlabelled: int,
    seed: int,
    *,
    label_every: int | None = None,
    progress: bool = True,
    image_format: str = "jpg",
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Renders a dataset of a spec's scenes.

    Args:
        spec: what the scenes show.
        out: new folder of the dataset.
        labelled: number of samples with clicks: the first ones, unless ``label_every`` is given.
        unlabelled: number of samples without clicks.
        seed: of the first sample; the others count up from it.
        label_every: one labelled sample in so many, from the first on, until there are enough.
        progress: show a bar.
        image_format: "jpg" or "png".
        meta: more facts for the dataset's record.

    Raises:
        ConfigurationError: a number out of range, or a folder that already holds a dataset.
    """
    count = _checked_count(labelled, unlabelled, label_every)
    step = label_every or 1

    def clicked(i: int) -> bool:
        return i % step == 0 and i // step < labelled

    info = {"seed": seed, **describe(spec), "commit": source_commit(), **(meta or {})}
    with contextlib.closing(ObjectSceneRenderer(spec)) as renderer:
        writer = writer_of(renderer, out, info, image_format)
        write_shots(
            object_shots(renderer, range(seed + len(writer), seed + count), clicked, seed),
            writer,
            count if progress else None,
            by_object=len(spec.objects) > 1 and not spec.together,
        )


def render_fox_dataset(
    out: Path,
    family: str,
    labelled: int,
    unlabelled: int,
    seed: int,
    *,
    width: int = 640,
    timesteps: int = 1,
    progress: bool = True,
    image_format: str = "jpg",
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Renders a dataset of the fox in the simulated cell; as `render_object_dataset`.

    With several ``timesteps`` there are so many samples an arrangement, all in one segment: nothing
    but the arm moves, and only the first is clicked. ``labelled`` and ``unlabelled`` then count
    arrangements.

    Raises:
        ConfigurationError: a number out of range, or a folder that already holds a dataset.
    """
    count = _checked_count(labelled, unlabelled, None)
    if not 1 <= timesteps <= 1000:
        raise ConfigurationError(f"timesteps = {timesteps} must be within 1..1000")

    def shots(renderer: FoxRenderer, done: int) -> Iterator[Shot]:
        for i in range(done // timesteps, count):
            many = renderer.timesteps(seed + i, timesteps) if timesteps > 1 else None
            for step, sample in enumerate(many or [renderer.sample(seed + i)]):
                if i * timesteps + step >= done:
                    yield Shot(sample, i < labelled and step == 0, seed + i, i)

    info = {"seed": seed, "family": family, "timesteps": timesteps, "commit": source_commit()}
    with contextlib.closing(FoxRenderer(family, width)) as renderer:
        writer = writer_of(renderer, out, {**info, **(meta or {})}, image_format)
        total = count * timesteps if progress else None
        write_shots(shots(renderer, len(writer)), writer, total)


def writer_of(
    renderer: ObjectSceneRenderer | FoxRenderer,
    out: Path,
    info: Mapping[str, Any],
    image_format: str = "jpg",
) -> DatasetWriter:
    """A writer for a renderer's samples; it goes on with a dataset that was interrupted."""
    names = list(renderer.camera_names)
    return DatasetWriter(
        out, renderer.object_id, renderer.names, names, info, image_format=image_format, resume=True
    )


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
    meta = {"command": " ".join(["s3k", *sys.argv[1:]])}
    counts = (args.labelled, args.unlabelled, seed)
    if not args.object:
        render_fox_dataset(
            args.out,
            args.family,
            *counts,
            width=args.width or 640,
            timesteps=args.timesteps,
            image_format=args.image_format,
            meta=meta,
        )
        return 0
    spec = dataset_options.object_spec(args)
    render_object_dataset(
        spec,
        args.out,
        *counts,
        label_every=args.label_every,
        image_format=args.image_format,
        meta=meta,
    )
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
