"""The command `s3k`: each subcommand lives in a module that is imported only when it is called."""

from __future__ import annotations

import argparse
import importlib
import sys
from dataclasses import dataclass

from s3k_ros.errors import S3kError

EXIT_ERROR = 1


@dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        words: what the user types after `s3k`.
        module: module with `add_arguments(parser)` and `run(arguments) -> int`.
        help: one line.
        extra: the optional dependencies that it needs, a key of EXTRAS; empty when none.
    """

    words: tuple[str, ...]
    module: str
    help: str
    extra: str = ""


# How to get what is missing, for people who cloned the repository and for those who use pip.
EXTRAS = {
    "sim": "the simulation: pip install '.[sim]' in the repository, or make setup",
    "train": "PyTorch: pip install '.[train]' in the repository, or make setup-train",
}

COMMANDS = (
    Command(
        ("dataset", "render"), "s3k_ros.simulation.dataset", "render a dataset of the fox", "sim"
    ),
    Command(("train",), "s3k_ros.training.train", "train a keypoint model", "train"),
    Command(("export",), "s3k_ros.training.export", "write a trained model as ONNX", "train"),
    Command(
        ("calibrate",), "s3k_ros.training.calibration", "calibrate a model's uncertainty", "train"
    ),
    Command(
        ("evaluate",),
        "s3k_ros.training.evaluation",
        "errors of a model on held-out scenes",
        "train",
    ),
    Command(("card",), "s3k_ros.training.card", "a model's card, in Markdown"),
    Command(("params",), "s3k_ros.params.table", "table of all parameters, in Markdown"),
)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    chosen = next((c for c in COMMANDS if tuple(words[: len(c.words)]) == c.words), None)
    if chosen is None:
        asked_for_help = words[:1] in (["-h"], ["--help"])
        print(overview(), file=sys.stdout if asked_for_help else sys.stderr)
        return 0 if asked_for_help else 2
    parser = argparse.ArgumentParser(prog=" ".join(("s3k", *chosen.words)), description=chosen.help)
    try:
        module = importlib.import_module(chosen.module)
        module.add_arguments(parser)
        return int(module.run(parser.parse_args(words[len(chosen.words) :])))
    except ModuleNotFoundError as error:
        if not chosen.extra or (error.name or "").startswith("s3k_ros"):
            raise
        print(f"s3k: {error.name} is missing. This needs {EXTRAS[chosen.extra]}", file=sys.stderr)
    except S3kError as error:
        print(f"s3k: {error}", file=sys.stderr)
    return EXIT_ERROR


def overview() -> str:
    """What `s3k --help` prints."""
    lines = [f"  {' '.join(command.words):16} {command.help}" for command in COMMANDS]
    return "\n".join(["usage: s3k COMMAND ...   (s3k COMMAND --help tells more)", "", *lines])


if __name__ == "__main__":
    sys.exit(main())
