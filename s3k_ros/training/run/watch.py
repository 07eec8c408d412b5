"""The guards' view of a run: estimates of the averaged network on plain views of fixed samples."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.inputs.augmentation import Batch, Renderer
from s3k_ros.training.inputs.sources import Sources
from s3k_ros.training.method.shape_prior import ShapePrior
from s3k_ros.training.method.teacher import pseudo_labels
from s3k_ros.training.run.guards import GuardReport, inspect
from s3k_ros.training.run.inference import Autocast, softmax_maps

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]

_CHUNK = 8
_LABELLED = 64
"""At most so many labelled samples are looked at."""
_PICTURES = 2
"""Samples of each kind that are drawn."""


@dataclasses.dataclass(frozen=True)
class Look:
    """What was seen: the guards' report, and pictures (H, W, 3) RGB by name."""

    report: GuardReport
    pictures: dict[str, Image]


class Watch:
    """Looks at a network from time to time.

    Args:
        sources: views and points.
        names: of the keypoints.
        params: of the run.
        prior: the labelled shape.
        autocast: makes the context that networks run in.
        device: of the networks.
    """

    def __init__(
        self,
        sources: Sources,
        names: list[str],
        params: TrainingParameters,
        prior: ShapePrior,
        autocast: Autocast,
        device: torch.device,
    ) -> None:
        self._sources, self._names, self._params, self._prior = sources, names, params, prior
        self._autocast, self._renderer = autocast, Renderer(params, device)
        self._known = _spread_out(len(sources.labelled), _LABELLED)
        self._unknown = _spread_out(len(sources.unlabelled), params.guard_samples)
        # The shape must not mend the estimates that are held against it.
        self._reading = dataclasses.replace(params, gate=True, shape="none")

    def look(self, network: nn.Module) -> Look:
        """Asks the guards about a network in evaluation mode."""
        sources, pictures = self._sources, dict[str, Image]()
        known = self._estimate(network, sources.labelled[self._known], "labelled", pictures)
        unknown = self._estimate(network, sources.unlabelled[self._unknown], "unlabelled", pictures)
        report = inspect(
            self._names, sources.points[self._known], known, unknown, self._prior, self._params
        )
        return Look(report, pictures)

    def _estimate(
        self, network: nn.Module, places: npt.NDArray[np.int_], kind: str, into: dict[str, Image]
    ) -> Array:
        """Points (N, K, 3) m, NaN where refused, of samples at these places."""
        found = [np.empty((0, len(self._names), 3))]
        for start in range(0, len(places), _CHUNK):
            kept, views = self._renderer.fetch(self._sources.views, places[start : start + _CHUNK])
            batch = self._renderer.plain(kept, views)
            maps = softmax_maps(network, batch.images, self._autocast)
            points = pseudo_labels(maps, batch.cameras, None, self._reading).points
            found.append(points.double().cpu().numpy())
            if start == 0:
                stride = self._params.heatmap_stride
                into[kind] = drawn(batch, points, stride, _PICTURES)
        return np.concatenate(found)


def _spread_out(total: int, most: int) -> npt.NDArray[np.int_]:
    """At most ``most`` of ``total`` rows, evenly spread."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(int))


def drawn(batch: Batch, points: torch.Tensor, stride: int, most: int) -> Image:
    """The first samples' views, one row a sample, with crosses at the projected points."""
    count = min(most, len(points))
    safe = torch.nan_to_num(points[:count], nan=1e6)
    part = dataclasses.replace(
        batch.cameras, matrix=batch.cameras.matrix[:count], centre=batch.cameras.centre[:count]
    )
    cells, front = (value.cpu().numpy() for value in part.project(safe))
    known = front & np.isfinite(points[:count, None].sum(-1).cpu().numpy())
    images = batch.images[:count].clamp(0, 255).byte().permute(0, 1, 3, 4, 2).cpu().numpy()
    rows = []
    for sample in range(count):
        row = [np.ascontiguousarray(view) for view in images[sample]]
        for view, image in enumerate(row):
            for number in np.flatnonzero(known[sample, view]):
                place = cells[sample, view, number] * stride + (stride - 1) / 2
                if np.abs(place).max() < 1e4:
                    u, v = (round(float(x)) for x in place)
                    colour = _colour(int(number), cells.shape[2])
                    cv2.drawMarker(image, (u, v), colour, cv2.MARKER_CROSS, 9, 1)
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows, axis=0)


def _colour(number: int, total: int) -> tuple[int, int, int]:
    hsv = np.uint8([[[round(179 * number / max(1, total)), 255, 255]]])
    r, g, b = (int(c) for c in cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0])
    return r, g, b
