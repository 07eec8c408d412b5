"""``s3k train``: one stage from a dataset folder to a checkpoint."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.checkpoint import Checkpoint
from s3k_ros.training.dataset import Dataset
from s3k_ros.training.loop import Trainer
from s3k_ros.training.sources import collect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``s3k train``."""
    parser.add_argument("config", nargs="?", help="YAML file of training parameters")
    parser.add_argument("--dataset", required=True, help="dataset folder")
    parser.add_argument("--out", required=True, help="folder of the run; a run there is resumed")
    parser.add_argument("--coarse", help="checkpoint of the coarse stage, for the crop stage")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="override a parameter"
    )


def run(args: argparse.Namespace) -> int:
    """Trains and leaves ``checkpoint.safetensors`` in the run's folder."""
    params = read_parameters(args.config, args.set)
    dataset = Dataset(args.dataset)
    begun = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - begun:7.1f} s] {params.stage}: {line}", flush=True)

    coarse = Checkpoint.load(Path(args.coarse)) if args.coarse else None
    info = {
        "object_id": dataset.object_id,
        "command": " ".join(["s3k", "train", *(a for a in sys.argv[1:] if a != "train")]),
        "commit": commit(),
        "dataset": {**dataset.info, "samples": len(dataset)},
    }
    sources = collect(dataset, params, coarse, say)
    Trainer(sources, dataset.keypoint_names, params, Path(args.out), info, say).run()
    say(f"done: {args.out}/checkpoint.safetensors")
    return 0


def read_parameters(config: str | None, overrides: list[str]) -> TrainingParameters:
    """Parameters from a YAML file and NAME=VALUE overrides.

    Raises:
        ConfigurationError: an unreadable file, an unknown name or a bad value.
    """
    values: dict[str, Any] = {}
    if config is not None:
        try:
            values = yaml.safe_load(Path(config).read_text()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise ConfigurationError(f"{config} cannot be read: {error}") from error
    for item in overrides:
        name, equals, text = item.partition("=")
        if not equals:
            raise ConfigurationError(f"--set {item!r} must be NAME=VALUE")
        values[name] = yaml.safe_load(text)
    hints = get_type_hints(TrainingParameters)
    for name, value in values.items():
        if isinstance(value, list) and str(hints.get(name, "")).startswith("tuple"):
            values[name] = tuple(value)
    return TrainingParameters.from_mapping(values)


def commit() -> str:
    """The source's git commit, empty outside a checkout."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip()


def main() -> int:
    """``python -m s3k_ros.training.train``."""
    parser = argparse.ArgumentParser(prog="s3k train")
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
