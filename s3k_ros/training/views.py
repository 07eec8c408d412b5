"""The views that training draws from: images in memory with the geometry to warp them.

Lens distortion is removed on loading, so that every view is a pinhole view and a rotation of its
camera is an exact homography. The coarse stage keeps whole views at the network's size; the crop
stage keeps square windows at full resolution around the object.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import numpy.typing as npt

from s3k_ros.errors import DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.geometry.triangulation import triangulate
from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.dataset import Dataset, Image

Array = npt.NDArray[np.float64]

WINDOW_MARGIN = 1.7
"""Side of a kept window over the crop's side: leaves room for rotation, zoom and shift."""

CLICK_PX = 1.5
"""Standard deviation of a click, per axis, at full resolution."""


@dataclasses.dataclass(frozen=True)
class View:
    """One image and its pinhole geometry.

    Attributes:
        image: uint8 BGR (h, w, 3), resized or cut from the full-resolution view.
        image_from_full: (3, 3) pixel of ``image`` from full-resolution pixel.
        matrix: (3, 3) K at full resolution, px.
        camera_from_base: (3, 3) rotation.
        centre: (3,) camera centre, base frame, m.
        aim: (2,) full-resolution pixel that a crop is centred on.
        size: full-resolution (height, width), px.
    """

    image: Image
    image_from_full: Array
    matrix: Array
    camera_from_base: Array
    centre: Array
    aim: Array
    size: tuple[int, int]


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


def shrink(image: Image, target: tuple[int, int]) -> Image:
    """Area resize to ``target`` (h, w)."""
    return np.asarray(cv2.resize(image, target[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def pinhole_images(dataset: Dataset, sample: int) -> list[Image]:
    """The images of a sample with lens distortion removed, K kept."""
    images = []
    for image, camera in zip(dataset.images(sample), dataset.cameras(sample), strict=True):
        if np.any(camera.distortion):
            image = cv2.undistort(image, np.array(camera.matrix), np.array(camera.distortion))
        images.append(np.asarray(image, np.uint8))
    return images


def _view(image: Image, image_from_full: Array, camera: Camera, aim: Array) -> View:
    return View(
        image=image,
        image_from_full=image_from_full,
        matrix=np.array(camera.matrix, float),
        camera_from_base=np.array(camera.base_from_camera.rotation, float).T,
        centre=np.array(camera.centre, float),
        aim=np.asarray(aim, float),
        size=(camera.height, camera.width),
    )


def whole_views(
    images: Sequence[Image], cameras: Sequence[Camera], params: TrainingParameters
) -> list[View]:
    """Whole views at the coarse network's size; they aim at the image's middle."""
    target = (params.input_height, params.input_width)
    views = []
    for image, camera in zip(images, cameras, strict=True):
        size = (camera.height, camera.width)
        middle = np.array([(camera.width - 1) / 2, (camera.height - 1) / 2])
        views.append(_view(shrink(image, target), resize_matrix(size, target), camera, middle))
    return views


def window_views(
    images: Sequence[Image], cameras: Sequence[Camera], centre: Array, params: TrainingParameters
) -> list[View]:
    """Full-resolution windows around the object's centre (3,), base frame, m."""
    views = []
    for image, camera in zip(images, cameras, strict=True):
        aim = camera.project(centre[None])[0]
        if not np.isfinite(aim).all():
            raise DataError(f"camera {camera.name!r}: the object lies behind it")
        side = int(np.ceil(params.crop_fraction * camera.width * WINDOW_MARGIN))
        corner = np.round(aim - side / 2).astype(int)
        matrix = np.array([[1.0, 0, -corner[0]], [0, 1.0, -corner[1]], [0, 0, 1.0]])
        views.append(_view(_cut(image, corner, side), matrix, camera, aim))
    return views


def _cut(image: Image, corner: npt.NDArray[np.int_], side: int) -> Image:
    """A square window; what lies outside the image repeats the nearest border pixel."""
    rows = np.clip(np.arange(corner[1], corner[1] + side), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(corner[0], corner[0] + side), 0, image.shape[1] - 1)
    return np.ascontiguousarray(image[rows][:, columns])


Located = tuple[list[Image], list[Camera]]


def load(
    dataset: Dataset,
    samples: Sequence[int],
    make: Callable[[int, list[Image], list[Camera]], list[View] | None],
    threads: int,
) -> Iterator[tuple[int, list[View]]]:
    """Decodes samples in parallel and turns each into views; samples without views are left out."""

    def one(sample: int) -> tuple[int, list[View] | None]:
        return sample, make(sample, pinhole_images(dataset, sample), dataset.cameras(sample))

    with ThreadPoolExecutor(threads) as pool:
        for sample, views in pool.map(one, samples):
            if views is not None:
                yield sample, views
