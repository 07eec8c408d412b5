"""Does `s3k record` keep up, and is what it wrote what was sent: `s3k bench recording`.

One process publishes sets of noise, which does not compress, as `camera_rig` does; `s3k record`
writes them. Then the file is read as a replay reads it, and every image is compared with the one
that was sent.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from s3k_ros.cameras.recording.reader import Recording
from s3k_ros.cameras.recording.sets import RecordedSets
from s3k_ros.cameras.recording.writer import COMPRESSIONS
from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.results import Result, Target

LEAST_COMPLETE_PERCENT = 99.9
# Others' domains are below.
DOMAINS = range(70, 90)
PATIENCE_S = 90.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k bench recording`."""
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=20.0, help="sets a second")
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--width", type=int, default=1280, help="px")
    parser.add_argument("--height", type=int, default=960, help="px")
    parser.add_argument("--compression", choices=tuple(COMPRESSIONS), default="none")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured (default: /tmp's)")
    parser.add_argument(
        "--seed", type=int, default=0, help="not used: the noise is always the same"
    )


def run(args: argparse.Namespace) -> Result:
    """Records and reads.

    Raises:
        ConfigurationError: a number out of range.
        DataError: one of the processes failed; the message has what it said.
    """
    if args.seconds * args.rate < 1 or min(args.cameras, args.width, args.height) < 1:
        raise ConfigurationError("--seconds, --rate, --cameras, --width, --height must be positive")
    from s3k_ros.bench import ros_transport

    job = ros_transport.Job(args.cameras, args.width, args.height, args.rate, args.seconds)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "bench.mcap"
        sent, usage, said = _record(job, path, args.compression)
        begun, used = time.monotonic(), time.process_time()
        counts = _read(job, path, set(sent["stamps"]))
        read_s, read_processor_s = time.monotonic() - begun, time.process_time() - used
        size = path.stat().st_size
        disk = shutil.disk_usage(folder)
    percent = 100.0 * counts["complete"] / job.sets
    return Result.of_this_run(
        name="recording",
        seed=args.seed,
        figures={
            "cameras": args.cameras,
            "image": f"{args.width} x {args.height} bgr8, noise",
            "rate_hz": args.rate,
            "compression": args.compression,
            "sets_asked": job.sets,
            "sets_sent": len(sent["stamps"]),
            "sets_recorded_complete": counts["complete"],
            "recorder_said": said,
            "megabytes_a_second": 1e-6 * size / args.seconds,
            "recorder_processor_ms_a_set": 1e3 * usage / max(len(sent["stamps"]), 1),
            "publisher_processor_ms_a_set": 1e3 * sent["processor_s"] / max(len(sent["stamps"]), 1),
            "read_ms_a_set": 1e3 * read_s / max(counts["sets"], 1),
            "read_processor_ms_a_set": 1e3 * read_processor_s / max(counts["sets"], 1),
            "disk_free_gb": 1e-9 * disk.free,
        },
        targets=(
            Target.at_least("complete sets in the file", percent, LEAST_COMPLETE_PERCENT, "%"),
            Target.at_most("images that differ", counts["different"], 0, ""),
        ),
    )


def _record(job: Any, path: Path, compression: str) -> tuple[dict[str, Any], float, str]:
    """What the publisher printed, the recorder's processor seconds, and its last line."""
    environment = {**os.environ, "ROS_DOMAIN_ID": str(DOMAINS[os.getpid() % len(DOMAINS)])}
    words = ["record", "--out", str(path), "--topics", "*/image_raw", "--compression", compression]
    with tempfile.TemporaryFile("w+") as output:
        recorder = subprocess.Popen(
            [sys.executable, "-m", "s3k_ros.cli", *words],
            stdout=output, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
        publish = ["s3k_ros.bench.ros_transport", "publish", json.dumps(dataclasses.asdict(job))]
        try:
            done = subprocess.run(
                [sys.executable, "-m", *publish], capture_output=True, text=True, env=environment,
                timeout=job.seconds + PATIENCE_S, check=False,
            )  # fmt: skip
            recorder.send_signal(signal.SIGINT)
            _, status, usage = os.wait4(recorder.pid, 0)
            recorder.returncode = os.waitstatus_to_exitcode(status)
        finally:
            if recorder.returncode is None:
                recorder.kill()
                recorder.wait()
        output.seek(0)
        said = output.read().strip().splitlines()
    if done.returncode or recorder.returncode:
        raise DataError(f"a process failed: {done.stderr[-300:]} {' '.join(said)[-300:]}")
    sent: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return sent, usage.ru_utime + usage.ru_stime, said[-1].partition(": ")[2]


def _read(job: Any, path: Path, stamps: set[int]) -> dict[str, int]:
    """Sets in the file, those of the measured ones that are complete, and images that differ."""
    random = np.random.default_rng(0)  # as the publisher's
    size = (job.height, job.width, 3)
    pictures = {name: random.integers(0, 256, size, np.uint8) for name in job.names}
    counts = {"sets": 0, "complete": 0, "different": 0}
    for found in RecordedSets(Recording(path), job.names)():
        counts["sets"] += 1
        counts["complete"] += found.complete and found.stamp_ns in stamps
        for name, frame in found.frames.items():
            counts["different"] += not np.array_equal(frame.image, pictures[name])
    return counts
