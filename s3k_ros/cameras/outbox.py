"""Sets on their way to the consumer, and what became of every frame."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable

from s3k_ros.cameras.device import RawFrame
from s3k_ros.cameras.pairing import Paired, Refused
from s3k_ros.cameras.pixels import to_image
from s3k_ros.cameras.port import Frame, FrameSet, Reason
from s3k_ros.cameras.tally import Tally

Outcome = Paired[RawFrame] | Refused[RawFrame]


@dataclasses.dataclass(frozen=True)
class Parcel:
    """A set that waits.

    Attributes:
        set_id: of the set.
        paired: its frames as the cameras sent them.
        to_system_ns: from the clock of pairing to the system's, as it was then.
    """

    set_id: int
    paired: Paired[RawFrame]
    to_system_ns: int

    def frame_set(self) -> FrameSet:
        """The set as the consumer gets it; interpolates Bayer images."""
        frames = {
            name: Frame(
                name,
                to_image(arrival.payload.data, arrival.payload.pixel_format),
                arrival.time_ns + self.to_system_ns,
                arrival.error_ns,
                arrival.counter,
                arrival.payload.window,
            )
            for name, arrival in self.paired.members.items()
        }
        stamps = sorted(frame.stamp_ns for frame in frames.values())
        reference = stamps[(len(stamps) - 1) // 2]
        return FrameSet(self.set_id, reference, self.paired.skew_ns, frames, self.paired.missing)


class Outbox:
    """The newest sets, in order. No threads: callers hold a lock.

    Args:
        size: sets that may wait; further ones push out the oldest.

    Attributes:
        tally: what became of all frames.
    """

    def __init__(self, size: int) -> None:
        self.tally = Tally()
        self._size = size
        self._parcels: collections.deque[Parcel] = collections.deque()
        self._set_id = 0

    def __len__(self) -> int:
        return len(self._parcels)

    def add(self, outcomes: Iterable[Outcome], to_system_ns: int) -> None:
        """Counts what the pairing decided and keeps its sets."""
        for outcome in outcomes:
            if isinstance(outcome, Refused):
                self.tally.dropped(outcome.arrival.camera, outcome.reason)
                continue
            if len(outcome.members) > 1 and outcome.refused is not Reason.STOPPED:
                self.tally.measured(outcome.skew_ns)
            if outcome.refused:
                self.tally.refused(outcome.members, outcome.refused)
                continue
            self._set_id += 1
            self._parcels.append(Parcel(self._set_id, outcome, to_system_ns))
            if len(self._parcels) > self._size:
                self.tally.refused(self._parcels.popleft().paired.members, Reason.OVERFLOW)

    def take(self) -> Parcel | None:
        """The oldest set, delivered with that."""
        if not self._parcels:
            return None
        parcel = self._parcels.popleft()
        self.tally.delivered(parcel.paired.members, complete=not parcel.paired.missing)
        return parcel

    def clear(self) -> None:
        """The rig stops: what waits is dropped."""
        while self._parcels:
            self.tally.refused(self._parcels.popleft().paired.members, Reason.STOPPED)
