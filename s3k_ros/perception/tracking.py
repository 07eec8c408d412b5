"""Keypoints followed over time: filtered, carried over gaps, guarded against jumps.

Errors of two kinds make up a keypoint's covariance. What the pixels' noise does to one set is gone
in the next one and averages out. What all views share (the common mode: semantic bias, the rig's
calibration) is the same in every set, and so is `persistent_share` of the rest: cameras that are
each a little off, and a network that errs in the same way when it looks at the same scene again.
The filter therefore runs on the first kind alone, and the second one is a floor that is added to
every covariance that goes out:

    z = x + c + n,   c constant with covariance C,   n white with covariance R

The filter follows x + c; its error and c are independent, so the error of x has the covariance
P + C: what is claimed is never below C, however long the track.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from s3k_ros.errors import DataError
from s3k_ros.params.tracking import TrackingParameters
from s3k_ros.perception.constant_velocity import MotionStates
from s3k_ros.perception.triangulator import KeypointEstimate, Status

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# A stamp this far behind means that the clock was set back: a simulation started again.
_RESET_NS = 1_000_000_000
_NEVER_NS = -(2**62)


@dataclasses.dataclass(frozen=True, eq=False)
class TrackedKeypoint:
    """One keypoint at the time that was asked for.

    Attributes:
        estimate: OK: filtered; PREDICTED: carried on from the last measurement, whose confidence,
            views and reprojection error it keeps; anything else: the set's own estimate.
        age_ns: asked time minus time of the measurement that the estimate rests on.
        velocity: (3,) m/s in the base frame; NaN without a track.
    """

    estimate: KeypointEstimate
    age_ns: int
    velocity: Array


@dataclasses.dataclass(frozen=True, eq=False)
class _Measurements:
    """One set's estimates: K positions, NaN where there is none."""

    positions: Array
    noise: Array
    lasting: Array

    @property
    def seen(self) -> BoolArray:
        return np.asarray(np.isfinite(self.positions).all(axis=-1))

    @property
    def averaging(self) -> Array:
        return self.noise - self.lasting


