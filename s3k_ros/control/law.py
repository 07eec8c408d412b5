"""The admittance law, and for which surfaces it is stable.

A virtual body of mass M (inertia I) at the tool point moves in a fluid that flows with the
commanded twist: ``M dv/dt = f - D (v - v_d)``. Without contact it takes on the commanded velocity;
a held tool presses with ``D v_d``; a push moves the arm. Discretised with the damping at the end of
the step, ``v+ = (M v + T (f + D v_d)) / (M + T D)``, which is stable for any T, M and D
without contact. With contact the delays between motion and force set the limit, see
`critical_stiffness`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s3k_ros.control.wrench import beyond, filter_gain, shortened
from s3k_ros.params.admittance import AdmittanceParameters

Array = NDArray[np.float64]

# No external force, not even a nonsensical one, may drive the arm harder than this.
_FORCE_MARGIN = 1.5
# A force beyond the dead band of this share of push_force_n is a contact, and not noise.
_CONTACT_SHARE = 0.35


class AdmittanceLaw:
    """Desired twist and wrench to the twist that the arm shall have.

    Args:
        params: of the law.
        period_s: between two steps.

    Attributes:
        twist: (6,) m/s and rad/s of the tool point, base axes: the last step's result.
    """

    def __init__(self, params: AdmittanceParameters, period_s: float) -> None:
        self._params = params
        self._period = period_s
        self._gain = filter_gain(params.filter_hz, period_s)
        self.reset()

    def reset(self) -> None:
        """Forgets all motion and force."""
        self.twist = np.zeros(6)
        self._desired = np.zeros(6)
        self._wrench = np.zeros(6)
        self._met: Array | None = None
        self._closing_m_s = 0.0

    def step(self, desired: Array, wrench: Array) -> Array:
        """One cycle.

        Args:
            desired: (6,) twist of the tool point, base axes.
            wrench: (6,) external wrench about the tool point, base axes.

        Returns:
            (6,) twist.
        """
        p, t = self._params, self._period
        self._wrench = self._wrench + self._gain * (wrench - self._wrench)
        force = shortened(beyond(self._wrench[:3], p.dead_band_n), _FORCE_MARGIN * p.force_limit_n)
        torque = shortened(
            beyond(self._wrench[3:], p.dead_band_n_m), _FORCE_MARGIN * p.torque_limit_n_m
        )
        self._follow(desired)
        wanted = self._pressing(self._desired[:3], force)
        d, r = p.damping_n_s_m, p.rotational_damping_n_m_s
        linear = (p.mass_kg * self.twist[:3] + t * (force + d * wanted)) / (p.mass_kg + t * d)
        angular = (p.inertia_kg_m2 * self.twist[3:] + t * (torque + r * self._desired[3:])) / (
            p.inertia_kg_m2 + t * r
        )
        felt = beyond(wrench[:3], p.dead_band_n)
        linear = self._cautious(self._arrested(linear, felt), felt)
        self.twist = np.concatenate(
            [shortened(linear, p.max_linear_m_s), shortened(angular, p.max_angular_rad_s)]
        )
        return self.twist

    def _follow(self, desired: Array) -> None:
        """Moves the command that is followed towards the one that is given."""
        p, t = self._params, self._period
        change = desired - self._desired
        self._desired = self._desired + np.concatenate(
            [
                shortened(change[:3], p.linear_acceleration_m_s2 * t),
                shortened(change[3:], p.angular_acceleration_rad_s2 * t),
            ]
        )

    def _pressing(self, velocity: Array, force: Array) -> Array:
        """The velocity (3,) with its part against a force (3,) limited to what push_force allows.

        Otherwise a fast command would press as hard as a body at that speed in the fluid: D v.
        """
        size = float(np.linalg.norm(force))
        if size == 0.0:
            return velocity
        away = force / size
        closing = -float(velocity @ away)
        most = self._params.push_force_n / self._params.damping_n_s_m
        return velocity + away * (closing - most) if closing > most else velocity

    def _arrested(self, velocity: Array, force: Array) -> Array:
        """Takes from a velocity (3,) what still presses against a force (3,) that has come.

        The body hits like putty: into the surface it keeps no more speed than it would have there
        in the end, ``(F_push - F) / D``. Inertia and filter, which make contact stable, would let
        it press on for tens of milliseconds. This only ever takes energy away.
        """
        size = float(np.linalg.norm(force))
        if size == 0.0:
            return velocity
        away = force / size
        closing = -float(velocity @ away)
        most = max(0.0, self._params.push_force_n - size) / self._params.damping_n_s_m
        return velocity + away * (closing - most) if closing > most else velocity

    def _cautious(self, velocity: Array, force: Array) -> Array:
        """Slows a velocity (3,) down towards where the force (3,) of a contact came from.

        A hand that bounces off would otherwise gather speed until the next blow, which the
        controller hears of a cycle late, like the first one. The direction is forgotten as the
        speed that is allowed grows. This, too, only takes energy away.
        """
        p = self._params
        size = float(np.linalg.norm(force))
        if size > _CONTACT_SHARE * p.push_force_n:
            self._met, self._closing_m_s = force / size, p.contact_closing_m_s
        if self._met is None:
            return velocity
        excess = -float(velocity @ self._met) - self._closing_m_s
        slowed: Array = velocity + max(0.0, excess) * self._met
        self._closing_m_s += p.contact_recovery_m_s2 * self._period
        if self._closing_m_s >= p.max_linear_m_s:
            self._met = None
        return slowed


def spectral_radius(
    stiffness: float, mass: float, damping: float, filter_hz: float, period_s: float, delay: int
) -> float:
    """Largest eigenvalue, in absolute value, of the law against a linear spring; stable below 1.

    Args:
        stiffness: of surface and arm in series, N/m (or N m/rad with inertia for mass).
        mass: of the law.
        damping: of the law.
        filter_hz: of the wrench.
        period_s: of the cycle.
        delay: cycles from a twist to the force that it has caused, one or more.
    """
    gain = filter_gain(filter_hz, period_s)
    # State: the last `delay` positions, newest first, velocity, filtered force.
    size = delay + 2
    matrix = np.zeros((size, size))
    v, f, heard = delay, delay + 1, delay - 1
    matrix[f, f], matrix[f, heard] = 1.0 - gain, -gain * stiffness
    matrix[v] = period_s * matrix[f] / (mass + period_s * damping)
    matrix[v, v] = mass / (mass + period_s * damping)
    matrix[0] = period_s * matrix[v]
    matrix[0, 0] += 1.0
    for i in range(1, delay):
        matrix[i, i - 1] = 1.0
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def critical_stiffness(params: AdmittanceParameters, period_s: float, delay: int) -> float:
    """Stiffest surface, N/m, arm in series, on which translation is stable (dead band left out)."""
    low, high = 0.0, 1e9
    while high - low > 1e-3 * high:
        middle = 0.5 * (low + high)
        radius = spectral_radius(
            middle, params.mass_kg, params.damping_n_s_m, params.filter_hz, period_s, delay
        )
        # A free spring-less body has an eigenvalue of one: its position is nobody's business.
        low, high = (middle, high) if radius < 1.0 else (low, middle)
    return low
