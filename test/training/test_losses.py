# ruff: noqa: E402
from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from s3k_ros.training import multiview
from s3k_ros.training.losses import gaussian_targets, self_supervised_loss, supervised_loss
from s3k_ros.training.multiview import VirtualCameras, intersect_rays

pytestmark = pytest.mark.torch

SIZE = 16


def cameras(count: int = 3) -> VirtualCameras:
    """Cameras on a circle that look at the origin; 16 x 16 cells."""
    matrices, centres = [], []
    for angle in np.linspace(0.3, 4.0, count):
        eye = np.array([np.cos(angle), np.sin(angle), 0.8])
        z = -eye / np.linalg.norm(eye)
        x = np.cross(z, [0, 0, 1.0])
        x /= np.linalg.norm(x)
        rotation = np.stack([x, np.cross(z, x), z])
        intrinsics = np.array([[20.0, 0, 7.5], [0, 20.0, 7.5], [0, 0, 1]])
        matrices.append(intrinsics @ rotation)
        centres.append(eye)
    return VirtualCameras(
        torch.tensor(np.array(matrices)[None]).float(),
        torch.tensor(np.array(centres)[None]).float(),
    )


def test_supervised_loss_equals_the_sum_computed_by_hand() -> None:
    rig, sigma = cameras(), 1.5
    points = torch.tensor([[[0.05, -0.1, 0.02], [0.0, 0.1, 0.1]]])
    logits = torch.randn(1, 3, 2, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    expected = 0.0
    for c in range(3):
        for k in range(2):
            ray = rig.matrix[0, c] @ (points[0, k] - rig.centre[0, c])
            u, v = (ray[:2] / ray[2]).tolist()
            grid = np.mgrid[:SIZE, :SIZE]
            target = np.exp(-((grid[1] - u) ** 2 + (grid[0] - v) ** 2) / (2 * sigma**2))
            target /= target.sum()
            prediction = np.exp(logits[0, c, k].numpy().astype(float))
            prediction /= prediction.sum()
            expected += (target * np.log(target / prediction)).sum()
    assert supervised_loss(logits, points, rig, sigma).item() == pytest.approx(expected, rel=1e-4)


def test_loss_is_zero_when_the_map_is_the_target() -> None:
    rig = cameras()
    points = torch.tensor([[[0.05, -0.1, 0.02]]])
    pixels, _ = rig.project(points)
    logits = gaussian_targets(pixels, SIZE, SIZE, 1.5).clamp(min=1e-30).log()
    assert supervised_loss(logits, points, rig, 1.5).item() == pytest.approx(0.0, abs=1e-4)


def test_keypoint_outside_an_image_is_masked_there_alone() -> None:
    rig = cameras()
    points = torch.tensor([[[0.05, -0.1, 0.02]]])
    moved = VirtualCameras(rig.matrix.clone(), rig.centre)
    shift = torch.eye(3)
    shift[0, 2] = 100.0
    moved.matrix[0, 1] = shift @ moved.matrix[0, 1]
    logits = torch.zeros(1, 3, 1, SIZE, SIZE, requires_grad=True)
    supervised_loss(logits, points, moved, 1.5).backward()
    gradient = logits.grad.abs().flatten(3).sum(-1)[0, :, 0]
    assert gradient[1] == 0
    assert (gradient[[0, 2]] > 0).all()


def test_keypoint_without_label_is_masked() -> None:
    logits = torch.zeros(1, 3, 2, SIZE, SIZE, requires_grad=True)
    points = torch.tensor([[[0.0, 0.0, 0.0], [torch.nan] * 3]])
    loss = supervised_loss(logits, points, cameras(), 1.5)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad[:, :, 1].abs().max() == 0
    assert logits.grad[:, :, 0].abs().max() > 0


def test_no_gradient_flows_through_the_3d_estimate() -> None:
    """The gradient is that of a fixed target: p - g, whatever the estimate depends on."""
    rig, sigma = cameras(), 1.5
    points = torch.tensor([[[0.03, 0.05, 0.0]]])
    pixels, _ = rig.project(points)
    peaks = gaussian_targets(pixels, SIZE, SIZE, 2.0).clamp(min=1e-12).log()
    noise = torch.randn(peaks.shape, generator=torch.Generator().manual_seed(2))
    logits = (peaks + 0.3 * noise).requires_grad_()
    loss, estimate = self_supervised_loss(logits, rig, sigma, 2.0, 4.0)
    loss.backward()
    assert not estimate.requires_grad
    target = gaussian_targets(rig.project(estimate)[0], SIZE, SIZE, sigma)
    probability = torch.softmax(logits.detach().flatten(3), -1).view(logits.shape)
    assert torch.allclose(logits.grad, probability - target, atol=1e-5)


def test_self_supervised_loss_vanishes_for_consistent_views() -> None:
    rig = cameras()
    points = torch.tensor([[[0.03, 0.05, 0.0]]])
    logits = gaussian_targets(rig.project(points)[0], SIZE, SIZE, 1.0).clamp(min=1e-30).log()
    loss, estimate = self_supervised_loss(logits, rig, 1.0, 2.0, 4.0)
    assert (estimate - points).norm().item() < 1e-3
    assert loss.item() < 1e-2


def test_eq_2_equals_the_normal_equations_by_hand() -> None:
    rng = np.random.default_rng(3)
    origins, point = rng.normal(size=(4, 3)), np.array([0.1, 0.2, 0.3])
    directions = point - origins + 0.05 * rng.normal(size=(4, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    weights = rng.uniform(0.2, 1, 4)
    left, right = np.zeros((3, 3)), np.zeros(3)
    for o, d, w in zip(origins, directions, weights, strict=True):
        projector = np.eye(3) - np.outer(d, d)
        left += w * projector
        right += w * projector @ o
    found = intersect_rays(
        torch.tensor(origins), torch.tensor(directions), torch.tensor(weights)
    ).numpy()
    assert np.allclose(found, np.linalg.solve(left, right), atol=1e-4)


def test_detection_weight_halves_at_alpha_sigma() -> None:
    spread = torch.tensor([0.0, 3.0, 30.0])
    weight = multiview.detection_weight(spread, 1.5, 2.0, 4.0)
    assert weight.tolist() == pytest.approx([1.0, 0.5, 1e-4], abs=1e-4)
