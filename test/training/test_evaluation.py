from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from support.rigs import make_rig
from support.synthetic_model import KEYPOINTS, paint_views, write_model

from s3k_ros.errors import ConfigurationError
from s3k_ros.training.dataset.reader import Dataset, DatasetWriter
from s3k_ros.training.model import evaluation
from s3k_ros.training.model.evaluation import Results, evaluate, figures, table
from s3k_ros.training.model.figures import object_axes

NAMES = ["head", "left_paw", "right_paw"]
Array = npt.NDArray[np.float64]


def made_up(count: int = 4000, claimed: float = 0.005, seed: int = 0, **changes: Any) -> Results:
    """Errors of 5 mm an axis, and a covariance that claims ``claimed`` m an axis."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(-0.3, 0.3, (count, 1, 3)) + np.eye(3) * 0.1
    shape = (count, len(NAMES))
    true_pixels = rng.uniform(100, 500, (count, 2, len(NAMES), 2))
    values: dict[str, Any] = {
        "names": NAMES,
        "truth": truth,
        "points": truth + rng.normal(0, 0.005, truth.shape),
        "covariances": np.broadcast_to(np.eye(3) * claimed**2, (*shape, 3, 3)).copy(),
        "status": np.zeros(shape, int),
        "confidences": np.full(shape, 0.98),
        "views_used": np.full(shape, 2),
        "pixels": true_pixels + rng.normal(0, 1.0, true_pixels.shape),
        "view_confidences": np.full(true_pixels.shape[:-1], 0.95),
        "true_pixels": true_pixels,
        "widths": np.full((count, 2), 640.0),
        "seconds": np.full(count, 0.02),
    }
    return Results(**(values | changes))


def test_honest_covariances_cover_what_they_claim() -> None:
    found = figures(made_up())
    for entry in [*found["keypoints"].values(), found["all"]]:
        for level in (0.5, 0.9, 0.95):
            # Three standard deviations of the share of 4,000 scenes.
            margin = 3 * np.sqrt(level * (1 - level) / 4000)
            assert entry["coverage"][f"{level:g}"] == pytest.approx(level, abs=margin)
        assert entry["sharpness"] == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(("claimed", "sharpness"), [(0.01, 2.0), (0.0025, 0.5)])
def test_inflation_and_boasting_show_in_sharpness_and_coverage(
    claimed: float, sharpness: float
) -> None:
    entry = figures(made_up(claimed=claimed))["all"]
    assert entry["sharpness"] == pytest.approx(sharpness, rel=0.03)
    assert (entry["coverage"]["0.9"] > 0.97) == (sharpness > 1)


def test_refused_keypoints_are_misses_in_every_all_figure() -> None:
    results = made_up(100)
    results.points[:60] = np.nan
    entry = figures(results)["all"]
    assert entry["valid_fraction"] == pytest.approx(0.4)
    assert entry["median_mm"] is None
    assert entry["within_10_mm"] < 0.41


def test_gross_errors_cost_coverage_and_leave_sharpness() -> None:
    results = made_up(1000)
    results.points[:100, 0, 2] += 0.1
    entry = figures(results)["keypoints"]["head"]
    assert entry["gross_fraction"] == pytest.approx(0.1)
    assert entry["coverage"]["0.95"] == pytest.approx(0.855, abs=0.03)
    assert entry["sharpness"] == pytest.approx(1.0, abs=0.05)


def test_rms_of_pixels_counts_all_views_and_leaves_out_what_is_outside() -> None:
    results = made_up(2000)
    results.pixels[:, 1] += [30.0, 40.0]
    results.true_pixels[:, 1, :, :] = np.nan
    entry = figures(results)["all"]
    assert entry["rms_px"] == pytest.approx(np.sqrt(2.0), rel=0.03)
    assert entry["rms_px_at_128"] == pytest.approx(np.sqrt(2.0) / 5, rel=0.03)


def test_swaps_are_counted_between_left_and_right() -> None:
    results = made_up(100)
    results.points[:7, [1, 2]] = results.points[:7, [2, 1]]
    found = figures(results)
    assert found["keypoints"]["left_paw"]["swap_fraction"] == pytest.approx(0.07)
    assert "swap_fraction" not in found["keypoints"]["head"]
    assert found["all"]["swap_fraction"] == pytest.approx(0.07)


def test_coverage_is_told_by_number_of_views() -> None:
    results = made_up(1000)
    results.views_used[:300] = 4
    results.covariances[:300] *= 100
    cover = figures(results)["all"]["coverage_by_views"]
    assert (cover["2"]["keypoints"], cover["4"]["keypoints"]) == (2100, 900)
    assert cover["4"]["0.5"] == 1.0
    assert cover["2"]["0.5"] == pytest.approx(0.5, abs=0.05)


def test_reliability_compares_claimed_and_observed_gross_rates() -> None:
    results = made_up(1000)
    results.points[:20, :, 0] += 0.2
    results.view_confidences[:500] = 0.4
    results.pixels[:300] += 50.0
    found = figures(results)["reliability"]
    assert found["space"]["expected"] == pytest.approx(0.02)
    assert found["space"]["observed"] == pytest.approx(0.02)
    low, high = found["views"]["bins"]
    assert (low["expected"], low["observed"]) == (pytest.approx(0.6), pytest.approx(0.6))
    assert (high["from"], high["observed"]) == (0.9, 0.0)


def test_keypoint_without_truth_is_left_out() -> None:
    results = made_up(100)
    results.truth[:40, 0] = np.nan
    results.truth[:, 1] = np.nan
    found = figures(results)
    assert found["keypoints"]["head"]["valid_fraction"] == 1.0
    assert found["keypoints"]["left_paw"]["median_mm"] is None
    assert "left_paw" in table(found)


def test_bias_is_told_in_the_objects_frame() -> None:
    results = made_up(2000)
    axes = object_axes(results.truth)
    results.points[:, 0] += axes[:, 0] * 0.004 - axes[:, 2] * 0.002
    entry = figures(results)["keypoints"]["head"]
    assert np.allclose(entry["bias_mm"], [4.0, 0.0, -2.0], atol=0.4)
    assert np.allclose(entry["spread_mm"], 5.0, atol=0.4)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes of blobs; in the last one the second camera sees nothing."""
    folder = tmp_path_factory.mktemp("data") / "blobs"
    cameras = make_rig()
    points = np.array(
        [[0.60, 0.0, 0.02], [0.69, 0.05, 0.02], [0.51, 0.06, 0.03], [0.60, -0.09, 0.05],
         [0.52, -0.07, 0.08]]
    )  # fmt: skip
    with DatasetWriter(folder, "blobs", list(KEYPOINTS), [c.name for c in cameras]) as writer:
        for sample in range(3):
            moved = points + np.array([0.01 * sample, 0.0, 0.0])
            views = paint_views(cameras, moved, radius=6.0)
            if sample == 2:
                views[1] = cv2.blur(np.full_like(views[1], 100), (3, 3))
            images = {c.name: image for c, image in zip(cameras, views, strict=True)}
            writer.add(images, cameras, None, moved, seed=sample)
    return folder


