"""Joint velocities instead of trajectories: limited, braked when the commands stop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s3k_ros.params.simulation import ArmControlParameters
from s3k_ros.simulation.trajectory_goal import JointLimits

Array = NDArray[np.float64]

VELOCITY_DAMPING_SHARE = 0.4
"""Damping of the servos while they follow velocities, as a share of that for trajectories.

The speed of a joint then settles in 10 ms, a control cycle, with the inertia that it sees. With all
of it in 4 ms, and the servos press on for a cycle at the touch: nothing here needs that.
"""

# The position's reference leads the measured one by this at most: against an obstacle the torques
# then end where the joints' limits are, instead of growing with time. At 12,000 N m/rad that is
# three times what the strongest joint can give.
_LEASH_RAD = 0.02
_STILL_RAD_S = 1e-3


class VelocityCommands:
    """Turns commanded velocities into references of position and velocity.

    Args:
        limits: of the joints.
        params: watchdog and acceleration.
    """

    def __init__(self, limits: JointLimits, params: ArmControlParameters) -> None:
        self._limits = limits
        self._params = params
        self._target = np.zeros_like(limits.velocity)
        self._velocity = np.zeros_like(limits.velocity)
        self._commanded_at: float | None = None

    @property
    def active(self) -> bool:
        """Whether a command is in force or its motion still brakes."""
        return self._commanded_at is not None

    def command(self, velocity: Array, now: float) -> None:
        """Takes velocities (n,) rad/s, each within the limits afterwards, at time ``now``, s."""
        self._target = np.clip(velocity, -self._limits.velocity, self._limits.velocity)
        self._commanded_at = now

    def end(self) -> None:
        """Forgets all: a trajectory or a stop takes over."""
        self._commanded_at = None
        self._velocity = np.zeros_like(self._velocity)

    def update(
        self, now: float, step: float, reference: Array, measured: Array
    ) -> tuple[Array, Array]:
        """One control cycle.

        Args:
            now: s, time of this cycle.
            step: s, its length.
            reference: (n,) rad, the last commanded position.
            measured: (n,) rad.

        Returns:
            References (n,) of position and velocity.
        """
        if (
            self._commanded_at is None
            or now - self._commanded_at > self._params.velocity_watchdog_s
        ):
            self._target = np.zeros_like(self._target)
        change = self._params.velocity_acceleration_rad_s2 * step
        self._velocity = self._velocity + np.clip(self._target - self._velocity, -change, change)
        ahead = reference + self._velocity * step
        position = np.clip(ahead, measured - _LEASH_RAD, measured + _LEASH_RAD)
        position = np.clip(position, self._limits.lower, self._limits.upper)
        # No push into an end stop.
        blocked = (position <= self._limits.lower) & (self._velocity < 0)
        blocked |= (position >= self._limits.upper) & (self._velocity > 0)
        self._velocity = np.where(blocked, 0.0, self._velocity)
        velocity = self._velocity
        if not self._target.any() and np.abs(velocity).max() < _STILL_RAD_S:
            self.end()
            velocity = self._velocity
        return position, velocity
