# ruff: noqa: E402
from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.losses import gaussian_targets
from s3k_ros.training.multiview import VirtualCameras
from s3k_ros.training.shape_prior import ShapePrior
from s3k_ros.training.teacher import pseudo_labels

pytestmark = pytest.mark.torch

SIZE = 64
PARAMS = TrainingParameters(stage="crop")
# head, left paw, right paw, body
SHAPE = np.array([[0.11, 0, 0.07], [0.07, 0.07, 0.02], [0.07, -0.07, 0.02], [0.0, 0, 0.05]])


def rig() -> VirtualCameras:
    matrices, centres = [], []
    for angle in (0.5, 1.9, 3.6, 5.0):
        eye = np.array([0.7 * np.cos(angle), 0.7 * np.sin(angle), 0.8])
        z = -eye / np.linalg.norm(eye)
        x = np.cross(z, [0, 0, 1.0])
        x /= np.linalg.norm(x)
        intrinsics = np.array([[120.0, 0, 31.5], [0, 120.0, 31.5], [0, 0, 1]])
        matrices.append(intrinsics @ np.stack([x, np.cross(z, x), z]))
        centres.append(eye)
    return VirtualCameras(
        torch.tensor(np.array(matrices)[None]).float(),
        torch.tensor(np.array(centres)[None]).float(),
    )


def turned(yaw: float) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return SHAPE @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T


def prior() -> ShapePrior:
    points = np.stack([turned(yaw) for yaw in np.linspace(0, 6, 8)])
    points = points + np.random.default_rng(0).normal(0, 0.002, points.shape)
    return ShapePrior.from_points(points, 0.012)


def maps(points: np.ndarray) -> torch.Tensor:
    pixels, _ = rig().project(torch.tensor(points[None]).float())
    return gaussian_targets(pixels, SIZE, SIZE, PARAMS.sigma_px)


def test_clean_maps_give_back_the_points() -> None:
    points = turned(0.8)
    found = pseudo_labels(maps(points), rig(), prior(), PARAMS)
    assert (found.weight > 0).all()
    assert np.abs(found.points[0].numpy() - points).max() < 1e-3


def test_one_view_that_is_wrong_does_not_move_the_point() -> None:
    points = turned(0.8)
    probability = maps(points)
    probability[0, 2, 0] = torch.roll(probability[0, 2, 0], 20, dims=1)
    found = pseudo_labels(probability, rig(), prior(), PARAMS)
    assert np.abs(found.points[0].numpy() - points).max() < 2e-3


def test_left_and_right_are_told_apart_by_the_shape() -> None:
    """The maps of both paws lean to the wrong one, in every view; only the shape knows."""
    points = turned(2.0)
    right = maps(points)
    swapped = right[:, :, [0, 2, 1, 3]]
    probability = 0.4 * right + 0.6 * swapped
    alone = pseudo_labels(probability, rig(), None, PARAMS)
    joint = pseudo_labels(probability, rig(), prior(), PARAMS)
    assert np.linalg.norm(alone.points[0, 1].numpy() - points[2]) < 5e-3
    assert np.abs(joint.points[0].numpy() - points).max() < 5e-3


def test_views_that_do_not_agree_give_no_pseudo_label() -> None:
    generator = torch.Generator().manual_seed(4)
    cells = torch.randint(5, SIZE - 5, (1, 4, 4, 2), generator=generator).float()
    probability = gaussian_targets(cells, SIZE, SIZE, PARAMS.sigma_px)
    found = pseudo_labels(probability, rig(), prior(), PARAMS)
    assert (found.weight > 0).sum() <= 1


def test_flat_maps_give_no_pseudo_label() -> None:
    flat = torch.full((1, 4, 4, SIZE, SIZE), 1 / SIZE**2)
    assert (pseudo_labels(flat, rig(), prior(), PARAMS).weight == 0).all()


def test_prior_penalises_a_shrunken_shape_and_a_mirrored_one() -> None:
    learned = prior()
    assert learned.distance_penalty(1, 2, torch.tensor(0.14)).item() == pytest.approx(0, abs=0.05)
    assert learned.distance_penalty(1, 2, torch.tensor(0.11)).item() > 1
    points = torch.tensor(turned(1.0)).float()
    assert learned.handedness_penalty(points).item() < 0.1
    assert learned.handedness_penalty(points[[0, 2, 1, 3]]).item() > 1
