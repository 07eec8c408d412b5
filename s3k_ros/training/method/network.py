"""The keypoint network: a small U-Net, one image in, one map a keypoint out.

Built for CPUs: the full resolution is left at once (two stride-2 convolutions), the residual blocks
sit at the low resolutions where context is cheap, and the maps of stride 2 or 1 come from features
of stride 4 by a pixel shuffle. The same weights serve every view.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

STRIDE = 2
"""Input pixels a heatmap cell, by default."""

_FEATURES = 4
"""Stride of the features that the maps are made of."""

_MEAN, _SCALE = 120.0, 60.0
"""Centre and spread of image values, 0..255; normalisation is part of the network."""


def _conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm.weight)  # starts as the identity: stabler with few labels

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.norm(self.second(self.first(x))))


class KeypointNetwork(nn.Module):
    """Maps images to keypoint logits.

    Args:
        keypoints: number of maps K.
        stem: channels at stride 2.
        widths: channels at strides 4, 8, 16, ...
        blocks: residual blocks at each of these.
        heatmap_stride: input pixels a heatmap cell, 1, 2 or 4.

    Raises:
        ValueError: widths and blocks of unequal length, or another stride.
    """

    def __init__(
        self,
        keypoints: int,
        stem: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        heatmap_stride: int = STRIDE,
    ) -> None:
        super().__init__()
        if heatmap_stride not in (1, 2, 4):
            raise ValueError(f"heatmap_stride = {heatmap_stride} must be 1, 2 or 4")
        if len(widths) != len(blocks):
            raise ValueError(f"widths {widths} and blocks {blocks} must have one length")
        self.stem = nn.Sequential(_conv(3, stem, 2), _conv(stem, widths[0], 2))
        self.down = nn.ModuleList()
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            entry = [_conv(widths[level - 1], width, 2)] if level else []
            self.down.append(nn.Sequential(*entry, *(_Residual(width) for _ in range(count))))
        pairs = list(pairwise(widths))
        self.lateral = nn.ModuleList(nn.Conv2d(low, high, 1) for high, low in pairs)
        self.up = nn.ModuleList(_conv(high, high) for high, _ in pairs)
        self._factor = _FEATURES // heatmap_stride
        self.head = nn.Conv2d(widths[0], self._factor**2 * keypoints, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, K, H/stride, W/stride) of images (N, 3, H, W), RGB, 0..255."""
        x = self.stem((image - _MEAN) / _SCALE)
        skips: list[Tensor] = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        for level in reversed(range(len(self.up))):
            size = skips[level].shape[-2:]
            x = functional.interpolate(self.lateral[level](x), size=size, mode="nearest")
            x = self.up[level](x + skips[level])
        return functional.pixel_shuffle(self.head(x), self._factor)
