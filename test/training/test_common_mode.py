"""The estimator on worlds whose truth is known: right on average, with a scatter that is stated."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import chi2

from s3k_ros.errors import DataError
from s3k_ros.training.common_mode import HeldOut, common_mode

Array = npt.NDArray[np.float64]

KEYPOINTS = 5
GEOMETRY_M = np.array([1.4e-3, 1.4e-3, 2.0e-3])
WORLDS = 60
LEVELS = np.array([0.5, 0.9, 0.95])


@dataclasses.dataclass(frozen=True)
class World:
    """Held-out errors of labelled samples, and the errors of the shipped network elsewhere."""

    held_out: HeldOut
    errors: Array


def make_world(
    seed: int, labels: int = 10, click_m: float = 2e-3, apart_m: float = 1.5e-3, folds: int = 5
) -> World:
    """An object that turns, with a bias fixed to it; folds that are a little off the final network.

    Half of the common mode is bias, half changes from scene to scene; keypoints differ by factors.
    """
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.normal(0.0, 0.4, KEYPOINTS))[:, np.newaxis]
    bias = rng.normal(0.0, 1.3e-3, (KEYPOINTS, 3)) * scale
    fold_bias = rng.normal(0.0, apart_m / np.sqrt(2), (folds, KEYPOINTS, 3)) * scale

    def turned(yaw: Array, fixed: Array) -> Array:
        c, s = np.cos(yaw), np.sin(yaw)
        zero, one = np.zeros_like(yaw), np.ones_like(yaw)
        rows = np.array([[c, -s, zero], [s, c, zero], [zero, zero, one]])
        return np.einsum("ijn,nkj->nki", rows, np.broadcast_to(fixed, (len(yaw), KEYPOINTS, 3)))

    def noise(count: int, size: float | Array) -> Array:
        return rng.normal(0.0, 1.0, (count, KEYPOINTS, 3)) * size

    def errors(yaw: Array) -> Array:
        own = noise(len(yaw), 1.3e-3) * scale + noise(len(yaw), GEOMETRY_M)
        return turned(yaw, bias) + own

    yaw = rng.uniform(-np.pi, np.pi, labels)
    fold = np.arange(labels) % folds
    apart = turned(yaw, fold_bias[fold]) + noise(labels, apart_m / np.sqrt(2)) * scale
    held = errors(yaw) + apart - noise(labels, click_m)
    explained = GEOMETRY_M**2 + click_m**2 + (apart_m * scale) ** 2
    return World(
        HeldOut(held, np.broadcast_to(explained, held.shape).copy(), np.ones((labels, KEYPOINTS))),
        errors(rng.uniform(-np.pi, np.pi, 400)),
    )


def honesty(world: World, held_out: HeldOut | None = None) -> tuple[Array, Array]:
    """Coverage (K, 3) of the 50/90/95 % regions and sharpness (K,) on the other scenes."""
    common = np.diagonal(common_mode(held_out or world.held_out), axis1=1, axis2=2)
    variance = GEOMETRY_M**2 + common
    distance = (world.errors**2 / variance).sum(-1)
    coverage = (distance[..., np.newaxis] < chi2.ppf(LEVELS, 3)).mean(0)
    return coverage, np.sqrt(variance.sum(-1) / (world.errors**2).sum(-1).mean(0))


@pytest.mark.parametrize("click_m", [0.5e-3, 2e-3])
def test_coverage_of_ten_labels_is_right_on_average(click_m: float) -> None:
    found = [honesty(make_world(seed, click_m=click_m)) for seed in range(WORLDS)]
    coverage = np.mean([c for c, _ in found], axis=(0, 1))
    # The mean over the worlds scatters by a bit more than one point at 50 %.
    assert np.abs(coverage - LEVELS).max() < 0.03
    assert np.mean([s for _, s in found]) == pytest.approx(1.02, abs=0.06)


def test_scatter_of_ten_labels_is_a_tenth_of_the_size_of_the_regions() -> None:
    sharpness = np.array([honesty(make_world(seed))[1] for seed in range(WORLDS)])
    together = np.exp(np.log(sharpness).mean(1))
    assert together.std() < 0.13
    assert sharpness.std() < 0.22
    assert 0.8 < np.quantile(together, 0.05) < np.quantile(together, 0.95) < 1.25


def test_many_labels_find_the_common_mode_of_every_keypoint() -> None:
    sharpness = np.array(
        [honesty(make_world(seed, labels=300, folds=100))[1] for seed in range(10)]
    )
    assert np.abs(np.log(sharpness)).max() < 0.2


def test_what_is_explained_is_not_counted_twice() -> None:
    world = make_world(1, labels=300)
    blind = dataclasses.replace(
        world.held_out, explained=np.full_like(world.held_out.explained, 1e-9)
    )
    assert honesty(world)[1].mean() == pytest.approx(1.0, abs=0.07)
    assert honesty(world, blind)[1].mean() > 1.5


def test_errors_that_are_all_explained_leave_little_common_mode() -> None:
    rng = np.random.default_rng(0)
    explained = np.full((40, 3, 3), 4e-6)
    held_out = HeldOut(rng.normal(0, 2e-3, explained.shape), explained, np.ones((40, 3)))
    common = common_mode(held_out)
    assert np.sqrt(np.diagonal(common, axis1=1, axis2=2)).max() < 0.9e-3
    assert (np.linalg.eigvalsh(common) > 0).all()


def test_keypoint_without_errors_is_taken_for_one_like_the_others() -> None:
    world = make_world(3, labels=40)
    errors = world.held_out.errors.copy()
    errors[:, 2] = np.nan
    common = common_mode(dataclasses.replace(world.held_out, errors=errors))
    size = np.sqrt(np.trace(common, axis1=1, axis2=2))
    others = np.delete(size, 2)
    assert others.min() * 0.8 < size[2] < others.max() * 1.6


def test_level_axes_are_alike_and_the_vertical_is_apart() -> None:
    rng = np.random.default_rng(0)
    errors = rng.normal(0, 1, (200, 2, 3)) * [3e-3, 3e-3, 1e-3]
    held_out = HeldOut(errors, np.full_like(errors, 1e-8), np.ones((200, 2)))
    for matrix in np.sqrt(common_mode(held_out)):
        assert matrix[0, 0] == matrix[1, 1] == pytest.approx(3e-3, rel=0.1)
        assert matrix[2, 2] == pytest.approx(1e-3, rel=0.15)
        assert not (matrix - np.diag(np.diagonal(matrix))).any()


def test_harder_samples_count_by_their_factor() -> None:
    rng = np.random.default_rng(0)
    factors = np.exp(rng.normal(0, 1, (300, 2)))
    errors = rng.normal(0, 2e-3, (300, 2, 3)) * np.sqrt(factors)[..., np.newaxis]
    held_out = HeldOut(errors, np.full_like(errors, 1e-8), factors)
    size = np.sqrt(np.diagonal(common_mode(held_out), axis1=1, axis2=2))
    assert size == pytest.approx(2e-3, rel=0.1)


def test_hardly_any_error_and_shapes_that_do_not_fit_are_refused() -> None:
    errors = np.full((4, 2, 3), np.nan)
    errors[:2, 0] = 0.0
    with pytest.raises(DataError, match="2 held-out errors, at least 6"):
        HeldOut(errors, np.ones_like(errors), np.ones((4, 2)))
    with pytest.raises(DataError, match="must be"):
        HeldOut(np.zeros((9, 2, 3)), np.zeros((9, 3, 3)), np.ones((9, 2)))
