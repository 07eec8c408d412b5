from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow.parquet as pq
from support.toy_training import CAMERAS, KEYPOINTS, rig, write_dataset

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.training.dataset.reader import Dataset, DatasetWriter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "toy", 2, 2)


def test_what_is_written_is_read_back(folder: Path) -> None:
    dataset = Dataset(folder)
    assert len(dataset) == 4
    assert dataset.keypoint_names == KEYPOINTS
    assert dataset.camera_names == CAMERAS
    assert dataset.labelled.tolist() == [True, True, False, False]
    assert dataset.images(3)[0].shape == (120, 160, 3)
    for camera, expected in zip(dataset.cameras(1), rig(160, 120), strict=True):
        points = dataset.truth(1)
        assert np.allclose(camera.project(points), expected.project(points), atol=1e-6)


def test_clicks_lie_near_the_projected_truth_and_are_nan_where_absent(folder: Path) -> None:
    dataset = Dataset(folder)
    for sample in range(4):
        clicks = dataset.labels(sample)
        for c, camera in enumerate(dataset.cameras(sample)):
            error = clicks[c] - camera.project(dataset.truth(sample))
            assert np.nanmax(np.abs(error), initial=0.0) < 2.0
    assert np.isnan(dataset.labels(3)).all()
    assert np.isnan(dataset.labels(0)).any()


@pytest.mark.parametrize("name", ["../evil", "/etc", "a/b", "", ".hidden", "a\n"])
def test_names_that_leave_the_folder_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cameras"):
        DatasetWriter(tmp_path / "new", "toy", KEYPOINTS, [name])
    head = json.loads((folder / "dataset.json").read_text())
    head["cameras"][0] = name
    (folder / "dataset.json").write_text(json.dumps(head))
    with pytest.raises(ConfigurationError, match="cameras"):
        Dataset(folder)


def test_folder_without_description_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a dataset"):
        Dataset(tmp_path)


def test_missing_image_names_sample_and_camera(folder: Path) -> None:
    (folder / "images" / "000002_b.jpg").unlink()
    with pytest.raises(DataError, match="sample 2, image b"):
        Dataset(folder).images(2)


def test_missing_column_names_the_field(folder: Path) -> None:
    path = folder / "labels.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["v"]), path)
    with pytest.raises(DataError, match="field 'v' is missing"):
        Dataset(folder)


def test_missing_calibration_names_sample_and_camera(folder: Path) -> None:
    path = folder / "cameras.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(DataError, match="sample 0, camera 'a'"):
        Dataset(folder)


def test_writer_refuses_an_unknown_keypoint_and_adds_nothing(tmp_path: Path) -> None:
    cameras = rig(160, 120)
    images = {c.name: np.zeros((120, 160, 3), np.uint8) for c in cameras}
    with DatasetWriter(tmp_path / "d", "toy", KEYPOINTS, CAMERAS) as writer:
        with pytest.raises(DataError, match="wing"):
            writer.add(images, cameras, {("a", "wing"): (1.0, 2.0)}, None, seed=0)
        writer.add(images, cameras, {}, None, seed=1)
    assert len(Dataset(tmp_path / "d")) == 1


def test_writer_refuses_a_folder_that_holds_a_dataset(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="already holds"):
        DatasetWriter(folder, "toy", KEYPOINTS, CAMERAS)


def test_format_1_is_read(folder: Path) -> None:
    """As it was written before there were several objects: JPEG only, no column `object`."""
    head = json.loads((folder / "dataset.json").read_text())
    del head["image_format"]
    (folder / "dataset.json").write_text(json.dumps({**head, "format": 1}))
    path = folder / "samples.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["object"]), path)
    dataset = Dataset(folder)
    assert (dataset.format, dataset.image_format, dataset.objects) == (1, "jpg", ["toy"] * 4)
    assert dataset.images(0)[0].shape == (120, 160, 3)


def test_clicks_are_those_that_the_writer_takes(folder: Path) -> None:
    dataset = Dataset(folder)
    for (camera, keypoint), (u, v) in dataset.clicks(0).items():
        index = CAMERAS.index(camera), KEYPOINTS.index(keypoint)
        assert (u, v) == tuple(dataset.labels(0)[index])
    assert len(dataset.clicks(0)) == np.isfinite(dataset.labels(0)).all(axis=-1).sum()
    assert dataset.clicks(3) == {}


def test_a_dataset_without_truth_opens_and_says_so(folder: Path) -> None:
    (folder / "truth.parquet").unlink()
    dataset = Dataset(folder)
    assert not dataset.has_truth
    with pytest.raises(DataError, match=r"truth\.parquet"):
        dataset.truth(0)


def test_the_examples_of_the_documentation_run(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("pandas")
    page = (Path(__file__).parents[2] / "docs" / "dataset.md").read_text()
    write_dataset(tmp_path / "toy", 2, 1)
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "docs/dataset.md", "exec"), {})
    assert len(Dataset("copy")) == 3
    assert not any(keypoint == "body" for _, keypoint in Dataset("toy").clicks(0))
