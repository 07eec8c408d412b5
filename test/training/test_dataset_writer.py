"""A kill at any moment loses no finished sample and never leaves a half dataset that opens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pyarrow")

from support.toy_training import CAMERAS, KEYPOINTS, rig

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.training.dataset.reader import Dataset, DatasetWriter
from s3k_ros.training.dataset.writer import JOURNAL

RIG = rig(64, 48)


def open_writer(folder: Path, **changes) -> DatasetWriter:
    arguments = {"object_id": "toy", "keypoints": KEYPOINTS, "cameras": CAMERAS}
    return DatasetWriter(folder, **{**arguments, "info": {"seed": 3, "commit": "a"}, **changes})


def add(writer: DatasetWriter, value: int = 0, **changes) -> int:
    images = {camera.name: np.full((48, 64, 3), value, np.uint8) for camera in RIG}
    arguments = {"labels": {("a", "head"): (value, 2.5)}, "truth": None, "seed": value}
    return writer.add(images, RIG, **{**arguments, **changes})


def half_written(folder: Path, samples: int = 2) -> Path:
    """A folder as a kill leaves it."""
    writer = open_writer(folder)
    for sample in range(samples):
        add(writer, sample)
    writer._journal.close()
    return folder


def test_an_unfinished_folder_does_not_open(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not finished"):
        Dataset(half_written(tmp_path / "d"))


def test_an_exception_leaves_the_folder_unfinished(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_writer(tmp_path / "d") as writer:
        add(writer)
        raise KeyboardInterrupt
    with pytest.raises(ConfigurationError, match="is not finished"):
        Dataset(tmp_path / "d")


def test_resuming_keeps_what_was_written_and_goes_on(tmp_path: Path) -> None:
    whole = open_writer(tmp_path / "whole")
    for sample in range(4):
        add(whole, sample, truth=np.full((4, 3), sample / 3))
    whole.close()
    part = open_writer(tmp_path / "part")
    for sample in range(2):
        add(part, sample, truth=np.full((4, 3), sample / 3))
    part._journal.close()
    with open_writer(tmp_path / "part", resume=True) as writer:
        assert len(writer) == 2
        for sample in range(2, 4):
            add(writer, sample, truth=np.full((4, 3), sample / 3))
    expected = sorted(path for path in (tmp_path / "whole").rglob("*") if path.is_file())
    found = sorted(path for path in (tmp_path / "part").rglob("*") if path.is_file())
    assert [path.name for path in found] == [path.name for path in expected]
    for a, b in zip(found, expected, strict=True):
        assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize("torn", ['{"samples": [{"sam', "", "{}"])
def test_a_torn_last_line_costs_only_its_sample(tmp_path: Path, torn: str) -> None:
    folder = half_written(tmp_path / "d")
    with (folder / JOURNAL).open("a") as journal:
        journal.write(torn)
    with open_writer(folder, resume=True) as writer:
        assert add(writer, 2) == 2
    assert Dataset(folder).seeds == [0, 1, 2]


def test_a_kill_while_writing_can_be_resumed(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
import test_dataset_writer as test
writer = test.open_writer(Path({str(tmp_path / "d")!r}), resume=True)
while True:
    test.add(writer, len(writer) % 256)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    journal = tmp_path / "d" / JOURNAL
    deadline = time.monotonic() + 200
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 20):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with open_writer(tmp_path / "d", resume=True) as writer:
        count = len(writer)
        assert count >= 20
    dataset = Dataset(tmp_path / "d")
    assert len(dataset) == count
    for sample in (0, count - 1):
        assert abs(int(dataset.images(sample)[0].mean()) - sample % 256) <= 1


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"object_id": "other"}, "object_id"),
        ({"keypoints": KEYPOINTS[::-1]}, "keypoints"),
        ({"image_format": "png"}, "image_format"),
        ({"info": {"seed": 4, "commit": "a"}}, "info.seed"),
    ],
)
def test_a_folder_begun_differently_is_not_resumed(tmp_path: Path, changes, name) -> None:
    folder = half_written(tmp_path / "d")
    with pytest.raises(ConfigurationError, match=f"begun with another {name}"):
        open_writer(folder, resume=True, **changes)


def test_a_later_commit_may_resume(tmp_path: Path) -> None:
    folder = half_written(tmp_path / "d")
    open_writer(folder, resume=True, info={"seed": 3, "commit": "b"}).close()
    assert len(Dataset(folder)) == 2


def test_an_unfinished_folder_is_not_overwritten_by_chance(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds an unfinished dataset"):
        open_writer(half_written(tmp_path / "d"))


def test_two_writers_never_share_a_folder(tmp_path: Path) -> None:
    first = open_writer(tmp_path / "d")
    with pytest.raises(ConfigurationError, match="being written"):
        open_writer(tmp_path / "d", resume=True)
    first.close()


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="is not empty"):
        open_writer(tmp_path)


def test_info_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="info must hold what JSON can"):
        open_writer(tmp_path / "d", info={"seed": np.int64(3)})
    assert not (tmp_path / "d").exists()


def test_a_journal_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text("[1]\n")
    with pytest.raises(ConfigurationError, match=JOURNAL):
        open_writer(tmp_path, resume=True)


def test_png_keeps_every_pixel(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = {camera.name: rng.integers(0, 256, (48, 64, 3), np.uint8) for camera in RIG}
    with open_writer(tmp_path / "d", image_format="png") as writer:
        writer.add(images, RIG, None, None, seed=0)
    dataset = Dataset(tmp_path / "d")
    assert dataset.image_format == "png"
    for image, name in zip(dataset.images(0), CAMERAS, strict=True):
        assert np.array_equal(image, images[name])
        assert cv2.imread(str(tmp_path / "d" / "images" / f"000000_{name}.png")) is not None


def test_objects_are_kept_by_sample_and_default_to_the_datasets(tmp_path: Path) -> None:
    with open_writer(tmp_path / "d") as writer:
        add(writer)
        add(writer, object_name="shoe_3")
    assert Dataset(tmp_path / "d").objects == ["toy", "shoe_3"]


def test_samples_without_a_segment_get_one_of_their_own(tmp_path: Path) -> None:
    with open_writer(tmp_path / "d") as writer:
        add(writer)
        add(writer, segment=7)
        add(writer)
    assert Dataset(tmp_path / "d").segments == [0, 7, 8]


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": {("a", "head"): (float("nan"), 1.0)}},
        {"labels": {("z", "head"): (1.0, 1.0)}},
        {"truth": np.zeros((3, 3))},
    ],
)
def test_a_bad_sample_is_refused_and_nothing_is_added(tmp_path: Path, changes) -> None:
    with open_writer(tmp_path / "d") as writer:
        with pytest.raises(DataError, match="sample 0"):
            add(writer, **changes)
        add(writer)
    assert len(Dataset(tmp_path / "d")) == 1


def test_a_copied_sample_keeps_its_images_byte_by_byte(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a") as writer:
        add(writer, 5, truth=np.ones((4, 3)), segment=4, object_name="toy_2")
    source = Dataset(tmp_path / "a")
    with open_writer(tmp_path / "b") as writer:
        writer.copy(source, 0, segment=9)
        writer.copy(source, 0, labels={})
    copied = Dataset(tmp_path / "b")
    assert copied.segments == [9, 4]
    assert copied.objects == ["toy_2", "toy_2"]
    assert copied.labelled.tolist() == [True, False]
    assert copied.clicks(0) == source.clicks(0) == {("a", "head"): (5.0, 2.5)}
    assert np.array_equal(copied.truth(0), source.truth(0))
    assert copied.image_bytes(1, "b") == source.image_bytes(0, "b")


def test_samples_written_elsewhere_are_taken_in_order_only(tmp_path: Path) -> None:
    images = {camera.name: np.zeros((48, 64, 3), np.uint8) for camera in RIG}
    with open_writer(tmp_path / "d") as writer:
        second, first = (
            writer.samples.write(i, images, RIG, None, None, seed=i, segment=4) for i in (1, 0)
        )
        with pytest.raises(DataError, match="sample 1: the next one is 0"):
            writer.append(second)
        writer.append(first)
        writer.append(second)
        add(writer, 7)
    dataset = Dataset(tmp_path / "d")
    assert dataset.seeds == [0, 1, 7]
    assert dataset.segments == [4, 4, 5]
