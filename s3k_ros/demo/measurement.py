"""Figures of a demo run, computed from its recordings: pure functions, no ROS."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from s3k_ros.demo.recording import Array, KeypointSet, Recording

SAME_SET_S = 0.02
"""Exposure times closer than this belong to one set: four USB cameras with a software trigger
differ by 1 ms, and sets follow each other at 30 Hz or slower."""

GRASPING_PHASES = ("close", "lift", "verify")
"""Phases in which the jaws hide the keypoint or move the object."""

CHI2_3_95 = 7.815
"""95 % quantile of the chi-squared distribution with 3 degrees of freedom."""


@dataclasses.dataclass(frozen=True)
class ErrorSample:
    """Error of one keypoint in one message, against the truth at its exposure time."""

    trial: int
    name: str
    stamp_s: float
    phase: str
    valid: bool
    error_m: float
    sigma_m: float
    """Square root of the predicted covariance's trace: the RMS error that was claimed."""
    mahalanobis2: float
    confidence: float


def error_samples(recordings: Sequence[Recording]) -> list[ErrorSample]:
    """One sample for every keypoint of every message, refused ones included.

    The truth is interpolated to the exposure stamp, since the object moves when it is lifted.
    """
    return [
        _error_sample(trial, recording, found, index)
        for trial, recording in enumerate(recordings)
        for found in recording.keypoints
        for index in range(len(found.names))
    ]


def _error_sample(trial: int, recording: Recording, found: KeypointSet, index: int) -> ErrorSample:
    name, covariance = found.names[index], found.covariances[index]
    difference = found.positions[index] - recording.truth_at(name, found.stamp_s)
    try:
        mahalanobis2 = float(difference @ np.linalg.solve(covariance, difference))
    except np.linalg.LinAlgError:
        mahalanobis2 = float("nan")
    return ErrorSample(
        trial=trial,
        name=name,
        stamp_s=found.stamp_s,
        phase=recording.phase_at(found.stamp_s),
        valid=bool(found.valid[index]),
        error_m=float(np.linalg.norm(difference)),
        sigma_m=float(np.sqrt(max(np.trace(covariance), 0.0))),
        mahalanobis2=mahalanobis2,
        confidence=float(found.confidences[index]),
    )


