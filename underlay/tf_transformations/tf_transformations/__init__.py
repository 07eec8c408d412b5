"""Stand-in for upstream's tf_transformations: quaternions xyzw, homogeneous 4x4 matrices."""

import numpy as np
import transforms3d

__all__ = [
    "euler_from_quaternion",
    "quaternion_from_euler",
    "quaternion_from_matrix",
    "quaternion_matrix",
    "quaternion_multiply",
]


def _wxyz(quaternion):
    x, y, z, w = quaternion
    return w, x, y, z


def _xyzw(quaternion):
    w, x, y, z = quaternion
    return x, y, z, w


def quaternion_matrix(quaternion):
    """The 4x4 rotation matrix of a quaternion."""
    matrix = np.identity(4)
    matrix[:3, :3] = transforms3d.quaternions.quat2mat(_wxyz(quaternion))
    return matrix


def quaternion_from_matrix(matrix):
    """The quaternion of a 4x4 matrix without scale or shear, as upstream with w >= 0."""
    return _xyzw(transforms3d.quaternions.mat2quat(np.asarray(matrix)[:3, :3]))


def quaternion_multiply(quaternion1, quaternion0):
    """The rotation quaternion0 followed by quaternion1."""
    return _xyzw(transforms3d.quaternions.qmult(_wxyz(quaternion1), _wxyz(quaternion0)))


def quaternion_from_euler(ai, aj, ak, axes="sxyz"):
    """Roll, pitch, yaw about the fixed axes (or another sequence) as a quaternion."""
    return _xyzw(transforms3d.euler.euler2quat(ai, aj, ak, axes=axes))


def euler_from_quaternion(quaternion, axes="sxyz"):
    """The angles of that sequence."""
    return transforms3d.euler.mat2euler(quaternion_matrix(quaternion), axes=axes)
