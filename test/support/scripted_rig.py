"""A `CameraRig` whose cameras see coloured blobs that move, and nodes that run on it.

As a program: ``python scripted_rig.py perception --ros-args ...`` runs that node on the rig.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from s3k_ros.cameras.port import (
    CameraState,
    CameraStatistics,
    Event,
    EventKind,
    Frame,
    FrameSet,
    Reason,
    RigStatistics,
    Setting,
    Value,
)
from s3k_ros.errors import ConfigurationError, DeviceUnavailableError
from support.rigs import make_rig
from support.synthetic_model import paint_views

CAMERAS = make_rig("plumb_bob")
NAMES = tuple(camera.name for camera in CAMERAS)
# Far enough apart that no disc (2 cm) hides another one from any camera.
POINTS = np.array(
    [[0.6, 0.0, 0.0], [0.7, 0.1, 0.02], [0.7, -0.1, 0.02], [0.5, 0.1, 0.03], [0.5, -0.1, 0.0]]
)
# The blobs swing to and fro along y.
SWING_M = 0.01
POSES = 6
# Every so many sets this camera has no image.
LOST_EVERY, LOST = 5, "cam2"


class ScriptedRig:
    """Sets of painted images, one after the other has been taken: however slow, none is skipped.

    Args:
        rate_hz: of the sets, at most.
    """

    def __init__(self, rate_hz: float = 8.0) -> None:
        self._rate_hz = rate_hz
        shifts = SWING_M * np.sin(2.0 * np.pi * np.arange(POSES) / POSES)
        self._images = [paint_views(CAMERAS, POINTS + np.array([0.0, s, 0.0])) for s in shifts]
        self._exposure_s = dict.fromkeys(NAMES, 0.005)
        self._opened = self._active = False
        self._count = 0
        self._next = time.monotonic()
        self._events: list[Event] = []
        self._lock = threading.Lock()

    @property
    def cameras(self) -> tuple[str, ...]:
        return NAMES

    def open(self) -> None:
        self._opened = True
        self._event(EventKind.CAMERA_MISSING, "cam1", "was away for a moment")
        self._event(EventKind.CAMERA_CONNECTED, "cam1", "is back")

    def start(self) -> None:
        if not self._opened:
            raise DeviceUnavailableError("the rig is not open")
        self._active = True

    def next_set(self, timeout_s: float) -> FrameSet | None:
        wait_s = self._next - time.monotonic()
        if not self._active or wait_s > timeout_s:
            time.sleep(timeout_s)
            return None
        time.sleep(max(wait_s, 0.0))
        self._next = time.monotonic() + 1.0 / self._rate_hz
        with self._lock:
            self._count += 1
            stamp = time.time_ns()
            frames = {}
            for i, (name, image) in enumerate(
                zip(NAMES, self._images[self._count % POSES], strict=True)
            ):
                if name != LOST or self._count % LOST_EVERY:
                    stamp_ns = stamp + 100_000 * i
                    frames[name] = Frame(name, image, stamp_ns, 1000, self._count)
            stamps = sorted(frame.stamp_ns for frame in frames.values())
            missing = {name: Reason.LOST for name in NAMES if name not in frames}
            skew = stamps[-1] - stamps[0]
            return FrameSet(self._count, stamps[(len(stamps) - 1) // 2], skew, frames, missing)

    def stop(self) -> None:
        self._active = False

    def close(self) -> None:
        self._active = self._opened = False

    def settings(self, camera: str) -> Mapping[str, Setting]:
        value = self._exposure_s[camera]
        return {
            "exposure_s": Setting("exposure_s", value, "s", 1e-5, 0.02),
            "binning": Setting("binning", 1, "px", 1, 2, 1, (), True),
        }

    def change(self, camera: str, name: str, value: Value) -> Value:
        if name == "binning" and value != 1:
            raise ConfigurationError(f"camera {camera}: binning = {value} with this lens? never")
        if name == "exposure_s":
            self._exposure_s[camera] = round(float(value), 4)
            return self._exposure_s[camera]
        return value

    def statistics(self) -> RigStatistics:
        state = CameraState.STREAMING if self._active else CameraState.READY
        lost = {Reason.LOST: self._count // LOST_EVERY}
        cameras = {
            name: CameraStatistics(
                state, f"scripted {name}", self._count, missed=lost if name == LOST else {}
            )
            for name in NAMES
        }
        complete = self._count - self._count // LOST_EVERY
        return RigStatistics(self._count, complete, {}, 300_000, 300_000, 300_000, cameras)

    def take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _event(self, kind: EventKind, camera: str, text: str) -> None:
        self._events.append(Event(kind, camera, text, time.time_ns()))


def main() -> int:
    from s3k_ros.nodes.camera_rig import CameraRigNode
    from s3k_ros.nodes.perception import PerceptionNode
    from s3k_ros.ros.node import run_node

    kind = {"perception": PerceptionNode, "camera_rig": CameraRigNode}[sys.argv.pop(1)]
    return run_node(lambda: kind(lambda _: ScriptedRig()))


if __name__ == "__main__":
    sys.exit(main())
