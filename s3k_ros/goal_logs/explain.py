"""`s3k grasp explain FILE`: a goal's log as a page with plots."""

from __future__ import annotations

import argparse
from pathlib import Path

from s3k_ros.errors import ConfigurationError
from s3k_ros.goal_logs.folder import LogFolder, resolved
from s3k_ros.params.grasp import GraspServerParameters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k grasp explain`."""
    parser.add_argument(
        "file", nargs="?", type=Path,
        help="a goal's log, or a folder, whose newest is taken (default: grasp_server's folder)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="PAGE.html", help="default: FILE with .html")


def run(args: argparse.Namespace) -> int:
    """Writes the page; returns the exit code."""
    # Matplotlib takes a second to import.
    from s3k_ros.goal_logs.page import render
    from s3k_ros.goal_logs.reader import read

    path = newest(args.file)
    log = read(path)
    out = args.out or path.with_suffix(".html")
    try:
        out.write_text(render(log), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{out} cannot be written: {error.strerror}") from None
    outcome = log.outcome or {"code": "no outcome", "message": "the log ends before the goal did"}
    print(f"{path.name}: {outcome['code']}: {outcome['message']}\nwritten: {out}")
    return 0


def newest(given: Path | None) -> Path:
    """The file that is meant.

    Raises:
        ConfigurationError: a folder without logs.
    """
    if given is not None and not given.is_dir():
        return given
    folder = given or resolved(GraspServerParameters().log_folder)
    logs = LogFolder(folder).logs() if folder is not None else []
    if not logs:
        raise ConfigurationError(f"there is no goal log in {folder}")
    return logs[-1]
