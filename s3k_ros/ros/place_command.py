"""`s3k place KEYPOINT` or `s3k place --at X Y Z`: puts down what is held, and lets go."""

from __future__ import annotations

import argparse

from s3k_ros.client import Pose
from s3k_ros.errors import ConfigurationError
from s3k_ros.ros import task_command as common

_OPTIONS = {
    "object_id": "object_id",
    "approach": "approach",
    "offset": "offset",
    "approach_distance": "approach_distance_m",
    "retreat_distance": "retreat_distance_m",
    "release_width": "release_width_m",
    "until_contact": "until_contact",
    "contact_force_limit": "contact_force_limit_n",
    "min_confidence": "min_confidence",
    "dry_run": "dry_run",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k place`."""
    parser.epilog = "exit code 0: it was let go there (or the dry run found a plan), else 1"
    parser.add_argument("keypoint", nargs="?", default="", help="where to, or --at")
    common.add_vector(parser, "--at", "m, base frame: where the fingers open")
    parser.add_argument(
        "--orientation", type=float, nargs=4, metavar=("X", "Y", "Z", "W"),
        help="of the hand, with --at (default: as it comes)",
    )  # fmt: skip
    parser.add_argument("--toward", default="", metavar="KEYPOINT", help="sets the yaw")
    parser.add_argument("--object-id", help="default: any running model's")
    parser.add_argument("--until-contact", action="store_true", help="let go at the first contact")
    parser.add_argument("--dry-run", action="store_true", help="plan and show, move nothing")
    common.add_vector(parser, "--approach", "direction of the hand's motion, base frame")
    common.add_vector(parser, "--offset", "m, base frame, added to the position")
    common.add_number(parser, "--approach-distance", "m", "straight way before the place")
    common.add_number(parser, "--retreat-distance", "m", "straight way back after it")
    common.add_number(parser, "--release-width", "m", "gap to which the jaws open")
    common.add_number(parser, "--contact-force-limit", "n", "force that stops the motion")
    common.add_number(parser, "--min-confidence", "c", "least confidence, 0 to 1")
    common.add_task_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Places; returns the exit code."""
    at = args.keypoint
    if bool(args.keypoint) == (args.at is not None):
        raise ConfigurationError("s3k place: give a keypoint or --at X Y Z, and not both")
    if args.at is not None:
        at = Pose(tuple(args.at), tuple(args.orientation)) if args.orientation else args.at
    options = common.options_of(args, _OPTIONS)
    return common.run_task(
        args, lambda cell: cell.start_place(at, args.toward, **options), must_hold=False
    )
