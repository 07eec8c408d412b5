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

from s3k_ros.errors import DeviceUnavailableError
from s3k_ros.params.perception import DetectorParameters
from s3k_ros.perception import decoding
from s3k_ros.perception.description import ModelDescription, StageDescription
from s3k_ros.perception.model_file import KeypointModel
from s3k_ros.perception.object_crop import object_regions
from s3k_ros.perception.parity import ParityCheck
from s3k_ros.perception.regions import Region
from s3k_ros.perception.workers import Workers

Array = NDArray[np.float64]
FloatArray = NDArray[np.float32]
Image = NDArray[np.uint8]

# An image smaller than this shows no object.
_MIN_SIDE_PX = 32


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
        self._parity = ParityCheck()

    @classmethod
    def load(
        cls, path: str, params: DetectorParameters | None = None, keypoints: Sequence[str] = ()
    ) -> KeypointDetector:
        """Loads the model file and checks its keypoints against the configured ones, if any.

        Raises:
            ConfigurationError: the file or its keypoints are not what they should be.
        """
        model = KeypointModel.load(path, params)
        if keypoints:
            model.check_keypoints(keypoints)
        return cls(model)

    @property
    def timings(self) -> StageTimings:
        """Durations of the last call's stages."""
        return self._timings

    def detect(
        self, images: Sequence[Image | None], wholes: Sequence[Region | None] = ()
    ) -> list[ViewKeypoints | None]:
        """Keypoints in every view.

        Args:
            images: BGR images (H, W, 3), sizes may differ; None where there is none.
            wholes: for images that show a part of the sensor: the whole sensor's image, in px of
                the image, so that the object is as large for the network as in training. None, or
                none at all: the image is whole.

        Returns:
            One entry an image; None where `image_status` says that the image cannot be used.
        """
        views = self.detect_peaks(images, wholes=wholes)
        return [None if view is None else view.select() for view in views]

    def detect_peaks(
        self,
        images: Sequence[Image | None],
        count: int = 2,
        wholes: Sequence[Region | None] = (),
    ) -> list[ViewPeaks | None]:
        """As `detect`, with ``count`` (at least 2) candidates a keypoint."""
        good = [i for i, image in enumerate(images) if image_status(image) == ViewStatus.OK]
        result: list[ViewPeaks | None] = [None] * len(images)
        if not good:
            self._timings = StageTimings()
            return result
        usable = [np.asarray(images[i]) for i in good]
        known = dict(enumerate(wholes))
        frames = [
            known.get(i) or Region.whole(image.shape[1], image.shape[0])
            for i, image in zip(good, usable, strict=True)
        ]
        for i, view in zip(good, self._detect_on_device(usable, frames, count), strict=True):
            result[i] = view
        return result

    def _detect_on_device(
        self, images: list[Image], whole: list[Region], count: int
    ) -> list[ViewPeaks]:
        """On the model's device; on the CPU when that fails or finds something else."""
        reference = self.model.reference
        if reference is None:
            return self._detect(self.model, images, whole, count)
        try:
            views = self._detect(self.model, images, whole, count)
        except DeviceUnavailableError as error:
            self.model = self.model.on_the_cpu(str(error))
            return self._detect(self.model, images, whole, count)
        chosen = [view.select() for view in views]
        if self._parity.wants(chosen):
            timings = self._timings
            expected = self._detect(reference, images, whole, count)
            self._timings = timings
            self._parity.compare(chosen, [view.select() for view in expected])
            if self._parity.fault:
                text = f"{self.model.provider} in {self.model.precision}: {self._parity.fault}"
                self.model = self.model.on_the_cpu(text)
                return expected
        return views

    def _detect(
        self, model: KeypointModel, images: list[Image], whole: list[Region], count: int
    ) -> list[ViewPeaks]:
        description, workers = model.description, model.workers
        marks = [self._clock()]

        def timed(value: Any) -> Any:
            marks.append(self._clock())
            return value

        batch = timed(network_input(images, whole, description.coarse, workers))
        logits = timed(model.coarse(batch))
        widths = [region.width for region in whole]
        if description.crop is None or model.crop is None:
            views: list[ViewPeaks] = timed(decode_maps(logits, whole, widths, description, count))
            prepare, coarse, decode = (float(step) for step in np.diff(marks))
            self._timings = StageTimings(prepare, coarse, 0.0, decode)
            return views
        regions = timed(object_regions(logits, whole, description))
        batch = timed(network_input(images, regions, description.crop, workers))
        logits = timed(model.crop(batch))
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
    images: Sequence[Image],
    regions: Sequence[Region],
    stage: StageDescription,
    workers: Workers | None = None,
) -> FloatArray:
    """Regions of BGR images as one batch (N, 3, h, w), float32 RGB in 0..255."""
    batch = np.empty((len(images), 3, *stage.input_size), np.float32)

    def fill(view: int) -> None:
        resized = regions[view].cut(images[view], stage.input_size)
        batch[view] = resized[..., ::-1].transpose(2, 0, 1)

    (workers or Workers()).map(fill, range(len(images)))
    return batch


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
        image_widths: widths of the N full-resolution images (of whole sensors), px.
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
