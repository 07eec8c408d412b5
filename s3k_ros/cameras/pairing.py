"""Which frames belong to one trigger: by exposure time and by frame counter.

Frames of different triggers lie at least a period apart, those of one trigger close together. A
frame joins the set within half a period of its time. That is unambiguous as long as the error of
each time stays below a fifth of a period, so a lost frame or a missed trigger never shifts a
camera by one. Where the error is larger, several sets may be within reach: then the time that the
camera itself measured since its last paired frame must single out one of them, and its frame
counter must not have gone further than the triggers; otherwise the frame is refused.

A set is closed, in order of time, when every camera that is alive is in it, when those that are not
in it have sent a later frame (frames of one camera arrive in order), or after a timeout.

No threads, no clock: callers bring the times and hold a lock.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from s3k_ros.cameras.port import Reason

T = TypeVar("T")

# Reach of a set, and the largest error of a time that leaves the choice unambiguous, in periods:
# two such errors and a tenth of a period between the exposures of a set still fit into the reach.
WINDOW = 0.5
UNAMBIGUOUS = 0.2
# Frames of a camera that are remembered, to tell why one is missing.
RECENT_FRAMES = 64
# Drift between a camera's clock and the host's over the gap since its last paired frame.
DRIFT = 200e-6


@dataclasses.dataclass(frozen=True)
class Arrival(Generic[T]):
    """A frame as it comes from a camera.

    Attributes:
        camera: name.
        epoch: changes when the camera's clock starts anew, with every stream at least.
        counter: the camera's frame counter.
        time_ns: exposure, on a clock that never jumps.
        error_ns: bound of its error.
        device_ns: exposure on the camera's own clock; None when it has none.
        received_ns: when it came, on the clock of ``time_ns``.
        payload: the image.
        stream: counts the camera's streams; the counter starts anew with each. None: as the epoch.
    """

    camera: str
    epoch: int
    counter: int
    time_ns: int
    error_ns: int
    device_ns: int | None
    received_ns: int
    payload: T
    stream: int | None = None


@dataclasses.dataclass(frozen=True)
class Paired(Generic[T]):
    """A closed set: the frames of one trigger.

    Attributes:
        index: number of the trigger; a gap means triggers of which nothing arrived.
        members: by camera, in the rig's order.
        missing: why, for the cameras that are absent.
        refused: why the set must not be used, or None.
        skew_ns: latest minus earliest time.
    """

    index: int
    members: Mapping[str, Arrival[T]]
    missing: Mapping[str, Reason]
    refused: Reason | None
    skew_ns: int


@dataclasses.dataclass(frozen=True)
class Refused(Generic[T]):
    """A frame that joins no set."""

    arrival: Arrival[T]
    reason: Reason


@dataclasses.dataclass
class _Camera:
    """What is known of one camera."""

    alive: bool = False
    why_not: Reason = Reason.ABSENT
    epoch: int = -1
    stream: int = -1
    counter: int = -1
    # Times and counters of its newest frames, in order.
    recent: collections.deque[tuple[int, int]] = dataclasses.field(
        default_factory=lambda: collections.deque(maxlen=RECENT_FRAMES)
    )
    # Trigger index minus frame counter, learned from unambiguous times.
    offset: int | None = None
    # Its newest paired frame on its own clock, and that frame's set on the common one.
    paired_device_ns: int | None = None
    paired_set_ns: int = 0
    # The newest damaged frame, and damaged ones without a counter since the last good one.
    failed_counter: int = -1
    failed_unknown: int = 0


class _Open(Generic[T]):
    """A set that still waits for frames."""

    def __init__(self, arrival: Arrival[T]) -> None:
        self.time_ns = arrival.time_ns
        self.first_received_ns = arrival.received_ns
        self.members: dict[str, Arrival[T]] = {}


class Pairing(Generic[T]):
    """Pairs the frames of several cameras.

    Args:
        cameras: names, in the order of every set.
        period_ns: shortest time between two triggers.
        max_skew_ns: sets whose exposures lie further apart are refused.
        timeout_ns: how long a set waits for cameras that are alive, from its first frame on.
        min_cameras: sets with fewer are refused.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        *,
        period_ns: int,
        max_skew_ns: int,
        timeout_ns: int,
        min_cameras: int = 1,
    ) -> None:
        self._cameras: dict[str, _Camera] = {name: _Camera() for name in cameras}
        self._max_skew_ns = max_skew_ns
        self._timeout_ns = timeout_ns
        self._min_cameras = min_cameras
        self._open: list[_Open[T]] = []
        self._last_closed_ns: int | None = None
        self._index = 0
        self.missed: collections.Counter[tuple[str, Reason]] = collections.Counter()
        self.set_period(period_ns)

    def set_period(self, period_ns: int) -> None:
        """Another rate of the trigger."""
        self._window_ns = round(WINDOW * period_ns)
        self._unambiguous_ns = round(UNAMBIGUOUS * period_ns)

    def set_alive(self, camera: str, alive: bool, why_not: Reason = Reason.ABSENT) -> None:
        """Whether sets wait for this camera, and what they say when they do not."""
        self._cameras[camera].alive = alive
        self._cameras[camera].why_not = why_not

    def failed(
        self, camera: str, epoch: int, counter: int | None, stream: int | None = None
    ) -> None:
        """A frame of this camera arrived damaged; its counter, if that much is known."""
        state = self._cameras[camera]
        self.missed[camera, Reason.FAILED] += 1
        if counter is None:
            state.failed_unknown += 1
        elif self._count(camera, epoch, counter, stream):
            state.failed_counter = counter

    def undated(self, camera: str, epoch: int, counter: int, stream: int | None = None) -> None:
        """A frame of this camera came without a time: it is not lost, but joins no set."""
        self._count(camera, epoch, counter, stream)

    def add(self, arrival: Arrival[T]) -> list[Paired[T] | Refused[T]]:
        """Takes a frame; returns what it decides: closed sets in order, and refused frames."""
        reason = self._note(arrival) or self._assign(arrival)
        refused = [Refused(arrival, reason)] if reason else []
        return [*refused, *self.poll(arrival.received_ns)]

    def poll(self, now_ns: int) -> list[Paired[T] | Refused[T]]:
        """Closes the sets whose time has come."""
        closed: list[Paired[T] | Refused[T]] = []
        while self._open and self._is_due(self._open[0], now_ns):
            closed.append(self._close(self._open.pop(0)))
        return closed

    def flush(self) -> list[Paired[T] | Refused[T]]:
        """Closes all sets, refused, and forgets the times: the rig stops."""
        closed = [dataclasses.replace(self._close(s), refused=Reason.STOPPED) for s in self._open]
        self._open.clear()
        self._last_closed_ns = None
        for camera in self._cameras.values():
            camera.recent.clear()
            camera.offset = camera.paired_device_ns = None
        return list(closed)

    # --- one frame ------------------------------------------------------------------------------

    def _note(self, arrival: Arrival[T]) -> Reason | None:
        """Follows a camera's counter; refuses a frame that comes twice."""
        if not self._count(arrival.camera, arrival.epoch, arrival.counter, arrival.stream):
            return Reason.LATE
        self._cameras[arrival.camera].recent.append((arrival.time_ns, arrival.counter))
        return None

    def _count(self, name: str, epoch: int, counter: int, stream: int | None) -> bool:
        """Takes a camera's next counter and notes gaps; False when it is no later one."""
        camera = self._cameras[name]
        stream = epoch if stream is None else stream
        if epoch != camera.epoch:
            camera.epoch, camera.offset, camera.paired_device_ns = epoch, None, None
            camera.recent.clear()
        if stream != camera.stream:
            camera.stream, camera.failed_counter = stream, -1
        elif counter <= camera.counter:
            return False
        else:
            lost = counter - camera.counter - 1 - camera.failed_unknown
            if lost > 0:
                self.missed[name, Reason.LOST] += lost
        camera.counter, camera.failed_unknown = counter, 0
        return True

    def _assign(self, arrival: Arrival[T]) -> Reason | None:
        """Puts a frame into its set, an old or a new one; returns why it fits none."""
        uncertain = arrival.error_ns > self._unambiguous_ns
        reach = self._window_ns + uncertain * arrival.error_ns
        near = [s for s in self._open if abs(s.time_ns - arrival.time_ns) <= reach]
        # Sets are closed in order of time: what is not newer than the last one is late.
        closed = self._last_closed_ns
        late = closed is not None and arrival.time_ns <= closed + reach
        if uncertain:
            near = [s for s in near if self._agrees(arrival, s)]
            if len(near) != 1:
                return Reason.LATE if late and not near else Reason.AMBIGUOUS
        elif late:
            return Reason.LATE
        if not near:
            near = [_Open(arrival)]
            bisect.insort(self._open, near[0], key=lambda s: s.time_ns)
        chosen = min(near, key=lambda s: abs(s.time_ns - arrival.time_ns))
        if arrival.camera in chosen.members:
            return Reason.AMBIGUOUS
        chosen.members[arrival.camera] = arrival
        return None

    def _agrees(self, arrival: Arrival[T], candidate: _Open[T]) -> bool:
        """Whether counter and the camera's own clock allow an uncertain frame in this set."""
        camera = self._cameras[arrival.camera]
        before, proposed = camera.paired_device_ns, self._proposed(candidate)
        if camera.offset is None or proposed is None:
            return False
        if arrival.device_ns is None or before is None:
            return False
        own = arrival.device_ns - before
        between_sets = candidate.time_ns - camera.paired_set_ns
        in_time = abs(own - between_sets) <= self._window_ns + DRIFT * abs(own)
        # A trigger makes one frame at most; a missed one leaves the counter behind.
        return in_time and arrival.counter + camera.offset <= proposed

    def _proposed(self, candidate: _Open[T]) -> int | None:
        """Index of a set by its members' counters; a missed trigger only makes one smaller."""
        offsets = ((self._cameras[c].offset, a.counter) for c, a in candidate.members.items())
        return max((o + counter for o, counter in offsets if o is not None), default=None)

    # --- one set --------------------------------------------------------------------------------

    def _is_due(self, candidate: _Open[T], now_ns: int) -> bool:
        if now_ns - candidate.first_received_ns >= self._timeout_ns:
            return True
        awaited = (c for n, c in self._cameras.items() if c.alive and n not in candidate.members)
        return all(self._has_passed(camera, candidate) for camera in awaited)

    def _has_passed(self, camera: _Camera, candidate: _Open[T]) -> bool:
        """Whether a camera has sent a later frame: what is missing will not come any more."""
        return bool(camera.recent) and camera.recent[-1][0] > candidate.time_ns + self._window_ns

    def _close(self, candidate: _Open[T]) -> Paired[T]:
        self._last_closed_ns = candidate.time_ns
        self._index = max(self._proposed(candidate) or 0, self._index + 1)
        members = {n: candidate.members[n] for n in self._cameras if n in candidate.members}
        missing = {n: self._why(n, candidate) for n in self._cameras if n not in members}
        for name, arrival in members.items():
            self._learn(self._cameras[name], arrival, candidate.time_ns)
        times = [arrival.time_ns for arrival in members.values()]
        skew_ns = max(times) - min(times)
        refused = None
        if len(members) < self._min_cameras:
            refused = Reason.TOO_FEW
        elif skew_ns > self._max_skew_ns:
            refused = Reason.SKEW
        return Paired(self._index, members, missing, refused, skew_ns)

    def _learn(self, camera: _Camera, arrival: Arrival[T], set_ns: int) -> None:
        """Takes over the offset of a camera's counter; a larger one means missed triggers."""
        if arrival.epoch != camera.epoch:
            return  # it has been connected anew since
        offset = self._index - arrival.counter
        if camera.offset is not None and offset > camera.offset:
            self.missed[arrival.camera, Reason.MISSED_TRIGGER] += offset - camera.offset
        camera.offset = offset
        camera.paired_device_ns, camera.paired_set_ns = arrival.device_ns, set_ns

    def _why(self, name: str, candidate: _Open[T]) -> Reason:
        """Why a camera is not in a set that is being closed."""
        camera = self._cameras[name]
        if not camera.alive:
            return camera.why_not
        before = max((n for t, n in camera.recent if t < candidate.time_ns), default=None)
        after = min((n for t, n in camera.recent if t > candidate.time_ns), default=None)
        if camera.failed_counter > (-1 if before is None else before):
            return Reason.FAILED
        if after is None:
            return Reason.TIMEOUT
        if before is None:
            return Reason.ABSENT  # it began to stream after this trigger
        return Reason.MISSED_TRIGGER if after == before + 1 else Reason.LOST


def dropped(outcomes: Iterable[Paired[T] | Refused[T]]) -> dict[tuple[str, Reason], int]:
    """How many frames of each camera were lost to their consumer by these outcomes, and why."""
    counts: collections.Counter[tuple[str, Reason]] = collections.Counter()
    for outcome in outcomes:
        if isinstance(outcome, Refused):
            counts[outcome.arrival.camera, outcome.reason] += 1
        elif outcome.refused:
            counts.update((name, outcome.refused) for name in outcome.members)
    return dict(counts)
