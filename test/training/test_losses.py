# ruff: noqa: E402
"""The losses against METHOD.md's formulas, stated slowly in NumPy, one cell after another."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from support.toy_views import repeated, ring

from s3k_ros.training.method import multiview
from s3k_ros.training.method.losses import (
    gaussian_targets,
    projected_kl,
    self_supervised_loss,
    supervised_loss,
)
from s3k_ros.training.method.multiview import VirtualCameras, intersect_rays, triangulate

pytestmark = pytest.mark.torch

SIZE, SIGMA, ALPHA, BETA = 12, 1.5, 2.0, 4.0


def cameras(count: int = 3, dtype: torch.dtype = torch.float32) -> VirtualCameras:
    return ring(np.linspace(0.3, 4.0, count), 15.0, SIZE, 1.0, dtype=dtype)


# The slow statement: numbers and loops.


def slow_projection(rig: VirtualCameras, s: int, c: int, x: np.ndarray) -> tuple[float, float]:
    ray = rig.matrix[s, c].double().numpy() @ (x - rig.centre[s, c].double().numpy())
    return float(ray[0] / ray[2]), float(ray[1] / ray[2])


def slow_softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


def slow_target(u: float, v: float) -> np.ndarray:
    """g: a Gaussian of width sigma at (u, v), normalised over the map."""
    g = np.array(
        [
            [np.exp(-((i - u) ** 2 + (j - v) ** 2) / (2 * SIGMA**2)) for i in range(SIZE)]
            for j in range(SIZE)
        ]
    )
    return g / g.sum()


def slow_kl(g: np.ndarray, p: np.ndarray) -> float:
    """KL(g, p) = sum g log(g / p)."""
    return sum(gi * np.log(gi / pi) for gi, pi in zip(g.flat, p.flat, strict=True) if gi > 0)


def slow_loss(logits: np.ndarray, points: np.ndarray, rig: VirtualCameras) -> float:
    """Sum over c, k, mean over samples; a projection outside the image is masked out there."""
    total = 0.0
    for s, c, k in np.ndindex(logits.shape[:3]):
        u, v = slow_projection(rig, s, c, points[s, k])
        if -0.5 <= u <= SIZE - 0.5 and -0.5 <= v <= SIZE - 0.5:
            total += slow_kl(slow_target(u, v), slow_softmax(logits[s, c, k]))
    return total / logits.shape[0]


def slow_estimate(logits: np.ndarray, rig: VirtualCameras) -> np.ndarray:
    """Eq. 2: moments, s = sqrt(trace / 2), w, rays, (sum w P)^-1 sum w P o."""
    samples, count, keypoints = logits.shape[:3]
    points = np.zeros((samples, keypoints, 3))
    for s in range(samples):
        for k in range(keypoints):
            left, right = np.zeros((3, 3)), np.zeros(3)
            for c in range(count):
                p = slow_softmax(logits[s, c, k])
                cells = np.array([[i, j] for j in range(SIZE) for i in range(SIZE)], float)
                mean = sum(q * cell for q, cell in zip(p.flat, cells, strict=True))
                covariance = sum(
                    q * np.outer(cell - mean, cell - mean)
                    for q, cell in zip(p.flat, cells, strict=True)
                )
                spread = np.sqrt(0.5 * np.trace(covariance))
                w = 1 / (1 + (spread / (ALPHA * SIGMA)) ** BETA)
                d = np.linalg.solve(rig.matrix[s, c].double().numpy(), [mean[0], mean[1], 1.0])
                d /= np.linalg.norm(d)
                projector = np.eye(3) - np.outer(d, d)
                left += w * projector
                right += w * projector @ rig.centre[s, c].double().numpy()
            points[s, k] = np.linalg.solve(left, right)
    return points


def made_up_logits(samples: int = 2, keypoints: int = 2, seed: int = 1) -> torch.Tensor:
    """Blobs that disagree between the views, on noise."""
    generator = torch.Generator().manual_seed(seed)
    cells = 3 + 5 * torch.rand(samples, 3, keypoints, 2, generator=generator, dtype=torch.float64)
    blobs = gaussian_targets(cells, SIZE, SIZE, 1.2).clamp(min=1e-6).log()
    noise = torch.randn(blobs.shape, generator=generator, dtype=torch.float64)
    return blobs + 0.5 * noise


POINTS = np.array([[[0.05, -0.1, 0.02], [0.0, 0.1, 0.1]], [[-0.1, 0.0, 0.05], [0.1, 0.05, 0.0]]])


def test_supervised_loss_equals_the_slow_statement() -> None:
    rig = repeated(cameras(dtype=torch.float64), 2)
    logits = made_up_logits()
    expected = slow_loss(logits.numpy(), POINTS, rig)
    found = supervised_loss(logits, torch.tensor(POINTS), rig, SIGMA)
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_self_supervised_loss_equals_the_slow_statement() -> None:
    rig = repeated(cameras(dtype=torch.float64), 2)
    logits = made_up_logits()
    points = slow_estimate(logits.numpy(), rig)
    loss, found = self_supervised_loss(logits, rig, SIGMA, ALPHA, BETA)
    assert np.allclose(found.numpy(), points, atol=1e-5)  # the ridge of parallel rays
    assert loss.item() == pytest.approx(slow_loss(logits.numpy(), points, rig), rel=1e-4)


def test_single_precision_agrees_with_double() -> None:
    rig = repeated(cameras(), 2)
    logits = made_up_logits()
    exact, _ = self_supervised_loss(
        logits, VirtualCameras(rig.matrix.double(), rig.centre.double()), SIGMA, ALPHA, BETA
    )
    single, _ = self_supervised_loss(logits.float(), rig, SIGMA, ALPHA, BETA)
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(exact.item(), rel=1e-4)


def test_half_precision_logits_are_summed_in_single() -> None:
    rig = repeated(cameras(), 2)
    logits = made_up_logits().to(torch.bfloat16)
    loss = supervised_loss(logits, torch.tensor(POINTS).float(), rig, SIGMA)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(slow_loss(logits.double().numpy(), POINTS, rig), rel=1e-4)


def test_losses_make_no_tensor_on_another_device_than_their_inputs() -> None:
    rig = repeated(cameras(), 2).to("meta")
    logits = torch.zeros(2, 3, 2, SIZE, SIZE, device="meta")
    loss, points = self_supervised_loss(logits, rig, SIGMA, ALPHA, BETA)
    assert loss.device.type == points.device.type == "meta"
    weight = torch.ones(2, 2, device="meta")
    assert projected_kl(logits, points, rig, SIGMA, weight).device.type == "meta"


def test_target_sums_to_one_over_the_map_also_at_its_border() -> None:
    cells = torch.tensor([[5.3, 6.1], [-0.4, 3.0], [SIZE - 0.6, SIZE - 0.5]])
    targets = gaussian_targets(cells, SIZE, SIZE, SIGMA)
    assert targets.sum((1, 2)).tolist() == pytest.approx([1, 1, 1])
    for target, (u, v) in zip(targets, cells.tolist(), strict=True):
        assert np.allclose(target.numpy(), slow_target(u, v), atol=1e-6)


def test_losses_sum_over_cameras_and_keypoints_and_average_over_samples() -> None:
    rig = repeated(cameras(dtype=torch.float64), 2)
    logits, points = made_up_logits(), torch.tensor(POINTS)
    whole = supervised_loss(logits, points, rig, SIGMA)
    parts = [
        supervised_loss(
            logits[s : s + 1, c : c + 1, k : k + 1],
            points[s : s + 1, k : k + 1],
            VirtualCameras(rig.matrix[s : s + 1, c : c + 1], rig.centre[s : s + 1, c : c + 1]),
            SIGMA,
        )
        for s, c, k in np.ndindex(2, 3, 2)
    ]
    assert whole.item() == pytest.approx(sum(part.item() for part in parts) / 2)


def test_divergence_is_from_the_target_to_the_prediction() -> None:
    """A prediction wider than the target costs KL(g, p), which is not KL(p, g)."""
    rig = cameras(1, torch.float64)
    points = torch.tensor([[[0.0, 0.0, 0.0]]], dtype=torch.float64)
    u, v = slow_projection(rig, 0, 0, points[0, 0].numpy())
    wide = gaussian_targets(rig.project(points)[0], SIZE, SIZE, 3.0)
    loss = supervised_loss(wide.log(), points, rig, SIGMA).item()
    target, prediction = slow_target(u, v), wide[0, 0, 0].numpy()
    assert loss == pytest.approx(slow_kl(target, prediction), rel=1e-6)
    assert loss != pytest.approx(slow_kl(prediction, target), rel=0.1)


def test_loss_is_zero_when_the_map_is_the_target() -> None:
    rig = cameras()
    points = torch.tensor([[[0.05, -0.1, 0.02]]])
    pixels, _ = rig.project(points)
    logits = gaussian_targets(pixels, SIZE, SIZE, SIGMA).clamp(min=1e-30).log()
    assert supervised_loss(logits, points, rig, SIGMA).item() == pytest.approx(0.0, abs=1e-4)


def test_keypoint_outside_an_image_is_masked_there_alone() -> None:
    rig = cameras()
    points = torch.tensor([[[0.05, -0.1, 0.02]]])
    moved = VirtualCameras(rig.matrix.clone(), rig.centre)
    shift = torch.eye(3)
    shift[0, 2] = 100.0
    moved.matrix[0, 1] = shift @ moved.matrix[0, 1]
    logits = torch.zeros(1, 3, 1, SIZE, SIZE, requires_grad=True)
    supervised_loss(logits, points, moved, SIGMA).backward()
    gradient = logits.grad.abs().flatten(3).sum(-1)[0, :, 0]
    assert gradient[1] == 0
    assert (gradient[[0, 2]] > 0).all()


def test_keypoint_behind_a_camera_is_masked() -> None:
    rig = cameras(1)
    behind = (2.5 * rig.centre[:, :1]).float()
    logits = torch.zeros(1, 1, 1, SIZE, SIZE)
    assert supervised_loss(logits, behind, rig, SIGMA).item() == 0


def test_keypoint_without_label_is_masked() -> None:
    logits = torch.zeros(1, 3, 2, SIZE, SIZE, requires_grad=True)
    points = torch.tensor([[[0.0, 0.0, 0.0], [torch.nan] * 3]])
    loss = supervised_loss(logits, points, cameras(), SIGMA)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad[:, :, 1].abs().max() == 0
    assert logits.grad[:, :, 0].abs().max() > 0


def test_weight_scales_the_loss_of_its_keypoint() -> None:
    rig = repeated(cameras(dtype=torch.float64), 2)
    logits, points = made_up_logits(), torch.tensor(POINTS)
    weight = torch.zeros(2, 2, dtype=torch.float64)
    weight[1, 0] = 0.25
    only = VirtualCameras(rig.matrix[1:], rig.centre[1:])
    expected = supervised_loss(logits[1:, :, :1], points[1:, :1], only, SIGMA) * 0.25 / 2
    found = projected_kl(logits, points, rig, SIGMA, weight)
    assert found.item() == pytest.approx(expected.item())


def test_no_gradient_flows_through_the_3d_estimate() -> None:
    """The gradient is that of a fixed target: p - g, whatever the estimate depends on."""
    rig = cameras(dtype=torch.float64)
    logits = made_up_logits(samples=1).requires_grad_()
    loss, estimate = self_supervised_loss(logits, rig, SIGMA, ALPHA, BETA)
    loss.backward()
    assert not estimate.requires_grad
    target = gaussian_targets(rig.project(estimate)[0], SIZE, SIZE, SIGMA)
    probability = torch.softmax(logits.detach().flatten(3), -1).view(logits.shape)
    assert torch.allclose(logits.grad, probability - target, atol=1e-9)


def test_self_supervised_loss_vanishes_for_consistent_views() -> None:
    rig = cameras()
    points = torch.tensor([[[0.03, 0.05, 0.0]]])
    logits = gaussian_targets(rig.project(points)[0], SIZE, SIZE, 1.0).clamp(min=1e-30).log()
    loss, estimate = self_supervised_loss(logits, rig, 1.0, ALPHA, BETA)
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


def test_weights_count_by_depth_where_distances_differ_much() -> None:
    """Three times as far, the same error in cells is three times as long."""
    near, far = cameras(2, torch.float64), ring([2.4], 15.0, SIZE, 3.0, 2.4, torch.float64)
    rig = VirtualCameras(
        torch.cat([near.matrix, far.matrix], 1), torch.cat([near.centre, far.centre], 1)
    )
    point = torch.zeros(1, 1, 3, dtype=torch.float64)
    cells, _ = rig.project(point)
    cells[0, 2, 0, 0] += 1.0
    found = triangulate(rig, cells, torch.ones(1, 3, 1, dtype=torch.float64))
    rays = rig.rays(cells).transpose(1, 2)
    origins = rig.centre[:, None].expand_as(rays)
    same = intersect_rays(origins, rays, torch.ones(1, 1, 3, dtype=torch.float64))
    weighted = intersect_rays(origins, rays, torch.tensor([[[1.0, 1.0, 1 / 9]]]).double())
    assert found.norm() < 0.5 * same.norm()
    assert torch.allclose(found, weighted, atol=5e-3)


def test_moments_are_mean_and_root_of_half_the_trace() -> None:
    maps = torch.softmax(torch.randn(2, 30, generator=torch.Generator().manual_seed(0)), -1)
    mean, spread = multiview.moments(maps.view(2, 5, 6))
    for p, m, s in zip(maps.numpy(), mean.tolist(), spread.tolist(), strict=True):
        cells = np.array([[i, j] for j in range(5) for i in range(6)], float)
        expected = p @ cells
        covariance = (cells - expected).T @ ((cells - expected) * p[:, None])
        assert m == pytest.approx(expected.tolist(), rel=1e-5)
        assert s == pytest.approx(np.sqrt(0.5 * np.trace(covariance)), rel=1e-4)


def test_detection_weight_halves_at_alpha_sigma() -> None:
    spread = torch.tensor([0.0, 3.0, 30.0])
    weight = multiview.detection_weight(spread, 1.5, 2.0, 4.0)
    assert weight.tolist() == pytest.approx([1.0, 0.5, 1e-4], abs=1e-4)


def test_closed_inverse_equals_the_factorised_one() -> None:
    matrix = torch.randn(5, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(multiview.inverse3(matrix), torch.linalg.inv(matrix))
