"""``report.json``: the verdict, the trials, the figures and what made them."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s3k_ros.demo.measurement import summarise
from s3k_ros.demo.recording import Recording
from s3k_ros.demo.trial import Trial, success_rate
from s3k_ros.demo.verdict import FAILED, PASSED
from s3k_ros.params.demo import DemoParameters

DISTRIBUTIONS = {
    "numpy": ("numpy",),
    "rclpy": ("ros-jazzy-rclpy", "rclpy"),
    "mujoco": ("mujoco",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
}
"""Names under which each library's version may be known to the environment."""


def build(
    params: DemoParameters,
    trials: Sequence[Trial],
    recordings: Sequence[Recording],
    *,
    started: str,
    versions: dict[str, str],
    trouble: str = "",
) -> dict[str, Any]:
    """Assembles the report.

    Args:
        params: what was asked for.
        trials: outcomes, possibly fewer than asked for.
        recordings: one for each trial.
        started: date and time, ISO 8601.
        versions: as :func:`versions` gives them.
        trouble: what ended the run early or spoilt it, empty when nothing did. Trouble is failure.

    Returns:
        Values that JSON can hold.
    """
    rate = success_rate(trials, params.trials)
    passed = not trouble and rate >= params.required_success_rate
    held = sum(trial.success for trial in trials)
    counted = (
        f"{held} of {params.trials} grasps hold, "
        f"{100 * params.required_success_rate:.0f} % are required"
    )
    return {
        "verdict": PASSED if passed else FAILED,
        "reason": f"{trouble}; {counted}" if trouble else counted,
        "success_rate": round(rate, 4),
        "required_success_rate": params.required_success_rate,
        "seed": params.seed,
        "started": started,
        "trials_requested": params.trials,
        "object_id": params.object_id,
        "keypoint": params.keypoint,
        "toward_keypoint": params.toward_keypoint,
        "trials": [dataclasses.asdict(trial) for trial in trials],
        **summarise(recordings),
        "versions": versions,
        "machine": machine(),
    }


def write(report: dict[str, Any], path: Path) -> None:
    """Writes the report in one piece: a reader never sees half of it.

    Raises:
        ValueError: the report holds NaN or infinity, which JSON does not know.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def versions(model_name: str, model_file: Path | None) -> dict[str, str]:
    """Versions of what took part; "unknown" where it cannot be told."""
    found = {"python": platform.python_version()}
    for name, distributions in DISTRIBUTIONS.items():
        found[name] = next((v for d in distributions if (v := _version(d))), "unknown")
    found["s3k_ros"] = _commit()
    found["model"] = model_name or "unknown"
    found["model_sha256"] = _sha256(model_file)
    return found


def machine() -> dict[str, Any]:
    """The machine the figures belong to."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    """Commit of the source tree that this module belongs to, with a mark when it was changed."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def _sha256(path: Path | None) -> str:
    if path is None or not path.is_file():
        return "unknown"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown"
