from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from support.toy_training import KEYPOINTS, write_dataset

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.params.training import TrainingParameters
from s3k_ros.perception.model_file import read_description
from s3k_ros.training.dataset.reader import Dataset
from s3k_ros.training.model.export import WEIGHTS, describe, export
from s3k_ros.training.run.checkpoint import Checkpoint, make_network
from s3k_ros.training.uncertainty import calibration
from s3k_ros.training.uncertainty.crossfit import fold_parameters, folds_of

TINY = TrainingParameters(
    stage="coarse",
    steps=2,
    threads=1,
    warmup_steps=1,
    ramp_steps=1,
    precision="fp32",
    input_height=48,
    input_width=64,
    stem=8,
    widths=(8, 16),
    blocks=(1, 1),
    labelled_samples=1,
    unlabelled_samples=1,
)


def checkpoint(info: dict[str, object] | None = None) -> Checkpoint:
    state = make_network(TINY, len(KEYPOINTS)).state_dict()
    tensors = {f"ema.{name}": value for name, value in state.items()}
    return Checkpoint(TINY, KEYPOINTS, 2, tensors, {"object_id": "toy", **(info or {})})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset(write_dataset(tmp_path_factory.mktemp("data") / "toy", 4, 2))


def test_every_label_is_held_out_once_and_each_network_is_another(dataset: Dataset) -> None:
    said: list[str] = []
    folds = list(folds_of(dataset, checkpoint(), None, 2, 2, said.append))
    assert sorted(i for fold in folds for i in fold.held) == [0, 1, 2, 3]
    assert all(len(fold.held) == 2 for fold in folds)
    assert "fold 1 of 2: 2 steps without" in said[0]
    images = dataset.images(0)
    first, second = (fold.detector.detect_peaks(images)[0] for fold in folds)
    assert first is not None
    assert second is not None
    assert not np.array_equal(first.features, second.features)


def test_only_the_labels_of_the_run_are_cross_fitted(dataset: Dataset) -> None:
    used = checkpoint({"data": {"labelled": [0, 3], "unlabelled": [4]}})
    folds = list(folds_of(dataset, used, None, 2, 1, str))
    assert sorted(i for fold in folds for i in fold.held) == [0, 3]
    with pytest.raises(ConfigurationError, match="3 folds of 2 labelled samples"):
        next(folds_of(dataset, used, None, 3, 1, str))


def test_folds_train_as_the_run_did_with_fewer_steps() -> None:
    params = TrainingParameters(steps=5000, warmup_steps=400, ramp_steps=200, seed=7)
    found = fold_parameters(params, None)
    assert (found.steps, found.warmup_steps, found.ramp_steps) == (1000, 100, 40)
    assert (found.seed, found.unlabelled_samples) == (7, params.unlabelled_samples)
    assert fold_parameters(params, 200).warmup_steps == 66
    assert fold_parameters(TrainingParameters(steps=100), None).steps == 100


def test_command_cross_fits_a_run(dataset: Dataset, tmp_path: Path) -> None:
    shipped = checkpoint()
    shipped.save(tmp_path / "run" / "coarse" / WEIGHTS)
    export(shipped, None, describe(shipped, None, reference_width=160), tmp_path / "m.onnx")
    parser = argparse.ArgumentParser()
    calibration.add_arguments(parser)
    words = ["--model", str(tmp_path / "m.onnx"), "--out", str(tmp_path / "out.onnx")]
    words += ["--dataset", str(dataset.folder), "--labelled", str(dataset.folder)]
    words += ["--run", str(tmp_path / "run"), "--folds", "2", "--fold-steps", "1"]
    # An untrained network finds nothing, which the command says after all folds or before.
    try:
        calibration.run(parser.parse_args(words))
    except DataError as error:
        assert "held-out errors" in str(error) or "views agree" in str(error)
    else:
        record = read_description(tmp_path / "out.onnx").training["calibration"]
        assert record["how"] == "cross-fitted, 2 folds of 1 steps"
