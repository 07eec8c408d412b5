"""Scenes rendered in several processes: the same dataset, whatever ends early."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.noise_scenes import Noise

from s3k_ros.errors import ConfigurationError, DeviceUnavailableError
from s3k_ros.simulation import pipeline
from s3k_ros.training.dataset.reader import Dataset
from s3k_ros.training.dataset.writer import JOURNAL, DatasetWriter


def _render(folder: Path, processes: int, scenes: Noise, count: int = 30) -> Dataset:
    writer = DatasetWriter(folder, "noise", ["tip"], ["a"], image_format="png", resume=True)
    pipeline.write_scenes(scenes, writer, count, processes, progress=False)
    return Dataset(folder)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_several_processes_write_the_same_dataset_byte_for_byte(tmp_path: Path) -> None:
    alone = _render(tmp_path / "one", 1, Noise())
    _render(tmp_path / "three", 3, Noise())
    assert alone.seeds == [seed for seed in range(30) for _ in range(2)]
    assert _files(tmp_path / "one") == _files(tmp_path / "three")


@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_scene_is_refused_for_reaches_the_caller(tmp_path: Path, processes: int) -> None:
    with pytest.raises(ConfigurationError, match="no room in scene 5"):
        _render(tmp_path / "d", processes, Noise(refused=5))
    # What came before is kept.
    assert len(_render(tmp_path / "d", 1, Noise())) == 60


def test_a_process_that_dies_is_told_about(tmp_path: Path) -> None:
    with pytest.raises(DeviceUnavailableError, match="died"):
        _render(tmp_path / "d", 2, Noise(fatal=9))
    assert (tmp_path / "d" / JOURNAL).read_bytes().count(b"\n") > 2
    assert len(_render(tmp_path / "d", 1, Noise())) == 60


def test_finished_samples_of_a_scene_are_not_written_again(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path / "d", "noise", ["tip"], ["a"], image_format="png")
    with pytest.raises(RuntimeError), pipeline.studio(Noise(), 1) as render:
        # One of a scene's two: the kill comes between them.
        writer.append(next(render(writer.samples, range(30), 0)))
        with writer:
            raise RuntimeError
    kept = tmp_path / "d" / "images" / "000000_a.png"
    kept.write_bytes(b"as it was")
    assert len(_render(tmp_path / "d", 2, Noise())) == 60
    assert kept.read_bytes() == b"as it was"


@pytest.mark.slow
def test_a_kill_loses_a_few_scenes_a_process_and_leaves_no_process(tmp_path: Path) -> None:
    script = tmp_path / "render.py"
    script.write_text(f"""
import sys
sys.path[:0] = {sys.path!r}
from s3k_ros.simulation.pipeline import write_scenes
from s3k_ros.training.dataset.writer import DatasetWriter
from support.noise_scenes import Noise
if __name__ == "__main__":
    writer = DatasetWriter({str(tmp_path / "d")!r}, "noise", ["tip"], ["a"], image_format="png")
    write_scenes(Noise(), writer, 100_000, 2, progress=False)
""")
    process = subprocess.Popen([sys.executable, str(script)])
    journal = tmp_path / "d" / JOURNAL
    deadline = time.monotonic() + 200
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 40):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    children = _children(process.pid)
    assert len(children) >= 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    while any(Path(f"/proc/{child}/cmdline").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    images = len(list((tmp_path / "d" / "images").iterdir()))
    finished = journal.read_bytes().count(b"\n") - 1
    assert images - finished <= 2 * 2 * pipeline.AHEAD
    count = finished // 2 + 5
    again, whole = (_render(tmp_path / name, 2, Noise(), count) for name in ("d", "whole"))
    assert len(again) == len(whole) == 2 * count
    for i in range(len(whole)):
        np.testing.assert_array_equal(again.images(i), whole.images(i))
        np.testing.assert_array_equal(again.truth(i), whole.truth(i))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
