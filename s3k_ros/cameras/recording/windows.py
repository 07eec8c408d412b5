"""Which part of the sensor recorded images show, by their `camera_info`."""

from __future__ import annotations

from collections import deque
from typing import Any

from s3k_ros.cameras.recording.images import stamp_of
from s3k_ros.cameras.window import Window

# Changes of a camera's region that may be in the file before the images that they hold for.
_CHANGES = 8


class RecordedWindows:
    """What `camera_info` said of which time: regions and binning change while images come."""

    def __init__(self) -> None:
        self._known: dict[str, deque[tuple[int, Window | None]]] = {}

    def learn(self, camera: str, info: Any) -> None:
        """Takes a decoded camera_info; it holds for images from its stamp on."""
        known = self._known.setdefault(camera, deque(maxlen=_CHANGES))
        stamp_ns, window = stamp_of(info), _window(info)
        if known and stamp_ns <= known[-1][0]:
            known.clear()  # no stamps, or a clock set back
        if not known or known[-1][1] != window:
            known.append((stamp_ns, window))

    def at(self, camera: str, stamp_ns: int) -> Window | None:
        """What held at a time; None where nobody said."""
        held = [window for since_ns, window in self._known.get(camera, ()) if since_ns <= stamp_ns]
        return held[-1] if held else None


def _window(info: Any) -> Window | None:
    """None for a whole image, and for what a `Window` cannot say."""
    roi, binning = info.roi, max(1, info.binning_x)
    if binning != max(1, info.binning_y):
        return None
    part = (roi.x_offset, roi.y_offset, roi.width, roi.height)
    if binning == 1 and part in ((0, 0, 0, 0), (0, 0, info.width, info.height)):
        return None
    return Window(roi.x_offset, roi.y_offset, binning, info.width, info.height)
