"""Messages of goal logs: as ROS defines and writes them."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
from mcap_ros2._dynamic import generate_dynamic

from s3k_ros.cameras.recording.definitions import full_definition
from s3k_ros.goal_logs import schemas

VALUES = {
    schemas.JOINT_STATE: {"name": ["a", "bcd"], "position": [1.0, -2.5], "effort": [0.5]},
    schemas.WRENCH: {"wrench": {"force": {"x": 1.0, "y": 2.0, "z": 3.0}}},
    schemas.ROBOT_STATE: {"connected": True, "collision": True, "reason": "cuff"},
    schemas.KEYPOINTS: {
        "object_id": "fox",
        "keypoints": [
            {"name": "paw", "status": 3, "covariance": np.arange(9.0), "confidence": 0.5},
            {"name": "p", "position": {"x": 1.0, "y": 2.0, "z": 3.0}},
        ],
    },
    schemas.TRAJECTORY: {
        "joint_names": ["j"],
        "points": [{"positions": [1.0], "time_from_start": schemas.seconds(1_500_000_000)}] * 2,
    },
    schemas.PATH: {"poses": [{"pose": {"orientation": {"w": 1.0}}}]},
}


def short(kind: str) -> str:
    return kind.replace("/msg/", "/")


@pytest.mark.parametrize("kind", VALUES)
def test_messages_are_read_as_they_were_written(kind):
    values = {"header": schemas.header(12_000_000_034, "base"), **VALUES[kind]}
    definition = full_definition(kind, lambda p, n: schemas.DEFINITIONS[f"{p}/{n}"])
    read = generate_dynamic(short(kind), definition)[short(kind)](schemas.cdr(kind, values))
    assert read.header.stamp.nanosec == 34 and read.header.frame_id == "base"
    for name, value in VALUES[kind].items():
        same(getattr(read, name), value)


def same(read, value) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            same(getattr(read, name), inner)
    elif isinstance(value, list):
        assert len(read) == len(value)
        for one, other in zip(read, value, strict=True):
            same(one, other)
    else:
        assert np.array_equal(read, value)


@pytest.mark.parametrize("kind", VALUES)
def test_rclpy_reads_them_too(kind):
    serialization = pytest.importorskip("rclpy.serialization")
    package, _, name = kind.split("/")
    try:
        message = getattr(importlib.import_module(f"{package}.msg"), name)
    except ImportError:
        pytest.skip(f"{package} is not installed")
    values = {"header": schemas.header(12_000_000_034, "base"), **VALUES[kind]}
    read = serialization.deserialize_message(schemas.cdr(kind, values), message)
    assert read.header.stamp.sec == 12
    for name, value in VALUES[kind].items():
        same(getattr(read, name), value)


@pytest.mark.parametrize("kind", schemas.DEFINITIONS)
def test_definitions_are_those_of_the_packages(kind):
    package, name = kind.split("/")
    assert schemas.DEFINITIONS[kind].splitlines() == stripped(source(package, name))


def source(package: str, name: str) -> str:
    if package == "s3k_ros":
        return (Path(__file__).parents[2] / "msg" / f"{name}.msg").read_text()
    packages = pytest.importorskip("ament_index_python.packages")
    try:
        return (
            Path(packages.get_package_share_directory(package)) / "msg" / f"{name}.msg"
        ).read_text()
    except (packages.PackageNotFoundError, FileNotFoundError):
        pytest.skip(f"{package} is not installed")


def stripped(text: str) -> list[str]:
    """Fields alone, as DEFINITIONS writes them."""
    lines = (re.sub(r"\s+", " ", line.partition("#")[0]).strip() for line in text.splitlines())
    return [line for line in lines if line and "=" not in line]
