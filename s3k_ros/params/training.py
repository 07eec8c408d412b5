"""Parameters of training: every idea beyond the plain method is a switch here."""

from __future__ import annotations

import dataclasses

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.base import Parameters, param


@dataclasses.dataclass(frozen=True)
class TrainingParameters(Parameters):
    """One network: the coarse stage on whole views or the crop stage on the object.

    Raises:
        ConfigurationError: a value out of range, or ``widths`` and ``blocks`` of unequal length.
    """

    stage: str = param("coarse", "which network to train", choices=("coarse", "crop"))
    seed: int = param(1, "seed of weights, batches and augmentation", low=0)
    steps: int = param(3000, "optimiser steps", low=1)

    accelerator: str = param(
        "auto",
        "where to compute; auto: the GPU where there is one",
        choices=("auto", "cpu", "cuda"),
    )
    devices: int = param(
        1, "processes, one a device; each takes a batch of its own", low=1, high=1024
    )
    threads: int = param(2, "CPU threads a process", low=1, high=256)
    precision: str = param(
        "auto",
        "of the network's convolutions; auto: bf16 where the device has instructions for it",
        choices=("auto", "fp32", "bf16"),
    )
    compile: bool = param(
        False, "compile the network; on a GPU its kernels are captured as CUDA graphs"
    )

    input_height: int = param(120, "height of the network's input", unit="px", low=16, high=2048)
    input_width: int = param(160, "width of the network's input", unit="px", low=16, high=2048)
    stem: int = param(16, "channels of the first layer", low=1)
    widths: tuple[int, ...] = param(
        (32, 48, 64, 64), "channels at strides 4, 8, 16, ...", low=1, high=1024
    )
    blocks: tuple[int, ...] = param(
        (1, 1, 1, 2), "residual blocks at each of these strides", low=0, high=16
    )
    heatmap_stride: int = param(2, "input pixels a heatmap cell", unit="px", choices=(1, 2))
    sigma_px: float = param(
        1.5, "width of the target Gaussian, heatmap cells", unit="px", low=0.3, high=10.0
    )
    alpha: float = param(2.0, "detection weight: halves at alpha sigma", low=0.1, high=20.0)
    beta: float = param(4.0, "detection weight: steepness", low=0.5, high=16.0)
    crop_fraction: float = param(
        0.28, "side of the crop over the full image width (crop stage)", low=0.02, high=1.0
    )

    labelled_samples: int = param(2, "labelled samples a batch, all their views", low=1)
    unlabelled_samples: int = param(6, "unlabelled samples a batch, all their views", low=0)
    learning_rate: float = param(2e-3, "peak learning rate", low=1e-6, high=1.0)
    weight_decay: float = param(
        1e-4, "L2 on non-bias weights: this times half the sum of squares", low=0.0, high=1.0
    )
    clip_norm: float = param(30.0, "largest norm of the losses' gradient; 0: unlimited", low=0.0)
    self_weight: float = param(
        1.0,
        "lambda: weight of the self-supervised loss; sums over views and keypoints, mean over "
        "samples, labelled and unlabelled apart",
        low=0.0,
        high=100.0,
    )
    warmup_steps: int = param(400, "steps on labels alone", low=0)
    ramp_steps: int = param(400, "steps over which lambda rises after the warm-up", low=0)
    ema_decay: float = param(
        0.995, "decay of the averaged weights (teacher, result); 0: no average", low=0.0, high=1.0
    )

    teacher: bool = param(
        True, "pseudo-labels from plain views by the averaged weights; else the student's own maps"
    )
    teacher_turns: int = param(
        2, "in-plane rotations of each view that the teacher averages", low=1, high=4
    )
    gate: bool = param(
        True, "joint 3D hypothesis over several peaks and a reprojection gate; else plain Eq. 2"
    )
    peaks: int = param(3, "gate: peaks a view and keypoint that are considered", low=1, high=8)
    gate_px: float = param(
        2.5, "gate: largest distance of a peak from the hypothesis, cells", low=0.2, high=20.0
    )
    gate_views: int = param(2, "gate: views that must support a pseudo-label", low=2, high=64)
    shape: str = param(
        "distances",
        "what the labelled samples say about pseudo-labels; distances: ranges and handedness; "
        "rigid: the labelled mean shape is fitted to them",
        choices=("none", "distances", "rigid"),
    )
    shape_tolerance_m: float = param(
        0.012, "how far a distance may leave its labelled range", unit="m", low=1e-4, high=1.0
    )

    augment: bool = param(True, "turn, tilt, zoom and shift the student's views")
    rotation_deg: float = param(180.0, "in-plane rotation, plus or minus", low=0.0, high=180.0)
    tilt_deg: float = param(6.0, "camera tilt, plus or minus", low=0.0, high=30.0)
    scale_range: float = param(1.25, "zoom, up to this factor or its inverse", low=1.0, high=3.0)
    shift_fraction: float = param(
        0.12, "shift of the window over its side, plus or minus", low=0.0, high=0.5
    )
    photometric: float = param(1.0, "strength of colour changes", low=0.0, high=3.0)
    cutout: float = param(0.5, "probability of hiding rectangles, per view", low=0.0, high=1.0)
    mirror: bool = param(
        False, "mirror views and swap left_* with right_* (objects with mirror symmetry)"
    )

    guard_interval: int = param(250, "steps between guard reports; 0: at the end alone", low=0)
    guard_samples: int = param(32, "unlabelled samples that the guards look at", low=0, high=4096)
    log_interval_s: float = param(5.0, "time between progress lines", unit="s", low=0.1, high=600.0)
    checkpoint_interval_s: float = param(
        30.0, "time between checkpoints", unit="s", low=0.0, high=600.0
    )

    def __post_init__(self) -> None:
        """Checks what single ranges cannot."""
        super().__post_init__()
        if len(self.widths) != len(self.blocks) or not self.widths:
            raise ConfigurationError(
                f"TrainingParameters.widths = {self.widths} and blocks = {self.blocks} must have "
                "one length, at least 1"
            )
