from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from support.rigs import make_rig

from s3k_ros.errors import DataError
from s3k_ros.geometry import _native
from s3k_ros.geometry.camera import CameraStack
from s3k_ros.geometry.triangulation import (
    Triangulation,
    TriangulationStatus,
    triangulate,
    triangulate_robust,
)

NOISE_PX = 1.0
# 95 % of chi-square with 3 degrees of freedom.
IN_95 = 7.815


def seen(
    lens: str, cameras: int, points: int, outliers: int = 0, missing: int = 0, seed: int = 1
) -> tuple[CameraStack, np.ndarray, np.ndarray, np.ndarray]:
    """Stack, points (N, 3), noisy pixels (C, N, 2) and which of them (C, N) are right.

    Of each point some views, drawn at random, are up to 120 px off in u and v, and others missing.
    """
    rng = np.random.default_rng(seed)
    rig = make_rig(lens, cameras)
    truth = np.array([0.6, 0.0, 0.05]) + rng.uniform(-0.1, 0.1, (points, 3))
    pixels = np.array([camera.project(truth) for camera in rig])
    pixels += NOISE_PX * rng.normal(size=pixels.shape)
    order = rng.permuted(np.tile(np.arange(cameras), (points, 1)), axis=1).T
    lies = order < outliers
    pixels[lies] += rng.uniform(-120, 120, (int(lies.sum()), 2))
    absent = (order >= outliers) & (order < outliers + missing)
    pixels[absent] = np.nan
    return CameraStack(rig), truth, pixels, ~lies & ~absent


def unit(pixels: np.ndarray) -> np.ndarray:
    return np.broadcast_to(NOISE_PX**2 * np.eye(2), (*pixels.shape, 2))


def fields(found: Triangulation) -> Iterator[np.ndarray]:
    yield from (getattr(found, name) for name in Triangulation.__dataclass_fields__)


@pytest.mark.parametrize("lens", ["ideal", "plumb_bob", "rational_polynomial"])
@pytest.mark.parametrize(
    ("cameras", "outliers", "missing"),
    [
        (2, 0, 0), (3, 0, 0), (4, 0, 0), (4, 0, 2), (4, 1, 0), (5, 1, 0), (5, 1, 1), (6, 1, 0),
        (7, 1, 0), (8, 1, 0), (8, 1, 4), (8, 3, 0),
    ],
)  # fmt: skip
def test_regions_hold_the_truth_as_often_as_they_claim(
    lens: str, cameras: int, outliers: int, missing: int
) -> None:
    stack, truth, pixels, right = seen(lens, cameras, 5000, outliers, missing)
    found = triangulate_robust(stack, pixels, unit(pixels))
    good = found.status == TriangulationStatus.OK
    error = (found.points - truth)[good]
    squared = np.einsum("ni,nij,nj->n", error, np.linalg.inv(found.covariances[good]), error)
    assert good.mean() > 0.99
    assert 0.93 < np.mean(squared < IN_95) < 0.97
    assert np.mean(squared < 2.366) == pytest.approx(0.5, abs=0.025)  # 50 %
    # Small lies pass for noise; one view in a thousand is dropped without need.
    assert np.mean((found.views_used == right.T)[good].all(axis=1)) > 0.99


def test_false_alarms_are_as_rare_as_stated() -> None:
    stack, _, pixels, _ = seen("plumb_bob", 4, 20_000)
    found = triangulate_robust(stack, pixels, unit(pixels), false_alarm=0.01)
    # Two tests that mostly find the same points; standard error 0.1 %.
    assert 0.007 < np.mean(~found.views_used.all(axis=1)) < 0.02


def test_without_disagreement_nothing_changes() -> None:
    stack, _, pixels, _ = seen("plumb_bob", 4, 50)
    plain, robust = (
        method(stack, pixels, 4.0 * unit(pixels)) for method in (triangulate, triangulate_robust)
    )
    for a, b in zip(fields(plain), fields(robust), strict=True):
        assert np.array_equal(a, b, equal_nan=True)


def test_a_dropped_view_is_as_if_it_were_missing() -> None:
    stack, _, pixels, _ = seen("plumb_bob", 5, 20)
    lying = pixels.copy()
    lying[2] += 50.0
    pixels[2] = np.nan
    dropped = triangulate_robust(stack, lying, unit(pixels))
    missing = triangulate(stack, pixels, unit(pixels))
    assert np.allclose(dropped.points, missing.points, atol=1e-12)
    assert np.allclose(dropped.covariances, missing.covariances, rtol=1e-9)
    assert np.array_equal(dropped.views_used, missing.views_used)
    assert (np.abs(dropped.residuals[2]) > 30).all()  # compared all the same


def test_three_views_that_disagree_are_inconsistent() -> None:
    stack, _, pixels, _ = seen("plumb_bob", 3, 20)
    pixels[1] += (40.0, -30.0)
    found = triangulate_robust(stack, pixels, unit(pixels))
    assert (found.status == TriangulationStatus.INCONSISTENT).all()
    for numbers in (found.points, found.covariances, found.residuals, found.chi_square):
        assert np.isnan(numbers).all()
    assert not found.views_used.any()
    # Those who know better say so by covariances.
    wide = np.broadcast_to(50.0**2 * np.eye(2), (*pixels.shape, 2))
    assert (triangulate_robust(stack, pixels, wide).status == TriangulationStatus.OK).all()


