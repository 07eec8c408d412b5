"""Folders of results on disk: whole files only, one writer at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from s3k_ros.errors import DataError
from s3k_ros.training.studies.specs import Data, Part, RunSpec, key

RESULT = "result.json"
FAILURE = "failure.txt"
LOG = "log.txt"

_KINDS = {Part: "parts", Data: "data", RunSpec: "runs"}


def folder_of(root: Path, spec: Part | Data | RunSpec) -> Path:
    """The folder of a spec's result."""
    return root / _KINDS[type(spec)] / key(spec)


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished job, None when it has not finished.

    Raises:
        DataError: the file is there and is not JSON.
    """
    path = folder / RESULT
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return dict(content)


def write_text(path: Path, text: str) -> None:
    """Writes a file so that a kill leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def write_result(folder: Path, content: Mapping[str, Any]) -> None:
    """Marks a job as finished; what was said about an earlier failure goes."""
    write_text(folder / RESULT, json.dumps(content, indent=1, allow_nan=False) + "\n")
    (folder / FAILURE).unlink(missing_ok=True)


def read_failure(folder: Path) -> str | None:
    """What the last attempt said when it failed."""
    try:
        return (folder / FAILURE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Holds a folder for one process; others wait. A killed process lets go of it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
