from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from message_filters import SimpleFilter

from s3k_ros.ros.conversions import header
from s3k_ros.ros.image_sets import ImageSets

MS = 1_000_000
CAMERAS = ("a", "b", "c", "d")


class Rig:
    """Four sources and a clock by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sets = []
        self.sources = {name: SimpleFilter() for name in CAMERAS}
        self.gatherer = ImageSets(
            self.sources,
            slop_s=0.005,
            set_timeout_s=0.1,
            camera_timeout_s=1.0,
            emit=self.sets.append,
            clock=lambda: self.now,
        )

    def send(self, camera: str, stamp_ms: float) -> None:
        self.sources[camera].signalMessage(SimpleNamespace(header=header(round(stamp_ms * MS))))

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.gatherer.poll()

    def seen(self) -> list[str]:
        return ["".join(sorted(s.messages)) for s in self.sets]


@pytest.fixture
def rig():
    return Rig()


def test_complete_set_goes_out_at_once(rig):
    for i, name in enumerate(CAMERAS):
        rig.send(name, 1000 + i)
    assert rig.seen() == ["abcd"]
    result = rig.sets[0]
    assert (result.stamp_ns, result.skew_ns) == (1001 * MS, 3 * MS)


def test_lost_frame_costs_one_view_after_the_timeout(rig):
    for name in "abc":
        rig.send(name, 1000)
    assert rig.seen() == []
    rig.pass_time(0.11)
    assert rig.seen() == ["abc"]


def test_next_set_does_not_swallow_a_partial_one(rig):
    for name in "abc":
        rig.send(name, 1000)
    rig.pass_time(0.05)
    for name in CAMERAS:
        rig.send(name, 1040)
    rig.pass_time(0.1)
    # The complete set overtakes; an older one would only be stale.
    assert rig.seen() == ["abcd"]


def test_dead_camera_costs_no_waiting(rig):
    for name in CAMERAS:
        rig.send(name, 1000)
    rig.pass_time(1.5)
    for name in "abc":
        rig.send(name, 2500)  # d may still come: it is as silent as the others were
    rig.pass_time(0.11)
    rig.pass_time(0.5)
    for name in "abc":
        rig.send(name, 3100)
    assert rig.seen() == ["abcd", "abc", "abc"]


def test_camera_that_comes_back_is_in_the_next_set(rig):
    for start in range(0, 4000, 200):
        for name in "abc":
            rig.send(name, 1000 + start)
        rig.pass_time(0.2)
    assert set(rig.seen()) == {"abc"}
    for start in range(4000, 5000, 200):
        for name in CAMERAS:
            rig.send(name, 1000 + start)
        rig.pass_time(0.2)
    assert rig.seen()[-4:] == ["abcd"] * 4


def test_image_behind_its_set_is_dropped(rig):
    for name in "abc":
        rig.send(name, 1000)
    rig.pass_time(0.2)
    rig.send("d", 1000)
    rig.pass_time(0.2)
    assert rig.seen() == ["abc"]


def test_stamps_outside_the_slop_are_not_paired(rig):
    rig.send("a", 1000)
    rig.send("b", 1000)
    rig.send("c", 1020)
    rig.send("d", 1020)
    rig.pass_time(0.2)
    assert rig.seen() == ["ab", "cd"]


def test_clock_set_back_starts_anew(rig):
    for name in CAMERAS:
        rig.send(name, 90_000)
    for name in CAMERAS:
        rig.send(name, 500)
    rig.pass_time(0.2)
    assert rig.seen() == ["abcd", "abcd"]


def test_sets_are_counted(rig):
    for stamp in (1000, 1200, 1400):
        for name in CAMERAS:
            rig.send(name, stamp)
    assert [s.set_id for s in rig.sets] == [1, 2, 3]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_stamps_only_go_forward_and_views_belong_together(data):
    rig = Rig()
    for start in range(0, 2000, 200):
        order = data.draw(st.permutations(CAMERAS))
        lost = data.draw(st.sets(st.sampled_from(CAMERAS), max_size=3))
        for name in order:
            if name not in lost:
                rig.send(name, 1000 + start + data.draw(st.floats(0, 2)))
            rig.pass_time(data.draw(st.sampled_from([0.0, 0.01, 0.04])))
        rig.pass_time(0.1)
    stamps = [s.stamp_ns for s in rig.sets]
    assert stamps == sorted(set(stamps))
    assert all(s.skew_ns <= 5 * MS for s in rig.sets)
