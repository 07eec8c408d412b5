"""Small judgements on streams of measurements: standstill and contact."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from s3k_ros.grasp.ports import JointReading, WrenchReading

Array = NDArray[np.float64]

# Standing still is judged over this time.
_REST_WINDOW_S = 0.1
# Mean over this many samples (30 ms at 100 Hz), so that one noisy sample is no contact.
_CONTACT_SAMPLES = 3
_TARE_WINDOW_S = 0.25


class RestMonitor:
    """Whether the arm stands still.

    Args:
        speed: rad/s; joints that are slower on average count as still.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._history: deque[JointReading] = deque()

    def update(self, reading: JointReading) -> None:
        """Takes a reading; the same one twice is taken once."""
        if self._history and reading.time <= self._history[-1].time:
            if reading.time == self._history[-1].time:
                return
            self._history.clear()  # the robot's clock went back
        self._history.append(reading)
        # By the robot's clock: on a loaded machine messages arrive in bunches.
        while len(self._history) > 2 and self._history[1].time < reading.time - _REST_WINDOW_S:
            self._history.popleft()

    def at_rest(self, now: float) -> bool:
        """Whether recent readings cover the window and stay together."""
        if not self._history or now - self._history[-1].received_at > _REST_WINDOW_S:
            return False
        if self._history[-1].time - self._history[0].time < 0.8 * _REST_WINDOW_S:
            return False
        positions = np.array([reading.positions for reading in self._history])
        return bool(np.ptp(positions, axis=0).max() < self._speed * _REST_WINDOW_S)


class ContactMonitor:
    """The change of the force at the wrist, the tool's weight left out, since it was tared."""

    def __init__(self) -> None:
        self._zero: Array | None = None

    def tare(self, recent: tuple[WrenchReading, ...], now: float) -> None:
        """Takes the median of the last quarter of a second as zero: a spike in it moves little."""
        forces = _finite(r.contact for r in recent if now - r.received_at <= _TARE_WINDOW_S)
        self._zero = np.median(forces, axis=0) if forces else None

    def change(self, recent: tuple[WrenchReading, ...]) -> float | None:
        """N, over the last few samples; None without a sensor or before it was tared."""
        return self._difference([r.contact for r in recent[-_CONTACT_SAMPLES:]])

    def load(self, recent: tuple[WrenchReading, ...], now: float) -> float | None:
        """N, over the last quarter of a second, for a hand that has kept its orientation."""
        return self._difference(
            [r.contact for r in recent if now - r.received_at <= _TARE_WINDOW_S]
        )

    def _difference(self, forces: list[Array]) -> float | None:
        forces = _finite(forces)
        if self._zero is None or not forces:
            return None
        return float(np.linalg.norm(np.mean(forces, axis=0) - self._zero))


def _finite(forces: Iterable[Array]) -> list[Array]:
    return [force for force in forces if np.isfinite(force).all()]
