from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rigs import LENSES, make_rig

from s3k_ros.errors import DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.geometry.triangulation import (
    TriangulationStatus,
    detection_weights,
    intersect_rays,
    triangulate,
)

OFFSETS = st.tuples(*[st.floats(-0.2, 0.2)] * 3)
# 95 % quantile of chi-square with 3 degrees of freedom.
CHI_SQUARE_3_95 = 7.815


def project(cameras: list[Camera], points: np.ndarray) -> np.ndarray:
    return np.array([camera.project(points) for camera in cameras])


def unit_covariances(pixels: np.ndarray, variance: float = 1.0) -> np.ndarray:
    return np.broadcast_to(variance * np.eye(2), (*pixels.shape, 2)).copy()


@given(
    st.sampled_from(sorted(LENSES)), st.integers(2, 6), st.lists(OFFSETS, min_size=1, max_size=4)
)
def test_exact_pixels_give_the_exact_points(
    lens: str, count: int, offsets: list[tuple[float, ...]]
) -> None:
    cameras = make_rig(lens, count)
    if count == 2:  # two cameras on opposite sides would see some points on one line
        cameras = make_rig(lens, 5)[:2]
    points = np.array([0.6, 0.0, 0.0]) + np.array(offsets)
    pixels = project(cameras, points)
    result = triangulate(cameras, pixels, unit_covariances(pixels))
    assert (result.status == TriangulationStatus.OK).all()
    assert np.allclose(result.points, points, atol=1e-8)
    assert result.views_used.all()
    assert (result.reprojection_error < 1e-4).all()


