"""Parameters of the keypoint detector and of the triangulation."""

from __future__ import annotations

import dataclasses

from s3k_ros.params.base import Parameters, param


@dataclasses.dataclass(frozen=True)
class DetectorParameters(Parameters):
    """How the network runs."""

    threads: int = param(
        2, "CPU threads of the network's inference", low=1, high=64, read_only=True
    )
    provider: str = param(
        "CPUExecutionProvider",
        "execution provider of ONNX Runtime, for instance CUDAExecutionProvider",
        read_only=True,
    )


@dataclasses.dataclass(frozen=True)
class TriangulationParameters(Parameters):
    """Which views make a 3D keypoint, and when it is believed."""

    min_view_confidence: float = param(
        0.2, "a view less confident than this is left out", low=0.0, high=1.0
    )
    min_confidence: float = param(
        0.5, "a keypoint less confident than this is LOW_CONFIDENCE", low=0.0, high=1.0
    )
    inconsistency_probability: float = param(
        0.001,
        "views are inconsistent when good ones would disagree as much with this probability",
        low=1e-12,
        high=0.5,
    )
    max_dropped_views: int = param(
        1, "disagreeing views dropped while three or more agree", low=0, high=16
    )
    agreement_gain: float = param(
        0.5,
        "log-odds of the confidence gained for each degree of freedom in which views agree",
        low=0.0,
        high=5.0,
    )
    disagreement_loss: float = param(
        0.2,
        "log-odds of the confidence lost for each unit of chi-square beyond its expectation",
        low=0.0,
        high=0.5,
    )
    calibration_error_px: float = param(
        0.2, "standard deviation of each camera's calibration error", unit="px", low=0.0, high=20.0
    )
    calibration_error_m: float = param(
        0.0,
        "standard deviation, per axis, of the error between the cameras' frame and the base frame",
        unit="m",
        low=0.0,
        high=0.1,
    )
