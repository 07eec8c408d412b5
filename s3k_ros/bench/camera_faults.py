"""Faults of cameras at random times: `s3k bench soak` looks what they do to a rig."""

from __future__ import annotations

import abc
import collections
import contextlib
import heapq
import itertools
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from s3k_ros.cameras.basler import EMULATED, PylonBus
from s3k_ros.cameras.device import CameraDevice, DeviceInfo
from s3k_ros.cameras.fake import FakeBus, FakeCamera

# Mean times that a fault lasts, s.
AWAY_S = 4.0
SILENT_S = 4.0
TRIGGER_STOPPED_S = 1.5
BUSY_S = 0.3

# Does a fault to a camera, by its number, at a time.
Harm = Callable[[int, float], None]


class Faults(abc.ABC):
    """Does harm to cameras, and mends it after a while.

    Args:
        cameras: how many.
        every_s: mean time between two faults.
        seed: of when and what.

    Attributes:
        done: how many of each kind so far.
    """

    def __init__(self, cameras: int, every_s: float, seed: int) -> None:
        self._cameras, self._every_s = cameras, every_s
        self._random = np.random.default_rng(seed)
        self._next_s = self._soon(every_s)
        self._mending: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._busy_s = 0.0
        self.done: collections.Counter[str] = collections.Counter()

    @property
    @abc.abstractmethod
    def kinds(self) -> Mapping[str, Harm]:
        """What may happen."""

    @abc.abstractmethod
    def works(self, number: int) -> bool:
        """Whether a camera is there and listens to a trigger that runs."""

    def step(self, now_s: float) -> None:
        """Does what is due at a time that counts from the start."""
        while self._mending and self._mending[0][0] <= now_s:
            heapq.heappop(self._mending)[2]()
        if now_s >= self._next_s:
            self._next_s = now_s + self._soon(self._every_s)
            kind = str(self._random.choice(list(self.kinds)))
            self.done[kind] += 1
            self.kinds[kind](int(self._random.integers(self._cameras)), now_s)

    def mend(self) -> None:
        """Ends all faults that would end by themselves."""
        while self._mending:
            heapq.heappop(self._mending)[2]()

    def take_busy_s(self) -> float:
        """How long the consumer is to do something else now."""
        busy_s, self._busy_s = self._busy_s, 0.0
        return busy_s

    def _soon(self, mean_s: float) -> float:
        return float(self._random.exponential(mean_s))

    def _later(self, now_s: float, mean_s: float, mend: Callable[[], None]) -> None:
        heapq.heappush(self._mending, (now_s + self._soon(mean_s), next(self._order), mend))

    def _few(self) -> int:
        return int(self._random.integers(1, 6))

    def _keep_busy(self, number: int, now_s: float) -> None:
        self._busy_s += self._soon(BUSY_S)


class FakeFaults(Faults):
    """Faults of the cameras on a `FakeBus`."""

    def __init__(self, bus: FakeBus, every_s: float, seed: int) -> None:
        super().__init__(len(bus.cameras), every_s, seed)
        self._bus = bus

    @property
    def kinds(self) -> Mapping[str, Harm]:
        """See `Faults`."""
        return {
            "lost frames": self._lose,
            "failed buffers": self._damage,
            "missed triggers": self._miss,
            "unplugged": self._unplug,
            "silent camera": self._silence,
            "stuck camera": self._stick,
            "trigger stopped": self._stop_trigger,
            "busy consumer": self._keep_busy,
        }

    def works(self, number: int) -> bool:
        """See `Faults`."""
        camera = self._bus.cameras[number]
        whole = camera.connected and not camera.deaf and not camera.stuck
        return whole and self._bus.line_running

    def _camera(self, number: int) -> FakeCamera:
        return self._bus.cameras[number]

    def _lose(self, number: int, now_s: float) -> None:
        self._camera(number).lose += self._few()

    def _damage(self, number: int, now_s: float) -> None:
        self._camera(number).fail += self._few()

    def _miss(self, number: int, now_s: float) -> None:
        self._camera(number).miss += self._few()

    def _unplug(self, number: int, now_s: float) -> None:
        camera = self._camera(number)

        def plug() -> None:
            camera.power_cycle()
            camera.connected = True

        camera.connected = False
        self._later(now_s, AWAY_S, plug)

    def _silence(self, number: int, now_s: float) -> None:
        camera = self._camera(number)
        camera.deaf = True
        self._later(now_s, SILENT_S, lambda: setattr(camera, "deaf", False))

    def _stick(self, number: int, now_s: float) -> None:
        self._camera(number).stuck = True  # until the rig mends it

    def _stop_trigger(self, number: int, now_s: float) -> None:
        self._bus.line_running = False
        self._later(now_s, TRIGGER_STOPPED_S, lambda: setattr(self._bus, "line_running", True))


class EmulatedBus(PylonBus):
    """pylon's emulated cameras; remembers what is open, to harm it behind the rig's back."""

    def __init__(self, cameras: int, *args: Any) -> None:
        os.environ[EMULATED] = str(cameras)
        super().__init__(*args)
        self.cameras = cameras
        self.opened: dict[int, Any] = {}

    def open(self, info: DeviceInfo) -> CameraDevice:
        """See `CameraBus`."""
        device = super().open(info)
        self.opened[serials(self.cameras).index(info.serial)] = device
        return device


def serials(cameras: int) -> tuple[str, ...]:
    """Serial numbers that the emulator gives its cameras."""
    return tuple(f"0815-{i:04}" for i in range(cameras))


class EmulatedFaults(Faults):
    """Faults of emulated cameras: only the last one can be unplugged."""

    def __init__(self, bus: EmulatedBus, every_s: float, seed: int) -> None:
        super().__init__(bus.cameras, every_s, seed)
        self._bus = bus

    @property
    def kinds(self) -> Mapping[str, Harm]:
        """See `Faults`."""
        return {
            "failed buffers": self._damage,
            "unplugged": self._unplug,
            "stuck camera": self._stick,
            "busy consumer": self._keep_busy,
        }

    def works(self, number: int) -> bool:
        """See `Faults`; who is stuck the rig alone knows: it is silent."""
        return number < int(os.environ[EMULATED])

    def _harm(self, number: int, harm: Callable[[Any], None]) -> None:
        """A camera that is gone cannot be harmed."""
        with contextlib.suppress(Exception):
            harm(self._bus.opened[number].features)

    def _damage(self, number: int, now_s: float) -> None:
        def force(features: Any) -> None:
            features.set("ForceFailedBufferCount", self._few())
            features.execute("ForceFailedBuffer")

        self._harm(number, force)

    def _stick(self, number: int, now_s: float) -> None:
        self._harm(number, lambda features: features.execute("AcquisitionStop"))

    def _unplug(self, number: int, now_s: float) -> None:
        cameras = self._bus.cameras
        os.environ[EMULATED] = str(cameras - 1)
        self._harm(cameras - 1, lambda features: features.set("FirePnPCallbackValue", 1))
        self._later(now_s, AWAY_S, lambda: os.environ.update({EMULATED: str(cameras)}))
