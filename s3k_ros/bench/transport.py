"""Whole sets of images between two processes, with and without our profile: `s3k bench transport`.

One process publishes sets as `camera_rig` does (`ros/rig_images.py`: its messages, its quality of
service), another one receives them and does nothing else. The transport profile that we ship
(`config/fastdds.xml`) and Fast DDS's default take turns. A set is complete when all its images
arrived; one whose turn comes later than the rig's queue holds it is lost as well.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
from typing import Any

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.results import Result, Target

LEAST_COMPLETE_PERCENT = 99.9
PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"
# A domain a round, so that no round meets the last one's. Others' are below.
DOMAINS = range(40, 70)
# What a round may take beyond its sets: two starts of Python, discovery.
PATIENCE_S = 90.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k bench transport`."""
    parser.add_argument("--seconds", type=float, default=60.0, help="for each profile")
    parser.add_argument("--rounds", type=int, default=6, help="that they are spread over, in turn")
    parser.add_argument("--rate", type=float, default=30.0, help="sets a second")
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--width", type=int, default=1280, help="px")
    parser.add_argument("--height", type=int, default=960, help="px")
    parser.add_argument("--seed", type=int, default=0, help="not used: nothing is random")


def run(args: argparse.Namespace) -> Result:
    """Measures both profiles in turn.

    Raises:
        ConfigurationError: a number out of range.
        DataError: one of the processes failed; the message has what it said.
    """
    if args.rounds < 1 or args.seconds * args.rate < args.rounds or args.rate > 1000:
        raise ConfigurationError("--seconds, --rate and --rounds must leave a set for each round")
    if min(args.cameras, args.width, args.height) < 1:
        raise ConfigurationError("--cameras, --width and --height must be positive")
    from s3k_ros.bench import ros_transport

    job = ros_transport.Job(
        args.cameras, args.width, args.height, args.rate, args.seconds / args.rounds
    )
    profiles = {"shipped": ros_transport.shipped_profile(), "default": ""}
    counts = {name: Counts() for name in profiles}
    for i in range(args.rounds):
        # Who begins changes: what the machine does beside hits both.
        for name in sorted(profiles, reverse=bool(i % 2)):
            domain = DOMAINS[(os.getpid() + 2 * i + (name == "default")) % len(DOMAINS)]
            counts[name].add(job, *_round(job, profiles[name], domain))
    shipped = counts["shipped"]
    return Result.of_this_run(
        name="transport",
        seed=args.seed,
        figures={
            "cameras": args.cameras,
            "image": f"{args.width} x {args.height} bgr8",
            "rate_hz": args.rate,
            **{name: count.figures() for name, count in counts.items()},
        },
        targets=(
            Target.at_least(
                "complete sets, shipped profile", shipped.percent, LEAST_COMPLETE_PERCENT, "%"
            ),
        ),
    )


@dataclasses.dataclass
class Counts:
    """What became of the sets of one profile.

    Attributes:
        asked, sent, complete: sets.
        rounds: share of complete sets in each round, %.
        latencies_ms: from the stamp, before the message is filled, to the last image's callback.
        publisher_s, subscriber_s: processor time.
    """

    asked: int = 0
    sent: int = 0
    complete: int = 0
    rounds: list[float] = dataclasses.field(default_factory=list)
    latencies_ms: list[float] = dataclasses.field(default_factory=list)
    publisher_s: float = 0.0
    subscriber_s: float = 0.0

    @property
    def percent(self) -> float:
        """Complete sets of those asked for."""
        return 100.0 * self.complete / self.asked

    def add(self, job: Any, sent: dict[str, Any], received: dict[str, Any]) -> None:
        """Takes over a round: what both processes printed."""
        arrived = {int(stamp): n_and_last for stamp, n_and_last in received["sets"].items()}
        stamps = sent["stamps"]
        latencies = [
            1e-6 * (arrived[stamp][1] - stamp)
            for stamp in stamps
            if arrived.get(stamp, [0])[0] == job.cameras
        ]
        self.asked += job.sets
        self.sent += len(stamps)
        self.complete += len(latencies)
        self.rounds.append(100.0 * len(latencies) / job.sets)
        self.latencies_ms += latencies
        self.publisher_s += sent["processor_s"]
        self.subscriber_s += received["processor_s"]

    def figures(self) -> dict[str, Any]:
        """For the result."""
        latencies = sorted(self.latencies_ms) or [math.nan]
        return {
            "sets_asked": self.asked,
            "sets_sent": self.sent,
            "sets_complete": self.complete,
            "complete_percent": self.percent,
            # Without those that the publisher, for want of processor time, never sent.
            "complete_percent_of_sent": 100.0 * self.complete / max(self.sent, 1),
            "complete_percent_by_round": self.rounds,
            "latency_ms_median": statistics.median(latencies),
            "latency_ms_p99": latencies[int(0.99 * (len(latencies) - 1))],
            "publisher_ms_a_set": 1e3 * self.publisher_s / max(self.sent, 1),
            "subscriber_ms_a_set": 1e3 * self.subscriber_s / max(self.sent, 1),
        }


def _round(job: Any, profile: str, domain: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both processes for one round; what they printed."""
    environment = {k: v for k, v in os.environ.items() if k != PROFILE}
    environment |= {"ROS_DOMAIN_ID": str(domain)} | ({PROFILE: profile} if profile else {})

    def start(role: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "s3k_ros.bench.ros_transport", role]
        return subprocess.Popen(
            [*words, json.dumps(dataclasses.asdict(job))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment,
        )  # fmt: skip

    subscriber, publisher = start("subscribe"), start("publish")
    try:
        sent = _answer(publisher, "publisher", job.seconds + PATIENCE_S)
        received = _answer(subscriber, "subscriber", PATIENCE_S)
    finally:
        for process in (publisher, subscriber):
            process.kill()
            process.wait()
    return sent, received


def _answer(process: subprocess.Popen[str], role: str, timeout_s: float) -> dict[str, Any]:
    """What a process prints in the end; its input closes now."""
    try:
        text, complaint = process.communicate(timeout=timeout_s)
        answer: dict[str, Any] = json.loads(text.splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise DataError(f"the {role} did not end") from None
    except (ValueError, IndexError):
        raise DataError(f"the {role} failed: {complaint.strip()[-500:]}") from None
    return answer
