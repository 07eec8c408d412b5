"""Sets of images that belong to one trigger, also when some cameras are silent.

Complete sets come from `message_filters.ApproximateTimeSynchronizer`, which knows only complete
ones. Whatever it does not use is gathered here by stamp, so that a lost frame costs one view
and a dead camera costs nothing but its view:

* a set goes out at once when every camera that is alive is in it;
* otherwise when ``set_timeout_s`` has passed since its first image came;
* stamps only go forward: what arrives behind a set that went out is dropped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from message_filters import ApproximateTimeSynchronizer, SimpleFilter
from std_msgs.msg import Header

from s3k_ros.ros.conversions import nanoseconds
from s3k_ros.ros.set_monitor import SetMonitor

# Images of one camera that may wait for those of the others.
_QUEUE_SIZE = 5
# A stamp this far behind means that the clock was set back: a simulation started again.
_RESET_NS = 1_000_000_000


class Stamped(Protocol):
    """A message with a header."""

    header: Header


M = TypeVar("M", bound=Stamped)


@dataclasses.dataclass(frozen=True)
class ImageSet(Generic[M]):
    """The messages of one trigger.

    Attributes:
        set_id: counts the sets.
        stamp_ns: reference time of the trigger, the (lower) median of the stamps.
        skew_ns: latest minus earliest stamp.
        messages: by camera; a camera without an image is absent.
    """

    set_id: int
    stamp_ns: int
    skew_ns: int
    messages: Mapping[str, M]


@dataclasses.dataclass(frozen=True)
class _Waiting(Generic[M]):
    stamp_ns: int
    received_s: float
    message: M


class ImageSets(Generic[M]):
    """Gathers sets and hands each on once.

    Args:
        inputs: one source of messages per camera, usually `message_filters.Subscriber`.
        slop_s: largest difference of the stamps within a set.
        set_timeout_s: how long a set waits for cameras that are alive.
        camera_timeout_s: no set waits for a camera that is this much longer silent than the last
            set is old; so a pause of all cameras kills none.
        emit: called with every set.
        clock: time of receipt, seconds.

    Attributes:
        monitor: knows why sets are not complete.
    """

    def __init__(
        self,
        inputs: Mapping[str, SimpleFilter],
        *,
        slop_s: float,
        set_timeout_s: float,
        camera_timeout_s: float,
        emit: Callable[[ImageSet[M]], None],
        clock: Callable[[], float],
    ) -> None:
        self.monitor = SetMonitor(tuple(inputs), slop_s, set_timeout_s)
        self._cameras = tuple(inputs)
        self._slop_ns = round(1e9 * slop_s)
        self._set_timeout_s = set_timeout_s
        self._camera_timeout_s = camera_timeout_s
        self._emit = emit
        self._clock = clock
        self._waiting: dict[str, list[_Waiting[M]]] = {name: [] for name in inputs}
        # Before its first image a camera is given the time of one that has just spoken.
        self._heard = dict.fromkeys(inputs, clock())
        self._last_set_s = clock()
        self._last_ns = -1
        self._last_stamps: dict[str, int] = {}
        self._count = 0
        # The synchronizer hears each message first: a set that it completes never waits here.
        self._synchronizer = ApproximateTimeSynchronizer(list(inputs.values()), _QUEUE_SIZE, slop_s)
        self._synchronizer.registerCallback(self._complete)
        for name, source in inputs.items():
            source.registerCallback(self._add, name)

    def poll(self) -> None:
        """Hands on the sets whose time has come; to be called every few milliseconds."""
        while (due := self._oldest()) and self._is_due(due):
            self._hand_on({name: entry.message for name, entry in due.items()})

    def _complete(self, *messages: M) -> None:
        self._hand_on(dict(zip(self._cameras, messages, strict=True)))

    def _add(self, message: M, camera: str) -> None:
        now = self._clock()
        self._heard[camera] = now
        stamp = nanoseconds(message.header.stamp)
        if stamp < self._last_ns - _RESET_NS:
            self._last_ns = -1
        behind = stamp <= self._last_ns
        used = self._last_stamps.get(camera) == stamp  # the synchronizer has just completed its set
        self.monitor.image(camera, stamp, now, late=behind and not used)
        if behind:
            return
        queue = self._waiting[camera]
        queue.append(_Waiting(stamp, now, message))
        del queue[:-_QUEUE_SIZE]
        self.poll()

    def _oldest(self) -> dict[str, _Waiting[M]]:
        """The oldest image that waits, and from each other camera the nearest within the slop."""
        stamps = [entry.stamp_ns for queue in self._waiting.values() for entry in queue]
        if not stamps:
            return {}
        first = min(stamps)
        near = {
            name: min(queue, key=lambda entry: entry.stamp_ns)
            for name, queue in self._waiting.items()
            if queue
        }
        return {n: e for n, e in near.items() if e.stamp_ns - first <= self._slop_ns}

    def _is_due(self, entries: Mapping[str, _Waiting[M]]) -> bool:
        now = self._clock()
        limit = self._last_set_s - self._camera_timeout_s
        alive = {name for name, heard_s in self._heard.items() if heard_s >= limit}
        age = now - min(entry.received_s for entry in entries.values())
        return not alive - set(entries) or age >= self._set_timeout_s or age < 0.0

    def _hand_on(self, messages: Mapping[str, M]) -> None:
        by_camera = {n: nanoseconds(message.header.stamp) for n, message in messages.items()}
        stamps = sorted(by_camera.values())
        if stamps[0] <= self._last_ns:
            return  # the synchronizer found late images of a set that went out without them
        self._last_ns, self._last_stamps = stamps[-1], by_camera
        self.monitor.set(messages)
        self._last_set_s = self._clock()
        for queue in self._waiting.values():
            queue[:] = [entry for entry in queue if entry.stamp_ns > self._last_ns]
        self._count += 1
        reference = stamps[(len(stamps) - 1) // 2]
        self._emit(ImageSet(self._count, reference, stamps[-1] - stamps[0], messages))
