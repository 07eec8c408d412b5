"""Online fit of a camera's tick clock to the host's clock.

A sample says: at this tick the host's clock stood at ``host_ns``, give or take ``half_width_ns``.
It comes from reading the camera's clock between two readings of the host's (the half width is half
the time between them), or from the arrival of a frame, which is only ever late.

The model is host = offset + ticks x tick_ns x (1 + drift). Of the samples in a sliding window the
largest group that agrees is fitted, by least squares with Huber's and then Tukey's weights, and
with a prior on the drift, so that a few samples are enough to begin with. When the newest samples
agree with each other and not with the rest, the camera's clock has jumped: the fit starts anew.
"""

from __future__ import annotations

import dataclasses
import math

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
# Samples that must agree before they are believed, and that make a jump when they contradict.
SUPPORT = 3
# Samples agree when they differ by less than this, beyond their half widths and the drift.
TOLERANCE_NS = 2_000_000.0
# A clock that goes back by more than this began anew; by less, one reading was wrong.
RESET_NS = 500_000_000
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
        self._block: list[_Sample] = []
        # Replaced as a whole, so that other threads may read it.
        self._fit: _Fit | None = None
        self._samples: tuple[_Sample, ...] = ()
        self._outliers = 0
        self._restarts = restarts

    @property
    def restarts(self) -> int:
        """Times that the fit began anew; ticks before and after one cannot be compared."""
        return self._restarts

    def restart(self) -> None:
        """Forgets everything: another device, or the same after a loss of power."""
        if self._samples or self._block:
            self._restarts += 1
        self._samples, self._fit = (), None
        self._block.clear()

    def add(self, tick: int, host_ns: int, half_width_ns: int) -> None:
        """Takes a sample: ``tick`` was at ``host_ns``, +- ``half_width_ns``."""
        self._take(_Sample(tick, host_ns, half_width_ns), SUPPORT)

    def add_arrival(self, tick: int, host_ns: int) -> None:
        """Takes the arrival of a frame less its usual delay; of several the earliest one counts."""
        if self._block and self._has_reset(self._block[-1], tick):
            self.restart()
        self._block.append(_Sample(tick, host_ns, FIRST_HALF_WIDTH_NS))
        best = min(self._block, key=lambda s: s.host_ns - s.tick * self.tick_ns)
        first_block = not self._samples or self._samples[0].half_width_ns == FIRST_HALF_WIDTH_NS
        if len(self._block) >= ARRIVAL_BLOCK:
            self._block.clear()
            best = dataclasses.replace(best, half_width_ns=BLOCK_HALF_WIDTH_NS)
        elif not first_block:
            return
        if first_block:
            self._samples = ()  # a makeshift until the block is full
        self._take(best, 1)

    def to_host(self, tick: int) -> HostTime | None:
        """The host's time at a tick, or None while the clock is unknown."""
        fit = self._fit
        return None if fit is None else fit.to_host(tick, self.tick_ns)

    def state(self) -> ClockState:
        """For diagnostics."""
        fit = self._fit
        if fit is None:
            return ClockState(samples=len(self._samples), restarts=self._restarts)
        # A fast camera counts more ticks than the host does nanoseconds.
        drift_ppm = -1e6 * fit.drift
        error_ns = fit.error_ns(0.0)
        return ClockState(error_ns, drift_ppm, fit.samples, self._outliers, self._restarts)

    def _has_reset(self, last: _Sample, tick: int) -> bool:
        return (tick - last.tick) * self.tick_ns < -RESET_NS

    def _take(self, sample: _Sample, needed: int) -> None:
        """Adds a sample and fits anew; ``needed`` samples must agree."""
        if self._samples and self._has_reset(self._samples[-1], sample.tick):
            self.restart()
        self._samples = (*self._samples, sample)[-self._window :]
        window = self._arrays(self._samples)
        inliers = self._largest_group(window)
        if not inliers[-SUPPORT:].any():
            newest = self._arrays(self._samples[-SUPPORT:])
            if self._largest_group(newest).all():
                kept = self._samples[-SUPPORT:]
                self.restart()
                self._samples, window, inliers = kept, newest, np.ones(SUPPORT, bool)
        self._outliers += not inliers[-1]
        if inliers.sum() < min(needed, self._window):
            self._fit = None
            return
        self._fit = _fit_line(self._samples[-1], *(column[inliers] for column in window))

    def _arrays(self, samples: tuple[_Sample, ...]) -> tuple[Array, Array, Array]:
        """Time since the newest sample by the camera and by the host, and half widths, all ns."""
        newest = samples[-1]
        elapsed = np.array([(s.tick - newest.tick) * self.tick_ns for s in samples])
        host = np.array([float(s.host_ns - newest.host_ns) for s in samples])
        return elapsed, host, np.array([float(s.half_width_ns) for s in samples])

    def _largest_group(self, window: tuple[Array, Array, Array]) -> NDArray[np.bool_]:
        """Which samples agree with the one that most agree with."""
        elapsed, host, half_widths = window
        drift, sigma = (self._fit.drift, self._fit.drift_sigma) if self._fit else (0.0, DRIFT_SIGMA)
        offsets = host - elapsed * (1.0 + drift)
        apart = np.abs(offsets[:, None] - offsets)
        drifted = 3.0 * sigma * np.abs(elapsed[:, None] - elapsed)
        agree = apart <= half_widths[:, None] + half_widths + TOLERANCE_NS + drifted
        counts = agree.sum(axis=1)
        newest_best = len(counts) - 1 - int(np.argmax(counts[::-1]))
        return np.asarray(agree[newest_best], bool)


@dataclasses.dataclass(frozen=True, eq=False)
class _Fit:
    """A line through the samples.

    Attributes:
        reference: the newest sample; times are relative to it.
        offset_ns: of the line at the reference.
        drift: rate of the host's clock against the camera's, minus one.
        covariance: (2, 2) of offset and drift, as numbers: every frame asks for its error.
        narrowest_ns: smallest half width: an error that no number of samples averages out.
        samples: how many.
    """

    reference: _Sample
    offset_ns: float
    drift: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    narrowest_ns: float
    samples: int

    @property
    def drift_sigma(self) -> float:
        """Standard deviation of the drift."""
        return math.sqrt(self.covariance[1][1])

    def to_host(self, tick: int, tick_ns: float) -> HostTime:
        """The line at a tick."""
        elapsed = (tick - self.reference.tick) * tick_ns
        ns = self.reference.host_ns + round(self.offset_ns + elapsed * (1.0 + self.drift))
        return HostTime(ns, self.error_ns(elapsed))

    def error_ns(self, elapsed: float) -> int:
        """Bound of the error: three sigma and the narrowest half width."""
        (offset, both), (_, drift) = self.covariance
        variance = offset + elapsed * (2.0 * both + elapsed * drift)
        return round(3.0 * math.sqrt(max(variance, 0.0)) + self.narrowest_ns)


def _fit_line(reference: _Sample, elapsed: Array, host: Array, half_widths: Array) -> _Fit:
    """Fits offset (at the reference) and drift, both relative to the nominal clock."""
    # The true instant lies anywhere in the interval: a uniform distribution.
    sigma = np.sqrt(half_widths**2 / 3.0 + FLOOR_NS**2)
    design = np.column_stack([np.ones_like(elapsed), elapsed])
    solution, covariance = _robust(design, host - elapsed, sigma)
    narrowest = float(half_widths.min())
    (a, b), (c, d) = covariance.tolist()
    offset, drift = solution.tolist()
    return _Fit(reference, offset, drift, ((a, b), (c, d)), narrowest, len(elapsed))


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
