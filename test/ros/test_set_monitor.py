"""The monitor through `ImageSets`, as the detector uses it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from message_filters import SimpleFilter

from s3k_ros.ros.conversions import header
from s3k_ros.ros.diagnostics import Level, Report
from s3k_ros.ros.image_sets import ImageSets

CAMERAS = ("a", "b", "c", "d")
STEP_S = 0.001


class Run:
    """Cameras that send for two seconds, and what the monitor says of them."""

    def __init__(self, set_timeout_s: float = 0.1) -> None:
        self.now = 100.0
        self.sources = {name: SimpleFilter() for name in CAMERAS}
        self.sets: list[str] = []
        self.gatherer = ImageSets(
            self.sources,
            slop_s=0.005,
            set_timeout_s=set_timeout_s,
            camera_timeout_s=1.0,
            emit=lambda images: self.sets.append("".join(images.messages)),
            clock=lambda: self.now,
        )

    def play(self, arrivals: list[tuple[float, str, float]], until_s: float = 2.5) -> Report:
        """Arrivals (time of receipt, camera, stamp), seconds from the start."""
        start = self.now
        queue = sorted(arrivals)
        for step in range(round(until_s / 0.02)):
            self.now = start + 0.02 * step
            while queue and start + queue[0][0] <= self.now:
                received, camera, stamp = queue.pop(0)
                self.now = start + received
                message = SimpleNamespace(header=header(round(1e9 * (start + stamp))))
                self.sources[camera].signalMessage(message)
            self.gatherer.poll()
        return self.gatherer.monitor.report()


def camera(
    name: str,
    rate_hz: float = 20.0,
    shift_s: float = 0.0,
    delay_s: float = 0.01,
    clock_s: float = 0.0,
    lost: float = 0.0,
    until_s: float = 2.5,
) -> list[tuple[float, str, float]]:
    """What a camera sends."""
    rng = np.random.default_rng(4)
    times = np.arange(0.0, until_s, 1.0 / rate_hz) + shift_s
    kept = times[rng.uniform(size=len(times)) >= lost]
    return [(t + delay_s, name, t + clock_s) for t in kept.tolist()]


def all_but(name: str) -> list[tuple[float, str, float]]:
    return [arrival for other in CAMERAS if other != name for arrival in camera(other)]


def test_good_cameras_are_reported_as_such() -> None:
    report = Run().play([arrival for name in CAMERAS for arrival in camera(name)])
    assert (report.level, report.message) == (Level.OK, "100 % of the sets are complete")
    assert report.values["a_rate_hz"] == pytest.approx(20.0)


def test_slower_camera_is_named_with_both_rates() -> None:
    report = Run().play([*all_but("c"), *camera("c", rate_hz=10.0)])
    assert report.level is Level.WARN
    assert "c takes 10.0 images a second, another camera 20.0" in report.message


def test_images_lost_on_the_way_are_told_from_a_slower_camera() -> None:
    report = Run().play([*all_but("c"), *camera("c", lost=0.3)])
    assert report.level is Level.WARN
    assert "% of the images of c are lost on the way" in report.message
    assert "takes" not in report.message


def test_cameras_without_a_common_trigger_starve_the_sets() -> None:
    report = Run().play([*all_but("b"), *camera("b", shift_s=0.02)])
    assert report.level is Level.ERROR
    assert "no set is complete" in report.message
    assert "b exposes 20.0 ms apart from a, slop_s allows 5 ms" in report.message


def test_clock_that_differs_is_named_with_the_difference() -> None:
    report = Run().play([*all_but("b"), *camera("b", clock_s=-3.2)])
    assert report.level is Level.ERROR
    assert "the clock of b is 3.2 s behind a's" in report.message


def test_images_that_come_after_their_set_are_named() -> None:
    report = Run(0.04).play([*all_but("d"), *camera("d", delay_s=0.1)])
    assert report.level is Level.ERROR
    assert "100 % of the images of d come after their set, which waits 40 ms" in report.message


def test_silent_camera_is_left_to_its_stream() -> None:
    report = Run().play([*all_but("d"), *camera("d", until_s=0.7)], until_s=6.0)
    assert "d" not in report.message.replace("% of the sets are complete", "")


def test_first_images_say_nothing() -> None:
    report = Run().play([*all_but("c"), *camera("c", rate_hz=5.0)], until_s=0.3)
    assert report.level is Level.OK
