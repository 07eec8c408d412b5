from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from support.synthetic_model import KEYPOINTS, description, paint, write_model

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.perception import DetectorParameters
from s3k_ros.perception.detector import KeypointDetector
from s3k_ros.perception.model_file import KeypointModel
from s3k_ros.perception.model_slot import ModelSlot, swapped_name


@pytest.fixture
def slot(tmp_path: Path) -> ModelSlot:
    write_model(tmp_path / "first.onnx")
    return ModelSlot.open(tmp_path / "first.onnx", DetectorParameters(), KEYPOINTS, views=2)


def test_prepared_model_is_used_only_once_it_is_put_in_place(
    slot: ModelSlot, tmp_path: Path
) -> None:
    write_model(tmp_path / "second.onnx", object_id="plush_bear")
    before = slot.current
    prepared = slot.prepare(tmp_path / "second.onnx")
    assert slot.current is before
    slot.use(prepared)
    assert slot.current.model.description.object_id == "plush_bear"
    # A set that began with the old model ends with it.
    [found] = before.detect([paint(640, 480, [(100.0, 200.0)])])
    assert found is not None
    assert np.abs(found.pixels[0] - (100.0, 200.0)).max() < 1.0


@pytest.mark.parametrize("fault", ["missing", "truncated", "other keypoints"])
def test_bad_file_leaves_the_model_in_place(slot: ModelSlot, tmp_path: Path, fault: str) -> None:
    bad = tmp_path / "bad.onnx"
    if fault == "truncated":
        bad.write_bytes((tmp_path / "first.onnx").read_bytes()[:1000])
    elif fault == "other keypoints":
        write_model(bad, keypoints=("plug", "socket"))
    before = slot.current
    with pytest.raises(ConfigurationError, match="bad"):
        slot.prepare(bad)
    assert slot.current is before


def test_model_is_warm_for_every_number_of_views() -> None:
    class Counting(KeypointDetector):
        def __init__(self) -> None:
            super().__init__(KeypointModel(description(), lambda images: images))
            self.batches: list[int] = []

        def detect(self, images: object) -> list[None]:
            assert isinstance(images, list)
            self.batches.append(len(images))
            return []

    slot = ModelSlot(lambda path: Counting(), Path("any"), views=4)
    assert isinstance(slot.current, Counting)
    assert slot.current.batches == [1, 2, 3, 4]


def test_name_of_a_swapped_model_tells_files_of_one_name_apart(tmp_path: Path) -> None:
    one, two = tmp_path / "1" / "fox.onnx", tmp_path / "2" / "fox.onnx"
    for number, path in enumerate((one, two)):
        path.parent.mkdir()
        path.write_bytes(bytes([number]))
    assert swapped_name(one) == f"fox@{hashlib.sha256(bytes([0])).hexdigest()[:8]}"
    assert swapped_name(one) != swapped_name(two)
    with pytest.raises(ConfigurationError, match=r"gone\.onnx"):
        swapped_name(tmp_path / "gone.onnx")
