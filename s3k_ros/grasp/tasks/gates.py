"""Which keypoint readings a grasp may rest on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from s3k_ros.grasp.codes import GraspCode, KeypointStatus
from s3k_ros.grasp.goal import Refusal
from s3k_ros.params.grasp import GraspParameters

Array = NDArray[np.float64]

_STATUS_CODES = {
    KeypointStatus.PREDICTED: (GraspCode.NO_KEYPOINTS, "is predicted, not seen"),
    KeypointStatus.TOO_FEW_VIEWS: (GraspCode.NO_KEYPOINTS, "has too few views (TOO_FEW_VIEWS)"),
    KeypointStatus.LOW_CONFIDENCE: (GraspCode.LOW_CONFIDENCE, "has a low confidence"),
    KeypointStatus.INCONSISTENT: (GraspCode.TOO_UNCERTAIN, "has views that contradict each other"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class KeypointReading:
    """One keypoint as perception gave it.

    Attributes:
        name: the keypoint's name.
        status: perception's own verdict.
        position: (3,) m, base frame; NaN unless the status is OK or PREDICTED.
        covariance: (3, 3) m^2.
        confidence: 0 to 1.
        received_at: s on the server's clock, when the message arrived.
        source: the message, for handing on; the library never looks inside.
    """

    name: str
    status: KeypointStatus
    position: Array
    covariance: Array
    confidence: float
    received_at: float
    source: object = None


def check_reading(
    reading: KeypointReading | None, name: str, now: float, least: float, params: GraspParameters
) -> Refusal | None:
    """Why a reading is not good enough to grasp at; None when it is.

    Args:
        reading: the newest reading, None when none ever came.
        name: the keypoint's name, for the message.
        now: s on the clock of ``received_at``. Age counts from receipt: clocks may differ.
        least: least confidence.
        params: limits.
    """
    if reading is None:
        return Refusal(GraspCode.NO_KEYPOINTS, f"no keypoints arrived, {name!r} is not known")
    age = now - reading.received_at
    if age > params.keypoint_max_age_s:
        return Refusal(
            GraspCode.STALE,
            f"{name!r} was received {age:.2f} s ago, allowed {params.keypoint_max_age_s:g} s",
        )
    if reading.status in _STATUS_CODES:
        code, text = _STATUS_CODES[reading.status]
        return Refusal(code, f"{name!r} {text}")
    finite = np.isfinite(reading.position).all() and np.isfinite(reading.covariance).all()
    if not finite or not math.isfinite(reading.confidence):
        return Refusal(GraspCode.NO_KEYPOINTS, f"{name!r} is OK but not finite")
    if reading.confidence < least:
        return Refusal(
            GraspCode.LOW_CONFIDENCE,
            f"{name!r} has confidence {reading.confidence:.2f}, needed {least:.2f}",
        )
    return None


def median_position(positions: Sequence[Array]) -> Array:
    """(3,) m, the component-wise median: one gross error in three does not move it far."""
    median: Array = np.median(np.stack(list(positions)), axis=0)
    return median
