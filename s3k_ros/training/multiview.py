"""Multi-view geometry on torch batches: virtual cameras, rays and Eq. 2 of METHOD.md.

A virtual camera is the pinhole camera that an augmented (rotated, zoomed, cropped) view stands for.
It keeps its centre, so it is given by ``matrix`` M (pixel from ray in the base frame's axes) and
``centre`` o: pixel ~ M (x - o). Pixels here are heatmap cells; lens distortion is removed before.
Shapes: S samples, C cameras, K keypoints.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class VirtualCameras:
    """Cameras of a batch: ``matrix`` (S, C, 3, 3), ``centre`` (S, C, 3) in m, base frame."""

    matrix: Tensor
    centre: Tensor

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Cells (S, C, K, 2) of points (S, K, 3), and the mask (S, C, K) of those in front."""
        rays = points[:, None] - self.centre[:, :, None]
        pixels = torch.einsum("scij,sckj->scki", self.matrix, rays)
        depth = pixels[..., 2]
        front = depth > 1e-6
        safe = torch.where(front, depth, torch.ones_like(depth))
        return pixels[..., :2] / safe[..., None], front

    def rays(self, pixels: Tensor) -> Tensor:
        """Unit directions (S, C, ..., 3) in the base frame of cells (S, C, ..., 2)."""
        homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], -1)
        inverse = torch.linalg.inv(self.matrix)
        directions = torch.einsum("scij,sc...j->sc...i", inverse, homogeneous)
        return directions / directions.norm(dim=-1, keepdim=True)


def intersect_rays(origins: Tensor, directions: Tensor, weights: Tensor) -> Tensor:
    """Weighted least-squares intersection, Eq. 2: (sum w P)^-1 sum w P o, P = I - d d^T.

    Args:
        origins: (..., C, 3) m.
        directions: (..., C, 3) unit.
        weights: (..., C).

    Returns:
        (..., 3) m, base frame. A tiny ridge towards the origins' mean keeps parallel rays finite.
    """
    eye = torch.eye(3, dtype=origins.dtype)
    projector = eye - directions[..., :, None] * directions[..., None, :]
    weighted = weights[..., None, None] * projector
    ridge = 1e-6 * weights.sum(-1)[..., None, None] + 1e-9
    matrix = weighted.sum(-3) + ridge * eye
    mean = origins.mean(-2)
    right = torch.einsum("...cij,...cj->...i", weighted, origins - mean[..., None, :])
    return mean + torch.linalg.solve(matrix, right)


def moments(probability: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (..., 2) as (u, v) and spread s (...), cells, of maps (..., H, W) that sum to 1.

    s = sqrt(half the trace of the covariance).
    """
    height, width = probability.shape[-2:]
    u = torch.arange(width, dtype=probability.dtype)
    v = torch.arange(height, dtype=probability.dtype)
    along_u, along_v = probability.sum(-2), probability.sum(-1)
    mean_u, mean_v = (along_u * u).sum(-1), (along_v * v).sum(-1)
    variance_u = (along_u * (u - mean_u[..., None]) ** 2).sum(-1)
    variance_v = (along_v * (v - mean_v[..., None]) ** 2).sum(-1)
    spread = torch.sqrt(0.5 * (variance_u + variance_v))
    return torch.stack([mean_u, mean_v], -1), spread


def detection_weight(spread: Tensor, sigma: float, alpha: float, beta: float) -> Tensor:
    """W = 1 / (1 + (s / (alpha sigma))^beta)."""
    return 1.0 / (1.0 + (spread / (alpha * sigma)) ** beta)


def estimate_points(
    probability: Tensor, cameras: VirtualCameras, sigma: float, alpha: float, beta: float
) -> Tensor:
    """Eq. 2 from whole-map moments: maps (S, C, K, H, W) to points (S, K, 3), base frame, m."""
    mean, spread = moments(probability)
    weight = detection_weight(spread, sigma, alpha, beta)
    directions = cameras.rays(mean)
    origins = cameras.centre[:, :, None].expand_as(directions)
    return intersect_rays(
        origins.transpose(1, 2), directions.transpose(1, 2), weight.transpose(1, 2)
    )
