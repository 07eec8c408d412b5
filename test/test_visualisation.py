"""config/s3k.rviz and config/foxglove.json show topics that exist, with their types and QoS."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from s3k_ros.params.nodes import CAMERAS

ROOT = Path(__file__).parents[1]
RVIZ = yaml.safe_load((ROOT / "config/s3k.rviz").read_text())["Visualization Manager"]
FOXGLOVE = json.loads((ROOT / "config/foxglove.json").read_text())

# What each display of RViz takes (ros2/rviz, rviz_default_plugins/plugins_description.xml).
DISPLAYS = {
    "Image": "sensor_msgs/Image",
    "Camera": "sensor_msgs/Image",
    "MarkerArray": "visualization_msgs/MarkerArray",
    "PointCloud2": "sensor_msgs/PointCloud2",
    "RobotModel": "std_msgs/String",
}
NO_TOPIC = {"Grid", "TF"}
# The panels of Foxglove that are used (type before the "!" of an id).
PANELS = {
    "3D", "Image", "Plot", "StateTransitions", "DiagnosticSummary", "DiagnosticStatusPanel",
    "RawMessages", "RosOut", "Tab",
}  # fmt: skip


def published() -> dict[str, tuple[str, str]]:
    """Name without a leading slash -> type and QoS of every topic that a node publishes."""
    nodes: dict[str, Any] = yaml.safe_load((ROOT / "docs/topics.yaml").read_text())
    found = {}
    for row in (row for node in nodes.values() for row in node.get("publishes", [])):
        for camera in CAMERAS if "<camera>" in row["name"] else ("",):
            name = row["name"].replace("<camera>", camera).removeprefix("/")
            found[name] = row["type"], row["qos"]
    return found


def displays() -> list[dict[str, Any]]:
    return [d for d in RVIZ["Displays"] if "Topic" in d or "Description Topic" in d]


def topic_of(display: dict[str, Any]) -> dict[str, Any]:
    topic: dict[str, Any] = display.get("Topic") or display["Description Topic"]
    return topic


@pytest.mark.parametrize("display", displays(), ids=lambda display: display["Name"])
def test_rviz_shows_a_topic_of_its_type_with_a_qos_that_matches(display: dict[str, Any]) -> None:
    package, _, name = display["Class"].partition("/")
    topic = topic_of(display)
    kind, qos = published()[topic["Value"]]
    assert (package, kind) == ("rviz_default_plugins", DISPLAYS[name])
    # A reader that asks for more than is offered gets nothing (REP-2003, DDS).
    assert topic["Reliability Policy"] == ("Best Effort" if qos == "images" else "Reliable")
    assert topic["Durability Policy"] == ("Transient Local" if qos == "latched" else "Volatile")


def test_rviz_displays_are_of_known_classes_and_in_the_base_frame() -> None:
    classes = {d["Class"].partition("/")[2] for d in RVIZ["Displays"]}
    assert classes == set(DISPLAYS) | NO_TOPIC
    assert RVIZ["Global Options"]["Fixed Frame"] == "base"


def test_rviz_shows_every_camera_with_keypoints_and_raw() -> None:
    shown = {topic_of(d)["Value"]: d["Enabled"] for d in displays() if "Image" in d["Class"]}
    assert shown == {
        **{f"{camera}/keypoint_image": True for camera in CAMERAS},
        **{f"{camera}/image_raw": False for camera in CAMERAS},  # on demand: a stream costs
    }


def foxglove_topics() -> Iterator[tuple[str, str, str]]:
    """Panel, topic and the type that the panel takes; "" for any."""
    for panel, config in FOXGLOVE["configById"].items():
        mode = config.get("imageMode", {})
        if "imageTopic" in mode:
            yield panel, mode["imageTopic"], "sensor_msgs/Image"
        if "calibrationTopic" in mode:
            yield panel, mode["calibrationTopic"], "sensor_msgs/CameraInfo"
        for topic in config.get("topics", {}):
            yield panel, topic, ""
        for layer in config.get("layers", {}).values():
            if layer.get("sourceType") == "topic":
                yield panel, layer["topic"], "std_msgs/String"
        if "topicToRender" in config:
            yield panel, config["topicToRender"], "diagnostic_msgs/DiagnosticArray"
        for path in [config.get("topicPath"), *(p["value"] for p in config.get("paths", []))]:
            if path:
                yield panel, path.partition(".")[0], ""


def test_foxglove_shows_topics_that_exist_with_their_types() -> None:
    found = list(foxglove_topics())
    assert len(found) > 20
    for panel, topic, kind in found:
        assert topic.startswith("/"), panel
        assert topic[1:] in published(), (panel, topic)
        assert kind in ("", published()[topic[1:]][0]), (panel, topic)


def test_foxglove_reads_fields_that_the_messages_have() -> None:
    fields = re.findall(r"^\S+ (\w+)$", (ROOT / "msg/Keypoint3D.msg").read_text(), re.MULTILINE)
    paths = [p["value"] for c in FOXGLOVE["configById"].values() for p in c.get("paths", [])]
    names = [re.fullmatch(r"/keypoints\.keypoints\[\d\]\.(\w+)(\[\d\])?", path) for path in paths]
    assert paths
    assert all(name and name[1] in fields for name in names), paths


def panels_in(layout: Any) -> Iterator[str]:
    """The panels of a layout, tabs opened."""
    if isinstance(layout, dict):
        yield from panels_in(layout["first"])
        yield from panels_in(layout["second"])
        return
    yield layout
    for tab in FOXGLOVE["configById"][layout].get("tabs", []):
        yield from panels_in(tab["layout"])


def test_every_foxglove_panel_is_placed_once_and_of_a_known_type() -> None:
    placed = sorted(panels_in(FOXGLOVE["layout"]))
    assert placed == sorted(FOXGLOVE["configById"])
    assert {panel.partition("!")[0] for panel in placed} == PANELS


@pytest.mark.ros
def test_launch_files_start_rviz_with_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for the package rviz2, which this environment lacks."""
    launch_file = pytest.importorskip("ros2cli.launch_file")
    (tmp_path / "share/ament_index/resource_index/packages").mkdir(parents=True)
    (tmp_path / "share/ament_index/resource_index/packages/rviz2").touch()
    (tmp_path / "lib/rviz2").mkdir(parents=True)
    (tmp_path / "lib/rviz2/rviz2").symlink_to(sys.executable)
    arguments = {"rviz": "true", "namespace": "/west", "base_frame": "table"}
    path = str(ROOT / "launch/cell.launch.xml")
    with pytest.raises(LookupError, match="rviz2"):
        launch_file.read_processes(path, arguments)
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path), prepend=":")
    [rviz] = [p for p in launch_file.read_processes(path, arguments) if p.name == "rviz2"]
    words = dict(zip(rviz.command, rviz.command[1:], strict=False))
    assert Path(words["-d"]).read_text() == (ROOT / "config/s3k.rviz").read_text()
    assert words["-f"] == "table"
    assert "__ns:=/west" in rviz.command
    assert not any(p.name == "rviz2" for p in launch_file.read_processes(path, {}))
