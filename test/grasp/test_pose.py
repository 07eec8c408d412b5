from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.planning.pose import (
    CHI2_95_3,
    grasp_point,
    hand_rotations,
    straight_line,
    uncertain_width,
    yaw_is_set,
)

unit = st.tuples(*[st.floats(-1, 1)] * 3).map(np.array).filter(lambda v: np.linalg.norm(v) > 0.1)
DOWN = np.array([0.0, 0.0, -1.0])


@given(unit, unit)
def test_jaws_close_across_the_line_seen_along_the_approach(approach, line):
    line = 0.1 * line
    assume(yaw_is_set(approach, line))
    z = approach / np.linalg.norm(approach)
    for rotation in hand_rotations(approach, line):
        assert np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-9)
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        assert np.allclose(rotation[:, 2], z)
        assert abs(rotation[:, 1] @ line) < 1e-9


def test_the_two_yaws_differ_by_half_a_turn():
    first, second = hand_rotations(DOWN, [0.05, 0.02, 0.3])
    assert np.allclose(first[:, :2], -second[:, :2])


@given(unit)
def test_a_free_yaw_offers_orientations_all_round(approach):
    rotations = hand_rotations(approach, None)
    z = approach / np.linalg.norm(approach)
    assert len(rotations) == 16
    assert all(np.allclose(r[:, 2], z) and np.linalg.det(r) > 0.99 for r in rotations)
    assert np.abs(np.mean([r[:, 1] for r in rotations], axis=0)).max() < 1e-9


def test_a_line_along_the_approach_sets_no_yaw():
    assert not yaw_is_set(DOWN, [0.001, 0.0, 0.2])
    assert len(hand_rotations(DOWN, [0.001, 0.0, 0.2])) == 16


def test_grasp_point_is_the_keypoint_plus_the_offset():
    assert np.allclose(grasp_point([0.5, 0, 0.1], [0.01, 0, 0.02], DOWN, 0.0), [0.51, 0, 0.12])


def test_grasp_point_stops_early_on_a_slanted_way_in():
    way = np.array([0.6, 0.0, -0.8])
    point = grasp_point([0.5, 0.0, 0.0], [0, 0, 0], way, 0.02)
    assert point[2] == pytest.approx(0.02)
    assert np.allclose(np.cross(point - [0.5, 0.0, 0.0], way), 0)


def test_grasp_point_stands_higher_on_a_level_way_in():
    assert np.allclose(grasp_point([0.5, 0, 0], [0, 0, 0], [1, 0, 0], 0.02), [0.5, 0, 0.02])


def test_uncertain_width_is_the_extent_of_the_95_percent_ellipsoid():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(3, 3)) * 0.01
    covariance = factor @ factor.T
    samples = rng.multivariate_normal(np.zeros(3), covariance, 200_000)
    inside = np.einsum("ni,ij,nj->n", samples, np.linalg.inv(covariance), samples) < CHI2_95_3
    assert inside.mean() == pytest.approx(0.95, abs=0.002)
    y = np.array([0.6, 0.0, 0.8])
    extent = 2 * np.abs(samples[inside] @ y).max()
    # Random samples come near the ellipsoid's tip, never past it.
    assert 0.97 * uncertain_width(covariance, y) < extent <= uncertain_width(covariance, y)


def test_straight_line_keeps_orientation_and_even_steps():
    start = Transform.from_quaternion([1, 0, 0, 0], [0.5, 0, 0.3])
    poses = straight_line(start, [0, 0, -2.0], 0.1, 0.03)
    points = np.array([pose.translation for pose in poses])
    assert np.allclose(points[0], [0.5, 0, 0.3]) and np.allclose(points[-1], [0.5, 0, 0.2])
    assert np.allclose(np.diff(points, axis=0), np.diff(points, axis=0)[0])
    assert np.linalg.norm(np.diff(points, axis=0), axis=1).max() <= 0.03 + 1e-12
    assert all(np.allclose(pose.rotation, start.rotation) for pose in poses)
