"""Random faults in all phases of a task, and hostile goals: `s3k bench faults`.

A task runs in the simulated cell (MuJoCo, in one process, as fast as the machine can), and at a
random moment something fails: perception, action servers, network, sensors, robot, object, clock.
The codes that the goal may end with are fixed by fault and phase before the run
(`fault_kinds.py`). Each trial must end with one of them, with the arm at rest by the simulator's
own truth and the gripper's state stated, and the next goal must succeed. The gates are asked at
each message, as the server does; what ROS adds to the times is measured in `test/nodes`.

With ``--hostile N``, N malformed goals go to a real grasp server over ROS instead
(`ros_faults.py`): none may move the arm or end the node, and each must end with a code.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np

from s3k_ros.bench.fault_cell import FaultCell
from s3k_ros.bench.fault_trial import Report, draw, empty_report
from s3k_ros.bench.fault_trial import run as run_trial
from s3k_ros.errors import ConfigurationError
from s3k_ros.results import Result, Target

STOP_S = 0.1
"""Largest time from a message to standstill, simulated."""
_SHOWN_FAILURES = 20
_PROGRESS_S = 10.0

_cell: FaultCell | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k bench faults`."""
    parser.add_argument("--trials", type=int, default=500, help="faults")
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument(
        "--hostile", type=int, default=0, metavar="N",
        help="send N malformed goals to a grasp server over ROS instead",
    )  # fmt: skip


def run(args: argparse.Namespace) -> Result:
    """Runs all trials.

    Raises:
        ConfigurationError: a number out of range.
    """
    for name, low, high in (
        ("trials", 1, 1_000_000), ("first", 0, 10**9), ("seed", 0, 2**31), ("workers", 1, 64),
        ("hostile", 0, 1_000_000),
    ):  # fmt: skip
        if not low <= getattr(args, name) <= high:
            value = getattr(args, name)
            raise ConfigurationError(f"--{name} = {value} must be within {low}..{high}")
    if args.hostile:
        from s3k_ros.bench import ros_faults

        return ros_faults.run(args.hostile, args.seed)
    began = time.monotonic()
    numbers = range(args.first, args.first + args.trials)
    reports = list(_with_progress(_all(numbers, args.seed, args.workers), args.trials))
    reports.sort(key=lambda report: report.number)
    return _result(reports, args.seed, time.monotonic() - began)


def _all(numbers: Sequence[int], seed: int, workers: int) -> Iterator[Report]:
    tasks = [(number, seed) for number in numbers]
    if workers == 1:
        yield from map(_trial, tasks)
        return
    # Spawned: MuJoCo's and BLAS' threads do not survive a fork.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(_trial, tasks)


def _trial(task: tuple[int, int]) -> Report:
    global _cell  # one a process: it takes seconds to compile
    if _cell is None:
        _cell = FaultCell(0)
    case = draw(*task)
    try:
        return run_trial(case, _cell)
    except Exception as error:
        report = empty_report(case)
        report.problems.append(f"{type(error).__name__}: {error}")
        return report


def _with_progress(reports: Iterator[Report], count: int) -> Iterator[Report]:
    told, failed = time.monotonic(), 0
    for done, report in enumerate(reports, 1):
        failed += bool(report.problems)
        if time.monotonic() - told > _PROGRESS_S:
            told = time.monotonic()
            print(f"{done} of {count} faults, {failed} failed", file=sys.stderr, flush=True)
        yield report


def _result(reports: Sequence[Report], seed: int, wall_s: float) -> Result:
    bad = [report for report in reports if report.problems]
    # Whole control cycles: differences of simulated times carry the trace of many sums.
    reports = [
        dataclasses.replace(r, brake_s=round(r.brake_s, 6), still_s=round(r.still_s, 6))
        for r in reports
    ]
    brake = [r.brake_s for r in reports if np.isfinite(r.brake_s)]
    still = [r.still_s for r in reports if np.isfinite(r.still_s)]
    codes = collections.Counter(report.code for report in reports)
    figures = {
        "faults": len(reports),
        "kinds": len({report.fault for report in reports}),
        "phases": dict(sorted(collections.Counter(f"{r.task}.{r.phase}" for r in reports).items())),
        "codes": dict(sorted(codes.items())),
        "stops_in_motion_by_a_message": len(still),
        "braking_begins_after_s": _spread(brake),
        "standstill_after_s": _spread(still),
        "standstill_after_s_by_fault": {
            name: _spread([r.still_s for r in reports if r.fault == name and r.still_s >= 0])
            for name in sorted({r.fault for r in reports if np.isfinite(r.still_s)})
        },
        "failures": [
            f"trial {r.number}, {r.fault} in {r.phase} of {r.task}: {'; '.join(r.problems)}"
            for r in bad[:_SHOWN_FAILURES]
        ],
        "wall_s": wall_s,
    }
    ended = 100.0 * (len(reports) - len(bad)) / max(len(reports), 1)
    targets = [
        Target.at_least(
            "faults that end at rest, rightly, and the next goal works", ended, 100, "%"
        ),
    ]
    if still:
        targets.append(Target.at_most("message to standstill, largest", max(still), STOP_S, "s"))
    return Result.of_this_run("faults", seed, figures, targets)


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"median": float("nan"), "max": float("nan")}
    return {"median": float(np.median(values)), "max": float(np.max(values))}
