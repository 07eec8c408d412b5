# ruff: noqa: E402
from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from support.toy_training import TINY, write_dataset

from s3k_ros.errors import ConfigurationError
from s3k_ros.training.inputs.sources import Subset
from s3k_ros.training.run import train
from s3k_ros.training.run.checkpoint import Checkpoint
from s3k_ros.training.run.config import read_config
from s3k_ros.training.run.train import finished, train_stage

pytestmark = pytest.mark.torch

CONFIGS = Path(__file__).parents[2] / "config" / "training"
SHORT = dataclasses.replace(TINY, steps=4, warmup_steps=2, ramp_steps=1)
CROP = dataclasses.replace(SHORT, stage="crop", input_width=48, crop_fraction=0.4)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("toy") / "d", 4, 4)


def write_config(path: Path, dataset: Path, out: Path, **common: object) -> Path:
    """A training file of tiny stages."""
    values = {k: v for k, v in dataclasses.asdict(SHORT).items() if k not in ("stage",)}
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    crop = {"input_width": 48, "crop_fraction": 0.4, "unlabelled_samples": 0}
    content = {
        "dataset": str(dataset), "out": str(out), "common": {**values, **common},
        "coarse": {}, "crop": crop,
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content))
    return path


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_both_stages_of_a_file_are_trained_in_order(dataset: Path, tmp_path: Path, capsys) -> None:
    config = write_config(tmp_path / "c.yaml", dataset, tmp_path / "run")
    assert train.run(arguments(config)) == 0
    for stage in ("coarse", "crop"):
        model = Checkpoint.load(tmp_path / "run" / stage / "model.safetensors")
        assert model.params.stage == stage
        assert model.info["object_id"] == "toy"
        assert list((tmp_path / "run" / stage / "tensorboard").iterdir())
    assert not (tmp_path / "run" / "crop" / "cache").exists()
    assert "4 labelled and 4 unlabelled" in capsys.readouterr().out
    assert train.run(arguments(config)) == 0  # all is done: nothing happens


def test_the_crop_stage_can_be_left_out(dataset: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", dataset, tmp_path / "run")
    assert train.run(arguments(config, "--coarse-only")) == 0
    assert finished(tmp_path / "run" / "coarse")
    assert not (tmp_path / "run" / "crop").exists()


def test_command_line_overrides_the_file(dataset: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", tmp_path / "nowhere", tmp_path / "other")
    words = ("--dataset", dataset, "--out", tmp_path / "run", "--set", "steps=3")
    assert train.run(arguments(config, *words, "--set", "crop.steps=2", "--labelled", "0,2")) == 0
    coarse, crop = (
        Checkpoint.load(tmp_path / "run" / stage / "model.safetensors")
        for stage in ("coarse", "crop")
    )
    assert (coarse.params.steps, crop.params.steps) == (3, 2)
    assert coarse.info["data"]["labelled"] == [0, 2]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("coarse: {sigma: 2}", "sigma_px"),
        ("corse: {}", "corse"),
        ("crop: {}", "'coarse' is missing"),
        ("coarse: {steps: 0}", "coarse: TrainingParameters.steps = 0"),
        ("coarse: {stage: crop}", "follows from"),
        ("coarse: [1]", "mapping"),
        ("dataset: 3\ncoarse: {}", "dataset = 3"),
        ("coarse: {", "cannot be read"),
        ("- 1", "mapping"),
        ("coarse: {widths: [8], blocks: [1, 1]}", "one length"),
    ],
)
def test_a_wrong_training_file_names_its_fault(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=words):
        read_config(path)


@pytest.mark.parametrize("item", ["steps", "crop.steps=1", "nothing=1"])
def test_a_wrong_override_names_its_fault(tmp_path: Path, item: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("coarse: {steps: 5}")
    with pytest.raises(ConfigurationError, match=item.partition("=")[0].partition(".")[0]):
        read_config(path, [item])


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_training_files_are_valid(path: Path) -> None:
    assert read_config(path).stages


def test_the_reference_has_every_idea_off() -> None:
    params = read_config(CONFIGS / "s3k.yaml").stages["coarse"]
    assert not (params.teacher or params.gate or params.augment or params.mirror)
    assert (params.shape, params.photometric, params.cutout) == ("none", 0.0, 0.0)
    assert (params.warmup_steps, params.ramp_steps, params.ema_decay) == (0, 0, 0.0)
    assert params.weight_decay > 0


def test_crop_stage_needs_the_coarse_one(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="coarse stage"):
        train_stage(dataset, CROP, tmp_path, progress=False, say=str)


def test_a_training_in_pieces_equals_one_in_one_go(dataset: Path, tmp_path: Path) -> None:
    whole = train_stage(dataset, SHORT, tmp_path / "whole", progress=False, say=str)
    pieces = 0
    while not finished(tmp_path / "chain"):
        train_stage(dataset, SHORT, tmp_path / "chain", minutes=1e-6, progress=False, say=str)
        pieces += 1
    assert pieces == SHORT.steps  # each piece makes a step, however short its time
    chained = Checkpoint.load(tmp_path / "chain" / "model.safetensors")
    assert chained.digest() == Checkpoint.load(whole).digest()


def test_time_that_is_up_gives_its_exit_code(dataset: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", dataset, tmp_path / "run", steps=5000)
    assert train.run(arguments(config, "--minutes", "0.01")) == train.UNFINISHED
    assert (tmp_path / "run" / "coarse" / "checkpoint.safetensors").exists()


def test_subsets_share_the_datasets_cache(dataset: Path, tmp_path: Path) -> None:
    for draw in (0, 1):
        limit = Subset(labelled=(draw,), unlabelled=(2, 3, 5))
        train_stage(dataset, SHORT, tmp_path / str(draw), progress=False, limit=limit, say=str)
    assert len(list((dataset / "cache").glob("*.npy"))) == 1


def start(config: Path) -> subprocess.Popen:
    """`s3k train` as a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "s3k_ros.training.run.train", str(config)]
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=hear_interrupts,
    )


def hear_interrupts() -> None:
    """Whatever started the tests may ignore Ctrl-C, as shells do in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    until = time.monotonic() + 240
    while not path.exists():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_killed_ends_like_one_that_is_not(
    dataset: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """Killed in the middle, at a moment of no one's choosing, and started again."""
    options = {"steps": 40, "checkpoint_interval_s": 0.2}
    config = write_config(tmp_path / "c.yaml", dataset, tmp_path / "run", **options)
    process = start(config)
    checkpoint = tmp_path / "run" / "coarse" / "checkpoint.safetensors"
    wait_for(checkpoint, process)
    process.send_signal(number)
    output = process.communicate(timeout=240)[0]
    assert process.returncode == (130 if number == signal.SIGINT else -number), output
    left = Checkpoint.load(checkpoint).step
    assert left < 40
    if number != signal.SIGKILL:
        assert f"saved at step {left}" in output
    found = train_stage(dataset, SHORT_40, tmp_path / "run" / "coarse", progress=False, say=str)
    whole = train_stage(dataset, SHORT_40, tmp_path / "whole", progress=False, say=str)
    assert Checkpoint.load(found).digest() == Checkpoint.load(whole).digest()


SHORT_40 = dataclasses.replace(SHORT, steps=40)
