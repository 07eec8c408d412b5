from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from support.rigs import make_rig
from support.synthetic_model import KEYPOINTS, paint_views, write_model

from s3k_ros.errors import ConfigurationError
from s3k_ros.perception import decoding
from s3k_ros.perception.detector import KeypointDetector
from s3k_ros.perception.model_file import read_description
from s3k_ros.training.dataset.reader import Dataset, DatasetWriter
from s3k_ros.training.model import export
from s3k_ros.training.uncertainty import calibration, crossfit
from s3k_ros.training.uncertainty.calibration import calibrate, run
from s3k_ros.training.uncertainty.crossfit import Fold
from s3k_ros.training.uncertainty.residuals import Detections, detect, leave_one_out

Array = npt.NDArray[np.float64]


def made_up(
    scenes: int = 150, noise_px: float = 1.0, gain: float = 0.0, lost: float = 0.0, seed: int = 0
) -> Detections:
    """Detections with known noise: variance noise^2 + gain x excess; a part of the views is lost.

    A lost view has its peak anywhere, with less mass and less margin.
    """
    rng = np.random.default_rng(seed)
    cameras = make_rig()
    shape = (scenes, len(cameras), 2)
    points = rng.uniform([0.5, -0.1, 0.0], [0.7, 0.1, 0.1], (scenes, 2, 3))
    true = np.stack([np.stack([camera.project(p) for camera in cameras]) for p in points])
    excess = rng.gamma(1.0, 2.0, shape)
    deviation = np.sqrt(noise_px**2 + gain * excess)[..., np.newaxis]
    pixels = true + rng.normal(0, 1, true.shape) * deviation
    gone = rng.random(shape) < lost
    pixels[gone] = rng.uniform(0, 480, (int(gone.sum()), 2))
    features = np.stack([np.full(shape, -0.05), np.zeros(shape), np.full(shape, 3.0)], axis=-1)
    features += rng.normal(0, 0.01, features.shape)
    features[gone] += [-0.8, 0.5, -2.0]
    return Detections(
        [cameras] * scenes, pixels, excess[..., np.newaxis, np.newaxis] * np.eye(2), features
    )


@pytest.mark.parametrize("noise_px", [0.5, 1.5])
def test_floor_of_the_pixel_variance_is_found(noise_px: float) -> None:
    found = calibrate(made_up(400, noise_px=noise_px), 2)
    floor = [matrix[0][0] for matrix in found.pixel_variance]
    assert floor == pytest.approx([noise_px**2] * 2, rel=0.15)
    assert max(found.spread_gain) < 0.2
    assert found.provisional


def test_gain_of_wide_peaks_is_found_beside_the_floor() -> None:
    found = calibrate(made_up(600, noise_px=0.7, gain=1.0), 2)
    assert found.spread_gain == pytest.approx([1.0] * 2, rel=0.25)
    assert [m[0][0] for m in found.pixel_variance] == pytest.approx([0.49] * 2, rel=0.3)


def test_lost_views_do_not_widen_the_covariance_and_are_not_believed() -> None:
    detections = made_up(300, lost=0.05)
    found = calibrate(detections, 2)
    assert [m[0][0] for m in found.pixel_variance] == pytest.approx([1.0] * 2, rel=0.2)
    weights = np.array([found.confidence.weights[n] for n in decoding.CONFIDENCE_FEATURES])
    odds = detections.features @ weights + found.confidence.bias
    confidence = 1 / (1 + np.exp(-odds))
    lost = detections.features[..., 2] < 2.0
    assert confidence[lost].max() < 0.2
    assert confidence[~lost].min() > 0.97
    # Nearly all that is lost is gross, and nothing else is.
    assert (1 - confidence).mean() == pytest.approx(lost.mean(), rel=0.2)


def test_residuals_of_a_view_leave_its_own_measurement_out() -> None:
    detections = made_up(1, noise_px=0.0)
    moved = detections.pixels.copy()
    moved[0, 1, 0] += [30.0, 0.0]
    residuals = leave_one_out(dataclasses.replace(detections, pixels=moved), np.ones(2), np.ones(2))
    first = residuals.residual[residuals.keypoint == 0]
    # Only where that view is left out do the others agree.
    assert np.allclose(first, [[30.0, 0.0]], atol=1e-6)
    assert np.allclose(residuals.residual[residuals.keypoint == 1], 0.0, atol=1e-6)


