"""A rig that plays sets of frames from anywhere: recordings, the simulated cell, lists in tests."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from s3k_ros.cameras.host import HostClock, SystemClock
from s3k_ros.cameras.port import (
    CameraState,
    CameraStatistics,
    Event,
    EventKind,
    FrameSet,
    Reason,
    RigStatistics,
    Setting,
    Value,
)
from s3k_ros.cameras.tally import Tally
from s3k_ros.errors import ConfigurationError, DeviceUnavailableError


class _Due(NamedTuple):
    """A set, and when it is to be shown on the monotonic clock."""

    at_ns: int
    frames: FrameSet


class ReplayRig:
    """`CameraRig` of a source of sets. Counters stay as they are, and stamps unless wanted.

    A paced rig drops sets that nobody takes in time, as cameras would; one without pace waits for
    its consumer and drops none.

    Args:
        cameras: names; frames of other cameras are left out.
        source: called by ``open``; gives the sets from the beginning, in order of time.
        speed: of the replay against the stamps; 0: as fast as they are taken.
        loop: begin again at the end; the stamps begin again too, ``set_id`` counts on.
        restamp: the set's stamp becomes the time at which it is taken; the frames keep their
            distance to it.
        queue_sets: sets that wait for the consumer of a paced rig.
        clock: the host's clocks.
    """

    def __init__(
        self,
        cameras: tuple[str, ...],
        source: Callable[[], Iterable[FrameSet]],
        *,
        speed: float = 1.0,
        loop: bool = False,
        restamp: bool = False,
        queue_sets: int = 2,
        clock: HostClock | None = None,
    ) -> None:
        if speed < 0.0:
            raise ConfigurationError(f"speed = {speed!r} must not be negative")
        self._cameras, self._source = cameras, source
        self._speed, self._loop, self._queue_sets = speed, loop, queue_sets
        self._restamp, self._clock = restamp, clock or SystemClock()
        self._lock = threading.Condition()
        self._sets: Iterator[FrameSet] = iter(())
        self._waiting: collections.deque[_Due] = collections.deque()
        self._events: list[Event] = []
        self._tally = Tally()
        self._opened = self._active = self._ended = False
        # A stamp of the recording and the monotonic time at which it is due.
        self._anchor: tuple[int, int] | None = None
        # The same of the set that was read last, and how long before it the one before was due.
        self._last, self._gap_ns = (0, 0), 0
        self._set_id = 0

    @property
    def cameras(self) -> tuple[str, ...]:
        """See `CameraRig`."""
        return self._cameras

    @property
    def ended(self) -> bool:
        """Whether the source has no more sets."""
        return self._ended and not self._waiting

    def open(self) -> None:
        """See `CameraRig.open`."""
        with self._lock:
            if self._opened:
                return
            self._sets = iter(self._source())
            self._tally, self._set_id = Tally(), 0
            self._opened, self._ended = True, False

    def start(self) -> None:
        """See `CameraRig.start`; goes on where ``stop`` left off."""
        with self._lock:
            if not self._opened:
                raise DeviceUnavailableError("the rig is not open")
            self._active, self._anchor = True, None

    def stop(self) -> None:
        """See `CameraRig.stop`."""
        with self._lock:
            self._active = False
            while self._waiting:
                self._refuse(self._waiting.popleft().frames, Reason.STOPPED)
            self._lock.notify_all()

    def close(self) -> None:
        """See `CameraRig.close`."""
        self.stop()
        self._sets, self._opened = iter(()), False

    def next_set(self, timeout_s: float) -> FrameSet | None:
        """See `CameraRig.next_set`."""
        deadline = self._clock.monotonic_ns() + round(1e9 * timeout_s)
        with self._lock:
            while self._active:
                now = self._clock.monotonic_ns()
                due = self._read_up_to(now)
                if self._waiting and due <= now:
                    return self._deliver(self._waiting.popleft().frames)
                if not self._waiting or now >= deadline:
                    return None
                self._lock.wait((min(due, deadline) - now) * 1e-9)
            return None

    def _read_up_to(self, now: int) -> int:
        """Reads all sets that are due and one more; returns when the oldest is due."""
        while not self._waiting or (self._speed and self._waiting[-1].at_ns <= now):
            begun = self._clock.monotonic_ns()
            following = self._read()
            if following is None:
                break
            self._waiting.append(_Due(self._due(following.stamp_ns, now), following))
            if not self._speed:
                break
            self._slip(self._clock.monotonic_ns() - begun)
        # The newest one is not due yet.
        while len(self._waiting) > self._queue_sets + 1:
            self._refuse(self._waiting.popleft().frames, Reason.OVERFLOW)
        return self._waiting[0].at_ns if self._waiting else now

    def _due(self, stamp_ns: int, now: int) -> int:
        """When a set is to be shown, on the monotonic clock; the first one at once."""
        if not self._speed:
            return 0
        if self._anchor is None:
            self._anchor, self._last, self._gap_ns = (stamp_ns, now), (stamp_ns, now), 0
        last_ns, shown_ns = self._last
        if stamp_ns < last_ns:  # from the beginning: as far apart as the two sets before
            self._anchor = (stamp_ns, shown_ns + self._gap_ns)
        first_ns, at_ns = self._anchor
        due = at_ns + round((stamp_ns - first_ns) / self._speed)
        self._gap_ns, self._last = due - shown_ns, (stamp_ns, due)
        return due

    def _slip(self, took_ns: int) -> None:
        """Puts off what follows by as much as the source took longer than its own time.

        Else a source that is slower than its stamps would be read further and further, to catch up.
        """
        late_ns = took_ns - self._gap_ns
        if late_ns > 0 and self._gap_ns and self._anchor is not None:
            first_ns, at_ns = self._anchor
            self._anchor = (first_ns, at_ns + late_ns)
            self._last = (self._last[0], self._last[1] + late_ns)

    def _read(self) -> FrameSet | None:
        """The next set of the source; ``set_id`` counts on when a recording loops."""
        found = next(self._sets, None)
        if found is None and self._loop and self._set_id:
            self._sets = iter(self._source())
            found = next(self._sets, None)
        if found is None:
            if not self._ended:
                text = "the recording has ended"
                now = self._clock.system_ns()
                self._events.append(Event(EventKind.TRIGGER_STOPPED, "", text, now))
            self._ended = True
            return None
        self._set_id += 1
        frames = {name: found.frames[name] for name in self._cameras if name in found.frames}
        self._tally.received.update(list(frames))
        missing = {
            name: found.missing.get(name, Reason.ABSENT)
            for name in self._cameras
            if name not in frames
        }
        return dataclasses.replace(found, set_id=self._set_id, frames=frames, missing=missing)

    def _deliver(self, frames: FrameSet) -> FrameSet:
        if len(frames.frames) > 1:
            self._tally.measured(frames.skew_ns)
        self._tally.delivered(frames.frames, complete=frames.complete)
        return self._stamped_now(frames) if self._restamp else frames

    def _stamped_now(self, frames: FrameSet) -> FrameSet:
        now = self._clock.system_ns()
        later = now - frames.stamp_ns
        moved = {
            name: dataclasses.replace(frame, stamp_ns=frame.stamp_ns + later)
            for name, frame in frames.frames.items()
        }
        return dataclasses.replace(frames, stamp_ns=now, frames=moved)

    def _refuse(self, frames: FrameSet, reason: Reason) -> None:
        self._tally.refused(frames.frames, reason)

    def settings(self, camera: str) -> Mapping[str, Setting]:
        """See `CameraRig.settings`: there are none."""
        self._require(camera)
        return {}

    def change(self, camera: str, name: str, value: Value) -> Value:
        """See `CameraRig.change`: always refused."""
        self._require(camera)
        raise ConfigurationError(f"camera {camera} has no setting {name!r}: it is a recording")

    def statistics(self) -> RigStatistics:
        """See `CameraRig.statistics`."""
        with self._lock:
            state = CameraState.ABSENT
            if self._opened:
                state = CameraState.STREAMING if self._active else CameraState.READY
            return self._tally.statistics(
                {
                    name: CameraStatistics(
                        state=state,
                        device="recording",
                        connections=1,
                        **self._tally.of_camera(name, {}),
                    )
                    for name in self._cameras
                }
            )

    def take_events(self) -> list[Event]:
        """See `CameraRig.take_events`."""
        with self._lock:
            events, self._events = self._events, []
            return events

    def _require(self, camera: str) -> None:
        if camera not in self._cameras:
            raise ConfigurationError(
                f"no camera {camera!r}; the rig has {', '.join(self._cameras)}"
            )
