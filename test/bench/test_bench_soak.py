"""`s3k bench soak`: its faults happen and end, its checks find what they are there for."""

from __future__ import annotations

import argparse

import pytest

from s3k_ros.bench import soak
from s3k_ros.bench.camera_faults import Faults
from s3k_ros.cameras.fake import FakeBus, FakeCamera
from s3k_ros.cameras.port import CameraStatistics, Reason
from s3k_ros.errors import ConfigurationError

SMALL = ("--width", "64", "--height", "48", "--fault-every", "0.3")


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    soak.add_arguments(parser)
    return parser.parse_args(words)


def test_every_frame_of_a_harmed_rig_is_accounted_for() -> None:
    result = soak.run(arguments("--minutes", "0.13", *SMALL))
    figures = result.figures
    assert figures["sets"] > 20
    assert sum(figures["faults"].values()) > 5
    assert figures["frames_unaccounted"] == dict.fromkeys(
        ("received", "delivered_or_dropped", "damaged", "lost"), 0
    )
    assert figures["memory_mib"]["largest_since"] > 10.0
    targets = {target.name: target for target in result.targets}
    assert targets["mispaired"].passed


def test_faults_of_every_kind_come_and_end() -> None:
    cameras = [FakeCamera(f"S{i}") for i in range(3)]
    bus = FakeBus(cameras)
    faults = Faults(bus, every_s=1.0, seed=1)
    harmed = 0
    for second in range(400):
        faults.step(float(second))
        harmed += not all(faults.works(camera) for camera in cameras)
        for camera in cameras:
            camera.stuck = False  # as a rig that begins its stream anew
    assert set(faults.done) == {
        "lost frames", "failed buffers", "missed triggers", "unplugged", "silent camera",
        "stuck camera", "trigger stopped", "busy consumer",
    }  # fmt: skip
    assert 50 < harmed < 400
    assert faults.take_busy_s() > 0.0 and faults.take_busy_s() == 0.0
    faults.mend()
    assert all(faults.works(camera) for camera in cameras)


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
    camera = FakeCamera("S0")
    camera.tally.sent, camera.tally.damaged, camera.tally.cut = 10, 2, 5
    wrong = {name for name, n in soak.unaccounted(camera, counts).items() if n}
    assert {name for name in wrong if name.startswith(what)} == wrong != set()


def test_memory_is_measured_from_the_end_of_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = iter([50.0, 90.0, 100.0, 104.0, 101.0])
    monkeypatch.setattr(soak, "resident_mib", lambda: next(levels))
    memory = soak.Memory(warm_up_s=2.0)
    for now_s in (0.0, 0.5, 1.0, 2.0, 3.0, 4.0):
        memory.sample(now_s)
    assert memory.level_mib == 90.0  # the median of what was seen so far
    assert memory.growth_mib == pytest.approx(14.0)


def test_impossible_numbers_are_named() -> None:
    with pytest.raises(ConfigurationError, match="--minutes"):
        soak.run(arguments("--minutes", "0"))
    with pytest.raises(ConfigurationError, match="--cameras"):
        soak.run(arguments("--cameras", "1"))
