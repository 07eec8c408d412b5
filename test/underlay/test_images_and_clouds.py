"""cv_bridge, sensor_msgs_py and tf_transformations, as far as s3k_ros uses them.

Passes unchanged against upstream's packages (see conftest.py).
"""

import time

import cv2
import numpy as np
import pytest
from cv_bridge import CvBridge, CvBridgeError
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image, PointField
from sensor_msgs_py import point_cloud2
from std_msgs.msg import Header
from tf_transformations import (
    euler_from_quaternion,
    quaternion_from_euler,
    quaternion_from_matrix,
    quaternion_matrix,
    quaternion_multiply,
)


@pytest.fixture
def bridge():
    return CvBridge()


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 255, shape).astype(dtype)


@pytest.mark.parametrize(
    ("image", "encoding"),
    [
        (noise(5, 7, 3), "bgr8"),
        (noise(5, 7, 3), "rgb8"),
        (noise(5, 7), "mono8"),
        (noise(5, 7), "bayer_rggb8"),
        (noise(5, 7, dtype=np.uint16), "mono16"),
        (noise(5, 7, dtype=np.float32), "32FC1"),
        (noise(5, 7, 3), "8UC3"),
    ],
)
def test_an_image_comes_back_as_it_went(bridge, image, encoding):
    message = bridge.cv2_to_imgmsg(image, encoding=encoding)
    assert (message.height, message.width, message.encoding) == (5, 7, encoding)
    assert message.step == image[0].nbytes and not message.is_bigendian
    back = bridge.imgmsg_to_cv2(message)
    assert back.dtype == image.dtype
    np.testing.assert_array_equal(back, image)


def test_passthrough_names_the_type_itself(bridge):
    assert bridge.cv2_to_imgmsg(noise(4, 4, 3)).encoding == "8UC3"
    assert bridge.cv2_to_imgmsg(noise(4, 4)).encoding == "8UC1"


def test_the_header_is_taken_over(bridge):
    header = Header(frame_id="camera_optical")
    assert bridge.cv2_to_imgmsg(noise(4, 4), "mono8", header).header.frame_id == "camera_optical"


def test_channels_are_swapped_on_request(bridge):
    image = noise(5, 7, 3)
    message = bridge.cv2_to_imgmsg(image, "rgb8")
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message, "bgr8"), image[..., ::-1])
    np.testing.assert_array_equal(
        bridge.imgmsg_to_cv2(message, "mono8"), cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    )


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_images_become_the_colours_they_were_taken_of(bridge, pattern):
    blue_green_red = (40, 120, 200)
    mosaic = np.empty((16, 16), np.uint8)
    for index, letter in enumerate(pattern):
        mosaic[index // 2 :: 2, index % 2 :: 2] = blue_green_red["bgr".index(letter)]
    message = bridge.cv2_to_imgmsg(mosaic, f"bayer_{pattern}8")
    colour = bridge.imgmsg_to_cv2(message, "bgr8")
    np.testing.assert_array_equal(colour[8, 8], blue_green_red)


def test_padding_at_the_end_of_rows_is_left_out(bridge):
    message = Image(height=2, width=2, encoding="mono8", step=4)
    message.data = bytes([1, 2, 99, 99, 3, 4, 99, 99])
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message), [[1, 2], [3, 4]])


def test_big_endian_images_are_turned_round(bridge):
    message = Image(height=1, width=2, encoding="mono16", step=4, is_bigendian=1)
    message.data = bytes([1, 0, 0, 2])
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message), [[256, 2]])


def test_what_cannot_be_is_refused(bridge):
    with pytest.raises(CvBridgeError):
        bridge.cv2_to_imgmsg(noise(4, 4), "bgr8")
    with pytest.raises(TypeError):
        bridge.cv2_to_imgmsg([[1]], "mono8")
    with pytest.raises(CvBridgeError):
        bridge.imgmsg_to_cv2(Image(height=1, width=1, step=1, encoding="nonsense", data=b"0"))
    with pytest.raises((TypeError, ValueError)):
        bridge.imgmsg_to_cv2(Image(height=9, width=9, step=9, encoding="mono8", data=b"0"))


def test_a_set_of_four_images_takes_tens_of_milliseconds_at_most(bridge):
    images = [noise(960, 1280, 3) for _ in range(4)]
    durations = []
    for _ in range(5):
        started = time.perf_counter()
        for image in images:
            bridge.cv2_to_imgmsg(image, "bgr8")
        durations.append(time.perf_counter() - started)
    # Element by element, as the plain setter does it, each set takes 630 ms.
    assert min(durations) < 0.3


def test_a_cloud_of_xyz_comes_back_as_it_went():
    points = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    cloud = point_cloud2.create_cloud_xyz32(Header(frame_id="base"), points)
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 6, 12, 72)
    assert cloud.header.frame_id == "base" and [f.name for f in cloud.fields] == ["x", "y", "z"]
    back = point_cloud2.read_points(cloud)
    np.testing.assert_array_equal(np.stack([back[name] for name in "xyz"], axis=1), points)


def test_a_cloud_takes_fields_of_several_types():
    fields = [
        PointField(name="x", offset=0, datatype=PointField.FLOAT32, count=1),
        PointField(name="id", offset=4, datatype=PointField.UINT32, count=1),
    ]
    cloud = point_cloud2.create_cloud(Header(), fields, [(0.5, 7), (1.5, 8)])
    back = point_cloud2.read_points(cloud, field_names=["id"])
    assert back["id"].tolist() == [7, 8]


def test_points_with_nan_are_left_out_on_request():
    cloud = point_cloud2.create_cloud_xyz32(Header(), [(1, 2, 3), (float("nan"), 0, 0)])
    assert len(point_cloud2.read_points(cloud)) == 2
    assert len(point_cloud2.read_points(cloud, skip_nans=True)) == 1


def test_quaternions_are_xyzw_and_agree_with_scipy():
    rotation = Rotation.from_euler("xyz", [0.1, -0.4, 1.2])
    x, y, z, w = quaternion = rotation.as_quat()
    assert w > 0
    np.testing.assert_allclose(quaternion_matrix((x, y, z, w))[:3, :3], rotation.as_matrix())
    matrix = np.identity(4)
    matrix[:3, :3] = rotation.as_matrix()
    np.testing.assert_allclose(quaternion_from_matrix(matrix), quaternion, atol=1e-12)
    np.testing.assert_allclose(quaternion_from_euler(0.1, -0.4, 1.2), quaternion)
    np.testing.assert_allclose(euler_from_quaternion(quaternion), [0.1, -0.4, 1.2])
    other = Rotation.from_euler("z", 0.5)
    np.testing.assert_allclose(
        quaternion_multiply(quaternion, other.as_quat()), (rotation * other).as_quat()
    )
