from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3k_ros.control.law import AdmittanceLaw, critical_stiffness, spectral_radius
from s3k_ros.params.admittance import AdmittanceParameters

PARAMS = AdmittanceParameters()
T = 0.01
# Law, sensor and servos alone: without the dead band, which is a region where all forces are zero.
LINEAR = dataclasses.replace(
    PARAMS, dead_band_n=0.0, dead_band_n_m=0.0, push_force_n=150.0, max_linear_m_s=1.0,
    force_limit_n=300.0, linear_acceleration_m_s2=10.0,
)  # fmt: skip


def twist(*values: float) -> np.ndarray:
    return np.array([*values, *[0.0] * (6 - len(values))])


def settle(law: AdmittanceLaw, desired: np.ndarray, wrench: np.ndarray, steps: int = 600):
    for _ in range(steps):
        law.step(desired, wrench)
    return law.twist


def test_without_contact_the_commanded_twist_is_reached():
    wanted = np.array([0.05, -0.03, 0.02, 0.1, -0.2, 0.3])
    np.testing.assert_allclose(settle(AdmittanceLaw(PARAMS, T), wanted, np.zeros(6)), wanted)


def test_a_push_moves_the_resting_arm_by_what_exceeds_the_dead_band():
    moved = settle(AdmittanceLaw(PARAMS, T), np.zeros(6), twist(0.0, 33.0))
    np.testing.assert_allclose(moved, twist(0.0, 30.0 / PARAMS.damping_n_s_m), atol=1e-9)


@pytest.mark.parametrize("force", [0.0, 1.0, 2.9])
def test_forces_within_the_dead_band_move_nothing(force):
    assert not settle(AdmittanceLaw(PARAMS, T), np.zeros(6), twist(force)).any()


@pytest.mark.parametrize("speed", [0.02, 0.05, 0.15])
def test_a_held_tool_presses_with_the_push_force_at_most_however_fast_it_is_sent(speed):
    """At this reaction the tool stands: it presses exactly so hard."""
    force = min(PARAMS.damping_n_s_m * speed, PARAMS.push_force_n) + PARAMS.dead_band_n
    stands = settle(AdmittanceLaw(PARAMS, T), twist(0.0, 0.0, -speed), twist(0.0, 0.0, force))
    np.testing.assert_allclose(stands, 0.0, atol=1e-9)


def test_contact_takes_away_closing_speed_at_once_and_leaves_the_rest():
    law = AdmittanceLaw(PARAMS, T)
    settle(law, twist(0.05, 0.0, -0.05), np.zeros(6))
    after = law.step(twist(0.05, 0.0, -0.05), twist(0.0, 0.0, 25.0))
    assert after[2] >= -1e-12
    assert after[0] == pytest.approx(0.05)


def test_after_a_contact_the_arm_gathers_speed_slowly_but_leaves_at_once():
    wanted = twist(0.03, 0.0, -0.04)
    law = AdmittanceLaw(PARAMS, T)
    settle(law, wanted, np.zeros(6))
    law.step(wanted, twist(0.0, 0.0, 30.0))
    twists = np.array([law.step(wanted, np.zeros(6)) for _ in range(200)])
    regained = PARAMS.contact_recovery_m_s2 * T * (np.arange(len(twists)) + 1)
    assert np.all(-twists[:, 2] <= PARAMS.contact_closing_m_s + regained + 1e-12)
    np.testing.assert_allclose(twists[:, 0], 0.03, atol=2e-3)  # along it as before
    np.testing.assert_allclose(twists[-1], wanted)

    law.step(wanted, twist(0.0, 0.0, 30.0))
    away = settle(law, twist(0.0, 0.0, 0.1), np.zeros(6), steps=20)
    assert away[2] > 10 * PARAMS.contact_closing_m_s


def test_noise_of_the_sensor_is_no_contact():
    law = AdmittanceLaw(PARAMS, T)
    noise = np.random.default_rng(1).normal(0.0, [1.2, 1.2, 0.5, 0.02, 0.02, 0.12], (3000, 6))
    speeds = [np.linalg.norm(law.step(twist(0.05), wrench)[:3]) for wrench in noise]
    # One reading in 25 exceeds the dead band and slows its cycle; caution would hold for seconds.
    assert min(speeds[100:]) > 0.03
    assert np.mean(speeds[100:]) > 0.049


@settings(max_examples=30)
@given(
    stiffness=st.floats(100.0, 0.9 * critical_stiffness(PARAMS, T, 2)),
    speed=st.floats(0.01, 0.5),
)
def test_energy_fades_in_contact_with_any_surface_below_the_critical_stiffness(stiffness, speed):
    """Two cycles late, as the cell's own. Energy: of virtual mass and surface, over half a second.

    Against a spring that pulls as well as it pushes, the worst case.
    """
    law = AdmittanceLaw(LINEAR, T)
    law.twist = twist(speed)
    positions, energies = [0.0, 0.0], []
    for _ in range(400):
        velocity = law.step(np.zeros(6), twist(-stiffness * positions[-2]))[0]
        positions.append(positions[-1] + T * velocity)
        energies.append(0.5 * (LINEAR.mass_kg * velocity**2 + stiffness * positions[-1] ** 2))
    start = 0.5 * LINEAR.mass_kg * speed**2
    peaks = [max(energies[i : i + 50]) for i in range(0, 400, 50)]
    assert peaks[-1] < 0.5 * max(start, peaks[0])
    assert all(b <= a * (1 + 1e-9) + 1e-12 for a, b in itertools.pairwise(peaks[1:]))


def test_critical_stiffness_parts_the_stable_from_the_unstable():
    for delay in (1, 2, 4):
        limit = critical_stiffness(PARAMS, T, delay)
        law = PARAMS.mass_kg, PARAMS.damping_n_s_m, PARAMS.filter_hz, T, delay
        assert spectral_radius(0.95 * limit, *law) < 1.0 < spectral_radius(1.05 * limit, *law)


def test_shorter_delays_allow_stiffer_surfaces():
    limits = [critical_stiffness(PARAMS, T, delay) for delay in (1, 2, 3, 5)]
    assert limits == sorted(limits, reverse=True)


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=6, max_size=6),
    st.lists(st.floats(-0.2, 0.2), min_size=6, max_size=6),
)
def test_no_wrench_drives_the_arm_faster_than_its_limits(wrench, desired):
    law = AdmittanceLaw(PARAMS, T)
    for _ in range(20):
        found = law.step(np.array(desired), np.array(wrench))
        assert np.linalg.norm(found[:3]) <= PARAMS.max_linear_m_s + 1e-12
        assert np.linalg.norm(found[3:]) <= PARAMS.max_angular_rad_s + 1e-12
