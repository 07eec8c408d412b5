"""`s3k dataset rig`: the calibration in a recording as a rig file, for replays and imports."""

from __future__ import annotations

import argparse
from pathlib import Path

from s3k_ros.calibration.rig_file import rig_text
from s3k_ros.cameras.recording.calibration import recorded_cameras
from s3k_ros.cameras.recording.reader import Recording
from s3k_ros.cameras.recording.sets import image_topics
from s3k_ros.errors import ConfigurationError
from s3k_ros.training.dataset.tools.recordings import add_calibration_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k dataset rig`."""
    parser.add_argument("recording", type=Path, help="MCAP file")
    parser.add_argument("--out", type=Path, required=True, help="new rig file")
    parser.add_argument("--cameras", nargs="+", metavar="NAME", help="default: all")
    add_calibration_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the file."""
    recording = Recording(args.recording)
    cameras = recorded_cameras(recording, image_topics(recording, args.cameras), args.base_frame)
    try:
        with args.out.open("x", encoding="utf-8") as file:
            file.write(f"# Calibration recorded in {recording.path.name}\n")
            file.write(rig_text(cameras, args.base_frame))
    except OSError as error:
        raise ConfigurationError(f"{args.out} cannot be written: {error.strerror}") from None
    print(f"{args.out}: {', '.join(camera.name for camera in cameras)}")
    return 0
