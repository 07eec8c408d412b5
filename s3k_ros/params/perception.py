"""Parameters of the keypoint detector and of the triangulation."""

from __future__ import annotations

import dataclasses

from s3k_ros.params.base import Parameters, param


@dataclasses.dataclass(frozen=True)
class DetectorParameters(Parameters):
    """How the network runs."""

    threads: int = param(
        2, "CPU threads that share the views of a set.", low=1, high=64, read_only=True
    )
    provider: str = param(
        "CPUExecutionProvider",
        "Execution provider of ONNX Runtime: TensorrtExecutionProvider, CUDAExecutionProvider, "
        "CPUExecutionProvider or another one; where it is missing or fails, the next of these "
        "takes its place with a warning.",
        read_only=True,
    )
    precision: str = param(
        "fp32",
        "fp16 is for TensorRT and CUDA only. It is given up with a warning where keypoints are "
        "further than 0.1 px from those of the CPU in fp32.",
        choices=("fp32", "fp16"),
        read_only=True,
    )
    device_id: int = param(
        0, "Number of the GPU, for TensorRT and CUDA.", low=0, high=64, read_only=True
    )
    engine_cache: str = param(
        "",
        "Folder of TensorRT's engines, each of which takes minutes to build; empty: "
        "s3k_ros/engines in the user's cache.",
        read_only=True,
    )
    provider_options: tuple[str, ...] = param(
        (),
        "More options of the provider, each as key=value in ONNX Runtime's words, for instance "
        "trt_max_workspace_size=1073741824.",
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