def test_intersect_rays_solves_equation_2() -> None:
    rng = np.random.default_rng(1)
    origins = rng.normal(size=(4, 3))
    directions = rng.normal(size=(7, 4, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    weights = rng.uniform(0.1, 1.0, size=(7, 4))
    points = intersect_rays(origins, directions, weights)
    for point, d, w in zip(points, directions, weights, strict=True):
        p = [np.eye(3) - np.outer(x, x) for x in d]
        left = sum(wi * pi for wi, pi in zip(w, p, strict=True))
        right = sum(wi * pi @ o for wi, pi, o in zip(w, p, origins, strict=True))
        assert np.allclose(point, np.linalg.solve(left, right))


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6])
def test_a_common_factor_of_the_weights_changes_nothing(scale: float) -> None:
    rng = np.random.default_rng(2)
    origins = rng.normal(size=(3, 3))
    directions = rng.normal(size=(3, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    weights = np.array([1.0, 0.5, 0.2])
    expected = intersect_rays(origins, directions, weights)
    assert np.allclose(intersect_rays(origins, directions, scale * weights), expected)


def test_weights_pull_the_point_towards_the_trusted_rays() -> None:
    # Two rays along x at z = 0 and z = 1, one ray along z.
    origins = np.array([[-1.0, 0.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    directions = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    point = intersect_rays(origins, directions, np.array([3.0, 1.0, 1.0]))
    assert np.allclose(point, [0.0, 0.0, 0.25])


def test_parallel_rays_have_no_intersection() -> None:
    origins = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    forth = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert np.isnan(intersect_rays(origins, forth, np.ones(2))).all()
    assert np.isnan(intersect_rays(origins, forth * [[1.0], [-1.0]], np.ones(2))).all()


def test_detection_weight_is_half_at_alpha_sigma_and_falls() -> None:
    weights = detection_weights(np.array([0.0, 2.0, 4.0, 40.0, np.nan]), 2.0, alpha=2.0, beta=4.0)
    assert np.allclose(weights[:3], [1.0, 1.0 / (1.0 + 0.5**4), 0.5])
    assert weights[3] < 1e-3
    assert weights[4] == 0.0


def test_triangulate_refuses_views_that_are_not_finite() -> None:
    cameras = make_rig()
    points = np.array([[0.6, 0.0, 0.0], [0.65, 0.05, 0.1]])
    pixels = project(cameras, points)
    pixels[1, 0] = np.nan
    covariances = unit_covariances(pixels)
    covariances[2, 1] = np.inf
    covariances[3, 1] = 0.0
    result = triangulate(cameras, pixels, covariances)
    assert result.views_used.tolist() == [[True, False, True, True], [True, True, False, False]]
    assert np.allclose(result.points, points, atol=1e-8)


def test_triangulate_refuses_views_of_weight_zero() -> None:
    cameras = make_rig()
    pixels = project(cameras, np.array([[0.6, 0.0, 0.0]]))
    weights = np.array([[1.0], [0.0], [0.3], [0.2]])
    result = triangulate(cameras, pixels, unit_covariances(pixels), weights)
    assert result.views_used.tolist() == [[True, False, True, True]]


@pytest.mark.parametrize("views", [0, 1])
def test_fewer_than_two_views_give_no_position(views: int) -> None:
    cameras = make_rig()
    pixels = project(cameras, np.array([[0.6, 0.0, 0.0], [0.6, 0.1, 0.0]]))
    pixels[views:, 0] = np.nan
    result = triangulate(cameras, pixels, unit_covariances(pixels))
    assert result.status[0] == TriangulationStatus.TOO_FEW_VIEWS
    assert np.isnan(result.points[0]).all()
    assert np.isnan(result.covariances[0]).all()
    assert np.isnan(result.reprojection_error[0])
    assert not result.views_used[0].any()
    assert result.status[1] == TriangulationStatus.OK


def test_triangulate_rejects_point_behind_camera() -> None:
    cameras = make_rig()[:2]
    # Both optical axes meet in front; mirrored pixels make the lines meet behind the cameras.
    pixels = np.array([[[-3000.0, 239.5]], [[3600.0, 239.5]]])
    result = triangulate(cameras, pixels, unit_covariances(pixels))
    assert result.status[0] == TriangulationStatus.TOO_FEW_VIEWS
    assert np.isnan(result.points).all()


def test_view_with_the_point_behind_it_is_left_out() -> None:
    cameras = make_rig()
    turned = make_rig("ideal", 3)[0]
    pose = turned.base_from_camera
    flip = np.diag([1.0, -1.0, -1.0])  # look the other way
    blind = Camera(
        "blind", 640, 480, turned.matrix, "plumb_bob", np.zeros(5),
        type(pose)(pose.rotation @ flip, pose.translation),
    )  # fmt: skip
    point = np.array([[0.6, 0.0, 0.0]])
    pixels = np.concatenate([project(cameras, point), [[[319.5, 239.5]]]])
    result = triangulate([*cameras, blind], pixels, unit_covariances(pixels))
    assert result.views_used.tolist() == [[True, True, True, True, False]]
    assert np.allclose(result.points, point, atol=1e-8)


def test_parallel_views_are_degenerate() -> None:
    camera = make_rig()[0]
    pixels = np.array([[[300.0, 200.0]], [[300.0, 200.0]]])
    result = triangulate([camera, camera], pixels, unit_covariances(pixels))
    assert result.status[0] == TriangulationStatus.DEGENERATE
    assert np.isnan(result.points).all()


def test_no_keypoints_and_misfitting_shapes() -> None:
    cameras = make_rig()
    empty = triangulate(cameras, np.zeros((4, 0, 2)), np.zeros((4, 0, 2, 2)))
    assert empty.points.shape == (0, 3)
    with pytest.raises(DataError, match="pixels"):
        triangulate(cameras, np.zeros((3, 1, 2)), np.zeros((3, 1, 2, 2)))
    with pytest.raises(DataError, match="covariances"):
        triangulate(cameras, np.zeros((4, 1, 2)), np.zeros((4, 2, 2, 2)))


def test_common_mode_is_added_to_the_covariance_alone() -> None:
    cameras = make_rig()
    pixels = project(cameras, np.array([[0.6, 0.0, 0.0]]))
    plain = triangulate(cameras, pixels, unit_covariances(pixels))
    shared = np.diag([1e-6, 4e-6, 9e-6])
    result = triangulate(cameras, pixels, unit_covariances(pixels), common_mode=shared)
    assert np.allclose(result.covariances[0], plain.covariances[0] + shared)
    assert np.array_equal(result.points, plain.points)


@pytest.mark.parametrize("lens", sorted(LENSES))
@pytest.mark.parametrize("views", [2, 3, 4])
def test_covariance_holds_the_errors_it_promises(lens: str, views: int) -> None:
    """NEES: the 95 % region holds the truth in 93 to 97 % of the cases."""
    rng = np.random.default_rng(views)
    cameras = make_rig(lens)[:views]
    count = 4000
    points = np.array([0.6, 0.0, 0.05]) + rng.uniform(-0.15, 0.15, (count, 3))
    pixels = project(cameras, points)
    root = rng.normal(0.0, 0.5, (*pixels.shape, 2)) + 0.4 * np.eye(2)
    noise = (root @ rng.normal(size=(*pixels.shape, 1)))[..., 0]
    covariances = root @ root.swapaxes(-1, -2)
    result = triangulate(cameras, pixels + noise, covariances)
    assert (result.status == TriangulationStatus.OK).mean() > 0.999
    good = result.status == TriangulationStatus.OK
    error = (result.points - points)[good]
    nees = np.einsum("ki,kij,kj->k", error, np.linalg.inv(result.covariances[good]), error)
    assert 0.93 <= (nees < CHI_SQUARE_3_95).mean() <= 0.97
    assert np.isclose(nees.mean(), 3.0, rtol=0.05)


@pytest.mark.parametrize("views", [2, 3, 4])
def test_chi_square_has_2n_minus_3_degrees_of_freedom(views: int) -> None:
    rng = np.random.default_rng(views)
    cameras = make_rig("plumb_bob")[:views]
    points = np.array([0.6, 0.0, 0.05]) + rng.uniform(-0.15, 0.15, (4000, 3))
    pixels = project(cameras, points)
    noisy = pixels + rng.normal(0.0, 0.5, pixels.shape)
    result = triangulate(cameras, noisy, unit_covariances(pixels, 0.25))
    # Standard error of the mean of 4,000 chi-squares: sqrt(2 dof / 4000) = 0.05 at 5.
    assert np.isclose(result.chi_square.mean(), 2 * views - 3, rtol=0.07)
    # With three views or more, each view has 2 degrees of freedom against the others.
    assert np.isclose(result.mahalanobis.mean(), 2.0 if views > 2 else 1.0, rtol=0.07)


def test_mahalanobis_is_the_distance_to_what_the_other_views_predict() -> None:
    rng = np.random.default_rng(5)
    cameras = make_rig()
    pixels = project(cameras, np.array([[0.62, 0.03, 0.08]])) + rng.normal(0.0, 0.5, (4, 1, 2))
    covariances = unit_covariances(pixels, 0.25)
    result = triangulate(cameras, pixels, covariances)
    others = triangulate(cameras[1:], pixels[1:], covariances[1:])
    jacobian = cameras[0].projection_jacobian(others.points[0])
    innovation = pixels[0, 0] - cameras[0].project(others.points[0])
    spread = covariances[0, 0] + jacobian @ others.covariances[0] @ jacobian.T
    expected = innovation @ np.linalg.solve(spread, innovation)
    # Equal for a linear camera; at half a pixel the projection is nearly linear.
    assert np.isclose(result.mahalanobis[0, 0], expected, rtol=0.01)
