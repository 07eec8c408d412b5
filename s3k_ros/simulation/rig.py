"""The four cameras of the simulated cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from s3k_ros.geometry.camera import Camera, look_at
from s3k_ros.simulation.cell import WORKSPACE_CENTRE_M

SCENE_VIEW = "scene"
CAMERA_NAMES = ("front_left", "front_right", "rear_left", "rear_right")

FOCAL_LENGTH_PX_PER_WIDTH = 787.0 / 1280.0
"""Focal length of the daA1280-54ucm's lens (787 px at 1280 px), per pixel of image width."""
ASPECT = 960.0 / 1280.0

# Azimuth (about z at the workspace's centre, from +x, away from the robot), elevation and distance.
# The rear pair stands wide and steep, so that the arm, drawn back, is not in its way.
_MOUNTS = {
    "front_left": (38.0, 46.0, 1.02),
    "front_right": (-42.0, 50.0, 1.00),
    "rear_left": (118.0, 53.0, 1.05),
    "rear_right": (-122.0, 50.0, 1.03),
}


def demo_rig(width: int = 640) -> tuple[Camera, ...]:
    """The cell's cameras at an image width.

    Args:
        width: image width in px; the height is 3/4 of it.

    Returns:
        Four cameras without distortion, principal point in the image's middle, in ``base``.
    """
    return tuple(_camera(name, width) for name in CAMERA_NAMES)


def scene_view(width: int = 640) -> Camera:
    """A camera that sees the whole cell, for people."""
    return _pinhole(SCENE_VIEW, width, (1.40, -0.90, 0.62), (0.45, 0.0, 0.05))


def _camera(name: str, width: int) -> Camera:
    azimuth, elevation = np.radians(_MOUNTS[name][:2])
    flat = np.cos(elevation)
    direction = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])
    target = np.array(WORKSPACE_CENTRE_M)
    return _pinhole(name, width, target + _MOUNTS[name][2] * direction, target)


def _pinhole(name: str, width: int, eye: ArrayLike, target: ArrayLike) -> Camera:
    height = round(width * ASPECT)
    focal = FOCAL_LENGTH_PX_PER_WIDTH * width
    # Pixel centres lie at integers, so the image's middle is half a pixel short of half its size.
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    return Camera(
        name=name,
        width=width,
        height=height,
        matrix=matrix,
        distortion_model="plumb_bob",
        distortion=np.zeros(5),
        base_from_camera=look_at(eye, target),
    )
