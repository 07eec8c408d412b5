"""The training loop of one stage: deterministic from its seed, resumable after a kill.

Lightning Fabric chooses the device and joins the gradients of several processes. The loop
is our own: every random choice of a step comes from (seed, step, rank), so a resumed run goes on
exactly where the checkpoint was taken.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.inputs.sources import Say, Sources
from s3k_ros.training.method.objective import Losses, Objective
from s3k_ros.training.method.shape_prior import ShapePrior
from s3k_ros.training.model.keypoints import mirror_names
from s3k_ros.training.run.checkpoint import Checkpoint, make_network
from s3k_ros.training.run.devices import shared_mean_
from s3k_ros.training.run.inference import autocast_on
from s3k_ros.training.run.monitor import Monitor
from s3k_ros.training.run.schedule import Plan, Schedule
from s3k_ros.training.run.stopping import Stop
from s3k_ros.training.run.watch import Watch

CHECKPOINT, MODEL = "checkpoint.safetensors", "model.safetensors"

# What may change between two starts of one run: where and how it computes, not what.
_RUNTIME = (
    "accelerator", "threads", "precision", "compile", "log_interval_s", "checkpoint_interval_s",
)  # fmt: skip
_AGREE_EVERY = 10
"""Steps between agreements of several processes on whether to end."""


class Trainer:
    """Trains one network.

    Args:
        fabric: device, precision and processes.
        sources: views.
        keypoints: names, in the order of the maps.
        params: the run's parameters.
        out: folder of the run; ``checkpoint.safetensors`` there is resumed.
        info: facts that go into the checkpoint; those under ``data`` must agree on resuming.
        say: where lines go.
        progress: show a bar on a terminal, and write TensorBoard's files.

    Raises:
        ConfigurationError: the folder holds a run with other parameters or data.
    """

    def __init__(
        self,
        fabric: Fabric,
        sources: Sources,
        keypoints: list[str],
        params: TrainingParameters,
        out: Path,
        info: dict[str, Any],
        say: Say = print,
        progress: bool = True,
    ) -> None:
        self._fabric, self._keypoints, self._params = fabric, keypoints, params
        self._out, self._info, self._say, self._progress = out, info, say, progress
        self.path, self.model_path = out / CHECKPOINT, out / MODEL
        device = fabric.device
        self.model = make_network(params, len(keypoints)).to(device)
        self.ema = make_network(params, len(keypoints)).to(device).eval()
        self._optimiser = _make_optimiser(self.model, params)
        self.step = 0
        self._best: dict[str, Any] = {}
        if self.path.exists():
            self._resume(Checkpoint.load(self.path))
        self._student, self._teacher, self._stepper = self._prepared()
        prior = ShapePrior.from_points(sources.points, params.shape_tolerance_m)
        autocast = autocast_on(device, params)
        shape = None if params.shape == "none" else prior
        swap = mirror_names(keypoints)
        self._objective = Objective(sources, params, swap, shape, autocast, device)
        self._watch = Watch(sources, keypoints, params, prior, autocast, device)
        self.schedule = Schedule(params, sources, fabric.global_rank, fabric.world_size)

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self._params.steps

    def run(self, until: int | None = None, stop: Stop | None = None) -> None:
        """Trains to ``until`` (default: the parameters' steps) or until ``stop`` asks to end.

        At least one step is made, so that a chain of short runs always comes to its end.
        """
        params, stop = self._params, stop or Stop()
        last = params.steps if until is None else min(until, params.steps)
        if self.step >= last and not (self.finished and not self.model_path.exists()):
            return
        monitor = self._monitor()
        saved = time.monotonic()
        try:
            while self.step < last:
                plan = self.schedule.plan(self.step)
                losses = self.train_step(plan)
                if monitor is not None:
                    monitor.step(self.step, losses, plan.learning_rate, plan.self_weight)
                if self._guards_are_due():
                    self._look(monitor)
                if time.monotonic() - saved >= params.checkpoint_interval_s:
                    self.save()
                    saved = time.monotonic()
                if self._must_end(stop):
                    break
            self.save()
            if self.finished and self._best:
                self._tell_choice()
        finally:
            if monitor is not None:
                monitor.close()

    def train_step(self, plan: Plan | None = None) -> Losses:
        """One optimiser step; by default the schedule's next."""
        params, plan = self._params, plan or self.schedule.plan(self.step)
        for group in self._optimiser.param_groups:
            group["lr"] = plan.learning_rate
        self.model.train()
        if params.compile:
            torch.compiler.cudagraph_mark_step_begin()
        losses = self._objective.losses(plan, self._student, self._teacher)
        self._stepper.zero_grad(set_to_none=True)
        self._fabric.backward(losses.total)
        if params.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), params.clip_norm)
        self._stepper.step()
        if self._fabric.world_size > 1:
            shared_mean_([b for b in self.model.buffers() if b.is_floating_point()])
        self._average()
        self.step += 1
        return losses

    def save(self) -> None:
        """Writes the checkpoint, atomically; the first of several processes does it."""
        if self._fabric.is_global_zero:
            tensors = _named("model", self.model) | _named("ema", self.ema)
            for index, moments in self._optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{index}.{k}": v for k, v in moments.items()}
            progress = {"best": self._best}
            Checkpoint(
                self._params, self._keypoints, self.step, tensors, self._info, progress
            ).save(self.path)

    def _guards_are_due(self) -> bool:
        interval = self._params.guard_interval
        return self.finished or (interval > 0 and self.step % interval == 0)

    def _look(self, monitor: Monitor | None) -> None:
        """Asks the guards; the best weights so far become ``model.safetensors``.

        Of scores that differ by chance alone the later one wins.
        """
        if not self._fabric.is_global_zero:
            return
        look = self._watch.look(self.ema)
        if monitor is not None:
            monitor.look(self.step, look)
        score = look.report.score if math.isfinite(look.report.score) else 1e9
        lowest = self._best.get("lowest", math.inf)
        if score > lowest + look.report.margin:
            return
        self._best = {
            "score": score,
            "lowest": min(score, lowest),
            "step": self.step,
            "findings": [str(finding) for finding in look.report.findings],
        }
        info = {**self._info, "guards": self._best}
        Checkpoint(self._params, self._keypoints, self.step, _named("ema", self.ema), info).save(
            self.model_path
        )

    def _tell_choice(self) -> None:
        self._say(
            f"{self._params.stage}: the guards chose step {self._best['step']} with score "
            f"{self._best['score']:.2f}"
        )
        for finding in self._best["findings"]:
            self._say(f"{self._params.stage}: chosen weights: {finding}")

    def _must_end(self, stop: Stop) -> bool:
        """All processes end at the same step: one that has to, takes the others along."""
        if self._fabric.world_size == 1:
            return stop.asked
        if self.step % _AGREE_EVERY:
            return False
        return bool(self._fabric.strategy.reduce_boolean_decision(stop.asked, all=False))

    def _monitor(self) -> Monitor | None:
        if not self._fabric.is_global_zero:
            return None
        params = self._params
        return Monitor(
            params.stage,
            self._out / "tensorboard" if self._progress else None,
            self.step,
            params.steps,
            params.log_interval_s,
            self._progress,
            self._say,
        )

    def _prepared(self) -> tuple[nn.Module, nn.Module, Any]:
        """The networks and the optimiser as Fabric runs them; compiled on request."""
        student: Any = self.model
        teacher: Any = self.ema
        if self._params.compile:
            mode = "reduce-overhead" if self._fabric.device.type == "cuda" else "default"
            student, teacher = (torch.compile(x, mode=mode) for x in (student, teacher))
        student, stepper = self._fabric.setup(student, self._optimiser)
        return student, teacher, stepper

    def _resume(self, checkpoint: Checkpoint) -> None:
        ours, theirs = (
            {k: v for k, v in dataclasses.asdict(p).items() if k not in _RUNTIME}
            for p in (self._params, checkpoint.params)
        )
        other = sorted(k for k in ours if ours[k] != theirs[k])
        if checkpoint.keypoints != self._keypoints:
            other.append("keypoints")
        if checkpoint.info.get("data") != self._info.get("data"):
            other.append("data")
        if other:
            raise ConfigurationError(
                f"{self.path} is of a run with other parameters ({', '.join(other)}): choose "
                "another folder"
            )
        self.step = checkpoint.step
        self._best = checkpoint.progress.get("best", {})
        for kind, network in (("model", self.model), ("ema", self.ema)):
            network.load_state_dict(checkpoint.part(kind))
        _restore(self._optimiser, checkpoint.part("optimiser"))
        self._say(f"{self._params.stage}: resumed at step {self.step}")

    @torch.no_grad()
    def _average(self) -> None:
        """Moves the averaged weights; early steps count more, so that the average starts warm."""
        decay = min(self._params.ema_decay, (1 + self.step) / (10 + self.step))
        pairs = list(zip(_values(self.ema), _values(self.model), strict=True))
        moved = [(mean, value) for mean, value in pairs if mean.is_floating_point()]
        torch._foreach_lerp_([m for m, _ in moved], [v for _, v in moved], 1 - decay)
        for mean, value in pairs:
            if not mean.is_floating_point():
                mean.copy_(value)


def _values(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


def _named(kind: str, network: nn.Module) -> dict[str, Tensor]:
    return {f"{kind}.{name}": value for name, value in network.state_dict().items()}


def _make_optimiser(model: nn.Module, params: TrainingParameters) -> torch.optim.Optimizer:
    """Adam. Its weight_decay adds lambda w to the gradient: the exact gradient of the L2 term."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return torch.optim.Adam(
        [
            {"params": weights, "weight_decay": params.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=params.learning_rate,
        fused=True,
    )


def _restore(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Gives an optimiser its moments back, from "<parameter>.<moment>"."""
    owned = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, moment = name.split(".")
        if value.shape == owned[int(index)].shape:
            # The fused optimiser reads moments in the order in which the weights lie in memory.
            value = torch.empty_like(owned[int(index)]).copy_(value)
        state.setdefault(int(index), {})[moment] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Deterministic algorithms inside, as before outside.

    On a GPU an operation without a deterministic kernel warns and goes on.
    """
    before = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = filled
