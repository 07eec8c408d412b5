"""A camera rig under random faults for a long time: `s3k bench soak`.

Four fake cameras of 1280 x 960 at 20 Hz on one trigger line, the rig with all its threads and its
default parameters, and a consumer that does with every set what the node `perception` does:
keypoints in all images, then in space (there are none in the fakes' grey images). At random times
(`camera_faults.py`) cameras are unplugged and come back with their clocks at zero, fall silent or
get stuck, frames are lost or arrive damaged, triggers are missed or stop for a while, and the
consumer is busy.

- Memory: resident set of the process, medians over a minute: the highest less the first one
  after the warm-up.
- Stalls: longest time without a set while the trigger runs and two cameras or more work and have
  been taken back; the consumer's own pauses do not count.
- Accounting: the fake cameras know what became of every frame. Each that arrived must have been
  delivered or dropped for a reason, each that did not be missed for the right one. Nobody can
  know of those at the ends of a stream.

With ``--emulated`` the cameras are pylon's, with real pylon code underneath and a software trigger.
They have fewer faults, and do not know what became of their frames.
"""

from __future__ import annotations

import argparse
import collections
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from s3k_ros.bench.camera_faults import EmulatedBus, EmulatedFaults, FakeFaults, serials
from s3k_ros.bench.memory import Memory
from s3k_ros.cameras.fake import FakeBus, FakeCamera, FakeTally
from s3k_ros.cameras.host import Claims
from s3k_ros.cameras.port import CameraState, CameraStatistics, FrameSet, Reason
from s3k_ros.cameras.rig import DeviceRig
from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.camera import Camera
from s3k_ros.geometry.se3 import Transform
from s3k_ros.params.cameras import CameraRigParameters, CameraSettings, TriggerParameters
from s3k_ros.params.nodes import MODEL
from s3k_ros.params.perception import DetectorParameters
from s3k_ros.perception.detector import KeypointDetector
from s3k_ros.perception.triangulator import KeypointTriangulator
from s3k_ros.results import Result, Target

