"""Cameras in simulated time whose every frame is known: `s3k bench sync` pairs what they send.

Times are nanoseconds of the host's monotonic clock. What goes wrong is drawn from a seed: frames
come late and unevenly, are lost or damaged, triggers are missed, cameras lose power; each camera
exposes with an offset of its own and counts ticks of a crystal that drifts and wanders.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

MS = 1_000_000
SECOND = 1_000_000_000
# Time of the first trigger: a rig starts its cameras before.
FIRST_NS = 10 * SECOND


@dataclasses.dataclass(frozen=True)
class World:
    """How the cameras behave; shares are of triggers or frames.

    Attributes:
        rate_hz: of the trigger.
        missed, lost, damaged: shares of triggers missed, and of frames lost and damaged.
        offset_ns: a camera exposes up to this much after the trigger, always by the same amount.
        jitter_ns: and up to this much more, each time anew.
        delay_ns: from exposure to arrival at least (exposure, readout, transfer).
        scatter_ns: mean of the exponential delay on top.
        stalls: share of the frames that the host delays by up to ``stall_ns`` more.
        drift: rates of the crystals differ by up to this much.
        wander: and change by this much within ten minutes.
        reading_ns: mean time that a reading of a camera's clock takes.
        wrong_readings: share of the readings that are late by up to 40 ms and do not show it.
        power_losses_s: mean time between two power losses of a camera; it is away for 2 s.
    """

    rate_hz: float = 30.0
    missed: float = 0.01
    lost: float = 0.01
    damaged: float = 0.005
    offset_ns: int = 1 * MS
    jitter_ns: int = 100_000
    delay_ns: int = 18 * MS
    scatter_ns: int = 4 * MS
    stalls: float = 0.002
    stall_ns: int = 100 * MS
    drift: float = 100e-6
    wander: float = 2e-6
    reading_ns: int = 500_000
    wrong_readings: float = 0.05
    power_losses_s: float = 600.0

    @property
    def period_ns(self) -> int:
        """Between two triggers."""
        return round(SECOND / self.rate_hz)


@dataclasses.dataclass(frozen=True)
class Happening:
    """Something that reaches the host.

    Attributes:
        at_ns: when.
        camera: number of the camera.
        kind: "frame", "damaged", "gone" or "back".
        trigger: the trigger's number, -1 for what is no frame.
        counter: the camera's frame counter.
        tick: start of the exposure on the camera's clock.
    """

    at_ns: int
    camera: int
    kind: str
    trigger: int = -1
    counter: int = -1
    tick: int = -1


class Camera:
    """One camera: its crystal, and what it sends of a number of triggers.

    Args:
        number: of the camera.
        world: how it behaves.
        triggers: (T,) times of the triggers.
        random: of all that is random in it.
    """

    def __init__(
        self, number: int, world: World, triggers: NDArray[np.int64], random: np.random.Generator
    ) -> None:
        self.number, self._world, self._random = number, world, random
        self._drift = random.uniform(-world.drift, world.drift)
        self._phase = random.uniform(0.0, 2.0 * math.pi)
        count = random.poisson((triggers[-1] - triggers[0]) / SECOND / world.power_losses_s)
        losses = np.sort(random.uniform(triggers[0], triggers[-1], count)).astype(np.int64)
        self._losses = [int(t) for t in losses]
        # Power on, first of all a while before the rig starts.
        starts = [FIRST_NS - round(random.uniform(60, 86_400) * SECOND)]
        self._starts = starts + [t + SECOND for t in self._losses]
        self.happenings = sorted(self._happen(triggers), key=lambda h: h.at_ns)
        self.sent = {h.trigger for h in self.happenings if h.kind == "frame"}

    def tick(self, at_ns: int) -> int:
        """Its clock, ns since power on by its own crystal."""
        start = self._starts[max(bisect.bisect_right(self._starts, at_ns) - 1, 0)]
        turn = 2.0 * math.pi / (600 * SECOND)
        wander = self._world.wander / turn * math.sin(self._phase + turn * (at_ns % (600 * SECOND)))
        return round((at_ns - start) * (1.0 + self._drift) + wander)

    def read(self, now_ns: int) -> tuple[int, int, int]:
        """A reading of its clock that begins now: tick, and the host's times before and after."""
        width = int(self._random.exponential(self._world.reading_ns)) + 50_000
        at = now_ns + int(self._random.uniform(0.0, width))
        if self._random.random() < self._world.wrong_readings:
            at += int(self._random.uniform(0.0, 40.0) * MS)
        return self.tick(at), now_ns, now_ns + width

    def _happen(self, triggers: NDArray[np.int64]) -> Iterator[Happening]:
        """All that it sends; frames under way are gone with the power."""
        yield Happening(FIRST_NS - SECOND, self.number, "back")
        edges = [0, *self._losses, 2**62]
        for i, (lost_ns, next_loss_ns) in enumerate(itertools.pairwise(edges)):
            back_ns = lost_ns + 2 * SECOND
            inside = np.flatnonzero((triggers > back_ns) & (triggers < next_loss_ns))
            if i and back_ns < next_loss_ns:
                yield Happening(back_ns, self.number, "back")
            for frame in self._frames(inside, triggers[inside]):
                if frame.at_ns < next_loss_ns:
                    yield frame
            if next_loss_ns < 2**62:
                yield Happening(next_loss_ns, self.number, "gone")

    def _frames(
        self, numbers: NDArray[np.int64], triggers: NDArray[np.int64]
    ) -> Iterator[Happening]:
        """The frames of one stream; a link keeps their order."""
        world, random = self._world, self._random
        taken = random.random(len(numbers)) >= world.missed
        numbers, triggers = numbers[taken], triggers[taken]
        count = len(numbers)
        offset = (self.number * 0.618 % 1.0) * world.offset_ns
        exposed = triggers + np.rint(offset + random.random(count) * world.jitter_ns).astype(int)
        delays = world.delay_ns + random.exponential(world.scatter_ns, count)
        stalled = random.random(count) < world.stalls
        delays += stalled * random.random(count) * world.stall_ns
        steps = np.arange(count)
        arrived = np.maximum.accumulate(exposed + np.rint(delays).astype(int) - steps) + steps
        arrives = random.random(count) >= world.lost
        damaged = random.random(count) < world.damaged
        for i in np.flatnonzero(arrives):
            kind = "damaged" if damaged[i] else "frame"
            tick = self.tick(int(exposed[i]))
            yield Happening(int(arrived[i]), self.number, kind, int(numbers[i]), int(i), tick)


def make(world: World, cameras: int, triggers: int, seed: int) -> list[Camera]:
    """Cameras on one trigger line."""
    random = np.random.default_rng(seed)
    times = FIRST_NS + np.rint(np.arange(1, triggers + 1) * world.period_ns).astype(np.int64)
    return [Camera(i, world, times, child) for i, child in enumerate(random.spawn(cameras))]
