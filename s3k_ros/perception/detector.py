"""Keypoints in single images: the coarse network on whole views, then one object crop a view.

A model without a crop stage reads the positions from the coarse maps.
"""

from __future__ import annotations

import dataclasses
import enum
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s3k_ros.params.perception import DetectorParameters
from s3k_ros.perception import decoding
from s3k_ros.perception.description import ModelDescription, StageDescription
from s3k_ros.perception.model_file import KeypointModel
from s3k_ros.perception.regions import Region

Array = NDArray[np.float64]
FloatArray = NDArray[np.float32]
Image = NDArray[np.uint8]

# An image smaller than this shows no object.
_MIN_SIDE_PX = 32
# Keypoints further than this from their median, in crop sides, do not move the crop.
_NEAR = 0.75


class ViewStatus(enum.IntEnum):
    """Whether a view's image could be used; the values of Keypoint2DArray.status."""

    OK = 0
    NO_IMAGE = 1
    BAD_IMAGE = 2


def image_status(image: Any) -> ViewStatus:
    """Judges an image: uint8 BGR (H, W, 3) of at least 32 x 32 px is OK, None is NO_IMAGE."""
    if image is None:
        return ViewStatus.NO_IMAGE
    good = (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.ndim == 3
        and image.shape[2] == 3
        and min(image.shape[:2]) >= _MIN_SIDE_PX
    )
    return ViewStatus.OK if good else ViewStatus.BAD_IMAGE


@dataclasses.dataclass(frozen=True, eq=False)
class ViewKeypoints:
    """K keypoints in one image; whatever was not found is NaN with confidence 0.

    Attributes:
        pixels: (K, 2) u, v, full-resolution px.
        covariances: (K, 2, 2) of the pixels' errors, px^2.
        confidences: (K,) calibrated probabilities of no gross error.
        weights: (K,) detection weights of Eq. 2, or None when nobody knows them.
    """

    pixels: Array
    covariances: Array
    confidences: Array
    weights: Array | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class ViewPeaks:
    """Up to P candidates a keypoint in one image, the one with the most mass first.

    Attributes:
        pixels: (K, P, 2) u, v, full-resolution px.
        covariances: (K, P, 2, 2) of the pixels' errors, px^2.
        confidences: (K, P) calibrated probabilities of no gross error.
        masses: (K, P) probability mass of each peak.
        weights: (K,) detection weights of Eq. 2.
        features: (K, P, F) what the confidence is made of, for its calibration.
        excess: (K, P, 2, 2) px^2, what the spread gain multiplies, for its calibration.
        region: what the last stage saw: the object crop, or the whole view.
    """

    pixels: Array
    covariances: Array
    confidences: Array
    masses: Array
    weights: Array
    features: Array
    excess: Array
    region: Region

    def select(self, peak: NDArray[np.int_] | None = None) -> ViewKeypoints:
        """One peak a keypoint: ``peak`` (K,), the first by default."""
        rows = np.arange(len(self.pixels))
        peak = np.zeros(len(rows), int) if peak is None else peak
        return ViewKeypoints(
            self.pixels[rows, peak],
            self.covariances[rows, peak],
            self.confidences[rows, peak],
            self.weights,
        )


@dataclasses.dataclass(frozen=True)
class StageTimings:
    """Wall-clock durations of one call, seconds."""

    prepare_s: float = 0.0
    """Resizing whole views and crops."""
    coarse_s: float = 0.0
    crop_s: float = 0.0
    decode_s: float = 0.0

    @property
    def total_s(self) -> float:
        """Sum of the stages."""
        return self.prepare_s + self.coarse_s + self.crop_s + self.decode_s


