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
        "execution provider of ONNX Runtime, for instance CUDAExecutionProvider; where it is "
        "missing, the CPU takes its place with a warning",
        read_only=True,
    )


@dataclasses.dataclass(frozen=True)
class TriangulationParameters(Parameters):
    """Which views make a 3D keypoint, and when it is believed."""

    min_view_confidence: float = param(
        0.05, "a view less confident than this is left out", low=0.0, high=1.0
    )
    min_confidence: float = param(
        0.5, "a keypoint less confident than this is LOW_CONFIDENCE", low=0.0, high=1.0
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
