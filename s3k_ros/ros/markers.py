"""3D keypoints as RViz markers and as a point cloud."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from sensor_msgs_py import point_cloud2
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from s3k_ros.geometry.se3 import Transform
from s3k_ros.msg import Keypoint3D, Keypoint3DArray
from s3k_ros.perception.drawing import palette
from s3k_ros.ros.conversions import nanoseconds, transform_to_message

_VALID = (Keypoint3D.OK, Keypoint3D.PREDICTED)
# 95 % quantile of the chi-squared distribution with 3 degrees of freedom.
_CHI2_3_95 = 7.815
# What nobody renews vanishes: a model's last markers, or those of a node that has died.
_LIFETIME = Duration(sec=2)
# Opacity of an ellipsoid.
_SEEN, _PREDICTED = 0.5, 0.2
# Metres: thinner ellipsoids cannot be seen.
_MIN_AXIS_M = 0.002
_TEXT_HEIGHT_M = 0.02
_LINE_WIDTH_M = 0.003

_CLOUD_FIELDS = [
    PointField(name=name, offset=4 * i, datatype=datatype, count=1)
    for i, (name, datatype) in enumerate(
        [
            ("x", PointField.FLOAT32),
            ("y", PointField.FLOAT32),
            ("z", PointField.FLOAT32),
            ("confidence", PointField.FLOAT32),
            ("index", PointField.UINT32),
        ]
    )
]


def keypoint_markers(
    message: Keypoint3DArray, skeleton: Sequence[tuple[int, int]] = ()
) -> MarkerArray:
    """An ellipsoid (95 %) and a name for every keypoint with a position, and the skeleton.

    Namespaces ``uncertainty`` and ``name`` (id: the keypoint's index), and ``skeleton``. A keypoint
    that is predicted is paler, and its name tells the age. One without a position deletes its
    markers.
    """
    markers = []
    for k, keypoint in enumerate(message.keypoints):
        ellipsoid = _marker(message.header, "uncertainty", k, Marker.SPHERE)
        text = _marker(message.header, "name", k, Marker.TEXT_VIEW_FACING)
        if keypoint.status in _VALID:
            predicted = keypoint.status == Keypoint3D.PREDICTED
            _fill_ellipsoid(ellipsoid, keypoint, _colour(k, _PREDICTED if predicted else _SEEN))
            _fill_text(text, keypoint, _colour(k, 1.0))
        else:
            ellipsoid.action = text.action = Marker.DELETE
        markers += [ellipsoid, text]
    return MarkerArray(markers=[*markers, _skeleton(message, skeleton)])


def keypoint_cloud(message: Keypoint3DArray) -> PointCloud2:
    """The keypoints with a position: x, y, z in m, confidence, and index into the names."""
    points = [
        (k.position.x, k.position.y, k.position.z, k.confidence, index)
        for index, k in enumerate(message.keypoints)
        if k.status in _VALID
    ]
    return point_cloud2.create_cloud(message.header, _CLOUD_FIELDS, points)


def _marker(header: Header, namespace: str, index: int, kind: int) -> Marker:
    return Marker(
        header=header, ns=namespace, id=index, type=kind, action=Marker.ADD, lifetime=_LIFETIME
    )


def _fill_ellipsoid(marker: Marker, keypoint: Keypoint3D, colour: ColorRGBA) -> None:
    variances, axes = np.linalg.eigh(np.array(keypoint.covariance).reshape(3, 3))
    lengths = 2.0 * np.sqrt(_CHI2_3_95 * np.maximum(variances, 0.0))
    x, y, z = map(float, np.maximum(lengths, _MIN_AXIS_M))
    marker.pose = Pose(position=keypoint.position, orientation=_orientation(axes))
    marker.scale = Vector3(x=x, y=y, z=z)
    marker.color = colour


def _orientation(axes: NDArray[np.float64]) -> Quaternion:
    if np.linalg.det(axes) < 0:
        axes = axes * [1.0, 1.0, -1.0]
    return transform_to_message(Transform(axes, np.zeros(3))).rotation


def _fill_text(marker: Marker, keypoint: Keypoint3D, colour: ColorRGBA) -> None:
    p = keypoint.position
    marker.pose.position = Point(x=p.x, y=p.y, z=p.z + 1.5 * _TEXT_HEIGHT_M)
    marker.scale.z = _TEXT_HEIGHT_M
    marker.color = colour
    marker.text = f"{keypoint.name} {keypoint.confidence:.2f}"
    if keypoint.status == Keypoint3D.PREDICTED:
        marker.text += f" predicted {1e-9 * nanoseconds(keypoint.age):.1f} s"


def _skeleton(message: Keypoint3DArray, pairs: Sequence[tuple[int, int]]) -> Marker:
    marker = _marker(message.header, "skeleton", 0, Marker.LINE_LIST)
    keypoints = message.keypoints
    lines = [pair for pair in pairs if all(keypoints[i].status in _VALID for i in pair)]
    if not lines:
        marker.action = Marker.DELETE
        return marker
    marker.pose.orientation.w = 1.0
    marker.scale.x = _LINE_WIDTH_M
    marker.color = ColorRGBA(r=0.8, g=0.8, b=0.8, a=0.8)
    marker.points = [keypoints[i].position for pair in lines for i in pair]
    return marker


def _colour(index: int, alpha: float) -> ColorRGBA:
    blue, green, red = (channel / 255.0 for channel in palette(index))
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)
