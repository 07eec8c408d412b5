"""One sample on its way into a dataset: its images become files, all the rest one line of JSON.

Samples can be written in any order and by several processes; `DatasetWriter` puts the lines in
order. A sample whose line it does not have is none, whatever images there are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from s3k_ros.errors import DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.training.dataset.format import Head, check_name
from s3k_ros.training.dataset.image_files import Image, write_image
from s3k_ros.training.dataset.tables import camera_row

Array = npt.NDArray[np.float64]
Labels = Mapping[tuple[str, str], tuple[float, float]]
Rows = list[dict[str, Any]]


def image_path(folder: Path, sample: int, camera: str, image_format: str = "jpg") -> Path:
    """Path of one image; names are checked when the folder is opened, so it stays inside."""
    return folder / "images" / f"{sample:06d}_{camera}.{image_format}"


@dataclass(frozen=True)
class Entry:
    """A sample whose images are written.

    Attributes:
        sample: its index.
        segment: number of the recording or arrangement that it belongs to.
        line: JSON, the sample's rows by table.
    """

    sample: int
    segment: int
    line: str


@dataclass(frozen=True)
class SampleFiles:
    """Writes the images of samples of one dataset.

    Attributes:
        folder: of the dataset; it has a folder ``images``.
        head: what the dataset says of itself.
    """

    folder: Path
    head: Head

    def write(
        self,
        sample: int,
        images: Mapping[str, Image | bytes],
        cameras: Sequence[Camera],
        labels: Labels | None,
        truth: Array | None,
        seed: int,
        segment: int,
        object_name: str | None = None,
    ) -> Entry:
        """Checks a sample and writes its images; the arguments are those of `DatasetWriter.add`.

        Raises:
            DataError: something does not fit; nothing was written.
        """
        if [camera.name for camera in cameras] != self.head.cameras:
            names = self.head.cameras
            raise DataError(f"sample {sample}, cameras: must be exactly {names}, in this order")
        label_rows = self._label_rows(sample, labels or {})
        rows: dict[str, Rows] = {
            "samples": [
                {
                    "sample": sample,
                    "seed": int(seed),
                    "labelled": bool(label_rows),
                    "segment": int(segment),
                    "object": check_name("object_name", object_name or self.head.object_id),
                }
            ],
            "cameras": [camera_row(sample, camera) for camera in cameras],
            "labels": label_rows,
            "truth": self._truth_rows(sample, truth),
        }
        self._check_images(sample, images, cameras)
        for name, image in images.items():
            path = image_path(self.folder, sample, name, self.head.image_format)
            if isinstance(image, bytes):
                path.write_bytes(image)
            else:
                write_image(path, image)
        return Entry(sample, int(segment), json.dumps(rows))

    def _check_images(
        self, sample: int, images: Mapping[str, Image | bytes], cameras: Sequence[Camera]
    ) -> None:
        if set(images) != set(self.head.cameras):
            raise DataError(f"sample {sample}, images: must be exactly of {self.head.cameras}")
        for camera in cameras:
            image, shape = images[camera.name], (camera.height, camera.width, 3)
            if isinstance(image, bytes):
                continue
            if image.dtype != np.uint8 or image.shape != shape:
                raise DataError(
                    f"sample {sample}, image {camera.name}: {image.dtype} {image.shape}, must be "
                    f"uint8 {shape}"
                )

    def _label_rows(self, sample: int, labels: Labels) -> Rows:
        rows: Rows = [
            {"sample": sample, "camera": c, "keypoint": k, "u": float(u), "v": float(v)}
            for (c, k), (u, v) in labels.items()
        ]
        for row in rows:
            if row["camera"] not in self.head.cameras or row["keypoint"] not in self.head.keypoints:
                raise DataError(f"sample {sample}, label {row}: unknown camera or keypoint")
            if not (math.isfinite(row["u"]) and math.isfinite(row["v"])):
                raise DataError(f"sample {sample}, label {row}: must be finite")
        return rows

    def _truth_rows(self, sample: int, truth: Array | None) -> Rows:
        if truth is None:
            return []
        points = np.asarray(truth, float)
        if points.shape != (len(self.head.keypoints), 3):
            raise DataError(f"sample {sample}, truth: shape {points.shape} is wrong")
        return [
            {"sample": sample, "keypoint": name, "x": x, "y": y, "z": z}
            for name, (x, y, z) in zip(self.head.keypoints, points.tolist(), strict=True)
            if np.isfinite([x, y, z]).all()
        ]
