"""Other colours, blur, noise and cut-outs for a batch of views, on the device.

The few numbers a view are drawn on the host, so that they need no copy back from a GPU; the noise
of single pixels comes from a generator of the device, seeded by one of these numbers.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from s3k_ros.params.training import TrainingParameters

Array = npt.NDArray[np.float64]

_GREY = (0.299, 0.587, 0.114)
_BLUR_RADIUS = 4
"""Pixels; three standard deviations of the widest blur."""


@dataclasses.dataclass(frozen=True)
class CutOut:
    """One hidden rectangle: of a flat colour, or showing another piece of the same image.

    Attributes:
        view: number of the view.
        top, left, height, width: in sizes of the image.
        piece: (top, left) of the piece shown, or None.
        colour: RGB, 0..255.
    """

    view: int
    top: float
    left: float
    height: float
    width: float
    piece: tuple[float, float] | None
    colour: tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Colours:
    """Changes of M views.

    Attributes:
        gain: (M, 3) of each channel about mid-grey, after ``gamma`` (M,); ``offset`` (M,) 0..255.
        keep: (M,) part of the saturation that is kept, may exceed 1.
        blur: (M,) standard deviation, px, 0 for none.
        noise: (M,) standard deviation, 0..255, 0 for none.
        seed: of the noise.
        cut_outs: hidden rectangles.
        active: False: only the cut-outs count.
    """

    gain: Array
    gamma: Array
    offset: Array
    keep: Array
    blur: Array
    noise: Array
    seed: int
    cut_outs: tuple[CutOut, ...]
    active: bool


def draw_colours(count: int, rng: np.random.Generator, params: TrainingParameters) -> Colours:
    """Draws the changes of ``count`` views."""
    strength = params.photometric

    def sometimes(probability: float, values: Array, otherwise: float) -> Array:
        return np.where(rng.random(count) < probability, values, otherwise)

    gain = rng.normal(0, 0.12 * strength, (count, 3)) + rng.normal(0, 0.18 * strength, (count, 1))
    keep = np.clip(1 + rng.normal(0, 0.3 * strength, count), 0.2, 1.8)
    return Colours(
        gain=np.exp(gain),
        gamma=np.exp(rng.normal(0, 0.15 * strength, count)),
        offset=rng.normal(0, 10 * strength, count),
        keep=sometimes(0.5, keep, 1.0),
        blur=sometimes(0.3, rng.uniform(0.3, 1.2, count), 0.0),
        noise=sometimes(0.5, rng.uniform(1.0, max(1.0, 8 * strength), count), 0.0),
        seed=int(rng.integers(2**62)),
        cut_outs=_draw_cut_outs(count, rng, params.cutout),
        active=strength > 0,
    )


def _draw_cut_outs(count: int, rng: np.random.Generator, probability: float) -> tuple[CutOut, ...]:
    found = []
    for view in np.flatnonzero(rng.random(count) < probability):
        for _ in range(int(rng.integers(1, 4))):
            height, width = rng.uniform(0.06, 0.25, 2)
            top, left, y, x = rng.random(4) * [1 - height, 1 - width, 1 - height, 1 - width]
            piece = (float(y), float(x)) if rng.random() < 0.5 else None
            r, g, b = (float(c) for c in rng.integers(0, 256, 3))
            found.append(
                CutOut(int(view), float(top), float(left), height, width, piece, (r, g, b))
            )
    return tuple(found)


def recolour(images: Tensor, colours: Colours) -> Tensor:
    """Images (M, 3, H, W), RGB 0..255, changed; the given ones may be overwritten."""
    if colours.active:
        images = _grade(images, colours)
        images = _blurred(images, colours.blur)
        images = _noisy(images, colours.noise, colours.seed)
        images = images.clamp_(0.0, 255.0)
    if colours.cut_outs:
        flat = _on(images, np.array([cut.colour for cut in colours.cut_outs]))
        for cut, colour in zip(colours.cut_outs, flat, strict=True):
            _hide(images[cut.view], cut, colour)
    return images


def _on(images: Tensor, values: Array) -> Tensor:
    """Numbers (M, ...) as a float tensor (M, *, 1, 1) beside the images."""
    tensor = torch.from_numpy(np.ascontiguousarray(values)).float()
    tensor = tensor.to(images.device, non_blocking=True)
    return tensor.reshape(len(values), -1, 1, 1)


def _grade(images: Tensor, colours: Colours) -> Tensor:
    """((x / 255)^gamma 255 - 128) gain + 128 + offset, then mixed with its grey."""
    gain, offset = _on(images, colours.gain), _on(images, colours.offset)
    images = images.mul_(1 / 255).clamp_(min=0.0).pow_(_on(images, colours.gamma))
    images = images.mul_(255 * gain).add_(128 * (1 - gain) + offset).clamp_(0.0, 255.0)
    keep = _on(images, colours.keep)
    grey = sum(weight * images[:, c : c + 1] for c, weight in enumerate(_GREY))
    return images.mul_(keep).add_(grey * (1 - keep))


def _blurred(images: Tensor, sigma: Array) -> Tensor:
    """Separable Gaussian blur of the views with a sigma above 0; borders repeat."""
    chosen = np.flatnonzero(sigma > 0)
    if not len(chosen):
        return images
    offsets = np.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1)
    kernels = np.exp(-(offsets**2) / (2 * sigma[chosen, None] ** 2))
    kernels = np.repeat(kernels / kernels.sum(1, keepdims=True), 3, axis=0)
    weights = torch.from_numpy(kernels).to(images.dtype).to(images.device, non_blocking=True)
    index = torch.from_numpy(chosen).to(images.device, non_blocking=True)
    part = images.index_select(0, index).contiguous()
    rows = functional.pad(part, (_BLUR_RADIUS,) * 4, mode="replicate").flatten(0, 1)[None]
    rows = functional.conv2d(rows, weights[:, None, :, None], groups=len(kernels))
    rows = functional.conv2d(rows, weights[:, None, None, :], groups=len(kernels))
    return images.index_copy_(0, index, rows.view(part.shape))


def _noisy(images: Tensor, spread: Array, seed: int) -> Tensor:
    chosen = np.flatnonzero(spread > 0)
    if not len(chosen):
        return images
    generator = torch.Generator(images.device).manual_seed(seed)
    shape = (len(chosen), *images.shape[1:])
    noise = torch.randn(shape, generator=generator, device=images.device, dtype=images.dtype)
    index = torch.from_numpy(chosen).to(images.device, non_blocking=True)
    return images.index_add_(0, index, noise.mul_(_on(images, spread[chosen])))


def _hide(image: Tensor, cut: CutOut, colour: Tensor) -> None:
    """Fills a rectangle of one image (3, H, W) in place; ``colour`` (3, 1, 1)."""
    height, width = image.shape[1:]
    h, w = max(1, int(cut.height * height)), max(1, int(cut.width * width))
    top, left = int(cut.top * height), int(cut.left * width)
    target = image[:, top : top + h, left : left + w]
    if cut.piece is None:
        target.copy_(colour.expand_as(target))
        return
    y, x = int(cut.piece[0] * height), int(cut.piece[1] * width)
    target.copy_(image[:, y : y + h, x : x + w].clone())
