"""What a training run draws its batches from: labelled and unlabelled views, ready on the device.

Whole views depend on the dataset and the network's size alone, so they are cached in the dataset's
folder and shared. Windows of the crop stage depend on the run's own coarse network; they are cached
in the run's folder and live as long as the run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.dataset.reader import Dataset
from s3k_ros.training.inputs.augmentation import Renderer
from s3k_ros.training.inputs.cache import FOLDER, cached, dataset_digest, images_digest, key_of
from s3k_ros.training.inputs.views import (
    Frame,
    Geometry,
    ViewSet,
    frames,
    geometry,
    kept_size,
    labelled_points,
    pinhole_images,
    stack_geometry,
)
from s3k_ros.training.method.shape_prior import ShapePrior
from s3k_ros.training.method.teacher import pseudo_labels
from s3k_ros.training.run.checkpoint import Checkpoint
from s3k_ros.training.run.inference import Autocast, autocast_on, softmax_maps

Array = npt.NDArray[np.float64]
Say = Callable[[str], None]

_CHUNK = 8
"""Samples that the coarse network looks at together."""


@dataclasses.dataclass(frozen=True)
class Subset:
    """Samples of a dataset by index; None: all that are labelled, all others.

    A sample may be used as unlabelled although it has labels: they are not read then.
    """

    labelled: tuple[int, ...] | None = None
    unlabelled: tuple[int, ...] | None = None

    def resolved(self, dataset: Dataset) -> Subset:
        """With both lists spelled out.

        Raises:
            ConfigurationError: an index outside the dataset, one in both lists, one to be used as
                labelled without labels, or no labelled sample at all.
        """
        labelled = self.labelled
        if labelled is None:
            taken = set(self.unlabelled or ())
            labelled = tuple(int(i) for i in np.flatnonzero(dataset.labelled) if i not in taken)
        unlabelled = self.unlabelled
        if unlabelled is None:
            unlabelled = tuple(int(i) for i in np.flatnonzero(~dataset.labelled))
        for name, chosen in (("labelled", labelled), ("unlabelled", unlabelled)):
            wrong = [i for i in chosen if not 0 <= i < len(dataset)]
            if wrong:
                raise ConfigurationError(f"{name} sample {wrong[0]}: {dataset.folder} has none")
        both = sorted(set(labelled) & set(unlabelled))
        if both:
            raise ConfigurationError(f"sample {both[0]} is both labelled and unlabelled")
        blank = [i for i in labelled if not dataset.labelled[i]]
        if blank:
            raise ConfigurationError(f"sample {blank[0]} of {dataset.folder} has no labels")
        if not labelled:
            raise ConfigurationError(f"{dataset.folder}: no labelled sample")
        return Subset(labelled, unlabelled)


@dataclasses.dataclass(frozen=True)
class Sources:
    """Views of all samples in use.

    Attributes:
        views: of N samples.
        labelled: places among the N of the labelled ones.
        points: (L, K, 3) their triangulated clicks, base frame, m, NaN where unknown.
        unlabelled: places of the unlabelled ones.
    """

    views: ViewSet
    labelled: npt.NDArray[np.int_]
    points: Array
    unlabelled: npt.NDArray[np.int_]


def collect(
    dataset: Dataset,
    params: TrainingParameters,
    coarse: Checkpoint | None,
    out: Path,
    subset: Subset | None = None,
    device: torch.device | None = None,
    say: Say = print,
) -> Sources:
    """Loads the views of a run; the crop stage needs the coarse network to find the object.

    Args:
        dataset: to read.
        params: of the stage.
        coarse: the coarse stage's result.
        out: the run's folder, for caches that belong to it.
        subset: the samples to use.
        device: where the pixels shall be, if they fit; on the CPU they stay memory-mapped.
        say: where progress lines go.

    Raises:
        ConfigurationError: no labelled sample, or a crop stage without a coarse checkpoint.
    """
    device = device or torch.device("cpu")
    chosen = (subset or Subset()).resolved(dataset)
    labelled, unlabelled = chosen.labelled or (), chosen.unlabelled or ()
    if params.unlabelled_samples == 0:
        unlabelled = ()
    if params.stage == "crop" and coarse is None:
        raise ConfigurationError("the crop stage needs the coarse stage's checkpoint")
    points = np.stack([labelled_points(dataset, i) for i in labelled])
    if params.stage == "coarse":
        whole = whole_views(dataset, params, out, say)
        used = [*labelled, *unlabelled]
        if _fits(whole, len(used), device, say):
            whole = whole.choose(used).to(device)
            used = list(range(len(used)))
        split = np.split(np.array(used, int), [len(labelled)])
        return Sources(whole, split[0], points, split[1])
    assert coarse is not None
    centres = [np.nanmean(p, axis=0) for p in points]
    centres += list(_locate(dataset, unlabelled, coarse, points, out, device, say))
    known = [i for i, centre in enumerate(centres) if np.isfinite(centre).all()]
    samples = [*labelled, *unlabelled]
    windows = _windows(
        dataset, params, [samples[i] for i in known], [centres[i] for i in known], out, say
    )
    say(f"the object was found in {len(known)} of {len(samples)} samples")
    if _fits(windows, len(windows), device, say):
        windows = windows.to(device)
    return Sources(
        windows,
        np.array([i for i, k in enumerate(known) if k < len(labelled)], int),
        points[[k for k in known if k < len(labelled)]],
        np.array([i for i, k in enumerate(known) if k >= len(labelled)], int),
    )


def _fits(views: ViewSet, samples: int, device: torch.device, say: Say) -> bool:
    """Whether the pixels of so many samples shall lie on a GPU: half of its free memory at most."""
    if device.type != "cuda":
        return False
    free = torch.cuda.mem_get_info(device)[0]
    needed = views.pixels[0].nbytes * samples
    if needed > free / 2:
        say(f"{needed / 1e9:.1f} GB of views stay in main memory: the GPU has {free / 1e9:.1f} GB")
    return needed <= free / 2


def whole_views(
    dataset: Dataset, params: TrainingParameters, out: Path, say: Say = print
) -> ViewSet:
    """Whole views of every sample at the network's size, memory-mapped from the cache."""
    folder = dataset.folder / FOLDER
    if not os.access(folder if folder.exists() else dataset.folder, os.W_OK):
        folder = out / FOLDER
    facts = {"images": images_digest(dataset), "stage": "coarse"}
    return _kept(dataset, params, range(len(dataset)), None, folder, facts, say)


