"""What became of every frame and set of a rig."""

from __future__ import annotations

import collections
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from s3k_ros.cameras.port import CameraStatistics, Reason, RigStatistics

# Sets whose skew is remembered.
KEPT_SKEWS = 256


class Tally:
    """Counts since a rig was opened. No threads: callers hold a lock."""

    def __init__(self) -> None:
        self.received: collections.Counter[str] = collections.Counter()
        self._delivered: collections.Counter[str] = collections.Counter()
        self._dropped: collections.Counter[tuple[str, Reason]] = collections.Counter()
        self._refused: collections.Counter[Reason] = collections.Counter()
        self._skews: collections.deque[int] = collections.deque(maxlen=KEPT_SKEWS)
        self._sets = self._complete = 0

    def measured(self, skew_ns: int) -> None:
        """A set of two frames or more had this skew."""
        self._skews.append(skew_ns)

    def delivered(self, cameras: Iterable[str], *, complete: bool) -> None:
        """The consumer took a set."""
        self._sets += 1
        self._complete += complete
        self._delivered.update(list(cameras))

    def refused(self, cameras: Iterable[str], reason: Reason) -> None:
        """A set does not reach the consumer."""
        self._refused[reason] += 1
        self._dropped.update((camera, reason) for camera in cameras)

    def dropped(self, camera: str, reason: Reason) -> None:
        """A frame did not get into a set."""
        self._dropped[camera, reason] += 1

    def of_camera(self, camera: str, missed: Mapping[tuple[str, Reason], int]) -> dict[str, Any]:
        """The counts of one camera, as arguments of `CameraStatistics`."""
        return {
            "received": self.received[camera],
            "delivered": self._delivered[camera],
            "dropped": _of(camera, self._dropped),
            "missed": _of(camera, missed),
        }

    def statistics(self, cameras: Mapping[str, CameraStatistics]) -> RigStatistics:
        """The counts of the rig."""
        skews = self._skews
        return RigStatistics(
            sets=self._sets,
            complete=self._complete,
            refused=dict(self._refused),
            skew_ns=skews[-1] if skews else 0,
            skew_median_ns=round(statistics.median(skews)) if skews else 0,
            skew_max_ns=max(skews, default=0),
            cameras=cameras,
        )


def _of(camera: str, counts: Mapping[tuple[str, Reason], int]) -> dict[Reason, int]:
    return {reason: n for (name, reason), n in counts.items() if name == camera and n}
