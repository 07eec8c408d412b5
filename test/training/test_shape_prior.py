# ruff: noqa: E402
from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from support.toy_views import ring

from s3k_ros.training.method.rigid import Pose, fit_pose, kabsch
from s3k_ros.training.method.shape_prior import ShapePrior

pytestmark = pytest.mark.torch

TOY = np.array([[0.11, 0, 0.07], [0.07, 0.07, 0.02], [0.07, -0.07, 0.02], [0.0, 0, 0.05]])
BOX = np.array([[-0.1, 0.008, 0.105], [0.1, -0.008, 0.105], [0.1, 0.008, 0.0]])


def rotations(count: int, rng: np.random.Generator) -> np.ndarray:
    q, _ = np.linalg.qr(rng.normal(size=(count, 3, 3)))
    return q * np.sign(np.linalg.det(q))[:, None, None]


def placed(shape: np.ndarray, count: int, size: float = 0.001, seed: int = 0) -> np.ndarray:
    """The shape at random poses, with noise."""
    rng = np.random.default_rng(seed)
    points = shape @ rotations(count, rng).transpose(0, 2, 1) + rng.normal(0, 0.2, (count, 1, 3))
    return points + rng.normal(0, size, points.shape)


def upright(shape: np.ndarray, yaw: float) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return shape @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T


def shape_error(mean: torch.Tensor, shape: np.ndarray) -> float:
    """Largest distance after laying the mean over the true shape."""
    target = torch.tensor(shape).float()
    return float(
        (kabsch(mean, target, torch.ones(len(shape))).apply(mean) - target).norm(dim=-1).max()
    )


def test_mean_shape_is_better_than_the_samples_it_comes_from() -> None:
    prior = ShapePrior.from_points(placed(TOY, 12, 0.004), 0.012)
    assert prior.mean is not None
    assert shape_error(prior.mean, TOY) < 0.004
    assert prior.flex.mean().item() == pytest.approx(0.004 * np.sqrt(3), rel=0.4)


def test_mean_shape_is_found_though_every_sample_lacks_a_keypoint() -> None:
    shape = np.concatenate([TOY, [[-0.05, 0.02, 0.1]]])
    points = placed(shape, 15, 0.0005)
    for sample in range(15):
        points[sample, sample % 5] = np.nan
    prior = ShapePrior.from_points(points, 0.012)
    assert prior.mean is not None
    assert shape_error(prior.mean, shape) < 0.001


def test_mean_shape_keeps_its_handedness() -> None:
    prior = ShapePrior.from_points(placed(TOY, 6, 0.0005), 0.012)
    assert prior.mean is not None
    assert shape_error(prior.mean, TOY * [1, -1, 1]) > 0.02


def test_no_mean_shape_from_fewer_than_three_keypoints() -> None:
    assert ShapePrior.from_points(placed(TOY[:2], 6), 0.012).mean is None
    points = placed(BOX, 6)
    points[:, 1] = np.nan
    assert ShapePrior.from_points(points, 0.012).mean is None


def test_no_mean_shape_when_a_keypoint_is_never_seen_with_two_others() -> None:
    points = placed(TOY, 6)
    points[:3, 3] = np.nan
    points[3:, :2] = np.nan
    assert ShapePrior.from_points(points, 0.012).mean is None


def test_flex_shows_an_object_that_bends() -> None:
    points = placed(TOY, 12, 0.0005)
    bent = placed(TOY + np.array([[0, 0, 0.03], [0] * 3, [0] * 3, [0] * 3]), 12, 0.0005)
    prior = ShapePrior.from_points(np.concatenate([points, bent]), 0.012)
    assert prior.flex.max() > 0.005


def test_penalty_is_zero_for_the_labelled_shape_and_large_for_a_shrunken_one() -> None:
    prior = ShapePrior.from_points(placed(BOX, 10), 0.012)
    points = torch.tensor(placed(BOX, 5, 0.0, seed=3)).float()
    assert prior.penalty(points).max() < 0.1
    assert prior.penalty(0.85 * points).min() > 1.5


def test_penalty_ignores_unknown_points() -> None:
    prior = ShapePrior.from_points(placed(BOX, 10), 0.012)
    points = torch.tensor(placed(BOX, 1, 0.0)).float()
    points[0, 2] = torch.nan
    assert prior.penalty(points).item() == pytest.approx(0, abs=0.1)


