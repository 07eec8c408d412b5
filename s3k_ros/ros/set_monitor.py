"""Why images do not make complete sets: rates, losses, clocks, exposures, lateness."""

from __future__ import annotations

import dataclasses
import statistics
from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from s3k_ros.ros.diagnostics import Level, Report

# Figures describe the last images of each camera and the last sets, up to these many.
_IMAGES = 60
_SETS = 60
# Too few images or sets to say anything.
_LEAST = 10
# Rates that differ by less are the same.
_SAME_RATE = 0.1
# Of a camera's images, this part may miss its set before that is worth a warning.
_TOLERATED = 0.1
# A camera that is silent for this much longer than another one is left out: its stream says so.
_SILENT_S = 1.0

Times = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class _Rhythm:
    """When a camera exposed, in order, ns, and how old its images usually are on arrival."""

    stamps: Times
    age_s: float

    @property
    def period_s(self) -> float:
        """The usual time between two images, whatever got lost."""
        return float(1e-9 * np.median(np.diff(self.stamps)))

    @property
    def rate_hz(self) -> float:
        """Images a second."""
        span_s = 1e-9 * float(self.stamps[-1] - self.stamps[0])
        return (len(self.stamps) - 1) / span_s if span_s > 0 else 0.0

    def offsets_s(self, other: _Rhythm) -> NDArray[np.float64]:
        """From each image to the other camera's nearest one, seconds, positive when later."""
        after = np.clip(np.searchsorted(other.stamps, self.stamps), 1, len(other.stamps) - 1)
        near = np.stack([self.stamps - other.stamps[after - 1], self.stamps - other.stamps[after]])
        nearest = np.take_along_axis(near, np.abs(near).argmin(axis=0)[np.newaxis], axis=0)
        return 1e-9 * nearest[0]


class SetMonitor:
    """Watches the images of several cameras and the sets that come of them.

    Args:
        cameras: names.
        slop_s: largest difference of the stamps within a set.
        set_timeout_s: how long a set waits.
    """

    def __init__(self, cameras: Sequence[str], slop_s: float, set_timeout_s: float) -> None:
        self._slop_s = slop_s
        self._set_timeout_s = set_timeout_s
        self._stamps: dict[str, deque[int]] = {name: deque(maxlen=_IMAGES) for name in cameras}
        self._ages: dict[str, deque[float]] = {name: deque(maxlen=_IMAGES) for name in cameras}
        # Of each camera's images: True for one that came behind its set.
        self._late: dict[str, deque[bool]] = {name: deque(maxlen=_IMAGES) for name in cameras}
        self._heard_s = dict.fromkeys(cameras, 0.0)
        self._sets: deque[frozenset[str]] = deque(maxlen=_SETS)

    def image(self, camera: str, stamp_ns: int, received_s: float, *, late: bool) -> None:
        """Counts an image; ``late`` when its set, or a newer one, has gone out already."""
        self._heard_s[camera] = received_s
        stamps = self._stamps[camera]
        if stamps and stamp_ns <= stamps[-1]:  # a clock set back; repeated stamps say nothing
            stamps.clear()
        stamps.append(stamp_ns)
        self._ages[camera].append(received_s - 1e-9 * stamp_ns)
        self._late[camera].append(late)

    def set(self, cameras: Iterable[str]) -> None:
        """Counts a set with images of these cameras."""
        self._sets.append(frozenset(cameras))

    def report(self) -> Report:
        """What is wrong with the cameras that send, and the figures."""
        rhythms = self._rhythms()
        complete = self._complete(rhythms)
        values: dict[str, object] = {"complete_share": complete, "slop_ms": 1e3 * self._slop_s}
        values |= {f"{name}_rate_hz": rhythm.rate_hz for name, rhythm in rhythms.items()}
        values |= {f"{name}_late": sum(late) for name, late in self._late.items() if any(late)}
        faults = [*_rates(rhythms), *self._exposures(rhythms), *self._lateness(rhythms)]
        if faults:
            starved = complete == 0.0
            text = "no set is complete: " if starved else ""
            return Report(Level.ERROR if starved else Level.WARN, text + "; ".join(faults), values)
        return Report(Level.OK, f"{100 * complete:.0f} % of the sets are complete", values)

    def _rhythms(self) -> dict[str, _Rhythm]:
        """Of the cameras that send now. Copies: another thread may count meanwhile."""
        newest = max(self._heard_s.values())
        found = {}
        for name, heard_s in self._heard_s.items():
            stamps, ages = list(self._stamps[name]), list(self._ages[name])
            if newest - heard_s < _SILENT_S and len(stamps) >= _LEAST:
                found[name] = _Rhythm(np.array(stamps, np.int64), statistics.median(ages))
        return found

    def _complete(self, rhythms: dict[str, _Rhythm]) -> float:
        """Share of the last sets with all cameras that send."""
        sets = list(self._sets)
        if len(sets) < _LEAST:
            return 1.0
        return sum(set(rhythms) <= cameras for cameras in sets) / len(sets)

    def _exposures(self, rhythms: dict[str, _Rhythm]) -> list[str]:
        """Cameras that do not expose together with the others, or whose clocks differ."""
        faults = []
        reference = max(rhythms, key=lambda name: rhythms[name].rate_hz, default="")
        for name, rhythm in rhythms.items():
            if name == reference:
                continue
            offsets = np.abs(rhythm.offsets_s(rhythms[reference]))
            if (offsets > self._slop_s).mean() <= _TOLERATED:
                continue
            ahead_s = rhythms[reference].age_s - rhythm.age_s
            if abs(ahead_s) > 2.0 * rhythms[reference].period_s:
                side = "ahead of" if ahead_s > 0 else "behind"
                faults.append(f"the clock of {name} is {abs(ahead_s):.3g} s {side} {reference}'s")
            else:
                faults.append(
                    f"{name} exposes {1e3 * float(np.median(offsets)):.1f} ms apart from "
                    f"{reference}, slop_s allows {1e3 * self._slop_s:g} ms: no common trigger?"
                )
        return faults

    def _lateness(self, rhythms: dict[str, _Rhythm]) -> list[str]:
        faults = []
        for name in rhythms:
            late = list(self._late[name])
            if sum(late) / len(late) > _TOLERATED:
                faults.append(
                    f"{100 * sum(late) / len(late):.0f} % of the images of {name} come after their "
                    f"set, which waits {1e3 * self._set_timeout_s:g} ms (set_timeout_s)"
                )
        return faults


def _rates(rhythms: dict[str, _Rhythm]) -> list[str]:
    """Cameras that are slower than the fastest one, or lose images on the way."""
    if len(rhythms) < 2:
        return []
    shortest = min(rhythm.period_s for rhythm in rhythms.values())
    fastest = max(rhythm.rate_hz for rhythm in rhythms.values())
    faults = []
    for name, rhythm in rhythms.items():
        if rhythm.period_s > (1.0 + _SAME_RATE) * shortest:
            faults.append(
                f"{name} takes {1.0 / rhythm.period_s:.1f} images a second, another camera "
                f"{1.0 / shortest:.1f}"
            )
        elif rhythm.rate_hz < (1.0 - _SAME_RATE) * fastest:
            lost = 100.0 * (1.0 - rhythm.rate_hz / fastest)
            faults.append(f"{lost:.0f} % of the images of {name} are lost on the way")
    return faults
