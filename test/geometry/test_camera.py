from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rigs import LENSES, make_rig

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry import lens
from s3k_ros.geometry.camera import Camera, look_at
from s3k_ros.geometry.se3 import Transform

MATRIX = np.array([[393.5, 0.0, 319.5], [0.0, 393.5, 239.5], [0.0, 0.0, 1.0]])
OFFSETS = st.tuples(*[st.floats(-0.25, 0.25)] * 3)


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> list[Camera]:
    """Four cameras with the lens that the test names, ideal by default."""
    return make_rig(getattr(request, "param", "ideal"))


def opencv_pixels(camera: Camera, points: np.ndarray) -> np.ndarray:
    inverse = camera.base_from_camera.inverse()
    rotation, _ = cv2.Rodrigues(inverse.rotation)
    pixels, _ = cv2.projectPoints(
        points.reshape(-1, 1, 3), rotation, inverse.translation, camera.matrix, camera.distortion
    )
    return pixels.reshape(-1, 2)


@given(st.sampled_from(sorted(LENSES)), st.lists(OFFSETS, min_size=1, max_size=5))
def test_projection_is_that_of_opencv(lens_name: str, offsets: list[tuple[float, ...]]) -> None:
    points = np.array([0.6, 0.0, 0.0]) + np.array(offsets)
    for camera in make_rig(lens_name):
        # 1e-6 px: OpenCV's rotation vector costs some digits.
        assert np.allclose(camera.project(points), opencv_pixels(camera, points), atol=1e-6)


@given(
    st.sampled_from(sorted(LENSES)),
    st.floats(0.0, 639.0),
    st.floats(0.0, 479.0),
    st.floats(0.1, 5.0),
)
def test_ray_through_a_pixel_projects_back_onto_it(
    lens_name: str, u: float, v: float, distance: float
) -> None:
    for camera in make_rig(lens_name, count=2):
        ray = camera.rays(np.array([u, v]))
        assert np.isclose(np.linalg.norm(ray), 1.0)
        pixel = camera.project(camera.centre + distance * ray)
        assert np.allclose(pixel, [u, v], atol=1e-6)


@pytest.mark.parametrize("rig", sorted(LENSES), indirect=True)
def test_opencv_projects_points_of_a_ray_back_onto_its_pixel(rig: list[Camera]) -> None:
    pixels = np.array([[0.0, 0.0], [30.0, 40.0], [319.5, 239.5], [639.0, 479.0]])
    for camera in rig:
        points = camera.centre + 1.3 * camera.rays(pixels)
        assert np.allclose(opencv_pixels(camera, points), pixels, atol=1e-6)


@given(st.sampled_from(sorted(LENSES)), OFFSETS)
def test_projection_jacobian_matches_finite_differences(
    lens_name: str, offset: tuple[float, ...]
) -> None:
    point = np.array([0.6, 0.0, 0.0]) + offset
    step = 1e-6
    for camera in make_rig(lens_name, count=2):
        shifted = np.vstack([point + step * np.eye(3), point - step * np.eye(3)])
        pixels = camera.project(shifted)
        numeric = ((pixels[:3] - pixels[3:]) / (2.0 * step)).T
        # Central differences lose half the digits: 1e-4 px/m against slopes of 400 px/m.
        assert np.allclose(camera.projection_jacobian(point), numeric, atol=1e-4, rtol=1e-6)


def test_point_behind_the_camera_has_no_pixel(rig: list[Camera]) -> None:
    for camera in rig:
        forward = camera.base_from_camera.rotation[:, 2]
        assert np.isnan(camera.project(camera.centre - 0.5 * forward)).all()
        assert np.isfinite(camera.project(camera.centre + 0.5 * forward)).all()
        assert np.isclose(camera.depth(camera.centre + 0.5 * forward), 0.5)


