"""Pseudo-labels from the maps of several views.

Without the gate they are the plain estimate of Eq. 2 from whole-map moments. With it, each map
offers a few peaks, one joint hypothesis explains most views (``hypotheses``), Eq. 2 from windows
around its projections refines it, and it is accepted where enough cameras support it.

What the labelled samples say about the shape enters in one of two ways. ``distances``: hypotheses
whose distances or handedness are not the labelled ones are refused, and small departures are moved
back into the labelled ranges. ``rigid``: the unknown is one pose of the labelled mean shape, fitted
to the detections of all keypoints in all views at once; a keypoint that no view shows well then
follows from the others.

Shapes: S samples, V virtual cameras (a camera may appear at several in-plane turns), K keypoints.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.method.hypotheses import (
    HANDEDNESS_WEIGHT,
    Hypotheses,
    hypothesise,
    support,
)
from s3k_ros.training.method.multiview import (
    VirtualCameras,
    detection_weight,
    moments,
    triangulate,
)
from s3k_ros.training.method.peaks import find_peaks, window_moments
from s3k_ros.training.method.rigid import FittedPose, Pose, fit_pose, kabsch, rotation_of
from s3k_ros.training.method.shape_prior import ShapePrior

_SUPPORT = 0.15
"""Mass near the projection from which a view supports a hypothesis."""
_REFUSED = 1.5
"""Shape penalty from which a hypothesis is refused."""
_POSES = 8
"""Joint hypotheses that a rigid shape is fitted to."""
_SPINS = 12
"""Turns about the line through the two best keypoints: a third may be missing or wrong."""
_AGREEMENT = 0.3
"""Least share of the strongest peaks that lies near a fitted shape's projections."""


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
def pseudo_labels(
    maps: Tensor,
    cameras: VirtualCameras,
    prior: ShapePrior | None,
    params: TrainingParameters,
    turns: int = 1,
) -> Proposal:
    """Pseudo-labels from maps (S, V, K, H, W) that sum to 1, V = turns x cameras, turns slowest.

    ``params.gate`` and ``params.shape`` choose how; without a prior the shape is not used, and one
    without a mean shape (fewer than three keypoints) gives its distances alone.
    """
    if maps.dtype in (torch.float16, torch.bfloat16):
        maps = maps.float()
    if params.shape == "none":
        prior = None
    mean = None
    if prior is not None and params.shape == "rigid" and prior.mean is not None:
        mean = prior.mean.to(maps)
    if not params.gate:
        return _plain(maps, cameras, prior, mean, params)
    peaks, mass = find_peaks(maps, params.peaks, params.sigma_px)
    number = 1 if mean is None else _POSES
    choice = hypothesise(
        peaks, mass, cameras, prior, turns, params.gate_px, params.shape_tolerance_m, number
    )
    if mean is None or prior is None:
        return _free(maps, cameras, choice, prior, params, turns)
    pose = _best_pose(peaks, mass, cameras, choice, prior, mean, params)
    return _rigid(maps, mass, cameras, pose, mean, params, turns)


def _plain(
    maps: Tensor,
    cameras: VirtualCameras,
    prior: ShapePrior | None,
    mean: Tensor | None,
    params: TrainingParameters,
) -> Proposal:
    """Eq. 2 from whole-map moments, without a gate."""
    cells, spread = moments(maps)
    weight = detection_weight(spread, params.sigma_px, params.alpha, params.beta)
    points = triangulate(cameras, cells, weight)
    score = weight.sum(1)
    if mean is not None:
        start = kabsch(mean, points, score)
        points = fit_pose(mean, start, cameras, cells, weight).points
    return _shaped(points, torch.ones_like(score), score, prior, mean)


def _free(
    maps: Tensor,
    cameras: VirtualCameras,
    choice: Hypotheses,
    prior: ShapePrior | None,
    params: TrainingParameters,
    turns: int,
) -> Proposal:
    """Eq. 2 for each keypoint from windows around the projections, then the gate."""
    points, score = choice.points[:, 0], choice.score[:, 0]
    known = torch.isfinite(points).all(-1)
    points = torch.where(known[..., None], points, torch.zeros_like(points))
    supported = torch.zeros_like(score)
    for _ in range(2):
        cells, weight = _detections(maps, cameras, points, params)
        supported = _cameras_with(weight > 0, turns).sum(1)
        enough = supported >= params.gate_views
        points = torch.where(enough[..., None], triangulate(cameras, cells, weight), points)
    accepted = known & (supported >= params.gate_views)
    points = torch.where(accepted[..., None], points, torch.full_like(points, torch.nan))
    weight = torch.where(accepted, (0.5 * score).clamp(0.0, 1.0), torch.zeros_like(score))
    return _shaped(points, weight, score, prior, None)


def _shaped(
    points: Tensor,
    weight: Tensor,
    score: Tensor,
    prior: ShapePrior | None,
    mean: Tensor | None,
) -> Proposal:
    """Refuses samples whose shape is wrong, and moves the others into the labelled ranges."""
    if prior is None:
        return Proposal(points, weight, score, score.new_zeros(len(score)))
    penalty = prior.penalty(points) + HANDEDNESS_WEIGHT * prior.handedness_penalty(points)
    good = (penalty < _REFUSED)[:, None]
    if mean is None:
        points = prior.settle(points, score)
    points = torch.where(good[..., None], points, torch.full_like(points, torch.nan))
    return Proposal(points, torch.where(good, weight, torch.zeros_like(weight)), score, penalty)


