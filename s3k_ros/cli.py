"""The command `s3k`: each subcommand lives in a module that is imported only when it is called."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from s3k_ros import results
from s3k_ros.errors import S3kError

EXIT_ERROR = 1


@dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        words: what the user types after `s3k`.
        module: module with `add_arguments(parser)` and `run(arguments)`, which returns the exit
            code, or for `s3k bench` a `Result`.
        help: one line.
        extra: the optional dependencies that it needs, a key of EXTRAS; empty when none.
    """

    words: tuple[str, ...]
    module: str
    help: str
    extra: str = ""


# How to get what is missing, for people who cloned the repository and for those who use pip.
EXTRAS = {
    "ros": "ROS 2 Jazzy and its Python packages: source it, or make setup",
    "sim": "the simulation: pip install '.[sim]' in the repository, or make setup",
    "train": "the training packages: pip install '.[train]' in the repository, or make setup-train",
    "cameras": "the library for recordings: pip install -r requirements/cameras.in, or make setup",
    "logs": "recordings and plots: pip install mcap mcap-ros2-support matplotlib jinja2, or make "
    "setup",
    "bench": "the benchmarks' peers: make setup-bench in the repository, or what "
    "requirements/bench.in says",
}

TOOLS = "s3k_ros.training.dataset.tools"

