"""The views that training draws from: pixels on the device, with the geometry to warp them.

Lens distortion is removed on loading, so that every view is a pinhole view and a rotation of its
camera is an exact homography. The coarse stage keeps whole views at the network's size; the crop
stage keeps windows around the object, a little finer than the network's input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch

from s3k_ros.errors import DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.geometry.triangulation import triangulate
from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.dataset.reader import Dataset, Image

Array = npt.NDArray[np.float64]

WINDOW_MARGIN = 1.7
"""Side of a kept window over the crop's side: leaves room for rotation, zoom and shift."""

OVERSAMPLING = 1.25
"""Pixels of a kept window per pixel of the network's input, along a side, if there are as many."""

CLICK_PX = 1.5
"""Standard deviation of a click, per axis, at full resolution."""


@dataclasses.dataclass(frozen=True)
class Geometry:
    """What warping must know of views; arrays (..., *) of float64.

    Attributes:
        kept_from_full: (..., 3, 3) pixel of the kept image from full-resolution pinhole pixel.
        matrix: (..., 3, 3) K at full resolution, px.
        camera_from_base: (..., 3, 3) rotations.
        centre: (..., 3) camera centres, base frame, m.
        aim: (..., 2) full-resolution pixel that the network's input is centred on.
        size: (..., 2) full-resolution height and width, px.
    """

    kept_from_full: Array
    matrix: Array
    camera_from_base: Array
    centre: Array
    aim: Array
    size: Array

    def __getitem__(self, index: object) -> Geometry:
        """The chosen views."""
        return Geometry(**{k: v[index] for k, v in vars(self).items()})


@dataclasses.dataclass(frozen=True)
class ViewSet:
    """The views of N samples in C cameras.

    Attributes:
        pixels: uint8 (N, C, h, w, 3) RGB, on the device or memory-mapped.
        geometry: of the views (N, C).
        samples: the N indices in the dataset.
    """

    pixels: torch.Tensor
    geometry: Geometry
    samples: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def to(self, device: torch.device) -> ViewSet:
        """With the pixels on a device."""
        return dataclasses.replace(self, pixels=self.pixels.to(device))

    def choose(self, places: Sequence[int]) -> ViewSet:
        """The views at these places of the N; their pixels are copied."""
        index = torch.as_tensor(list(places), dtype=torch.long, device=self.pixels.device)
        return ViewSet(
            self.pixels.index_select(0, index),
            self.geometry[np.asarray(places, int)],
            tuple(self.samples[i] for i in places),
        )


def labelled_points(dataset: Dataset, sample: int) -> Array:
    """Triangulated clicks (K, 3), base frame, m; NaN with fewer than two clicked views.

    The clicks themselves are never a target: this point, reprojected into all cameras, is.
    """
    return triangulated_clicks(dataset, sample)[0]


def triangulated_clicks(dataset: Dataset, sample: int) -> tuple[Array, Array]:
    """Points (K, 3) m and covariances (K, 3, 3) m^2 of a sample's clicks, base frame."""
    clicks = dataset.labels(sample)
    seen = np.isfinite(clicks).all(-1)
    spread = np.broadcast_to(np.eye(2) * CLICK_PX**2, (*seen.shape, 2, 2)).copy()
    result = triangulate(dataset.cameras(sample), clicks, spread, seen.astype(float))
    points, covariances = np.array(result.points, float), np.array(result.covariances, float)
    points[seen.sum(0) < 2] = np.nan
    return points, covariances


def resize_matrix(size: tuple[int, int], target: tuple[int, int]) -> Array:
    """(3, 3) map of pixels under an area resize from ``size`` to ``target``, both (h, w)."""
    sy, sx = target[0] / size[0], target[1] / size[1]
    return np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]])


def pinhole_images(dataset: Dataset, sample: int) -> list[Image]:
    """The images of a sample, BGR, with lens distortion removed, K kept."""
    images = []
    for image, camera in zip(dataset.images(sample), dataset.cameras(sample), strict=True):
        if np.any(camera.distortion):
            image = cv2.undistort(image, np.array(camera.matrix), np.array(camera.distortion))
        images.append(np.asarray(image, np.uint8))
    return images


