"""Cameras whose calibration is wrong by a known amount."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from s3k_ros.geometry.camera import Camera
from s3k_ros.geometry.se3 import Transform
from s3k_ros.geometry.triangulation import triangulate
from s3k_ros.simulation.cell import WORKSPACE_CENTRE_M

Array = NDArray[np.float64]

# Where the error is measured: over the part of the table where objects lie.
_HALF_M = (0.15, 0.25, 0.05)
_SCALINGS = 3


def miscalibrated(
    cameras: Sequence[Camera], rms_m: float, rng: np.random.Generator
) -> tuple[Camera, ...]:
    """The cameras with wrong poses: each one's own error, and one that all of them share.

    The errors are random rotations and shifts, scaled so that points of the workspace, triangulated
    from perfect pixels, are off by ``rms_m`` (root of the mean square of the distances).
    """
    centre = np.array(WORKSPACE_CENTRE_M)
    errors = rng.normal(0.0, 1.0, (len(cameras) + 1, 2, 3))  # the last one is shared
    points = centre + (np.mgrid[-1:2, -1:2, -1:2].reshape(3, -1).T * _HALF_M)
    pixels = np.array([camera.project(points) for camera in cameras])
    scale, wrong = rms_m, tuple(cameras)
    for _ in range(_SCALINGS):
        wrong = tuple(
            _moved(_moved(camera, scale * own, camera.centre), scale * errors[-1], centre)
            for camera, own in zip(cameras, errors, strict=False)
        )
        found = triangulate(wrong, pixels, np.broadcast_to(np.eye(2), (*pixels.shape, 2))).points
        off = float(np.sqrt(((found - points) ** 2).sum(axis=1).mean()))
        scale *= rms_m / off
    return wrong


def _moved(camera: Camera, error: Array, about: Array) -> Camera:
    """The camera turned by error[0] (rad) about a point (3,) and shifted by error[1] (m)."""
    turn = _rotation(error[0])
    pose = camera.base_from_camera
    moved = Transform(turn @ pose.rotation, turn @ (pose.translation - about) + about + error[1])
    return dataclasses.replace(camera, base_from_camera=moved)


def _rotation(vector: Array) -> Array:
    """Rotation by a vector, rad (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn: Array = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return turn
