"""Replayed sets: pace, drops, loops."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from support.camera_rigs import NAMES, RATE_HZ, recorded_sets

from s3k_ros.cameras.port import EventKind, FrameSet, Reason
from s3k_ros.cameras.replay import ReplayRig
from s3k_ros.errors import ConfigurationError

PERIOD_NS = round(1e9 / RATE_HZ)


class SteppedClock:
    """Time that passes when it is told to, and a little while somebody looks."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000

    def monotonic_ns(self) -> int:
        self.now_ns += 1000
        return self.now_ns

    def system_ns(self) -> int:
        return self.now_ns


def playing(**options: object) -> tuple[ReplayRig, SteppedClock]:
    clock = SteppedClock()
    count = options.pop("count", 100)
    rig = ReplayRig(NAMES, lambda: recorded_sets(count), clock=clock, **options)  # type: ignore
    rig.open()
    rig.start()
    return rig, clock


def test_without_pace_every_set_comes_and_then_none() -> None:
    rig, _ = playing(speed=0.0, count=20)
    found = [rig.next_set(0.0) for _ in range(21)]
    assert [s.set_id for s in found if s] == list(range(1, 21))
    assert found[-1] is None
    assert rig.ended
    assert [event.kind for event in rig.take_events()] == [EventKind.TRIGGER_STOPPED]
    assert rig.statistics().refused == {}


@pytest.mark.parametrize("speed", [0.5, 1.0, 4.0])
def test_a_paced_rig_shows_sets_when_they_are_due(speed: float) -> None:
    rig, clock = playing(speed=speed)
    first = rig.next_set(0.0)
    assert first is not None
    clock.now_ns += round(0.9 * PERIOD_NS / speed)
    assert rig.next_set(0.0) is None
    clock.now_ns += round(0.2 * PERIOD_NS / speed)
    second = rig.next_set(0.0)
    assert second is not None
    assert second.stamp_ns - first.stamp_ns == PERIOD_NS


def test_a_late_consumer_of_a_paced_rig_loses_the_oldest_sets() -> None:
    rig, clock = playing(speed=1.0, queue_sets=2)
    assert rig.next_set(0.0) is not None
    clock.now_ns += round(10.5 * PERIOD_NS)
    ids = [s.set_id for s in (rig.next_set(0.0) for _ in range(4)) if s]
    assert ids == [10, 11]
    counts = rig.statistics()
    assert counts.refused == {Reason.OVERFLOW: 8}
    assert counts.cameras["north"].dropped == {Reason.OVERFLOW: 8}


def test_a_looping_recording_counts_on() -> None:
    rig, _ = playing(speed=0.0, count=3, loop=True)
    found = [rig.next_set(0.0) for _ in range(7)]
    assert [s.set_id for s in found if s] == list(range(1, 8))
    assert not rig.ended


def test_other_cameras_are_left_out_and_missing_ones_are_named() -> None:
    rig = ReplayRig(("south", "zenith"), lambda: recorded_sets(1), speed=0.0)
    rig.open()
    rig.start()
    found = rig.next_set(0.0)
    assert found is not None
    assert set(found.frames) == {"south"}
    assert found.missing == {"zenith": Reason.ABSENT}
    assert not found.complete


def test_an_endless_source_is_read_as_needed() -> None:
    rig = ReplayRig(NAMES, lambda: itertools.cycle(recorded_sets(2)), speed=0.0)
    rig.open()
    rig.start()
    assert [rig.next_set(0.0) is not None for _ in range(5)] == [True] * 5


def test_restamped_sets_have_the_time_at_which_they_are_taken() -> None:
    rig, clock = playing(speed=1.0, restamp=True, count=3, loop=True)
    stamps = []
    for _ in range(7):
        found = rig.next_set(0.0)
        assert found is not None
        assert 0 <= clock.now_ns - found.stamp_ns < PERIOD_NS // 10
        places = [frame.stamp_ns - found.stamp_ns for frame in found.frames.values()]
        assert places == [-100, 0, 100, 200]  # as recorded
        stamps.append(found.stamp_ns)
        clock.now_ns += PERIOD_NS
    assert stamps == sorted(set(stamps))


def test_negative_speed_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="speed"):
        ReplayRig(NAMES, recorded_sets, speed=-1.0)


def test_a_source_slower_than_its_stamps_is_played_at_its_own_pace() -> None:
    clock = SteppedClock()
    read = 0

    def slow() -> Iterator[FrameSet]:
        nonlocal read
        for found in recorded_sets(10_000):
            clock.now_ns += 2 * PERIOD_NS
            read += 1
            yield found

    rig = ReplayRig(NAMES, slow, clock=clock)
    rig.open()
    rig.start()
    assert all(rig.next_set(0.0) for _ in range(20))
    assert read < 70  # trying to catch up, it would read twice as many for each next one
