"""What `s3k grasp`, `s3k place` and `s3k release` have in common: options, progress, exit codes."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import IO, Any

from s3k_ros.client import Cell, Progress, Task, TaskResult
from s3k_ros.goal_logs.entries import plain
from s3k_ros.grasp.advice import ADVICE

_BAR = 24
EXIT_DONE, EXIT_NOT_DONE = 0, 1


def add_task_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that every task has."""
    parser.add_argument("--namespace", default="/", help="of the cell's nodes (default: /)")
    parser.add_argument(
        "--timeout", type=float, default=300.0, metavar="S",
        help="wall time after which the task is cancelled (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--server-timeout", type=float, default=10.0, metavar="S",
        help="longest wait for the grasp server (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the result as JSON alone")


def add_number(parser: argparse.ArgumentParser, option: str, unit: str, text: str) -> None:
    """An option that stands for the server's parameter when it is left out."""
    parser.add_argument(
        option, type=float, metavar=unit.upper(), help=f"{text} (default: server's)"
    )


def add_vector(parser: argparse.ArgumentParser, option: str, text: str) -> None:
    """An option of three numbers."""
    parser.add_argument(option, type=float, nargs=3, metavar=("X", "Y", "Z"), help=text)


def options_of(args: argparse.Namespace, names: dict[str, str]) -> dict[str, Any]:
    """The client's options that were given, by the names of the command line."""
    given = {option: getattr(args, name) for name, option in names.items()}
    return {option: value for option, value in given.items() if value is not None}


def run_task(
    args: argparse.Namespace,
    start: Callable[[Cell], Task],
    *,
    must_hold: bool,
) -> int:
    """Starts a task, shows its progress and tells how it ended.

    Args:
        args: with the options of `add_task_arguments`.
        start: begins the task.
        must_hold: whether success without something in the jaws is none.

    Returns:
        The exit code: 0 when it did what was asked for.
    """
    display = Display(sys.stderr)
    with Cell(args.namespace, timeout_s=args.server_timeout) as cell:
        try:
            result = start(cell).result(args.timeout, display.show)
        except KeyboardInterrupt:
            # The client has cancelled the task and waited for the arm before this comes.
            display.end()
            print("cancelled; the arm was told to stop", file=sys.stderr)
            return EXIT_NOT_DONE
    display.end()
    done = result.succeeded and (result.held or result.dry_run or not must_hold)
    print(json.dumps(as_json(result)) if args.json else "\n".join(lines_of(result, done)))
    return EXIT_DONE if done else EXIT_NOT_DONE


class Display:
    """Live progress: one line that changes on a terminal, else a line a phase.

    Args:
        out: where to.
        now: clock, s.
    """

    def __init__(self, out: IO[str], now: Callable[[], float] = time.monotonic) -> None:
        self._out, self._now, self._started = out, now, now()
        self._terminal = out.isatty()
        self._phase, self._width = "", 0

    def show(self, progress: Progress) -> None:
        """Takes progress as it comes."""
        changed, self._phase = progress.phase != self._phase, progress.phase
        seconds = self._now() - self._started
        if self._terminal:
            filled = round(_BAR * min(max(progress.fraction, 0.0), 1.0))
            bar = "#" * filled + "-" * (_BAR - filled)
            line = f"{progress.phase:<9} [{bar}] {100 * progress.fraction:3.0f} %  {seconds:5.1f} s"
            line += f"  {seen(progress)}"
            self._out.write(f"\r{line:<{self._width}}")
            self._width = len(line)
        elif changed:
            self._out.write(
                f"{seconds:6.1f} s  {progress.phase:<9}  {seen(progress)}".rstrip() + "\n"
            )
        self._out.flush()

    def end(self) -> None:
        """Leaves the line."""
        if self._terminal and self._width:
            self._out.write("\n")


def seen(progress: Progress) -> str:
    """What perception says of the keypoint."""
    keypoint = progress.keypoint
    if keypoint is None:
        return ""
    if not keypoint.valid:
        return f"{keypoint.name}: {keypoint.status.name}"
    return f"{keypoint.name}: {keypoint.confidence:.2f}, ±{1e3 * keypoint.spread_m:.1f} mm"


def lines_of(result: TaskResult, done: bool) -> list[str]:
    """How it ended, for people; with advice when it did not do what was asked for."""
    lines = [str(result)]
    if result.pose is not None:
        x, y, z = result.pose.position
        lines.append(f"  pose: {x:.3f} {y:.3f} {z:.3f} m in {result.pose.frame}")
    if not done:
        advice = ADVICE[result.code]
        lines += [f"  usual cause: {advice.cause}", f"  what to do: {advice.remedy}"]
    return lines


def as_json(result: TaskResult) -> dict[str, Any]:
    """The result for programs."""
    values: dict[str, Any] = plain(result)
    return {**values, "code": int(result.code), "code_name": result.code.name}