class KeypointDetector:
    """Finds the keypoints of a model in the views of one set.

    Args:
        model: the loaded model.
        clock: monotonic wall clock in seconds, for `timings`.
    """

    def __init__(
        self, model: KeypointModel, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Takes a model that is loaded and checked."""
        self.model = model
        self._clock = clock
        self._timings = StageTimings()

    @classmethod
    def load(
        cls, path: str, params: DetectorParameters | None = None, keypoints: Sequence[str] = ()
    ) -> KeypointDetector:
        """Loads the model file and checks its keypoints against the configured ones, if any.

        Raises:
            ConfigurationError: the file or its keypoints are not what they should be.
        """
        params = params or DetectorParameters()
        model = KeypointModel.load(path, params.threads, params.provider)
        if keypoints:
            model.check_keypoints(keypoints)
        return cls(model)

    @property
    def timings(self) -> StageTimings:
        """Durations of the last call's stages."""
        return self._timings

    def detect(self, images: Sequence[Image | None]) -> list[ViewKeypoints | None]:
        """Keypoints in every view.

        Args:
            images: BGR images (H, W, 3), sizes may differ; None where there is none.

        Returns:
            One entry an image; None where `image_status` says that the image cannot be used.
        """
        return [None if view is None else view.select() for view in self.detect_peaks(images)]

    def detect_peaks(
        self, images: Sequence[Image | None], count: int = 2
    ) -> list[ViewPeaks | None]:
        """As `detect`, with ``count`` (at least 2) candidates a keypoint."""
        good = [i for i, image in enumerate(images) if image_status(image) == ViewStatus.OK]
        result: list[ViewPeaks | None] = [None] * len(images)
        self._timings = StageTimings()
        if not good:
            return result
        usable = [image for image in images if image_status(image) == ViewStatus.OK]
        for i, view in zip(good, self._detect([np.asarray(x) for x in usable], count), strict=True):
            result[i] = view
        return result

    def _detect(self, images: list[Image], count: int) -> list[ViewPeaks]:
        description = self.model.description
        marks = [self._clock()]

        def timed(value: Any) -> Any:
            marks.append(self._clock())
            return value

        whole = [Region.whole(image.shape[1], image.shape[0]) for image in images]
        batch = timed(network_input(images, whole, description.coarse))
        logits = timed(self.model.coarse(batch))
        widths = [image.shape[1] for image in images]
        if description.crop is None or self.model.crop is None:
            views: list[ViewPeaks] = timed(decode_maps(logits, whole, widths, description, count))
            prepare, coarse, decode = (float(step) for step in np.diff(marks))
            self._timings = StageTimings(prepare, coarse, 0.0, decode)
            return views
        regions = timed(object_regions(logits, whole, description))
        batch = timed(network_input(images, regions, description.crop))
        logits = timed(self.model.crop(batch))
        views = timed(decode_maps(logits, regions, widths, description, count))
        steps = np.diff(marks)
        self._timings = StageTimings(
            prepare_s=float(steps[0] + steps[3]),
            coarse_s=float(steps[1]),
            crop_s=float(steps[4]),
            decode_s=float(steps[2] + steps[5]),
        )
        return views


def network_input(
    images: Sequence[Image], regions: Sequence[Region], stage: StageDescription
) -> FloatArray:
    """Regions of BGR images as one batch (N, 3, h, w), float32 RGB in 0..255."""
    batch = np.empty((len(images), 3, *stage.input_size), np.float32)
    for target, image, region in zip(batch, images, regions, strict=True):
        resized = region.cut(image, stage.input_size)
        for channel in range(3):
            target[channel] = resized[..., 2 - channel]
    return batch


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
        pixels = view.to_image(position, stage.grid_size)
        regions.append(object_region(pixels, weight, view.width, view.height, description))
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


def decode_maps(
    logits: FloatArray,
    regions: Sequence[Region],
    image_widths: Sequence[int],
    description: ModelDescription,
    count: int = 2,
) -> list[ViewPeaks]:
    """The last stage's maps (N, K, h, w) to candidates in full-resolution pixels.

    Args:
        logits: of N regions.
        regions: what each map shows of its full-resolution image.
        image_widths: widths of the N full-resolution images, px.
        description: the model's.
        count: candidates a keypoint, at least 2.
    """
    stage = description.last
    window = description.window_px
    peaks = decoding.find_peaks(decoding.softmax(logits), window, max(count, 2))
    excess = decoding.excess_covariance(peaks.covariances, stage.sigma_px, window)
    features = decoding.confidence_features(peaks, stage.sigma_px)
    confidences = decoding.confidence(features, description)
    weights = decoding.whole_map_weights(peaks.spread, stage.sigma_px, description)
    views = []
    for i, (region, width) in enumerate(zip(regions, image_widths, strict=True)):
        cell = region.cell_size(stage.grid_size)
        excess_px = excess[i] * np.outer(cell, cell)
        views.append(
            ViewPeaks(
                pixels=region.to_image(peaks.positions[i], stage.grid_size),
                covariances=decoding.error_covariances(excess_px, width, description),
                confidences=confidences[i],
                masses=peaks.masses[i],
                weights=weights[i],
                features=features[i],
                excess=excess_px,
                region=region,
            )
        )
    return views
