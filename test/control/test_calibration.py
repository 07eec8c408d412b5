from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from s3k_ros.control.calibration import Reading, fit
from s3k_ros.control.wrench import ToolLoad, at_point
from s3k_ros.errors import DataError

GRAVITY = np.array([0.0, 0.0, -9.81])
DOWN = np.diag([1.0, -1.0, -1.0])
TILTS = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]
TOOL = ToolLoad(
    np.array([4.0, -3.0, 6.0, 0.1, -0.2, 0.15]), 1.12, np.array([0.004, -0.002, 0.07]), GRAVITY
)


def rotations(degrees: float) -> list[np.ndarray]:
    turns = np.radians(degrees) * np.array(TILTS)
    return [DOWN @ turn for turn in Rotation.from_euler("xy", turns).as_matrix()]


def readings(load: ToolLoad, degrees: float = 35.0, noise: float = 0.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    scale = noise * np.array([1.2, 1.2, 0.5, 0.02, 0.02, 0.12])
    return [
        Reading(r, load.bias + load.weight(r) + rng.normal(0, 1, 6) * scale)
        for r in rotations(degrees)
    ]


@given(
    mass=st.floats(0.1, 5.0),
    com=st.tuples(*[st.floats(-0.1, 0.1)] * 3),
    bias=st.tuples(*[st.floats(-30, 30)] * 6),
)
def test_calibration_finds_any_tool_exactly_without_noise(mass, com, bias):
    true = ToolLoad(np.array(bias), mass, np.array(com), GRAVITY)
    found = fit(readings(true), GRAVITY).load
    assert found.mass_kg == pytest.approx(mass, abs=1e-6)
    np.testing.assert_allclose(found.com_m, com, atol=1e-6)
    np.testing.assert_allclose(found.bias, bias, atol=1e-6)


def test_after_calibration_no_orientation_shows_a_force():
    """Noise of a mean of 200 readings; 0.5 N is a sixth of the dead band."""
    load = fit(readings(TOOL, noise=200**-0.5), GRAVITY).load
    for rotation in Rotation.random(50, rng=np.random.default_rng(1)).as_matrix():
        left = load.external(TOOL.bias + TOOL.weight(rotation), rotation)
        assert np.linalg.norm(left[:3]) < 0.5
        assert np.linalg.norm(left[3:]) < 0.1


def test_quality_is_reported():
    found = fit(readings(TOOL, noise=0.1), GRAVITY)
    assert 0 < found.force_residual_n < 0.3
    assert abs(found.load.mass_kg - TOOL.mass_kg) < 4 * found.mass_error_kg
    assert found.condition == pytest.approx(fit(readings(TOOL), GRAVITY).condition)


@pytest.mark.parametrize(
    ("given_readings", "said"),
    [
        (readings(TOOL)[:3], "at least 4"),
        (readings(TOOL, degrees=8.0), "too alike"),
        ([readings(TOOL)[0]] * 6, "too alike"),
        (readings(TOOL, noise=3.0), "did it touch something"),
        ([Reading(r.base_from_sensor, -r.wrench) for r in readings(TOOL)], "weight comes out"),
        ([*readings(TOOL)[:4], Reading(DOWN, np.full(6, np.nan))], "not finite"),
    ],
    ids=["few", "alike", "one posture", "disturbed", "upside down", "nan"],
)
def test_calibration_refuses(given_readings, said):
    with pytest.raises(DataError, match=said):
        fit(given_readings, GRAVITY)


def test_zero_takes_away_the_present_wrench_and_keeps_the_weight():
    held = DOWN
    reading = TOOL.bias + TOOL.weight(held) + np.array([0.0, 0.0, 3.0, 0.0, 0.0, 0.0])
    zeroed = TOOL.zeroed(TOOL.external(reading, held))
    np.testing.assert_allclose(zeroed.external(reading, held), 0.0, atol=1e-12)
    assert zeroed.mass_kg == TOOL.mass_kg


def test_wrench_moves_to_the_point_where_its_force_acts():
    force, lever = np.array([3.0, -2.0, 5.0]), np.array([0.1, 0.02, 0.2])
    wrench = np.concatenate([force, np.cross(lever, force)])
    np.testing.assert_allclose(at_point(wrench, lever)[3:], 0.0, atol=1e-12)
