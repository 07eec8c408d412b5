from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.rigs import make_rig
from support.synthetic_model import description

from s3k_ros.geometry.camera import Camera
from s3k_ros.perception.description import SpaceConfidence
from s3k_ros.perception.detector import ViewKeypoints
from s3k_ros.perception.triangulator import KeypointTriangulator
from s3k_ros.training.uncertainty.space import Scene, distances, space_confidence

NAMES = ("head", "tail", "paw")
SHAPE = np.array([[0.0, 0.0, 0.0], [0.12, 0.0, 0.0], [0.0, 0.08, 0.04]])
CONFIDENCES = np.array([0.98, 0.8, 0.4, 0.15])


def make_scenes(count: int, seed: int) -> tuple[list[Scene], np.ndarray]:
    """Scenes of four views, of which as many are wrong as their confidences say, and the truth."""
    rng = np.random.default_rng(seed)
    cameras: list[Camera] = make_rig()
    scenes, truth = [], np.empty((count, len(NAMES), 3))
    for n in range(count):
        angle = rng.uniform(-np.pi, np.pi)
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        truth[n] = SHAPE @ turn.T + [0.6, 0.0, 0.05] + rng.uniform(-0.05, 0.05, 3)
        views: list[ViewKeypoints | None] = []
        for camera in cameras:
            confidences = rng.choice(CONFIDENCES, len(NAMES), p=[0.25, 0.15, 0.2, 0.4])
            wrong = rng.uniform(size=len(NAMES)) > confidences
            pixels = camera.project(truth[n]) + rng.normal(0.0, 1.0, (len(NAMES), 2))
            pixels[wrong] += rng.uniform(-60, 60, (int(wrong.sum()), 2))
            covariances = np.broadcast_to(np.eye(2), (len(NAMES), 2, 2)).copy()
            views.append(ViewKeypoints(pixels, covariances, confidences))
        scenes.append((cameras, views))
    return scenes, truth


@pytest.mark.parametrize("with_shape", [False, True])
def test_fitted_confidence_is_wrong_as_often_as_it_says(with_shape: bool) -> None:
    scenes, _ = make_scenes(120, 1)
    model = description(NAMES)
    if with_shape:
        points = make_scenes(60, 2)[1]
        model = dataclasses.replace(
            model, shape=distances(points, np.full((60, 3, 3, 3), 1e-7) * np.eye(3))
        )
    space = space_confidence(scenes, model)
    assert (space.support > 0) == with_shape
    found, truth = make_scenes(300, 3)
    uncertainty = dataclasses.replace(model.uncertainty, space_confidence=space)
    model = dataclasses.replace(model, uncertainty=uncertainty)
    triangulator = KeypointTriangulator.from_description(model)
    evidence = [triangulator.evidence(cameras, views) for cameras, views in found]
    confidence = np.array([e.probability(space) for e in evidence])
    error = np.linalg.norm(np.array([e.points for e in evidence]) - truth, axis=-1)
    known = confidence > 0
    gross = error > 0.03
    # What is believed is hardly ever wrong, and what is not often is.
    assert gross[confidence > 0.9].mean() < 0.02
    assert (confidence > 0.9).mean() > (0.45, 0.65)[with_shape]
    assert gross[known & (confidence < 0.5)].mean() > 0.3
    # Views that were left out are fewer than there are, hence the margin.
    assert (1 - confidence[known]).mean() == pytest.approx(gross[known].mean(), rel=0.6)


def test_without_sure_views_the_confidence_stays_what_experience_says() -> None:
    cameras = make_rig()
    blind = ViewKeypoints(np.full((3, 2), 300.0), np.stack([np.eye(2)] * 3), np.full(3, 0.1))
    space = space_confidence([(cameras, [blind] * 4)], description(NAMES))
    assert dataclasses.astuple(space) == pytest.approx((0.5, 0.45, 2.2, 0.0), abs=1e-3)
    assert isinstance(space, SpaceConfidence)


def test_distances_of_a_rigid_object_are_found_with_their_spread() -> None:
    rng = np.random.default_rng(0)
    _, truth = make_scenes(400, 4)
    points = truth + rng.normal(0.0, 0.002, truth.shape)
    points[:40, 0] += 0.1  # wrong points
    points[40:60, 1] = np.nan
    geometry = np.broadcast_to(0.0015**2 * np.eye(3), (*points.shape, 3))
    found = {d.keypoints: d for d in distances(points, geometry)}
    assert set(found) == {(0, 1), (0, 2), (1, 2)}
    for (i, j), distance in found.items():
        length = np.linalg.norm(SHAPE[i] - SHAPE[j])
        assert distance.distance_m == pytest.approx(length, abs=0.0005)
        # Of 2 mm an axis the geometry explains 1.5 mm.
        spread = np.sqrt(2) * np.sqrt(0.002**2 - 0.0015**2)
        assert distance.spread_m == pytest.approx(spread, rel=0.25)


def test_distances_that_vary_or_are_rarely_seen_are_not_known() -> None:
    rng = np.random.default_rng(0)
    _, points = make_scenes(100, 5)
    points[:, 1] += rng.normal(0.0, 0.02, (100, 3))  # a limb that bends
    geometry = np.broadcast_to(1e-7 * np.eye(3), (*points.shape, 3))
    assert {d.keypoints for d in distances(points, geometry)} == {(0, 2)}
    points[20:, 2] = np.nan
    assert distances(points, geometry) == ()


def test_no_more_distances_than_a_shape_has_degrees_of_freedom() -> None:
    rng = np.random.default_rng(0)
    rigid = rng.uniform(-0.1, 0.1, (8, 3))
    points = rigid + rng.uniform(-0.05, 0.05, (50, 1, 3))
    geometry = np.broadcast_to(1e-8 * np.eye(3), (*points.shape, 3))
    assert len(distances(points, geometry)) == 3 * 8 - 6
    assert len(distances(points[:, :2], geometry[:, :2])) == 1
