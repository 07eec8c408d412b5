"""Cross-fitting: networks that did not learn from some of the labelled samples.

The labelled samples are split into folds; for each fold the last stage is trained again as the
shipped one was, with the unlabelled samples, but without the fold's labels and with fewer steps.
Asked about the fold, it shows errors that no label of the budget is spent on. That it is a little
worse than the shipped network is allowed for by `s3k_ros.training.uncertainty.held_out`.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.perception import DetectorParameters
from s3k_ros.params.training import TrainingParameters
from s3k_ros.perception.detector import KeypointDetector
from s3k_ros.training.dataset.reader import Dataset
from s3k_ros.training.inputs.sources import Subset
from s3k_ros.training.model.export import describe, export
from s3k_ros.training.run.checkpoint import Checkpoint
from s3k_ros.training.run.train import train_stage

Say = Callable[[str], None]

STEPS_PART = 0.2
"""Steps of a fold over those of the run, unless stated."""
_LEAST_STEPS = 300
_LEAST_WARMUP = 100
_UNLABELLED = 300
"""Unlabelled samples a fold learns from: more would mostly be decoded."""


@dataclasses.dataclass(frozen=True)
class Fold:
    """A network and the labelled samples that it did not learn from, after so many steps."""

    detector: KeypointDetector
    held: list[int]
    steps: int


def folds_of(
    dataset: Dataset,
    coarse: Checkpoint,
    crop: Checkpoint | None,
    count: int,
    steps: int | None,
    say: Say,
) -> Iterator[Fold]:
    """Trains one network a fold.

    Args:
        dataset: with the samples that the run was trained on.
        coarse: chosen weights of the coarse stage; with a crop stage it only places the crops.
        crop: chosen weights of the crop stage, for its parameters; None: there is none.
        count: number of folds.
        steps: training steps a fold; default: a fifth of the run's, at least 300.
        say: where progress lines go.

    Raises:
        ConfigurationError: fewer labelled samples than folds.
    """
    shipped = crop or coarse
    labelled = labels_of(dataset, shipped)
    used = shipped.info.get("data", {}).get("unlabelled")
    unlabelled = np.array(used or np.flatnonzero(~dataset.labelled), int)
    if not 2 <= count <= len(labelled):
        raise ConfigurationError(
            f"{count} folds of {len(labelled)} labelled samples: must be 2 to {len(labelled)}"
        )
    params = fold_parameters(shipped.params, steps)
    rng = np.random.default_rng(params.seed)
    order = rng.permutation(labelled)
    some = tuple(int(i) for i in rng.permutation(unlabelled)[:_UNLABELLED])
    for fold, held in enumerate(np.array_split(order, count)):
        kept = tuple(int(i) for i in order if i not in held)
        say(f"fold {fold + 1} of {count}: {params.steps} steps without {sorted(held.tolist())}")
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            path = train_stage(
                dataset,
                params,
                out / "stage",
                coarse=None if crop is None else coarse,
                progress=False,
                limit=Subset(kept, some),
                say=lambda _: None,
            )
            network = Checkpoint.load(path)
            stages = (network, None) if crop is None else (coarse, network)
            export(*stages, describe(*stages), out / "fold.onnx")
            threads = DetectorParameters(threads=min(params.threads, 64))
            detector = KeypointDetector.load(str(out / "fold.onnx"), threads)
        yield Fold(detector, [int(i) for i in held], params.steps)


def labels_of(dataset: Dataset, shipped: Checkpoint) -> list[int]:
    """The labelled samples that a run learned from: all, unless it was told to use some."""
    used = shipped.info.get("data", {}).get("labelled")
    return [int(i) for i in used or np.flatnonzero(dataset.labelled)]


def fold_parameters(params: TrainingParameters, steps: int | None) -> TrainingParameters:
    """The run's parameters for fewer steps: the warm-up shrinks less than the rest."""
    if steps is None:
        steps = min(params.steps, max(_LEAST_STEPS, round(STEPS_PART * params.steps)))
    part = steps / params.steps
    least = min(params.warmup_steps, _LEAST_WARMUP, steps // 3)
    return dataclasses.replace(
        params,
        steps=steps,
        warmup_steps=max(round(part * params.warmup_steps), least),
        ramp_steps=round(part * params.ramp_steps),
        guard_interval=0,
    )
