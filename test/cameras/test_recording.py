"""Recordings are read as they were written, and what is wrong is told."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.camera_rigs import recorded_sets
from support.recordings import (
    IMAGE,
    STRING,
    cdr,
    definition,
    header,
    image_cdr,
    read_sets,
    record,
    same_images,
    topic,
    write_calibration,
    write_sets,
)
from support.rigs import make_rig

from s3k_ros.cameras.port import Frame, FrameSet, Reason
from s3k_ros.cameras.recording.calibration import recorded_cameras
from s3k_ros.cameras.recording.gathering import Gatherer
from s3k_ros.cameras.recording.reader import Recording
from s3k_ros.cameras.recording.sets import RecordedSets, image_topics
from s3k_ros.cameras.recording.writer import RecordingWriter
from s3k_ros.cameras.window import Window
from s3k_ros.errors import ConfigurationError, DataError

SLOP_NS = 5_000_000


# --- reading what is not as it should be --------------------------------------------------------


def test_a_cut_recording_ends_where_it_is_cut(tmp_path: Path) -> None:
    whole = record(tmp_path / "whole.mcap", recorded_sets(600), compression="none").read_bytes()
    cut = tmp_path / "cut.mcap"
    lengths = [len(whole) * tenth // 10 for tenth in range(1, 10)]
    for length in (*lengths, *range(len(whole) - 40, len(whole), 9)):
        cut.write_bytes(whole[:length])
        assert not Recording(cut).finished
        list(Recording(cut).messages(lambda _: True))
    assert len(read_sets(cut)) == 600  # only the index is torn


def test_damage_is_told_and_never_passed_on(tmp_path: Path) -> None:
    whole = record(tmp_path / "whole.mcap", recorded_sets(60)).read_bytes()
    expected = read_sets(tmp_path / "whole.mcap")
    damaged, told = tmp_path / "damaged.mcap", 0
    for place in range(8, len(whole) - 8, len(whole) // 97):
        data = bytearray(whole)
        data[place] ^= 0x55
        damaged.write_bytes(data)
        try:
            found = read_sets(damaged)
        except (DataError, ConfigurationError) as error:
            assert str(damaged) in str(error)
            told += 1
        else:  # the index, or a count that nobody needs
            assert len(found) == len(expected)
            assert all(same_images(a, b) for a, b in zip(expected, found, strict=True))
    assert told > 20


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.mcap", b"", "is no MCAP file"),
        ("text.mcap", b"hello, hello, hello", "is no MCAP file"),
        ("bag.db3", b"SQLite format 3\0", "ros2 bag convert"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        Recording(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        Recording(tmp_path / "none.mcap")
    with pytest.raises(ConfigurationError, match="it holds none"):
        Recording(tmp_path)
    record(tmp_path / "one.mcap", recorded_sets(2))
    assert len(read_sets(tmp_path)) == 2
    record(tmp_path / "two.mcap", recorded_sets(2))
    with pytest.raises(ConfigurationError, match=r"one\.mcap, two\.mcap: name a file"):
        Recording(tmp_path)


def test_a_recording_without_images_lists_what_it_has(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r.mcap")
    writer.write(writer.add_topic(topic("/words", STRING)), cdr(STRING, {"data": "x"}), 1, 1)
    writer.close()
    with pytest.raises(ConfigurationError, match=r"it holds /words \(std_msgs/msg/String\)"):
        RecordedSets(Recording(tmp_path / "r.mcap"))


def test_cameras_are_found_in_any_namespace_and_must_be_the_only_ones(tmp_path: Path) -> None:
    path = tmp_path / "r.mcap"
    writer = RecordingWriter(path)
    write_sets(writer, recorded_sets(1), "/cell")
    write_sets(writer, recorded_sets(1), "/other/cell")
    writer.close()
    with pytest.raises(ConfigurationError, match="several topics of camera 'east'"):
        image_topics(Recording(path))
    with pytest.raises(ConfigurationError, match="no images of camera 'zenith'; it has east"):
        image_topics(Recording(path), ["zenith"])
    one = record(tmp_path / "one.mcap", recorded_sets(2))
    assert RecordedSets(Recording(one), ["south"]).cameras == ("south",)
    assert [list(s.frames) for s in read_sets(one, cameras=["south", "north"])] == [
        ["south", "north"]
    ] * 2


# --- images -----------------------------------------------------------------------------------


def write_images(path: Path, *messages: bytes) -> Path:
    writer = RecordingWriter(path)
    channel = writer.add_topic(topic("/cam/image_raw", IMAGE))
    for number, data in enumerate(messages):
        writer.write(channel, data, number, number)
    writer.close()
    return path


BGR = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


@pytest.mark.parametrize("encoding", ["bgr8", "rgb8", "8UC3"])
def test_colour_images_become_bgr(tmp_path: Path, encoding: str) -> None:
    path = write_images(tmp_path / "r.mcap", image_cdr(BGR, 1, encoding))
    expected = BGR[..., ::-1] if encoding == "rgb8" else BGR
    assert np.array_equal(read_sets(path)[0].frames["cam"].image, expected)


@pytest.mark.parametrize("encoding", ["bayer_rggb8", "bayer_grbg8", "bayer_gbrg8", "bayer_bggr8"])
def test_bayer_images_are_interpolated(tmp_path: Path, encoding: str) -> None:
    """One colour alone, so every pixel must show it."""
    mosaic = np.zeros((8, 8), np.uint8)
    at = encoding.removeprefix("bayer_")[:4].index("r")
    mosaic[at // 2 :: 2, at % 2 :: 2] = 200
    path = write_images(tmp_path / "r.mcap", image_cdr(mosaic, 1, encoding))
    image = read_sets(path)[0].frames["cam"].image
    assert image[2:6, 2:6].tolist() == np.broadcast_to([0, 0, 200], (4, 4, 3)).tolist()


def test_padded_rows_are_cut(tmp_path: Path) -> None:
    padded = np.full((4, 10), 99, np.uint8)
    padded[:, :6] = BGR[..., 0]
    data = image_cdr(padded, 1, width=6, step=10)
    path = write_images(tmp_path / "r.mcap", data)
    assert np.array_equal(read_sets(path)[0].frames["cam"].image, BGR[..., 0])


def test_an_encoding_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = write_images(tmp_path / "r.mcap", image_cdr(BGR, 1, "yuv422"))
    with pytest.raises(DataError, match=r"/cam/image_raw: image 6 x 4 'yuv422': only bgr8, "):
        read_sets(path)


def test_one_bad_image_costs_its_view(tmp_path: Path) -> None:
    good, bad = image_cdr(BGR, 1), image_cdr(BGR, 2, data=b"short")
    sets = RecordedSets(Recording(write_images(tmp_path / "r.mcap", good, bad)))
    assert [s.stamp_ns for s in sets()] == [1]
    assert sets.refused == {"cam": 1}


# --- sets -------------------------------------------------------------------------------------


def frame(camera: str, stamp_ns: int) -> Frame:
    return Frame(camera, np.zeros((1, 1), np.uint8), stamp_ns, 1, 1)


def gathered(*frames: Frame, cameras: tuple[str, ...] = ("a", "b")) -> list[FrameSet]:
    gatherer = Gatherer(cameras, SLOP_NS)
    return [*itertools.chain.from_iterable(map(gatherer.add, frames)), *gatherer.rest()]


def test_a_lost_frame_costs_its_view_and_shifts_nothing() -> None:
    period = 50_000_000
    sets = gathered(*(frame(c, period * i) for i in range(5) for c in "ab" if (c, i) != ("b", 2)))
    assert [sorted(s.frames) for s in sets] == [["a", "b"]] * 2 + [["a"]] + [["a", "b"]] * 2
    assert sets[2].missing == {"b": Reason.LOST}
    assert [s.set_id for s in sets] == [1, 2, 3, 4, 5]


def test_a_camera_that_ends_does_not_hold_up_the_others() -> None:
    gatherer = Gatherer(("a", "b"), SLOP_NS)
    list(gatherer.add(frame("b", 0)))
    out = [s for i in range(100) for s in gatherer.add(frame("a", 50_000_000 * i))]
    assert len(out) > 70


def test_a_clock_that_is_set_back_begins_anew() -> None:
    second = 1_000_000_000
    stamps = [10 * second, 11 * second, 1 * second, 2 * second]
    sets = gathered(*(frame(c, t) for t in stamps for c in "ab"))
    assert [s.stamp_ns for s in sets] == stamps
    assert all(s.complete for s in sets)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_set_is_mixed_and_every_whole_one_is_found(data: st.DataObject) -> None:
    """Any jitter within the slop, any losses, any order of arrival between cameras."""
    cameras, count, period = ("a", "b", "c"), 12, 20_000_000
    jitter = st.integers(0, SLOP_NS)
    arrivals = {
        c: [
            (i, frame(c, i * period + data.draw(jitter)))
            for i in range(count)
            if data.draw(st.integers(0, 9))
        ]
        for c in cameras
    }
    number = {(f.camera, f.stamp_ns): i for queue in arrivals.values() for i, f in queue}
    whole = set.intersection(*({i for i, _ in queue} for queue in arrivals.values()))
    order: list[Frame] = []
    while queues := [queue for queue in arrivals.values() if queue]:
        order.append(data.draw(st.sampled_from(queues)).pop(0)[1])
    sets = gathered(*order, cameras=cameras)
    members = [{number[f.camera, f.stamp_ns] for f in s.frames.values()} for s in sets]
    assert all(len(numbers) == 1 for numbers in members)
    assert whole <= {numbers.pop() for s, numbers in zip(sets, members, strict=True) if s.complete}
    stamps = [s.stamp_ns for s in sets]
    assert stamps == sorted(stamps)


# --- calibration ------------------------------------------------------------------------------


def calibrated(path: Path, **changed: Any) -> Recording:
    writer = RecordingWriter(path)
    write_calibration(writer, make_rig("plumb_bob"), **changed)
    writer.close()
    return Recording(path)


TOPICS = {f"cam{i}": f"/cam{i}/image_raw" for i in range(4)}


def test_calibration_comes_from_camera_info_and_tf(tmp_path: Path) -> None:
    found = recorded_cameras(calibrated(tmp_path / "r.mcap"), TOPICS, "base")
    for camera, true in zip(found, make_rig("plumb_bob"), strict=True):
        assert (camera.name, camera.width, camera.height) == (true.name, 640, 480)
        assert np.array_equal(camera.matrix, true.matrix)
        assert np.array_equal(camera.distortion, true.distortion)
        pose = camera.base_from_camera.matrix
        assert np.allclose(pose, true.base_from_camera.matrix, atol=1e-12)


def test_frames_say_which_part_of_the_sensor_they_show(tmp_path: Path) -> None:
    """By the camera_info that held when they were exposed, wherever it lies in the file."""
    camera = dataclasses.replace(make_rig()[0], name="cam")
    region = {"x_offset": 8, "y_offset": 4, "width": 12, "height": 8, "do_rectify": True}
    writer = RecordingWriter(tmp_path / "r.mcap")
    write_calibration(writer, [camera], header=header(10))
    write_calibration(writer, [camera], header=header(30), roi=region, binning_x=2, binning_y=2)
    channel = writer.add_topic(topic("/cam/image_raw", IMAGE))
    for stamp in (5, 20, 40):
        writer.write(channel, image_cdr(BGR, stamp), stamp, stamp)
    writer.close()
    sets = read_sets(tmp_path / "r.mcap", slop_s=1e-9)
    assert [s.frames["cam"].window for s in sets] == [None, None, Window(8, 4, 2, 640, 480)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"base_frame": "world"}, "does not lead from 'base' to 'cam0_optical'"),
        ({"k": [0.0] * 9}, "no calibration in camera_info"),
        ({"binning_x": 2}, "region of its sensor"),
        ({"distortion_model": "fisheye"}, "distortion_model 'fisheye'"),
    ],
)
def test_calibration_that_cannot_be_used_is_refused(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        recorded_cameras(calibrated(tmp_path / "r.mcap", **changed), TOPICS, "base")


def test_a_camera_without_camera_info_is_named(tmp_path: Path) -> None:
    topics = {**TOPICS, "zenith": "/zenith/image_raw"}
    with pytest.raises(ConfigurationError, match="camera 'zenith' has no calibration"):
        recorded_cameras(calibrated(tmp_path / "r.mcap"), topics, "base")


def test_definitions_of_our_messages_can_be_decoded() -> None:
    """Foxglove's parser understands the concatenated text of every message of this package."""
    from mcap_ros2._dynamic import generate_dynamic

    folder = Path(__file__).parents[2] / "msg"
    kinds = [f"s3k_ros/msg/{path.stem}" for path in sorted(folder.glob("*.msg"))]
    assert kinds
    for kind in kinds:
        assert kind in generate_dynamic(kind, definition(kind))
