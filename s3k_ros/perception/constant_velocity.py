"""Kalman filters of points that move at almost constant velocity, many points at once.

State (x, v) of each point, metres and metres a second; v is a Wiener process: over a time dt it
changes by a normal step of variance q dt, independent of all others. Then over dt

    F = [[I, dt I], [0, I]],   Q = q [[dt^3/3 I, dt^2/2 I], [dt^2/2 I, dt I]]

(Bar-Shalom, Li, Kirubarajan: Estimation with Applications to Tracking and Navigation, 2001, ch. 6),
and two steps of dt/2 are one step of dt, so the measurements may come at any rate.
"""

from __future__ import annotations

import dataclasses
from typing import Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, eq=False)
class MotionStates:
    """The states of K points; those of a point that nobody knows are NaN.

    Attributes:
        means: (K, 6) position in metres, velocity in m/s.
        covariances: (K, 6, 6) of the means' errors.
    """

    means: Array
    covariances: Array

    @classmethod
    def unknown(cls, count: int) -> Self:
        """K points of which nothing is known."""
        return cls(np.full((count, 6), np.nan), np.full((count, 6, 6), np.nan))

    @classmethod
    def at_rest(cls, positions: Array, covariances: Array, velocity_sigma: float) -> Self:
        """Points (K, 3) with covariances (K, 3, 3); velocities zero, with that deviation, m/s."""
        states = cls.unknown(len(positions))
        states.means[:, :3], states.means[:, 3:] = positions, 0.0
        states.covariances[...] = 0.0
        states.covariances[:, :3, :3] = covariances
        states.covariances[:, 3:, 3:] = velocity_sigma**2 * np.eye(3)
        return states

    @property
    def known(self) -> BoolArray:
        """(K,) which points have a state."""
        return np.asarray(np.isfinite(self.means).all(axis=-1))

    @property
    def positions(self) -> Array:
        """(K, 3) metres."""
        return self.means[:, :3]

    @property
    def velocities(self) -> Array:
        """(K, 3) metres a second."""
        return self.means[:, 3:]

    @property
    def position_covariances(self) -> Array:
        """(K, 3, 3) m^2."""
        return self.covariances[:, :3, :3]

    def where(self, chosen: BoolArray, other: MotionStates) -> MotionStates:
        """These states where ``chosen`` (K,), the other ones elsewhere."""
        return MotionStates(
            np.where(chosen[:, np.newaxis], self.means, other.means),
            np.where(chosen[:, np.newaxis, np.newaxis], self.covariances, other.covariances),
        )

    def predicted(self, duration_s: float, velocity_change: float) -> MotionStates:
        """The states after a time.

        Args:
            duration_s: dt, seconds.
            velocity_change: sqrt(q), the standard deviation of the velocity's change in 1 s, m/s.
        """
        step = np.kron([[1.0, duration_s], [0.0, 1.0]], np.eye(3))
        dt = duration_s
        noise = np.kron([[dt**3 / 3.0, dt**2 / 2.0], [dt**2 / 2.0, dt]], np.eye(3))
        return MotionStates(
            self.means @ step.T, step @ self.covariances @ step.T + velocity_change**2 * noise
        )

    def distances(self, positions: Array, covariances: Array) -> Array:
        """(K,) squared Mahalanobis distances of measurements (K, 3) with covariances (K, 3, 3).

        Chi-square with 3 degrees of freedom for measurements that belong here; NaN where there is
        no state or no measurement.
        """
        residuals = positions - self.positions
        spread, usable = _regular(self.position_covariances + covariances, residuals)
        along = np.linalg.solve(spread, np.nan_to_num(residuals)[..., np.newaxis])[..., 0]
        return np.where(usable, (np.nan_to_num(residuals) * along).sum(axis=-1), np.nan)

    def updated(self, positions: Array, covariances: Array) -> MotionStates:
        """The states after measurements (K, 3) with covariances (K, 3, 3) of their errors.

        A point without measurement keeps its state. The covariance is updated in Joseph's form,
        which stays symmetric and positive.
        """
        residuals = positions - self.positions
        spread, usable = _regular(self.position_covariances + covariances, residuals)
        cross = np.where(usable[:, np.newaxis, np.newaxis], self.covariances[:, :, :3], 0.0)
        gain = np.linalg.solve(spread, cross.swapaxes(-1, -2)).swapaxes(-1, -2)
        means = self.means + (gain @ np.nan_to_num(residuals)[..., np.newaxis])[..., 0]
        rest = np.broadcast_to(np.eye(6), self.covariances.shape).copy()
        rest[:, :, :3] -= gain
        after = rest @ self.covariances @ rest.swapaxes(-1, -2)
        after = after + gain @ np.nan_to_num(covariances) @ gain.swapaxes(-1, -2)
        return MotionStates(means, after).where(usable, self)


def _regular(spread: Array, residuals: Array) -> tuple[Array, BoolArray]:
    """Matrices that can be inverted, and where they are the ones given."""
    usable: BoolArray = np.asarray(np.isfinite(spread).all(axis=(-2, -1)))
    usable = usable & np.isfinite(residuals).all(axis=-1)
    return np.where(usable[:, np.newaxis, np.newaxis], spread, np.eye(3)), usable
