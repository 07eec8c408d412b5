"""Limits of the tool point's motion: commands, and the walls of the workspace."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s3k_ros.control.wrench import shortened
from s3k_ros.errors import DataError
from s3k_ros.params.admittance import AdmittanceParameters

Array = NDArray[np.float64]

# A command so much faster than the limit was not meant: its units are wrong, or worse.
_ABSURD = 10.0
# The wall that the twist is led away from stands before the one that joint velocities must keep:
# what the mapper adds to the twist, up to _SLACK_M_S, then never adds up to a way through.
_INSET_M = 0.005
_SLACK_M_S = 0.0005


class Workspace:
    """The box that the tool point does not leave.

    Args:
        low, high: (3,) its corners, m, base frame.
        gain: largest speed towards a wall for each metre to it, 1/s.
    """

    def __init__(self, low: Array, high: Array, gain: float) -> None:
        self._low, self._high, self._gain = low, high, gain

    def led(self, velocity: Array, point: Array) -> Array:
        """A velocity (3,) m/s, slowed towards walls, and inwards behind the inset."""
        towards_high = self._gain * (self._high - _INSET_M - point)
        towards_low = self._gain * (self._low + _INSET_M - point)
        # A box that is thinner than its insets has a middle only.
        middle = 0.5 * (towards_low + towards_high)
        return np.clip(velocity, np.minimum(towards_low, middle), np.maximum(towards_high, middle))

    def share(self, velocity: Array, point: Array) -> float:
        """How much of a motion with this velocity (3,) keeps the walls, 0 to 1."""
        high = self._gain * np.maximum(self._high - point, 0.0) + _SLACK_M_S
        low = self._gain * np.minimum(self._low - point, 0.0) - _SLACK_M_S
        allowed = np.where(velocity > 0.0, high, low)
        with np.errstate(all="ignore"):
            shares = np.where(velocity == 0.0, 1.0, allowed / velocity)
        return float(np.clip(shares.min(), 0.0, 1.0))


def admitted(twist: Array, params: AdmittanceParameters) -> Array:
    """A commanded twist (6,), slowed down to the limits in its direction.

    Raises:
        DataError: not six finite numbers, or beyond ten times the limits.
    """
    if twist.shape != (6,) or not np.isfinite(twist).all():
        raise DataError("the commanded twist is not six finite numbers")
    parts = (
        ("linear", twist[:3], params.max_linear_m_s, "m/s"),
        ("angular", twist[3:], params.max_angular_rad_s, "rad/s"),
    )
    for name, part, most, unit in parts:
        if (speed := float(np.abs(part).max())) > _ABSURD * most:
            raise DataError(
                f"the commanded {name} speed of {speed:.3g} {unit} is over ten times the limit, "
                f"{most} {unit}: is its unit right?"
            )
    return np.concatenate([shortened(part, most) for _, part, most, _ in parts])


def approached(velocity: Array, target: Array, most: Array) -> Array:
    """Joint velocities (n,) moved straight towards a target (n,), each by ``most`` (n,) at most.

    All by the same share, so that the tool's twist too is between the old one and the new. Each
    joint on its own would reach some of the way at its own time, and near a singularity the tool
    then darts off at 0.2 m/s.
    """
    change = target - velocity
    largest = float((np.abs(change) / most).max())
    return velocity + change / max(1.0, largest)


def braked(velocity: Array, most: Array) -> Array:
    """Joint velocities (n,) a step nearer to rest, in their direction."""
    largest = float((np.abs(velocity) / most).max())
    return velocity * max(0.0, 1.0 - 1.0 / largest) if largest > 0.0 else velocity