def keypoint_figures(samples: Iterable[ErrorSample]) -> dict[str, dict[str, float | None]]:
    """Errors by keypoint over the valid samples, and how many were valid.

    Returns:
        ``{name: {median_mm, p95_mm, valid_fraction, coverage_95, count}}`` in order of appearance.
        ``coverage_95`` is the share of valid errors inside the predicted 95 % ellipsoid.
    """
    by_name: dict[str, list[ErrorSample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    figures: dict[str, dict[str, float | None]] = {}
    for name, group in by_name.items():
        valid = [s for s in group if s.valid and np.isfinite(s.error_m)]
        errors = [1e3 * s.error_m for s in valid]
        inside = [s.mahalanobis2 <= CHI2_3_95 for s in valid if np.isfinite(s.mahalanobis2)]
        figures[name] = {
            "median_mm": percentile(errors, 50),
            "p95_mm": percentile(errors, 95),
            "valid_fraction": _round(sum(s.valid for s in group) / len(group), 4),
            "coverage_95": _round(float(np.mean(inside)), 3) if inside else None,
            "count": len(group),
        }
    return figures


def wall_time_of(recording: Recording, stamp_s: float) -> float:
    """Wall time (client's monotonic clock) at which the simulated clock showed a stamp.

    Simulated seconds are no wall seconds: the real-time factor is near 1, not 1. So the stamp is
    placed on the wall clock by interpolation between the messages on /clock.

    Returns:
        Monotonic seconds, NaN outside the recorded clock.
    """
    if len(recording.clock) < 2:
        return float("nan")
    clock = np.asarray(recording.clock)
    wall = np.interp(stamp_s, clock[:, 0], clock[:, 1], left=np.nan, right=np.nan)
    return float(wall)


def latencies_ms(recordings: Iterable[Recording]) -> list[float]:
    """Wall time from exposure to receipt of each keypoint message, ms."""
    values = [
        1e3 * (found.wall_s - wall_time_of(recording, found.stamp_s))
        for recording in recordings
        for found in recording.keypoints
    ]
    return [value for value in values if np.isfinite(value)]


def durations(recording: Recording) -> tuple[float, float]:
    """Simulated and wall seconds that the recording spans."""
    if len(recording.clock) < 2:
        return 0.0, 0.0
    (sim_start, wall_start), (sim_end, wall_end) = recording.clock[0], recording.clock[-1]
    return sim_end - sim_start, wall_end - wall_start


def real_time_factor(recordings: Iterable[Recording]) -> float | None:
    """Simulated over wall time, over all trials."""
    spans = [durations(recording) for recording in recordings]
    wall = sum(span[1] for span in spans)
    return _round(sum(span[0] for span in spans) / wall, 4) if wall > 0 else None


def rates_hz(recordings: Sequence[Recording]) -> dict[str, float | None]:
    """Messages received per second of wall time; images per camera."""
    wall = sum(durations(recording)[1] for recording in recordings)
    cameras = {camera for recording in recordings for camera in recording.image_stamps}
    images = sum(len(s) for recording in recordings for s in recording.image_stamps.values())
    counts = {
        "images": images / max(len(cameras), 1),
        "keypoints": sum(len(recording.keypoints) for recording in recordings),
        "joint_states": sum(recording.joint_states for recording in recordings),
    }
    return {name: _round(n / wall, 2) if wall > 0 else None for name, n in counts.items()}


def complete_sets_fraction(recordings: Iterable[Recording], grace_s: float = 1.0) -> float | None:
    """Share of the triggered sets whose 2D keypoints arrived with every view usable.

    A set counts as triggered when any camera's image or its 2D keypoints arrived.

    Args:
        recordings: the trials.
        grace_s: sets of the last ``grace_s`` of a recording may still be on their way: left out.
    """
    triggered, complete = 0, 0
    for recording in recordings:
        if not recording.clock:
            continue
        end = recording.clock[-1][0] - grace_s
        stamps = [s for stamps in recording.image_stamps.values() for s in stamps]
        sets = [s for s in group_stamps([*stamps, *recording.views]) if s <= end]
        good = [s for s, v in recording.views.items() if v and all(x.ok for x in v.values())]
        triggered += len(sets)
        complete += sum(any(abs(s - g) <= SAME_SET_S for g in good) for s in sets)
    return _round(complete / triggered, 4) if triggered else None


def group_stamps(stamps: Iterable[float]) -> list[float]:
    """First stamp of each group of stamps that lie within ``SAME_SET_S`` of its first."""
    groups: list[float] = []
    for stamp in sorted(stamps):
        if not groups or stamp - groups[-1] > SAME_SET_S:
            groups.append(stamp)
    return groups


def summarise(recordings: Sequence[Recording]) -> dict[str, Any]:
    """The measured part of ``report.json``."""
    samples = error_samples(recordings)
    latencies = latencies_ms(recordings)
    claimed = [factor for recording in recordings for factor in recording.real_time_factors]
    return {
        "keypoints": keypoint_figures(samples),
        "keypoints_before_grip": keypoint_figures(
            s for s in samples if s.phase not in GRASPING_PHASES
        ),
        "rates_hz": rates_hz(recordings),
        "latency_ms": {"p50": percentile(latencies, 50), "p99": percentile(latencies, 99)},
        "complete_sets_fraction": complete_sets_fraction(recordings),
        "real_time_factor": real_time_factor(recordings),
        "real_time_factor_min": _round(min(claimed), 4) if claimed else None,
    }


def percentile(values: Sequence[float] | Array, q: float) -> float | None:
    """Percentile with two decimals, None without values (JSON has no NaN)."""
    return _round(float(np.percentile(values, q)), 2) if len(values) else None


def _round(value: float, digits: int) -> float:
    return round(float(value), digits)
