"""Which rig a node's parameters mean, and what recordings are refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.camera_rigs import NAMES, recorded_sets
from support.recordings import record

from s3k_ros.cameras.recording.writer import RecordingWriter
from s3k_ros.errors import ConfigurationError
from s3k_ros.params.cameras import (
    CameraRigParameters,
    CameraSettings,
    ReplayParameters,
    TriggerParameters,
)
from s3k_ros.ros.rig_source import RigConfiguration, make_rig


def replay(cameras: tuple[str, ...] = NAMES, **parameters: Any) -> tuple[Any, list[str]]:
    """The rig, and what was logged."""
    warnings: list[str] = []
    logger = SimpleNamespace(warning=warnings.append)
    node: Any = SimpleNamespace(get_logger=lambda: logger)
    configuration = RigConfiguration(
        "replay",
        CameraRigParameters(cameras=cameras),
        CameraSettings(),
        TriggerParameters(),
        ReplayParameters(**parameters),
        node,
    )
    return make_rig(configuration), warnings


def test_a_recording_plays_in_the_order_of_the_nodes_cameras(tmp_path: Path) -> None:
    path = record(tmp_path / "r.mcap", recorded_sets(3))
    rig, warnings = replay(("west", "north"), recording=str(path), speed=0.0)
    rig.open()
    rig.start()
    assert [list(rig.next_set(0.0).frames) for _ in range(3)] == [["west", "north"]] * 3
    assert not warnings


def test_an_unfinished_recording_is_played_with_a_warning(tmp_path: Path) -> None:
    path = record(tmp_path / "r.mcap", recorded_sets(3))
    path.write_bytes(path.read_bytes()[:-100])
    rig, warnings = replay(recording=str(path), speed=0.0)
    rig.open()
    rig.start()
    assert sum(rig.next_set(0.0) is not None for _ in range(4)) == 3
    assert len(warnings) == 1 and "never finished" in warnings[0]


def test_recordings_that_cannot_be_played_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.mcap"
    RecordingWriter(empty).close()
    path = record(tmp_path / "r.mcap", recorded_sets(1))
    with pytest.raises(ConfigurationError, match=r"needs the parameter replay\.recording"):
        replay()
    with pytest.raises(ConfigurationError, match=r"/nowhere/r\.mcap does not exist"):
        replay(recording="/nowhere/r.mcap")
    with pytest.raises(ConfigurationError, match="holds no images"):
        replay(recording=str(empty))
    with pytest.raises(ConfigurationError, match="no images of camera 'zenith'; it has east"):
        replay(("north", "zenith"), recording=str(path))
