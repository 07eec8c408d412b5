"""What a study is made of: frozen descriptions whose hash names the folder of their result.

Nothing that leaves a result as it is (threads, device, folder) belongs here, so that a finished
run is found again by whoever asks for the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from s3k_ros.errors import ConfigurationError

VERSION = 1
"""Raised when rendering or evaluation changes what a result means: old results are left alone."""
_KEY_DIGITS = 16

Pairs = tuple[tuple[str, Any], ...]


@dataclasses.dataclass(frozen=True)
class Part:
    """Scenes of one kind. Every scene has clicks; a run decides whose it may see.

    Attributes:
        target: "box", "fox" or "shoes:<family>:<seed>,<seed>,...", of which each scene has one.
        scenes: how many; scene seeds count up from ``seed``.
        pool: the first of them, from which labelled ones are drawn; the rest is unlabelled.
        seed: first scene seed.
        image_px: image width.
        family: "train", "dev" or "test": textures of table, lights; shoes and fox's neighbours.
        distractors: other objects in a scene.
        distractor_family: "" for the family's, or "epoch<n>".
        distractor_pool: different distractors in all scenes together; 0: many.
        timesteps: samples a scene (fox): the arm moves, the scene does not.
    """

    target: str
    scenes: int
    pool: int = 0
    seed: int = 0
    image_px: int = 128
    family: str = "train"
    distractors: int = 0
    distractor_family: str = ""
    distractor_pool: int = 0
    timesteps: int = 1

    def __post_init__(self) -> None:
        if self.scenes < 1 or not 0 <= self.pool <= self.scenes or self.timesteps < 1:
            raise ConfigurationError(
                f"part {self.target!r}: scenes = {self.scenes}, pool = {self.pool}, timesteps = "
                f"{self.timesteps} must be at least 1, at most the scenes, and at least 1"
            )


@dataclasses.dataclass(frozen=True)
class Data:
    """The training scenes of a run: parts one after the other.

    Attributes:
        parts: at least one, all with the same keypoints.
        propagated: the labels of a scene's first timestep become those of all its timesteps.
    """

    parts: tuple[Part, ...]
    propagated: bool = False


@dataclasses.dataclass(frozen=True)
class Choice:
    """So many scenes, spread evenly over some parts of a run's data.

    Attributes:
        scenes: in all.
        parts: indices of parts.
    """

    scenes: int
    parts: tuple[int, ...] = (0,)


@dataclasses.dataclass(frozen=True)
class RunSpec:
    """One training and its evaluation.

    Attributes:
        data: what to train on.
        labelled: labelled scenes, drawn from the pools by ``seed``.
        unlabelled: unlabelled scenes, the same first ones for every seed.
        stages: training parameters of each stage, complete: ``(("coarse", pairs), ...)``.
        tests: held-out scenes by name; their seeds come from the model file's hash.
        seed: of the training and of the draw of labels.
        fully_labelled: the unlabelled scenes are given with their labels (the reference).
    """

    data: Data
    labelled: Choice
    unlabelled: Choice
    stages: tuple[tuple[str, Pairs], ...]
    tests: tuple[tuple[str, Part], ...]
    seed: int
    fully_labelled: bool = False

    def __post_init__(self) -> None:
        samples(self)  # raises where the parts have too few scenes


@dataclasses.dataclass(frozen=True)
class Run:
    """A cell of a study's table and the run that fills it.

    Attributes:
        cell: names and values that tell this run from the study's others.
        spec: what to do.
    """

    cell: Pairs
    spec: RunSpec

    @property
    def name(self) -> str:
        """``labels=10 unlabelled=1000 seed=1``."""
        return " ".join(f"{key}={plain(value)}" for key, value in self.cell)


def key(spec: Part | Data | RunSpec) -> str:
    """Name of the folder of a spec's result: 16 hexadecimal digits of its SHA-256."""
    content = {"version": VERSION, "kind": type(spec).__name__, **dataclasses.asdict(spec)}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]


def pairs(values: Mapping[str, Any]) -> Pairs:
    """A mapping as sorted pairs, lists as tuples: frozen."""
    return tuple(sorted((k, tuple(v) if isinstance(v, list) else v) for k, v in values.items()))


def samples(spec: RunSpec) -> tuple[list[int], list[int]]:
    """Indices of the labelled and the unlabelled samples in the run's dataset.

    The dataset holds the parts' scenes in order, each scene's timesteps in order.

    Raises:
        ConfigurationError: a part with too few scenes.
    """
    starts = np.cumsum([0, *(part.scenes * part.timesteps for part in spec.data.parts)])
    order = np.random.default_rng([spec.seed, 2]).permutation(len(spec.labelled.parts))
    labelled: list[int] = []
    unlabelled: list[int] = []
    for part, count in _shares(spec.labelled, order):
        there = spec.data.parts[part]
        _check_count("labelled", there, count, there.pool)
        draw = np.random.default_rng([spec.seed, 3, part]).permutation(there.pool)[:count]
        labelled += _timesteps(starts[part], sorted(map(int, draw)), there)
    for part, count in _shares(spec.unlabelled, np.arange(len(spec.unlabelled.parts))):
        there = spec.data.parts[part]
        _check_count("unlabelled", there, count, there.scenes - there.pool)
        unlabelled += _timesteps(starts[part], range(there.pool, there.pool + count), there)
    if not spec.data.propagated:
        # Only the first timestep of a scene is clicked; the others are free of charge.
        steps = {i: spec.data.parts[i].timesteps for i in spec.labelled.parts}
        first = {
            int(starts[i]) + n * steps[i] for i in steps for n in range(spec.data.parts[i].pool)
        }
        unlabelled = [i for i in labelled if i not in first] + unlabelled
        labelled = [i for i in labelled if i in first]
    if spec.fully_labelled:
        labelled, unlabelled = labelled + unlabelled, []
    return labelled, unlabelled


def _shares(choice: Choice, order: np.ndarray) -> list[tuple[int, int]]:
    """(part, scenes) of an even spread; the parts that come first in ``order`` get the odd ones."""
    whole, odd = divmod(choice.scenes, max(1, len(choice.parts)))
    extra = {int(i) for i in order[:odd]}
    return [(part, whole + (i in extra)) for i, part in enumerate(choice.parts)]


def _check_count(what: str, part: Part, count: int, available: int) -> None:
    if count > available:
        raise ConfigurationError(
            f"{what} = {count} scenes of {part.target!r}, but it has {available} of that kind"
        )


def _timesteps(start: int, scenes: Sequence[int] | range, part: Part) -> list[int]:
    return [int(start) + n * part.timesteps + t for n in scenes for t in range(part.timesteps)]


def plain(value: Any) -> str:
    """A cell entry as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
