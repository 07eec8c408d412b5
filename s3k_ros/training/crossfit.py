"""Cross-fitting: errors on labelled samples that the network did not learn from.

The error that all views share (a keypoint learned a few millimetres beside its place) shows in no
residual between views, and hardly on the samples it was learned from. So the labelled samples are
split into folds; for each fold a crop network is trained on the others' labels alone, briefly, and
asked about the fold. That network is a little worse than the shipped one, so the estimate errs on
the safe side, and no label is spent on it.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from s3k_ros.perception.detector import KeypointDetector
from s3k_ros.training.calibration import Detections, detect
from s3k_ros.training.checkpoint import Checkpoint
from s3k_ros.training.dataset import Dataset
from s3k_ros.training.export import describe, export
from s3k_ros.training.sources import Say, Subset
from s3k_ros.training.train import train_stage


def held_out_detections(
    dataset: Dataset, coarse: Checkpoint, crop: Checkpoint, folds: int, steps: int, say: Say
) -> tuple[list[int], Detections]:
    """Detections of every labelled sample by a network that did not see its labels.

    Args:
        dataset: with the labelled samples.
        coarse: checkpoint of the coarse stage; it only places the crops.
        crop: checkpoint of the crop stage, for its parameters.
        folds: number of folds.
        steps: training steps a fold.
        say: where progress lines go.

    Returns:
        the samples, and their detections in the same order.
    """
    params = dataclasses.replace(crop.params, unlabelled_samples=0, steps=steps)
    # Without unlabelled samples the whole batch is labelled ones.
    batch = crop.params.labelled_samples + crop.params.unlabelled_samples
    params = dataclasses.replace(params, labelled_samples=batch)
    labelled = np.flatnonzero(dataset.labelled)
    order = np.random.default_rng(params.seed).permutation(len(labelled))
    parts: list[Detections] = []
    samples: list[int] = []
    for fold, held in enumerate(np.array_split(order, folds)):
        kept = np.setdiff1d(order, held)
        with tempfile.TemporaryDirectory() as folder:
            say(f"fold {fold + 1} of {folds}: without samples {labelled[held].tolist()}")
            limit = Subset(tuple(int(i) for i in labelled[kept]), ())
            found = train_stage(
                dataset, params, folder, coarse, progress=False, limit=limit, say=say
            )
            model = Path(folder) / "fold.onnx"
            network = Checkpoint.load(found)
            export(coarse, network, describe(coarse, network, [], 640), model)
            detector = KeypointDetector.load(str(model))
        for i in held:
            samples.append(int(labelled[i]))
            parts.append(detect(detector, dataset, samples[-1:]))
    whole = Detections(
        [camera for part in parts for camera in part.cameras],
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("pixels", "excess", "features")
        ),
    )
    return samples, whole
