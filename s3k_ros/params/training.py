"""Parameters of training: every idea beyond the plain method is a switch here."""

from __future__ import annotations

import dataclasses

from s3k_ros.params.base import Parameters, param


@dataclasses.dataclass(frozen=True)
class TrainingParameters(Parameters):
    """One network: the coarse stage on whole views or the crop stage on the object."""

    stage: str = param("coarse", "which network to train", choices=("coarse", "crop"))
    method: str = param(
        "s3k_plus",
        "s3k: both losses as stated; s3k_plus: gated pseudo-labels of an averaged teacher",
        choices=("s3k", "s3k_plus"),
    )
    seed: int = param(1, "seed of weights, batches and augmentation", low=0)
    steps: int = param(3000, "optimiser steps", low=1)
    threads: int = param(2, "CPU threads", low=1, high=256)
    bf16: bool = param(True, "compute in bfloat16 where the CPU is faster with it")

    input_height: int = param(120, "height of the network's input", unit="px", low=16, high=2048)
    input_width: int = param(160, "width of the network's input", unit="px", low=16, high=2048)
    stem: int = param(16, "channels of the first layer", low=1)
    widths: tuple[int, ...] = param(
        (32, 48, 64, 64), "channels at strides 4, 8, 16, ...", low=1, high=1024
    )
    blocks: tuple[int, ...] = param(
        (1, 1, 1, 2), "residual blocks at each of these strides", low=0, high=16
    )
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
    weight_decay: float = param(1e-4, "L2 on non-bias weights", low=0.0, high=1.0)
    self_weight: float = param(
        1.0,
        "lambda: weight of the self-supervised loss; sums over views and keypoints, mean over "
        "samples, labelled and unlabelled apart",
        low=0.0,
        high=100.0,
    )
    warmup_steps: int = param(400, "steps on labels alone", low=0)
    ramp_steps: int = param(400, "steps over which lambda rises after the warm-up", low=0)
    ema_decay: float = param(0.995, "decay of the averaged weights (teacher, export)", low=0.0)

    gate: bool = param(True, "s3k_plus: joint 3D hypothesis over several peaks, reprojection gate")
    peaks: int = param(3, "peaks a view and keypoint that the teacher considers", low=1, high=8)
    gate_px: float = param(
        2.5, "largest distance of a peak from the hypothesis, heatmap cells", low=0.2, high=20.0
    )
    gate_views: int = param(2, "views that must support a pseudo-label", low=2, high=64)
    shape_prior: bool = param(True, "distances and handedness of the labelled samples")
    shape_tolerance_m: float = param(
        0.012, "how far a distance may leave its labelled range", unit="m", low=1e-4, high=1.0
    )
    teacher_turns: int = param(
        2, "in-plane rotations of each view that the teacher averages", low=1, high=4
    )

    augment: bool = param(True, "augmentation of the student's views")
    rotation_deg: float = param(180.0, "in-plane rotation, plus or minus", low=0.0, high=180.0)
    tilt_deg: float = param(6.0, "camera tilt, plus or minus", low=0.0, high=30.0)
    scale_range: float = param(1.25, "zoom, up to this factor or its inverse", low=1.0, high=3.0)
    shift_fraction: float = param(
        0.12, "shift of the window over its side, plus or minus", low=0.0, high=0.5
    )
    photometric: float = param(1.0, "strength of colour changes", low=0.0, high=3.0)
    cutout: float = param(0.5, "probability of hiding a rectangle, per view", low=0.0, high=1.0)
    mirror: bool = param(
        False, "mirror views and swap left_* with right_* (objects with mirror symmetry)"
    )

    log_interval_s: float = param(5.0, "time between progress lines", unit="s", low=0.1, high=10.0)
    checkpoint_interval_s: float = param(60.0, "time between checkpoints", unit="s", low=0.0)
