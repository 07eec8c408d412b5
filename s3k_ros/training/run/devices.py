"""Devices and processes of a run, through Lightning Fabric."""

from __future__ import annotations

import warnings

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, distributed

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.training import TrainingParameters


def make_fabric(params: TrainingParameters) -> Fabric:
    """Fabric for a run; with several devices it is yet to be launched.

    Precision is the networks' own business (``inference.autocast_on``): the losses stay in float32.

    Raises:
        ConfigurationError: the machine lacks the accelerator, or has fewer devices.
    """
    accelerator = params.accelerator
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda":
        found = torch.cuda.device_count()
        if found < params.devices:
            raise ConfigurationError(
                f"TrainingParameters.devices = {params.devices}: this machine has {found} GPUs"
            )
    several = params.devices > 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice for interactive users
        return Fabric(
            accelerator=accelerator,
            devices=params.devices,
            strategy=DDPStrategy(start_method="spawn", broadcast_buffers=False)
            if several
            else "auto",
        )


def shared_mean_(tensors: list[Tensor]) -> None:
    """Replaces tensors by their means over all processes, in one exchange."""
    if not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view(tensor.shape))
