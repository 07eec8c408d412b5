"""Who is silent, and the threads that keep a rig and its software triggers going."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from s3k_ros.cameras.host import HostClock
from s3k_ros.cameras.port import EventKind

# A camera is not silent before this many periods without a frame.
SILENT_PERIODS = 3.0
# Damaged frames are news again after this long.
FAILURE_NEWS_NS = 5_000_000_000
# Two triggers are at least so many periods apart: the pairing counts on it.
CLOSEST = 0.9

News = tuple[EventKind, str, str]


class Watch:
    """Tells a silent camera from a trigger that has stopped. No threads: callers hold a lock.

    Args:
        silence_s: a camera that sends nothing for this long is silent.
        rate_hz: rate of the trigger.
        restart_s: the stream of a camera that stays silent is begun anew this often; 0: never.
        drivers: cameras that should send whatever others do: nobody but the host, or none but they
            themselves trigger them.
    """

    def __init__(
        self,
        silence_s: float,
        rate_hz: float,
        restart_s: float = 0.0,
        drivers: Collection[str] = (),
    ) -> None:
        self._silence_s = silence_s
        self._restart_ns = round(1e9 * restart_s)
        self._drivers = frozenset(drivers)
        # When the stream of a camera was last begun anew, while it is silent.
        self._restarted: dict[str, int] = {}
        self.set_rate(rate_hz)
        self._heard: dict[str, int] = {}
        self._failed: dict[str, int] = {}
        self._silent: set[str] = set()
        self._stopped = False

    def set_rate(self, rate_hz: float) -> None:
        """Another rate of the trigger."""
        self._silence_ns = round(1e9 * max(self._silence_s, SILENT_PERIODS / rate_hz))

    def start(self, now_ns: int) -> None:
        """The rig starts: nobody is silent yet."""
        self._heard = dict.fromkeys(self._heard, now_ns)
        self._silent.clear()
        self._restarted.clear()
        self._stopped = False

    def streaming(self, camera: str, streaming: bool, now_ns: int) -> None:
        """A camera began or ceased to stream; only those that stream can be silent."""
        self._silent.discard(camera)
        self._heard.pop(camera, None)
        self._restarted.pop(camera, None)
        if streaming:
            self._heard[camera] = now_ns

    def heard(self, camera: str, now_ns: int) -> None:
        """A camera sent a frame, damaged or not."""
        self._heard[camera] = now_ns
        self._restarted.pop(camera, None)

    def is_silent(self, camera: str) -> bool:
        """Whether a camera was found silent."""
        return camera in self._silent or (self._stopped and camera in self._heard)

    def failure_is_news(self, camera: str, now_ns: int) -> bool:
        """Whether a damaged frame is worth an event, or one of many."""
        last = self._failed.get(camera)
        self._failed[camera] = now_ns
        return last is None or now_ns - last > FAILURE_NEWS_NS

    def look(self, now_ns: int) -> list[News]:
        """What changed since the last look."""
        quiet = {c for c, heard in self._heard.items() if now_ns - heard > self._silence_ns}
        if quiet and len(quiet) == len(self._heard):
            if self._stopped:
                return []
            self._stopped = True
            return [(EventKind.TRIGGER_STOPPED, "", "no camera sends frames: no trigger comes")]
        if self._stopped and self._heard:
            self._stopped = False
            # Those that are still quiet get their time from now on.
            self._heard |= dict.fromkeys(quiet, now_ns)
            return [(EventKind.TRIGGER_RESUMED, "", "frames come again")]
        news: list[News] = []
        for camera in sorted(quiet - self._silent):
            text = "sends nothing while others do: its trigger line, or its link"
            news.append((EventKind.CAMERA_SILENT, camera, text))
        for camera in sorted(self._silent - quiet):
            news.append((EventKind.CAMERA_HEARD, camera, "sends frames again"))
        self._silent = quiet
        return news

    def due_for_restart(self, now_ns: int) -> list[tuple[str, bool]]:
        """Cameras whose stream is to be begun anew now, and whether it is the first time.

        Those that are silent while others send; when nobody sends, those that should anyway.
        """
        if not self._restart_ns:
            return []
        silent = self._drivers & self._heard.keys() if self._stopped else self._silent
        due = []
        for camera in sorted(silent):
            before = self._restarted.get(camera)
            if now_ns - max(before or 0, self._heard[camera]) > self._restart_ns:
                self._restarted[camera] = now_ns
                due.append((camera, before is None))
        return due


class Keeper:
    """Calls ``keep`` a hundred times a second from a thread of its own."""

    def __init__(self, keep: Callable[[], None]) -> None:
        self._keep = keep
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera rig", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(0.01):
            self._keep()

    def end(self) -> None:
        """Calls no more."""
        self._ended.set()
        self._thread.join()


class Trigger:
    """Calls ``fire`` at a steady pace from a thread of its own; never twice in a short time."""

    def __init__(
        self, fire: Callable[[], None], clock: HostClock, rate_hz: Callable[[], float]
    ) -> None:
        self._fire, self._clock, self._rate_hz = fire, clock, rate_hz
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera trigger", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        due = self._clock.monotonic_ns()
        while not self._ended.wait(max(0.0, (due - self._clock.monotonic_ns()) * 1e-9)):
            fired = self._clock.monotonic_ns()
            self._fire()
            period = round(1e9 / self._rate_hz())
            due += period
            if due < fired + CLOSEST * period:
                due = fired + period

    def end(self) -> None:
        """Fires no more."""
        self._ended.set()
        self._thread.join()
