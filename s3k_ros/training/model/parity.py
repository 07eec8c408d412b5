"""How far the exported networks are from those of PyTorch, in pixels of the decoded keypoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from s3k_ros.errors import ConfigurationError
from s3k_ros.perception import decoding
from s3k_ros.perception.description import ModelDescription, StageDescription
from s3k_ros.perception.detector import network_input
from s3k_ros.perception.model_file import KeypointModel
from s3k_ros.perception.object_crop import object_regions
from s3k_ros.perception.regions import Region
from s3k_ros.training.method.network import KeypointNetwork

Image = NDArray[np.uint8]
FloatArray = NDArray[np.float32]

LIMIT_PX = 0.02
"""Largest distance of a confident keypoint, full-resolution px."""
_CONFIDENT_MASS = 0.5
_VIEWS = 8
"""Views a batch: activations of a few views fit into memory anywhere."""


@dataclasses.dataclass(frozen=True)
class Parity:
    """Largest distance between the keypoints of ONNX Runtime and of PyTorch.

    Attributes:
        px: by stage, full-resolution px; 0 without any confident keypoint.
        keypoints: by stage, how many confident keypoints were compared.
    """

    px: dict[str, float]
    keypoints: dict[str, int]

    def check(self) -> None:
        """Refuses an export that is not what was trained.

        Raises:
            ConfigurationError: a confident keypoint that is more than `LIMIT_PX` away.
        """
        for stage, distance in self.px.items():
            if not distance <= LIMIT_PX:
                raise ConfigurationError(
                    f"{stage}: exported keypoints differ from PyTorch by {distance:.3g} px, "
                    f"allowed: {LIMIT_PX}"
                )


def measure(
    model: KeypointModel, networks: Mapping[str, KeypointNetwork], images: Sequence[Image]
) -> Parity:
    """Compares every stage on the same inputs: whole views, and the exported model's own crops.

    Args:
        model: the exported model.
        networks: PyTorch networks by stage, for inference.
        images: BGR views (H, W, 3).
    """
    px = {stage: [0.0] for stage in networks}
    count = dict.fromkeys(networks, 0)
    for first in range(0, len(images), _VIEWS):
        part = list(images[first : first + _VIEWS])
        for stage, distances in _distances(model, networks, part).items():
            px[stage].extend(distances)
            count[stage] += len(distances)
    return Parity({stage: float(max(values)) for stage, values in px.items()}, count)


def _distances(
    model: KeypointModel, networks: Mapping[str, KeypointNetwork], images: list[Image]
) -> dict[str, list[float]]:
    description = model.description
    regions = [Region.whole(image.shape[1], image.shape[0]) for image in images]
    found = {}
    for name, stage in description.stages.items():
        batch = network_input(images, regions, stage)
        exported = (model.crop if name == "crop" and model.crop else model.coarse)(batch)
        with torch.no_grad():
            trained = networks[name](torch.from_numpy(batch)).numpy()
        found[name] = _compare(exported, trained, regions, stage, description)
        if name == "coarse" and description.crop is not None:
            regions = object_regions(exported, regions, description)
    return found


def _compare(
    exported: FloatArray,
    trained: FloatArray,
    regions: Sequence[Region],
    stage: StageDescription,
    description: ModelDescription,
) -> list[float]:
    """Distances in full-resolution px of the keypoints that both find confidently."""
    ours, theirs = (
        decoding.find_peaks(decoding.softmax(logits), description.window_px)
        for logits in (exported, trained)
    )
    cells = np.stack([region.cell_size(stage.grid_size) for region in regions])
    apart = (ours.positions[..., 0, :] - theirs.positions[..., 0, :]) * cells[:, np.newaxis]
    sure = np.minimum(ours.masses[..., 0], theirs.masses[..., 0]) > _CONFIDENT_MASS
    return [float(value) for value in np.linalg.norm(apart, axis=-1)[sure]]
