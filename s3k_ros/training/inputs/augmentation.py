"""Augmentation of views: a new virtual camera at the same centre, in batches on the device.

A rotation of a pinhole camera about its centre is an exact homography K R K^-1, whatever the scene,
so in-plane turns and tilts keep the multi-view geometry exact: the augmented view comes with its
own camera matrix, and both losses use that one. The few numbers a view are worked out in float64 on
the host, the pixels are moved on the device.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.inputs.colours import draw_colours, recolour
from s3k_ros.training.inputs.views import Geometry, ViewSet
from s3k_ros.training.method.multiview import VirtualCameras

Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Warps:
    """How views are seen by their virtual cameras; arrays of one shape (...).

    Attributes:
        turn_rad: in-plane rotation about the ray through the aim.
        tilt_rad: (..., 2) rotation about the camera's x and y.
        zoom: factor.
        shift: (..., 2) of the aim, in sizes of the input (x, y).
        mirror: whether the view is mirrored left to right.
    """

    turn_rad: Array
    tilt_rad: Array
    zoom: Array
    shift: Array
    mirror: npt.NDArray[np.bool_]


def plain_warps(shape: tuple[int, ...], turn_rad: Array | float = 0.0) -> Warps:
    """Warps that change nothing but an in-plane turn, as inference sees the views."""
    return Warps(
        turn_rad=np.broadcast_to(np.asarray(turn_rad, float), shape),
        tilt_rad=np.zeros((*shape, 2)),
        zoom=np.ones(shape),
        shift=np.zeros((*shape, 2)),
        mirror=np.zeros(shape, bool),
    )


def random_warps(
    shape: tuple[int, ...], rng: np.random.Generator, params: TrainingParameters
) -> Warps:
    """Draws warps from the ranges of the parameters."""
    plain = plain_warps(shape)
    mirror = rng.random(shape) < 0.5 if params.mirror else plain.mirror
    if not params.augment:
        return dataclasses.replace(plain, mirror=mirror)
    tilt, zoom = np.radians(params.tilt_deg), np.log(params.scale_range)
    return Warps(
        turn_rad=np.radians(rng.uniform(-1, 1, shape) * params.rotation_deg),
        tilt_rad=rng.uniform(-tilt, tilt, (*shape, 2)),
        zoom=np.exp(rng.uniform(-zoom, zoom, shape)),
        shift=rng.uniform(-1, 1, (*shape, 2)) * params.shift_fraction,
        mirror=mirror,
    )


def input_from_full(views: Geometry, warps: Warps, params: TrainingParameters) -> Array:
    """Homographies (..., 3, 3): pixel of the network's input from full-resolution pinhole pixel."""
    height, width = params.input_height, params.input_width
    if params.stage == "crop":
        side = params.crop_fraction * views.size[..., 1:]
        scale = np.array([width, height]) / side
    else:
        scale = np.array([width, height]) / views.size[..., ::-1]
    homography = views.matrix @ _rotation(views, warps) @ np.linalg.inv(views.matrix)
    aim = (homography @ _homogeneous(views.aim)[..., None])[..., 0]
    scale = scale * warps.zoom[..., None]
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    target = middle + warps.shift * [width, height]
    place = np.zeros_like(homography)
    place[..., 0, 0], place[..., 1, 1], place[..., 2, 2] = scale[..., 0], scale[..., 1], 1.0
    place[..., :2, 2] = target - scale * aim[..., :2] / aim[..., 2:]
    flip = np.array([[-1.0, 0, width - 1.0], [0, 1, 0], [0, 0, 1]])
    return np.where(warps.mirror[..., None, None], flip, np.eye(3)) @ place @ homography


def _homogeneous(pixels: Array) -> Array:
    return np.concatenate([pixels, np.ones_like(pixels[..., :1])], -1)


def _rotation(views: Geometry, warps: Warps) -> Array:
    """Rotations of the cameras: about the ray through the aim, then a tilt about x and y."""
    ray = np.linalg.solve(views.matrix, _homogeneous(views.aim)[..., None])[..., 0]
    ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    tilt = np.concatenate([warps.tilt_rad, np.zeros_like(warps.tilt_rad[..., :1])], -1)
    return _rodrigues(tilt) @ _rodrigues(ray * warps.turn_rad[..., None])


def _rodrigues(vector: Array) -> Array:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3), rad."""
    angle = np.linalg.norm(vector, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vector, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*vector.shape, 3)
    # np.sinc(t / pi) = sin(t) / t, also at 0
    first, second = np.sinc(angle / np.pi), 0.5 * np.sinc(0.5 * angle / np.pi) ** 2
    return np.eye(3) + first * cross + second * cross @ cross


def cells_from_input(stride: int) -> Array:
    """(3, 3): a heatmap cell j stands for input pixel s j + (s - 1) / 2."""
    offset = -(stride - 1) / (2 * stride)
    return np.array([[1 / stride, 0, offset], [0, 1 / stride, offset], [0, 0, 1]])


def cells_from_base(views: Geometry, inputs: Array, stride: int) -> Array:
    """M (..., 3, 3): heatmap cell from ray in the base frame's axes, given ``input_from_full``."""
    return cells_from_input(stride) @ inputs @ views.matrix @ views.camera_from_base


