"""What a step does, from (seed, step, rank) alone: rates, weights and the samples of its batch.

So a resumed run goes on exactly where the checkpoint was taken, on any number of processes.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.inputs.sources import Sources

_LEARNING_WARMUP = 100
_FINAL_RATE = 0.01
_WALK = 1 << 20
"""Marks the seeds of the walk through the unlabelled samples; no run has as many steps."""

Places = npt.NDArray[np.int_]


@dataclasses.dataclass(frozen=True)
class Plan:
    """One step of one process.

    Attributes:
        labelled: rows of ``Sources.labelled`` in the batch.
        unlabelled: rows of ``Sources.unlabelled``; empty while there are no pseudo-labels.
        learning_rate: of the optimiser.
        self_weight: lambda.
        rng: for the augmentation.
    """

    labelled: Places
    unlabelled: Places
    learning_rate: float
    self_weight: float
    rng: np.random.Generator


class Schedule:
    """Plans the steps of a run.

    Args:
        params: of the run.
        sources: counts of samples.
        rank: number of this process.
        processes: how many there are.
    """

    def __init__(
        self, params: TrainingParameters, sources: Sources, rank: int = 0, processes: int = 1
    ) -> None:
        self._params = params
        self._labelled, self._unlabelled = len(sources.labelled), len(sources.unlabelled)
        self._rank, self._processes = rank, processes
        self._order: tuple[int, Places] | None = None

    def plan(self, step: int) -> Plan:
        """The plan of a step."""
        params = self._params
        rng = np.random.default_rng((params.seed, step, self._rank))
        weight = self.self_weight(step)
        unlabelled = self._walk(step) if weight > 0 else np.empty(0, int)
        # Before pseudo-labels exist, labels fill the whole batch.
        extra = 0 if len(unlabelled) else params.unlabelled_samples
        return Plan(
            labelled=rng.integers(self._labelled, size=params.labelled_samples + extra),
            unlabelled=unlabelled,
            learning_rate=params.learning_rate * self.rate(step),
            self_weight=weight,
            rng=rng,
        )

    def rate(self, step: int) -> float:
        """Part of the learning rate: a linear warm-up, then a cosine to a hundredth."""
        if step < _LEARNING_WARMUP:
            return (step + 1) / _LEARNING_WARMUP
        done = (step - _LEARNING_WARMUP) / max(1, self._params.steps - _LEARNING_WARMUP)
        return _FINAL_RATE + (1 - _FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * done))

    def self_weight(self, step: int) -> float:
        """Lambda: 0 in the warm-up, then a linear ramp."""
        params = self._params
        none = not self._unlabelled or not params.unlabelled_samples
        if step < params.warmup_steps or none:
            return 0.0
        ramp = (step - params.warmup_steps + 1) / max(params.ramp_steps, 1)
        return params.self_weight * min(1.0, ramp)

    def _walk(self, step: int) -> Places:
        """The next samples of a walk that visits all of them before it repeats one."""
        size = self._params.unlabelled_samples
        first = (step * self._processes + self._rank) * size
        chosen = np.empty(size, int)
        for place in range(size):
            turn, at = divmod(first + place, self._unlabelled)
            chosen[place] = self._permutation(turn)[at]
        return chosen

    def _permutation(self, turn: int) -> Places:
        if self._order is None or self._order[0] != turn:
            rng = np.random.default_rng((self._params.seed, _WALK, turn))
            self._order = (turn, rng.permutation(self._unlabelled))
        return self._order[1]