MOST_GROWTH_MIB = 20.0
LONGEST_STALL_S = 1.0
ENOUGH_CAMERAS = 2
# Longest wait of the consumer for a set.
WAIT_S = 0.1
# Caches and thread stacks fill up first.
WARM_UP_S = 120.0
WARM_UP_SHARE = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k bench soak`."""
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=20.0, help="sets a second")
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--width", type=int, default=1280, help="px")
    parser.add_argument("--height", type=int, default=960, help="px")
    parser.add_argument("--fault-every", type=float, default=3.0, help="seconds, mean")
    parser.add_argument("--emulated", action="store_true", help="pylon's emulated cameras")
    parser.add_argument("--model", default=MODEL, help="empty: the consumer only takes the sets")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> Result:
    """Runs the rig and harms it.

    Raises:
        ConfigurationError: a number out of range, or no such model.
    """
    if args.minutes <= 0.0 or args.fault_every <= 0.0 or args.cameras < ENOUGH_CAMERAS:
        raise ConfigurationError(
            f"--minutes and --fault-every must be positive, --cameras at least {ENOUGH_CAMERAS}"
        )
    soak = Soak(args)
    with tempfile.TemporaryDirectory() as folder:
        rig = soak.rig(Path(folder))
        rig.open()
        try:
            rig.start()
            soak.use(rig, 60.0 * args.minutes)
            rig.stop()
            figures = soak.figures(rig)
        finally:
            rig.close()
    unaccounted = sum(figures["frames_unaccounted"].values())
    return Result.of_this_run(
        name="soak",
        seed=args.seed,
        figures=figures,
        targets=(
            Target.at_most(
                "growth of memory after warm-up", soak.memory.growth_mib, MOST_GROWTH_MIB, "MiB"
            ),
            Target.at_most("longest stall", soak.longest_stall_s, LONGEST_STALL_S, "s"),
            Target.at_most("frames not accounted for", unaccounted, 0, "frames"),
            Target.at_most("mispaired", soak.mispaired, 0, "sets"),
        ),
    )


class Soak:
    """The cameras, the consumer, and what it sees.

    Attributes:
        memory: of this process.
        mispaired: sets with frames of two triggers.
        longest_stall_s: while enough cameras worked.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._names = tuple(f"camera{i}" for i in range(args.cameras))
        self._fakes = [] if args.emulated else [_fake(args, i) for i in range(args.cameras)]
        self._trigger = TriggerParameters(mode="software" if args.emulated else "line")
        self._bus: FakeBus | EmulatedBus
        self._faults: FakeFaults | EmulatedFaults
        if args.emulated:
            self._bus = EmulatedBus(args.cameras, self._trigger)
            self._faults = EmulatedFaults(self._bus, args.fault_every, args.seed)
        else:
            self._bus = FakeBus(self._fakes, seed=args.seed)
            self._faults = FakeFaults(self._bus, args.fault_every, args.seed)
        self._look = _perception(args) if args.model else _glance
        self._events: collections.Counter[str] = collections.Counter()
        warm_up_s = min(WARM_UP_S, WARM_UP_SHARE * 60.0 * args.minutes)
        self.memory = Memory(warm_up_s)
        self.mispaired = 0
        self.longest_stall_s = 0.0
        self._longest_overrun_s = 0.0

    def rig(self, folder: Path) -> DeviceRig:
        """The rig of these cameras, closed."""
        args = self._args
        devices = serials(args.cameras) if args.emulated else self._names
        return DeviceRig(
            CameraRigParameters(cameras=self._names, devices=devices),
            CameraSettings(
                frame_rate_hz=args.rate, region_width=args.width, region_height=args.height
            ),
            self._trigger,
            self._bus,
            claims=Claims(folder),
        )

    def use(self, rig: DeviceRig, seconds: float) -> None:
        """Takes sets for a while, and does harm."""
        begun = now = last = time.monotonic()
        while now - begun < seconds:
            asked = time.monotonic()
            found = rig.next_set(WAIT_S)
            now = time.monotonic()
            self._longest_overrun_s = max(self._longest_overrun_s, now - asked - WAIT_S)
            if found is not None or not self._enough(rig):
                if found is not None:
                    self.longest_stall_s = max(self.longest_stall_s, now - last)
                    self._take(found)
                last = time.monotonic()
            self.longest_stall_s = max(self.longest_stall_s, now - last)
            for event in rig.take_events():
                self._events[event.kind.value] += 1
            self._faults.step(now - begun)
            if busy_s := self._faults.take_busy_s():
                time.sleep(busy_s)
                last += busy_s
            self.memory.sample(now - begun)
        self._faults.mend()

    def _enough(self, rig: DeviceRig) -> bool:
        """Whether sets must come: enough cameras work, and the rig has taken them back."""
        cameras = rig.statistics().cameras
        working = sum(
            self._faults.works(i) and cameras[name].state is CameraState.STREAMING
            for i, name in enumerate(self._names)
        )
        return working >= ENOUGH_CAMERAS

    def _take(self, found: FrameSet) -> None:
        if self._fakes:  # the trigger's number is their grey value
            self.mispaired += len({int(f.image.flat[0]) for f in found.frames.values()}) != 1
        self._look(found)

    def figures(self, rig: DeviceRig) -> dict[str, Any]:
        """Everything that was counted; the rig has stopped."""
        counts = rig.statistics()
        cameras = counts.cameras.values()
        return {
            "cameras": f"{self._args.cameras} {'emulated' if self._args.emulated else 'fake'}",
            "image_px": [self._args.width, self._args.height],
            "rate_hz": self._args.rate,
            "minutes": self._args.minutes,
            "model": self._args.model or "none",
            "sets": counts.sets,
            "complete_sets": counts.complete,
            "sets_refused": {reason.name: n for reason, n in counts.refused.items()},
            "faults": dict(sorted(self._faults.done.items())),
            # A wait that takes longer than it was to: the machine had no time for this process.
            "longest_overrun_of_a_wait_s": self._longest_overrun_s,
            "events": dict(sorted(self._events.items())),
            "frames_received": sum(c.received for c in cameras),
            "frames_delivered": sum(c.delivered for c in cameras),
            "frames_dropped": _by_reason(c.dropped for c in cameras),
            "frames_missed": _by_reason(c.missed for c in cameras),
            "frames_cut_off_with_a_stream": sum(c.tally.cut for c in self._fakes),
            "stream_restarts": sum(c.restarts for c in cameras),
            "connections": sum(c.connections for c in cameras),
            "frames_unaccounted": _sum(
                unaccounted(counts.cameras[name], self._fakes[i].tally if self._fakes else None)
                for i, name in enumerate(self._names)
            ),
            "memory_mib": self.memory.figures(),
        }


def _fake(args: argparse.Namespace, number: int) -> FakeCamera:
    return FakeCamera(
        f"camera{number}", width=args.width, height=args.height, drift_ppm=30.0 * number - 45.0,
        clock_outliers=0.05, loss=0.002,
    )  # fmt: skip


def unaccounted(counts: CameraStatistics, truth: FakeTally | None) -> dict[str, int]:
    """By how many frames a rig's counts miss what a camera knows, after the rig has stopped."""
    dropped = sum(counts.dropped.values())
    fates = {"delivered_or_dropped": abs(counts.received - counts.delivered - dropped)}
    if truth is None:
        return fates
    return {
        **fates,
        "received": abs(truth.sent - counts.received),
        "damaged": abs(truth.damaged - counts.missed.get(Reason.FAILED, 0)),
        "lost": abs(truth.lost - counts.missed.get(Reason.LOST, 0)),
    }


def _by_reason(cameras: Iterable[Mapping[Reason, int]]) -> dict[str, int]:
    return _sum({reason.name: n for reason, n in counts.items()} for counts in cameras)


def _sum(cameras: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: collections.Counter[str] = collections.Counter()
    for counts in cameras:
        total.update(counts)
    return dict(total)


def _glance(found: FrameSet) -> None:
    """The consumer that does nothing."""


def _perception(args: argparse.Namespace) -> Callable[[FrameSet], None]:
    """The consumer that detects and triangulates; its cameras stand side by side."""
    detector = KeypointDetector.load(args.model, DetectorParameters())
    triangulator = KeypointTriangulator.from_description(detector.model.description)
    size = float(args.width)
    matrix = np.array([[size, 0.0, size / 2], [0.0, size, args.height / 2], [0.0, 0.0, 1.0]])
    cameras = [
        Camera(
            f"camera{i}", args.width, args.height, matrix, "plumb_bob", np.zeros(5),
            Transform(np.eye(3), np.array([0.1 * i, 0.0, 0.0])),
        )
        for i in range(args.cameras)
    ]  # fmt: skip

    def look(found: FrameSet) -> None:
        frames = [found.frames.get(camera.name) for camera in cameras]
        views = detector.detect([_colour(frame.image) if frame else None for frame in frames])
        triangulator.estimate(cameras, views)

    return look


def _colour(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A grey image as the colour image that the detector reads."""
    return (
        image if image.ndim == 3 else np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    )
