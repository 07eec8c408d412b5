"""The scene file: what it must say, and that the shipped one fits the simulated cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from dm_control import mjcf
from hypothesis import given, settings
from hypothesis import strategies as st

from s3k_ros.calibration.rig_file import load_rig
from s3k_ros.errors import ConfigurationError
from s3k_ros.grasp.arm.world import load_scene, parse_scene
from s3k_ros.params.grasp import GraspParameters, GraspServerParameters
from s3k_ros.simulation import things, touch
from s3k_ros.simulation.cell import TABLE_HEIGHT_M
from s3k_ros.simulation.rig import demo_rig

ROOT = Path(__file__).parents[2]
BOX = {"size_m": [0.1, 0.2, 0.3], "position_m": [0.5, 0.0, 0.1]}
WALL = {"point_m": [-1, 0, 0], "normal": [2, 0, 0]}


def no_rig(path: Path):
    raise AssertionError(f"{path} must not be read")


def parse(**parts):
    return parse_scene({"base_frame": "base", **parts}, "base", no_rig)


def test_the_shipped_scene_holds_the_cameras_of_the_simulated_cell():
    scene = load_scene(ROOT / GraspServerParameters().scene, "base", load_rig)
    bodies = {box.name: box for box in scene.boxes}
    for camera in demo_rig():
        body = bodies[f"camera {camera.name}"]
        # The simulated housing stands behind the pinhole, along the optical axes.
        behind = np.array([0.0, 0.0, -touch.CAMERA_HALF_M[2]])
        housing = camera.base_from_camera.apply(behind[None])[0]
        offset = body.pose.inverse().apply(housing[None])[0]
        assert (np.abs(offset) + touch.CAMERA_HALF_M <= body.size / 2 + 1e-6).all()
    assert GraspParameters().table_height_m == TABLE_HEIGHT_M


def test_the_scene_with_the_bin_holds_the_simulated_cells_bin():
    scene = load_scene(ROOT / "config" / "scene_bin.yaml", "base", load_rig)
    usual = load_scene(ROOT / "config" / "scene.yaml", "base", load_rig)
    walls = [box for box in scene.boxes if "bin" in box.name]
    assert len(scene.boxes) == len(usual.boxes) + len(walls)
    root = mjcf.RootElement()
    things.add_bin(root, TABLE_HEIGHT_M)
    body = root.find("body", things.BIN)
    sides = [geom for geom in body.geom if geom.contype != 0]
    simulated = {(*(body.pos + geom.pos), *(2 * geom.size)) for geom in sides}
    described = {(*box.pose.translation, *box.size) for box in walls}
    assert np.allclose(sorted(simulated), sorted(described), atol=1e-6)


def test_boxes_and_walls_are_read():
    scene = parse(boxes={"bin": BOX | {"quaternion": [0, 0, 1, 0]}}, walls={"behind": WALL})
    (box,), (wall,) = scene.boxes, scene.walls
    assert box.name == "bin" and box.size.tolist() == [0.1, 0.2, 0.3]
    assert np.allclose(box.pose.rotation, np.diag([-1, -1, 1]))
    assert wall.normal.tolist() == [1, 0, 0]


def test_an_empty_scene_is_a_scene():
    assert parse().boxes == () and parse(boxes=None, walls={}).walls == ()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"box": {}}, "unknown key 'box'; valid: base_frame, boxes, walls, cameras"),
        ({"boxes": [BOX]}, "boxes must map names to entries"),
        ({"boxes": {"bin": {"size_m": [1, 1, 1]}}}, "box 'bin': position_m is missing"),
        ({"boxes": {"bin": BOX | {"colour": "red"}}}, "box 'bin': unknown key 'colour'"),
        ({"boxes": {"bin": BOX | {"size_m": [1, 0, 1]}}}, "box 'bin': size_m"),
        ({"boxes": {"bin": BOX | {"size_m": [1, 1]}}}, "must be a list of 3 numbers"),
        ({"boxes": {"bin": BOX | {"position_m": [1, 1, "1"]}}}, "box 'bin': position_m"),
        ({"boxes": {"bin": BOX | {"position_m": [1, 1, float("nan")]}}}, "must be finite"),
        ({"boxes": {"bin": BOX | {"position_m": [500, 0, 0]}}}, "at most 20"),
        ({"boxes": {"bin": BOX | {"quaternion": [0, 0, 0, 2]}}}, "quaternion"),
        ({"walls": {"behind": WALL | {"normal": [0, 0, 0]}}}, "wall 'behind': normal"),
        ({"boxes": {"a": BOX}, "walls": {"a": WALL}}, "the name 'a' stands twice"),
        ({"cameras": {"rig": 3, "size_m": [1, 1, 1]}}, "rig = 3 must be a file's name"),
    ],
)
def test_a_wrong_scene_names_its_entry(parts, message):
    with pytest.raises(ConfigurationError) as error:
        parse(**parts)
    assert message in str(error.value)


def test_another_base_frame_is_refused():
    with pytest.raises(ConfigurationError, match="'world' must be the robot's base frame 'base'"):
        parse_scene({"base_frame": "world"}, "base", no_rig)


def test_errors_name_the_file(tmp_path):
    path = tmp_path / "scene.yaml"
    for text in ("boxes: {", "boxes: {}", "base_frame: base\ncameras: {rig: x, size_m: [1, 1, 1]}"):
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=r"scene\.yaml"):
            load_scene(path, "base", load_rig)


numbers = st.floats(-20, 20, allow_nan=False).map(lambda v: round(v, 6))
sizes = st.floats(0.001, 5).map(lambda v: round(v, 6))


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text("abc ", min_size=1), st.tuples(*[sizes] * 3, *[numbers] * 3)))
def test_what_a_file_says_is_what_is_checked(boxes):
    entries = {
        name: {"size_m": list(values[:3]), "position_m": list(values[3:])}
        for name, values in boxes.items()
    }
    text = yaml.safe_dump({"base_frame": "base", "boxes": entries})
    scene = parse_scene(yaml.safe_load(text), "base", no_rig)
    read = {box.name: (*box.size, *box.pose.translation) for box in scene.boxes}
    assert read == boxes
