"""What a training run draws its batches from: labelled and unlabelled views in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.camera import Camera
from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.augmentation import make_batch
from s3k_ros.training.checkpoint import Checkpoint
from s3k_ros.training.dataset import Dataset, Image
from s3k_ros.training.network import KeypointNetwork
from s3k_ros.training.shape_prior import ShapePrior
from s3k_ros.training.teacher import propose
from s3k_ros.training.views import View, labelled_points, load, whole_views, window_views

Array = npt.NDArray[np.float64]
Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Sources:
    """Views of the labelled samples with their points (N, K, 3), and of the unlabelled ones."""

    labelled: list[list[View]]
    points: Array
    unlabelled: list[list[View]]
    unlabelled_samples: list[int]


def use_bf16(params: TrainingParameters) -> bool:
    """Whether convolutions run in bfloat16."""
    return params.precision != "fp32"


def softmax_maps(network: KeypointNetwork, images: torch.Tensor, bf16: bool) -> torch.Tensor:
    """Probability maps (S, V, K, H, W) of images (S, V, 3, H, W), without gradient."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        batch = images.flatten(0, 1).to(memory_format=torch.channels_last)
        logits = network(batch).float()
    maps = torch.softmax(logits.flatten(2), -1).view(logits.shape)
    return maps.view(*images.shape[:2], *maps.shape[1:])


def collect(
    dataset: Dataset, params: TrainingParameters, coarse: Checkpoint | None, say: Say
) -> Sources:
    """Loads the views of a run; the crop stage needs the coarse network to find the object.

    Raises:
        ConfigurationError: no labelled sample, or a crop stage without a coarse checkpoint.
    """
    torch.set_num_threads(params.threads)
    chosen = [int(i) for i in np.flatnonzero(dataset.labelled)]
    if not chosen:
        raise ConfigurationError(f"{dataset.folder}: no labelled sample")
    if params.stage == "crop" and coarse is None:
        raise ConfigurationError("the crop stage needs --coarse, a checkpoint of the coarse stage")
    points = np.stack([labelled_points(dataset, i) for i in chosen])
    centres = {i: np.nanmean(p, axis=0) for i, p in zip(chosen, points, strict=True)}

    def labelled(sample: int, images: list[Image], cameras: list[Camera]) -> list[View] | None:
        if params.stage == "crop":
            return window_views(images, cameras, centres[sample], params)
        return whole_views(images, cameras, params)

    locate = _locator(coarse, points) if coarse is not None else None

    def unlabelled(sample: int, images: list[Image], cameras: list[Camera]) -> list[View] | None:
        if params.stage == "coarse" or locate is None:
            return whole_views(images, cameras, params)
        centre = locate(images, cameras)
        return None if centre is None else window_views(images, cameras, centre, params)

    rest = [int(i) for i in np.flatnonzero(~dataset.labelled)] if params.unlabelled_samples else []
    known = [views for _, views in load(dataset, chosen, labelled, 1)]
    found: list[list[View]] = []
    samples: list[int] = []
    for sample, views in load(dataset, rest, unlabelled, params.threads):
        found.append(views)
        samples.append(sample)
        if len(found) % 200 == 0:
            say(f"loaded {len(found)} of {len(rest)} unlabelled samples")
    say(f"{len(known)} labelled and {len(found)} unlabelled samples of {len(rest)} in memory")
    return Sources(known, points, found, samples)


def _locator(
    coarse: Checkpoint, points: Array
) -> Callable[[list[Image], list[Camera]], Array | None]:
    """The object's centre (3,) from a coarse network, None where the views do not agree."""
    network = coarse.network()
    params = coarse.params
    prior = ShapePrior.from_points(points, 2 * params.shape_tolerance_m)

    def locate(images: list[Image], cameras: list[Camera]) -> Array | None:
        batch = make_batch([whole_views(images, cameras, params)], params, None)
        maps = softmax_maps(network, batch.images, use_bf16(params))
        proposal = propose(maps, batch.cameras, prior, params)
        accepted = proposal.weight[0] > 0
        if int(accepted.sum()) < 2:
            return None
        return np.asarray(proposal.points[0][accepted].mean(0).numpy(), float)

    return locate