def test_handedness_is_penalised_where_it_is_clear() -> None:
    labelled = np.stack([upright(TOY, yaw) for yaw in np.linspace(0, 6, 8)])
    prior = ShapePrior.from_points(labelled, 0.012)
    points = torch.tensor(upright(TOY, 1.0)).float()
    assert prior.handedness_penalty(points).item() < 0.1
    assert prior.handedness_penalty(points[[0, 2, 1, 3]]).item() > 1


def test_settled_points_keep_labelled_distances_and_unknown_points_stay_unknown() -> None:
    prior = ShapePrior.from_points(placed(BOX, 10), 0.012)
    points = torch.tensor(placed(BOX, 3, 0.0, seed=3)).float()
    settled = prior.settle(0.9 * points, torch.ones(3, 3))
    assert prior.penalty(settled).max() < 0.05
    points[0, 1] = torch.nan
    settled = prior.settle(points, torch.ones(3, 3))
    assert settled[0, 1].isnan().all()
    assert torch.isfinite(settled[0, [0, 2]]).all()


def test_settling_leaves_a_shape_inside_its_ranges_alone() -> None:
    labelled = placed(TOY, 20, 0.003)
    prior = ShapePrior.from_points(labelled, 0.012)
    points = torch.tensor(labelled).float()
    assert torch.allclose(prior.settle(points, torch.ones(20, 4)), points, atol=1e-6)


def test_kabsch_gives_back_the_pose_and_never_a_reflection() -> None:
    rng = np.random.default_rng(5)
    rotation = torch.tensor(rotations(6, rng))
    translation = torch.tensor(rng.normal(size=(6, 3)))
    shape = torch.tensor(TOY)
    points = Pose(rotation, translation).apply(shape)
    found = kabsch(shape, points, torch.ones(6, 4))
    assert torch.allclose(found.rotation, rotation, atol=1e-9)
    assert torch.allclose(found.translation, translation, atol=1e-9)
    mirrored = kabsch(shape, points * torch.tensor([1.0, -1, 1]), torch.ones(6, 4))
    assert torch.allclose(torch.linalg.det(mirrored.rotation), torch.ones(6).double())


def test_kabsch_ignores_unknown_points_and_follows_weights() -> None:
    shape = torch.tensor(TOY)
    points = shape + torch.tensor([0.1, 0.2, 0.3])
    points[0] += 0.05
    weight = torch.tensor([1e-9, 1, 1, 1]).double()
    assert torch.allclose(kabsch(shape, points, weight).apply(shape)[1:], points[1:], atol=1e-6)
    points[0] = torch.nan
    found = kabsch(shape, points, torch.ones(4).double())
    assert torch.allclose(found.translation, torch.tensor([0.1, 0.2, 0.3]).double(), atol=1e-9)


def test_fitted_pose_converges_from_a_start_that_is_off() -> None:
    cameras = ring((0.5, 1.9, 3.6, 5.0), 120.0, 64, dtype=torch.float64)
    shape = torch.tensor(BOX - BOX.mean(0))
    truth = torch.tensor(upright(BOX, 1.1))
    cells, _ = cameras.project(truth[None])
    near = kabsch(shape, truth[None] + torch.tensor([0.02, -0.01, 0.01]), torch.ones(1, 3).double())
    fitted = fit_pose(shape, near, cameras, cells, torch.ones(1, 4, 3).double())
    assert (fitted.points[0] - truth).norm(dim=-1).max() < 1e-4
    assert fitted.residual.max() < 0.02


def test_spread_of_a_fitted_pose_is_that_of_repeated_fits() -> None:
    """Detections with one cell of noise: the projections scatter as predicted."""
    cameras = ring((0.5, 1.9, 3.6, 5.0), 120.0, 64, dtype=torch.float64)
    shape = torch.tensor(BOX - BOX.mean(0))
    truth = torch.tensor(upright(BOX, 1.1))[None]
    cells, _ = cameras.project(truth)
    start = kabsch(shape, truth, torch.ones(1, 3).double())
    noise = torch.randn(200, *cells.shape[1:], generator=torch.Generator().manual_seed(0)).double()
    many = type(cameras)(cameras.matrix.repeat(200, 1, 1, 1), cameras.centre.repeat(200, 1, 1))
    begin = Pose(start.rotation.repeat(200, 1, 1), start.translation.repeat(200, 1))
    fitted = fit_pose(shape, begin, many, cells + noise, torch.ones(200, 4, 3).double())
    projected, _ = many.project(fitted.points)
    scatter = (projected - cells).square().mean((0, 1, 3)).sqrt()
    assert torch.allclose(fitted.spread.mean(0), scatter, rtol=0.12)
