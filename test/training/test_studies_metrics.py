from __future__ import annotations

import numpy as np
import pytest

from s3k_ros.training.model.figures import Results
from s3k_ros.training.studies.metrics import summary

NAMES = ["left_front_paw", "right_front_paw", "head"]
TRUTH = np.array([[0.1, 0.05, 0.0], [0.1, -0.05, 0.0], [0.15, 0.0, 0.05]])


def results(points: np.ndarray, names: list[str] = NAMES) -> Results:
    """Made-up predictions (N, K, 3) of the same true scene, seen by two views without error."""
    count = len(points)
    shape = (count, len(names))
    pixels = np.zeros((count, 2, len(names), 2))
    return Results(
        names=names,
        truth=np.broadcast_to(TRUTH, (count, *TRUTH.shape)).copy(),
        points=points,
        covariances=np.broadcast_to(np.eye(3) * 1e-6, (*shape, 3, 3)).copy(),
        status=np.zeros(shape, int),
        confidences=np.ones(shape),
        views_used=np.full(shape, 2),
        pixels=pixels + np.array([3.0, 4.0]),
        view_confidences=np.ones((count, 2, len(names))),
        true_pixels=pixels,
        widths=np.full((count, 2), 64),
        seconds=np.ones(count),
    )


def scenes(count: int = 10) -> np.ndarray:
    return np.broadcast_to(TRUTH, (count, *TRUTH.shape)).copy()


def test_perfect_estimates_are_told_as_such() -> None:
    found = summary(results(scenes()))
    assert found["median_mm"] == found["swaps"] == found["paws_confused"] == 0.0
    assert found["size_ratio"] == pytest.approx(1.0)
    assert found["valid_worst"] == 1.0


def test_pixels_are_those_of_a_view_of_128_px() -> None:
    assert summary(results(scenes()))["rms_px"] == pytest.approx(5.0 * 128 / 64)


def test_exchanged_paws_are_swaps_and_confused() -> None:
    points = scenes()
    points[:3, [0, 1]] = points[:3, [1, 0]]
    found = summary(results(points))
    assert found["swaps"] == pytest.approx(0.3)
    assert found["paws_confused"] == pytest.approx(0.3)
    assert found["keypoints"]["head"]["swaps"] == 0.0


def test_a_keypoint_in_the_place_of_any_other_counts_where_there_is_no_mirror_image() -> None:
    points = scenes()
    points[:2, 2] = TRUTH[0]
    found = summary(results(points, ["corner_a", "corner_b", "corner_c"]))
    assert found["keypoints"]["corner_c"]["swaps"] == pytest.approx(0.2)
    assert "paws_confused" not in found


def test_a_collapse_shows_as_size() -> None:
    middle = TRUTH.mean(0)
    assert summary(results(middle + 0.4 * (scenes() - middle)))["size_ratio"] == pytest.approx(0.4)


def test_refused_keypoints_are_infinitely_wrong_but_not_among_the_valid() -> None:
    points = scenes() + np.array([0.003, 0.0, 0.0])
    points[:6] = np.nan
    found = summary(results(points))
    assert found["median_mm"] is None
    assert found["median_valid_mm"] == pytest.approx(3.0)
    assert found["valid"] == pytest.approx(0.4)


def test_nothing_but_refusals_has_figures_too() -> None:
    found = summary(results(np.full_like(scenes(), np.nan)), np.full(10, 0.3))
    assert found["median_valid_mm"] is found["size_ratio"] is found["length_fraction"] is None


def test_errors_are_divided_by_the_length_of_their_scenes_object() -> None:
    points = scenes(4) + np.array([0.006, 0.0, 0.0])
    found = summary(results(points), np.array([0.3, 0.3, 0.2, 0.3]))
    assert found["length_fraction"] == pytest.approx(0.02)