class KeypointTracker:
    """Follows K keypoints through the estimates of one set after the other.

    Args:
        count: K.
        params: motion, gate and limits; may be replaced between two updates.
    """

    def __init__(self, count: int, params: TrackingParameters | None = None) -> None:
        """Starts without tracks."""
        self.count = count
        self.params = params or TrackingParameters()
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self._time_ns = _NEVER_NS
        self._tracks = MotionStates.unknown(self.count)
        self._floors = np.full((self.count, 3, 3), np.nan)
        self._raw: list[KeypointEstimate] = []
        self._last: dict[int, KeypointEstimate] = {}  # what each track rests on
        self._measured_ns = np.full(self.count, _NEVER_NS)
        # Where measurements outside the gate seem to be, and how many in a row agree on it.
        self._candidates = MotionStates.unknown(self.count)
        self._agreeing = np.zeros(self.count, int)

    def update(self, time_ns: int, estimates: Sequence[KeypointEstimate]) -> list[TrackedKeypoint]:
        """Takes in one set; the keypoints at its time.

        A measurement far outside of what the track expects (`gate_probability`) is left out and
        the keypoint is PREDICTED; after `jump_measurements` of them in a row that agree with each
        other, the track starts anew from those.

        Args:
            time_ns: the set's stamp. One that lies more than a second back starts all anew.
            estimates: K estimates.

        Raises:
            DataError: a time that is not after the last one, or another number of keypoints; the
                tracks stay as they were.
        """
        if len(estimates) != self.count:
            raise DataError(f"{len(estimates)} keypoints, expected {self.count}")
        self._advance(time_ns)
        measured = self._measurements(estimates)
        taken = self._take(measured)
        self._raw = list(estimates)
        for k in map(int, np.flatnonzero(taken)):
            self._last[k] = estimates[k]
            self._measured_ns[k] = time_ns
            self._floors[k] = estimates[k].shared + measured.lasting[k]
        return self._at(time_ns, self._tracks)

    def at(self, time_ns: int) -> list[TrackedKeypoint]:
        """The keypoints at a requested time, which changes nothing.

        Raises:
            DataError: a time before the last set, or no set yet.
        """
        if self._time_ns == _NEVER_NS:
            raise DataError("nothing was tracked yet")
        if time_ns < self._time_ns:
            late_s = 1e-9 * (self._time_ns - time_ns)
            raise DataError(f"asked for {late_s:.4f} s before the last set: only later times")
        return self._at(time_ns, self._predicted(self._tracks, time_ns))

    def _advance(self, time_ns: int) -> None:
        """Predicts all states to the time of a new set; forgets those that are too old."""
        behind_ns = self._time_ns - time_ns
        if behind_ns > _RESET_NS:
            self.reset()
        elif behind_ns >= 0:
            what = "repeats the last stamp" if behind_ns == 0 else "is older than the last one"
            raise DataError(f"the set {what} ({1e-9 * behind_ns:.4f} s behind): not tracked")
        if self._time_ns != _NEVER_NS:
            self._tracks = self._predicted(self._tracks, time_ns)
            if self._agreeing.any():
                self._candidates = self._predicted(self._candidates, time_ns)
        self._time_ns = time_ns
        young = self._young(time_ns)
        self._tracks = self._tracks.where(young, MotionStates.unknown(self.count))
        self._agreeing[~young] = 0

    def _young(self, time_ns: int) -> BoolArray:
        """(K,) whose last measurement is recent enough."""
        return np.asarray(time_ns - self._measured_ns <= round(1e9 * self.params.max_age_s))

    def _predicted(self, states: MotionStates, time_ns: int) -> MotionStates:
        duration_s = 1e-9 * (time_ns - self._time_ns)
        return states.predicted(duration_s, self.params.velocity_change_m_s)

    def _measurements(self, estimates: Sequence[KeypointEstimate]) -> _Measurements:
        positions = np.array([e.position for e in estimates]).reshape(-1, 3)
        noise = np.array([e.covariance - e.shared for e in estimates]).reshape(-1, 3, 3)
        good = np.array([e.status == Status.OK for e in estimates], bool)
        good = good & np.isfinite(noise).all(axis=(-2, -1))
        positions = np.where(good[:, np.newaxis], positions, np.nan)
        return _Measurements(positions, noise, self.params.persistent_share * noise)

    def _take(self, new: _Measurements) -> BoolArray:
        """Updates the tracks; (K,) which of them took their measurement."""
        limit = chdtri(3, self.params.gate_probability)
        distances = self._tracks.distances(new.positions, new.noise)
        fresh = new.seen & ~self._tracks.known
        inside = new.seen & ~fresh & (distances <= limit)
        outside = new.seen & ~fresh & ~inside
        start = MotionStates.at_rest(new.positions, new.averaging, self.params.initial_velocity_m_s)
        self._agreeing[fresh | inside] = 0
        jumped = self._follow_outsiders(new, start, outside, limit) if outside.any() else outside
        tracks = self._tracks.updated(new.positions, new.averaging)
        self._tracks = tracks.where(inside, start.where(fresh, self._tracks))
        self._tracks = self._candidates.where(jumped, self._tracks)
        self._agreeing[jumped] = 0
        return np.asarray(fresh | inside | jumped)

    def _follow_outsiders(
        self,
        new: _Measurements,
        start: MotionStates,
        outside: BoolArray,
        limit: float,
    ) -> BoolArray:
        """Follows the measurements outside the gate; (K,) for which enough of them agree."""
        distances = self._candidates.distances(new.positions, new.noise)
        agrees = outside & (self._agreeing > 0) & (distances <= limit)
        candidates = self._candidates.updated(new.positions, new.averaging)
        self._candidates = candidates.where(agrees, start.where(outside, self._candidates))
        self._agreeing = np.where(agrees, self._agreeing + 1, self._agreeing)
        self._agreeing[outside & ~agrees] = 1
        return np.asarray(outside & (self._agreeing >= self.params.jump_measurements))

    def _at(self, time_ns: int, states: MotionStates) -> list[TrackedKeypoint]:
        usable = states.known & self._young(time_ns)
        return [self._keypoint(k, time_ns, states, bool(usable[k])) for k in range(self.count)]

    def _keypoint(
        self, k: int, time_ns: int, states: MotionStates, usable: bool
    ) -> TrackedKeypoint:
        if not usable:
            untracked = _without_track(self._raw[k])
            return TrackedKeypoint(untracked, time_ns - self._time_ns, np.full(3, np.nan))
        age_ns = int(time_ns - self._measured_ns[k])
        estimate = dataclasses.replace(
            self._last[k],
            status=Status.PREDICTED if age_ns else Status.OK,
            position=states.positions[k].copy(),
            covariance=states.position_covariances[k] + self._floors[k],
            shared=self._floors[k].copy(),
        )
        return TrackedKeypoint(estimate, age_ns, states.velocities[k].copy())


def _without_track(raw: KeypointEstimate) -> KeypointEstimate:
    """The last set's estimate; one that had a position is too old for that now."""
    if raw.status != Status.OK:
        return raw
    nothing = np.full((3, 3), np.nan)
    return dataclasses.replace(
        raw,
        status=Status.TOO_FEW_VIEWS,
        position=nothing[0],
        covariance=nothing,
        shared=nothing,
        confidence=0.0,
        reprojection_error=np.nan,
        views_used=0,
    )
