from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from support.toy_training import KEYPOINTS, write_dataset

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.training import TrainingParameters
from s3k_ros.perception.detector import KeypointDetector
from s3k_ros.perception.model_file import KeypointModel
from s3k_ros.training.dataset.reader import Dataset
from s3k_ros.training.model import export as export_module
from s3k_ros.training.model.export import WEIGHTS, describe, export, load_run, parse_skeleton
from s3k_ros.training.model.parity import LIMIT_PX, Parity
from s3k_ros.training.run.checkpoint import Checkpoint, make_network

COARSE = TrainingParameters(
    stage="coarse", input_height=48, input_width=64, stem=8, widths=(8, 16), blocks=(1, 1)
)
CROP = dataclasses.replace(COARSE, stage="crop", input_width=48, crop_fraction=0.4)


def checkpoint(params: TrainingParameters) -> Checkpoint:
    """Untrained weights with maps as peaked as those of a trained network."""
    network = make_network(params, len(KEYPOINTS))
    with torch.no_grad():
        network.head.weight.mul_(1000.0)
    state = {f"ema.{name}": value for name, value in network.state_dict().items()}
    return Checkpoint(params, KEYPOINTS, 1, state, {"object_id": "toy"})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset(write_dataset(tmp_path_factory.mktemp("data") / "toy", 2, 2))


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    checkpoint(COARSE).save(folder / "coarse" / WEIGHTS)
    checkpoint(CROP).save(folder / "crop" / WEIGHTS)
    return folder


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    export_module.add_arguments(parser)
    return parser.parse_args(words)


def test_confident_keypoints_of_the_file_are_those_of_pytorch(
    dataset: Dataset, tmp_path: Path
) -> None:
    coarse, crop = checkpoint(COARSE), checkpoint(CROP)
    images = dataset.images(0) + dataset.images(1)
    parity = export(coarse, crop, describe(coarse, crop), tmp_path / "m.onnx", images)
    assert set(parity.px) == {"coarse", "crop"}
    assert all(count > 0 for count in parity.keypoints.values())
    assert max(parity.px.values()) <= LIMIT_PX
    record = KeypointModel.load(tmp_path / "m.onnx").description.training["parity"]
    assert record == {"views": 8, "keypoints": parity.keypoints, "px": parity.px}


def test_networks_that_differ_are_refused_by_distance_in_pixels() -> None:
    Parity({"coarse": 0.019}, {"coarse": 5}).check()
    with pytest.raises(ConfigurationError, match=r"crop.*0\.03 px.*allowed: 0\.02"):
        Parity({"coarse": 0.0, "crop": 0.03}, {"coarse": 5, "crop": 5}).check()
    with pytest.raises(ConfigurationError):
        Parity({"coarse": float("nan")}, {"coarse": 5}).check()


def test_wrong_weights_show_in_the_comparison(dataset: Dataset, tmp_path: Path) -> None:
    coarse = checkpoint(COARSE)
    changed = checkpoint(COARSE)
    changed.tensors["ema.head.weight"] = changed.tensors["ema.head.weight"].flip(0)
    path = tmp_path / "m.onnx"
    export(coarse, None, describe(coarse, None), path)
    parity = export_module.measure(
        KeypointModel.load(path), {"coarse": changed.network()}, dataset.images(0)
    )
    with pytest.raises(ConfigurationError, match="differ from PyTorch"):
        parity.check()


def test_run_without_crop_stage_gives_a_model_of_one_stage(
    dataset: Dataset, tmp_path: Path
) -> None:
    checkpoint(COARSE).save(tmp_path / "coarse" / WEIGHTS)
    assert load_run(tmp_path)[1] is None
    out = tmp_path / "single.onnx"
    assert export_module.run(arguments(str(tmp_path), "--out", str(out))) == 0
    detector = KeypointDetector.load(str(out), keypoints=KEYPOINTS)
    assert detector.model.description.crop is None
    view = detector.detect(dataset.images(0))[0]
    assert view is not None
    assert view.pixels.shape == (4, 2)
    assert np.isfinite(view.pixels).all()


def test_command_prints_and_keeps_the_comparison(
    run_folder: Path, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "both.onnx"
    words = [str(run_folder), "--out", str(out), "--dataset", str(dataset.folder)]
    assert export_module.run(arguments(*words, "--scenes", "1", "--skeleton", "head:body")) == 0
    shown = capsys.readouterr().out
    assert "crop:" in shown
    assert "4 views" in shown
    description = KeypointModel.load(out).description
    assert description.skeleton == ((0, 3),)
    assert description.training["parity"]["views"] == 4
    assert description.uncertainty.provisional


def test_stage_sizes_are_those_of_the_networks(run_folder: Path) -> None:
    coarse, crop = load_run(run_folder)
    description = describe(coarse, crop)
    assert description.coarse.input_size == (48, 64)
    assert description.crop is not None
    assert description.crop.crop_fraction == 0.4
    rows = coarse.network()(torch.zeros(1, 3, 48, 64)).shape[-2]
    assert description.coarse.grid_size[0] == rows


def test_stages_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    coarse, crop = checkpoint(COARSE), checkpoint(CROP)
    with pytest.raises(ConfigurationError, match="coarse: the checkpoint is of 'crop'"):
        export(crop, coarse, describe(coarse, crop), tmp_path / "x.onnx")
    other = dataclasses.replace(crop, keypoints=["a", "b", "c", "d"])
    with pytest.raises(ConfigurationError, match="different keypoints"):
        export(coarse, other, describe(coarse, crop), tmp_path / "x.onnx")
    with pytest.raises(ConfigurationError, match="bytes, allowed: 1000"):
        export(coarse, None, describe(coarse, None), tmp_path / "x.onnx", max_bytes=1000)
    assert not (tmp_path / "x.onnx").exists()


def test_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="coarse"):
        load_run(tmp_path)


def test_skeleton_names_its_fault() -> None:
    assert parse_skeleton("head:body,left_paw:body", KEYPOINTS) == [(0, 3), (1, 3)]
    with pytest.raises(ConfigurationError, match="head:wing"):
        parse_skeleton("head:wing", KEYPOINTS)