@pytest.mark.parametrize("cameras", [4, 6])
def test_half_of_the_views_do_not_outvote_the_others(cameras: int) -> None:
    stack, truth, pixels, _ = seen("plumb_bob", cameras, 20)
    elsewhere = stack.project(truth + np.array([0.0, 0.15, 0.1]))[0]
    pixels[cameras // 2 :] = elsewhere[cameras // 2 :]
    found = triangulate_robust(stack, pixels, unit(pixels))
    # A view along whose ray both points lie agrees with either half.
    assert np.mean(found.status == TriangulationStatus.INCONSISTENT) > 0.9
    good = found.status == TriangulationStatus.OK
    assert (found.views_used[good].sum(axis=1) > cameras // 2).all()


def test_two_views_are_left_alone() -> None:
    stack, _, pixels, _ = seen("plumb_bob", 2, 20)
    pixels[1] += 30.0
    plain = triangulate(stack, pixels, unit(pixels))
    found = triangulate_robust(stack, pixels, unit(pixels))
    assert (found.status == TriangulationStatus.OK).all()
    assert np.array_equal(found.points, plain.points)


@pytest.mark.parametrize("method", [triangulate, triangulate_robust])
def test_a_batch_is_its_points_one_by_one(method) -> None:
    stack, _, pixels, _ = seen("rational_polynomial", 6, 37, outliers=1, missing=1)
    weights = np.random.default_rng(2).uniform(0.1, 1.0, pixels.shape[:2])
    covariances = unit(pixels)
    batch = method(stack, pixels, covariances, weights)
    for k in range(pixels.shape[1]):
        at = slice(k, k + 1)
        one = method(stack, pixels[:, at], covariances[:, at], weights[:, at])
        assert one.status[0] == batch.status[k]
        assert np.array_equal(one.points[0], batch.points[k], equal_nan=True)
        assert np.array_equal(one.covariances[0], batch.covariances[k], equal_nan=True)
        assert np.array_equal(one.residuals[:, 0], batch.residuals[:, k], equal_nan=True)
        assert np.array_equal(one.views_used[0], batch.views_used[k])


@pytest.fixture
def widest() -> Iterator[None]:
    """Puts back the number of points side by side."""
    yield
    for lanes in (2, 4, 8):
        _native.set_lanes(lanes)


@pytest.mark.usefixtures("widest")
def test_every_width_of_vectors_gives_the_same() -> None:
    stack, _, pixels, _ = seen("rational_polynomial", 6, 200, outliers=1, missing=2)
    assert _native.set_lanes(2)
    narrow = triangulate_robust(stack, pixels, unit(pixels))
    assert not _native.set_lanes(3)
    for lanes in (4, 8):
        if _native.set_lanes(lanes):
            wide = triangulate_robust(stack, pixels, unit(pixels))
            for a, b in zip(fields(narrow), fields(wide), strict=True):
                # Steps end a ten-thousandth of a standard deviation short of the optimum.
                assert np.allclose(a, b, rtol=1e-3, atol=1e-6, equal_nan=True)


def test_arrays_of_any_layout_do() -> None:
    stack, _, pixels, _ = seen("plumb_bob", 4, 9)
    plain = triangulate_robust(stack, pixels, unit(pixels))
    turned = np.asfortranarray(pixels)
    found = triangulate_robust(stack, turned, np.asfortranarray(unit(pixels)))
    assert np.array_equal(found.points, plain.points)
    backwards = triangulate_robust(stack, pixels[:, ::-1], unit(pixels))
    assert np.array_equal(backwards.points[::-1], plain.points)


def test_residuals_are_measured_minus_projected() -> None:
    for lens in ("ideal", "plumb_bob", "rational_polynomial"):
        stack, _, pixels, _ = seen(lens, 4, 30)
        found = triangulate(stack, pixels, unit(pixels))
        projected, jacobians, _ = stack.project(found.points)
        assert np.allclose(found.residuals, pixels - projected, atol=1e-9)
        information = np.einsum("ckpi,ckpj->kij", jacobians, jacobians)
        # Taken at the last point but a negligible step.
        assert np.allclose(found.covariances, np.linalg.inv(information), rtol=1e-3)


def test_common_mode_and_no_points() -> None:
    stack, _, pixels, _ = seen("plumb_bob", 4, 5)
    shared = 1e-6 * np.eye(3)
    plain, wider = (
        triangulate_robust(stack, pixels, unit(pixels), common_mode=common)
        for common in (None, shared)
    )
    assert np.allclose(wider.covariances, plain.covariances + shared)
    none = triangulate_robust(stack, pixels[:, :0], unit(pixels)[:, :0])
    assert none.points.shape == (0, 3) and none.views_used.shape == (0, 4)


def test_misfitting_arguments_are_refused() -> None:
    stack, _, pixels, _ = seen("ideal", 4, 3)
    with pytest.raises(DataError, match="pixels"):
        triangulate_robust(stack, pixels[:3], unit(pixels))
    with pytest.raises(DataError, match="covariances"):
        triangulate_robust(stack, pixels, unit(pixels)[:, :2])
    with pytest.raises(DataError, match="false_alarm"):
        triangulate_robust(stack, pixels, unit(pixels), false_alarm=1.0)
    with pytest.raises(ValueError, match="argument 3"):
        _native.triangulate(stack.packed, *[pixels] * 3, 0.0, *[pixels] * 10)  # type: ignore[call-arg]
