"""Fitting a rigid shape: to points (Kabsch) and to what several views show (Gauss-Newton).

A pose is a rotation R (..., 3, 3) and a translation t (..., 3): keypoint k of a shape m (K, 3) lies
at R m_k + t in the base frame, m. Reflections are never fitted, so handedness is kept.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from s3k_ros.training.method.multiview import VirtualCameras

_DAMPING = 1e-4
"""Part of the diagonal that is added to it: directions that nothing determines stay put."""


@dataclasses.dataclass(frozen=True)
class Pose:
    """Poses of a batch: ``rotation`` (..., 3, 3) and ``translation`` (..., 3) m, base frame."""

    rotation: Tensor
    translation: Tensor

    def apply(self, shape: Tensor) -> Tensor:
        """Points (..., K, 3) of the shape (K, 3) at these poses."""
        return shape @ self.rotation.transpose(-1, -2) + self.translation[..., None, :]


def kabsch(shape: Tensor, points: Tensor, weight: Tensor) -> Pose:
    """The weighted least-squares poses of a shape at points; no reflections.

    Args:
        shape: (K, 3) or (..., K, 3) m.
        points: (..., K, 3) m; NaN: unknown.
        weight: (..., K), not negative. Fewer than three points leave the pose ambiguous.
    """
    known = torch.isfinite(points).all(-1) & torch.isfinite(shape).all(-1)
    weight = torch.where(known, weight, torch.zeros_like(weight))
    weight = weight / weight.sum(-1, keepdim=True).clamp(min=1e-12)
    points = torch.where(known[..., None], points, torch.zeros_like(points))
    shape = torch.where(known[..., None], shape, torch.zeros_like(points))
    from_mean = (weight[..., None] * shape).sum(-2, keepdim=True)
    to_mean = (weight[..., None] * points).sum(-2, keepdim=True)
    spread = (points - to_mean).transpose(-1, -2) @ (weight[..., None] * (shape - from_mean))
    u, _, vt = torch.linalg.svd(spread.double())
    turn = torch.linalg.det(u @ vt)
    signs = torch.stack([torch.ones_like(turn), torch.ones_like(turn), torch.sign(turn)], -1)
    rotation = ((u * signs[..., None, :]) @ vt).to(points.dtype)
    translation = to_mean[..., 0, :] - (rotation @ from_mean.transpose(-1, -2))[..., 0]
    return Pose(rotation, translation)


@dataclasses.dataclass(frozen=True)
class FittedPose:
    """Poses fitted to detections, and how far these determine every keypoint.

    Attributes:
        pose: (S,) poses.
        points: (S, K, 3) m, base frame.
        spread: (S, K) standard deviation of the keypoint's projections, cells, for detections of
            one cell standard deviation; large where the detections leave the keypoint open.
        residual: (S, V, K) distance of each detection from its projection, cells.
    """

    pose: Pose
    points: Tensor
    spread: Tensor
    residual: Tensor


def fit_pose(
    shape: Tensor,
    start: Pose,
    cameras: VirtualCameras,
    cells: Tensor,
    weight: Tensor,
    steps: int = 4,
    robust_px: float | None = None,
) -> FittedPose:
    """The pose whose projections lie closest to detections in all views: Eq. 2 for a whole shape.

    Minimises the weighted squares of distances in cells, so that each view counts across its rays
    alone, and a keypoint seen by a single view still helps.

    Args:
        shape: (K, 3) m.
        start: poses (S,).
        cameras: V cameras a sample.
        cells: (S, V, K, 2) detections.
        weight: (S, V, K), 0 where there is no detection.
        steps: Gauss-Newton steps.
        robust_px: distance in cells from which a detection counts less (Cauchy); None: never.
    """
    rotation, translation = start.rotation, start.translation
    for _ in range(steps):
        pose = Pose(rotation, translation)
        _, matrix, right = _normal_equations(shape, pose, cameras, cells, weight, robust_px)
        step = torch.linalg.solve_ex(matrix, right[..., None])[0][..., 0]
        translation = translation + step[..., :3].clamp(-0.1, 0.1)
        rotation = rotation_of(step[..., 3:].clamp(-0.5, 0.5)) @ rotation
    pose = Pose(rotation, translation)
    residual, matrix, _ = _normal_equations(shape, pose, cameras, cells, weight, robust_px)
    points = pose.apply(shape)
    return FittedPose(pose, points, _spread(shape, pose, cameras, matrix), residual)


def _normal_equations(
    shape: Tensor,
    pose: Pose,
    cameras: VirtualCameras,
    cells: Tensor,
    weight: Tensor,
    robust_px: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Distances (S, V, K), and the damped (S, 6, 6) and (S, 6) of a step (t, then rotation)."""
    jacobian, difference = _pose_jacobian(shape, pose, cameras, cells)
    distance = difference.norm(dim=-1)
    if robust_px is not None:
        weight = weight / (1 + (distance / robust_px) ** 2)
    weighted = (jacobian * weight[..., None, None]).flatten(1, 3)
    matrix = weighted.transpose(-1, -2) @ jacobian.flatten(1, 3)
    right = (weighted * difference.flatten(1, 3)[..., None]).sum(1)
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    floor = 1e-3 * diagonal.amax(-1, keepdim=True) * _DAMPING + 1e-6
    return distance, matrix + torch.diag_embed(_DAMPING * diagonal + floor), right


def _pose_jacobian(
    shape: Tensor, pose: Pose, cameras: VirtualCameras, cells: Tensor
) -> tuple[Tensor, Tensor]:
    """Derivative (S, V, K, 2, 6) of the cells by the pose, and detected minus projected cells."""
    turned = shape @ pose.rotation.transpose(-1, -2)
    points = turned + pose.translation[..., None, :]
    projected, front, by_point = cameras.project_with_jacobian(points)
    lever = turned[:, None, :, None].expand_as(by_point)
    # d(R m)/d(omega) = -[R m]x, so a row j becomes R m x j.
    jacobian = torch.cat([by_point, torch.linalg.cross(lever, by_point)], -1)
    jacobian = torch.where(front[..., None, None], jacobian, torch.zeros_like(jacobian))
    return jacobian, torch.where(front[..., None], cells - projected, torch.zeros_like(cells))


def _spread(shape: Tensor, pose: Pose, cameras: VirtualCameras, matrix: Tensor) -> Tensor:
    """Standard deviation (S, K) of the projections, cells, from the pose's information matrix."""
    cells = matrix.new_zeros(*cameras.centre.shape[:2], shape.shape[0], 2)
    jacobian, _ = _pose_jacobian(shape, pose, cameras, cells)
    solved = torch.linalg.solve_ex(matrix, jacobian.flatten(1, 3).transpose(-1, -2))[0]
    variance = (jacobian.flatten(1, 3) * solved.transpose(-1, -2)).sum(-1)
    return variance.view(*jacobian.shape[:-1]).mean((1, 3)).clamp(min=0).sqrt()


def rotation_of(vector: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3), rad."""
    angle = vector.norm(dim=-1).clamp(min=1e-9)[..., None, None]
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).view(*x.shape, 3, 3)
    eye = torch.eye(3, dtype=vector.dtype, device=vector.device)
    square = cross @ cross
    return eye + torch.sin(angle) / angle * cross + (1 - torch.cos(angle)) / angle**2 * square
