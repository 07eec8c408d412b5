"""Faults of fake cameras at random times: `s3k bench soak` looks what they do to a rig."""

from __future__ import annotations

import collections
import heapq
import itertools
from collections.abc import Callable

import numpy as np

from s3k_ros.cameras.fake import FakeBus, FakeCamera

# Mean times that a fault lasts, s.
AWAY_S = 4.0
SILENT_S = 4.0
TRIGGER_STOPPED_S = 1.5
BUSY_S = 0.3


class Faults:
    """Does harm to cameras, and mends it after a while.

    Args:
        bus: the cameras.
        every_s: mean time between two faults.
        seed: of when and what.

    Attributes:
        done: how many of each kind so far.
    """

    def __init__(self, bus: FakeBus, every_s: float, seed: int) -> None:
        self._bus, self._every_s = bus, every_s
        self._random = np.random.default_rng(seed)
        self._next_s = self._soon(every_s)
        self._mending: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._busy_s = 0.0
        self.done: collections.Counter[str] = collections.Counter()
        self._kinds = {
            "lost frames": self._lose,
            "failed buffers": self._damage,
            "missed triggers": self._miss,
            "unplugged": self._unplug,
            "silent camera": self._silence,
            "stuck camera": self._stick,
            "trigger stopped": self._stop_trigger,
            "busy consumer": self._keep_busy,
        }

    def step(self, now_s: float) -> None:
        """Does what is due at a time that counts from the start."""
        while self._mending and self._mending[0][0] <= now_s:
            heapq.heappop(self._mending)[2]()
        if now_s >= self._next_s:
            self._next_s = now_s + self._soon(self._every_s)
            kind = str(self._random.choice(list(self._kinds)))
            self.done[kind] += 1
            camera = self._bus.cameras[int(self._random.integers(len(self._bus.cameras)))]
            self._kinds[kind](camera, now_s)

    def mend(self) -> None:
        """Ends all faults that would end by themselves."""
        while self._mending:
            heapq.heappop(self._mending)[2]()

    def take_busy_s(self) -> float:
        """How long the consumer is to do something else now."""
        busy_s, self._busy_s = self._busy_s, 0.0
        return busy_s

    def works(self, camera: FakeCamera) -> bool:
        """Whether a camera is there and listens to a trigger that runs."""
        whole = camera.connected and not camera.deaf and not camera.stuck
        return whole and self._bus.line_running

    def _soon(self, mean_s: float) -> float:
        return float(self._random.exponential(mean_s))

    def _later(self, now_s: float, mean_s: float, mend: Callable[[], None]) -> None:
        heapq.heappush(self._mending, (now_s + self._soon(mean_s), next(self._order), mend))

    def _few(self) -> int:
        return int(self._random.integers(1, 6))

    def _lose(self, camera: FakeCamera, now_s: float) -> None:
        camera.lose += self._few()

    def _damage(self, camera: FakeCamera, now_s: float) -> None:
        camera.fail += self._few()

    def _miss(self, camera: FakeCamera, now_s: float) -> None:
        camera.miss += self._few()

    def _unplug(self, camera: FakeCamera, now_s: float) -> None:
        def plug() -> None:
            camera.power_cycle()
            camera.connected = True

        camera.connected = False
        self._later(now_s, AWAY_S, plug)

    def _silence(self, camera: FakeCamera, now_s: float) -> None:
        camera.deaf = True
        self._later(now_s, SILENT_S, lambda: setattr(camera, "deaf", False))

    def _stick(self, camera: FakeCamera, now_s: float) -> None:
        camera.stuck = True  # until the rig mends it

    def _stop_trigger(self, camera: FakeCamera, now_s: float) -> None:
        self._bus.line_running = False
        self._later(now_s, TRIGGER_STOPPED_S, lambda: setattr(self._bus, "line_running", True))

    def _keep_busy(self, camera: FakeCamera, now_s: float) -> None:
        self._busy_s += self._soon(BUSY_S)
