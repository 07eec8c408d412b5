"""Pseudo-labels gated in 3D: several peaks a view, one joint hypothesis for all keypoints.

1. Each map offers a few peaks. Every pair of peaks in two cameras gives a 3D candidate; the score
   of a candidate is the probability mass that all views show near its projection.
2. A beam search picks one candidate (or none) a keypoint, so that scores are high and the shape
   agrees with the labelled samples: this separates left from right and twin peaks jointly.
3. The choice is refined by Eq. 2 from windows around its projections, and accepted where enough
   cameras support it within the reprojection gate.

Shapes: S samples, V virtual cameras (a camera may appear at several in-plane turns), K keypoints.
"""

from __future__ import annotations

import dataclasses
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.multiview import VirtualCameras, detection_weight, intersect_rays
from s3k_ros.training.shape_prior import ShapePrior

CANDIDATES = 6
"""Candidates a keypoint that enter the joint search."""
BEAM = 200
_SUPPORT = 0.15
"""Mass near the projection from which a view supports a hypothesis."""
_HANDEDNESS_WEIGHT = 2.0


@dataclasses.dataclass(frozen=True)
class Proposal:
    """Pseudo-labels.

    Attributes:
        points: (S, K, 3) m, base frame, NaN where refused.
        weight: (S, K) 0..1, 0 where refused.
        score: (S, K) mass that supports the choice, in units of cameras.
        penalty: (S,) shape penalty of the choice.
    """

    points: Tensor
    weight: Tensor
    score: Tensor
    penalty: Tensor


@torch.no_grad()
def propose(
    probability: Tensor,
    cameras: VirtualCameras,
    prior: ShapePrior | None,
    params: TrainingParameters,
    turns: int = 1,
) -> Proposal:
    """Joint 3D hypotheses from maps (S, V, K, H, W) that sum to 1, V = turns x cameras."""
    count = probability.shape[1] // turns
    peaks, mass = find_peaks(probability, params.peaks, params.sigma_px)
    candidates = _candidates(peaks, mass, cameras, count)
    score = _score(candidates, peaks, mass, cameras, params.gate_px).sum(1) / turns
    points, score = _distinct(candidates, score, params.shape_tolerance_m)
    points, score, penalty = _joint(points, score, prior)
    return _refine(probability, cameras, points, score, penalty, params, count)


def find_peaks(probability: Tensor, count: int, sigma: float) -> tuple[Tensor, Tensor]:
    """The strongest local maxima: cells (S, V, K, P, 2) and the mass (S, V, K, P) around each."""
    shape = probability.shape
    maps = probability.flatten(0, 2)[:, None]
    radius = max(1, round(2 * sigma))
    size = 2 * radius + 1
    # Square windows as a row and a column each: several times faster.
    highest = functional.max_pool2d(maps, (size, 1), 1, (radius, 0))
    highest = functional.max_pool2d(highest, (1, size), 1, (0, radius))
    local = torch.where(maps == highest, maps, torch.zeros_like(maps)).flatten(1)
    value, index = local.topk(count, dim=1)
    box = functional.avg_pool2d(maps, (size, 1), 1, (radius, 0)) * size
    box = functional.avg_pool2d(box, (1, size), 1, (0, radius)) * size
    mass = torch.where(value > 0, box.flatten(1).gather(1, index), torch.zeros_like(value))
    u, v = index % shape[-1], index // shape[-1]
    peaks = torch.stack([u, v], -1).to(maps.dtype)
    mean, _, _ = window_moments(maps.expand(-1, count, -1, -1), peaks, radius)
    return mean.view(*shape[:3], count, 2), mass.view(*shape[:3], count)


