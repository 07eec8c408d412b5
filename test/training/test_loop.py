# ruff: noqa: E402
from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pyarrow")
pytest.importorskip("safetensors")

from support.toy_training import KEYPOINTS, write_dataset

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.calibration import Detections, calibrate, common_mode, detect
from s3k_ros.training.checkpoint import Checkpoint
from s3k_ros.training.dataset import Dataset
from s3k_ros.training.evaluation import evaluate, figures, table
from s3k_ros.training.export import describe, export, provisional_uncertainty
from s3k_ros.training.keypoints import mirror_names
from s3k_ros.training.loop import Trainer
from s3k_ros.training.sources import Sources, collect
from s3k_ros.training.train import read_parameters

pytestmark = pytest.mark.torch

TINY = TrainingParameters(
    input_height=48, input_width=64, stem=4, widths=(8, 12, 16), blocks=(0, 1, 1), threads=1,
    precision="fp32", steps=30, warmup_steps=10, ramp_steps=5, labelled_samples=1,
    unlabelled_samples=2, teacher_turns=1, mirror=True,
)  # fmt: skip
TINY_CROP = dataclasses.replace(TINY, stage="crop", input_width=48, crop_fraction=0.4)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset(write_dataset(tmp_path_factory.mktemp("toy") / "d", 4, 4))


@pytest.fixture(scope="module")
def sources(dataset: Dataset) -> Sources:
    return collect(dataset, TINY, None, lambda _: None)


def trainer(sources: Sources, out: Path, **changes: object) -> Trainer:
    params = dataclasses.replace(TINY, **changes)
    return Trainer(sources, KEYPOINTS, params, out, {"object_id": "toy"}, lambda _: None)


def weights(run: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in run.model.parameters()])


def test_loss_on_labels_falls(sources: Sources, tmp_path: Path) -> None:
    run = trainer(
        sources, tmp_path, unlabelled_samples=0, augment=False, steps=40, learning_rate=5e-3
    )
    losses = [run.train_step().supervised for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


@pytest.mark.parametrize("teacher", [False, True])
def test_a_resumed_run_equals_an_uninterrupted_one(
    sources: Sources, tmp_path: Path, teacher: bool
) -> None:
    whole = trainer(sources, tmp_path / "whole", teacher=teacher)
    whole.run(14)
    half = trainer(sources, tmp_path / "half", teacher=teacher)
    half.run(12)
    resumed = trainer(sources, tmp_path / "half", teacher=teacher)
    assert resumed.step == 12
    resumed.run(14)
    assert torch.equal(weights(whole), weights(resumed))


def test_a_run_with_other_parameters_is_not_resumed(sources: Sources, tmp_path: Path) -> None:
    trainer(sources, tmp_path).run(1)
    with pytest.raises(ConfigurationError, match="other parameters"):
        trainer(sources, tmp_path, seed=2)


def test_progress_says_rate_loss_and_time_left(sources: Sources, tmp_path: Path) -> None:
    lines: list[str] = []
    Trainer(sources, KEYPOINTS, TINY, tmp_path, {}, lines.append).run(3)
    assert "steps/s" in lines[-1]
    assert "min left" in lines[-1]


def test_lambda_is_zero_in_the_warm_up_and_rises_after(sources: Sources, tmp_path: Path) -> None:
    run = trainer(sources, tmp_path)
    found = [run._self_weight(step) for step in (0, 9, 10, 12, 14, 30)]
    assert found == pytest.approx([0, 0, 0.2, 0.6, 1.0, 1.0])


def test_every_unlabelled_sample_is_seen_before_one_repeats(
    sources: Sources, tmp_path: Path
) -> None:
    run = trainer(sources, tmp_path)
    drawn = [id(views) for step in (0, 1) for views in run._draw_unlabelled(step)]
    assert len(set(drawn)) == 4


def test_mirror_exchanges_left_and_right_only() -> None:
    assert mirror_names(["head", "left_paw", "right_paw", "body"]) == [0, 2, 1, 3]
    assert mirror_names(["left_ear", "tip"]) == [0, 1]


def test_crop_stage_needs_the_coarse_one(dataset: Dataset) -> None:
    with pytest.raises(ConfigurationError, match="--coarse"):
        collect(dataset, TINY_CROP, None, lambda _: None)


def test_truncated_checkpoint_is_refused(sources: Sources, tmp_path: Path) -> None:
    run = trainer(sources, tmp_path)
    run.run(1)
    data = run.path.read_bytes()
    run.path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ConfigurationError, match="not a checkpoint"):
        Checkpoint.load(run.path)


