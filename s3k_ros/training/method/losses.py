"""The two losses of METHOD.md, on heatmap logits.

Normalisation: sums over cameras and keypoints, means over samples; the labelled and the unlabelled
part of a batch apart. A keypoint that projects outside an image is masked out there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from s3k_ros.training.method.multiview import VirtualCameras, estimate_points


def gaussian_targets(pixels: Tensor, height: int, width: int, sigma: float) -> Tensor:
    """Normalised Gaussians (..., H, W) of width ``sigma`` at cells ``pixels`` (..., 2)."""
    along_v, along_u = _gaussian_factors(pixels, height, width, sigma)
    return along_v[..., :, None] * along_u[..., None, :]


def _gaussian_factors(
    pixels: Tensor, height: int, width: int, sigma: float
) -> tuple[Tensor, Tensor]:
    """Factors (..., H) along v and (..., W) along u of the target; each sums to 1."""
    u = torch.arange(width, dtype=pixels.dtype, device=pixels.device)
    v = torch.arange(height, dtype=pixels.dtype, device=pixels.device)
    along_u = torch.softmax(-((u - pixels[..., 0:1]) ** 2) / (2 * sigma**2), -1)
    along_v = torch.softmax(-((v - pixels[..., 1:2]) ** 2) / (2 * sigma**2), -1)
    return along_v, along_u


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
    return _kl(_log_probability(logits), points, cameras, sigma, weight)


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
    log_probability = _log_probability(logits)
    with torch.no_grad():
        points = estimate_points(log_probability.exp(), cameras, sigma, alpha, beta)
    return _kl(log_probability, points, cameras, sigma, None), points


def _log_probability(logits: Tensor) -> Tensor:
    """Log of the softmax over all cells of each map (..., H, W), at least in float32."""
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    return torch.log_softmax(logits.flatten(-2), -1).view(logits.shape)


def _kl(
    log_probability: Tensor,
    points: Tensor,
    cameras: VirtualCameras,
    sigma: float,
    weight: Tensor | None,
) -> Tensor:
    points = points.detach().to(log_probability.dtype)
    known = torch.isfinite(points).all(-1)
    points = torch.where(known[..., None], points, torch.zeros_like(points))
    height, width = log_probability.shape[-2:]
    pixels, front = cameras.project(points)
    mask = (inside(pixels, front, height, width) & known[:, None]).to(log_probability.dtype)
    if weight is not None:
        mask = mask * weight.detach()[:, None]
    pixels = torch.where(mask[..., None] > 0, pixels, torch.zeros_like(pixels))
    along_v, along_u = _gaussian_factors(pixels, height, width, sigma)
    # The target is a product: its negative entropy is a sum over the factors, and the cross term
    # needs no map of its own.
    entropy = torch.special.xlogy(along_v, along_v).sum(-1)
    entropy = entropy + torch.special.xlogy(along_u, along_u).sum(-1)
    cross = ((log_probability * along_u[..., None, :]).sum(-1) * along_v).sum(-1)
    return ((entropy - cross) * mask).sum() / log_probability.shape[0]
