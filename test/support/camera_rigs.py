"""Every implementation of `CameraRig` with the faults that a test can cause in it."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from s3k_ros.cameras.fake import FakeBus, FakeCamera
from s3k_ros.cameras.host import Claims
from s3k_ros.cameras.port import CameraRig, Event, EventKind, Frame, FrameSet
from s3k_ros.cameras.replay import ReplayRig
from s3k_ros.cameras.rig import DeviceRig
from s3k_ros.params.cameras import CameraRigParameters, CameraSettings, TriggerParameters

NAMES = ("north", "east", "south", "west")
RATE_HZ = 25.0
# Longest wait for anything: these machines are busy.
PATIENCE_S = 20.0


@dataclasses.dataclass
class Bench:
    """A rig and the ways to harm it; the last camera is the victim.

    Attributes:
        rig: under test, closed.
        again: makes another rig of the same cameras.
        live: False for recordings: no devices, no faults.
    """

    rig: Any
    again: Callable[..., Any]
    live: bool = True

    def unplug(self) -> None:
        """Takes the victim off the bus."""

    def plug(self) -> None:
        """Puts it back."""

    def damage(self, frames: int) -> None:
        """So many of the victim's next frames arrive damaged."""

    def set_line(self, running: bool) -> None:
        """Starts or stops the pulses on the trigger line."""

    @property
    def victim(self) -> str:
        return NAMES[-1]


class FakeBench(Bench):
    def __init__(self, folder: Path, mode: str = "software", **options: Any) -> None:
        self.bus = FakeBus(
            [
                FakeCamera(f"S{i}", user_id=f"user{i}", drift_ppm=30.0 * i - 45.0, skew_s=1e-4 * i)
                for i in range(len(NAMES))
            ]
        )

        def again(**more: Any) -> DeviceRig:
            known = {"devices": tuple(f"S{i}" for i in range(len(NAMES)))}
            return make_rig(self.bus, folder, mode, **{**known, **options, **more})

        super().__init__(again(), again)

    def unplug(self) -> None:
        self.bus.cameras[-1].connected = False

    def plug(self) -> None:
        self.bus.cameras[-1].power_cycle()
        self.bus.cameras[-1].connected = True

    def damage(self, frames: int) -> None:
        self.bus.cameras[-1].fail = frames

    def set_line(self, running: bool) -> None:
        self.bus.line_running = running


class BaslerBench(Bench):
    """Four emulated cameras, real pylon code underneath."""

    def __init__(
        self, folder: Path, set_env: Callable[[str, str], None], mode: str = "software", **o: Any
    ) -> None:
        from s3k_ros.cameras.basler import PylonBus

        self._set_env = set_env
        set_env("PYLON_CAMEMU", "4")
        size = {"region_width": 320, "region_height": 240}

        def again(**more: Any) -> DeviceRig:
            known = {"devices": tuple(f"0815-000{i}" for i in range(len(NAMES))), **size}
            bus = PylonBus(TriggerParameters(mode=mode))
            return make_rig(bus, folder, mode, **{**known, **o, **more})

        super().__init__(again(), again)

    def features(self, camera: str) -> Any:
        return self.rig._links[camera].device.features

    def unplug(self) -> None:
        self._set_env("PYLON_CAMEMU", "3")  # the emulator numbers its cameras: the last one goes
        features = self.features(self.victim)
        features.set("FirePnPCallbackValue", 1)

    def plug(self) -> None:
        self._set_env("PYLON_CAMEMU", "4")

    def damage(self, frames: int) -> None:
        features = self.features(self.victim)
        features.set("ForceFailedBufferCount", frames)
        features.execute("ForceFailedBuffer")

    def set_line(self, running: bool) -> None:
        """The emulator has no line: its cameras run freely in place of pulses."""
        for name in NAMES:
            self.features(name).set("TriggerMode", "Off" if running else "On")


def replay_bench(speed: float = 1.0) -> Bench:
    def again(**_: Any) -> ReplayRig:
        return ReplayRig(NAMES, recorded_sets, speed=speed)

    return Bench(again(), again, live=False)


def recording_bench(folder: Path) -> Bench:
    """A file with sets as a recorder wrote them."""
    from s3k_ros.cameras.recording.reader import Recording
    from s3k_ros.cameras.recording.sets import RecordedSets
    from support.recordings import record

    path = record(folder / "recording.mcap", recorded_sets(200))

    def again(**_: Any) -> ReplayRig:
        return ReplayRig(NAMES, RecordedSets(Recording(path), NAMES))

    return Bench(again(), again, live=False)


@functools.cache
def _simulated_sets() -> Any:
    from s3k_ros.simulation.camera_sets import SimulatedSets

    return SimulatedSets(seed=1, rate_hz=RATE_HZ, width=64, settle_s=0.01)


def simulated_bench() -> Bench:
    """The simulated cell's four cameras under this suite's names."""

    def renamed() -> Iterator[FrameSet]:
        sets = _simulated_sets()
        names = {camera.name: name for camera, name in zip(sets.cameras, NAMES, strict=True)}
        for found in sets():
            frames = {
                names[n]: dataclasses.replace(f, camera=names[n]) for n, f in found.frames.items()
            }
            yield dataclasses.replace(found, frames=frames)

    def again(**_: Any) -> ReplayRig:
        return ReplayRig(NAMES, renamed)

    return Bench(again(), again, live=False)


def recorded_sets(count: int = 500) -> Iterator[FrameSet]:
    """Sets of small grey images as a recording would give them."""
    for i in range(count):
        stamp = 1_700_000_000_000_000_000 + round(i * 1e9 / RATE_HZ)
        image = np.full((48, 64), i % 251, np.uint8)
        image.flags.writeable = False
        frames = {n: Frame(n, image, stamp + 100 * k, 50, i) for k, n in enumerate(NAMES)}
        yield FrameSet(i + 1, stamp + 100, 300, frames)


def make_rig(bus: Any, folder: Path, mode: str, **options: Any) -> Any:
    """A `DeviceRig`; options go to the parameters that know them."""
    rig_fields = {f.name for f in dataclasses.fields(CameraRigParameters)}
    trigger_fields = {f.name for f in dataclasses.fields(TriggerParameters)}
    rig_options = {k: v for k, v in options.items() if k in rig_fields}
    trigger_options = {k: v for k, v in options.items() if k in trigger_fields}
    others = {k: v for k, v in options.items() if k not in rig_fields | trigger_fields}
    return DeviceRig(
        CameraRigParameters(
            cameras=NAMES,
            **{
                "max_skew_s": 0.02,
                "set_timeout_s": 1.0,
                "silence_s": 1.0,
                "reconnect_s": 0.1,
                "queue_sets": 50,
                **rig_options,
            },
        ),
        CameraSettings(**{"frame_rate_hz": RATE_HZ, **others}),
        TriggerParameters(mode=mode, **trigger_options),
        bus,
        claims=Claims(folder),
    )


def take(rig: CameraRig, wanted: Callable[[FrameSet], bool] = lambda _: True) -> FrameSet:
    """The next set for which ``wanted`` holds."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = rig.next_set(1.0)
        if found is not None and wanted(found):
            return found
    raise AssertionError(f"no such set in time: {rig.statistics()}, {rig.take_events()}")


def await_event(rig: CameraRig, kind: EventKind) -> Event:
    """Takes sets until an event has happened."""
    deadline = time.monotonic() + PATIENCE_S
    seen = []
    while time.monotonic() < deadline:
        rig.next_set(0.05)
        for event in rig.take_events():
            seen.append(event)
            if event.kind is kind:
                return event
    raise AssertionError(f"no {kind} among {seen}")
