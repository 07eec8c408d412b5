"""Writing a dataset folder so that a kill at any moment loses at most the sample in hand.

Each sample goes into a journal once its images are there. The tables, and last ``dataset.json``,
appear on ``close``: a folder without that file is refused by the reader. A writer with ``resume``
goes on where the journal ends.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.training.dataset.format import FORMAT, HEAD, SCHEMAS, Head
from s3k_ros.training.dataset.image_files import Image
from s3k_ros.training.dataset.sample_files import Array, Entry, Labels, Rows, SampleFiles

if TYPE_CHECKING:
    from s3k_ros.training.dataset.reader import Dataset

JOURNAL = "unfinished.jsonl"
# A resumed run may come from a later commit; whatever else it was started with must be the same.
_MAY_DIFFER = ("commit",)


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

    Attributes:
        samples: writes the images of a sample for ``append``, in this process or in another.

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
        head = Head(
            object_id, list(keypoints), list(cameras), dict(info or {}), image_format, FORMAT
        )
        try:
            json.dumps(head.info)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"info must hold what JSON can: {error}") from error
        self.samples = SampleFiles(self._folder, head)
        if (self._folder / HEAD).exists():
            raise ConfigurationError(f"{self._folder} already holds a dataset")
        self._journal = self._open_journal(resume)
        try:
            known = self._read_journal()["samples"]
        except BaseException:
            self._journal.close()
            raise
        self._count = len(known)
        self._next_segment = 1 + max((row["segment"] for row in known), default=-1)

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
        return self._count

    @classmethod
    def like(cls, dataset: Dataset, folder: Path | str, info: Mapping[str, Any]) -> DatasetWriter:
        """A writer of a new folder with another dataset's object, keypoints, cameras and format."""
        return cls(
            folder,
            dataset.object_id,
            dataset.keypoint_names,
            dataset.camera_names,
            info,
            image_format=dataset.image_format,
        )

    def add(
        self,
        images: Mapping[str, Image | bytes],
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
            images: uint8 BGR (H, W, 3) by camera name, one for every camera; or the bytes of an
                image file of the dataset's format and the camera's size, which are not checked.
            cameras: the calibration of every camera, in the dataset's order.
            labels: clicks (u, v) in px by (camera, keypoint); None or empty: unlabelled.
            truth: (K, 3) true keypoints, base frame, m; NaN rows are left out; None: unknown.
            seed: the seed the scene was made from, for the record; of a recorded set its time, ns
                since 1970.
            segment: number of the recording or arrangement that the sample belongs to; None: a new
                one of its own.
            object_name: the object in it, where a dataset has several; None: ``object_id``.

        Raises:
            DataError: a camera, image size or keypoint that does not fit; nothing was added.
        """
        if segment is None:
            segment = self._next_segment
        return self.append(
            self.samples.write(
                len(self), images, cameras, labels, truth, seed, segment, object_name
            )
        )

    def append(self, entry: Entry) -> int:
        """Adds a sample that ``samples.write`` has written, maybe in another process; its index.

        Raises:
            DataError: it is not the next one; nothing was added.
        """
        if entry.sample != len(self):
            raise DataError(f"sample {entry.sample}: the next one is {len(self)}")
        self._journal.write(entry.line + "\n")
        self._journal.flush()
        self._count += 1
        self._next_segment = max(self._next_segment, entry.segment + 1)
        return entry.sample

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
        head = self.samples.head
        if source.image_format != head.image_format:
            raise DataError(
                f"image_format {source.image_format!r} differs from {head.image_format!r}"
            )
        return self.add(
            {name: source.image_bytes(sample, name) for name in head.cameras},
            source.cameras(sample),
            source.clicks(sample) if labels is None else labels,
            source.truth(sample) if source.has_truth else None,
            source.seeds[sample],
            source.segments[sample] if segment is None else segment,
            object_name=source.objects[sample],
        )

    def close(self) -> None:
        """Writes the tables and, last, ``dataset.json``: a folder without it is not a dataset."""
        if self._journal.closed:
            return
        rows = self._read_journal()
        for name, schema in SCHEMAS.items():
            table = pa.Table.from_pylist(rows[name], schema=schema)
            with _replacing(self._folder / f"{name}.parquet") as file:
                pq.write_table(table, file)
        with _replacing(self._folder / HEAD) as file:
            file.write((json.dumps(vars(self.samples.head), indent=2) + "\n").encode())
        self._journal.close()
        (self._folder / JOURNAL).unlink()

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
        except BlockingIOError as error:
            journal.close()
            raise ConfigurationError(f"{self._folder} is being written by another run") from error
        return journal

    def _read_journal(self) -> dict[str, Rows]:
        """Rows by table of all samples in the journal; a line that a kill left torn is cut off."""
        journal, head = self._journal, vars(self.samples.head)
        journal.seek(0)
        text = journal.read()
        whole = text[: text.rfind("\n") + 1]
        lines = whole.splitlines()
        rows: dict[str, Rows] = {name: [] for name in SCHEMAS}
        try:
            if lines and (difference := _difference(json.loads(lines[0]), head)):
                raise ConfigurationError(
                    f"{self._folder} was begun with another {difference}: resume it with the same, "
                    "or remove the folder"
                )
            for line in lines[1:]:
                for name, added in json.loads(line).items():
                    rows[name] += added
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ConfigurationError(f"{self._folder / JOURNAL} cannot be read: {error}") from error
        journal.truncate(len(whole.encode()))
        journal.seek(0, os.SEEK_END)
        if not lines:
            journal.write(json.dumps(head) + "\n")
            journal.flush()
        return rows


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
