"""What the jobs do: the one place where studies meet renderer, training, export and evaluation."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from s3k_ros.params.training import TrainingParameters
from s3k_ros.results import machine_description, source_commit
from s3k_ros.simulation.dataset import render_cell_dataset, render_object_dataset, seed_from
from s3k_ros.simulation.generators.box import make_box
from s3k_ros.simulation.mesh import MeshObject
from s3k_ros.simulation.object_scene import ObjectSceneSpec
from s3k_ros.simulation.random_rig import RandomRig
from s3k_ros.training.dataset.reader import Dataset, DatasetWriter
from s3k_ros.training.inputs.sources import Subset
from s3k_ros.training.model.evaluation import evaluate
from s3k_ros.training.model.export import describe, export
from s3k_ros.training.run.checkpoint import Checkpoint
from s3k_ros.training.run.loop import MODEL
from s3k_ros.training.run.train import finished, train_stage
from s3k_ros.training.studies.jobs import Unfinished
from s3k_ros.training.studies.metrics import summary
from s3k_ros.training.studies.specs import Data, Part, RunSpec, samples
from s3k_ros.training.studies.store import read_result, write_text

_DATASET = "dataset"
_EXPORTED = "model.onnx"
_TEST_SEED_STEP = 10_000_000
"""Scene seeds of a run's tests lie this far apart."""


def render(folder: Path, part: Part, *, deadline: float | None = None) -> dict[str, Any]:
    """Renders the scenes of a part, all clicked, into ``dataset`` below the folder."""
    del deadline  # a part is rendered in minutes
    begun = time.monotonic()
    out = folder / _DATASET
    shutil.rmtree(out, ignore_errors=True)  # of an attempt that was killed
    render_part(part, out, part.seed)
    return {
        "part": dataclasses.asdict(part),
        "seconds": time.monotonic() - begun,
        "commit": source_commit(),
    }


def render_part(part: Part, out: Path, seed: int) -> None:
    """Renders a part with another first seed than its own."""
    if part.target == "fox":
        render_cell_dataset(
            out, part.family, part.scenes, 0, seed, width=part.image_px,
            timesteps=part.timesteps, progress=False,
        )  # fmt: skip
        return
    # A handful of scenes needs fewer different tables and distractors, and starts sooner.
    pool = min(ObjectSceneSpec.table_pool, max(2, part.scenes))
    spec = ObjectSceneSpec(
        objects=objects(part.target),
        family=part.family,
        distractors=part.distractors,
        distractor_family=part.distractor_family or None,
        distractor_pool=part.distractor_pool or pool,
        table_pool=pool,
        rig=RandomRig(width=part.image_px, height=part.image_px),
    )
    # PNG: the artefacts of JPEG would be as large as details at 64 px.
    render_object_dataset(spec, out, part.scenes, 0, seed, progress=False, image_format="png")


@functools.lru_cache(maxsize=4)
def objects(target: str) -> tuple[MeshObject, ...]:
    """The objects of "box" or "shoes:<family>:<seed>,..."."""
    if target == "box":
        return (make_box(),)
    from s3k_ros.simulation.generators.shoe import make_shoe

    _, family, seeds = target.split(":")
    return tuple(make_shoe(int(seed), family) for seed in seeds.split(","))


def lengths_m(target: str, dataset: Dataset) -> np.ndarray | None:
    """(N,) length of the shoe in each scene; None for other objects."""
    if not target.startswith("shoes"):
        return None
    from s3k_ros.simulation.generators.shoe import shoe_length

    known = {mesh.name: shoe_length(mesh) for mesh in objects(target)}
    return np.array([known[name] for name in dataset.objects])


def assemble(
    folder: Path, data: Data, parts: tuple[Path, ...], *, deadline: float | None = None
) -> dict[str, Any]:
    """Puts the parts' datasets one after the other; a single one is used where it is."""
    del deadline
    sources = [Dataset(part / _DATASET) for part in parts]
    out = folder / _DATASET
    shutil.rmtree(out, ignore_errors=True)
    where = sources[0].folder
    if len(sources) > 1:
        _concatenate(sources, data.parts[0].target.partition(":")[0], out)
        where = out
    if data.propagated:
        from s3k_ros.training.dataset.tools.propagate import propagate

        shutil.rmtree(folder / "propagated", ignore_errors=True)
        propagate(Dataset(where), folder / "propagated")
        where = folder / "propagated"
    # Relative: the folder of a study can be moved.
    return {"dataset": os.path.relpath(where, folder)}


