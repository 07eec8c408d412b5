"""Measured figures with what is needed to repeat them: one format for `s3k bench` and `s3k study`.

The file is JSON: ``{name, command, seed, commit, machine, figures: {...},
targets: [{name, measured, limit, unit, passed}]}``. What could not be measured is null, and a
target on it is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from s3k_ros.errors import ConfigurationError


@dataclass(frozen=True)
class Target:
    """One figure against its limit; made by ``at_most`` and ``at_least``.

    Attributes:
        name: what is measured, and which way the limit goes where that is not plain.
        measured: the figure; NaN: it could not be measured.
        limit: the agreed limit, in the same unit.
        unit: "mm", "px", "%", "ratio" ...
        passed: whether the limit is kept.
    """

    name: str
    measured: float
    limit: float
    unit: str
    passed: bool

    @classmethod
    def at_most(cls, name: str, measured: float, limit: float, unit: str) -> Target:
        """A target that is met while ``measured <= limit``."""
        return cls(name, float(measured), float(limit), unit, bool(measured <= limit))

    @classmethod
    def at_least(cls, name: str, measured: float, limit: float, unit: str) -> Target:
        """A target that is met while ``measured >= limit``."""
        return cls(name, float(measured), float(limit), unit, bool(measured >= limit))


@dataclass(frozen=True)
class Result:
    """The outcome of one benchmark or study.

    Attributes:
        name: of the benchmark or study.
        command: the line that repeats it (``command_line``).
        seed: all its random choices come from this.
        commit: of the source (``source_commit``).
        machine: in words (``machine_description``).
        figures: free, nested by name; numbers, text and lists; arrays are written as lists.
        targets: figures with a limit.
    """

    name: str
    command: str
    seed: int
    commit: str
    machine: str
    figures: Mapping[str, Any]
    targets: tuple[Target, ...] = ()

    @classmethod
    def of_this_run(
        cls, name: str, seed: int, figures: Mapping[str, Any], targets: Sequence[Target] = ()
    ) -> Result:
        """What the running `s3k` command measured, on this machine and source."""
        facts = command_line(), seed, source_commit(), machine_description()
        return cls(name, *facts, figures, tuple(targets))

    @property
    def exit_code(self) -> int:
        """0, or 1 when a target is missed."""
        return 0 if all(target.passed for target in self.targets) else 1

    def write(self, path: Path | str) -> None:
        """Writes the JSON file; an interrupted write leaves the old file as it was."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        content["targets"] = [_plain(vars(target)) for target in self.targets]
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(partial, path)

    @classmethod
    def read(cls, path: Path | str) -> Result:
        """Reads a file of ``write``.

        Raises:
            ConfigurationError: no such file, or not of this format; the message names the key.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path} is not a result: {error}") from error
        _check_keys(path, content, cls)
        targets = content.pop("targets")
        if not isinstance(targets, list):
            raise ConfigurationError(f"{path}: 'targets' must be a list")
        for i, target in enumerate(targets):
            _check_keys(f"{path}, targets[{i}]", target, Target)
            for key in ("measured", "limit"):
                target[key] = math.nan if target[key] is None else target[key]
        return cls(**content, targets=tuple(Target(**target) for target in targets))

    def table(self) -> str:
        """Figures and targets as aligned text, ready to print."""
        figures = [(name, _text(value)) for name, value in _flat(self.figures)]
        lines = [self.name, *_aligned(figures)]
        if self.targets:
            rows = [("target", "measured", "limit", "", "")]
            rows += [
                (t.name, _text(t.measured), _text(t.limit), t.unit, "met" if t.passed else "MISSED")
                for t in self.targets
            ]
            lines += ["", *_aligned(rows)]
        return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that every benchmark shares."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result here")


def report(result: Result, path: Path | None) -> int:
    """Prints a result, writes it when a path is given, and returns the exit code."""
    print(result.table())
    if path is not None:
        result.write(path)
    return result.exit_code


def command_line() -> str:
    """The `s3k` command that is running."""
    return shlex.join(["s3k", *sys.argv[1:]])


def machine_description() -> str:
    """Processor, usable cores and GPUs; never a name of the host."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [_processor(), f"{cores} core" + ("" if cores == 1 else "s")]
    if shutil.which("nvidia-smi"):
        gpus = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
        parts += [gpu.strip() for gpu in gpus.splitlines() if gpu.strip()]
    return ", ".join(parts)


def source_commit() -> str:
    """The commit of this package's source, "-dirty" after it when the package was edited since.

    "unknown" when the package does not run from a checkout.
    """
    here = Path(__file__).resolve().parent
    git = ["git", "-C", str(here)]
    if not _output([*git, "ls-files", "--", "errors.py"]):  # installed, maybe inside another's
        return "unknown"
    commit = _output([*git, "rev-parse", "--short=12", "HEAD"]) or "unknown"
    edited = _output([*git, "status", "--porcelain", "--untracked-files=no", "--", "."])
    return commit + ("-dirty" if edited else "")


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _output(command: Sequence[str]) -> str:
    """What a command prints; empty when it fails or does not exist."""
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def _check_keys(where: object, content: object, kind: type) -> None:
    names = {field.name for field in fields(kind)}
    if not isinstance(content, dict):
        raise ConfigurationError(f"{where} is not a result: no JSON object")
    for key in sorted(names ^ set(content)):
        what = "is missing" if key in names else f"is unknown, known: {sorted(names)}"
        raise ConfigurationError(f"{where}: key {key!r} {what}")


def _plain(value: Any) -> Any:
    """A value of JSON: NumPy numbers and arrays as numbers and lists, not finite as null."""
    if hasattr(value, "tolist"):  # NumPy and PyTorch, without importing either
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def _flat(figures: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _text(value: Any) -> str:
    value = _plain(value)
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return " ".join(_text(item) for item in value)
    return str(value)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
