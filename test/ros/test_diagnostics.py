from __future__ import annotations

import pytest

from s3k_ros.ros.diagnostics import GRACE_S, Level, Stream


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_stream_measures_its_rate(clock):
    stream = Stream(1.0, clock)
    for _ in range(20):
        clock.now += 0.2
        stream.tick(latency_s=0.03, skew_s=0.002)
    report = stream.report()
    assert report.level is Level.OK
    assert report.values["rate_hz"] == pytest.approx(5.0)
    assert report.values["latency_ms_median"] == pytest.approx(30.0)
    assert report.values["skew_ms_max"] == pytest.approx(2.0)


def test_silent_stream_is_an_error_with_rate_zero(clock):
    stream = Stream(1.0, clock)
    stream.tick()
    clock.now += 1.5
    report = stream.report()
    assert report.level is Level.ERROR
    assert "no message for 1.5 s" in report.message
    assert report.values["rate_hz"] == 0.0


def test_stream_that_never_spoke_is_given_time_to_start(clock):
    stream = Stream(1.0, clock)
    clock.now += 0.9 * GRACE_S
    assert stream.report().level is Level.OK
    clock.now += 0.2 * GRACE_S
    assert stream.report().level is Level.ERROR


def test_refusal_is_reported_and_forgotten(clock):
    stream = Stream(1.0, clock)
    stream.refuse("encoding unknown")
    stream.tick()
    assert (stream.report().level, stream.report().message) == (Level.ERROR, "encoding unknown")
    clock.now += 5.0
    stream.tick()
    assert stream.report().level is Level.OK
    assert stream.dropped == 1
