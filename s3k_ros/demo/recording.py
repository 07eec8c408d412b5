"""What the demo remembers of one trial: plain arrays with stamps, no ROS types.

Stamps are simulated seconds (exposure times), ``wall_s`` is the client's monotonic clock at
receipt. A recording covers one trial, so a simulated clock that jumps at a reset does no harm.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class KeypointSet:
    """One message on ``keypoints``: K keypoints in the base frame.

    Attributes:
        stamp_s: exposure time of the set, simulated seconds.
        wall_s: time of receipt, monotonic seconds.
        names: K names.
        valid: (K,) bool, whether the status is OK.
        positions: (K, 3) m, base frame, NaN where there is no estimate.
        covariances: (K, 3, 3) m^2.
        confidences: (K,) calibrated probabilities.
    """

    stamp_s: float
    wall_s: float
    names: tuple[str, ...]
    valid: NDArray[np.bool_]
    positions: Array
    covariances: Array
    confidences: Array


@dataclasses.dataclass(frozen=True)
class View:
    """The keypoints that the detector found in one view.

    Attributes:
        ok: whether the view had a usable image.
        names: K names.
        pixels: (K, 2) px in the full-resolution image, pixel centres at integers.
        covariances: (K, 2, 2) px^2 of the error.
        confidences: (K,).
    """

    ok: bool
    names: tuple[str, ...]
    pixels: Array
    covariances: Array
    confidences: Array


@dataclasses.dataclass(frozen=True)
class Feedback:
    """One feedback of the grasp action, stamped at receipt in simulated seconds."""

    stamp_s: float
    phase: str
    progress: float


@dataclasses.dataclass
class Recording:
    """Everything kept of one trial, appended in order of receipt."""

    clock: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    """(simulated, wall) seconds at each message on /clock."""
    image_stamps: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    """Exposure times of the images received, by camera."""
    joint_states: int = 0
    views: dict[float, dict[str, View]] = dataclasses.field(default_factory=dict)
    """2D keypoints by stamp and camera."""
    keypoints: list[KeypointSet] = dataclasses.field(default_factory=list)
    truth: list[tuple[float, Array]] = dataclasses.field(default_factory=list)
    """(stamp, (K, 3) m base frame) of the true keypoints, in the order of ``truth_names``."""
    truth_names: tuple[str, ...] = ()
    tcp: list[tuple[float, Array]] = dataclasses.field(default_factory=list)
    """(stamp, (3,) m base frame) of the tool centre point."""
    real_time_factors: list[float] = dataclasses.field(default_factory=list)
    """What the simulator says of itself."""
    feedback: list[Feedback] = dataclasses.field(default_factory=list)
    frames: dict[float, dict[str, bytes]] = dataclasses.field(default_factory=dict)
    """JPEG images by stamp and camera."""
    scene_frames: list[tuple[float, bytes]] = dataclasses.field(default_factory=list)
    """(stamp, JPEG) of the view of the whole cell."""

    def phase_at(self, stamp_s: float) -> str:
        """The phase of the grasp at a simulated time, empty before the first feedback."""
        phase = ""
        for feedback in self.feedback:
            if feedback.stamp_s > stamp_s:
                break
            phase = feedback.phase
        return phase

    def phase_start(self, phase: str) -> float | None:
        """Simulated time at which the phase was first reported, None when it never was."""
        return next((f.stamp_s for f in self.feedback if f.phase == phase), None)

    def truth_at(self, name: str, stamp_s: float, tolerance_s: float = 0.2) -> Array:
        """True position of a keypoint, interpolated linearly.

        Args:
            name: keypoint.
            stamp_s: simulated seconds.
            tolerance_s: how far before the first or after the last truth the nearest still counts.

        Returns:
            (3,) m in the base frame, NaN where the truth is not known.
        """
        if name not in self.truth_names:
            return np.full(3, np.nan)
        index = self.truth_names.index(name)
        return interpolate([(t, p[index]) for t, p in self.truth], stamp_s, tolerance_s)

    def tcp_at(self, stamp_s: float, tolerance_s: float = 0.2) -> Array:
        """Position of the TCP, (3,) m in the base frame, NaN where it is not known."""
        return interpolate(self.tcp, stamp_s, tolerance_s)


def interpolate(path: list[tuple[float, Array]], stamp_s: float, tolerance_s: float) -> Array:
    """Position on a stamped path by linear interpolation.

    Args:
        path: (stamp, (3,)) pairs in any order.
        stamp_s: where to evaluate.
        tolerance_s: how far outside the path's times its ends are still returned.

    Returns:
        (3,), NaN when the path is empty or too far away.
    """
    if not path:
        return np.full(3, np.nan)
    stamps = np.array([stamp for stamp, _ in path])
    points = np.array([point for _, point in path])
    order = np.argsort(stamps, kind="stable")
    stamps, points = stamps[order], points[order]
    if not stamps[0] - tolerance_s <= stamp_s <= stamps[-1] + tolerance_s:
        return np.full(3, np.nan)
    return np.array([np.interp(stamp_s, stamps, points[:, axis]) for axis in range(3)])
