"""What `/diagnostics` says of a camera rig: sets, skew, drops by cause, clocks, missing cameras."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial

from s3k_ros.cameras.port import (
    CameraRig,
    CameraState,
    CameraStatistics,
    Reason,
    RigStatistics,
)
from s3k_ros.ros.diagnostics import Level, Report
from s3k_ros.ros.node import S3kNode

Causes = Mapping[Reason, int]
# Why whole sets are refused: the report of the rig says so, not those of all its cameras.
_OF_SETS = (Reason.SKEW, Reason.TOO_FEW, Reason.OVERFLOW, Reason.STOPPED)


class RigReport:
    """Adds the checks `rig` and one for every camera to a node's diagnostics.

    Attributes:
        is_open: whether the rig has its cameras.
        active: whether it shall take images.
    """

    def __init__(self, node: S3kNode, rig: CameraRig) -> None:
        self.is_open = self.active = False
        self._rig = rig
        self._refused: Counter[Reason] = Counter()
        self._losses: dict[str, Counter[Reason]] = {name: Counter() for name in rig.cameras}
        self._sets = 0
        node.diagnostics.add("rig", self._report)
        for name in rig.cameras:
            node.diagnostics.add(f"camera {name}", partial(self._report_camera, name))

    def _report(self) -> Report:
        """The rig as a whole; runs once a second, so differences are of that second."""
        counts = self._rig.statistics()
        values = _rig_values(counts)
        new, self._sets = counts.sets - self._sets, counts.sets
        refused = Counter(counts.refused) - self._refused
        self._refused = Counter(counts.refused)
        if not self.active:
            return Report(Level.OK, "stopped" if self.is_open else "not configured", values)
        away = [name for name, c in counts.cameras.items() if c.state is not CameraState.STREAMING]
        if refused and not new:
            return Report(Level.ERROR, f"no set since a second: {_causes(refused)}", values)
        if not new:
            return Report(Level.ERROR, "no set since a second", values)
        if away:
            return Report(Level.WARN, f"sets without {', '.join(away)}", values)
        if refused:
            return Report(Level.WARN, f"sets refused: {_causes(refused)}", values)
        return Report(Level.OK, f"{new} sets in the last second", values)

    def _report_camera(self, name: str) -> Report:
        counts = self._rig.statistics().cameras.get(name, CameraStatistics())
        values = _camera_values(counts)
        losses = Counter(counts.dropped) + Counter(counts.missed)
        losses = Counter({reason: n for reason, n in losses.items() if reason not in _OF_SETS})
        new, self._losses[name] = losses - self._losses[name], losses
        if not self.is_open:
            return Report(Level.OK, "not configured", values)
        if counts.state is CameraState.ABSENT:
            return Report(Level.ERROR, "not connected", values)
        if counts.state is CameraState.SILENT:
            return Report(Level.ERROR, "connected, but sends nothing", values)
        if new:
            return Report(Level.WARN, f"frames missing: {_causes(new)}", values)
        return Report(Level.OK, counts.state.value, values)


def _rig_values(counts: RigStatistics) -> dict[str, object]:
    return {
        "sets": counts.sets,
        "complete_sets": counts.complete,
        **{f"refused_{reason.name.lower()}": n for reason, n in counts.refused.items()},
        "skew_ms": 1e-6 * counts.skew_ns,
        "skew_ms_median": 1e-6 * counts.skew_median_ns,
        "skew_ms_max": 1e-6 * counts.skew_max_ns,
    }


def _camera_values(counts: CameraStatistics) -> dict[str, object]:
    clock = counts.clock
    values: dict[str, object] = {
        "device": counts.device,
        "state": counts.state.value,
        "received": counts.received,
        "delivered": counts.delivered,
        "connections": counts.connections,
        "stream_restarts": counts.restarts,
        **{f"dropped_{reason.name.lower()}": n for reason, n in counts.dropped.items()},
        **{f"missed_{reason.name.lower()}": n for reason, n in counts.missed.items()},
        "clock_drift_ppm": clock.drift_ppm,
        "clock_outliers": clock.outliers,
        "clock_restarts": clock.restarts,
    }
    if counts.note:
        values["note"] = counts.note
    if clock.offset_ns is not None:
        values["clock_offset_ms"] = 1e-6 * clock.offset_ns
    if clock.error_ns is not None:
        values["stamp_error_ms"] = 1e-6 * clock.error_ns
    return values


def _causes(counts: Causes) -> str:
    """Causes in words, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return "; ".join(f"{n} x {reason.value}" for reason, n in ordered)
