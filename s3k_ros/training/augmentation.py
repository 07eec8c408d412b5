"""Augmentation of one view: a new virtual camera at the same centre, and other colours.

A rotation of a pinhole camera about its centre is an exact homography K R K^-1, whatever the scene,
so in-plane turns and tilts keep the multi-view geometry exact: the augmented view comes with its
own camera matrix, and both losses use that one.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import numpy.typing as npt
import torch

from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.dataset import Image
from s3k_ros.training.multiview import VirtualCameras
from s3k_ros.training.network import STRIDE
from s3k_ros.training.views import View, resize_matrix

Array = npt.NDArray[np.float64]

# A heatmap cell j stands for input pixel s j + (s - 1) / 2.
CELL_FROM_INPUT = np.array(
    [
        [1 / STRIDE, 0, -(STRIDE - 1) / (2 * STRIDE)],
        [0, 1 / STRIDE, -(STRIDE - 1) / (2 * STRIDE)],
        [0, 0, 1],
    ]
)


@dataclasses.dataclass(frozen=True)
class Warp:
    """How one view is seen by its virtual camera."""

    turn_rad: float = 0.0
    tilt_rad: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)  # of the input's size
    mirror: bool = False


def random_warp(rng: np.random.Generator, params: TrainingParameters) -> Warp:
    """Draws a warp from the ranges of the parameters."""
    if not params.augment:
        return Warp()
    tilt = np.radians(params.tilt_deg)
    zoom = np.log(params.scale_range)
    shift = params.shift_fraction
    return Warp(
        turn_rad=float(np.radians(rng.uniform(-1, 1) * params.rotation_deg)),
        tilt_rad=(float(rng.uniform(-tilt, tilt)), float(rng.uniform(-tilt, tilt))),
        zoom=float(np.exp(rng.uniform(-zoom, zoom))),
        shift=(float(rng.uniform(-shift, shift)), float(rng.uniform(-shift, shift))),
        mirror=bool(params.mirror and rng.random() < 0.5),
    )


def input_from_full(view: View, warp: Warp, params: TrainingParameters) -> Array:
    """Homography (3, 3): pixel of the network's input from full-resolution pinhole pixel."""
    height, width = params.input_height, params.input_width
    if params.stage == "crop":
        side = params.crop_fraction * view.size[1]
        scale = np.diag([width / side, height / side, 1.0])
    else:
        scale = resize_matrix(view.size, (height, width))
    homography = view.matrix @ _rotation(view, warp) @ np.linalg.inv(view.matrix)
    aim = homography @ np.append(view.aim, 1.0)
    place = scale.copy()
    place[:2, :2] *= warp.zoom
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    target = middle + np.array(warp.shift) * [width, height]
    place[:2, 2] = target - place[:2, :2] @ (aim[:2] / aim[2])
    result = place @ homography
    if warp.mirror:
        result = np.array([[-1.0, 0, width - 1.0], [0, 1, 0], [0, 0, 1]]) @ result
    return result


def _rotation(view: View, warp: Warp) -> Array:
    """Rotation of the camera: about the ray through the aim, then a tilt about x and y."""
    ray = np.linalg.solve(view.matrix, np.append(view.aim, 1.0))
    turn = cv2.Rodrigues(ray / np.linalg.norm(ray) * warp.turn_rad)[0]
    tilt = cv2.Rodrigues(np.array([*warp.tilt_rad, 0.0]))[0]
    return np.asarray(tilt @ turn, float)


def render(view: View, warp: Warp, params: TrainingParameters) -> tuple[Image, Array]:
    """The warped input image (H, W, 3) BGR and its matrix M (3, 3), cells from base-frame rays."""
    full = input_from_full(view, warp, params)
    image = cv2.warpPerspective(
        view.image,
        full @ np.linalg.inv(view.image_from_full),
        (params.input_width, params.input_height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(image, np.uint8), CELL_FROM_INPUT @ full @ view.matrix @ view.camera_from_base


def recolour(image: Image, rng: np.random.Generator, params: TrainingParameters) -> Image:
    """Random brightness, contrast, gamma, channel gains, saturation, blur, noise and cut-outs."""
    strength = params.photometric
    if strength > 0:
        gain = np.exp(rng.normal(0, 0.12 * strength, 3) + rng.normal(0, 0.18 * strength))
        gamma = np.exp(rng.normal(0, 0.15 * strength))
        offset = rng.normal(0, 10 * strength)
        ramp = (np.arange(256) / 255.0) ** gamma * 255.0
        table = np.clip((ramp - 128)[:, None] * gain + 128 + offset, 0, 255).astype(np.uint8)
        image = np.asarray(cv2.LUT(image, table[:, None, :].reshape(1, 256, 3)), np.uint8)
        if rng.random() < 0.5:
            grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
            keep = float(np.clip(1 + rng.normal(0, 0.3 * strength), 0.2, 1.8))
            image = np.asarray(cv2.addWeighted(image, keep, grey, 1 - keep, 0), np.uint8)
        if rng.random() < 0.3:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.2)), np.uint8)
        if rng.random() < 0.5:
            spread = rng.uniform(1, 8 * strength)
            noise = rng.normal(0, spread, image.shape).astype(np.int16)
            image = np.clip(image.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    if rng.random() < params.cutout:
        image = _cut_out(image.copy(), rng)
    return image


def _cut_out(image: Image, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        h, w = (int(size * rng.uniform(0.06, 0.25)) for size in (height, width))
        top, left = int(rng.integers(0, height - h)), int(rng.integers(0, width - w))
        if rng.random() < 0.5:  # a piece of the same image: textured, unlike a flat patch
            y, x = int(rng.integers(0, height - h)), int(rng.integers(0, width - w))
            image[top : top + h, left : left + w] = image[y : y + h, x : x + w].copy()
        else:
            image[top : top + h, left : left + w] = rng.integers(0, 256, 3)
    return image


@dataclasses.dataclass(frozen=True)
class Batch:
    """Views of S samples: ``images`` (S, C, 3, H, W) RGB, their cameras, ``mirrored`` (S, C)."""

    images: torch.Tensor
    cameras: VirtualCameras
    mirrored: torch.Tensor


def make_batch(
    samples: list[list[View]],
    params: TrainingParameters,
    rng: np.random.Generator | None,
    turns: tuple[float, ...] = (0.0,),
) -> Batch:
    """Renders the views of samples.

    Args:
        samples: the views of each sample.
        params: sizes and augmentation ranges.
        rng: None renders plain views, for the teacher and for inference.
        turns: in-plane rotations, rad; each view is rendered once a turn (plain views only), so the
            result has C * len(turns) virtual cameras, turns slowest.
    """
    images, matrices, centres, mirrored = [], [], [], []
    for views in samples:
        for turn in turns:
            for view in views:
                warp = Warp(turn_rad=turn) if rng is None else random_warp(rng, params)
                image, matrix = render(view, warp, params)
                if rng is not None and params.augment:
                    image = recolour(image, rng, params)
                images.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
                matrices.append(matrix)
                centres.append(view.centre)
                mirrored.append(warp.mirror)
    shape = (len(samples), -1)
    stack = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    cameras = VirtualCameras(
        torch.from_numpy(np.stack(matrices)).float().view(*shape, 3, 3),
        torch.from_numpy(np.stack(centres)).float().view(*shape, 3),
    )
    return Batch(stack.view(*shape, *stack.shape[1:]), cameras, torch.tensor(mirrored).view(shape))
