"""Every parameter of every scale, in one place.

`smoke` shows that a study runs and claims nothing; `small` fits two cores and shows directions;
`paper` is as large as the paper and carries the claims.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.studies.specs import Pairs, pairs

# They change how fast a result comes, not what it means, and differ between machines.
OPERATIONAL = (
    "accelerator", "threads", "precision", "compile", "log_interval_s", "checkpoint_interval_s",
)  # fmt: skip

# The method as the paper states it: config/training/s3k.yaml says the same.
S3K: Mapping[str, Any] = {
    "teacher": False,
    "teacher_turns": 1,
    "gate": False,
    "shape": "none",
    "augment": False,
    "photometric": 0.0,
    "cutout": 0.0,
    "mirror": False,
    "warmup_steps": 0,
    "ramp_steps": 0,
    "ema_decay": 0.0,
    "clip_norm": 0.0,
}
# The best configuration is the parameters' defaults and what fits the object.
# Boxes and shoes stand, and their cameras are upright: views turned further are never seen.
UPRIGHT: Mapping[str, Any] = {"rotation_deg": 20.0, "photometric": 0.7, "cutout": 0.2}
RIGID: Mapping[str, Any] = {**UPRIGHT, "shape": "rigid", "shape_tolerance_m": 0.008}
# The paper's losses, with what lets them learn in few steps: labels alone first, and augmentation.
S3K_AUGMENTED: Mapping[str, Any] = {
    **{k: v for k, v in S3K.items() if k not in ("augment", "warmup_steps")},
    **UPRIGHT,
}
FOX: Mapping[str, Any] = {"shape": "distances", "mirror": True}
SHOES: Mapping[str, Any] = {**UPRIGHT, "shape": "distances"}


@dataclasses.dataclass(frozen=True)
class Scale:
    """How large a study's runs are.

    Attributes:
        name: "smoke", "small" or "paper".
        says: what a reader may conclude from it.
        seeds: of training and draws of labels.
        test_scenes: held-out scenes a run; figures are taken over all seeds.
        image_px: width of the images on disk.
        training: parameters of every stage, beside the method's.
        targets: whether the figures to reach are held against its results.
    """

    name: str
    says: str
    seeds: tuple[int, ...]
    test_scenes: int
    image_px: int
    training: Mapping[str, Any]
    targets: bool = True


SCALES = {
    "smoke": Scale(
        name="smoke",
        says="It only shows that the study runs. Its figures mean nothing.",
        seeds=(1,),
        test_scenes=3,
        image_px=32,
        training={
            "steps": 3, "warmup_steps": 1, "ramp_steps": 1, "teacher_turns": 1,
            "input_height": 32, "input_width": 32,
            "stem": 4, "widths": (4, 4), "blocks": (1, 1),
            "labelled_samples": 1, "unlabelled_samples": 1, "guard_samples": 2,
        },
        targets=False,
    ),
    "small": Scale(
        name="small",
        says="Small images, short trainings, two processor cores: it shows directions only.",
        seeds=(1, 2, 3),
        test_scenes=334,
        image_px=64,
        training={
            "steps": 600, "warmup_steps": 150, "ramp_steps": 100, "teacher_turns": 1,
            "learning_rate": 4e-3,
            "input_height": 64, "input_width": 64, "heatmap_stride": 1,
            "stem": 12, "widths": (24, 32, 48), "blocks": (1, 1, 2),
            "labelled_samples": 2, "unlabelled_samples": 3, "guard_samples": 16,
        },
    ),
    "paper": Scale(
        name="paper",
        says="Images and data sets as large as the paper's; 10,000 batches, where the paper took "
        "150,000. It carries the claims.",
        seeds=(1, 2, 3),
        test_scenes=1000,
        image_px=128,
        training={
            "steps": 10000, "warmup_steps": 1000, "ramp_steps": 500, "teacher_turns": 1,
            "input_height": 128, "input_width": 128,
            "heatmap_stride": 1, "sigma_px": 2.0, "gate_px": 5.0,
            "stem": 16, "widths": (32, 48, 64, 64), "blocks": (1, 1, 1, 2),
            "labelled_samples": 4, "unlabelled_samples": 12,
        },
    ),
}  # fmt: skip

# fmt: off
# The tables of the studies: what varies, and how many scenes there are.
GRIDS: dict[str, dict[str, dict[str, Any]]] = {
    "labels": {
        "smoke": {"labelled": (3,), "unlabelled": (0, 4), "s3k": ()},
        "small": {"labelled": (3, 10), "unlabelled": (0, 1000), "s3k": (1000,)},
        "paper": {
            "labelled": (3, 10, 30, 100), "unlabelled": (0, 100, 300, 1000), "s3k": (1000,),
            # The second stage of config/training/box.yaml, nearly at full resolution.
            "crop": {
                "input_height": 256, "input_width": 256, "widths": (32, 48, 64, 96),
                "heatmap_stride": 2, "sigma_px": 1.5, "gate_px": 2.5, "crop_fraction": 0.75,
            },
            "crop_image_px": 640,
        },
    },
    "domain-shift": {
        "smoke": {"epochs": 2, "labelled": (3,), "unlabelled": (4,), "distractors": 1},
        "small": {"epochs": 4, "labelled": (10,), "unlabelled": (40, 1000), "distractors": 3},
        "paper": {
            "epochs": 8, "labelled": (10, 30, 100), "unlabelled": (40, 200, 1000),
            "distractors": 3,
        },
    },
    "category": {
        "smoke": {"shoes": (1, 2), "labelled": 4, "unlabelled": 4, "unseen": 2},
        "small": {"shoes": (1, 2, 3, 6, 8, 12), "labelled": 48, "unlabelled": 480, "unseen": 40},
        "paper": {"shoes": (1, 2, 3, 6, 8, 12), "labelled": 120, "unlabelled": 2400, "unseen": 40},
    },
    "lambda": {
        "smoke": {"weights": (1.0,), "labelled": (3,), "unlabelled": 4, "epochs": 2},
        "small": {"weights": (0.1, 1.0, 10.0), "labelled": (3, 30), "unlabelled": 500, "epochs": 4},
        "paper": {
            "weights": (0.01, 0.1, 1.0, 10.0), "labelled": (3, 10, 100), "unlabelled": 1000,
            "epochs": 8,
        },
    },
    "fox": {
        "smoke": {
            "arrangements": (3,), "timesteps": 2, "unlabelled": 2, "image_px": 64,
            "test_scenes": 2, "coarse": {}, "crop": {},
        },
        "small": {
            "arrangements": (10,), "timesteps": 4, "unlabelled": 60, "image_px": 320,
            "test_scenes": 100,
            "coarse": {"input_height": 60, "input_width": 80, "steps": 400, "warmup_steps": 200},
            "crop": {"steps": 600},
        },
        "paper": {
            "arrangements": (5, 10), "timesteps": 8, "unlabelled": 500, "image_px": 640,
            "test_scenes": 1000,
            "coarse": {
                "input_height": 120, "input_width": 160, "heatmap_stride": 2, "sigma_px": 1.5,
                "gate_px": 2.5, "steps": 4000,
            },
            "crop": {
                "widths": (32, 64, 96), "blocks": (1, 1, 3), "heatmap_stride": 2, "sigma_px": 1.5,
                "gate_px": 2.5, "crop_fraction": 0.3, "teacher_turns": 2, "steps": 6000,
            },
        },
    },
    "ablation": {
        "smoke": {"labelled": 3, "unlabelled": 4, "budgets": (1.0,), "accuracy_mm": 20.0,
            "without": ("gate",),
        },
        "small": {
            "labelled": 10, "unlabelled": 1000, "budgets": (0.25, 0.5, 1.0), "accuracy_mm": 20.0,
            "without": ("teacher", "gate", "shape", "augmentation", "photometric", "cutout"),
        },
        "paper": {
            "labelled": 10, "unlabelled": 1000, "budgets": (0.1, 0.25, 0.5, 1.0),
            "accuracy_mm": 5.0,
            "without": (
                "teacher", "gate", "shape", "rigid fit (distances instead)", "augmentation",
                "photometric", "cutout", "lambda ramp",
            ),
        },
    },
}
# fmt: on


def scale_named(name: str) -> Scale:
    """A scale.

    Raises:
        ConfigurationError: an unknown name; the message lists the valid ones.
    """
    if name not in SCALES:
        raise ConfigurationError(f"scale {name!r} is unknown; valid: {', '.join(SCALES)}")
    return SCALES[name]


def stage(scale: Scale, seed: int, *changes: Mapping[str, Any]) -> Pairs:
    """All training parameters of a stage that decide its result; later changes win."""
    values: dict[str, Any] = {**scale.training, "seed": seed}
    for change in changes:
        values |= change
    params = TrainingParameters.from_mapping(values)
    return pairs({k: v for k, v in dataclasses.asdict(params).items() if k not in OPERATIONAL})
