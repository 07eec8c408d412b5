"""`s3k grasp KEYPOINT`: grasps, lifts, and tells whether something is held."""

from __future__ import annotations

import argparse

from s3k_ros.ros import task_command as common

_OPTIONS = {
    "object_id": "object_id",
    "approach": "approach",
    "offset": "offset",
    "approach_distance": "approach_distance_m",
    "lift_height": "lift_height_m",
    "opening_width": "opening_width_m",
    "grip_force": "grip_force_n",
    "contact_force_limit": "contact_force_limit_n",
    "min_confidence": "min_confidence",
    "dry_run": "dry_run",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k grasp`."""
    parser.epilog = (
        "exit code 0: it holds something (or the dry run found a plan), else 1. Ctrl-C cancels and "
        "waits for the arm. See also: s3k grasp explain FILE"
    )
    parser.add_argument("keypoint", help="where to grasp")
    parser.add_argument(
        "--toward", default="", metavar="KEYPOINT",
        help="the jaws close across the line between the two (default: the server chooses the yaw)",
    )  # fmt: skip
    parser.add_argument("--object-id", help="default: the running model's")
    parser.add_argument("--dry-run", action="store_true", help="plan and show, move nothing")
    common.add_vector(parser, "--approach", "direction of the hand's motion, base frame")
    common.add_vector(parser, "--offset", "m, base frame, added to the keypoint's position")
    common.add_number(parser, "--approach-distance", "m", "straight way before the grasp")
    common.add_number(parser, "--lift-height", "m", "straight way up after it")
    common.add_number(parser, "--opening-width", "m", "gap between the open jaws")
    common.add_number(parser, "--grip-force", "n", "force of the jaws")
    common.add_number(parser, "--contact-force-limit", "n", "force that stops the motion")
    common.add_number(parser, "--min-confidence", "c", "least confidence, 0 to 1")
    common.add_task_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Grasps; returns the exit code."""
    options = common.options_of(args, _OPTIONS)
    return common.run_task(
        args, lambda cell: cell.start_grasp(args.keypoint, args.toward, **options), must_hold=True
    )
