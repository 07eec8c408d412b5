from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.synthetic_model import description

from s3k_ros.perception import decoding
from s3k_ros.perception.description import CONFIDENCE_FEATURES, ConfidenceDescription

SIZE = (48, 64)
WINDOW = 4


def gaussian(
    centre: tuple[float, float], sigma: float = 2.0, size: tuple[int, int] = SIZE
) -> np.ndarray:
    v, u = np.mgrid[0 : size[0], 0 : size[1]]
    values = np.exp(-0.5 * ((u - centre[0]) ** 2 + (v - centre[1]) ** 2) / sigma**2)
    return values / values.sum()


def test_softmax_sums_to_one_and_survives_large_logits() -> None:
    logits = np.random.default_rng(0).normal(0.0, 500.0, (2, 3, 8, 9)).astype(np.float32)
    maps = decoding.softmax(logits)
    assert np.allclose(maps.sum(axis=(-2, -1)), 1.0, atol=1e-5)
    assert np.allclose(maps, decoding.softmax(logits + 1000.0), atol=1e-4)


@given(st.floats(8.0, 55.0), st.floats(8.0, 39.0))
def test_peak_of_a_gaussian_is_found_between_the_cells(u: float, v: float) -> None:
    peaks = decoding.find_peaks(gaussian((u, v)), WINDOW)
    # A window fixed to the mode's cell would be off by up to 0.1 cells.
    assert np.allclose(peaks.positions[0], [u, v], atol=0.01)
    assert np.isclose(peaks.spread, 2.0, atol=0.02)


def test_window_does_not_see_what_is_far_away() -> None:
    maps = 0.9 * gaussian((20.0, 20.0)) + 0.1 * gaussian((50.0, 30.0))
    peaks = decoding.find_peaks(maps, WINDOW)
    assert np.allclose(peaks.positions[0], [20.0, 20.0], atol=0.01)
    assert np.allclose(peaks.positions[1], [50.0, 30.0], atol=0.05)
    assert peaks.masses[0] > 8 * peaks.masses[1]
    assert peaks.spread > 6.0


def test_peak_with_the_most_mass_comes_first() -> None:
    # Higher, but thinner.
    maps = 0.2 * gaussian((20.0, 20.0), 0.5) + 0.8 * gaussian((50.0, 30.0), 2.0)
    assert maps[20, 20] > maps[30, 50]
    peaks = decoding.find_peaks(maps, WINDOW)
    assert np.allclose(peaks.positions[0], [50.0, 30.0], atol=0.05)


def test_windowed_covariance_has_the_direction_of_the_spread() -> None:
    v, u = np.mgrid[0:48, 0:64]
    along, across = (u - 30 + v - 20) / np.sqrt(2), (u - 30 - v + 20) / np.sqrt(2)
    maps = np.exp(-0.5 * (along / 2.0) ** 2 - 0.5 * (across / 1.0) ** 2)
    covariance = decoding.find_peaks(maps / maps.sum(), 6).covariances[0]
    assert covariance[0, 1] > 1.0
    assert np.allclose(covariance, [[2.5, 1.5], [1.5, 2.5]], atol=0.25)


@given(st.floats(10.0, 50.0), st.floats(10.0, 35.0))
def test_peak_as_wide_as_its_target_has_no_excess(u: float, v: float) -> None:
    covariance = decoding.find_peaks(gaussian((u, v)), WINDOW).covariances[0]
    assert np.abs(decoding.excess_covariance(covariance, 2.0, WINDOW)).max() < 0.06


def test_peak_wider_than_its_target_has_excess() -> None:
    covariance = decoding.find_peaks(gaussian((30.0, 20.0), 4.0), WINDOW).covariances[0]
    excess = decoding.excess_covariance(covariance, 2.0, WINDOW)
    assert excess[0, 0] > 1.5
    assert np.isnan(decoding.excess_covariance(np.full((2, 2), np.nan), 2.0, WINDOW)).all()


def test_map_that_is_not_finite_has_no_peak_and_no_confidence() -> None:
    logits = np.zeros((2, 8, 8), np.float32)
    logits[1, 3, 3] = np.nan
    peaks = decoding.find_peaks(decoding.softmax(logits), 2)
    assert np.isfinite(peaks.positions[0]).all()
    assert np.isnan(peaks.positions[1]).all()
    features = decoding.confidence_features(peaks, 2.0)
    assert decoding.confidence(features, description())[1, 0] == 0.0
    assert decoding.whole_map_weights(peaks.spread, 2.0, description())[1] == 0.0


def test_shapes_follow_the_batch() -> None:
    maps = np.broadcast_to(gaussian((10.0, 12.0)), (3, 2, *SIZE))
    peaks = decoding.find_peaks(maps, WINDOW, 3)
    assert peaks.positions.shape == (3, 2, 3, 2)
    assert peaks.covariances.shape == (3, 2, 3, 2, 2)
    assert peaks.masses.shape == (3, 2, 3)
    assert peaks.spread.shape == (3, 2)
    assert np.allclose(peaks.positions[:, :, 0], [10.0, 12.0], atol=0.01)


@pytest.mark.parametrize("corner", [(0.0, 0.0), (63.0, 47.0), (0.0, 47.0)])
def test_peak_in_a_corner_stays_near_it(corner: tuple[float, float]) -> None:
    position = decoding.find_peaks(gaussian(corner), WINDOW).positions[0]
    assert np.abs(position - corner).max() < 2.0  # one sigma: half of the peak is cut off


def test_confidence_is_the_logistic_of_the_weighted_features() -> None:
    uncertainty = dataclasses.replace(
        description().uncertainty,
        confidence=ConfidenceDescription(0.5, {"log_margin": 2.0, "log_spread": -1.0}),
    )
    model = dataclasses.replace(description(), uncertainty=uncertainty)
    features = np.array([[0.3, 0.2, 0.1], [np.nan, 0.0, 0.0]])
    assert CONFIDENCE_FEATURES == ("log_peak_mass", "log_spread", "log_margin")
    expected = 1.0 / (1.0 + np.exp(-(0.5 - 0.2 + 2.0 * 0.1)))
    assert np.allclose(decoding.confidence(features, model), [expected, 0.0])


def test_ambiguous_map_has_no_margin() -> None:
    clear = decoding.find_peaks(gaussian((20.0, 20.0)), WINDOW)
    maps = 0.5 * gaussian((20.0, 20.0)) + 0.5 * gaussian((50.0, 30.0))
    torn = decoding.find_peaks(maps, WINDOW)
    margin = CONFIDENCE_FEATURES.index("log_margin")
    assert decoding.confidence_features(clear, 2.0)[0, margin] > 2.0
    assert abs(decoding.confidence_features(torn, 2.0)[0, margin]) < 0.01


def test_error_covariance_scales_with_the_image() -> None:
    model = description()  # A = I / 4 px^2 at 640 px, b = 1/2
    excess = np.zeros((5, 2, 2))
    excess[1] = np.diag([2.0, 4.0])
    small = decoding.error_covariances(excess, 640, model)
    assert np.allclose(small[0], 0.25 * np.eye(2))
    assert np.allclose(small[1], np.diag([1.25, 2.25]))
    assert np.allclose(decoding.error_covariances(0 * excess, 1280, model), np.eye(2))