COMMANDS = (
    Command(
        ("dataset", "render"), "s3k_ros.simulation.dataset", "render a dataset in simulation", "sim"
    ),
    Command(("grasp", "explain"), "s3k_ros.goal_logs.explain", "a goal's log as a page", "logs"),
    Command(("grasp",), "s3k_ros.ros.grasp_command", "grasp at a keypoint and lift", "ros"),
    Command(("place",), "s3k_ros.ros.place_command", "put down what is held", "ros"),
    Command(("release",), "s3k_ros.ros.release_command", "open the jaws, draw back", "ros"),
    Command(
        ("record",), "s3k_ros.ros.recorder_command", "topics of the rig into an MCAP file", "ros"
    ),
    Command(
        ("calibrate-wrench",),
        "s3k_ros.ros.wrench_calibration",
        "bias and tool gravity of the force sensor",
        "ros",
    ),
    Command(
        ("object",),
        "s3k_ros.simulation.generators.files",
        "write the box or shoes as mesh files",
        "sim",
    ),
    Command(("dataset", "import"), f"{TOOLS}.recordings", "recordings into a dataset", "train"),
    Command(
        ("dataset", "rig"),
        f"{TOOLS}.recorded_rig",
        "a recording's calibration as a rig file",
        "train",
    ),
    Command(("dataset", "info"), f"{TOOLS}.info", "what a dataset holds", "train"),
    Command(
        ("dataset", "view"), f"{TOOLS}.view", "contact sheet of a dataset, clicks drawn", "train"
    ),
    Command(("dataset", "check"), f"{TOOLS}.check", "name every fault of a dataset", "train"),
    Command(
        ("dataset", "merge"), f"{TOOLS}.merge", "several datasets of one object into one", "train"
    ),
    Command(("dataset", "split"), f"{TOOLS}.split", "one dataset into disjoint parts", "train"),
    Command(
        ("dataset", "propagate"),
        f"{TOOLS}.propagate",
        "labels of one frame to its static segment",
        "train",
    ),
    Command(("train",), "s3k_ros.training.run.train", "train a keypoint model", "train"),
    Command(("export",), "s3k_ros.training.model.export", "write a trained model as ONNX", "train"),
    Command(
        ("calibrate",),
        "s3k_ros.training.uncertainty.calibration",
        "calibrate a model's uncertainty",
        "train",
    ),
    Command(
        ("evaluate",),
        "s3k_ros.training.model.evaluation",
        "errors of a model on held-out scenes",
        "train",
    ),
    Command(("study",), "s3k_ros.training.studies.cli", "repeat a study of the paper", "train"),
    Command(
        ("bench", "training"),
        "s3k_ros.bench.training",
        "a self-supervised step against a supervised one",
        "train",
    ),
    Command(
        ("bench", "faults"), "s3k_ros.bench.faults", "random faults in all phases of a task", "sim"
    ),
    Command(("bench", "planning"), "s3k_ros.bench.planning", "planning's time, ways around a wall"),
    Command(
        ("bench", "render"), "s3k_ros.bench.render", "rendering against a bare MuJoCo loop", "sim"
    ),
    Command(
        ("bench", "triangulation"),
        "s3k_ros.bench.triangulation",
        "triangulation against aniposelib",
        "bench",
    ),
    Command(
        ("bench", "scaling"),
        "s3k_ros.bench.scaling",
        "triangulation's time by cameras and keypoints",
    ),
    Command(
        ("bench", "uncertainty"),
        "s3k_ros.bench.uncertainty",
        "how well a few labels fix the common mode",
        "train",
    ),
    Command(
        ("bench", "sync"),
        "s3k_ros.bench.sync",
        "pairing of cameras against message_filters",
        "ros",
    ),
    Command(
        ("bench", "transport"),
        "s3k_ros.bench.transport",
        "whole sets between two processes",
        "ros",
    ),
    Command(
        ("bench", "recording"), "s3k_ros.bench.recording", "does s3k record keep up", "cameras"
    ),
    Command(("bench", "soak"), "s3k_ros.bench.soak", "a camera rig under random faults"),
    Command(
        ("bench", "pipeline"),
        "s3k_ros.bench.pipeline",
        "images to keypoints in space: in memory, fused node, separate nodes",
        "sim",
    ),
    Command(
        ("bench", "grasp"), "s3k_ros.bench.grasp", "grasps in the simulated cell, counted", "sim"
    ),
    Command(
        ("bench", "admittance"),
        "s3k_ros.bench.admittance",
        "contact forces of velocity admittance control",
        "sim",
    ),
    Command(("card",), "s3k_ros.training.model.card", "a model's card, in Markdown"),
    Command(("params",), "s3k_ros.params.table", "table of all parameters, in Markdown"),
)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    chosen = find(words)
    if chosen is None:
        return _no_command(words)
    parser = argparse.ArgumentParser(prog=" ".join(("s3k", *chosen.words)), description=chosen.help)
    try:
        module = importlib.import_module(chosen.module)
        module.add_arguments(parser)
        if is_bench := chosen.words[0] == "bench":
            results.add_arguments(parser)
        parsed = parser.parse_args(words[len(chosen.words) :])
        outcome = module.run(parsed)
        return results.report(outcome, parsed.json) if is_bench else int(outcome)
    except ModuleNotFoundError as error:
        if not chosen.extra or (error.name or "").startswith("s3k_ros"):
            raise
        print(f"s3k: {error.name} is missing. This needs {EXTRAS[chosen.extra]}", file=sys.stderr)
    except S3kError as error:
        print(f"s3k: {error}", file=sys.stderr)
    return EXIT_ERROR


def find(words: Sequence[str]) -> Command | None:
    """The command that a line begins with: of `grasp` and `grasp explain` the longer one."""
    fitting = [c for c in COMMANDS if tuple(words[: len(c.words)]) == c.words]
    return max(fitting, key=lambda command: len(command.words), default=None)


def _no_command(words: list[str]) -> int:
    """Tells which commands there are; exit code 0 when that was the question."""
    group = [command for command in COMMANDS if words[:1] == [command.words[0]]]
    rest = words[1:] if group else words
    asked_for_help = rest[:1] in (["-h"], ["--help"])
    if rest and not asked_for_help:
        print(f"s3k: no command {' '.join(words[: 2 if group else 1])!r}", file=sys.stderr)
    print(overview(group or COMMANDS), file=sys.stdout if asked_for_help else sys.stderr)
    return 0 if asked_for_help else 2


def overview(commands: Sequence[Command]) -> str:
    """What `s3k --help` prints."""
    lines = [f"  {' '.join(command.words):18} {command.help}" for command in commands]
    return "\n".join(["usage: s3k COMMAND ...   (s3k COMMAND --help tells more)", "", *lines])


if __name__ == "__main__":
    sys.exit(main())
