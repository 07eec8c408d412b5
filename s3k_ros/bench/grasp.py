"""Grasps in the simulated cell, perception in the loop: `s3k bench grasp`.

Every trial is a random scene (family "test", seeds that no training saw): four rendered cameras
at 5 Hz, the shipped model, triangulation, 0.25 s until keypoints arrive, 0.3 s for a plan, and
MuJoCo's contacts between jaws and toy. The fox is grasped by its right front paw, the box by an
upper corner. The same scenes are tried with cameras whose calibration is wrong (points of the
workspace are off by 2 or 5 mm, RMS) and with one of the four cameras dead.

A grasp counts when the true keypoint has risen by 10 cm and is still there after a second, whatever
the result says. Collisions are contacts of arm, hand or fingertips with table, cameras or bin, seen
every 10 ms. Times are simulated, from goal to result.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from s3k_ros.bench import grasp_trials
from s3k_ros.bench.grasp_trials import CONDITIONS, GOALS, NOMINAL, Trial, Tried
from s3k_ros.errors import ConfigurationError
from s3k_ros.results import Result, Target

LEAST_LIFTED_PERCENT = 95.0
MOST_SECONDS = 8.0
# Listed by message; more of one cause are only counted.
_MOST_LISTED = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k bench grasp`."""
    parser.add_argument("--trials", type=int, default=100, help="scenes of each object")
    parser.add_argument("--objects", nargs="+", choices=list(GOALS), default=["fox", "box"])
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=list(CONDITIONS))
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--seed", type=int, default=0, help="another one for development")
    parser.add_argument("--first", type=int, default=0, help="number of the first scene")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="success and times, as PNG")


def run(args: argparse.Namespace) -> Result:
    """Tries all, and counts.

    Raises:
        ConfigurationError: a number out of range.
    """
    for name, high in (("trials", 100_000), ("workers", 64)):
        if not 1 <= getattr(args, name) <= high:
            raise ConfigurationError(f"--{name} = {getattr(args, name)} must be within 1..{high}")
    trials = [
        Trial(what, condition, args.seed, args.first + number)
        for what in args.objects
        for condition in args.conditions
        for number in range(args.trials)
    ]
    tried = sorted(_attempts(trials, args.workers), key=lambda t: trials.index(t.trial))
    figures = {
        "scenes": args.trials,
        "workers": args.workers,
        **{what: _figures_of(what, tried, args.conditions) for what in args.objects},
        "collisions": _collisions(tried),
        "seconds_median": float(np.median([t.seconds for t in tried])),
        "cost_a_trial_s": {
            "wall": float(np.mean([t.wall_s for t in tried])),
            "cpu": float(np.mean([t.cpu_s for t in tried])),
        },
    }
    if args.picture is not None:
        from s3k_ros.bench.grasp_picture import draw

        draw(tried, args.picture)
    return Result.of_this_run("grasp", args.seed, figures, _targets(tried, args))


def _attempts(trials: Sequence[Trial], workers: int) -> Iterator[Tried]:
    """All trials, as they end."""
    with contextlib.ExitStack() as stack:
        if workers == 1:
            stack.callback(grasp_trials.close)
            ended: Iterator[Tried] = map(grasp_trials.attempt, trials)
        else:
            context = multiprocessing.get_context("spawn")  # a GL context does not survive a fork
            threads = max(1, len(os.sched_getaffinity(0)) // workers)
            os.environ.setdefault("LP_NUM_THREADS", str(threads if threads > 1 else 0))
            pool = stack.enter_context(context.Pool(workers))
            ended = pool.imap_unordered(grasp_trials.attempt, trials)
        bar = stack.enter_context(tqdm(total=len(trials), unit="grasp", mininterval=1))
        lifted = 0
        for done, tried in enumerate(ended, 1):
            lifted += tried.lifted
            bar.set_postfix_str(f"{lifted} of {done} lifted", refresh=False)
            bar.update()
            if tried.cause or tried.touches:
                tqdm.write(_line(tried))
            yield tried


def _line(tried: Tried) -> str:
    trial = tried.trial
    what = tried.cause or "lifted"
    return f"{trial.what} {trial.condition} {trial.number}: {what}: {_text(tried)}"


def _text(tried: Tried) -> str:
    touches = "".join(f"; {touch}" for touch in tried.touches)
    return f"{tried.message}; keypoint off by {tried.off_mm:.1f} mm{touches}"


def _figures_of(what: str, tried: Sequence[Tried], conditions: Sequence[str]) -> dict[str, Any]:
    return {condition: _figures(_of(tried, what, condition)) for condition in conditions}


def _of(tried: Sequence[Tried], what: str, condition: str) -> list[Tried]:
    return [t for t in tried if (t.trial.what, t.trial.condition) == (what, condition)]


def _figures(tried: Sequence[Tried]) -> dict[str, Any]:
    seconds = np.array([t.seconds for t in tried])
    failed = [t for t in tried if not t.lifted]
    return {
        "lifted_percent": _percent(tried),
        "failures": dict(Counter(t.cause for t in failed).most_common()),
        "failed_scenes": [
            f"{t.trial.number}: {t.cause}: {_text(t)}" for t in failed[:_MOST_LISTED]
        ],
        "verdict_wrong": sum(t.lifted != t.said_holding for t in tried),
        "collisions": sum(bool(t.touches) for t in tried),
        "seconds": {
            "median": float(np.median(seconds)),
            "p95": float(np.quantile(seconds, 0.95)),
            "max": float(seconds.max()),
        },
        "keypoint_off_mm": {
            "median": _quantile([t.off_mm for t in tried], 0.5),
            "p95": _quantile([t.off_mm for t in tried], 0.95),
        },
    }


def _collisions(tried: Sequence[Tried]) -> dict[str, Any]:
    """Grasps in which the robot touched what stands fast, by what."""
    by_obstacle = Counter(
        obstacle
        for t in tried
        for obstacle in {touch.split(" on ")[1].split(" at ")[0] for touch in t.touches}
    )
    return {"grasps": sum(bool(t.touches) for t in tried), **by_obstacle}


def _targets(tried: Sequence[Tried], args: argparse.Namespace) -> list[Target]:
    targets = []
    for what in args.objects:
        for condition in args.conditions:
            lifted = _percent(_of(tried, what, condition))
            name = f"{what} held and lifted, {condition}"
            targets.append(Target.at_least(name, lifted, LEAST_LIFTED_PERCENT, "%"))
    for what in args.objects if NOMINAL in args.conditions else ():
        seconds = [t.seconds for t in _of(tried, what, NOMINAL)]
        name = f"{what}: median time per grasp"
        targets.append(Target.at_most(name, float(np.median(seconds)), MOST_SECONDS, "s"))
    hits = sum(bool(t.touches) for t in tried)
    targets.append(Target.at_most("grasps with a collision, all conditions", hits, 0, "grasps"))
    return targets


def _percent(tried: Sequence[Tried]) -> float:
    return 100.0 * float(np.mean([t.lifted for t in tried]))


def _quantile(values: Sequence[float], share: float) -> float:
    known = np.array(values)[np.isfinite(values)]
    return float(np.quantile(known, share)) if len(known) else float("nan")
