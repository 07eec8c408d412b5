from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from support.rigs import make_rig
from support.synthetic_model import KEYPOINTS, description, paint_views, write_model

from s3k_ros.perception.detector import KeypointDetector
from s3k_ros.training.dataset.reader import Dataset, DatasetWriter
from s3k_ros.training.uncertainty.held_out import (
    USUAL_GROWTH,
    Estimates,
    Witness,
    clicked_points,
    explain,
    growth_of,
    locate,
)
from s3k_ros.training.uncertainty.object_turn import rotations, turns

Array = npt.NDArray[np.float64]
POINTS = np.array(
    [[0.60, 0.0, 0.02], [0.69, 0.05, 0.02], [0.51, 0.06, 0.03], [0.60, -0.09, 0.05],
     [0.52, -0.07, 0.08]]
)  # fmt: skip
CLICK_PX = 2.0


@pytest.fixture(scope="module")
def clicked(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twelve labelled scenes with clicks of 2 px, one view in five missing."""
    folder = tmp_path_factory.mktemp("data") / "clicks"
    cameras, rng = make_rig(), np.random.default_rng(0)
    with DatasetWriter(folder, "blobs", list(KEYPOINTS), [c.name for c in cameras]) as writer:
        for sample in range(12):
            points = POINTS + rng.uniform(-0.03, 0.03, 3) * [1, 1, 0]
            images = dict(
                zip([c.name for c in cameras], paint_views(cameras, points, 6.0), strict=True)
            )
            clicks = {
                (camera.name, name): tuple(pixel + rng.normal(0, CLICK_PX, 2))
                for camera in cameras
                for name, pixel in zip(KEYPOINTS, camera.project(points), strict=True)
                if rng.random() < 0.8
            }
            writer.add(images, cameras, clicks, points, seed=sample)
    return Dataset(folder)


def test_error_of_clicks_is_read_from_how_they_agree(clicked: Dataset) -> None:
    points, variance, click_px = clicked_points(clicked, range(12))
    assert click_px == pytest.approx(CLICK_PX, rel=0.1)
    errors = points - np.stack([clicked.truth(i) for i in range(12)])
    known = np.isfinite(errors)
    # Some 170 numbers: the root of their mean scatters by 6 %.
    assert np.sqrt((errors[known] ** 2 / variance[known]).mean()) == pytest.approx(1.0, abs=0.15)


def test_few_clicks_leave_their_error_to_experience(clicked: Dataset) -> None:
    assert clicked_points(clicked, [0])[2] == 1.5
    wide = clicked_points(clicked, [0], click_px=3.0)
    assert wide[2] == 3.0
    assert np.allclose(wide[1], 4.0 * clicked_points(clicked, [0])[1], equal_nan=True)


def test_located_keypoints_are_those_of_the_runtime_without_common_mode(
    clicked: Dataset, tmp_path: Path
) -> None:
    write_model(tmp_path / "blobs.onnx")
    detector = KeypointDetector.load(str(tmp_path / "blobs.onnx"))
    found = locate(detector, clicked, [3, 5], description().uncertainty)
    truth = np.stack([clicked.truth(3), clicked.truth(5)])
    assert np.linalg.norm(found.points - truth, axis=-1).max() < 0.002
    assert found.reference.shape == (5,)
    # Half a pixel at 1 m and 400 px focal length, without the 1 mm^2 of the common mode.
    assert np.sqrt(found.reference / 3).max() < 0.0015


def scenes(rng: np.random.Generator, count: int, growth: float) -> tuple[Array, Array]:
    """Geometry covariances (N, 2, 3, 3) of differing difficulty, and factors (N, 2)."""
    trace = 6e-6 * np.exp(rng.normal(0.0, 0.5, (count, 2)))
    factors = (trace / trace.mean(0)) ** growth
    return trace[..., np.newaxis, np.newaxis] / 3 * np.eye(3), factors


def normal(rng: np.random.Generator, factors: Array, size: float) -> Array:
    return rng.normal(0.0, size, (*factors.shape, 3)) * np.sqrt(factors)[..., np.newaxis]


@pytest.mark.parametrize("growth", [0.0, 1.0, 1.8])
def test_growth_is_read_from_how_networks_come_apart(growth: float) -> None:
    rng = np.random.default_rng(0)
    geometry, factors = scenes(rng, 200, growth)
    shipped = Estimates(np.zeros((200, 2, 3)), geometry)
    differences = np.array([normal(rng, factors, 2e-3) for _ in range(4)])
    differences[0, :50, 1] = np.nan
    assert growth_of(differences, shipped) == pytest.approx(growth, abs=0.15)


SHAPE = np.array([[0.1, 0.0, 0.05], [-0.1, 0.02, 0.0]])


@dataclasses.dataclass(frozen=True)
class Rates:
    """Standard deviations, m, of what networks err by.

    Attributes:
        common: of all networks alike.
        own: of each network's own, the shipped one included.
        learned: of the folds' alone, which the shipped network no longer has.
        offset: fixed to the object, of the folds alone.
    """

    common: float = 2e-3
    own: float = 0.0
    learned: float = 0.0
    offset: float = 0.0


def witnesses_of(rng: np.random.Generator, rates: Rates) -> tuple[list[Witness], Estimates]:
    """Five networks asked about 200 labels each, and the shipped one on 150 scenes."""
    click = 1e-3
    geometry, factors = scenes(rng, 150, 1.0)
    turned = rotations(rng.uniform(-np.pi, np.pi, 150))
    truth = np.einsum("nij,kj->nki", turned, SHAPE)
    shared = normal(rng, factors, rates.learned)
    shipped = Estimates(truth + normal(rng, factors, rates.own), geometry)
    offset = rates.offset * np.array([1.0, -0.5, 1.0])
    found = []
    for _ in range(5):
        own, hard = scenes(rng, 200, 1.0)
        frames = rotations(rng.uniform(-np.pi, np.pi, 200))
        clicks = np.einsum("nij,kj->nki", frames, SHAPE)
        errors = normal(rng, np.ones_like(hard), 1.0) * np.sqrt(np.diagonal(own, axis1=2, axis2=3))
        for size in (rates.common, rates.own, rates.learned):
            errors += normal(rng, hard, size)
        errors += np.einsum("nij,j->ni", frames, offset)[:, np.newaxis]
        noisy = clicks + rng.normal(0, click, errors.shape)
        elsewhere = truth + normal(rng, factors, rates.own) + shared
        elsewhere += np.einsum("nij,j->ni", turned, offset)[:, np.newaxis]
        # The fold says 1.5 times the covariance wherever the shipped network says one.
        found.append(
            Witness(
                Estimates(clicks + errors, 1.5 * own),
                noisy,
                np.full(errors.shape, click**2),
                Estimates(elsewhere, 1.5 * geometry),
            )
        )
    return found, shipped


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        (Rates(), 2e-3),
        # What the shipped network has learned in addition is no error of its.
        (Rates(learned=2e-3), 2e-3),
        # What every training adds of its own is one.
        (Rates(own=1.5e-3), 2.5e-3),
        (Rates(offset=4e-3), 2e-3),
        (Rates(own=1.5e-3, learned=2e-3, offset=2e-3), 2.5e-3),
    ],
    ids=["alike", "learned", "own", "offset", "all"],
)
def test_common_mode_of_the_shipped_network_is_found_through_worse_ones(
    rates: Rates, expected: float
) -> None:
    witnesses, shipped = witnesses_of(np.random.default_rng(0), rates)
    mode, held_out = explain(witnesses, shipped)
    assert held_out.known.all()
    assert np.allclose(mode.reference, shipped.reference)
    size = np.sqrt(np.diagonal(mode.matrices, axis1=1, axis2=2))
    # What the folds share is measured on 150 scenes and 2 keypoints.
    assert size == pytest.approx(expected, rel=0.2)


def test_turns_of_an_object_are_found_with_keypoints_missing() -> None:
    rng = np.random.default_rng(0)
    angles = rng.uniform(-np.pi, np.pi, 30)
    shape = np.vstack([SHAPE, [[0.0, 0.07, 0.1]]])
    points = np.einsum("nij,kj->nki", rotations(angles), shape) + rng.uniform(-1, 1, (30, 1, 3))
    points += rng.normal(0, 1e-3, points.shape)
    points[5, 0] = np.nan
    points[7] = np.nan
    found = np.exp(1j * (turns(points) - angles))
    found = np.delete(found, 7)
    assert np.abs(np.angle(found / found.mean())).max() < 0.06
    assert turns(points)[7] == 0.0
    assert not turns(points[:, :1]).any()


def test_held_out_labels_of_the_shipped_network_need_no_other_network() -> None:
    rng = np.random.default_rng(1)
    geometry, _ = scenes(rng, 150, USUAL_GROWTH)
    shipped = Estimates(np.zeros((150, 2, 3)), geometry)
    own, hard = scenes(rng, 200, USUAL_GROWTH)
    errors = normal(rng, hard, 2e-3)
    errors += normal(rng, np.ones_like(hard), 1.0) * np.sqrt(np.diagonal(own, axis1=2, axis2=3))
    errors[:3] = 0.5
    held = Estimates(errors, own)
    mode, held_out = explain([Witness(held, 0 * errors, np.full(errors.shape, 1e-8))], shipped)
    assert mode.growth == USUAL_GROWTH
    # The same limit as in the evaluation: gross errors are the confidence's business.
    assert held_out.known.sum() == 394
    assert np.sqrt(np.diagonal(mode.matrices, axis1=1, axis2=2)) == pytest.approx(2e-3, rel=0.15)
