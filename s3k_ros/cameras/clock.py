"""Online fit of a camera's tick clock to the host's clock.

A sample says: at this tick the host's clock stood at ``host_ns``, give or take ``half_width_ns``.
It comes from reading the camera's clock between two readings of the host's (the half width is half
the time between them), or from the arrival of a frame, which is only ever late.

The model is host = offset + ticks x tick_ns x (1 + drift), fitted by weighted least squares over a
sliding window, Huber's weights first and Tukey's then against outliers, and a prior on the drift,
so that one sample is enough to begin with. The fit starts anew when the camera's clock jumps.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from s3k_ros.cameras.port import ClockState

# Standard deviation of a crystal's rate: USB and GigE cameras are specified within 100 ppm.
DRIFT_SIGMA = 50e-6
# Scatter of a sample besides its half width: granularity of the camera's clock and scheduling.
FLOOR_NS = 10_000.0
# Constants of Huber's and Tukey's weights, 95 % efficient on normal errors.
HUBER = 1.345
TUKEY = 4.685
# Samples in a row that contradict the fit before it starts anew.
JUMP_SAMPLES = 3
# A contradiction must be larger than this, beyond all known errors.
JUMP_NS = 2_000_000.0
# Frames from which the least delayed one becomes a sample.
ARRIVAL_BLOCK = 16
# Scatter of the least delay among ARRIVAL_BLOCK frames, and of the delay of a single one.
BLOCK_HALF_WIDTH_NS = 1_000_000
FIRST_HALF_WIDTH_NS = 5_000_000

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class HostTime:
    """A tick on the host's clock, with the bound of its error, in ns."""

    ns: int
    error_ns: int


@dataclasses.dataclass(frozen=True)
class _Sample:
    tick: int
    host_ns: int
    half_width_ns: int


