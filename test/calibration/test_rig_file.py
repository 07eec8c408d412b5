from __future__ import annotations

import numpy as np
import pytest
import yaml
from support.rigs import LENSES, make_rig

from s3k_ros.calibration.rig_file import load_rig, parse_rig, rig_text
from s3k_ros.errors import ConfigurationError


@pytest.mark.parametrize("lens", LENSES)
def test_rig_comes_back_from_its_file_as_it_was(lens, tmp_path):
    cameras = make_rig(lens)
    path = tmp_path / "rig.yaml"
    path.write_text(rig_text(cameras, "world"))
    rig = load_rig(path)
    assert rig.base_frame == "world"
    assert rig.frames == tuple(f"{camera.name}_optical" for camera in cameras)
    points = np.array([[0.6, 0.0, 0.1], [0.5, 0.1, 0.0]])
    for found, camera in zip(rig.cameras, cameras, strict=True):
        assert (found.name, found.width, found.height) == (camera.name, 640, 480)
        # A quaternion holds a rotation to 1e-16 only: 1e-9 px is far below any use.
        assert np.allclose(found.project(points), camera.project(points), atol=1e-9)


def values():
    return yaml.safe_load(rig_text(make_rig("plumb_bob"), "base"))


def drop_key(v):
    del v["cameras"]["cam1"]["matrix"]


def add_key(v):
    v["cameras"]["cam1"]["fov"] = 60


def use_nan(v):
    v["cameras"]["cam1"]["base_from_camera"]["translation"][0] = float("nan")


def zero_quaternion(v):
    v["cameras"]["cam1"]["base_from_camera"]["quaternion"] = [0, 0, 0, 0]


def use_text(v):
    v["cameras"]["cam1"]["matrix"][0] = "wide"


def half_pixel(v):
    v["cameras"]["cam1"]["width"] = 640.5


def no_cameras(v):
    v["cameras"] = {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (drop_key, "camera 'cam1': matrix is missing"),
        (add_key, "unknown key 'fov'"),
        (use_nan, "finite"),
        (zero_quaternion, "norm zero"),
        (use_text, "list of 9 numbers"),
        (half_pixel, "whole numbers"),
        (no_cameras, "at least one"),
    ],
)
def test_bad_rig_is_refused_with_its_reason(change, reason):
    content = values()
    change(content)
    with pytest.raises(ConfigurationError, match=reason):
        parse_rig(content)


@pytest.mark.parametrize("text", ["[1, 2", "42", ""])
def test_file_that_is_no_rig_is_refused_by_name(tmp_path, text):
    path = tmp_path / "rig.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"rig\.yaml"):
        load_rig(path)


def test_missing_file_is_refused_by_name():
    with pytest.raises(ConfigurationError, match="nowhere"):
        load_rig("/nowhere/rig.yaml")