@dataclasses.dataclass(frozen=True)
class Frame:
    """The rectangle of a full-resolution image that is kept, and the size it is kept at.

    Attributes:
        left, top, width, height: whole pixels, inside the image.
        kept: (height, width) of the kept image, px.
    """

    left: int
    top: int
    width: int
    height: int
    kept: tuple[int, int]

    @property
    def kept_from_full(self) -> Array:
        """(3, 3) pixel of the kept image from full-resolution pixel."""
        shift = np.array([[1.0, 0, -self.left], [0, 1.0, -self.top], [0, 0, 1.0]])
        return resize_matrix((self.height, self.width), self.kept) @ shift

    def cut(self, image: Image) -> Image:
        """The kept image, uint8 RGB."""
        part = image[self.top : self.top + self.height, self.left : self.left + self.width]
        if part.shape[:2] != self.kept:
            shrunk = self.kept[0] <= part.shape[0] and self.kept[1] <= part.shape[1]
            how = cv2.INTER_AREA if shrunk else cv2.INTER_LINEAR
            part = np.asarray(cv2.resize(part, self.kept[::-1], interpolation=how), np.uint8)
        return np.ascontiguousarray(part[..., ::-1])


def kept_size(camera: Camera, params: TrainingParameters) -> tuple[int, int]:
    """(height, width) px at which views are kept; the first camera's size decides for all."""
    if params.stage == "coarse":
        return params.input_height, params.input_width
    span = _span(camera, params)
    side = params.crop_fraction * camera.width
    finest = max(params.input_height, params.input_width) / side
    scale = min(1.0, OVERSAMPLING * finest)
    return max(1, round(span[0] * scale)), max(1, round(span[1] * scale))


def _span(camera: Camera, params: TrainingParameters) -> tuple[int, int]:
    """Height and width of a window in full-resolution pixels: never larger than the image."""
    side = int(np.ceil(params.crop_fraction * camera.width * WINDOW_MARGIN))
    return min(side, camera.height), min(side, camera.width)


def frames(
    cameras: Sequence[Camera], params: TrainingParameters, centre: Array | None = None
) -> tuple[list[Frame], Array]:
    """What is kept of each view, and the pixels (C, 2) that the network's input aims at.

    Args:
        cameras: of one sample.
        params: of the stage.
        centre: (3,) the object's centre, base frame, m; the crop stage needs it.

    Raises:
        DataError: the object lies behind a camera.
    """
    kept = kept_size(cameras[0], params)
    if params.stage == "coarse":
        whole = [Frame(0, 0, camera.width, camera.height, kept) for camera in cameras]
        return whole, np.array([[(c.width - 1) / 2, (c.height - 1) / 2] for c in cameras])
    if centre is None:
        raise DataError("the crop stage needs the object's centre")
    windows, aims = [], []
    for camera in cameras:
        aim = camera.project(centre[None])[0]
        if not np.isfinite(aim).all():
            raise DataError(f"camera {camera.name!r}: the object lies behind it")
        height, width = _span(camera, params)
        left = int(np.clip(round(aim[0] - (width - 1) / 2), 0, camera.width - width))
        top = int(np.clip(round(aim[1] - (height - 1) / 2), 0, camera.height - height))
        windows.append(Frame(left, top, width, height, kept))
        aims.append(aim)
    return windows, np.array(aims)


def geometry(cameras: Sequence[Camera], kept: Sequence[Frame], aims: Array) -> Geometry:
    """The geometry (C, ...) of one sample's views."""
    return Geometry(
        kept_from_full=np.stack([frame.kept_from_full for frame in kept]),
        matrix=np.stack([np.array(c.matrix, float) for c in cameras]),
        camera_from_base=np.stack([c.base_from_camera.rotation.T for c in cameras]),
        centre=np.stack([c.centre for c in cameras]),
        aim=np.asarray(aims, float),
        size=np.array([[c.height, c.width] for c in cameras], float),
    )


def stack_geometry(parts: Sequence[Geometry]) -> Geometry:
    """Samples' geometries (C, ...) stacked to (N, C, ...)."""
    names = [field.name for field in dataclasses.fields(Geometry)]
    return Geometry(**{name: np.stack([getattr(p, name) for p in parts]) for name in names})
