# ruff: noqa: E402
from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pyarrow")

from support.toy_training import TINY, write_dataset

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.training.dataset.reader import Dataset
from s3k_ros.training.inputs import cache, sources
from s3k_ros.training.inputs.cache import cached, images_digest, key_of
from s3k_ros.training.inputs.sources import Subset, collect, whole_views

pytestmark = pytest.mark.torch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "toy", 2, 3)


def test_a_file_is_filled_once_and_mapped_afterwards(tmp_path: Path) -> None:
    calls = []

    def fill(array) -> None:
        calls.append(1)
        array[:] = 7

    for _ in range(3):
        found = cached(tmp_path, "k", (4, 5), fill)
        assert (found == 7).all()
    assert len(calls) == 1
    assert isinstance(found, np.memmap)


def test_writing_to_the_array_leaves_the_file(tmp_path: Path) -> None:
    cached(tmp_path, "k", (3,), lambda a: a.fill(1))[:] = 9
    assert (cached(tmp_path, "k", (3,), lambda a: a.fill(2)) == 1).all()


@pytest.mark.parametrize("damage", ["truncated", "another shape", "no array"])
def test_a_file_that_is_not_whole_is_made_again(tmp_path: Path, damage: str) -> None:
    cached(tmp_path, "k", (100,), lambda a: a.fill(1))
    path = tmp_path / "k.npy"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-50])
    elif damage == "another shape":
        np.save(path, np.zeros(7, np.uint8))
    else:
        path.write_text("nothing")
    assert (cached(tmp_path, "k", (100,), lambda a: a.fill(2)) == 2).all()


def test_a_pickle_in_the_cache_is_never_executed(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert (cached(tmp_path, "k", (1,), lambda a: a.fill(3)) == 3).all()


def test_a_failed_filling_leaves_nothing(tmp_path: Path) -> None:
    def fails(_) -> None:
        raise DataError("sample 3")

    with pytest.raises(DataError, match="sample 3"):
        cached(tmp_path, "k", (2,), fails)
    assert not [p for p in tmp_path.iterdir() if p.suffix != ".lock"]


def _slow(folder: str, marks: str) -> None:
    def fill(array) -> None:
        (Path(marks) / str(os.getpid())).touch()
        time.sleep(0.3)
        array[:] = 5

    assert (cached(Path(folder), "k", (1000,), fill) == 5).all()


def test_two_runs_that_start_at_once_fill_it_once(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_slow, args=(str(tmp_path / "c"), str(marks))) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(20)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(list(marks.iterdir())) == 1


def test_a_killed_filling_is_tidied_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "k_abc.partial").write_bytes(b"half")
    cached(tmp_path, "k", (2,), lambda a: a.fill(1))
    assert not list(tmp_path.glob("*.partial"))


def test_whole_views_are_the_images_as_the_detector_resizes_them(folder: Path) -> None:
    from s3k_ros.perception.regions import Region

    dataset = Dataset(folder)
    views = whole_views(dataset, TINY, folder, say=str)
    image = dataset.images(3)[1]
    expected = Region.whole(image.shape[1], image.shape[0]).cut(image, (48, 64))[..., ::-1]
    assert np.array_equal(views.pixels[3, 1].numpy(), expected)
    assert list((folder / "cache").glob("*.npy"))


def test_cache_follows_images_and_size_but_not_labels(folder: Path) -> None:
    before = images_digest(Dataset(folder))
    shutil.copy(folder / "truth.parquet", folder / "other.parquet")
    assert images_digest(Dataset(folder)) == before
    path = next((folder / "images").iterdir())
    cv2.imwrite(str(path), cv2.imread(str(path))[::-1])
    assert images_digest(Dataset(folder)) != before
    assert key_of({"a": 1}) != key_of({"a": 2})


def test_a_dataset_that_cannot_be_written_is_cached_in_the_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.os, "access", lambda *_: False)
    whole_views(Dataset(folder), TINY, tmp_path / "run", say=str)
    assert not (folder / "cache").exists()
    assert list((tmp_path / "run" / cache.FOLDER).glob("*.npy"))


def test_a_subset_uses_only_its_samples(folder: Path, tmp_path: Path) -> None:
    limit = Subset(labelled=(1,), unlabelled=(0, 4))
    found = collect(Dataset(folder), TINY, None, tmp_path, limit, say=str)
    assert [found.views.samples[i] for i in found.labelled] == [1]
    assert [found.views.samples[i] for i in found.unlabelled] == [0, 4]
    assert found.points.shape == (1, 4, 3)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (Subset((7,), ()), "labelled sample 7"),
        (Subset((0,), (0,)), "both"),
        (Subset((2,), ()), "no labels"),
        (Subset((), ()), "no labelled sample"),
    ],
)
def test_a_wrong_subset_names_its_fault(folder: Path, limit: Subset, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        limit.resolved(Dataset(folder))


def test_a_full_disk_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(cache.os, "posix_fallocate", full)
    with pytest.raises(DataError, match="no room"):
        cached(tmp_path, "k", (1000,), lambda a: a.fill(1))
    assert not list(tmp_path.glob("*.npy"))
