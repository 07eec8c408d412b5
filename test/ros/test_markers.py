from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point
from sensor_msgs_py import point_cloud2
from visualization_msgs.msg import Marker

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
