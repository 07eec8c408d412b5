# ruff: noqa: E402
"""Training on several devices: here two CPU processes that exchange gradients over gloo."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from support.toy_training import TINY, write_dataset

from s3k_ros.errors import ConfigurationError
from s3k_ros.training.run.checkpoint import Checkpoint
from s3k_ros.training.run.devices import make_fabric
from s3k_ros.training.run.train import finished, train_stage

pytestmark = [pytest.mark.torch, pytest.mark.slow]

TWO = dataclasses.replace(TINY, devices=2, steps=14, warmup_steps=2, ramp_steps=1)


def test_two_processes_train_one_network_and_go_on_where_they_were(tmp_path: Path) -> None:
    """Ended early and resumed, it equals the run in one go, whatever each process drew."""
    dataset = write_dataset(tmp_path / "toy", 4, 4)
    whole = train_stage(dataset, TWO, tmp_path / "whole", progress=False)
    assert finished(tmp_path / "whole")
    train_stage(dataset, TWO, tmp_path / "half", minutes=1e-4, progress=False)
    assert Checkpoint.load(tmp_path / "half" / "checkpoint.safetensors").step == 10
    resumed = train_stage(dataset, TWO, tmp_path / "half", progress=False)
    assert Checkpoint.load(resumed).digest() == Checkpoint.load(whole).digest()
    with pytest.raises(ConfigurationError, match=r"other parameters \(seed, steps\)"):
        other = dataclasses.replace(TWO, seed=2, steps=20)
        train_stage(dataset, other, tmp_path / "half", progress=False)
    alone = train_stage(
        dataset, dataclasses.replace(TWO, devices=1), tmp_path / "alone", progress=False
    )
    assert Checkpoint.load(alone).digest() != Checkpoint.load(whole).digest()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_named() -> None:
    with pytest.raises(ConfigurationError, match="0 GPUs"):
        make_fabric(dataclasses.replace(TINY, accelerator="cuda"))
