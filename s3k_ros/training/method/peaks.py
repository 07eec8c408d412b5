"""Peaks of probability maps, and moments of windows around cells."""

from __future__ import annotations

import torch
from torch import Tensor


def find_peaks(probability: Tensor, count: int, sigma: float) -> tuple[Tensor, Tensor]:
    """The strongest peaks: cells (S, V, K, P, 2) and the mass (S, V, K, P) around each.

    A peak is the highest cell outside the windows of the peaks before it. Maps (S, V, K, H, W).
    """
    shape = probability.shape
    maps = probability.flatten(0, 2)
    left = maps.clone()
    radius = max(1, round(2 * sigma))
    cells, masses = [], []
    for place in range(count):
        # The highest row, then its highest cell: several times faster than one search.
        v = left.amax(2).argmax(1)
        row = left.gather(1, v[:, None, None].expand(-1, 1, shape[-1]))[:, 0]
        value, u = row.max(1)
        centre = torch.stack([u, v], -1).to(maps.dtype)
        mean, _, mass = window_moments(maps, centre, radius)
        cells.append(mean)
        masses.append(torch.where(value > 0, mass, torch.zeros_like(mass)))
        if place + 1 < count:
            index, _ = _window(shape[-2:], centre, radius + max(1, round(sigma)))
            left.flatten(1).scatter_(1, index, 0.0)
    return (
        torch.stack(cells, 1).view(*shape[:3], count, 2),
        torch.stack(masses, 1).view(*shape[:3], count),
    )


def window_moments(maps: Tensor, centres: Tensor, radius: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (..., 2), spread (...) and mass (...) of maps (..., H, W) in windows around cells.

    Windows are cut at the border; an empty one has mass 0 and a meaningless but finite mean.
    """
    index, inside = _window(maps.shape[-2:], centres, radius)
    local = maps.flatten(-2).gather(-1, index) * inside
    mass = local.sum(-1)
    share = local / mass.clamp(min=1e-9)[..., None]
    u = (index % maps.shape[-1]).to(maps.dtype)
    v = torch.div(index, maps.shape[-1], rounding_mode="floor").to(maps.dtype)
    mean_u, mean_v = (share * u).sum(-1), (share * v).sum(-1)
    variance = (share * ((u - mean_u[..., None]) ** 2 + (v - mean_v[..., None]) ** 2)).sum(-1)
    return torch.stack([mean_u, mean_v], -1), torch.sqrt(0.5 * variance), mass


def _window(size: torch.Size, centres: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Flat indices (..., (2 r + 1)^2) of windows, and the mask of those on the map."""
    height, width = size
    centres = torch.nan_to_num(centres, nan=-1e6).clamp(-1e6, 1e6)
    offsets = torch.arange(-radius, radius + 1, device=centres.device)
    u = centres[..., 0:1].round().long() + offsets
    v = centres[..., 1:2].round().long() + offsets
    on_u, on_v = (u >= 0) & (u < width), (v >= 0) & (v < height)
    index = v.clamp(0, height - 1)[..., :, None] * width + u.clamp(0, width - 1)[..., None, :]
    return index.flatten(-2), (on_v[..., :, None] & on_u[..., None, :]).flatten(-2)
