"""Rigs of calibrated cameras."""

from __future__ import annotations

import numpy as np

from s3k_ros.geometry.camera import Camera, look_at

BARREL = (-0.11, 0.02, 0.001, -0.0008, -0.002)
RATIONAL = (0.31, -0.02, 0.0007, -0.0005, 0.002, 0.42, 0.03, 0.002)
LENSES = {
    "ideal": ("plumb_bob", (0.0, 0.0, 0.0, 0.0, 0.0)),
    "plumb_bob": ("plumb_bob", BARREL),
    "rational_polynomial": ("rational_polynomial", RATIONAL),
}


def make_rig(lens: str = "ideal", count: int = 4) -> list[Camera]:
    """Cameras 1 m around (0.6, 0, 0), looking down at it; 640 x 480 at f = 393.5 px."""
    model, distortion = LENSES[lens]
    matrix = np.array([[393.5, 0.0, 319.5], [0.0, 393.5, 239.5], [0.0, 0.0, 1.0]])
    cameras = []
    for i in range(count):
        angle = 2.0 * np.pi * (i + 0.5) / count
        eye = [0.6 + 0.75 * np.cos(angle), 0.75 * np.sin(angle), 0.7 + 0.05 * i]
        pose = look_at(eye, [0.6, 0.0, 0.0])
        cameras.append(Camera(f"cam{i}", 640, 480, matrix, model, np.array(distortion), pose))
    return cameras
