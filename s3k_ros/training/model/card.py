"""``s3k card``: a model's card, written from the model file and its evaluation alone."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s3k_ros.errors import ConfigurationError
from s3k_ros.perception.model_file import KeypointModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``s3k card``."""
    parser.add_argument("--model", type=Path, required=True, help="the ONNX model file")
    parser.add_argument("--evaluation", type=Path, required=True, help="JSON of `s3k evaluate`")
    parser.add_argument("--out", type=Path, required=True, help="the Markdown file to write")
    parser.add_argument(
        "--step", action="append", default=[], help="a command between training and evaluation"
    )


def run(args: argparse.Namespace) -> int:
    """Writes the card.

    Raises:
        ConfigurationError: the evaluation is of another model file.
    """
    model = KeypointModel.load(args.model)
    evaluation = json.loads(args.evaluation.read_text())
    if evaluation.get("model_sha256") != model.sha256:
        raise ConfigurationError(
            f"{args.evaluation} evaluates another model file than {args.model}:"
            f" {evaluation.get('model_sha256')} instead of {model.sha256}"
        )
    args.out.write_text(card(model, args.model, evaluation, args.step))
    return 0


def card(
    model: KeypointModel, path: Path, evaluation: Mapping[str, Any], steps: Sequence[str]
) -> str:
    """The card's text."""
    description, training = model.description, model.description.training
    stages = {name: training[name] for name in description.stages}
    taught, tested = stages["coarse"]["dataset"], evaluation["dataset"]
    commands = [taught.get("command"), *(stage.get("command") for stage in stages.values()), *steps]
    commands += [tested.get("command"), evaluation["command"]]
    # One command trains all stages; a dataset that was not rendered has none.
    commands = [str(command) for command in dict.fromkeys(commands) if command]
    lines = [
        f"# {description.object_id}",
        "",
        f"`{path.name}`, {path.stat().st_size / 1e6:.1f} MB, SHA-256 `{model.sha256}`.",
        f"Keypoints: {', '.join(description.keypoints)}.",
        "",
        "## How it was made",
        "",
        "```",
        *commands,
        "```",
        "",
        f"Seeds: scenes {taught.get('seed', 'unknown')}, training {stages['coarse']['seed']}."
        f" Commits: data {str(taught.get('commit', 'unknown'))[:12]}"
        + "".join(f", {name} stage {_commit(stage)}" for name, stage in stages.items())
        + f". Data: {taught['samples']} samples{_family(taught)}; the command tells how many of"
        " them have clicks.",
        *_parity(training),
        "",
        "## Errors on scenes it never saw",
        "",
        f"{evaluation['scenes']} scenes{_family(tested)}, seeds from"
        f" {tested.get('seed', 'unknown')} up (from the model file's hash, if rendered with"
        " `--seed-from`). Refused keypoints count as misses.",
        "",
        *_table({**evaluation["keypoints"], "all": evaluation["all"]}),
        "",
        "Bias and spread along x, y, z of the object. Coverage: the share of true positions in the"
        " 50, 90 and 95 % regions. Sharpness: predicted over actual RMS error; above 1 the model"
        " claims less than it can. Figures in px are of single views at full resolution.",
        *_reliability(evaluation["reliability"]),
        *_calibration(training),
        *(
            ["", "The uncertainty is provisional: it was not fitted on held-out labels."]
            if description.uncertainty.provisional
            else []
        ),
        "",
        f"Detector and triangulator: {evaluation['latency_ms']['p50']:.0f} ms a set of four views"
        f" (median), {evaluation['latency_ms']['p99']:.0f} ms (p99), on the machine and under the"
        " load of this run.",
    ]
    return "\n".join(lines) + "\n"


def _commit(stage: Mapping[str, Any]) -> str:
    return str(stage.get("commit") or "unknown")[:12]


def _family(dataset: Mapping[str, Any]) -> str:
    return f" of the family `{dataset['family']}`" if "family" in dataset else ""


def _calibration(training: Mapping[str, Any]) -> list[str]:
    record = training.get("calibration")
    if not record:
        return []
    return [
        "",
        f"Common mode: {record['how']}, {record['errors']} errors, clicks of"
        f" {record['click_px']:.1f} px by their agreement.",
    ]


def _parity(training: Mapping[str, Any]) -> list[str]:
    parity = training.get("parity")
    if not parity or not parity["views"]:
        return []
    stages = ", ".join(
        f"{name} {px:.1g} px ({parity['keypoints'][name]} keypoints)"
        for name, px in parity["px"].items()
    )
    return ["", f"Largest difference from PyTorch on confident keypoints: {stages}."]


def _reliability(reliability: Mapping[str, Any]) -> list[str]:
    known = {place: rates for place, rates in reliability.items() if rates["bins"]}
    rates = "; ".join(
        f"{rates['expected']:.2%} expected and {rates['observed']:.2%} observed in {place}"
        for place, rates in known.items()
    )
    return ["", f"Gross errors by the confidences: {rates}."] if known else []


def _table(keypoints: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [
        "| keypoint | median mm | 95 % mm | px | valid | swapped | bias mm | spread mm | coverage |"
        " sharpness |",
        "| --- " * 10 + "|",
    ]
    for name, row in keypoints.items():
        bias, spread = (
            ", ".join(f"{x:.1f}" for x in row.get(key, [])) for key in ("bias_mm", "spread_mm")
        )
        cells = [
            name,
            *(_number(row, key) for key in ("median_mm", "p95_mm", "rms_px")),
            *(_percent(row, key) for key in ("valid_fraction", "swap_fraction")),
            bias,
            spread,
            " / ".join(f"{100 * x:.0f}" for x in row["coverage"].values()),
            _number(row, "sharpness", 2),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def _number(row: Mapping[str, Any], key: str, digits: int = 1) -> str:
    value = row.get(key)
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "-" if value is None else f"{value:.1%}"
