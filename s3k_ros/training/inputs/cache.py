"""Derived arrays in memory-mapped files: decoded once, shared by every run that needs the same.

A file appears under its final name only when it is whole. Two runs that start at once either wait
for each other (a lock that the system frees when its holder dies) or, where locks do not work,
write the same bytes twice; both are safe.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from s3k_ros.errors import DataError
from s3k_ros.training.dataset.reader import Dataset

VERSION = 1
"""Rises when the meaning of cached bytes changes."""

FOLDER = "cache"
"""Of the dataset folder; may be deleted at any time."""


def dataset_digest(dataset: Dataset) -> str:
    """SHA-256 of what training reads from a dataset's tables: cameras, clicks, sample list."""
    digest = hashlib.sha256()
    for name in ("dataset.json", "samples.parquet", "cameras.parquet", "labels.parquet"):
        digest.update((dataset.folder / name).read_bytes())
    return digest.hexdigest()


def images_digest(dataset: Dataset) -> str:
    """SHA-256 of the calibration and of every image's name, size and time of change."""
    digest = hashlib.sha256((dataset.folder / "cameras.parquet").read_bytes())
    with os.scandir(dataset.folder / "images") as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            facts = entry.stat()
            digest.update(f"{entry.name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def key_of(facts: Mapping[str, Any]) -> str:
    """A file name's worth of SHA-256 of facts that can be written as JSON."""
    text = json.dumps({"version": VERSION, **facts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def cached(
    folder: Path,
    key: str,
    shape: tuple[int, ...],
    fill: Callable[[Any], None],
    dtype: npt.DTypeLike = np.uint8,
) -> npt.NDArray[Any]:
    """An array of a cache file, filled first if it is not there yet.

    Args:
        folder: of the cache.
        key: name of the file, from ``key_of``.
        shape: of the array; a file of another shape is made again.
        fill: writes the array.
        dtype: of the array.

    Returns:
        The array, mapped copy-on-write: it may be written to, the file never changes.

    Raises:
        DataError: the folder cannot be written, or the disk is full.
    """
    path = folder / f"{key}.npy"
    found = _mapped(path, shape, np.dtype(dtype))
    if found is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: the cache cannot be made: {error}") from error
    with _locked(folder / f"{key}.lock") as alone:
        for left in folder.glob(f"{key}*.partial") if alone else ():
            left.unlink(missing_ok=True)  # of a run that was killed
        found = _mapped(path, shape, np.dtype(dtype))
        if found is None:
            _write(path, shape, np.dtype(dtype), fill)
            found = _mapped(path, shape, np.dtype(dtype))
    if found is None:
        raise DataError(f"{path}: the cache cannot be read back")
    return found


def _mapped(path: Path, shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any] | None:
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if array.shape == shape and array.dtype == dtype else None


def _write(path: Path, shape: tuple[int, ...], dtype: Any, fill: Callable[[Any], None]) -> None:
    partial = path.with_name(f"{path.stem}.{secrets.token_hex(8)}.partial")
    try:
        array = np.lib.format.open_memmap(partial, "w+", dtype, shape)
        _reserve(partial)
        fill(array)
        array.flush()
        del array
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _reserve(path: Path) -> None:
    """Takes the disk space of a sparse file: a full disk shall not strike while it is mapped."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                size = path.stat().st_size / 1e9
                raise DataError(f"{path.parent}: no room for a cache of {size:.1f} GB") from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Holds a lock file; False where there are no locks, as on some network file systems."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield False
        else:
            yield True
