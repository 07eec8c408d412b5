"""`s3k bench soak`: its faults happen and end, its checks find what they are there for."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from support.synthetic_model import write_model

from s3k_ros.bench import memory as memory_of_process
from s3k_ros.bench import soak
from s3k_ros.bench.camera_faults import FakeFaults
from s3k_ros.cameras.fake import FakeBus, FakeCamera, FakeTally
from s3k_ros.cameras.port import CameraStatistics, Frame, FrameSet, Reason
from s3k_ros.errors import ConfigurationError

SMALL = ("--width", "64", "--height", "48", "--fault-every", "0.3", "--model", "")


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    soak.add_arguments(parser)
    return parser.parse_args(words)


def test_every_frame_of_a_harmed_rig_is_accounted_for() -> None:
    result = soak.run(arguments("--minutes", "0.09", *SMALL))
    figures = result.figures
    assert figures["sets"] > 10
    assert sum(figures["faults"].values()) > 3
    assert figures["frames_unaccounted"] == dict.fromkeys(
        ("received", "delivered_or_dropped", "damaged", "lost"), 0
    )
    assert figures["memory_mib"]["peak"] > 10.0
    targets = {target.name: target for target in result.targets}
    assert targets["mispaired"].passed


@pytest.mark.timeout(300, method="thread")  # the emulator sends SIGALRM
@pytest.mark.filterwarnings("ignore:builtin type .* has no __module__:DeprecationWarning")
def test_emulated_cameras_are_harmed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYLON_CAMEMU", "0")  # and put back afterwards
    result = soak.run(arguments("--minutes", "0.09", "--emulated", *SMALL))
    figures = result.figures
    assert figures["cameras"] == "4 emulated"
    assert figures["sets"] > 10
    assert figures["frames_unaccounted"] == {"delivered_or_dropped": 0}


def test_the_consumer_does_what_perception_does(tmp_path: Path) -> None:
    write_model(tmp_path / "model.onnx")
    look = soak._perception(arguments("--model", str(tmp_path / "model.onnx"), "--cameras", "2"))
    image = np.zeros((960, 1280, 3), np.uint8)
    frames = {"camera1": Frame("camera1", image, 0, 0, 0)}
    look(FrameSet(1, 0, 0, frames, {"camera0": Reason.ABSENT}))


def test_faults_of_every_kind_come_and_end() -> None:
    cameras = [FakeCamera(f"S{i}") for i in range(3)]
    bus = FakeBus(cameras)
    faults = FakeFaults(bus, every_s=1.0, seed=1)
    harmed = 0
    for second in range(400):
        faults.step(float(second))
        harmed += not all(map(faults.works, range(3)))
        for camera in cameras:
            camera.stuck = False  # as a rig that begins its stream anew
    assert set(faults.done) == {
        "lost frames", "failed buffers", "missed triggers", "unplugged", "silent camera",
        "stuck camera", "trigger stopped", "busy consumer",
    }  # fmt: skip
    assert 50 < harmed < 400
    assert faults.take_busy_s() > 0.0 and faults.take_busy_s() == 0.0
    faults.mend()
    assert all(map(faults.works, range(3)))


@pytest.mark.parametrize(
    ("counts", "what"),
    [
        (CameraStatistics(received=9, delivered=9, missed={Reason.FAILED: 2}), "received"),
        (CameraStatistics(received=10, delivered=8, missed={Reason.FAILED: 2}), "delivered_or_"),
        (CameraStatistics(received=10, delivered=10), "damaged"),
        (
            CameraStatistics(received=10, delivered=10, missed={Reason.FAILED: 2, Reason.LOST: 1}),
            "lost",
        ),
    ],
)
def test_counts_that_miss_a_frame_are_found(counts: CameraStatistics, what: str) -> None:
    wrong = {n for n, off in soak.unaccounted(counts, FakeTally(10, 2, 0, 5)).items() if off}
    assert {name for name in wrong if name.startswith(what)} == wrong != set()


def test_memory_is_judged_by_levels_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = memory_of_process.Memory(warm_up_s=100.0)
    assert memory.growth_mib != memory.growth_mib  # not a number yet
    for now_s in range(700):
        # fills up, then images come and go, then 8 MiB stay
        mib = 10.0 + min(now_s, 100) + 30.0 * (now_s % 10 == 0) + 8.0 * (now_s >= 400)
        monkeypatch.setattr(memory_of_process, "resident_mib", lambda mib=mib: mib)
        memory.sample(now_s + 0.5)
        memory.sample(now_s + 0.6)
    assert len(memory.samples) == 700
    assert memory.levels_mib == [110.0] * 5 + [118.0] * 5
    assert memory.growth_mib == pytest.approx(8.0)
    assert memory.figures()["peak"] == 148.0


def test_impossible_numbers_are_named() -> None:
    with pytest.raises(ConfigurationError, match="--minutes"):
        soak.run(arguments("--minutes", "0"))
    with pytest.raises(ConfigurationError, match="--cameras"):
        soak.run(arguments("--cameras", "1"))
