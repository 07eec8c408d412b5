from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from support.synthetic_model import build_model, description

from s3k_ros.errors import ConfigurationError
from s3k_ros.perception.model_file import KeypointModel
from s3k_ros.training.model import card

RECORD: dict[str, Any] = {
    "command": "s3k train box.yaml",
    "seed": 3,
    "commit": "0123456789abcdef",
    "dataset": {"command": "s3k dataset render", "seed": 1, "commit": "fedc", "samples": 1010},
}
ENTRY: dict[str, Any] = {
    "median_mm": 1.5,
    "p95_mm": None,
    "rms_px": 0.7,
    "valid_fraction": 0.99,
    "coverage": {"0.5": 0.51, "0.9": 0.9, "0.95": 0.94},
    "sharpness": 1.02,
}


def written(folder: Path, *, crop: bool = True, **training: Any) -> tuple[Path, Path]:
    """A model file and an evaluation of it."""
    whole = {"coarse": RECORD, **({"crop": RECORD} if crop else {}), **training}
    sizes: dict[str, Any] = {} if crop else {"crop_size": None}
    stated = dataclasses.replace(description(**sizes), training=whole)
    path = folder / "box.onnx"
    onnx.save(build_model(stated), str(path))
    evaluation = {
        "scenes": 1000,
        "keypoints": {"head": {**ENTRY, "bias_mm": [1.0, 0.0, -1.0], "spread_mm": [1.0, 1.0, 2.0]}},
        "all": ENTRY,
        "reliability": {
            "space": {"expected": 0.01, "observed": 0.02, "bins": [{}]},
            "views": {"expected": None, "observed": None, "bins": []},
        },
        "latency_ms": {"p50": 20.0, "p99": 30.0},
        "command": "s3k evaluate",
        "dataset": {"family": "test", "seed": 77},
        "model_sha256": KeypointModel.load(path).sha256,
    }
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    return path, folder / "evaluation.json"


def make_card(model: Path, evaluation: Path, out: Path) -> str:
    parser = argparse.ArgumentParser()
    card.add_arguments(parser)
    words = ["--model", str(model), "--evaluation", str(evaluation), "--out", str(out)]
    assert card.run(parser.parse_args([*words, "--step", "s3k calibrate"])) == 0
    return out.read_text()


def test_card_tells_commands_once_and_every_figure(tmp_path: Path) -> None:
    parity = {
        "views": 8,
        "keypoints": {"coarse": 30, "crop": 31},
        "px": {"coarse": 0, "crop": 1e-4},
    }
    calibration = {"how": "cross-fitted, 5 folds of 300 steps", "errors": 46, "click_px": 1.5}
    text = make_card(
        *written(tmp_path, parity=parity, calibration=calibration), tmp_path / "card.md"
    )
    assert text.count("s3k train box.yaml") == 1
    for part in (
        "s3k calibrate",
        "crop stage 0123456789ab",
        "crop 0.0001 px (31 keypoints)",
        "cross-fitted, 5 folds of 300 steps, 46 errors",
        "1.00% expected and 2.00% observed in space",
        "| head | 1.5 | - | 0.7 | 99.0% |",
        "| all |",
        "51 / 90 / 94",
        "provisional",
    ):
        assert part in text


def test_card_of_one_stage_and_of_data_that_nobody_rendered(tmp_path: Path) -> None:
    record = {**RECORD, "dataset": {"samples": 12}}
    text = make_card(*written(tmp_path, crop=False, coarse=record), tmp_path / "card.md")
    assert "scenes unknown" in text
    assert "crop stage" not in text


def test_evaluation_of_another_model_is_refused(tmp_path: Path) -> None:
    model, evaluation = written(tmp_path)
    found = json.loads(evaluation.read_text())
    evaluation.write_text(json.dumps({**found, "model_sha256": "0"}))
    with pytest.raises(ConfigurationError, match="another model file"):
        make_card(model, evaluation, tmp_path / "card.md")
