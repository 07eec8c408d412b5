"""Forward passes and losses of one step: METHOD.md's two losses, and what the switches add."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor, nn

from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.inputs.augmentation import Batch, Renderer
from s3k_ros.training.inputs.sources import Sources
from s3k_ros.training.inputs.views import Geometry
from s3k_ros.training.method.losses import projected_kl, supervised_loss
from s3k_ros.training.method.shape_prior import ShapePrior
from s3k_ros.training.method.teacher import pseudo_labels
from s3k_ros.training.run.inference import Autocast, softmax_maps
from s3k_ros.training.run.schedule import Plan


@dataclasses.dataclass(frozen=True)
class Losses:
    """Of one step, as tensors on the device, so that nothing waits for them.

    Attributes:
        total: to be differentiated.
        supervised, self_supervised: the two parts, without lambda.
        accepted: part of the pseudo-labels with a weight above 0.
    """

    total: Tensor
    supervised: Tensor
    self_supervised: Tensor
    accepted: Tensor


class Objective:
    """Computes the losses of a step.

    Args:
        sources: views and points.
        params: of the run.
        swap: for each keypoint the one that it becomes in a mirrored view.
        prior: the labelled shape, or None.
        autocast: makes the context that networks run in.
        device: of the networks.
    """

    def __init__(
        self,
        sources: Sources,
        params: TrainingParameters,
        swap: list[int],
        prior: ShapePrior | None,
        autocast: Autocast,
        device: torch.device,
    ) -> None:
        self._sources, self._params, self._prior = sources, params, prior
        self._autocast = autocast
        self._renderer = Renderer(params, device)
        self._swap = torch.tensor(swap, device=device)
        self._points = torch.from_numpy(sources.points).float().to(device)
        turns = params.teacher_turns
        self._angles = tuple(2 * math.pi * i / turns for i in range(turns))

    def losses(self, plan: Plan, student: nn.Module, teacher: nn.Module) -> Losses:
        """The losses of a planned step.

        Args:
            plan: of the step.
            student: the network in training; its forward pass is differentiated.
            teacher: the averaged network.
        """
        params, sources = self._params, self._sources
        kept, views = self._renderer.fetch(sources.views, sources.labelled[plan.labelled])
        batch = self._renderer.augmented(kept, views, plan.rng)
        count = len(plan.labelled)
        # The index stays on the host until here: a tiny copy, no wait.
        chosen = torch.from_numpy(plan.labelled).to(self._points.device, non_blocking=True)
        points = self._points.index_select(0, chosen)
        if not len(plan.unlabelled):
            loss = supervised_loss(
                self.logits(student, batch), points, batch.cameras, params.sigma_px
            )
            zero = torch.zeros_like(loss.detach())
            return Losses(loss, loss.detach(), zero, zero)
        kept, views = self._renderer.fetch(sources.views, sources.unlabelled[plan.unlabelled])
        second = self._renderer.augmented(kept, views, plan.rng)
        logits = self.logits(student, Batch.joined([batch, second]))
        loss = supervised_loss(logits[:count], points, batch.cameras, params.sigma_px)
        own, accepted = self._self_loss(logits[count:], second, kept, views, teacher)
        total = loss + plan.self_weight * own
        return Losses(total, loss.detach(), own.detach(), accepted)

    def logits(self, network: nn.Module, batch: Batch) -> Tensor:
        """Logits (S, V, K, H, W), mirrored views' maps renamed back."""
        images = batch.images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        with self._autocast():
            logits = network(images)
        logits = logits.float().contiguous().unflatten(0, batch.images.shape[:2])
        if not self._params.mirror:
            return logits
        swapped = logits.index_select(2, self._swap)
        return torch.where(batch.mirrored[..., None, None, None], swapped, logits)

    def _self_loss(
        self, logits: Tensor, batch: Batch, kept: Tensor, views: Geometry, teacher: nn.Module
    ) -> tuple[Tensor, Tensor]:
        params = self._params
        if params.teacher:
            plain = self._renderer.plain(kept, views, self._angles)
            maps, cameras = softmax_maps(teacher, plain.images, self._autocast), plain.cameras
            turns = params.teacher_turns
        else:
            flat = torch.softmax(logits.detach().flatten(3), -1)
            maps, cameras, turns = flat.view(logits.shape), batch.cameras, 1
        proposal = pseudo_labels(maps, cameras, self._prior, params, turns)
        loss = projected_kl(
            logits, proposal.points, batch.cameras, params.sigma_px, proposal.weight
        )
        return loss, (proposal.weight > 0).float().mean()