class TickClock:
    """Maps the ticks of one camera to the host's clock.

    Args:
        tick_ns: nominal length of a tick.
        window: samples in the fit.
        restarts: of the clock that this one follows.
    """

    def __init__(self, *, tick_ns: float = 1.0, window: int = 64, restarts: int = 0) -> None:
        self.tick_ns = tick_ns
        self._window = window
        # Replaced as a whole, so that other threads may read it.
        self._samples: tuple[_Sample, ...] = ()
        self._suspects: list[_Sample] = []
        self._block: list[_Sample] = []
        self._offset_ns = 0.0
        self._drift = 0.0
        self._covariance: Array = np.zeros((2, 2))
        self._outliers = 0
        self._restarts = restarts

    @property
    def restarts(self) -> int:
        """Times that the fit began anew; ticks before and after one cannot be compared."""
        return self._restarts

    @property
    def ready(self) -> bool:
        """Whether ticks can be mapped."""
        return bool(self._samples)

    @property
    def drift(self) -> float:
        """Rate of the host's clock against the camera's, minus one."""
        return self._drift

    def restart(self) -> None:
        """Forgets everything: another device, or the same after a loss of power."""
        if self._samples or self._block:
            self._restarts += 1
        self._samples = ()
        self._suspects.clear()
        self._block.clear()
        self._drift = 0.0

    def add(self, tick: int, host_ns: int, half_width_ns: int) -> None:
        """Takes a sample: ``tick`` was at ``host_ns``, +- ``half_width_ns``."""
        sample = _Sample(tick, host_ns, half_width_ns)
        if self._samples and tick < self._samples[-1].tick:
            self.restart()
        if self._samples and self._contradicts(sample):
            self._outliers += 1
            self._suspects = [*self._suspects[1 - JUMP_SAMPLES :], sample]
            if not self._jumped():
                return
            suspects = tuple(self._suspects)
            self.restart()
            self._samples = suspects
        else:
            self._suspects.clear()
            self._samples = (*self._samples, sample)[-self._window :]
        self._fit()

    def add_arrival(self, tick: int, host_ns: int) -> None:
        """Takes the arrival of a frame less its usual delay; of several the earliest one counts."""
        newest = max((s.tick for s in (*self._block, *self._samples[-1:])), default=tick)
        if tick < newest:
            self.restart()
        self._block.append(_Sample(tick, host_ns, FIRST_HALF_WIDTH_NS))
        best = min(self._block, key=lambda s: s.host_ns - s.tick * self.tick_ns)
        if len(self._block) >= ARRIVAL_BLOCK:
            self._block.clear()
            if len(self._samples) == 1 and self._samples[0].half_width_ns == FIRST_HALF_WIDTH_NS:
                self._samples = ()  # the makeshift of the first block
            self.add(best.tick, best.host_ns, BLOCK_HALF_WIDTH_NS)
        elif not self._samples or self._samples[0].half_width_ns == FIRST_HALF_WIDTH_NS:
            self._samples = (best,)
            self._fit()

    def to_host(self, tick: int) -> HostTime | None:
        """The host's time at a tick, or None while the clock is unknown."""
        if not self._samples:
            return None
        reference = self._samples[-1]
        elapsed = (tick - reference.tick) * self.tick_ns
        ns = reference.host_ns + round(self._offset_ns + elapsed * (1.0 + self._drift))
        return HostTime(ns, self._error_ns(elapsed))

    def state(self) -> ClockState:
        """For diagnostics."""
        samples = len(self._samples)
        error = self._error_ns(0.0) if samples else None
        drift_ppm = -1e6 * self._drift  # a fast camera counts more ticks than the host
        return ClockState(error, drift_ppm, samples, self._outliers, self._restarts)

    def _error_ns(self, elapsed: float) -> int:
        """Bound of the error: three sigma, and what no number of samples averages out."""
        row = np.array([1.0, elapsed])
        sigma = float(np.sqrt(max(row @ self._covariance @ row, 0.0)))
        return round(3.0 * sigma + min((s.half_width_ns for s in self._samples), default=0))

    def _contradicts(self, sample: _Sample) -> bool:
        expected = self.to_host(sample.tick)
        assert expected is not None
        difference = abs(sample.host_ns - expected.ns)
        return difference > sample.half_width_ns + expected.error_ns + JUMP_NS

    def _jumped(self) -> bool:
        """Whether the samples that contradict the fit agree with each other."""
        offsets = [s.host_ns - s.tick * self.tick_ns for s in self._suspects]
        ticks = [s.tick for s in self._suspects]
        drifted = 3.0 * DRIFT_SIGMA * (max(ticks) - min(ticks)) * self.tick_ns
        widths = 2 * max(s.half_width_ns for s in self._suspects)
        agree = max(offsets) - min(offsets) <= JUMP_NS + widths + drifted
        return agree and len(self._suspects) == JUMP_SAMPLES

    def _fit(self) -> None:
        """Fits offset (at the newest sample) and drift, both relative to the nominal clock."""
        reference = self._samples[-1]
        elapsed = np.array([(s.tick - reference.tick) * self.tick_ns for s in self._samples])
        host = np.array([float(s.host_ns - reference.host_ns) for s in self._samples])
        half_widths = np.array([float(s.half_width_ns) for s in self._samples])
        # The true instant lies anywhere in the interval: a uniform distribution.
        sigma = np.sqrt(half_widths**2 / 3.0 + FLOOR_NS**2)
        design = np.column_stack([np.ones_like(elapsed), elapsed])
        solution, self._covariance = _robust(design, host - elapsed, sigma)
        self._offset_ns, self._drift = float(solution[0]), float(solution[1])


def _robust(design: Array, target: Array, sigma: Array) -> tuple[Array, Array]:
    """Robust least squares with the prior of the drift; returns solution (2,) and covariance."""
    prior = np.diag([0.0, DRIFT_SIGMA**-2])
    weights = sigma**-2.0
    for step in range(6):
        normal = (design * weights[:, None]).T @ design + prior
        # Offset in ns and drift differ by ten orders of magnitude: scale before solving.
        scale = 1.0 / np.sqrt(np.diag(normal))
        covariance = scale[:, None] * np.linalg.inv(normal * np.outer(scale, scale)) * scale
        solution = covariance @ (design.T @ (weights * target))
        z = np.maximum(np.abs(target - design @ solution) / sigma, 1e-12)
        tukey = np.square(np.maximum(1.0 - np.square(z / TUKEY), 0.0))
        # Tukey's weights are zero for outliers, but need a good start: Huber's.
        robust = np.minimum(1.0, HUBER / z) if step < 3 or not tukey.any() else tukey
        weights = sigma**-2.0 * robust
    return solution, covariance
