"""`s3k record`: topics of a rig and its perception into an MCAP file."""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from pathlib import Path

from rclpy.clock import Clock, ClockType

from s3k_ros.cameras.recording.writer import COMPRESSIONS, RecordingWriter
from s3k_ros.errors import ConfigurationError
from s3k_ros.ros.node import run_node
from s3k_ros.ros.recorder import DEFAULT_EXCLUDED, DEFAULT_TOPICS, RecorderNode, Selection

# Time between two lines of progress, on a terminal and in a log.
_TERMINAL_S, _LOG_S = 1.0, 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k record`."""
    parser.add_argument(
        "--out", type=Path, metavar="FILE.mcap", help="new file (default: recording_DATE_TIME.mcap)"
    )
    parser.add_argument(
        "--topics", nargs="+", default=DEFAULT_TOPICS, metavar="PATTERN",
        help="names with * and ? (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--exclude", nargs="*", default=DEFAULT_EXCLUDED, metavar="PATTERN",
        help="of those, not these (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, help="end after this time (default: on Ctrl-C)")
    parser.add_argument(
        "--compression", choices=tuple(COMPRESSIONS), default="none", help="default: %(default)s"
    )


def run(args: argparse.Namespace) -> int:
    """Records until Ctrl-C, SIGTERM or the end of the time; returns the exit code."""
    if args.seconds is not None and args.seconds <= 0:
        raise ConfigurationError(f"--seconds {args.seconds} must be positive")
    path = args.out or Path(f"recording_{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}.mcap")
    if path.suffix != ".mcap":
        raise ConfigurationError(f"--out {path}: must end in .mcap, or `ros2 bag` refuses it")
    selection = Selection(tuple(args.topics), tuple(args.exclude))
    recorders: list[RecorderNode] = []

    def make() -> RecorderNode:
        recorders.append(RecorderNode(RecordingWriter(path, args.compression), selection))
        _Progress(recorders[0], args.seconds)
        return recorders[0]

    code = run_node(make, args=[])
    if recorders and path.exists():
        print(f"{path}: {_summary(recorders[0])}", flush=True)
        if not recorders[0].writer.messages:
            print("no messages: is the rig running, and on this ROS_DOMAIN_ID?", file=sys.stderr)
    return code


class _Progress:
    """Prints how far a recorder is, and ends it when its time is over."""

    def __init__(self, node: RecorderNode, seconds: float | None) -> None:
        self._node, self._seconds = node, seconds
        self._terminal = sys.stdout.isatty()
        self._started = self._printed = time.monotonic()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(0.1, self._tick, clock=steady)

    def _tick(self) -> None:
        now = time.monotonic()
        if self._seconds is not None and now - self._started >= self._seconds:
            self._node.context.try_shutdown()
        elif now - self._printed >= (_TERMINAL_S if self._terminal else _LOG_S):
            self._printed = now
            line = f"{now - self._started:.0f} s: {_summary(self._node)}"
            print(f"\r{line}  " if self._terminal else line, end="" if self._terminal else "\n")
            sys.stdout.flush()


def _summary(node: RecorderNode) -> str:
    writer = node.writer
    topics = f"{len(node.topics)} topics, {writer.messages:,} messages"
    return f"{topics}, {1e-6 * writer.bytes:,.0f} MB, {node.drops}"