def _detections(
    maps: Tensor, cameras: VirtualCameras, points: Tensor, params: TrainingParameters
) -> tuple[Tensor, Tensor]:
    """Cells (S, V, K, 2) of windows around projections, and weights, 0 outside the gate."""
    radius = max(1, round(2.5 * params.sigma_px))
    pixels, front = cameras.project(points)
    cells, spread, mass = window_moments(maps, pixels, radius)
    good = front & (mass > _SUPPORT) & ((cells - pixels).norm(dim=-1) < params.gate_px)
    weight = detection_weight(spread, params.sigma_px, params.alpha, params.beta) * mass
    cells = torch.where(good[..., None], cells, torch.zeros_like(cells))
    return cells, torch.where(good, weight, torch.zeros_like(weight))


def _cameras_with(views: Tensor, turns: int) -> Tensor:
    """Mask (S, C, K) of cameras where any turn is set in views (S, turns x C, K)."""
    return views.view(views.shape[0], turns, -1, views.shape[2]).any(1)


def _best_pose(
    peaks: Tensor,
    mass: Tensor,
    cameras: VirtualCameras,
    choice: Hypotheses,
    prior: ShapePrior,
    mean: Tensor,
    params: TrainingParameters,
) -> Pose:
    """The pose (S,) of the mean shape that most peaks support, from several joint hypotheses."""
    start = kabsch(mean, choice.points, choice.score + 1e-6)
    spun = _spins(choice.points[:, 0], choice.score[:, 0], start)
    rotation = torch.cat([start.rotation, spun.rotation], 1)
    pose = Pose(
        rotation.flatten(0, 1), torch.cat([start.translation, spun.translation], 1).flatten(0, 1)
    )
    samples, number = rotation.shape[:2]
    many = VirtualCameras(
        cameras.matrix.repeat_interleave(number, 0), cameras.centre.repeat_interleave(number, 0)
    )
    peaks, mass = peaks.repeat_interleave(number, 0), mass.repeat_interleave(number, 0)
    for widening in (2.0, 1.0):
        cells, weight = _nearest_peaks(peaks, mass, many, pose.apply(mean), widening, params)
        pose = fit_pose(mean, pose, many, cells, weight, 2, params.gate_px).pose
    points = pose.apply(mean)
    found = support(points[:, :, None], peaks, mass, many, params.gate_px).sum((1, 2, 3))
    found = found - HANDEDNESS_WEIGHT * prior.handedness_penalty(points)
    best = found.view(samples, number).argmax(1) + number * torch.arange(
        samples, device=found.device
    )
    return Pose(pose.rotation[best], pose.translation[best])


def _spins(points: Tensor, score: Tensor, start: Pose) -> Pose:
    """The first of poses (S, H) turned about the line through its two best points (S, K, 3)."""
    known = torch.isfinite(points).all(-1)
    two = torch.where(known, score, torch.full_like(score, -1.0)).topk(2, 1)[1]
    ends = points.nan_to_num(0.0).gather(1, two[..., None].expand(-1, -1, 3))
    axis = torch.nn.functional.normalize(ends[:, 1] - ends[:, 0], dim=-1, eps=1e-6)
    angle = torch.arange(1, _SPINS + 1, device=axis.device) * (2 * torch.pi / (_SPINS + 1))
    turn = rotation_of(angle[:, None] * axis[:, None])
    rotation = turn @ start.rotation[:, :1]
    lever = (start.translation[:, 0] - ends[:, 0])[:, None, :, None]
    return Pose(rotation, (turn @ lever)[..., 0] + ends[:, :1])


def _nearest_peaks(
    peaks: Tensor,
    mass: Tensor,
    cameras: VirtualCameras,
    points: Tensor,
    widening: float,
    params: TrainingParameters,
) -> tuple[Tensor, Tensor]:
    """For each projection the peak (S, V, K, 2) that supports it best, and how much (S, V, K)."""
    pixels, front = cameras.project(points)
    distance2 = ((pixels[..., None, :] - peaks) ** 2).sum(-1)
    near = mass * torch.exp(-distance2 / (2 * (widening * params.gate_px) ** 2))
    near, index = near.max(-1)
    cells = peaks.gather(3, index[..., None, None].expand(*index.shape, 1, 2))[..., 0, :]
    return cells, torch.where(front, near, torch.zeros_like(near))


def _rigid(
    maps: Tensor,
    mass: Tensor,
    cameras: VirtualCameras,
    pose: Pose,
    mean: Tensor,
    params: TrainingParameters,
    turns: int,
) -> Proposal:
    """Refines a pose on windows of the maps; weights follow from support and determination."""
    fitted: FittedPose | None = None
    weight = torch.zeros(())
    for _ in range(3):
        cells, weight = _detections(maps, cameras, pose.apply(mean), params)
        fitted = fit_pose(mean, pose, cameras, cells, weight, 2, params.gate_px)
        pose = fitted.pose
    assert fitted is not None
    score = weight.sum(1) / turns
    seen = _cameras_with(weight > 0, turns)
    # Six unknowns, two equations a detection; at least two cameras, and two keypoints.
    accepted = (seen.sum((1, 2)) >= 4) & (seen.any(1).sum(1) >= 2)
    accepted &= seen.any(2).sum(1) >= params.gate_views
    agreement = weight.sum((1, 2)) / mass[..., 0].sum((1, 2)).clamp(min=1e-6)
    accepted &= agreement > _AGREEMENT
    quality = (0.5 * score.mean(1)).clamp(max=1.0) * agreement.clamp(max=1.0)
    sure = 1 / (1 + (fitted.spread / params.sigma_px) ** 2)
    value = torch.where(accepted[:, None], quality[:, None] * sure, torch.zeros_like(score))
    points = torch.where(
        value[..., None] > 0, fitted.points, torch.full_like(fitted.points, torch.nan)
    )
    return Proposal(points, value, score, score.new_zeros(len(score)))