def warp(pixels: Tensor, kept_from_input: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (M, 3, *size) read from images (M, 3, h, w) at homographic positions, bilinearly.

    Args:
        pixels: float images.
        kept_from_input: (M, 3, 3) pixel to read from pixel to write; pixel centres at integers.
        size: (height, width) to write, px. Beyond the image its border repeats.
    """
    height, width = size
    kwargs = {"dtype": kept_from_input.dtype, "device": pixels.device}
    u = torch.arange(width, **kwargs)
    v = torch.arange(height, **kwargs)
    columns = kept_from_input[:, None, :, 0] * u[:, None]
    rows = kept_from_input[:, None, :, 1] * v[:, None] + kept_from_input[:, None, :, 2]
    places = columns[:, None] + rows[:, :, None]
    # With align_corners=False, -1 and 1 are the outer edges, so pixel j lies at (2 j + 1) / n - 1.
    scale = torch.tensor([2.0 / pixels.shape[-1], 2.0 / pixels.shape[-2]], **kwargs)
    offset = 0.5 * scale - 1.0
    grid = places[..., :2] / places[..., 2:] * scale + offset
    return functional.grid_sample(
        pixels, grid.to(pixels.dtype), mode="bilinear", padding_mode="border", align_corners=False
    )


@dataclasses.dataclass(frozen=True)
class Batch:
    """Views of S samples: ``images`` (S, V, 3, H, W) RGB 0..255, cameras, ``mirrored`` (S, V)."""

    images: Tensor
    cameras: VirtualCameras
    mirrored: Tensor

    @classmethod
    def joined(cls, parts: list[Batch], dim: int = 0) -> Batch:
        """Several batches in one, along the samples (0) or the views (1)."""
        return cls(
            torch.cat([part.images for part in parts], dim),
            VirtualCameras(
                torch.cat([part.cameras.matrix for part in parts], dim),
                torch.cat([part.cameras.centre for part in parts], dim),
            ),
            torch.cat([part.mirrored for part in parts], dim),
        )


class Renderer:
    """Makes batches of views on a device.

    Args:
        params: sizes and augmentation ranges.
        device: where the images are made.
    """

    def __init__(self, params: TrainingParameters, device: torch.device) -> None:
        self._params, self._device = params, device

    def fetch(self, views: ViewSet, places: npt.NDArray[np.int_]) -> tuple[Tensor, Geometry]:
        """Kept images (S, C, 3, h, w) of samples, float on the device, and their geometry."""
        index = torch.from_numpy(np.asarray(places, np.int64))
        chosen = views.pixels.index_select(0, index.to(views.pixels.device))
        images = chosen.to(self._device, non_blocking=True).float()
        return images.permute(0, 1, 4, 2, 3), views.geometry[places]

    def plain(self, images: Tensor, views: Geometry, turns: tuple[float, ...] = (0.0,)) -> Batch:
        """Plain views, for the teacher and for inference.

        Args:
            images: (S, C, 3, h, w) kept images.
            views: their geometry (S, C).
            turns: in-plane rotations, rad; each view is rendered once a turn, so the result has
                C * len(turns) virtual cameras, turns slowest.
        """
        shape = (images.shape[0], images.shape[1])
        parts = [self._render(images, views, plain_warps(shape, turn)) for turn in turns]
        return parts[0] if len(parts) == 1 else Batch.joined(parts, dim=1)

    def augmented(self, images: Tensor, views: Geometry, rng: np.random.Generator) -> Batch:
        """Randomly warped and recoloured views of kept images (S, C, 3, h, w)."""
        shape = (images.shape[0], images.shape[1])
        batch = self._render(images, views, random_warps(shape, rng, self._params))
        flat = batch.images.flatten(0, 1)
        changed = recolour(flat, draw_colours(len(flat), rng, self._params))
        return dataclasses.replace(batch, images=changed.unflatten(0, shape))

    def _render(self, images: Tensor, views: Geometry, warps: Warps) -> Batch:
        params, device = self._params, self._device
        inputs = input_from_full(views, warps, params)
        places = torch.from_numpy(views.kept_from_full @ np.linalg.inv(inputs)).float()
        places = places.to(device, non_blocking=True).flatten(0, 1)
        flat = images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        warped = warp(flat, places, (params.input_height, params.input_width))
        matrix = cells_from_base(views, inputs, params.heatmap_stride)
        cameras = VirtualCameras(
            torch.from_numpy(matrix).float().to(device, non_blocking=True),
            torch.from_numpy(views.centre).float().to(device, non_blocking=True),
        )
        mirrored = torch.from_numpy(np.array(warps.mirror)).to(device, non_blocking=True)
        return Batch(warped.unflatten(0, warps.mirror.shape), cameras, mirrored)
