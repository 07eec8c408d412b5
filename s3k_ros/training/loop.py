"""The training loop of one stage: deterministic from its seed, resumable after a kill.

Every random choice of a step comes from (seed, step), so a resumed run goes on exactly where the
checkpoint was taken.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.augmentation import Batch, make_batch
from s3k_ros.training.checkpoint import Checkpoint, make_network
from s3k_ros.training.keypoints import mirror_names
from s3k_ros.training.losses import projected_kl, self_supervised_loss, supervised_loss
from s3k_ros.training.network import KeypointNetwork
from s3k_ros.training.shape_prior import ShapePrior
from s3k_ros.training.sources import Say, Sources, softmax_maps, use_bf16
from s3k_ros.training.teacher import propose
from s3k_ros.training.views import View

_LEARNING_WARMUP = 100
_FINAL_RATE = 0.01


@dataclasses.dataclass
class StepResult:
    """Figures of one step: losses, and the accepted part of the pseudo-labels."""

    supervised: float
    self_supervised: float
    accepted: float


class Trainer:
    """Trains one network.

    Args:
        sources: views in memory.
        keypoints: names, in the order of the maps.
        params: the run's parameters.
        out: folder of the run; ``checkpoint.safetensors`` there is resumed.
        info: facts that go into the checkpoint.
        say: where progress lines go.

    Raises:
        ConfigurationError: the folder holds a run with other parameters.
    """

    def __init__(
        self,
        sources: Sources,
        keypoints: list[str],
        params: TrainingParameters,
        out: Path,
        info: dict[str, Any],
        say: Say = print,
    ) -> None:
        self._sources, self._keypoints, self._params = sources, keypoints, params
        self.path = out / "checkpoint.safetensors"
        self._info, self._say = info, say
        self._swap = mirror_names(keypoints)
        self._prior = (
            ShapePrior.from_points(sources.points, params.shape_tolerance_m)
            if params.shape != "none"
            else None
        )
        torch.set_num_threads(params.threads)
        torch.use_deterministic_algorithms(True)
        self.model = make_network(params, len(keypoints))
        self.ema = make_network(params, len(keypoints)).eval()
        self._optimiser = _make_optimiser(self.model, params)
        self.step = 0
        if self.path.exists():
            self._resume(Checkpoint.load(self.path))

    def run(self, until: int | None = None) -> None:
        """Trains to ``until`` (default: the parameters' steps), with progress and checkpoints."""
        last = self._params.steps if until is None else min(until, self._params.steps)
        shown = saved = begun = time.monotonic()
        first = shown_step = self.step
        recent: list[StepResult] = []
        while self.step < last:
            recent.append(self.train_step())
            now = time.monotonic()
            if now - shown >= self._params.log_interval_s or self.step == last:
                rate = (self.step - shown_step) / max(now - shown, 1e-9)
                left = (last - self.step) * (now - begun) / (self.step - first)
                self._say(_progress(self.step, last, recent, rate, left))
                shown, shown_step, recent = now, self.step, []
            if now - saved >= self._params.checkpoint_interval_s:
                self.save()
                saved = time.monotonic()
        self.save()

    def train_step(self) -> StepResult:
        """One optimiser step."""
        params, step = self._params, self.step
        rng = np.random.default_rng((params.seed, step))
        strength = self._self_weight(step)
        unlabelled = self._draw_unlabelled(step) if strength > 0 else []
        # Before pseudo-labels exist, labels fill the whole batch.
        extra = 0 if unlabelled else params.unlabelled_samples
        labelled = rng.integers(len(self._sources.labelled), size=params.labelled_samples + extra)
        first = make_batch([self._sources.labelled[i] for i in labelled], params, rng)
        points = torch.from_numpy(self._sources.points[labelled]).float()
        second = make_batch(unlabelled, params, rng) if unlabelled else None
        for group in self._optimiser.param_groups:
            group["lr"] = params.learning_rate * _rate(step, params.steps)
        self.model.train()
        logits = self._forward(first, second)
        count = len(labelled)
        supervised = supervised_loss(logits[:count], points, first.cameras, params.sigma_px)
        loss, own, accepted = supervised, torch.zeros(()), 0.0
        if second is not None:
            own, accepted = self._self_loss(logits[count:], second, unlabelled)
            loss = supervised + strength * own
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 10.0 * math.sqrt(count))
        self._optimiser.step()
        self._average(step)
        self.step += 1
        return StepResult(supervised.item(), own.item(), accepted)

    def save(self) -> None:
        """Writes the checkpoint."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.state_dict().items()}
        for index, moments in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{k}": v for k, v in moments.items()}
        Checkpoint(self._params, self._keypoints, self.step, tensors, self._info).save(self.path)

    def _resume(self, checkpoint: Checkpoint) -> None:
        if checkpoint.params != self._params or checkpoint.keypoints != self._keypoints:
            raise ConfigurationError(
                f"{self.path} is of a run with other parameters: choose another folder"
            )
        self.step = checkpoint.step
        state: dict[int, dict[str, Tensor]] = {}
        model, ema = {}, {}
        for name, value in checkpoint.tensors.items():
            kind, rest = name.split(".", 1)
            if kind == "optimiser":
                index, moment = rest.split(".")
                state.setdefault(int(index), {})[moment] = value
            else:
                (model if kind == "model" else ema)[rest] = value
        self.model.load_state_dict(model)
        self.ema.load_state_dict(ema)
        head = self._optimiser.state_dict()
        self._optimiser.load_state_dict({**head, "state": state})
        self._say(f"resumed at step {self.step}")

    def _self_weight(self, step: int) -> float:
        params = self._params
        if step < params.warmup_steps or not self._sources.unlabelled:
            return 0.0
        ramp = (step - params.warmup_steps + 1) / max(params.ramp_steps, 1)
        return params.self_weight * min(1.0, ramp)

    def _draw_unlabelled(self, step: int) -> list[list[View]]:
        """The next samples of a walk that visits all of them before it repeats one."""
        size, total = self._params.unlabelled_samples, len(self._sources.unlabelled)
        chosen = []
        for position in range(step * size, (step + 1) * size):
            turn, place = divmod(position, total)
            order = np.random.default_rng((self._params.seed, 1 << 20, turn)).permutation(total)
            chosen.append(self._sources.unlabelled[order[place]])
        return chosen

    def _forward(self, first: Batch, second: Batch | None) -> Tensor:
        """Logits (S, C, K, H, W) of both parts in one batch, mirrored maps renamed back."""
        parts = [first] if second is None else [first, second]
        images = torch.cat([part.images for part in parts])
        mirrored = torch.cat([part.mirrored for part in parts])
        batch = images.flatten(0, 1).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=use_bf16(self._params)):
            logits = self.model(batch)
        logits = logits.float().contiguous().view(*images.shape[:2], *logits.shape[1:])
        return torch.where(mirrored[..., None, None, None], logits[:, :, self._swap], logits)

    def _self_loss(
        self, logits: Tensor, batch: Batch, samples: list[list[View]]
    ) -> tuple[Tensor, float]:
        params = self._params
        if not params.teacher:
            loss, _ = self_supervised_loss(
                logits, batch.cameras, params.sigma_px, params.alpha, params.beta
            )
            return loss, 1.0
        angles = tuple(2 * math.pi * i / params.teacher_turns for i in range(params.teacher_turns))
        plain = make_batch(samples, params, None, angles)
        maps = softmax_maps(self.ema, plain.images, use_bf16(params))
        proposal = propose(maps, plain.cameras, self._prior, params, params.teacher_turns)
        loss = projected_kl(
            logits, proposal.points, batch.cameras, params.sigma_px, proposal.weight
        )
        return loss, float((proposal.weight > 0).float().mean())

    def _average(self, step: int) -> None:
        """Moves the averaged weights; early steps count more, so that the average starts warm."""
        decay = min(self._params.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            pairs = zip(
                self.ema.state_dict().values(), self.model.state_dict().values(), strict=True
            )
            for mean, value in pairs:
                if mean.dtype.is_floating_point:
                    mean.lerp_(value, 1 - decay)
                else:
                    mean.copy_(value)


def _make_optimiser(model: KeypointNetwork, params: TrainingParameters) -> torch.optim.Optimizer:
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": weights, "weight_decay": params.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=params.learning_rate,
    )


def _rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine to a hundredth."""
    if step < _LEARNING_WARMUP:
        return (step + 1) / _LEARNING_WARMUP
    done = (step - _LEARNING_WARMUP) / max(1, steps - _LEARNING_WARMUP)
    return _FINAL_RATE + (1 - _FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * done))


def _progress(step: int, last: int, recent: list[StepResult], rate: float, left: float) -> str:
    def mean(values: Callable[[StepResult], float]) -> float:
        return sum(map(values, recent)) / len(recent)

    return (
        f"step {step}/{last}  labels {mean(lambda r: r.supervised):.3f}  "
        f"self {mean(lambda r: r.self_supervised):.3f}  "
        f"accepted {100 * mean(lambda r: r.accepted):.0f} %  "
        f"{rate:.2f} steps/s  {left / 60:.1f} min left"
    )
