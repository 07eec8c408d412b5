"""Recorded frames to sets, by their stamps.

Images carry no number of their set, but our rig stamps every frame with its exposure on one clock,
and refuses sets whose stamps lie further apart than a bound; the exposures of different sets do. So
frames within that bound are one set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from s3k_ros.cameras.port import Frame, FrameSet, Reason

# The order of messages in a file is that of their arrival: none is later than this.
_LATEST_NS = 1_000_000_000


class Gatherer:
    """Makes sets of frames that come in any order between cameras, in order from each.

    Args:
        cameras: names, in the order of a set.
        slop_ns: largest difference of the stamps within a set.

    Attributes:
        late: frames whose set, or a later one, had gone out already.
    """

    def __init__(self, cameras: Sequence[str], slop_ns: int) -> None:
        self.late = 0
        self._cameras, self._slop_ns = tuple(cameras), slop_ns
        # Sets that may still grow, in order of time.
        self._open: list[dict[str, Frame]] = []
        self._newest = dict.fromkeys(cameras, -1)
        self._last_ns = -1
        self._count = 0

    def add(self, frame: Frame) -> Iterator[FrameSet]:
        """Takes a frame; gives the sets that are closed by it."""
        if frame.stamp_ns < self._last_ns - _LATEST_NS:  # the clock was set back: a new beginning
            yield from self.rest()
            self._newest = dict.fromkeys(self._cameras, -1)
            self._last_ns = -1
        if frame.stamp_ns <= self._last_ns:
            self.late += 1
            return
        self._newest[frame.camera] = max(self._newest[frame.camera], frame.stamp_ns)
        self._place(frame)
        while self._open and self._closed(self._open[0]):
            yield self._emit(self._open.pop(0))

    def rest(self) -> Iterator[FrameSet]:
        """The sets that wait at the end."""
        while self._open:
            yield self._emit(self._open.pop(0))

    def _place(self, frame: Frame) -> None:
        for frames in self._open:
            stamps = [frame.stamp_ns, *(other.stamp_ns for other in frames.values())]
            if frame.camera not in frames and max(stamps) - min(stamps) <= self._slop_ns:
                frames[frame.camera] = frame
                return
        self._open.append({frame.camera: frame})
        self._open.sort(key=_first)

    def _closed(self, frames: Mapping[str, Frame]) -> bool:
        """Whether no camera can add to a set any more."""
        last = _first(frames) + self._slop_ns
        missing = [name for name in self._cameras if name not in frames]
        waited = max(self._newest.values()) - last
        return all(self._newest[name] > last for name in missing) or waited > _LATEST_NS

    def _emit(self, frames: Mapping[str, Frame]) -> FrameSet:
        stamps = sorted(frame.stamp_ns for frame in frames.values())
        self._last_ns = stamps[-1]
        self._count += 1
        return FrameSet(
            set_id=self._count,
            stamp_ns=stamps[(len(stamps) - 1) // 2],
            skew_ns=stamps[-1] - stamps[0],
            frames={name: frames[name] for name in self._cameras if name in frames},
            missing={name: Reason.LOST for name in self._cameras if name not in frames},
        )


def _first(frames: Mapping[str, Frame]) -> int:
    return min(frame.stamp_ns for frame in frames.values())
