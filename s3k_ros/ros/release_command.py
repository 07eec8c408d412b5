"""`s3k release`: opens the jaws where the hand is, and draws it back."""

from __future__ import annotations

import argparse

from s3k_ros.ros import task_command as common

_OPTIONS = {
    "release_width": "release_width_m",
    "retreat_distance": "retreat_distance_m",
    "contact_force_limit": "contact_force_limit_n",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k release`."""
    common.add_number(parser, "--release-width", "m", "gap to which the jaws open")
    common.add_number(parser, "--retreat-distance", "m", "straight way back; 0: stay")
    common.add_number(parser, "--contact-force-limit", "n", "force that stops the motion")
    common.add_task_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Releases; returns the exit code."""
    options = common.options_of(args, _OPTIONS)
    return common.run_task(args, lambda cell: cell.start_release(**options), must_hold=False)
