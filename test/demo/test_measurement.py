"""Figures of the demo, against recordings whose figures are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.made_up_trial import LATENCY_S, NAMES, REAL_TIME_FACTOR, make_recording

from s3k_ros.demo.measurement import (
    complete_sets_fraction,
    error_samples,
    group_stamps,
    keypoint_figures,
    latencies_ms,
    rates_hz,
    real_time_factor,
    summarise,
)
from s3k_ros.demo.recording import Recording, interpolate


def test_latency_is_wall_time_though_stamps_are_simulated_time(recording):
    # The clock in the recording runs at 0.97 of real time: taking stamps for wall seconds would
    # be wrong by 0.3 s after ten seconds.
    assert REAL_TIME_FACTOR == 0.97
    np.testing.assert_allclose(latencies_ms([recording]), 1e3 * LATENCY_S, atol=1e-6)


def test_latency_of_a_stamp_outside_the_clock_is_left_out():
    recording = make_recording()
    recording.clock = recording.clock[:501]
    assert len(latencies_ms([recording])) == sum(k.stamp_s <= 5.0 for k in recording.keypoints)


def test_error_is_measured_against_truth_at_exposure_while_the_object_moves():
    recording = make_recording(noise_m=0.0)
    moving = [s for s in error_samples([recording]) if s.valid and 8.0 < s.stamp_s < 10.0]
    assert moving
    assert max(s.error_m for s in moving) < 1e-9


def test_errors_have_the_noise_that_was_put_in():
    figures = keypoint_figures(error_samples([make_recording(seed=s) for s in range(10)]))
    # The median length of a 3D normal vector is 1.538 sigma; 600 samples hold it to 3 %.
    assert figures["body"]["median_mm"] == pytest.approx(1.538 * 4.0, rel=0.05)
    assert figures["body"]["coverage_95"] == pytest.approx(0.95, abs=0.03)


def test_refused_keypoints_lower_the_valid_fraction_and_leave_the_errors_alone(recording):
    figures = keypoint_figures(error_samples([recording]))
    assert list(figures) == list(NAMES)
    assert figures["body"]["valid_fraction"] == 1.0
    expected = sum(k.stamp_s < 7.0 for k in recording.keypoints) / len(recording.keypoints)
    assert figures["right_front_paw"]["valid_fraction"] == pytest.approx(expected, abs=1e-4)
    assert figures["right_front_paw"]["median_mm"] is not None


def test_rates_and_real_time_factor_are_per_wall_second(recording):
    rates = rates_hz([recording])
    assert real_time_factor([recording]) == pytest.approx(0.97, abs=1e-3)
    assert rates["joint_states"] == pytest.approx(97.0, rel=0.01)
    assert rates["images"] == pytest.approx(5 * 0.97, rel=0.02)
    assert rates["keypoints"] == pytest.approx(5 * 0.97, rel=0.02)


def test_a_set_with_one_missing_view_is_not_complete():
    assert complete_sets_fraction([make_recording()]) == 1.0
    assert complete_sets_fraction([make_recording(missing_view_every=5)]) == pytest.approx(
        0.8, abs=0.03
    )


def test_a_set_without_keypoints_counts_as_triggered():
    recording = make_recording()
    for stamp in list(recording.views)[::2]:
        del recording.views[stamp]
    assert complete_sets_fraction([recording]) == pytest.approx(0.5, abs=0.03)


def test_summary_of_an_empty_recording_has_no_numbers_and_no_exception():
    figures = summarise([Recording()])
    assert figures["real_time_factor"] is None
    assert figures["latency_ms"] == {"p50": None, "p99": None}
    assert figures["complete_sets_fraction"] is None
    assert summarise([])["keypoints"] == {}


def test_a_singular_covariance_claims_no_region_but_keeps_the_error():
    recording = make_recording()
    found = recording.keypoints[0]
    found.covariances[...] = 0.0
    sample = error_samples([recording])[0]
    assert sample.valid and np.isfinite(sample.error_m) and np.isnan(sample.mahalanobis2)


@given(st.lists(st.floats(0, 100), max_size=30))
def test_groups_of_stamps_cover_all_stamps(stamps):
    groups = group_stamps(stamps)
    assert all(any(0 <= s - g <= 0.02 for g in groups) for s in stamps)
    assert all(b - a > 0.02 for a, b in itertools.pairwise(groups))


@given(st.floats(0, 1), st.lists(st.floats(-1, 1), min_size=6, max_size=6))
def test_interpolation_is_linear_between_two_points(share, values):
    a, b = np.array(values[:3]), np.array(values[3:])
    found = interpolate([(2.0, b), (1.0, a)], 1.0 + share, 0.0)
    np.testing.assert_allclose(found, a + share * (b - a), atol=1e-12)


def test_interpolation_far_outside_the_path_is_nan():
    assert np.isnan(interpolate([(1.0, np.zeros(3))], 1.5, 0.2)).all()
    assert np.isnan(interpolate([], 1.5, 0.2)).all()
