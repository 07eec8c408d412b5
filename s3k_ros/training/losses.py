"""The two losses of METHOD.md, on heatmap logits.

Normalisation: sums over cameras and keypoints, means over samples; the labelled and the unlabelled
part of a batch apart. A keypoint that projects outside an image is masked out there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from s3k_ros.training.multiview import VirtualCameras, estimate_points


def gaussian_targets(pixels: Tensor, height: int, width: int, sigma: float) -> Tensor:
    """Normalised Gaussians (..., H, W) of width ``sigma`` at cells ``pixels`` (..., 2)."""
    u = torch.arange(width, dtype=pixels.dtype)
    v = torch.arange(height, dtype=pixels.dtype)
    along_u = torch.softmax(-((u - pixels[..., 0:1]) ** 2) / (2 * sigma**2), -1)
    along_v = torch.softmax(-((v - pixels[..., 1:2]) ** 2) / (2 * sigma**2), -1)
    return along_v[..., :, None] * along_u[..., None, :]


def inside(pixels: Tensor, front: Tensor, height: int, width: int) -> Tensor:
    """Mask (...) of cells that lie on the map and in front of their camera."""
    u, v = pixels[..., 0], pixels[..., 1]
    return front & (u >= -0.5) & (u <= width - 0.5) & (v >= -0.5) & (v <= height - 0.5)


def projected_kl(
    logits: Tensor,
    points: Tensor,
    cameras: VirtualCameras,
    sigma: float,
    weight: Tensor | None = None,
) -> Tensor:
    """Sum over c, k of KL(Gaussian at the projected point, softmax of logits), mean over samples.

    Args:
        logits: (S, C, K, H, W).
        points: (S, K, 3) m, base frame; NaN: unknown, masked out. Never differentiated.
        cameras: the virtual cameras the views were taken with.
        sigma: width of the target, cells.
        weight: optional (S, K), for instance a gate.
    """
    points = points.detach()
    known = torch.isfinite(points).all(-1)
    points = torch.where(known[..., None], points, torch.zeros_like(points))
    height, width = logits.shape[-2:]
    pixels, front = cameras.project(points)
    mask = (inside(pixels, front, height, width) & known[:, None]).to(logits.dtype)
    if weight is not None:
        mask = mask * weight.detach()[:, None]
    pixels = torch.where(mask[..., None] > 0, pixels, torch.zeros_like(pixels))
    target = gaussian_targets(pixels, height, width, sigma)
    entropy = torch.special.xlogy(target, target).flatten(-2).sum(-1)
    log_probability = torch.log_softmax(logits.flatten(-2), -1)
    cross = (target.flatten(-2) * log_probability).sum(-1)
    return ((entropy - cross) * mask).sum() / logits.shape[0]


def supervised_loss(
    logits: Tensor, points: Tensor, cameras: VirtualCameras, sigma: float
) -> Tensor:
    """L_sup: targets are the triangulated clicks, reprojected into **all** cameras."""
    return projected_kl(logits, points, cameras, sigma)


def self_supervised_loss(
    logits: Tensor, cameras: VirtualCameras, sigma: float, alpha: float, beta: float
) -> tuple[Tensor, Tensor]:
    """L_self as stated: ghat from the network's own 3D estimate, no gradient through it.

    Returns:
        the loss and the estimate x_k (S, K, 3).
    """
    with torch.no_grad():
        shape = logits.shape
        probability = torch.softmax(logits.detach().flatten(-2), -1).view(shape)
        points = estimate_points(probability, cameras, sigma, alpha, beta)
    return projected_kl(logits, points, cameras, sigma), points
