"""Joint 3D hypotheses from the peaks of several views.

Every pair of peaks in two cameras gives a 3D candidate; its score is the probability mass that all
views show near its projection. A beam search then picks one candidate (or none) a keypoint, so that
scores are high and the shape agrees with the labelled samples: this separates left from right and
twin peaks jointly. Shapes: S samples, V virtual cameras, K keypoints, P peaks, N candidates.
"""

from __future__ import annotations

import dataclasses
from itertools import combinations

import torch
from torch import Tensor

from s3k_ros.training.method.multiview import VirtualCameras, intersect_rays
from s3k_ros.training.method.shape_prior import ShapePrior

CANDIDATES = 6
"""Candidates a keypoint that enter the joint search."""
BEAM = 200
HANDEDNESS_WEIGHT = 2.0


@dataclasses.dataclass(frozen=True)
class Hypotheses:
    """Joint choices, best first.

    Attributes:
        points: (S, H, K, 3) m, base frame, NaN where no candidate was chosen.
        score: (S, H, K) mass that supports each choice, in units of cameras.
        penalty: (S, H) shape penalty of each choice.
    """

    points: Tensor
    score: Tensor
    penalty: Tensor


def hypothesise(
    peaks: Tensor,
    mass: Tensor,
    cameras: VirtualCameras,
    prior: ShapePrior | None,
    turns: int,
    gate_px: float,
    apart_m: float,
    number: int = 1,
) -> Hypotheses:
    """The best ``number`` joint choices.

    Args:
        peaks: (S, V, K, P, 2) cells.
        mass: (S, V, K, P) probability around each.
        cameras: V = turns x cameras, turns slowest.
        prior: None: each keypoint for itself.
        turns: virtual cameras a camera.
        gate_px: a peak this far from a projection hardly supports it, cells.
        apart_m: candidates nearer to each other are one, m.
        number: how many to return; fewer where fewer exist.
    """
    points = _candidates(peaks, mass, cameras, peaks.shape[1] // turns)
    score = support(points, peaks, mass, cameras, gate_px).sum(1) / turns
    points, score = _distinct(points, score, apart_m)
    absent = torch.full_like(points[:, :, :1], torch.nan)
    points = torch.cat([points, absent], 2)
    score = torch.cat([score, torch.zeros_like(score[..., :1])], 2)
    if prior is None:
        best, index = score.max(2)
        return Hypotheses(
            _pick(points, index[:, None]), best[:, None], best.new_zeros(len(best), 1)
        )
    return _search(points, score, prior, number)


def support(
    points: Tensor, peaks: Tensor, mass: Tensor, cameras: VirtualCameras, gate_px: float
) -> Tensor:
    """Mass (S, V, K, N) that each view shows near the projections of points (S, K, N, 3)."""
    samples, keypoints, number = points.shape[:3]
    pixels, front = cameras.project(points.flatten(1, 2))
    pixels = pixels.view(samples, -1, keypoints, number, 1, 2)
    distance2 = ((pixels - peaks[:, :, :, None]) ** 2).sum(-1)
    near = torch.exp(-distance2 / (2 * (0.5 * gate_px) ** 2)) * mass[:, :, :, None]
    return near.amax(-1) * front.view(samples, -1, keypoints, number)


def _candidates(peaks: Tensor, mass: Tensor, cameras: VirtualCameras, count: int) -> Tensor:
    """Points (S, K, N, 3) from every pair of peaks in two different cameras."""
    rays = cameras.rays(peaks.flatten(2, 3)).view(*peaks.shape[:-1], 3).transpose(1, 2)
    views = peaks.shape[1]
    pairs = [(a, b) for a, b in combinations(range(views), 2) if a % count != b % count]
    first = [a for a, _ in pairs]
    second = [b for _, b in pairs]
    size = peaks.shape[3]
    shape = (*rays.shape[:2], len(pairs), size, size, 3)
    directions = torch.stack(
        [rays[:, :, first, :, None].expand(shape), rays[:, :, second, None].expand(shape)], -2
    )
    centres = torch.stack([cameras.centre[:, first], cameras.centre[:, second]], -2)
    centres = centres[:, None, :, None, None].expand_as(directions)
    found = intersect_rays(centres, directions, torch.ones_like(directions[..., 0]))
    return found.flatten(2, 4)


def _distinct(points: Tensor, score: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """The best candidates (S, K, M, 3) that lie further apart than ``radius``, with scores."""
    chosen, scores = [], []
    left = score.clone()
    for _ in range(min(CANDIDATES, score.shape[2])):
        best, index = left.max(2)
        at = points.gather(2, index[..., None, None].expand(*index.shape, 1, 3))
        chosen.append(at)
        scores.append(best)
        close = (points - at).square().sum(-1) < radius**2
        left = torch.where(close, torch.full_like(left, -1.0), left)
    return torch.cat(chosen, 2), torch.stack(scores, 2).clamp(min=0.0)


def _search(points: Tensor, score: Tensor, prior: ShapePrior, number: int) -> Hypotheses:
    """Beam search over one candidate a keypoint; the last candidate of each means none."""
    samples, keypoints, size = score.shape
    total, spent = score.new_zeros(samples, 1), score.new_zeros(samples, 1)
    path = torch.zeros(samples, 1, 0, dtype=torch.long, device=score.device)
    for k in range(keypoints):
        cost = score.new_zeros(samples, path.shape[1], size)
        for j in range(k):
            distance = (points[:, j, :, None] - points[:, k, None]).norm(dim=-1)
            penalty = prior.distance_penalty(j, k, distance)
            penalty = torch.where(torch.isfinite(distance), penalty, torch.zeros_like(penalty))
            cost = cost + penalty.gather(1, path[..., j, None].expand(-1, -1, size))
        gain = total[..., None] + score[:, k, None] - cost
        total, index = gain.flatten(1).topk(min(BEAM, gain[0].numel()), dim=1)
        spent = (spent[..., None] + cost).flatten(1).gather(1, index)
        parent = torch.div(index, size, rounding_mode="floor")
        parent = path.gather(1, parent[..., None].expand(-1, -1, k))
        path = torch.cat([parent, (index % size)[..., None]], 2)
    every = _pick(points, path)
    hand = HANDEDNESS_WEIGHT * prior.handedness_penalty(every)
    _, best = (total - hand).topk(min(number, total.shape[1]), dim=1)
    path = path.gather(1, best[..., None].expand(-1, -1, keypoints))
    chosen = score.gather(2, path.transpose(1, 2)).transpose(1, 2)
    return Hypotheses(_pick(points, path), chosen, (spent + hand).gather(1, best))


def _pick(points: Tensor, index: Tensor) -> Tensor:
    """Points (S, H, K, 3) that indices (S, H, K) choose from candidates (S, K, N, 3)."""
    index = index.transpose(1, 2)[..., None].expand(-1, -1, -1, 3)
    return points.gather(2, index).transpose(1, 2)
