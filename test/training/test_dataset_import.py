"""`s3k dataset import` and `s3k dataset rig`: recordings become datasets and rig files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.recordings import (
    cdr,
    topic,
    write_calibration,
    write_sets,
)
from support.rigs import make_rig

from s3k_ros import cli
from s3k_ros.calibration.rig_file import load_rig, rig_text
from s3k_ros.cameras.port import Frame, FrameSet, Reason
from s3k_ros.cameras.recording.writer import RecordingWriter
from s3k_ros.geometry.camera import Camera
from s3k_ros.training.dataset.reader import Dataset
from s3k_ros.training.dataset.tools.check import check

PERIOD_NS = 50_000_000
START_NS = 1_700_000_000_000_000_000
MODEL = "s3k_ros/msg/KeypointModel"
CAMERAS = [
    dataclasses.replace(
        camera,
        width=64,
        height=48,
        matrix=np.array([[39.0, 0.0, 31.5], [0.0, 39.0, 23.5], [0.0, 0.0, 1.0]]),
    )
    for camera in make_rig("plumb_bob")
]


def sets(numbers: range, *, mono: bool = False, lost: int = -1) -> Iterator[FrameSet]:
    """Sets of grey images, brighter from one to the next; one lacks cam2."""
    for i in numbers:
        stamp = START_NS + i * PERIOD_NS
        frames = {}
        for k, camera in enumerate(CAMERAS):
            if (i, k) != (lost, 2):
                image = np.full((48, 64) if mono else (48, 64, 3), (5 * i + k) % 250, np.uint8)
                frames[camera.name] = Frame(camera.name, image, stamp + 1000 * k, 1, i)
        missing = {} if len(frames) == 4 else {"cam2": Reason.LOST}
        yield FrameSet(i + 1, stamp, 0, frames, missing)


def recording(
    path: Path,
    *parts: Iterator[FrameSet],
    cameras: list[Camera] | None = None,
    model: bool = True,
) -> Path:
    writer = RecordingWriter(path)
    write_calibration(writer, CAMERAS if cameras is None else cameras)
    if model:
        values: dict[str, Any] = {
            "header": {"stamp": {"sec": 0, "nanosec": 0}, "frame_id": ""},
            "model": "m",
            "object_id": "box",
            "names": ["corner", "middle"],
            "skeleton": [],
            "sigma": 2.0,
            "input_size": [],
        }
        writer.write(writer.add_topic(topic("/keypoint_model", MODEL)), cdr(MODEL, values), 1, 1)
    for part in parts:
        write_sets(writer, part)
    writer.close()
    return path


def imported(out: Path, *words: object) -> int:
    return cli.main(["dataset", "import", *map(str, words), "--out", str(out)])


def test_a_recording_becomes_a_dataset_without_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(tmp_path / "r.mcap", sets(range(8), lost=3))
    assert imported(tmp_path / "d", path, "--image-format", "png") == 0
    assert "7 samples in 1 segments, 1 sets lack a camera" in capsys.readouterr().out
    assert not check(tmp_path / "d").faults
    dataset = Dataset(tmp_path / "d")
    assert (dataset.object_id, dataset.keypoint_names) == ("box", ["corner", "middle"])
    assert not dataset.labelled.any() and set(dataset.segments) == {0}
    whole = [i for i in range(8) if i != 3]
    assert dataset.seeds == [START_NS + i * PERIOD_NS + 1000 for i in whole]
    for sample, i in enumerate(whole):
        assert [int(image.max()) for image in dataset.images(sample)] == [
            5 * i + k for k in range(4)
        ]
    for camera, true in zip(dataset.cameras(2), CAMERAS, strict=True):
        assert np.allclose(camera.base_from_camera.matrix, true.base_from_camera.matrix)
        assert np.array_equal(camera.distortion, true.distortion)


def test_several_recordings_pauses_and_every_nth_set(tmp_path: Path) -> None:
    a = recording(tmp_path / "a.mcap", sets(range(5)), sets(range(205, 210)))
    b = recording(tmp_path / "b.mcap", sets(range(3), mono=True), model=False)
    assert imported(tmp_path / "d", a, b, "--every", 2) == 0
    dataset = Dataset(tmp_path / "d")
    assert dataset.segments == [0, 0, 0, 1, 1, 2, 2]
    numbers = [(seed - START_NS) // PERIOD_NS for seed in dataset.seeds]
    assert numbers == [0, 2, 4, 206, 208, 0, 2]
    assert not check(tmp_path / "d").faults


def test_a_rig_file_takes_the_place_of_the_recorded_calibration(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.mcap", sets(range(2)), cameras=[])
    rig = tmp_path / "rig.yaml"
    rig.write_text(rig_text(CAMERAS, "base"))
    chosen = ["--cameras", "cam2", "cam0", "--object", "shoe", "--keypoints", "tip"]
    assert imported(tmp_path / "d", path, "--rig", rig, *chosen) == 0
    dataset = Dataset(tmp_path / "d")
    assert dataset.camera_names == ["cam2", "cam0"]
    assert (dataset.object_id, dataset.keypoint_names) == ("shoe", ["tip"])
    assert np.array_equal(dataset.cameras(0)[0].matrix, CAMERAS[2].matrix)


def test_recorded_calibration_becomes_a_rig_file(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.mcap", sets(range(1)))
    command = ["dataset", "rig", str(path), "--out", str(tmp_path / "rig.yaml")]
    assert cli.main(command) == 0
    rig = load_rig(tmp_path / "rig.yaml")
    assert [camera.name for camera in rig.cameras] == ["cam0", "cam1", "cam2", "cam3"]
    assert np.array_equal(rig.cameras[3].matrix, CAMERAS[3].matrix)
    assert cli.main(command) == 1  # nothing is overwritten


def test_what_cannot_be_imported_is_said_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = recording(tmp_path / "good.mcap", sets(range(2)), model=False)
    bare = recording(tmp_path / "bare.mcap", sets(range(2)), cameras=[])
    large = recording(tmp_path / "large.mcap", sets(range(2)), cameras=make_rig())
    text = tmp_path / "text.mcap"
    text.write_text("no recording at all")
    cases: list[tuple[list[object], str]] = [
        ([good], "has no keypoint_model: name --object and --keypoints"),
        ([bare], "camera 'cam0' has no calibration in camera_info: give a rig file"),
        ([large], "images of 'cam0' have 64 x 48 px, its calibration is for 640 x 480"),
        ([good, text], "text.mcap is no MCAP file"),
        ([good, "--cameras", "cam9"], "no images of camera 'cam9'"),
        ([good, "--every", 0], "every = 0 must be at least 1"),
    ]
    for words, message in cases:
        assert imported(tmp_path / "d", *words) == 1
        assert message in capsys.readouterr().err
        assert not (tmp_path / "d").exists()


def test_a_damaged_recording_is_told_and_leaves_no_dataset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(tmp_path / "r.mcap", sets(range(200)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    assert imported(tmp_path / "d", path) == 1
    assert "is damaged" in capsys.readouterr().err
    assert not (tmp_path / "d" / "dataset.json").exists()
