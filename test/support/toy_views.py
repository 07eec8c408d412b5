"""Virtual cameras around the origin, for tests of losses and pseudo-labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from s3k_ros.training.method.multiview import VirtualCameras


def ring(
    angles: Sequence[float],
    focal: float,
    size: int,
    radius: float = 0.7,
    height: float = 0.8,
    dtype: torch.dtype = torch.float32,
) -> VirtualCameras:
    """One sample's cameras on a circle that look at the origin; size x size cells."""
    matrices, centres = [], []
    for angle in angles:
        eye = np.array([radius * np.cos(angle), radius * np.sin(angle), height])
        z = -eye / np.linalg.norm(eye)
        x = np.cross(z, [0, 0, 1.0])
        x /= np.linalg.norm(x)
        middle = (size - 1) / 2
        intrinsics = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
        matrices.append(intrinsics @ np.stack([x, np.cross(z, x), z]))
        centres.append(eye)
    return VirtualCameras(
        torch.tensor(np.array(matrices)[None]).to(dtype),
        torch.tensor(np.array(centres)[None]).to(dtype),
    )


def repeated(cameras: VirtualCameras, samples: int) -> VirtualCameras:
    """The same cameras for several samples."""
    return VirtualCameras(
        cameras.matrix.repeat(samples, 1, 1, 1), cameras.centre.repeat(samples, 1, 1)
    )
