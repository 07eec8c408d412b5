"""What the user sees while the demo runs: plain lines, then a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from s3k_ros.demo.trial import Trial

COLUMNS = (
    ("trial", 5),
    ("seed", 10),
    ("result", 18),
    ("holding", 11),
    ("grasp error", 11),
    ("paw error", 10),
    ("rise", 7),
    ("duration", 8),
    ("judgement", 9),
)


class Display:
    """Writes one line for each thing that happens.

    Args:
        write: takes one line; under ``ros2 launch`` each gets the node's name as prefix.
        trials: number of trials that will run.
    """

    def __init__(self, write: Callable[[str], None], trials: int) -> None:
        self._write = write
        self._trials = trials

    def line(self, text: str) -> None:
        """Writes one line as it is."""
        self._write(text)

    def trial(self, index: int, seed: int) -> None:
        """Announces a trial, counted from 0."""
        self._write(f"trial {index + 1}/{self._trials}  seed {seed}")

    def phase(
        self, elapsed_s: float, phase: str, error_mm: float | None, confidence: float | None
    ) -> None:
        """Reports a phase of the grasp with the newest keypoint's error and confidence."""
        error = "   -  " if error_mm is None else f"{error_mm:6.1f}"
        trust = "  - " if confidence is None else f"{confidence:4.2f}"
        self._write(
            f"  {elapsed_s:6.1f} s  {phase:<10} keypoint error {error} mm  confidence {trust}"
        )

    def outcome(self, trial: Trial) -> None:
        """Reports how a trial ended."""
        end = "held" if trial.success else f"FAILED: {trial.code_name}, {trial.judgement}"
        self._write(f"  {trial.duration_s:6.1f} s  {end}")

    def table(self, trials: Sequence[Trial], report: dict[str, Any]) -> None:
        """Prints all trials and the verdict."""
        lines = [*table_lines(trials), *figure_lines(report)] if trials else []
        for line in [*lines, f"verdict: {report['verdict'].upper()}: {report['reason']}"]:
            self._write(line)


def table_lines(trials: Sequence[Trial]) -> list[str]:
    """The trials as an aligned table."""
    header = "  ".join(f"{name:>{width}}" for name, width in COLUMNS)
    lines = [header, "-" * len(header)]
    for index, trial in enumerate(trials):
        cells = (
            str(index + 1),
            str(trial.seed),
            trial.code_name,
            trial.holding,
            _with_unit(trial.grasp_error_mm, "mm"),
            _with_unit(trial.keypoint_error_mm, "mm"),
            _with_unit(trial.rise_mm, "mm", 0),
            _with_unit(trial.duration_s, "s"),
            "held" if trial.success else "FAILED",
        )
        pairs = zip(cells, COLUMNS, strict=True)
        lines.append("  ".join(f"{cell:>{width}}" for cell, (_, width) in pairs))
    return lines


def figure_lines(report: dict[str, Any]) -> list[str]:
    """The figures of the whole run in a few lines."""
    rates, latency = report["rates_hz"], report["latency_ms"]
    lines = ["keypoints      median     95 %   valid"]
    for name, figures in report["keypoints"].items():
        median, p95 = _with_unit(figures["median_mm"], "mm"), _with_unit(figures["p95_mm"], "mm")
        lines.append(f"{name:<15}{median:>7} {p95:>8} {100 * figures['valid_fraction']:>5.0f} %")
    lines += [
        f"rates: images {_with_unit(rates['images'], 'Hz')}, keypoints "
        f"{_with_unit(rates['keypoints'], 'Hz')}, joint states "
        f"{_with_unit(rates['joint_states'], 'Hz')}; latency p50 "
        f"{_with_unit(latency['p50'], 'ms', 0)}, p99 {_with_unit(latency['p99'], 'ms', 0)}; "
        f"complete sets {report['complete_sets_fraction']}; "
        f"real-time factor {report['real_time_factor']}",
    ]
    return lines


def _with_unit(value: float | None, unit: str, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f} {unit}"
