"""Running a network without gradients, in the precision that the device is good at."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from s3k_ros.params.training import TrainingParameters

Autocast = Callable[[], AbstractContextManager[object]]


def uses_bf16(device: torch.device, params: TrainingParameters) -> bool:
    """Whether convolutions run in bfloat16; "auto" asks the device."""
    if params.precision != "auto":
        return params.precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    cpu = torch.cpu
    return bool(cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported())


def autocast_on(device: torch.device, params: TrainingParameters) -> Autocast:
    """Makes contexts of the run's precision on a device."""
    enabled = uses_bf16(device, params)
    return lambda: torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def softmax_maps(network: nn.Module, images: Tensor, autocast: Autocast) -> Tensor:
    """Probability maps (S, V, K, H, W) of images (S, V, 3, H, W), without gradient."""
    with torch.no_grad(), autocast():
        batch = images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        logits = network(batch)
    maps = torch.softmax(logits.float().contiguous().flatten(2), -1).view(logits.shape)
    return maps.unflatten(0, images.shape[:2])