def write_scenes(folder: Path, count: int, labelled: int, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    cameras = make_rig()
    points = np.array(
        [[0.60, 0.0, 0.02], [0.69, 0.05, 0.02], [0.51, 0.06, 0.03], [0.60, -0.09, 0.05],
         [0.52, -0.07, 0.08]]
    )  # fmt: skip
    with DatasetWriter(folder, "blobs", list(KEYPOINTS), [c.name for c in cameras]) as writer:
        for sample in range(count):
            moved = points + rng.uniform(-0.03, 0.03, 3) * [1, 1, 0]
            images = dict(
                zip([c.name for c in cameras], paint_views(cameras, moved, 6.0), strict=True)
            )
            # All clicks lie 3 mm beside the blobs: an error that no residual shows.
            clicks = {
                (camera.name, name): tuple(pixel + rng.normal(0, 0.3, 2))
                for camera in cameras
                for name, pixel in zip(
                    KEYPOINTS, camera.project(moved + np.array([0.003, 0.0, 0.0])), strict=True
                )
            }
            writer.add(images, cameras, clicks if sample < labelled else None, moved, seed=sample)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibration")
    write_model(folder / "model.onnx")
    write_scenes(folder / "scenes", 12, 0, 1)
    write_scenes(folder / "labelled", 10, 10, 2)
    return folder


def calibrated(folder: Path, out: Path, *more: str) -> int:
    parser = argparse.ArgumentParser()
    calibration.add_arguments(parser)
    words = ["--model", str(folder / "model.onnx"), "--dataset", str(folder / "scenes")]
    words += ["--labelled", str(folder / "labelled"), "--out", str(out), *more]
    return run(parser.parse_args(words))


def test_held_out_labels_show_what_all_views_share(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "calibrated.onnx"
    assert calibrated(folder, out, "--held-out", str(folder / "labelled")) == 0
    description = read_description(out)
    found = description.uncertainty
    assert not found.provisional
    assert len(found.common_reference) == 5
    assert description.training["calibration"]["how"] == "labels of another dataset"
    # 3 mm along x, and as much along y, because the axes are taken for alike.
    common = np.sqrt(np.diagonal(np.array(found.common_mode), axis1=1, axis2=2))
    assert common[:, 0] == pytest.approx(3e-3 / np.sqrt(2), rel=0.25)
    assert common[:, 2].max() < 1.2e-3
    assert "common mode: labels of another dataset, 50 errors" in capsys.readouterr().out


def test_cross_fitting_asks_every_network_about_its_own_fold(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def folds(dataset: Dataset, *_: object) -> Iterator[Fold]:
        for held in ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9]):
            yield Fold(KeypointDetector.load(str(folder / "model.onnx")), held, 7)

    monkeypatch.setattr(crossfit, "folds_of", folds)
    monkeypatch.setattr(crossfit, "labels_of", lambda *_: list(range(10)))
    monkeypatch.setattr(export, "load_run", lambda _: (None, None))
    assert calibrated(folder, tmp_path / "out.onnx", "--run", str(folder), "--folds", "2") == 0
    description = read_description(tmp_path / "out.onnx")
    assert not description.uncertainty.provisional
    record = description.training["calibration"]
    assert (record["how"], record["errors"]) == ("cross-fitted, 2 folds of 7 steps", 50)
    # Networks that are the shipped one leave all of the 3 mm to the common mode.
    common = np.sqrt(np.diagonal(np.array(description.uncertainty.common_mode), axis1=1, axis2=2))
    assert common[:, 0] == pytest.approx(3e-3 / np.sqrt(2), rel=0.25)


def test_labels_of_the_training_leave_the_result_provisional(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrated(folder, tmp_path / "out.onnx") == 0
    assert read_description(tmp_path / "out.onnx").uncertainty.provisional
    assert "provisional" in capsys.readouterr().out


def test_calibration_changes_no_position(folder: Path, tmp_path: Path) -> None:
    calibrated(folder, tmp_path / "out.onnx")
    images = Dataset(folder / "scenes").images(0)
    before, after = (
        KeypointDetector.load(str(path)).detect(images)[0]
        for path in (folder / "model.onnx", tmp_path / "out.onnx")
    )
    assert before is not None
    assert after is not None
    assert np.array_equal(before.pixels, after.pixels)


def test_scenes_without_an_unlabelled_one_are_refused(folder: Path, tmp_path: Path) -> None:
    scenes = Dataset(folder / "labelled")
    with pytest.raises(ConfigurationError, match="no scene without labels"):
        calibrated(folder, tmp_path / "out.onnx", "--dataset", str(scenes.folder))


def test_detections_keep_scenes_with_every_view(folder: Path) -> None:
    detector = KeypointDetector.load(str(folder / "model.onnx"))
    found = detect(detector, Dataset(folder / "scenes"), [0, 4])
    assert found.pixels.shape == (2, 4, 5, 2)
    assert found.usable.all()
