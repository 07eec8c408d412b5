from __future__ import annotations

import numpy as np
import pytest

from s3k_ros.perception.description import DistanceDescription
from s3k_ros.perception.shape import Shape

POINTS = np.array([[0.5, 0.0, 0.1], [0.6, 0.05, 0.1], [0.55, -0.1, 0.0], [0.5, 0.1, 0.2]])
# Right, a little off, far off.
OFF = {(0, 1): 0.0, (0, 2): 1.5e-3, (1, 2): -2e-3, (2, 3): 0.05}
SHAPE = Shape.of(
    [
        DistanceDescription((i, j), float(np.linalg.norm(POINTS[i] - POINTS[j])) + off, 1e-3)
        for (i, j), off in OFF.items()
    ]
)


def likelihood(points: np.ndarray) -> float:
    """Of all distances between points that are certain, as `gains` has it."""
    gains = SHAPE.gains(points[np.newaxis], np.zeros((1, *points.shape, 3)))
    return float(gains.sum())


def test_gradient_is_that_of_the_likelihood() -> None:
    information, gradient = SHAPE.gradient(POINTS)
    step = 1e-7
    for i, j in np.ndindex(POINTS.shape):
        d = np.zeros_like(POINTS)
        d[i, j] = step
        slope = (likelihood(POINTS + d) - likelihood(POINTS - d)) / (2 * step)
        assert gradient[3 * i + j] == pytest.approx(slope, abs=0.05, rel=1e-4)
    assert np.allclose(information, information.T, rtol=1e-12)
    # Nothing holds the object as a whole.
    for axis in range(3):
        whole = np.tile(np.eye(3)[axis], len(POINTS))
        assert np.allclose(information @ whole, 0.0, atol=1e-6)


def test_information_is_the_inverse_variance_along_each_distance() -> None:
    shape = Shape.of(
        [DistanceDescription((0, 1), float(np.linalg.norm(POINTS[0] - POINTS[1])), 2e-3)]
    )
    information, gradient = shape.gradient(POINTS)
    along = (POINTS[0] - POINTS[1]) / np.linalg.norm(POINTS[0] - POINTS[1])
    # A thousandth less: it may be unusual.
    assert along @ information[:3, :3] @ along == pytest.approx(2e-3**-2, rel=2e-3)
    assert np.allclose(information[:3, 3:6], -information[:3, :3])
    assert not information[6:].any() and not gradient.any()


def test_a_missing_point_says_nothing() -> None:
    points = POINTS.copy()
    points[2] = np.nan
    information, gradient = SHAPE.gradient(points)
    assert not information[6:9].any() and not gradient[6:9].any()
    assert np.isfinite(information).all() and np.isfinite(gradient).all()
    assert information[:6, :6].any()


def test_a_distance_of_a_keypoint_that_is_not_there_is_refused() -> None:
    shape = Shape.of([DistanceDescription((0, 7), 0.1, 1e-3)])
    with pytest.raises(ValueError, match="distance 0"):
        shape.gradient(POINTS)
