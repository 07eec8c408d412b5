from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo
from support.rigs import LENSES, make_rig
from support.synthetic_model import KEYPOINTS, description

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.geometry.se3 import Transform
from s3k_ros.msg import Keypoint2DArray, Keypoint3D
from s3k_ros.perception.detector import ViewKeypoints, ViewStatus
from s3k_ros.perception.triangulator import KeypointEstimate, Status
from s3k_ros.ros import conversions


@given(st.integers(0, 2**31 * 10**9 - 1))
def test_stamps_keep_every_nanosecond(time_ns):
    assert conversions.nanoseconds(conversions.stamp_message(time_ns)) == time_ns


@given(st.integers(-(10**18), 10**18))
def test_durations_keep_their_sign(duration_ns):
    assert conversions.nanoseconds(conversions.duration_message(duration_ns)) == duration_ns


@settings(max_examples=30)
@given(
    st.lists(st.floats(-1, 1), min_size=4, max_size=4),
    st.lists(st.floats(-9, 9), min_size=3, max_size=3),
)
def test_transforms_come_back_as_they_were(quaternion, translation):
    if np.linalg.norm(quaternion) < 1e-3:
        return
    transform = Transform.from_quaternion(quaternion, translation)
    back = conversions.transform_from_message(conversions.transform_to_message(transform))
    assert np.allclose(back.matrix, transform.matrix, atol=1e-9)


def test_image_comes_back_as_it_was():
    image = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
    message = conversions.image_to_message(image, conversions.header(5, "f"))
    assert (message.header.frame_id, message.encoding, message.step) == ("f", "bgr8", 180)
    assert np.array_equal(conversions.image_from_message(message), image)


def test_rgb_and_grey_images_become_bgr():
    image = np.zeros((40, 60, 3), np.uint8)
    image[..., 2] = 200
    message = conversions.image_to_message(image, conversions.header(0))
    message.encoding = "rgb8"
    assert (conversions.image_from_message(message)[0, 0] == [200, 0, 0]).all()
    grey = conversions.image_to_message(image, conversions.header(0))
    grey.encoding, grey.step = "mono8", 60
    grey.data = grey.data[: 40 * 60]
    assert conversions.image_from_message(grey).shape == (40, 60, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"height": 41},
        {"width": 61, "step": 183},
        {"encoding": "no_such"},
        {"height": 0},
        {"step": 7},
    ],
)
def test_image_that_contradicts_itself_is_refused(change):
    message = conversions.image_to_message(np.zeros((40, 60, 3), np.uint8), conversions.header(0))
    for key, value in change.items():
        setattr(message, key, value)
    with pytest.raises(DataError):
        conversions.image_from_message(message)


@pytest.mark.parametrize("lens", LENSES)
def test_camera_comes_back_from_camera_info_as_it_was(lens):
    camera = make_rig(lens)[1]
    info = conversions.camera_info(camera, conversions.header(0, "cam1_optical"))
    back = conversions.camera_from_messages("cam1", info, camera.base_from_camera)
    points = np.array([[0.6, 0.0, 0.1], [0.5, 0.1, 0.0]])
    assert np.array_equal(back.project(points), camera.project(points))


def test_camera_info_without_distortion_means_none():
    camera = make_rig("ideal")[0]
    info = conversions.camera_info(camera, conversions.header(0))
    info.d, info.distortion_model = [], ""
    back = conversions.camera_from_messages("cam", info, camera.base_from_camera)
    assert not back.distortion.any()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"k": np.zeros(9)}, "not calibrated"),
        ({"distortion_model": "equidistant"}, "equidistant"),
        ({"d": [0.0, 0.1]}, "distortion"),
    ],
)
def test_camera_info_that_cannot_be_used_is_refused(change, reason):
    camera = make_rig("plumb_bob")[0]
    info: CameraInfo = conversions.camera_info(camera, conversions.header(0))
    for key, value in change.items():
        setattr(info, key, value)
    with pytest.raises(ConfigurationError, match=reason):
        conversions.camera_from_messages("cam", info, camera.base_from_camera)


def view():
    rng = np.random.default_rng(0)
    covariances = np.array([np.eye(2) * (1 + k) for k in range(5)])
    pixels = rng.uniform(0, 400, (5, 2))
    pixels[3] = np.nan
    return ViewKeypoints(pixels, covariances, rng.uniform(0, 1, 5))


def test_view_comes_back_as_it_was():
    message = conversions.view_to_message(
        view(), ViewStatus.OK, KEYPOINTS, "cam", conversions.header(3, "f")
    )
    back = conversions.view_from_message(message, KEYPOINTS)
    assert np.array_equal(back.pixels, view().pixels, equal_nan=True)
    assert np.array_equal(back.covariances, view().covariances)
    assert np.allclose(back.confidences, view().confidences, atol=1e-6)  # float32 in the message


@pytest.mark.parametrize("status", [ViewStatus.NO_IMAGE, ViewStatus.BAD_IMAGE])
def test_view_without_image_has_no_keypoints(status):
    message = conversions.view_to_message(view(), status, KEYPOINTS, "cam", conversions.header(3))
    assert message.status == int(status)
    assert not message.keypoints
    assert conversions.view_from_message(message, KEYPOINTS) is None


def test_view_of_other_keypoints_is_refused():
    message = conversions.view_to_message(
        view(), ViewStatus.OK, KEYPOINTS, "cam", conversions.header(3)
    )
    with pytest.raises(DataError, match="expected"):
        conversions.view_from_message(message, KEYPOINTS[::-1])


def test_statuses_of_library_and_messages_agree():
    assert {s.name: int(s) for s in ViewStatus} == {
        name: getattr(Keypoint2DArray, name) for name in ("OK", "NO_IMAGE", "BAD_IMAGE")
    }
    assert all(int(s) == getattr(Keypoint3D, s.name) for s in Status)


def test_estimate_without_position_stays_nan():
    matrix = np.full((3, 3), np.nan)
    status = Status.TOO_FEW_VIEWS
    nan = KeypointEstimate("tail", status, matrix[0], matrix, 0.0, np.nan, 1, matrix)
    message = conversions.estimate_to_message(nan, 1_500_000_000)
    assert message.status == Keypoint3D.TOO_FEW_VIEWS
    assert np.isnan([message.position.x, *message.covariance, message.reprojection_error]).all()
    assert (message.age.sec, message.age.nanosec) == (1, 500_000_000)


def test_model_message_tells_names_and_skeleton():
    message = conversions.model_to_message("blobs", description(), 7)
    assert list(message.names) == list(KEYPOINTS)
    assert list(message.skeleton) == [0, 1, 0, 2, 0, 3, 0, 4]
    assert list(message.input_size) == [120, 160, 128, 128]
