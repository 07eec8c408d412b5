from __future__ import annotations

import numpy as np

from s3k_ros.perception.detector import ViewKeypoints
from s3k_ros.perception.drawing import draw_keypoints, palette

BLACK = np.zeros((100, 120, 3), np.uint8)


def view(pixels, sigma=3.0):
    pixels = np.array(pixels, dtype=float)
    covariances = np.tile(sigma**2 * np.eye(2), (len(pixels), 1, 1))
    return ViewKeypoints(pixels, covariances, np.full(len(pixels), 0.9))


def test_keypoint_is_drawn_where_it_is_in_its_colour():
    drawn = draw_keypoints(BLACK, view([[40.0, 60.0]]), ["head"])
    assert tuple(drawn[60, 40]) == palette(0)
    assert not BLACK.any()


def test_smaller_overlay_keeps_the_place():
    drawn = draw_keypoints(BLACK, view([[40.5, 60.5]]), ["head"], scale=0.5)
    assert drawn.shape == (50, 60, 3)
    assert tuple(drawn[30, 20]) == palette(0)


def test_ellipse_grows_with_the_uncertainty():
    small, large = (draw_keypoints(BLACK, view([[60.0, 70.0]], s), [""]) for s in (2.0, 10.0))
    reach = [np.flatnonzero(d[70].any(axis=-1)).max() for d in (small, large)]
    # 95 % of a 2D normal lie within sqrt(5.991) sigma.
    assert abs(reach[1] - (60 + np.sqrt(5.991) * 10.0)) < 3
    assert reach[0] < reach[1]


def test_keypoints_without_a_place_are_left_out():
    pixels = [[np.nan, 3.0], [1e9, 5.0]]
    assert not draw_keypoints(BLACK, view(pixels), ["a", "b"]).any()
