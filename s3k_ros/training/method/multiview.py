"""Multi-view geometry on torch batches: virtual cameras, rays and Eq. 2 of METHOD.md.

A virtual camera is the pinhole camera that an augmented (rotated, zoomed, cropped) view stands for.
It keeps its centre, so it is given by ``matrix`` M (pixel from ray in the base frame's axes) and
``centre`` o: pixel ~ M (x - o). Pixels here are heatmap cells; lens distortion is removed before.
Shapes: S samples, C cameras, K keypoints. Everything runs on the device of its inputs, and nothing
makes an accelerator wait for the host.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

_UNLIKE_DEPTHS = 1.5
"""Ratio of the farthest to the nearest camera from which Eq. 2 divides weights by depth^2."""


@dataclasses.dataclass(frozen=True)
class VirtualCameras:
    """Cameras of a batch: ``matrix`` (S, C, 3, 3), ``centre`` (S, C, 3) in m, base frame."""

    matrix: Tensor
    centre: Tensor

    def to(self, device: torch.device | str) -> VirtualCameras:
        """The same cameras on another device."""
        return VirtualCameras(self.matrix.to(device), self.centre.to(device))

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Cells (S, C, K, 2) of points (S, K, 3), and the mask (S, C, K) of those in front."""
        pixels = self._homogeneous(points)
        depth = pixels[..., 2]
        front = depth > 1e-6
        safe = torch.where(front, depth, torch.ones_like(depth))
        return pixels[..., :2] / safe[..., None], front

    def project_with_jacobian(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As ``project``, and the derivative (S, C, K, 2, 3) of the cells by the points, 1/m."""
        pixels = self._homogeneous(points)
        depth = pixels[..., 2]
        front = depth > 1e-6
        safe = torch.where(front, depth, torch.ones_like(depth))
        cells = pixels[..., :2] / safe[..., None]
        matrix = self.matrix[:, :, None]
        rows = matrix[..., :2, :] - cells[..., None] * matrix[..., 2:, :]
        return cells, front, rows / safe[..., None, None]

    def rays(self, pixels: Tensor) -> Tensor:
        """Unit directions (S, C, ..., 3) in the base frame of cells (S, C, ..., 2)."""
        homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], -1)
        directions = torch.einsum("scij,sc...j->sc...i", inverse3(self.matrix), homogeneous)
        return directions / directions.norm(dim=-1, keepdim=True)

    def _homogeneous(self, points: Tensor) -> Tensor:
        rays = points[:, None] - self.centre[:, :, None]
        return torch.einsum("scij,sckj->scki", self.matrix, rays)


def inverse3(matrix: Tensor) -> Tensor:
    """Inverse of matrices (..., 3, 3) in closed form: no factorisation, no wait for the device."""
    a, b, c = matrix.unbind(-2)
    columns = torch.stack(
        [torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], -1
    )
    determinant = (a * columns[..., 0]).sum(-1)
    return columns / determinant[..., None, None]


def intersect_rays(origins: Tensor, directions: Tensor, weights: Tensor) -> Tensor:
    """Weighted least-squares intersection, Eq. 2: (sum w P)^-1 sum w P o, P = I - d d^T.

    Args:
        origins: (..., C, 3) m.
        directions: (..., C, 3) unit.
        weights: (..., C).

    Returns:
        (..., 3) m, base frame. A tiny ridge towards the origins' mean keeps parallel rays finite.
    """
    eye = torch.eye(3, dtype=origins.dtype, device=origins.device)
    projector = eye - directions[..., :, None] * directions[..., None, :]
    weighted = weights[..., None, None] * projector
    ridge = 1e-6 * weights.sum(-1)[..., None, None] + 1e-9
    matrix = weighted.sum(-3) + ridge * eye
    mean = origins.mean(-2)
    right = (weighted @ (origins - mean[..., None, :])[..., None]).sum(-3)
    return mean + (inverse3(matrix) @ right)[..., 0]


def moments(probability: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (..., 2) as (u, v) and spread s (...), cells, of maps (..., H, W) that sum to 1.

    s = sqrt(half the trace of the covariance).
    """
    height, width = probability.shape[-2:]
    u = torch.arange(width, dtype=probability.dtype, device=probability.device)
    v = torch.arange(height, dtype=probability.dtype, device=probability.device)
    along_u, along_v = probability.sum(-2), probability.sum(-1)
    mean_u, mean_v = (along_u * u).sum(-1), (along_v * v).sum(-1)
    variance_u = (along_u * (u - mean_u[..., None]) ** 2).sum(-1)
    variance_v = (along_v * (v - mean_v[..., None]) ** 2).sum(-1)
    spread = torch.sqrt(0.5 * (variance_u + variance_v))
    return torch.stack([mean_u, mean_v], -1), spread


def detection_weight(spread: Tensor, sigma: float, alpha: float, beta: float) -> Tensor:
    """W = 1 / (1 + (s / (alpha sigma))^beta)."""
    return 1.0 / (1.0 + (spread / (alpha * sigma)) ** beta)


def triangulate(cameras: VirtualCameras, cells: Tensor, weight: Tensor) -> Tensor:
    """Eq. 2 for cells (S, C, K, 2) with weights (S, C, K): points (S, K, 3), base frame, m.

    The weights are divided by depth^2 where the cameras' distances differ much: the same error in
    cells is a larger one in metres farther away.
    """
    directions = cameras.rays(cells).transpose(1, 2)
    origins = cameras.centre[:, None].expand_as(directions)
    weight = weight.transpose(1, 2)
    points = intersect_rays(origins, directions, weight)
    depth = (points[..., None, :] - origins).norm(dim=-1).clamp(min=1e-3)
    relative = depth / depth.amin(-1, keepdim=True)
    again = intersect_rays(origins, directions, weight / relative**2)
    return torch.where(relative.amax(-1, keepdim=True) > _UNLIKE_DEPTHS, again, points)


def estimate_points(
    probability: Tensor, cameras: VirtualCameras, sigma: float, alpha: float, beta: float
) -> Tensor:
    """Eq. 2 from whole-map moments: maps (S, C, K, H, W) to points (S, K, 3), base frame, m."""
    mean, spread = moments(probability)
    return triangulate(cameras, mean, detection_weight(spread, sigma, alpha, beta))
