"""The dataset folder: images, calibration, clicks and, for evaluation alone, ground truth.

A sample is one synchronised set of images of a calibrated rig. The folder holds::

    dataset.json     format, object_id, keypoints, cameras, image_format, info (command, seed, ...)
    images/<sample:06d>_<camera>.<jpg|png>
    samples.parquet  sample, seed, labelled, segment, object
    cameras.parquet  sample, camera, intrinsics, distortion, pose of the camera in the base frame
    labels.parquet   sample, camera, keypoint, u, v       clicks; no row: no click
    truth.parquet    sample, keypoint, x, y, z            read by evaluation, never by training

A segment is one recording or arrangement. Format 1 had JPEG images alone and no column ``object``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.training.dataset import tables
from s3k_ros.training.dataset.format import FORMAT, HEAD, Fault, read_head
from s3k_ros.training.dataset.image_files import JPEG_QUALITY, Image, read_bytes, read_image
from s3k_ros.training.dataset.sample_files import image_path
from s3k_ros.training.dataset.writer import JOURNAL, DatasetWriter

__all__ = ["FORMAT", "JPEG_QUALITY", "Clicks", "Dataset", "DatasetWriter", "Image", "image_path"]

Array = npt.NDArray[np.float64]
Clicks = dict[tuple[str, str], tuple[float, float]]


class Dataset:
    """Reads a dataset folder; tables at once, images on demand.

    Nothing in the folder is executed, and no file outside it is read, not through links either.

    Attributes:
        folder: where it lies.
        format: version of the folder's format.
        object_id: the object, or the category when ``objects`` has several.
        keypoint_names, camera_names: in the order of all arrays.
        image_format: "jpg" or "png".
        info: free facts, for instance command, seed and commit.
        seeds, segments, objects: (N,) lists, by sample; the seed of a recorded set is its time, ns
            since 1970.
        labelled: (N,) bool, which samples have clicks.

    Raises:
        ConfigurationError: not a dataset, another format, or names that would leave the folder.
        DataError: a table with a missing column or a row that refers to nothing; the message names
            the sample and the field.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._root = self.folder.resolve()
        if not (self._root / HEAD).exists() and (self._root / JOURNAL).exists():
            raise ConfigurationError(
                f"{self.folder} is not finished: its writing was interrupted; start the same "
                "command again, or remove the folder"
            )
        head = read_head(self._root)
        self.format = head.format
        self.object_id = head.object_id
        self.keypoint_names = head.keypoints
        self.camera_names = head.cameras
        self.image_format = head.image_format
        self.info: dict[str, Any] = head.info
        self._head = head
        samples = tables.read_samples(self._root, head, self._refuse)
        assert samples is not None  # _refuse raises
        self.seeds: list[int] = samples["seed"]
        self.segments: list[int] = samples["segment"]
        self.objects: list[str] = samples["object"]
        self.labelled = np.array(samples["labelled"], bool)
        self._cameras = tables.read_cameras(self._root, head, len(self), self._refuse)
        self._labels = self._points("labels")
        tables.check_labelled(self.labelled, self._labels, self._refuse)
        self._truth: Array | None = None

    def __len__(self) -> int:
        return len(self.seeds)

    def images(self, sample: int) -> list[Image]:
        """The images of a sample, uint8 BGR (H, W, 3), in the order of ``camera_names``.

        Raises:
            DataError: an image that is missing, unreadable, outside the folder or of another size
                than calibrated; it was not decoded.
        """
        return [self.image(sample, camera) for camera in self.camera_names]

    def image(self, sample: int, camera: str) -> Image:
        """One image, uint8 BGR (H, W, 3); errors as of ``images``."""
        image: Image = self._image_file(read_image, sample, camera)
        return image

    def image_bytes(self, sample: int, camera: str) -> bytes:
        """The file of one image as it is; errors as of ``images``."""
        data: bytes = self._image_file(read_bytes, sample, camera)
        return data

    def cameras(self, sample: int) -> list[Camera]:
        """The cameras of a sample, in the order of ``camera_names``."""
        return [self._cameras[sample, name] for name in self.camera_names]

    def labels(self, sample: int) -> Array:
        """Clicks of a sample, (C, K, 2) px, NaN where absent."""
        return self._labels[sample]

    def clicks(self, sample: int) -> Clicks:
        """Clicks (u, v) of a sample by (camera, keypoint), px, as for `DatasetWriter.add`."""
        labels = self._labels[sample]
        return {
            (self.camera_names[c], self.keypoint_names[k]): (
                float(labels[c, k, 0]),
                float(labels[c, k, 1]),
            )
            for c, k in zip(*np.nonzero(np.isfinite(labels).all(axis=-1)), strict=True)
        }

    @property
    def has_truth(self) -> bool:
        """Whether the folder holds a table of true keypoints."""
        return (self._root / "truth.parquet").exists()

    def truth(self, sample: int) -> Array:
        """True keypoints of a sample, (K, 3) base frame, m, NaN where unknown. Evaluation only."""
        if self._truth is None:
            self._truth = self._points("truth")
        return self._truth[sample]

    def _points(self, name: str) -> Array:
        points = tables.read_points(self._root, self._head, len(self), name, self._refuse)
        points.flags.writeable = False
        return points

    def _image_file(self, read: Any, sample: int, camera: str) -> Any:
        calibrated = self._cameras[sample, camera]
        path = image_path(self._root, sample, camera, self.image_format)
        try:
            return read(self._root, path, calibrated.width, calibrated.height)
        except DataError as error:
            self._refuse(Fault(f"image {camera}", str(error), sample))

    def _refuse(self, fault: Fault) -> None:
        raise DataError(f"{self.folder}: {fault}")
