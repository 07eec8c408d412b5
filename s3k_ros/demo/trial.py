"""The outcome of one grasp and the demo's own judgement of it, from ground truth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from s3k_ros.demo.recording import Array, Recording
from s3k_ros.grasp.codes import GraspCode, Holding
from s3k_ros.params.demo import DemoParameters


@dataclasses.dataclass
class Trial:
    """One grasp as the report lists it; ``None`` where there is nothing to report."""

    seed: int
    success: bool = False
    code: int | None = None
    code_name: str = "NO_RESULT"
    holding: str = "UNKNOWN"
    phase: str = ""
    message: str = ""
    judgement: str = ""
    grasp_error_mm: float | None = None
    keypoint_error_mm: float | None = None
    keypoint_confidence: float | None = None
    rise_mm: float | None = None
    tcp_distance_mm: float | None = None
    width_mm: float | None = None
    duration_s: float = 0.0
    wall_duration_s: float = 0.0


def judge(
    trial: Trial, recording: Recording, ended_s: float, params: DemoParameters
) -> tuple[bool, str]:
    """Whether the grasp holds: the server says so and the simulator's truth agrees.

    The true keypoint must have risen since the jaws began to close, and stay near the TCP, at
    every truth received from the end of the action on.

    Args:
        trial: the outcome that the server reported; its rise and distance are filled in.
        recording: the trial's recording.
        ended_s: simulated time of the result.
        params: thresholds and the keypoint's name.

    Returns:
        Success and the reason in words.
    """
    if trial.code != GraspCode.SUCCESS:
        return False, trial.message or "no result"
    before = recording.truth_at(params.keypoint, _start_of_grip(recording, ended_s))
    stamps = [stamp for stamp, _ in recording.truth if stamp >= ended_s]
    if not stamps or not np.isfinite(before).all():
        return False, "no ground truth to judge by"
    paws = np.array([recording.truth_at(params.keypoint, stamp) for stamp in stamps])
    tcps = np.array([recording.tcp_at(stamp) for stamp in stamps])
    rise = float(np.min(paws[:, 2])) - before[2]
    distance = float(np.max(np.linalg.norm(paws - tcps, axis=1)))
    trial.rise_mm, trial.tcp_distance_mm = to_mm(rise), to_mm(distance)
    if not rise >= params.minimum_rise_m:
        return False, f"the true keypoint rose by {1e3 * rise:.0f} mm only"
    if not distance <= params.maximum_tcp_distance_m:
        return False, f"the true keypoint is {1e3 * distance:.0f} mm away from the TCP"
    if trial.holding != Holding.HOLDING.name:
        return False, f"lifted, but the server reports {trial.holding}"
    return True, "held"


def grasp_error_mm(
    recording: Recording, keypoint: str, grasp_position: Array, ended_s: float
) -> float | None:
    """Distance of the commanded grasp from the true keypoint when the jaws begin to close, mm.

    Args:
        recording: the trial's recording.
        keypoint: the keypoint's name.
        grasp_position: (3,) m, base frame, of the result's ``grasp_pose``.
        ended_s: simulated time of the result, used when the jaws never began to close.
    """
    truth = recording.truth_at(keypoint, _start_of_grip(recording, ended_s))
    return to_mm(float(np.linalg.norm(grasp_position - truth)))


def keypoint_error_at_grasp(
    recording: Recording, keypoint: str, ended_s: float
) -> tuple[float | None, float | None]:
    """Error (mm) and confidence of the last valid keypoint exposed before the jaws closed."""
    limit = _start_of_grip(recording, ended_s)
    for found in sorted(recording.keypoints, key=lambda k: k.stamp_s, reverse=True):
        if found.stamp_s > limit or keypoint not in found.names:
            continue
        index = found.names.index(keypoint)
        if found.valid[index]:
            truth = recording.truth_at(keypoint, found.stamp_s)
            error = float(np.linalg.norm(found.positions[index] - truth))
            return to_mm(error), round(float(found.confidences[index]), 3)
    return None, None


def draw_seeds(seed: int, trials: int) -> list[int]:
    """The trials' seeds, drawn from the demo's seed; the first n do not depend on ``trials``."""
    generator = np.random.default_rng(seed)
    return [int(generator.integers(2**32)) for _ in range(trials)]


def success_rate(trials: Sequence[Trial], requested: int) -> float:
    """Share of the requested grasps that hold; a trial that never ran counts as a failure."""
    return sum(trial.success for trial in trials) / requested


def to_mm(metres: float) -> float | None:
    """Millimetres with two decimals, None when not finite (JSON has no NaN)."""
    return round(1e3 * metres, 2) if math.isfinite(metres) else None


def _start_of_grip(recording: Recording, ended_s: float) -> float:
    start = recording.phase_start("close")
    return ended_s if start is None else start
