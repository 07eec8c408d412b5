"""The dataset folder: images, calibration, clicks and, for evaluation alone, ground truth.

A sample is one synchronised set of images of a calibrated rig. The folder holds::

    dataset.json     format, object_id, keypoints, cameras, info (command, seed, commit, ...)
    images/<sample:06d>_<camera>.jpg
    samples.parquet  sample, seed, labelled, segment
    cameras.parquet  sample, camera, intrinsics, distortion, pose of the camera in the base frame
    labels.parquet   sample, camera, keypoint, u, v       clicks; no row: no click
    truth.parquet    sample, keypoint, x, y, z            read by evaluation, never by training
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.geometry.se3 import Transform

FORMAT = 1
JPEG_QUALITY = 95
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]

_SCHEMAS = {
    "samples": pa.schema(
        [
            ("sample", pa.int64()),
            ("seed", pa.uint64()),
            ("labelled", pa.bool_()),
            ("segment", pa.int64()),
        ]
    ),
    "cameras": pa.schema(
        [("sample", pa.int64()), ("camera", pa.string()), ("width", pa.int64())]
        + [("height", pa.int64())]
        + [(name, pa.float64()) for name in ("fx", "fy", "cx", "cy")]
        + [("distortion_model", pa.string()), ("distortion", pa.list_(pa.float64()))]
        + [(name, pa.float64()) for name in ("qx", "qy", "qz", "qw", "tx", "ty", "tz")]
    ),
    "labels": pa.schema(
        [
            ("sample", pa.int64()),
            ("camera", pa.string()),
            ("keypoint", pa.string()),
            ("u", pa.float64()),
            ("v", pa.float64()),
        ]
    ),
    "truth": pa.schema(
        [("sample", pa.int64()), ("keypoint", pa.string())]
        + [(name, pa.float64()) for name in ("x", "y", "z")]
    ),
}


def image_path(folder: Path, sample: int, camera: str) -> Path:
    """Path of one image; names are checked when the folder is opened, so it stays inside."""
    return folder / "images" / f"{sample:06d}_{camera}.jpg"


class DatasetWriter:
    """Writes a dataset folder, one sample at a time; the tables appear on ``close``.

    Args:
        folder: new or empty folder.
        object_id: the object that the keypoints belong to.
        keypoints: keypoint names, in the order of the model's maps.
        cameras: camera names; letters, digits, ``_`` and ``-`` only, since they become file names.
        info: free facts for the record, for instance command, seed and commit.

    Raises:
        ConfigurationError: a bad name, or a folder that already holds a dataset.
    """

    def __init__(
        self,
        folder: Path | str,
        object_id: str,
        keypoints: Sequence[str],
        cameras: Sequence[str],
        info: Mapping[str, Any] | None = None,
    ) -> None:
        self._folder = Path(folder)
        self._head = {
            "format": FORMAT,
            "object_id": object_id,
            "keypoints": list(keypoints),
            "cameras": list(cameras),
            "info": dict(info or {}),
        }
        _check_names("cameras", self._head["cameras"])
        _check_names("keypoints", self._head["keypoints"])
        if (self._folder / "dataset.json").exists():
            raise ConfigurationError(f"{self._folder} already holds a dataset")
        (self._folder / "images").mkdir(parents=True, exist_ok=True)
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in _SCHEMAS}
        self._count = 0

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(
        self,
        images: Mapping[str, Image],
        cameras: Sequence[Camera],
        labels: Mapping[tuple[str, str], tuple[float, float]] | None,
        truth: Array | None,
        seed: int,
        segment: int = 0,
    ) -> int:
        """Adds one sample and returns its index.

        Args:
            images: uint8 BGR (H, W, 3) by camera name, one for every camera.
            cameras: the calibration of every camera, in the dataset's order.
            labels: clicks (u, v) in px by (camera, keypoint); None or empty: unlabelled.
            truth: (K, 3) true keypoints, base frame, m; NaN rows are left out; None: unknown.
            seed: the seed the scene was made from, for the record.
            segment: number of the recording or scene that the sample belongs to.

        Raises:
            DataError: a camera, image size or keypoint that does not fit; nothing was added.
        """
        sample, names = self._count, self._head["cameras"]
        if [camera.name for camera in cameras] != names or set(images) != set(names):
            raise DataError(f"sample {sample}, cameras: must be exactly {names}")
        for camera in cameras:
            shape = images[camera.name].shape
            if shape != (camera.height, camera.width, 3):
                raise DataError(f"sample {sample}, image {camera.name}: shape {shape} is wrong")
        label_rows = [
            {"sample": sample, "camera": c, "keypoint": k, "u": float(u), "v": float(v)}
            for (c, k), (u, v) in (labels or {}).items()
        ]
        for row in label_rows:
            if row["camera"] not in names or row["keypoint"] not in self._head["keypoints"]:
                raise DataError(f"sample {sample}, label {row}: unknown camera or keypoint")
        for camera in cameras:
            path = image_path(self._folder, sample, camera.name)
            cv2.imwrite(str(path), images[camera.name], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            self._rows["cameras"].append(_camera_row(sample, camera))
        self._rows["labels"] += label_rows
        if truth is not None:
            self._rows["truth"] += [
                {"sample": sample, "keypoint": name, "x": x, "y": y, "z": z}
                for name, (x, y, z) in zip(
                    self._head["keypoints"], np.asarray(truth, float), strict=True
                )
                if np.isfinite([x, y, z]).all()
            ]
        self._rows["samples"].append(
            {"sample": sample, "seed": seed, "labelled": bool(label_rows), "segment": segment}
        )
        self._count += 1
        return sample

    def close(self) -> None:
        """Writes the tables and, last, ``dataset.json``: a folder without it is not a dataset."""
        for name, schema in _SCHEMAS.items():
            table = pa.Table.from_pylist(self._rows[name], schema=schema)
            pq.write_table(table, self._folder / f"{name}.parquet")
        (self._folder / "dataset.json").write_text(json.dumps(self._head, indent=2) + "\n")


class Dataset:
    """Reads a dataset folder; tables at once, images on demand.

    Raises:
        ConfigurationError: not a dataset, another format, or names that would leave the folder.
        DataError: a table with a missing column or a row that refers to nothing; the message names
            the sample and the field.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        head_path = self.folder / "dataset.json"
        try:
            head = json.loads(head_path.read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise ConfigurationError(f"{self.folder} is not a dataset: {error}") from error
        missing = {"format", "object_id", "keypoints", "cameras"} - set(head)
        if missing:
            raise ConfigurationError(f"{head_path}: {sorted(missing)[0]!r} is missing")
        if head["format"] != FORMAT:
            raise ConfigurationError(f"{head_path}: format {head['format']!r}, expected {FORMAT}")
        _check_names("cameras", head["cameras"])
        _check_names("keypoints", head["keypoints"])
        self.object_id: str = head["object_id"]
        self.keypoint_names: list[str] = head["keypoints"]
        self.camera_names: list[str] = head["cameras"]
        self.info: dict[str, Any] = head.get("info", {})
        samples = self._table("samples")
        if samples["sample"] != list(range(len(samples["sample"]))):
            raise DataError(
                f"{self.folder}, samples: field 'sample' must count from 0 without gaps"
            )
        self.seeds: list[int] = samples["seed"]
        self.segments: list[int] = samples["segment"]
        self.labelled = np.array(samples["labelled"], bool)
        self._cameras = self._read_cameras()
        self._labels = self._read_points("labels", ("u", "v"), by_camera=True)
        self._truth: Array | None = None

    def __len__(self) -> int:
        return len(self.seeds)

    def images(self, sample: int) -> list[Image]:
        """The images of a sample, uint8 BGR (H, W, 3), in the order of ``camera_names``.

        Raises:
            DataError: an image that is missing, unreadable or of another size than calibrated.
        """
        result: list[Image] = []
        for camera in self.cameras(sample):
            path = image_path(self.folder, sample, camera.name)
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                raise DataError(f"sample {sample}, image {camera.name}: cannot read {path}")
            if image.shape != (camera.height, camera.width, 3):
                raise DataError(
                    f"sample {sample}, image {camera.name}: shape {image.shape}, calibrated for "
                    f"{(camera.height, camera.width, 3)}"
                )
            result.append(np.asarray(image, np.uint8))
        return result

    def cameras(self, sample: int) -> list[Camera]:
        """The cameras of a sample, in the order of ``camera_names``."""
        return self._cameras[sample]

    def labels(self, sample: int) -> Array:
        """Clicks of a sample, (C, K, 2) px, NaN where absent."""
        return self._labels[sample]

    def truth(self, sample: int) -> Array:
        """True keypoints of a sample, (K, 3) base frame, m, NaN where unknown. Evaluation only."""
        if self._truth is None:
            self._truth = self._read_points("truth", ("x", "y", "z"), by_camera=False)
        return self._truth[sample]

    def _table(self, name: str) -> dict[str, list[Any]]:
        path = self.folder / f"{name}.parquet"
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
        for column in _SCHEMAS[name].names:
            if column not in table.column_names:
                raise DataError(f"{path}: field {column!r} is missing")
        return table.to_pydict()

    def _read_cameras(self) -> list[list[Camera]]:
        rows = self._table("cameras")
        found: dict[tuple[int, str], Camera] = {}
        for i, (sample, name) in enumerate(zip(rows["sample"], rows["camera"], strict=True)):
            found[sample, name] = _camera_from_row({key: rows[key][i] for key in rows})
        try:
            return [[found[i, name] for name in self.camera_names] for i in range(len(self))]
        except KeyError as error:
            sample, name = error.args[0]
            raise DataError(f"sample {sample}, camera {name!r}: no calibration") from error

    def _read_points(self, name: str, axes: tuple[str, ...], *, by_camera: bool) -> Array:
        rows = self._table(name)
        shape = (len(self), len(self.camera_names), len(self.keypoint_names), len(axes))
        points = np.full(shape if by_camera else shape[:1] + shape[2:], np.nan)
        keypoints = {k: i for i, k in enumerate(self.keypoint_names)}
        cameras = {c: i for i, c in enumerate(self.camera_names)}
        for i, sample in enumerate(rows["sample"]):
            camera = rows["camera"][i] if by_camera else self.camera_names[0]
            keypoint = rows["keypoint"][i]
            value = [rows[axis][i] for axis in axes]
            if not 0 <= sample < len(self) or camera not in cameras or keypoint not in keypoints:
                raise DataError(f"sample {sample}, {name}: no camera {camera!r} or {keypoint!r}")
            if not np.isfinite(np.asarray(value, float)).all():
                raise DataError(f"sample {sample}, {name} of {keypoint!r}: not finite")
            where = (sample, cameras[camera]) if by_camera else (sample,)
            points[(*where, keypoints[keypoint])] = value
        points.flags.writeable = False
        return points


def _check_names(field: str, names: object) -> None:
    if not isinstance(names, list) or not names:
        raise ConfigurationError(f"{field} = {names!r} must be a list of names")
    for name in names:
        if not isinstance(name, str) or not _NAME.match(name):
            raise ConfigurationError(
                f"{field}: {name!r} is not a name of letters, digits, '_' and '-'"
            )
    if len(set(names)) != len(names):
        raise ConfigurationError(f"{field}: names must differ, got {names}")


def _camera_row(sample: int, camera: Camera) -> dict[str, Any]:
    matrix, pose = camera.matrix, camera.base_from_camera
    quaternion = [float(q) for q in pose.quaternion]
    return {
        "sample": sample,
        "camera": camera.name,
        "width": camera.width,
        "height": camera.height,
        "fx": float(matrix[0, 0]),
        "fy": float(matrix[1, 1]),
        "cx": float(matrix[0, 2]),
        "cy": float(matrix[1, 2]),
        "distortion_model": camera.distortion_model,
        "distortion": [float(d) for d in camera.distortion],
        **dict(zip(("qx", "qy", "qz", "qw"), quaternion, strict=True)),
        **dict(zip(("tx", "ty", "tz"), map(float, pose.translation), strict=True)),
    }


def _camera_from_row(row: Mapping[str, Any]) -> Camera:
    matrix = np.array([[row["fx"], 0, row["cx"]], [0, row["fy"], row["cy"]], [0, 0, 1]], float)
    try:
        return Camera(
            name=row["camera"],
            width=row["width"],
            height=row["height"],
            matrix=matrix,
            distortion_model=row["distortion_model"],
            distortion=np.asarray(row["distortion"], float),
            base_from_camera=Transform.from_quaternion(
                np.array([row["qx"], row["qy"], row["qz"], row["qw"]], float),
                np.array([row["tx"], row["ty"], row["tz"]], float),
            ),
        )
    except (ValueError, TypeError, ConfigurationError, DataError) as error:
        raise DataError(f"sample {row['sample']}, camera {row['camera']!r}: {error}") from error
