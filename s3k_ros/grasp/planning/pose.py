"""Where and how the hand stands at the grasp."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s3k_ros.geometry.se3 import Transform

Array = NDArray[np.float64]

# Two keypoints closer than this, seen along the approach, set no yaw: noise would choose it.
_MIN_LINE_M = 0.004
# Orientations tried when nothing sets the yaw, over the half turn that a parallel gripper needs.
_FREE_YAWS = 8
# 95 % quantile of chi-squared with three degrees of freedom.
CHI2_95_3 = 7.815


def hand_rotations(approach: ArrayLike, line: ArrayLike | None) -> list[Array]:
    """Orientations of the tool centre point that serve a grasp.

    The frame has z along the approach and y along the closing jaws. The jaws close across the
    line, so y is normal to both; a parallel gripper turned by half a turn about z is the same.

    Args:
        approach: (3,) direction of motion, any length, base frame.
        line: (3,) from ``toward_keypoint`` to the keypoint, base frame; None: the yaw is free.

    Returns:
        (3, 3) rotations: two when the line sets the yaw, else evenly spread over a full turn.
    """
    z = np.asarray(approach, float) / np.linalg.norm(approach)
    along = None if line is None else _across(np.asarray(line, float), z)
    if along is not None and np.linalg.norm(along) >= _MIN_LINE_M:
        y = np.cross(z, along / np.linalg.norm(along))
        return [_frame(y, z), _frame(-y, z)]
    helper = np.eye(3)[int(np.argmin(np.abs(z)))]
    u = _across(helper, z)
    u /= np.linalg.norm(u)
    v = np.cross(z, u)
    angles = np.arange(2 * _FREE_YAWS) * np.pi / _FREE_YAWS
    return [_frame(np.cos(angle) * u + np.sin(angle) * v, z) for angle in angles]


def tilted(rotation: ArrayLike, tilt: float) -> list[Array]:
    """A hand's orientation, (3, 3), tilted by an angle in rad: about the jaws' axis, and across it.

    The approach tilts with it, since the hand moves along its own z.
    """
    hand, c, s = np.asarray(rotation, float), np.cos(tilt), np.sin(tilt)
    if tilt == 0.0:
        return [hand]
    about_jaws = np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    across = np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
    return [hand @ about_jaws, hand @ across]


def yaw_is_set(approach: ArrayLike, line: ArrayLike | None) -> bool:
    """Whether a line between keypoints, seen along the approach, is long enough to set the yaw."""
    if line is None:
        return False
    z = np.asarray(approach, float) / np.linalg.norm(approach)
    return bool(np.linalg.norm(_across(np.asarray(line, float), z)) >= _MIN_LINE_M)


def grasp_point(
    keypoint: ArrayLike, offset: ArrayLike, approach: ArrayLike, lowest: float
) -> Array:
    """The tool centre point's position at the grasp, (3,) m in the base frame.

    It is the keypoint plus the offset; if that is lower than ``lowest``, the hand stops earlier on
    its way in, or stands higher when the way in does not come from above.
    """
    point: Array = np.asarray(keypoint, float) + np.asarray(offset, float)
    missing = lowest - point[2]
    if missing <= 0.0:
        return point
    z = np.asarray(approach, float) / np.linalg.norm(approach)
    if z[2] < -0.5:
        lifted: Array = point + z * (missing / z[2])
        return lifted
    raised: Array = point + np.array([0.0, 0.0, missing])
    return raised


def uncertain_width(covariance: ArrayLike, closing: ArrayLike) -> float:
    """Extent in m of the 95 % ellipsoid along a direction."""
    y = np.asarray(closing, float)
    variance = float(y @ np.asarray(covariance, float).reshape(3, 3) @ y)
    return 2.0 * float(np.sqrt(CHI2_95_3 * max(variance, 0.0)))


def straight_line(
    start: Transform, direction: ArrayLike, distance: float, step: float
) -> list[Transform]:
    """Poses along a direction, both ends included, evenly spaced by at most ``step`` m."""
    unit = np.asarray(direction, float) / np.linalg.norm(direction)
    count = max(2, int(np.ceil(distance / step)) + 1)
    return [
        Transform(start.rotation, start.translation + unit * d)
        for d in np.linspace(0.0, distance, count)
    ]


def _across(vector: Array, z: Array) -> Array:
    result: Array = vector - z * float(vector @ z)
    return result


def _frame(y: Array, z: Array) -> Array:
    y = y / np.linalg.norm(y)
    return np.stack([np.cross(y, z), y, z], axis=1)