def test_point_beyond_the_range_of_the_lens_model_has_no_pixel() -> None:
    # r (1 - 0.3 r^2) turns back at r = 1.054; OpenCV would show a point at r = 1.5 near r = 0.49.
    camera = Camera(
        "c", 640, 480, MATRIX, "plumb_bob", np.array([-0.3, 0, 0, 0, 0]), Transform.identity()
    )
    assert np.isfinite(camera.project([1.0, 0.0, 1.0])).all()
    assert np.isnan(camera.project([1.5, 0.0, 1.0])).all()


def test_pixel_that_no_ray_reaches_has_no_ray() -> None:
    camera = Camera(
        "c", 640, 480, MATRIX, "plumb_bob", np.array([-0.3, 0, 0, 0, 0]), Transform.identity()
    )
    highest = 319.5 + 393.5 * 0.703  # the lens model's largest radius, at r = 1.054
    rays = camera.rays(np.array([[highest - 5.0, 239.5], [highest + 5.0, 239.5], [np.nan, 1.0]]))
    assert np.isfinite(rays[0]).all()
    assert np.isnan(rays[1:]).all()


def test_lens_limit_is_infinite_without_distortion() -> None:
    assert lens.invertible_r2(np.zeros(8)) == float("inf")


def test_shapes_are_kept() -> None:
    camera = make_rig()[0]
    points = np.broadcast_to([0.6, 0.0, 0.0], (2, 5, 3))
    assert camera.project(points).shape == (2, 5, 2)
    assert camera.projection_jacobian(points).shape == (2, 5, 2, 3)
    assert camera.rays(np.zeros((2, 5, 2))).shape == (2, 5, 3)
    assert camera.depth(points).shape == (2, 5)
    assert camera.project(points[0, 0]).shape == (2,)
    assert camera.rays(np.zeros((0, 2))).shape == (0, 3)


@pytest.mark.parametrize("factor", [0.5, 0.25, 2.0])
def test_scaled_camera_sees_what_the_resized_image_shows(factor: float) -> None:
    camera = make_rig("plumb_bob")[0]
    small = camera.scaled(factor)
    point = np.array([0.65, 0.05, 0.1])
    assert (small.width, small.height) == (640 * factor, 480 * factor)
    # Pixel centres at integers: the image's left edge is at -1/2 in both.
    assert np.allclose(small.project(point) + 0.5, factor * (camera.project(point) + 0.5))


def test_look_at_puts_the_target_in_the_centre_and_up_upwards() -> None:
    pose = look_at([1.0, 2.0, 1.5], [0.5, 0.0, 0.0])
    camera = Camera("c", 640, 480, MATRIX, "plumb_bob", np.zeros(5), pose)
    centre = camera.project([0.5, 0.0, 0.0])
    assert np.allclose(centre, [319.5, 239.5])
    above = camera.project([0.5, 0.0, 0.1])
    assert above[1] < centre[1]
    assert np.isclose(above[0], centre[0])


@pytest.mark.parametrize("up", [(0.0, 0.0, 1.0), (0.0, 0.0, 0.0)])
def test_look_at_refuses_an_up_that_says_nothing(up: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigurationError, match="parallel"):
        look_at([0.0, 0.0, 1.0], [0.0, 0.0, 0.0], up)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"matrix": np.zeros((3, 3))}, "calibrated"),
        ({"matrix": np.eye(4)}, "shape"),
        ({"matrix": MATRIX + np.eye(3, k=1)}, "matrix"),
        ({"distortion_model": "fisheye"}, "plumb_bob"),
        ({"distortion": np.zeros(4)}, "distortion"),
        ({"distortion": np.array([np.inf, 0, 0, 0, 0])}, "finite"),
        ({"width": 0}, "positive"),
    ],
)
def test_camera_refuses_what_is_no_calibration_and_names_itself(
    changes: dict[str, object], message: str
) -> None:
    values: dict[str, object] = {
        "name": "rear_left",
        "width": 640,
        "height": 480,
        "matrix": MATRIX,
        "distortion_model": "plumb_bob",
        "distortion": np.zeros(5),
        "base_from_camera": Transform.identity(),
        **changes,
    }
    with pytest.raises(ConfigurationError, match=message) as caught:
        Camera(**values)  # type: ignore[arg-type]
    assert "rear_left" in str(caught.value)