def test_evaluation_runs_the_shipped_chain_on_chosen_scenes(scenes: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "blobs.onnx")
    dataset = Dataset(scenes)
    results = evaluate(dataset, tmp_path / "blobs.onnx", indices=[2, 0], progress=False)
    assert np.array_equal(results.truth[1], dataset.truth(0))
    assert (results.errors < 0.002).all()
    assert results.views_used.tolist() == [[3] * 5, [4] * 5]
    assert np.nanmax(results.pixel_errors[1]) < 1.0
    limited = evaluate(dataset, tmp_path / "blobs.onnx", limit=1, progress=False)
    assert len(limited.truth) == 1
    with pytest.raises(ConfigurationError, match="no scene"):
        evaluate(dataset, tmp_path / "blobs.onnx", indices=[])


def test_command_prints_coverage_and_sharpness_and_writes_the_figures(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(tmp_path / "blobs.onnx", crop=False)
    parser = argparse.ArgumentParser()
    evaluation.add_arguments(parser)
    out, raw = tmp_path / "figures.json", tmp_path / "raw.npz"
    words = ["--model", str(tmp_path / "blobs.onnx"), "--dataset", str(scenes)]
    words += ["--json", str(out), "--raw", str(raw)]
    assert evaluation.run(parser.parse_args(words)) == 0
    shown = capsys.readouterr().out
    for word in ("cover 50/90/95", "sharp", "gross errors in space", "gross errors in views"):
        assert word in shown
    found = json.loads(out.read_text())
    assert found["scenes"] == 3
    assert set(found["all"]["coverage"]) == {"0.5", "0.9", "0.95"}
    with np.load(raw) as arrays:
        assert arrays["points"].shape == (3, 5, 3)