def window_moments(maps: Tensor, centres: Tensor, radius: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (..., 2), spread (...) and mass (...) of maps (..., H, W) in windows around cells."""
    height, width = maps.shape[-2:]
    v = torch.arange(height, dtype=maps.dtype)
    u = torch.arange(width, dtype=maps.dtype)
    near_u = ((u - centres[..., 0:1].round()).abs() <= radius).to(maps.dtype)
    near_v = ((v - centres[..., 1:2].round()).abs() <= radius).to(maps.dtype)
    local = maps * near_v[..., :, None] * near_u[..., None, :]
    mass = local.sum((-2, -1))
    safe = mass.clamp(min=1e-9)
    along_u, along_v = local.sum(-2) / safe[..., None], local.sum(-1) / safe[..., None]
    mean_u, mean_v = (along_u * u).sum(-1), (along_v * v).sum(-1)
    variance = (along_u * (u - mean_u[..., None]) ** 2).sum(-1)
    variance = variance + (along_v * (v - mean_v[..., None]) ** 2).sum(-1)
    return torch.stack([mean_u, mean_v], -1), torch.sqrt(0.5 * variance), mass


def _candidates(peaks: Tensor, mass: Tensor, cameras: VirtualCameras, count: int) -> Tensor:
    """Points (S, K, N, 3) from every pair of peaks in two different cameras."""
    rays = cameras.rays(peaks.flatten(2, 3)).view(*peaks.shape[:-1], 3).transpose(1, 2)
    origins = cameras.centre[:, None, :, None].expand_as(rays)
    size = peaks.shape[3]
    found = []
    for a, b in combinations(range(peaks.shape[1]), 2):
        if a % count == b % count:
            continue
        first, second = rays[:, :, a, :, None], rays[:, :, b, None]
        pair = torch.stack(
            [first.expand(-1, -1, size, size, 3), second.expand(-1, -1, size, size, 3)], -2
        ).flatten(2, 3)
        centre = torch.stack([origins[:, :, a, :1], origins[:, :, b, :1]], -2).expand_as(pair)
        found.append(intersect_rays(centre, pair, torch.ones_like(pair[..., 0])))
    return torch.cat(found, 2)


def _score(
    points: Tensor, peaks: Tensor, mass: Tensor, cameras: VirtualCameras, gate_px: float
) -> Tensor:
    """Mass (S, V, K, N) that each view shows near the projections of points (S, K, N, 3)."""
    samples, keypoints, number = points.shape[:3]
    pixels, front = cameras.project(points.flatten(1, 2))
    pixels = pixels.view(samples, -1, keypoints, number, 1, 2)
    distance2 = ((pixels - peaks[:, :, :, None]) ** 2).sum(-1)
    near = torch.exp(-distance2 / (2 * (0.5 * gate_px) ** 2)) * mass[:, :, :, None]
    return near.amax(-1) * front.view(samples, -1, keypoints, number)


def _distinct(points: Tensor, score: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """The best candidates (S, K, M, 3) that lie further apart than ``radius``, with scores."""
    chosen, scores = [], []
    left = score.clone()
    for _ in range(min(CANDIDATES, score.shape[2])):
        best, index = left.max(2)
        at = points.gather(2, index[..., None, None].expand(*index.shape, 1, 3))
        chosen.append(at)
        scores.append(best)
        close = (points - at).norm(dim=-1) < radius
        left = torch.where(close, torch.full_like(left, -1.0), left)
    return torch.cat(chosen, 2), torch.stack(scores, 2).clamp(min=0.0)


def _joint(
    points: Tensor, score: Tensor, prior: ShapePrior | None
) -> tuple[Tensor, Tensor, Tensor]:
    """One candidate or none a keypoint: points (S, K, 3) NaN for none, scores, shape penalty."""
    samples, keypoints, number = score.shape
    absent = torch.full((samples, keypoints, 1, 3), torch.nan)
    points = torch.cat([points, absent], 2)
    score = torch.cat([score, torch.zeros(samples, keypoints, 1)], 2)
    if prior is None:
        best, index = score.max(2)
        return _pick(points, index), best, torch.zeros(samples)
    total = torch.zeros(samples, 1)
    spent = torch.zeros(samples, 1)
    path = torch.zeros(samples, 1, 0, dtype=torch.long)
    for k in range(keypoints):
        cost = torch.zeros(samples, path.shape[1], number + 1)
        for j in range(k):
            earlier = points[:, j].gather(1, path[..., j, None].expand(-1, -1, 3))
            distance = (earlier[:, :, None] - points[:, k, None]).norm(dim=-1)
            penalty = prior.distance_penalty(j, k, distance)
            cost = cost + torch.where(torch.isfinite(distance), penalty, torch.zeros(()))
        gain = total[..., None] + score[:, k, None] - cost
        width = min(BEAM, gain[0].numel())
        total, index = gain.flatten(1).topk(width, dim=1)
        spent = (spent[..., None] + cost).flatten(1).gather(1, index)
        parent, last = index // (number + 1), index % (number + 1)
        path = torch.cat([path.gather(1, parent[..., None].expand(-1, -1, k)), last[..., None]], 2)
    every = torch.stack(
        [points[:, k].gather(1, path[..., k, None].expand(-1, -1, 3)) for k in range(keypoints)], 2
    )
    hand = _HANDEDNESS_WEIGHT * prior.handedness_penalty(every)
    best = (total - hand).argmax(1)
    rows = torch.arange(samples)
    index = path[rows, best]
    chosen = score.gather(2, index[..., None])[..., 0]
    return _pick(points, index), chosen, (spent + hand)[rows, best]


def _pick(points: Tensor, index: Tensor) -> Tensor:
    return points.gather(2, index[..., None, None].expand(*index.shape, 1, 3))[:, :, 0]


def _refine(
    probability: Tensor,
    cameras: VirtualCameras,
    points: Tensor,
    score: Tensor,
    penalty: Tensor,
    params: TrainingParameters,
    count: int,
) -> Proposal:
    """Eq. 2 from windows around the projections, then the gates."""
    known = torch.isfinite(points).all(-1)
    points = torch.where(known[..., None], points, torch.zeros_like(points))
    radius = max(1, round(2.5 * params.sigma_px))
    supported = torch.zeros_like(score)
    for _ in range(2):
        pixels, front = cameras.project(points)
        mean, spread, mass = window_moments(probability, pixels.clamp(-1e4, 1e4), radius)
        distance = (mean - pixels).norm(dim=-1)
        good = front & (mass > _SUPPORT) & (distance < params.gate_px)
        weight = detection_weight(spread, params.sigma_px, params.alpha, params.beta) * mass
        weight = torch.where(good, weight, torch.zeros_like(weight))
        # The means of empty windows are meaningless but finite; their weight is zero.
        rays = cameras.rays(torch.where(good[..., None], mean, torch.zeros_like(mean)))
        origins = cameras.centre[:, :, None].expand_as(rays)
        fitted = intersect_rays(
            origins.transpose(1, 2), rays.transpose(1, 2), weight.transpose(1, 2)
        )
        per_camera = good.view(good.shape[0], -1, count, good.shape[2]).any(1)
        supported = per_camera.sum(1)
        enough = supported >= params.gate_views
        points = torch.where(enough[..., None], fitted, points)
    accepted = known & (supported >= params.gate_views)
    if params.shape != "none":
        accepted = accepted & (penalty < 1.5)[:, None]
    weight = torch.where(accepted, (0.5 * score).clamp(0.0, 1.0), torch.zeros_like(score))
    points = torch.where(accepted[..., None], points, torch.full_like(points, torch.nan))
    return Proposal(points, weight, score, penalty)
