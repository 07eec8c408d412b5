"""Writing a dataset folder so that a kill at any moment loses at most the sample in hand.

Each sample goes into a journal once its images are there. The tables, and last ``dataset.json``,
appear on ``close``: a folder without that file is refused by the reader. A writer with ``resume``
goes on where the journal ends.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.training.dataset.format import FORMAT, HEAD, SCHEMAS, Head, check_name
from s3k_ros.training.dataset.image_files import Image, write_image
from s3k_ros.training.dataset.tables import camera_row

if TYPE_CHECKING:
    from s3k_ros.training.dataset.reader import Dataset

JOURNAL = "unfinished.jsonl"
# A resumed run may come from a later commit; whatever else it was started with must be the same.
_MAY_DIFFER = ("commit",)

Array = npt.NDArray[np.float64]
Labels = Mapping[tuple[str, str], tuple[float, float]]


def image_path(folder: Path, sample: int, camera: str, image_format: str = "jpg") -> Path:
    """Path of one image; names are checked when the folder is opened, so it stays inside."""
    return folder / "images" / f"{sample:06d}_{camera}.{image_format}"


class DatasetWriter:
    """Writes a dataset folder, one sample at a time; it becomes a dataset on ``close``.

    As a context manager it closes when all went well; after an exception or a kill the folder
    stays unfinished, which readers refuse.

    Args:
        folder: new or empty folder.
        object_id: the object that the keypoints belong to, or its category.
        keypoints: keypoint names, in the order of the model's maps.
        cameras: camera names; letters, digits, ``_`` and ``-`` only, since they become file names.
        info: free facts for the record, for instance command, seed and commit.
        image_format: "jpg" (quality 95) or "png".
        resume: go on with an unfinished folder; ``len(writer)`` samples are there already.

    Raises:
        ConfigurationError: a bad name or info, a folder that already holds a dataset or something
            else, or one that cannot be resumed: begun differently, or in use.
    """

    def __init__(
        self,
        folder: Path | str,
        object_id: str,
        keypoints: Sequence[str],
        cameras: Sequence[str],
        info: Mapping[str, Any] | None = None,
        *,
        image_format: str = "jpg",
        resume: bool = False,
    ) -> None:
        self._folder = Path(folder)
        self._head = Head(
            object_id, list(keypoints), list(cameras), dict(info or {}), image_format, FORMAT
        )
        try:
            json.dumps(self._head.info)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"info must hold what JSON can: {error}") from error
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMAS}
        if (self._folder / HEAD).exists():
            raise ConfigurationError(f"{self._folder} already holds a dataset")
        self._journal = self._open_journal(resume)

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._journal.close()

    def __len__(self) -> int:
        return len(self._rows["samples"])

    def add(
        self,
        images: Mapping[str, Image],
        cameras: Sequence[Camera],
        labels: Labels | None,
        truth: Array | None,
        seed: int,
        segment: int | None = None,
        *,
        object_name: str | None = None,
    ) -> int:
        """Adds one sample and returns its index.

        Args:
            images: uint8 BGR (H, W, 3) by camera name, one for every camera.
            cameras: the calibration of every camera, in the dataset's order.
            labels: clicks (u, v) in px by (camera, keypoint); None or empty: unlabelled.
            truth: (K, 3) true keypoints, base frame, m; NaN rows are left out; None: unknown.
            seed: the seed the scene was made from, for the record.
            segment: number of the recording or arrangement that the sample belongs to; None: a new
                one of its own.
            object_name: the object in it, where a dataset has several; None: ``object_id``.

        Raises:
            DataError: a camera, image size or keypoint that does not fit; nothing was added.
        """
        rows = self._rows_of(cameras, labels, truth, seed, segment, object_name)
        sample = len(self)
        if set(images) != set(self._head.cameras):
            raise DataError(f"sample {sample}, images: must be exactly of {self._head.cameras}")
        for camera in cameras:
            image = images[camera.name]
            if image.dtype != np.uint8 or image.shape != (camera.height, camera.width, 3):
                raise DataError(
                    f"sample {sample}, image {camera.name}: {image.dtype} {image.shape}, must be "
                    f"uint8 {(camera.height, camera.width, 3)}"
                )
        for name, image in images.items():
            write_image(image_path(self._folder, sample, name, self._head.image_format), image)
        return self._keep(rows)

    def copy(
        self,
        source: Dataset,
        sample: int,
        *,
        segment: int | None = None,
        labels: Labels | None = None,
    ) -> int:
        """Adds a sample of another dataset, its images byte by byte, and returns its index.

        Args:
            source: a dataset with the same keypoints, cameras and image format.
            sample: index in it.
            segment: number in this dataset; None: as in the source.
            labels: clicks in place of the source's; None: the source's.

        Raises:
            DataError: it does not fit, or an image cannot be read; nothing was added.
        """
        if source.image_format != self._head.image_format:
            raise DataError(
                f"image_format {source.image_format!r} differs from {self._head.image_format!r}"
            )
        rows = self._rows_of(
            source.cameras(sample),
            source.clicks(sample) if labels is None else labels,
            source.truth(sample) if source.has_truth else None,
            source.seeds[sample],
            source.segments[sample] if segment is None else segment,
            source.objects[sample],
        )
        files = {name: source.image_bytes(sample, name) for name in self._head.cameras}
        for name, data in files.items():
            path = image_path(self._folder, len(self), name, self._head.image_format)
            path.write_bytes(data)
        return self._keep(rows)

    def close(self) -> None:
        """Writes the tables and, last, ``dataset.json``: a folder without it is not a dataset."""
        if self._journal.closed:
            return
        for name, schema in SCHEMAS.items():
            table = pa.Table.from_pylist(self._rows[name], schema=schema)
            with _replacing(self._folder / f"{name}.parquet") as file:
                pq.write_table(table, file)
        with _replacing(self._folder / HEAD) as file:
            file.write((json.dumps(vars(self._head), indent=2) + "\n").encode())
        self._journal.close()
        (self._folder / JOURNAL).unlink()

    def _rows_of(
        self,
        cameras: Sequence[Camera],
        labels: Labels | None,
        truth: Array | None,
        seed: int,
        segment: int | None,
        object_name: str | None,
    ) -> dict[str, list[dict[str, Any]]]:
        sample, names = len(self), self._head.cameras
        if [camera.name for camera in cameras] != names:
            raise DataError(f"sample {sample}, cameras: must be exactly {names}, in this order")
        if segment is None:
            segment = 1 + max((row["segment"] for row in self._rows["samples"]), default=-1)
        label_rows = [
            {"sample": sample, "camera": c, "keypoint": k, "u": float(u), "v": float(v)}
            for (c, k), (u, v) in (labels or {}).items()
        ]
        for row in label_rows:
            if row["camera"] not in names or row["keypoint"] not in self._head.keypoints:
                raise DataError(f"sample {sample}, label {row}: unknown camera or keypoint")
            if not (math.isfinite(float(row["u"])) and math.isfinite(float(row["v"]))):
                raise DataError(f"sample {sample}, label {row}: must be finite")
        return {
            "samples": [
                {
                    "sample": sample,
                    "seed": int(seed),
                    "labelled": bool(label_rows),
                    "segment": int(segment),
                    "object": check_name("object_name", object_name or self._head.object_id),
                }
            ],
            "cameras": [camera_row(sample, camera) for camera in cameras],
            "labels": label_rows,
            "truth": self._truth_rows(sample, truth),
        }

    def _truth_rows(self, sample: int, truth: Array | None) -> list[dict[str, Any]]:
        if truth is None:
            return []
        points = np.asarray(truth, float)
        if points.shape != (len(self._head.keypoints), 3):
            raise DataError(f"sample {sample}, truth: shape {points.shape} is wrong")
        return [
            {"sample": sample, "keypoint": name, "x": x, "y": y, "z": z}
            for name, (x, y, z) in zip(self._head.keypoints, points.tolist(), strict=True)
            if np.isfinite([x, y, z]).all()
        ]

    def _keep(self, rows: dict[str, list[dict[str, Any]]]) -> int:
        """Takes a sample whose images are written."""
        self._journal.write(json.dumps(rows) + "\n")
        self._journal.flush()
        for name, added in rows.items():
            self._rows[name] += added
        return len(self) - 1

    def _open_journal(self, resume: bool) -> IO[str]:
        path = self._folder / JOURNAL
        if path.exists() and not resume:
            raise ConfigurationError(
                f"{self._folder} holds an unfinished dataset: go on with it, or remove the folder"
            )
        if not path.exists() and self._folder.exists() and any(self._folder.iterdir()):
            raise ConfigurationError(f"{self._folder} is not empty")
        (self._folder / "images").mkdir(parents=True, exist_ok=True)
        journal = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._replay(journal)
        except BlockingIOError as error:
            journal.close()
            raise ConfigurationError(f"{self._folder} is being written by another run") from error
        except BaseException:
            journal.close()
            raise
        return journal

    def _replay(self, journal: IO[str]) -> None:
        """Takes over what the journal holds, and cuts off a line that a kill left torn."""
        journal.seek(0)
        text = journal.read()
        whole = text[: text.rfind("\n") + 1]
        lines = whole.splitlines()
        head = vars(self._head)
        try:
            if lines and (difference := _difference(json.loads(lines[0]), head)):
                raise ConfigurationError(
                    f"{self._folder} was begun with another {difference}: resume it with the same, "
                    "or remove the folder"
                )
            for line in lines[1:]:
                for name, rows in json.loads(line).items():
                    self._rows[name] += rows
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ConfigurationError(f"{self._folder / JOURNAL} cannot be read: {error}") from error
        journal.truncate(len(whole.encode()))
        journal.seek(0, os.SEEK_END)
        if not lines:
            journal.write(json.dumps(head) + "\n")
            journal.flush()


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """The first key in which two heads differ; empty when they agree."""
    new = json.loads(json.dumps(new))  # tuples became lists in the journal
    flat = [{**head, **{f"info.{k}": v for k, v in head["info"].items()}} for head in (old, new)]
    skipped = {"info", *(f"info.{key}" for key in _MAY_DIFFER)}
    keys = sorted((set(flat[0]) | set(flat[1])) - skipped)
    return next((key for key in keys if flat[0].get(key) != flat[1].get(key)), "")


class _replacing:
    """A binary file that takes the place of ``path`` at once, when all of it is on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".partial")

    def __enter__(self) -> IO[bytes]:
        self._file = self._partial.open("wb")
        return self._file

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()
        if kind is None:
            os.replace(self._partial, self._path)
