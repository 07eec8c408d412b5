"""A camera rig under random faults for a long time: `s3k bench soak`.

Four fake cameras of 1280 x 960 at 20 Hz on one trigger line, the rig with all its threads and its
default parameters, and a consumer that takes every set; with ``--model`` it also looks for
keypoints in it, as `perception` does. At random times (`camera_faults.py`) cameras are unplugged
and come back with their clocks at zero, fall silent or get stuck, frames are lost or arrive
damaged, triggers are missed or stop for a while, and the consumer is busy.

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
import dataclasses
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from s3k_ros.bench.camera_faults import EmulatedBus, EmulatedFaults, FakeFaults, serials
from s3k_ros.cameras.fake import FakeBus, FakeCamera, FakeTally
from s3k_ros.cameras.host import Claims
from s3k_ros.cameras.port import CameraState, CameraStatistics, FrameSet, Reason
from s3k_ros.cameras.rig import DeviceRig
from s3k_ros.errors import ConfigurationError
from s3k_ros.params.cameras import CameraRigParameters, CameraSettings, TriggerParameters
from s3k_ros.params.perception import DetectorParameters
from s3k_ros.results import Result, Target, command_line, machine_description, source_commit

MOST_GROWTH_MIB = 20.0
LONGEST_STALL_S = 1.0
ENOUGH_CAMERAS = 2
# Caches and thread stacks fill up first.
WARM_UP_S = 120.0
WARM_UP_SHARE = 0.2
MIB = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k bench soak`."""
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=20.0, help="sets a second")
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--width", type=int, default=1280, help="px")
    parser.add_argument("--height", type=int, default=960, help="px")
    parser.add_argument("--fault-every", type=float, default=3.0, help="seconds, mean")
    parser.add_argument("--emulated", action="store_true", help="pylon's emulated cameras")
    parser.add_argument("--model", type=Path, help="also detect keypoints with this model")
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
    return Result(
        name="soak",
        command=command_line(),
        seed=args.seed,
        commit=source_commit(),
        machine=machine_description(),
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
        self._look = _detector(args.model, args.cameras) if args.model else _glance
        self._events: collections.Counter[str] = collections.Counter()
        warm_up_s = min(WARM_UP_S, WARM_UP_SHARE * 60.0 * args.minutes)
        self.memory = Memory(warm_up_s)
        self.mispaired = 0
        self.longest_stall_s = 0.0

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
            found = rig.next_set(0.1)
            now = time.monotonic()
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
            "model": str(self._args.model or "none"),
            "sets": counts.sets,
            "complete_sets": counts.complete,
            "sets_refused": {reason.name: n for reason, n in counts.refused.items()},
            "faults": dict(sorted(self._faults.done.items())),
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


@dataclasses.dataclass
class Memory:
    """Resident memory, threads and files of this process, sampled once a second.

    The images under way come and go by tens of MiB: medians over a minute show what stays.

    Attributes:
        warm_up_s: after this time the level is taken.
        samples: (time in s, MiB).
        threads_and_files: since the warm-up.
    """

    warm_up_s: float
    samples: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    threads_and_files: list[list[int]] = dataclasses.field(default_factory=list)

    def sample(self, now_s: float) -> None:
        """Looks, when a second has gone by."""
        if self.samples and now_s < self.samples[-1][0] + 1.0:
            return
        self.samples.append((now_s, resident_mib()))
        if now_s >= self.warm_up_s:
            files = len(os.listdir("/proc/self/fd"))
            self.threads_and_files.append([threading.active_count(), files])

    @property
    def levels_mib(self) -> list[float]:
        """Medians over each minute (of a short run: each eighth of it) since the warm-up."""
        if not self.threads_and_files:
            return []
        window_s = min(60.0, (self.samples[-1][0] - self.warm_up_s) / 8.0) or 1.0
        windows: dict[int, list[float]] = collections.defaultdict(list)
        for now_s, mib in self.samples:
            if now_s >= self.warm_up_s:
                windows[int((now_s - self.warm_up_s) / window_s)].append(mib)
        return [statistics.median(found) for _, found in sorted(windows.items())]

    @property
    def growth_mib(self) -> float:
        """Highest level less the first one; NaN before the warm-up has ended."""
        levels = self.levels_mib or [float("nan")]
        return max(levels) - levels[0]

    def figures(self) -> dict[str, Any]:
        """For the result."""
        return {
            "levels": self.levels_mib,
            "peak": max((mib for _, mib in self.samples), default=float("nan")),
            "threads_and_files_then": self.threads_and_files[:1],
            "threads_and_files_at_the_end": self.threads_and_files[-1:],
        }


def resident_mib() -> float:
    """Resident memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def _glance(found: FrameSet) -> None:
    """The consumer that does nothing."""


def _detector(model: Path, cameras: int) -> Callable[[FrameSet], None]:
    """The consumer that detects keypoints."""
    from s3k_ros.perception.detector import KeypointDetector

    names = [f"camera{i}" for i in range(cameras)]
    detector = KeypointDetector.load(model, DetectorParameters())

    def look(found: FrameSet) -> None:
        detector.detect([f.image if (f := found.frames.get(n)) else None for n in names])

    return look
