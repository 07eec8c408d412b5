"""The training and test scenes of the studies; equal ones are shared between studies."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from s3k_ros.training.studies.scales import GRIDS, Scale
from s3k_ros.training.studies.specs import Choice, Data, Part

_APART = 1_000_000
"""Scene seeds of two parts lie this far apart."""
EPOCH_FAMILIES = "epoch"


def box(scale: Scale, image_px: int | None = None) -> Data:
    """The box alone on the table: labels and ablation draw from the same scenes."""
    grids = [GRIDS[name][scale.name] for name in ("labels", "ablation")]
    pool = max(_largest(grid["labelled"]) for grid in grids)
    unlabelled = max(_largest(grid["unlabelled"]) for grid in grids)
    return Data(
        (Part("box", pool + unlabelled, pool, seed=0, image_px=image_px or scale.image_px),)
    )


def box_test(scale: Scale, image_px: int | None = None) -> tuple[tuple[str, Part], ...]:
    """Held-out scenes of the box."""
    size = image_px or scale.image_px
    return (("test", Part("box", scale.test_scenes, image_px=size, family="test")),)


def shifting_box(scale: Scale) -> Data:
    """The box among the same few distractors for an epoch, then others; a part is an epoch."""
    shift, weight = GRIDS["domain-shift"][scale.name], GRIDS["lambda"][scale.name]
    epochs = shift["epochs"]
    pool = max(_largest(shift["labelled"]), math.ceil(_largest(weight["labelled"]) / epochs))
    most = max(_largest(shift["unlabelled"]), weight["unlabelled"])
    scenes = pool + math.ceil(most / epochs)
    return Data(
        tuple(
            Part(
                "box",
                scenes,
                pool,
                seed=(1 + epoch) * _APART,
                image_px=scale.image_px,
                distractors=shift["distractors"],
                distractor_family=f"{EPOCH_FAMILIES}{epoch}",
                distractor_pool=shift["distractors"],
            )
            for epoch in range(epochs)
        )
    )


def shifting_box_test(scale: Scale) -> tuple[tuple[str, Part], ...]:
    """Held-out scenes of the box among distractors that no epoch had."""
    distractors = GRIDS["domain-shift"][scale.name]["distractors"]
    part = Part(
        "box", scale.test_scenes, image_px=scale.image_px, family="test", distractors=distractors
    )
    return (("test", part),)


def shoes(scale: Scale, used: Iterable[tuple[Choice, Choice]]) -> Data:
    """One part a shoe, with as many scenes as the runs need of it.

    Args:
        scale: the scale.
        used: labelled and unlabelled choices of all runs.
    """
    count = max(GRIDS["category"][scale.name]["shoes"])
    pool, rest = [0] * count, [0] * count
    for labelled, unlabelled in used:
        for choice, need in ((labelled, pool), (unlabelled, rest)):
            for part in choice.parts:
                need[part] = max(need[part], math.ceil(choice.scenes / len(choice.parts)))
    return Data(
        tuple(
            Part(
                f"shoes:train:{shoe}",
                pool[shoe] + rest[shoe],
                pool[shoe],
                seed=(100 + shoe) * _APART,
                image_px=scale.image_px,
            )
            for shoe in range(count)
            if pool[shoe] + rest[shoe]
        )
    )


def shoes_test(scale: Scale, seen: tuple[int, ...]) -> tuple[tuple[str, Part], ...]:
    """New scenes of the shoes that were trained on, and scenes of shoes never seen."""
    unseen = GRIDS["category"][scale.name]["unseen"]
    size: dict[str, Any] = {"image_px": scale.image_px, "family": "test"}
    own = "shoes:train:" + ",".join(map(str, seen))
    other = "shoes:test:" + ",".join(map(str, range(unseen)))
    return (
        ("train", Part(own, max(2, scale.test_scenes // 3), **size)),
        ("test", Part(other, scale.test_scenes, **size)),
    )


def fox(scale: Scale, propagated: bool) -> Data:
    """Arrangements of the fox, some timesteps each: the arm moves, the toys do not."""
    grid = GRIDS["fox"][scale.name]
    pool = _largest(grid["arrangements"])
    part = Part(
        "fox",
        pool + grid["unlabelled"],
        pool,
        seed=50 * _APART,
        image_px=grid["image_px"],
        timesteps=grid["timesteps"],
    )
    return Data((part,), propagated)


def fox_test(scale: Scale) -> tuple[tuple[str, Part], ...]:
    """Held-out arrangements."""
    grid = GRIDS["fox"][scale.name]
    part = Part("fox", grid["test_scenes"], image_px=grid["image_px"], family="test")
    return (("test", part),)


def _largest(value: int | tuple[int, ...]) -> int:
    return max(value) if isinstance(value, tuple) else value
