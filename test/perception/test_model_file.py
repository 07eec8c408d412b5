from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support.synthetic_model import KEYPOINTS, build_model, description, write_model

from s3k_ros.errors import ConfigurationError
from s3k_ros.perception.model_file import (
    METADATA_KEY,
    KeypointModel,
    ModelDescription,
    read_description,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_model(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def refused(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        KeypointModel.load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def with_metadata(path: Path, text: str) -> Path:
    model = onnx.load(str(path))
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA_KEY, value=text)
    onnx.save(model, str(path))
    return path


def edited(**changes: Any) -> str:
    """The metadata with dotted keys replaced; a value of ... removes the key."""
    values = json.loads(description().to_json())
    for key, value in changes.items():
        *parents, last = key.split("__")
        section = values
        for parent in parents:
            section = section[parent]
        if value is ...:
            del section[last]
        else:
            section[last] = value
    return json.dumps(values)


def test_description_survives_the_round_trip_through_json() -> None:
    assert ModelDescription.from_json(description().to_json()) == description()


def test_model_loads_and_runs_both_stages_on_batches(path: Path) -> None:
    model = KeypointModel.load(path)
    assert model.description == description()
    assert model.name == "model"
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    for count in (1, 4):
        assert model.coarse(np.zeros((count, 3, 120, 160), np.float32)).shape == (count, 5, 60, 80)
        assert model.crop(np.zeros((count, 3, 128, 128), np.float32)).shape == (count, 5, 64, 64)


def test_file_of_the_first_release_has_a_constant_common_mode() -> None:
    text = edited(uncertainty__common_reference=..., uncertainty__common_growth=...)
    found = ModelDescription.from_json(text).uncertainty
    assert (found.common_reference, found.common_growth) == ((), 0.0)
    grown = dataclasses.replace(found, common_reference=(1e-6,) * 5, common_growth=1.5)
    whole = dataclasses.replace(description(), uncertainty=grown)
    assert ModelDescription.from_json(whole.to_json()) == whole


def test_model_of_one_stage_loads_and_says_so(tmp_path: Path) -> None:
    expected = write_model(tmp_path / "single.onnx", crop=False)
    assert expected.crop is None
    model = KeypointModel.load(tmp_path / "single.onnx")
    assert model.description == expected
    assert model.crop is None
    assert (model.description.last, model.description.sigma_px) == (expected.coarse, 2.0)
    assert model.coarse(np.zeros((3, 3, 240, 320), np.float32)).shape == (3, 5, 120, 160)


def test_description_can_be_read_without_the_networks(path: Path, tmp_path: Path) -> None:
    assert read_description(path) == description()
    with pytest.raises(ConfigurationError, match="No such file"):
        read_description(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(path.read_bytes()[:100])
    with pytest.raises(ConfigurationError, match=r"bad\.onnx.*truncated"):
        read_description(tmp_path / "bad.onnx")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "none.onnx")


def test_folder_is_refused(tmp_path: Path) -> None:
    assert "directory" in refused(tmp_path)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_truncated_file_is_refused(path: Path, part: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    assert "truncated" in refused(path)


def test_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / "model.onnx"
    path.write_bytes(pickle.dumps(Trap()))
    refused(path)
    assert not (tmp_path / "sprung").exists()


def test_file_without_metadata_is_refused(path: Path) -> None:
    model = onnx.load(str(path))
    del model.metadata_props[:]
    onnx.save(model, str(path))
    message = refused(path)
    assert "metadata" in message
    assert "missing" in message


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"keypoints": ...}, "keypoints is missing"),
        ({"uncertainty__spread_gain": ...}, "uncertainty.spread_gain is missing"),
        ({"stages__crop__crop_fraction": ...}, "stages.crop.crop_fraction is missing"),
        ({"stages__coarse__stride": 2.5}, "stages.coarse.stride"),
        ({"stages__coarse__stride": 7}, "input_size"),
        ({"format": 2}, "format"),
        ({"colour": 1}, "unknown key colour"),
        ({"keypoints": ["a", "a", "b", "c", "d"]}, "keypoints"),
        ({"skeleton": [[0, 5]]}, "skeleton"),
        ({"sigma_px": 3.0}, "sigma_px"),
        ({"uncertainty__pixel_variance": [[[1, 0], [0, 1]]]}, "pixel_variance"),
        ({"uncertainty__spread_gain": [1, 1, 1, 1, -1]}, "spread_gain"),
        ({"uncertainty__confidence__weights": {"mood": 1.0}}, "mood"),
        ({"uncertainty__pixel_variance": [[[1, 2], [2, 1]]] * 5}, "positive definite"),
        ({"uncertainty__common_reference": [1e-6]}, "common_reference"),
        ({"uncertainty__common_reference": [0, 1, 1, 1, 1]}, "common_reference"),
        ({"uncertainty__common_growth": 5.0}, "common_growth"),
        ({"training": "none"}, "training"),
        ({"window_px": True}, "window_px"),
    ],
)
def test_metadata_that_miss_or_contradict_something_name_it(
    path: Path, changes: dict[str, Any], named: str
) -> None:
    assert named in refused(with_metadata(path, edited(**changes)))


def test_metadata_that_are_no_json_are_refused(path: Path) -> None:
    assert "JSON" in refused(with_metadata(path, "{"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"stages__crop__input_size": [64, 64]}, "crop_image"),
        ({"stages__crop__stride": 4}, "crop_logits"),
    ],
)
def test_metadata_that_contradict_the_network_are_refused(
    path: Path, changes: dict[str, Any], named: str
) -> None:
    assert named in refused(with_metadata(path, edited(**changes)))


def test_network_without_one_stage_is_refused(path: Path) -> None:
    onnx.utils.extract_model(str(path), str(path), ["coarse_image"], ["coarse_logits"])
    message = refused(with_metadata(path, description().to_json()))
    assert "crop_image is missing" in message


def test_weights_in_another_file_are_refused(path: Path) -> None:
    model = build_model(description())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="elsewhere.bin")
    path.write_bytes(model.SerializeToString())
    assert "another file" in refused(path)


def test_model_of_other_keypoints_than_the_configuration_is_refused(path: Path) -> None:
    model = KeypointModel.load(path)
    model.check_keypoints(KEYPOINTS)
    with pytest.raises(ConfigurationError, match="plug_tip"):
        model.check_keypoints(("plug_tip", *KEYPOINTS[1:]))
    with pytest.raises(ConfigurationError, match="expects"):
        model.check_keypoints(KEYPOINTS[::-1])
