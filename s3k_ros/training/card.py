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
    stages = [training[name] for name in ("coarse", "crop")]
    commands = [stages[0]["dataset"]["command"], *(stage["command"] for stage in stages), *steps]
    commands += [evaluation["dataset"]["command"], evaluation["command"]]
    labelled = stages[0]["dataset"]
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
        f"Seeds: scenes {labelled['seed']}, training {stages[0]['seed']}."
        f" Commits: data {labelled['commit']}, coarse stage {stages[0]['commit'][:12]},"
        f" crop stage {stages[1]['commit'][:12]}. Data: {labelled['samples']} samples of the family"
        f" `{labelled['family']}`; the command tells how many of them have clicks.",
        "",
        "## Errors on scenes it never saw",
        "",
        f"{evaluation['scenes']} scenes of the family `{evaluation['dataset']['family']}`, whose"
        f" seeds ({evaluation['dataset']['seed']} and up) come from the model file's hash."
        " Refused keypoints count as misses.",
        "",
        *_table(evaluation["keypoints"]),
        "",
        "Bias and spread along x, y, z of the object. Coverage: the share of true positions in the"
        " 50, 90 and 95 % regions. Sharpness: predicted over actual RMS error; above 1 the model"
        " claims less than it can.",
        "",
        f"Detector and triangulator: {evaluation['latency_ms']['p50']:.0f} ms a set of four views"
        f" (median), {evaluation['latency_ms']['p99']:.0f} ms (p99), on the machine and under the"
        " load of this run.",
    ]
    return "\n".join(lines) + "\n"


def _table(keypoints: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [
        "| keypoint | median mm | 95 % mm | valid | swapped | bias mm | spread mm | coverage |"
        " sharpness |",
        "| --- " * 9 + "|",
    ]
    for name, row in keypoints.items():
        swapped = f"{row['swap_fraction']:.1%}" if "swap_fraction" in row else "-"
        bias, spread = (", ".join(f"{x:.1f}" for x in row[key]) for key in ("bias_mm", "spread_mm"))
        cover = " / ".join(f"{100 * x:.0f}" for x in row["coverage"].values())
        errors = f"{row['median_mm']:.1f} | {row['p95_mm']:.1f} | {row['valid_fraction']:.1%}"
        sharp = f"{row['sharpness']:.2f}"
        rows.append(f"| {name} | {errors} | {swapped} | {bias} | {spread} | {cover} | {sharp} |")
    return rows