def _concatenate(sources: list[Dataset], object_id: str, out: Path) -> None:
    first = sources[0]
    with DatasetWriter(
        out,
        object_id,
        first.keypoint_names,
        first.camera_names,
        {"parts": [source.info for source in sources]},
        image_format=first.image_format,
    ) as writer:
        for source in sources:
            begin = len(writer)
            for sample, segment in enumerate(source.segments):
                writer.copy(source, sample, segment=begin + segment)


def train_and_test(
    folder: Path, spec: RunSpec, data: Path, threads: int, *, deadline: float | None = None
) -> dict[str, Any]:
    """Trains the stages, exports the model and tests it on scenes that its hash chooses.

    Raises:
        Unfinished: the time ran out while training; what was saved is used by the next call.
    """
    found = read_result(data) or {}
    dataset = Dataset(data / found["dataset"])
    subset = _subset(spec, dataset)
    stages, seconds = _train(folder, spec, dataset, subset, threads, deadline)
    model = folder / _EXPORTED
    coarse, crop = stages[0], stages[1] if len(stages) > 1 else None
    width = dataset.cameras(0)[0].width
    description = describe(coarse, crop, reference_width=width)
    export(coarse, crop, description, model, dataset.images(0))
    tests = {}
    for i, (name, part) in enumerate(spec.tests):
        tests[name] = _test(folder / "tests", part, model, seed_from(model) + i * _TEST_SEED_STEP)
    return {
        "tests": tests,
        "train_seconds": seconds,
        "samples": {"labelled": len(subset.labelled), "unlabelled": len(subset.unlabelled)},
        "model_bytes": model.stat().st_size,
        "spec": dataclasses.asdict(spec),
        "machine": machine_description(),
        "commit": source_commit(),
    }


def _train(
    folder: Path,
    spec: RunSpec,
    dataset: Dataset,
    subset: Subset,
    threads: int,
    deadline: float | None,
) -> tuple[list[Checkpoint], float]:
    """The chosen weights of each stage, and the seconds that training took, over all calls."""
    clock = _Clock(folder / "seconds.json")
    stages: list[Checkpoint] = []
    for name, values in spec.stages:
        params = TrainingParameters.from_mapping({**dict(values), "threads": threads})
        out = folder / "train" / name
        if not finished(out):
            left = None if deadline is None else (deadline - time.time()) / 60
            if left is not None and left <= 0:
                raise Unfinished(f"{name}: no time left")
            with clock:
                train_stage(
                    dataset, params, out, coarse=stages[0] if stages else None,
                    minutes=left, progress=False, limit=subset,
                )  # fmt: skip
            if not finished(out):
                raise Unfinished(f"{name}: the time was up")
        stages.append(Checkpoint.load(out / MODEL))
    return stages, clock.seconds


def _subset(spec: RunSpec, dataset: Dataset) -> Subset:
    """The run's samples; one in which nobody could click anything joins the unlabelled ones."""
    labelled, unlabelled = samples(spec)
    clicked = tuple(i for i in labelled if dataset.labelled[i])
    return Subset(clicked, tuple(sorted({*labelled, *unlabelled} - set(clicked))))


class _Clock:
    """Adds up seconds over several calls of a run, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds: float = json.loads(path.read_text()) if path.exists() else 0.0
        self._begun = 0.0

    def __enter__(self) -> None:
        self._begun = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.monotonic() - self._begun
        write_text(self._path, json.dumps(self.seconds))


def _test(folder: Path, part: Part, model: Path, seed: int) -> dict[str, Any]:
    """Renders test scenes, runs the chain on them and keeps the figures, not the images."""
    shutil.rmtree(folder, ignore_errors=True)
    render_part(part, folder, seed)
    dataset = Dataset(folder)
    results = evaluate(dataset, model, progress=False)
    found = summary(results, lengths_m(part.target, dataset))
    shutil.rmtree(folder)
    return {**found, "first_seed": seed}
