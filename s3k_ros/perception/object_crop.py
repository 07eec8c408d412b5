"""Where the object lies in a view: the square that the crop stage sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from s3k_ros.perception import decoding
from s3k_ros.perception.description import ModelDescription
from s3k_ros.perception.regions import Region

Array = NDArray[np.float64]
FloatArray = NDArray[np.float32]

# Keypoints further than this from their median, in crop sides, do not move the crop.
_NEAR = 0.75


def object_regions(
    coarse_logits: FloatArray, whole: Sequence[Region], description: ModelDescription
) -> list[Region]:
    """The square object crop of every view, from the coarse maps (N, K, h, w).

    Its centre is the mean of the coarse keypoints, weighted by how sure each one is, without those
    far from their median, so that a keypoint that is confused does not drag it away.
    """
    stage = description.coarse
    peaks = decoding.find_peaks(decoding.softmax(coarse_logits), description.window_px)
    sure = decoding.whole_map_weights(peaks.spread, stage.sigma_px, description)
    weights = np.nan_to_num(sure * peaks.masses[..., 0])
    positions = peaks.positions[..., 0, :]
    regions = []
    for position, weight, view in zip(positions, weights, whole, strict=True):
        corner = np.array([view.x, view.y])
        pixels = view.to_image(position, stage.grid_size) - corner
        region = object_region(pixels, weight, view.width, view.height, description)
        regions.append(dataclasses.replace(region, x=region.x + view.x, y=region.y + view.y))
    return regions


def object_region(
    pixels: Array, weights: Array, width: int, height: int, description: ModelDescription
) -> Region:
    """The object crop around keypoints (K, 2) with weights (K,) in an image of this size, px.

    Keypoints that are not finite do not count; without any, the crop is in the image's middle.
    """
    side = round((description.last.crop_fraction or 1.0) * width)
    known = np.isfinite(pixels).all(axis=-1)
    if known.any():
        weights = weights[known] if weights[known].sum() > 0 else np.ones(int(known.sum()))
        pixels = pixels[known]
        middle = [_weighted_median(pixels[:, axis], weights) for axis in range(2)]
        # The mean of those near the median: where most keypoints sit at one end of a long object,
        # a crop around the median alone would lose the other end.
        near = np.linalg.norm(pixels - middle, axis=1) < _NEAR * side
        near |= not (weights * near).any()
        centre = np.average(pixels[near], axis=0, weights=weights[near])
    else:
        centre = np.array([0.5 * (width - 1), 0.5 * (height - 1)])
    return Region.square(centre, side, width, height)


def _weighted_median(values: Array, weights: Array) -> float:
    """The middle of the weight, interpolated, so that two equal weights give their mean."""
    order = np.argsort(values)
    values, weights = values[order], weights[order]
    middles = np.cumsum(weights) - 0.5 * weights
    return float(np.interp(0.5 * weights.sum(), middles, values))
