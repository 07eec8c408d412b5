"""Parameters of the tracking of keypoints over time."""

from __future__ import annotations

import dataclasses

from s3k_ros.params.base import Parameters, param


@dataclasses.dataclass(frozen=True)
class TrackingParameters(Parameters):
    """How keypoints are followed from one set of images to the next."""

    enabled: bool = param(
        False,
        "follow keypoints over time; what each set says alone is then on keypoints_raw",
        read_only=True,
    )
    velocity_change_m_s: float = param(
        0.1,
        "standard deviation, per axis, of the change of a keypoint's velocity within a second",
        unit="m/s",
        low=1e-4,
        high=100.0,
    )
    initial_velocity_m_s: float = param(
        0.2,
        "standard deviation, per axis, of the velocity of a keypoint that was just found",
        unit="m/s",
        low=0.0,
        high=100.0,
    )
    persistent_share: float = param(
        0.95,
        "share of the variance between views that lasts from set to set, so never averages out; "
        "of a scene at rest, noise of 2 to 4 grey values redraws 0.5 to 3 % of it",
        low=0.0,
        high=0.99,
    )
    gate_probability: float = param(
        1e-3,
        "a measurement is left out when a good one would lie as far off with this probability",
        low=1e-12,
        high=0.5,
    )
    jump_measurements: int = param(
        3,
        "measurements in a row that lie off, but agree with each other, and so move the track",
        low=1,
        high=100,
    )
    max_age_s: float = param(
        0.5, "how long a keypoint is predicted after its last measurement",
        unit="s", low=0.0, high=10.0,
    )  # fmt: skip
