from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import chdtri
from sensor_msgs_py import point_cloud2
from visualization_msgs.msg import Marker

from s3k_ros.geometry.se3 import Transform
from s3k_ros.msg import Keypoint3D, Keypoint3DArray
from s3k_ros.ros import conversions, markers


def array(*statuses):
    nan = float("nan")
    keypoints = []
    for i, status in enumerate(statuses):
        good = status == Keypoint3D.OK
        covariance = np.diag([1e-4, 4e-4, 9e-4]) if good else np.full((3, 3), nan)
        position = Point(x=0.1 * i, y=0.2, z=0.3) if good else Point(x=nan, y=nan, z=nan)
        keypoints.append(
            Keypoint3D(
                name=f"k{i}",
                status=status,
                position=position,
                covariance=covariance.ravel(),
                confidence=0.5,
            )
        )
    return Keypoint3DArray(header=conversions.header(1, "base"), keypoints=keypoints)


def test_ellipsoid_holds_95_percent():
    marker = markers.keypoint_markers(array(Keypoint3D.OK)).markers[0]
    scale = sorted([marker.scale.x, marker.scale.y, marker.scale.z])
    # Radius sqrt(7.815) sigma; the marker's scale is the diameter.
    assert np.allclose(scale, 2 * np.sqrt(7.815) * np.array([0.01, 0.02, 0.03]), rtol=1e-6)
    q = marker.pose.orientation
    assert np.isclose(q.x**2 + q.y**2 + q.z**2 + q.w**2, 1.0)


@given(st.integers(0, 2**32 - 1))
def test_ellipsoid_is_that_of_the_covariance_whichever_way_it_lies(seed):
    """Axes, lengths and rotation of the marker give the covariance back."""
    spread = 0.02 * np.random.default_rng(seed).normal(size=(3, 3))
    covariance = spread @ spread.T + 1e-6 * np.eye(3)  # no axis thinner than what is drawn
    message = array(Keypoint3D.OK)
    message.keypoints[0].covariance = covariance.ravel()
    marker = markers.keypoint_markers(message).markers[0]
    q, s = marker.pose.orientation, marker.scale
    rotation = Transform.from_quaternion([q.x, q.y, q.z, q.w], np.zeros(3)).rotation
    assert np.isclose(np.linalg.det(rotation), 1.0)
    radii = np.array([s.x, s.y, s.z]) / 2
    drawn = rotation @ np.diag(radii**2 / chdtri(3, 0.05)) @ rotation.T
    np.testing.assert_allclose(drawn, covariance, rtol=1e-3, atol=1e-3 * covariance.max())


def test_predicted_keypoint_is_paler_and_tells_its_age():
    seen, predicted = array(Keypoint3D.OK), array(Keypoint3D.OK)
    predicted.keypoints[0].status = Keypoint3D.PREDICTED
    predicted.keypoints[0].age = conversions.duration_message(1_230_000_000)
    bright, pale = (markers.keypoint_markers(m).markers for m in (seen, predicted))
    assert pale[0].color.a < bright[0].color.a
    assert (bright[1].text, pale[1].text) == ("k0 0.50", "k0 0.50 predicted 1.2 s")


def test_markers_that_nobody_renews_vanish():
    """A model with fewer keypoints leaves no markers behind, nor does a node that has died."""
    found = markers.keypoint_markers(array(Keypoint3D.OK, Keypoint3D.OK), [(0, 1)]).markers
    assert len(found) == 5
    assert all(conversions.nanoseconds(m.lifetime) > 0 for m in found)
    assert {m.header.frame_id for m in found} == {"base"}


def test_keypoint_without_position_deletes_its_markers():
    message = array(Keypoint3D.OK, Keypoint3D.TOO_FEW_VIEWS)
    found = markers.keypoint_markers(message, [(0, 1)]).markers
    actions = {(m.ns, m.id): m.action for m in found}
    assert actions[("uncertainty", 0)] == Marker.ADD
    assert actions[("uncertainty", 1)] == actions[("name", 1)] == Marker.DELETE
    assert actions[("skeleton", 0)] == Marker.DELETE  # its only line lacks an end


def test_cloud_holds_only_positions():
    cloud = markers.keypoint_cloud(array(Keypoint3D.OK, Keypoint3D.LOW_CONFIDENCE, Keypoint3D.OK))
    points = point_cloud2.read_points(cloud)
    assert cloud.header.frame_id == "base"
    assert list(points["index"]) == [0, 2]
    assert np.allclose(points["x"], [0.0, 0.2])