def test_parameters_are_read_with_overrides_and_unknown_ones_refused(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("stage: crop\nwidths: [8, 16]\nblocks: [1, 1]\n")
    params = read_parameters(str(config), ["steps=7"])
    assert (params.stage, params.widths, params.steps) == ("crop", (8, 16), 7)
    with pytest.raises(ConfigurationError, match="sigma_px"):
        read_parameters(None, ["sigma=2"])


@pytest.fixture(scope="module")
def stages(dataset: Dataset, sources: Sources, tmp_path_factory: pytest.TempPathFactory):
    """Both stages, trained for a few steps, and their file."""
    out = tmp_path_factory.mktemp("stages")
    first = trainer(sources, out / "coarse")
    first.run(2)
    coarse = Checkpoint.load(first.path)
    labelled = collect(dataset, dataclasses.replace(TINY_CROP, unlabelled_samples=0), coarse, str)
    second = Trainer(labelled, KEYPOINTS, TINY_CROP, out / "crop", {"object_id": "toy"}, str)
    second.run(2)
    crop = Checkpoint.load(second.path)
    path = out / "toy.onnx"
    export(coarse, crop, describe(coarse, crop, [(0, 3)], 160), path)
    return coarse, crop, path


def test_exported_stages_compute_what_torch_computes(stages) -> None:
    from s3k_ros.perception.model_file import KeypointModel

    coarse, crop, path = stages
    model = KeypointModel.load(path)
    for checkpoint, stage in ((coarse, model.coarse), (crop, model.crop)):
        size = (checkpoint.params.input_height, checkpoint.params.input_width)
        images = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0)) * 255
        with torch.no_grad():
            expected = checkpoint.network()(images).numpy()
        assert np.allclose(stage(images.numpy()), expected, atol=1e-3)


def test_exported_file_describes_itself(stages) -> None:
    from s3k_ros.perception.model_file import read_description

    description = read_description(stages[2])
    assert description.keypoints == tuple(KEYPOINTS)
    assert description.crop.crop_fraction == TINY_CROP.crop_fraction
    assert description.uncertainty.provisional
    assert description.training["crop"]["seed"] == TINY.seed


def test_swapped_stages_are_refused(stages, tmp_path: Path) -> None:
    coarse, crop, _ = stages
    with pytest.raises(ConfigurationError, match="crop"):
        export(crop, coarse, describe(coarse, crop, [], 160), tmp_path / "x.onnx")


def test_evaluation_runs_the_shipped_chain_and_counts_refused_keypoints(
    stages, dataset: Dataset
) -> None:
    results = evaluate(dataset, str(stages[2]))
    found = figures(results)
    assert found["scenes"] == len(dataset)
    refused = dataclasses.replace(results, points=np.full_like(results.points, np.nan))
    entry = figures(refused)["keypoints"]["head"]
    assert entry["median_mm"] is None
    assert entry["valid_fraction"] == 0
    assert "head" in table(found)
    assert "head" in table(figures(refused))


def test_swaps_are_counted(stages, dataset: Dataset) -> None:
    results = evaluate(dataset, str(stages[2]))
    swapped = dataclasses.replace(results, points=results.truth[:, [0, 2, 1, 3]])
    assert figures(swapped)["keypoints"]["left_paw"]["swap_fraction"] == 1.0
    right = dataclasses.replace(results, points=results.truth)
    assert figures(right)["keypoints"]["left_paw"]["swap_fraction"] == 0.0


def test_calibration_finds_the_noise_of_made_up_detections(stages, dataset: Dataset) -> None:
    from s3k_ros.perception.detector import KeypointDetector

    rng = np.random.default_rng(0)
    raw = detect(KeypointDetector.load(str(stages[2])), dataset, range(len(dataset)))
    cameras = raw.cameras * 40
    truth = [dataset.truth(i) for i in range(len(dataset))] * 40
    pixels = np.stack([[c.project(p) for c in rig] for rig, p in zip(cameras, truth, strict=True)])
    features = np.zeros((*pixels.shape[:3], raw.features.shape[-1]))
    made = dataclasses.replace(
        raw,
        cameras=cameras,
        pixels=pixels + rng.normal(0, 0.9, pixels.shape),
        excess=np.zeros((*pixels.shape, 2)),
        features=features,
    )
    fitted = calibrate(made, len(KEYPOINTS))
    for matrix in fitted.pixel_variance:
        assert matrix[0][0] == pytest.approx(0.81, rel=0.25)


def test_cross_fitting_asks_about_every_labelled_sample_once(stages, dataset: Dataset) -> None:
    from s3k_ros.training.crossfit import held_out_detections

    coarse, crop, _ = stages
    samples, found = held_out_detections(dataset, coarse, crop, folds=2, steps=1, say=str)
    assert sorted(samples) == [0, 1, 2, 3]
    assert found.pixels.shape == (4, 4, len(KEYPOINTS), 2)


def test_common_mode_shows_a_bias_that_all_views_share(stages, dataset: Dataset) -> None:
    rng = np.random.default_rng(1)
    names, count = len(KEYPOINTS), 40
    cameras = [dataset.cameras(0)] * count
    truth = np.stack([dataset.truth(0)] * count)
    turn = rng.uniform(0, 2 * np.pi, count)
    bias = 0.006 * np.stack([np.cos(turn), np.sin(turn), 0 * turn], -1)[:, None]
    seen = np.stack(
        [[c.project(p) for c in rig] for rig, p in zip(cameras, truth + bias, strict=True)]
    )
    made = Detections(cameras, seen, np.zeros((*seen.shape, 2)), np.zeros((*seen.shape[:3], 3)))
    fitted = dataclasses.replace(
        provisional_uncertainty(names, 160), pixel_variance=(((1e-4, 0.0), (0.0, 1e-4)),) * names
    )
    common = common_mode(made, truth, np.zeros((count, names, 3, 3)), fitted)
    for matrix in common:
        assert matrix[0][0] == pytest.approx(0.006**2 / 2, rel=0.2)
        assert matrix[2][2] < 0.002**2