def _windows(
    dataset: Dataset,
    params: TrainingParameters,
    samples: Sequence[int],
    centres: Sequence[Array],
    out: Path,
    say: Say,
) -> ViewSet:
    """Windows around the object's centres (3,), base frame, m."""
    facts = {
        "images": images_digest(dataset),
        "stage": "crop",
        "crop_fraction": params.crop_fraction,
        "samples": list(samples),
        "centres": hashlib.sha256(np.stack(centres).tobytes()).hexdigest(),
    }
    return _kept(dataset, params, samples, centres, out / FOLDER, facts, say)


def _kept(
    dataset: Dataset,
    params: TrainingParameters,
    samples: Sequence[int],
    centres: Sequence[Array] | None,
    folder: Path,
    facts: dict[str, object],
    say: Say,
) -> ViewSet:
    height, width = kept_size(dataset.cameras(samples[0])[0], params)
    shape = (len(samples), len(dataset.camera_names), height, width, 3)
    kept: list[list[Frame]] = []
    parts: list[Geometry] = []
    for place, sample in enumerate(samples):
        cameras = dataset.cameras(sample)
        frame, aims = frames(cameras, params, None if centres is None else centres[place])
        kept.append(frame)
        parts.append(geometry(cameras, frame, aims))

    def fill(array: npt.NDArray[np.uint8]) -> None:
        def one(place: int) -> None:
            images = pinhole_images(dataset, samples[place])
            for view, (image, frame) in enumerate(zip(images, kept[place], strict=True)):
                array[place, view] = frame.cut(image)

        with ThreadPoolExecutor(params.threads) as pool:
            for done, _ in enumerate(pool.map(one, range(len(samples))), 1):
                if done % 200 == 0:
                    say(f"decoded {done} of {len(samples)} samples")

    pixels = cached(folder, key_of({**facts, "shape": shape}), shape, fill)
    return ViewSet(torch.from_numpy(pixels), stack_geometry(parts), tuple(samples))


def _locate(
    dataset: Dataset,
    samples: Sequence[int],
    coarse: Checkpoint,
    points: Array,
    out: Path,
    device: torch.device,
    say: Say,
) -> Array:
    """The object's centres (N, 3) from the coarse network, NaN where the views do not agree."""
    if not samples:
        return np.empty((0, 3))
    facts = {"what": "centres", "data": dataset_digest(dataset), "samples": list(samples)}
    shape = (len(samples), 3)
    key = key_of({**facts, "coarse": coarse.digest()})

    def fill(array: Array) -> None:
        params = coarse.params
        whole = whole_views(dataset, params, out, say)
        network = coarse.network().to(device)
        prior = ShapePrior.from_points(points, 2 * params.shape_tolerance_m)
        gated = dataclasses.replace(params, gate=True, shape="distances")
        renderer, autocast = Renderer(params, device), autocast_on(device, params)
        for start in range(0, len(samples), _CHUNK):
            places = np.array(samples[start : start + _CHUNK], int)
            array[start : start + _CHUNK] = _centres(
                network, renderer, whole, places, prior, gated, autocast
            )

    return cached(out / FOLDER, key, shape, fill, np.float64)


def _centres(
    network: torch.nn.Module,
    renderer: Renderer,
    whole: ViewSet,
    places: npt.NDArray[np.int_],
    prior: ShapePrior,
    params: TrainingParameters,
    autocast: Autocast,
) -> Array:
    batch = renderer.plain(*renderer.fetch(whole, places))
    maps = softmax_maps(network, batch.images, autocast)
    proposal = pseudo_labels(maps, batch.cameras, prior, params)
    found = proposal.points.double().cpu().numpy()
    accepted = (proposal.weight > 0).cpu().numpy()
    centres = np.full((len(places), 3), np.nan)
    for centre, point, good in zip(centres, found, accepted, strict=True):
        if good.sum() >= min(2, len(good)):
            centre[:] = point[good].mean(0)
    return centres
