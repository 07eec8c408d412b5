"""One fit dates the frames of cameras in PTP; who is not synchronised is found."""

from __future__ import annotations

import numpy as np

from s3k_ros.cameras.clock import TickClock
from s3k_ros.cameras.common_clock import NEWS_AFTER, CommonClock
from s3k_ros.cameras.port import EventKind

MS = 1_000_000
SECOND = 1000 * MS
DRIFT = 30e-6


def clock(seed: int, offset_ns: int = 0, until_s: int = 20) -> TickClock:
    """The fit of a camera whose clock is PTP's plus an offset, read with up to 2 ms of delay."""
    random = np.random.default_rng(seed)
    made = TickClock()
    for second in range(until_s):
        host = second * SECOND
        width = int(random.uniform(0.2, 2.0) * MS)
        at = host + int(random.uniform(0, width))
        made.add(tick(at, offset_ns), host + width // 2, width // 2 + 1)
    return made


def tick(host_ns: int, offset_ns: int = 0) -> int:
    return round(host_ns * (1.0 + DRIFT)) + offset_ns + 5 * SECOND


def test_frames_of_one_trigger_have_one_stamp() -> None:
    clocks = {f"cam{i}": clock(i) for i in range(4)}
    common = CommonClock()
    apart = 0
    for host in range(20 * SECOND, 21 * SECOND, 50 * MS):
        stamps = [common.stamp(name, tick(host), clocks) for name in clocks]
        own = [c.to_host(tick(host)) for c in clocks.values()]
        assert all(stamp is not None for stamp in stamps)
        assert len({stamp.ns for stamp in stamps if stamp}) == 1
        for stamp in stamps:
            assert stamp is not None and abs(stamp.ns - host) <= stamp.error_ns
        apart = max(apart, max(o.ns for o in own if o) - min(o.ns for o in own if o))
    assert apart > 10_000  # what the single fits would have taken for skew
    assert common.take_news() == []
    assert 0 < max(map(abs, common.offsets_ns.values())) <= apart


def test_a_camera_that_is_not_synchronised_is_told_and_dated_by_itself() -> None:
    offset = 3 * SECOND
    clocks = {"a": clock(1), "b": clock(2), "late": clock(3, offset)}
    common = CommonClock()
    news = []
    for k in range(3 * NEWS_AFTER):
        host = 20 * SECOND + k * 50 * MS
        for name in clocks:
            ticks = tick(host, offset if name == "late" else 0)
            stamp = common.stamp(name, ticks, clocks)
            assert stamp is not None and abs(stamp.ns - host) <= stamp.error_ns
        news += common.take_news()
    assert [(kind, camera) for kind, camera, _ in news] == [(EventKind.CLOCK_APART, "late")]
    assert "-3000" in news[0][2] or "3000" in news[0][2]
    clocks["late"] = clock(4)  # PTP has set its clock
    for k in range(NEWS_AFTER):
        common.stamp("late", tick(22 * SECOND + k * 50 * MS), clocks)
    assert [kind for kind, _, _ in common.take_news()] == [EventKind.CLOCK_TOGETHER]


def test_the_fit_in_use_stays_until_another_is_much_better() -> None:
    clocks = {"a": clock(1, until_s=4), "b": clock(2, until_s=5)}
    common = CommonClock()
    common.stamp("a", tick(5 * SECOND), clocks)
    first = min(clocks, key=lambda name: clocks[name].state().error_ns or 0)
    assert common.offsets_ns["a"] == 0 if first == "a" else common.offsets_ns["a"] != 0
    # Its camera is unplugged: the other one's is used.
    rest = {name: c for name, c in clocks.items() if name != first}
    [other] = rest
    common.forget(first)
    common.stamp(other, tick(5 * SECOND), rest)
    assert common.offsets_ns == {other: 0}


def test_unknown_clocks_give_no_stamp() -> None:
    clocks = {"a": clock(1), "new": TickClock()}
    common = CommonClock()
    assert common.stamp("new", tick(20 * SECOND), clocks) is None
    assert common.stamp("a", tick(20 * SECOND), clocks) is not None
