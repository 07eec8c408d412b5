"""The estimator on worlds whose truth is known: right on average, with a scatter that is stated."""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np
import pytest

from s3k_ros.bench import uncertainty
from s3k_ros.bench.uncertainty import LEVELS, honesty, make_world
from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.training.uncertainty.common_mode import HeldOut, common_mode

WORLDS = 60


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


def test_bench_states_scatter_beside_the_average() -> None:
    parser = argparse.ArgumentParser()
    uncertainty.add_arguments(parser)
    result = uncertainty.run(parser.parse_args(["--worlds", "10"]))
    assert len(result.targets) == len(uncertainty.LABELS) * len(uncertainty.CLICKS_M)
    low, high = result.figures["10 labels, clicks of 2 mm"]["sharpness_of_all_5_to_95_percent"]
    assert low < 1.0 < high
    with pytest.raises(ConfigurationError, match="--worlds"):
        uncertainty.run(parser.parse_args(["--worlds", "1"]))
