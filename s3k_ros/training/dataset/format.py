"""What a dataset folder looks like: its head ``dataset.json``, the tables' columns and the names.

`Dataset` (dataset.py) explains the folder; docs/dataset.md is for its users.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.training.dataset.image_files import check_format, file_inside

FORMAT = 2
READABLE_FORMATS = (1, 2)
HEAD = "dataset.json"
# Far above any head, and small enough to parse.
MAX_HEAD_BYTES = 2**24
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")

QUATERNION, TRANSLATION = ("qx", "qy", "qz", "qw"), ("tx", "ty", "tz")
SCHEMAS = {
    "samples": pa.schema(
        [
            ("sample", pa.int64()),
            ("seed", pa.uint64()),
            ("labelled", pa.bool_()),
            ("segment", pa.int64()),
            ("object", pa.string()),
        ]
    ),
    "cameras": pa.schema(
        [("sample", pa.int64()), ("camera", pa.string()), ("width", pa.int64())]
        + [("height", pa.int64())]
        + [(name, pa.float64()) for name in ("fx", "fy", "cx", "cy")]
        + [("distortion_model", pa.string()), ("distortion", pa.list_(pa.float64()))]
        + [(name, pa.float64()) for name in (*QUATERNION, *TRANSLATION)]
    ),
    "labels": pa.schema(
        [("sample", pa.int64()), ("camera", pa.string()), ("keypoint", pa.string())]
        + [(name, pa.float64()) for name in ("u", "v")]
    ),
    "truth": pa.schema(
        [("sample", pa.int64()), ("keypoint", pa.string())]
        + [(name, pa.float64()) for name in ("x", "y", "z")]
    ),
}
# Columns of format 2 that format 1 does not have.
NEW_COLUMNS = {("samples", "object")}


@dataclass(frozen=True)
class Fault:
    """What is wrong with a dataset, and where.

    Attributes:
        field: table and column, image or key.
        message: what is wrong with it.
        sample: index of the sample; None: not a matter of one sample.
    """

    field: str
    message: str
    sample: int | None = None

    def __str__(self) -> str:
        where = "" if self.sample is None else f"sample {self.sample}, "
        return f"{where}{self.field}: {self.message}"


Report = Callable[[Fault], None]


@dataclass(frozen=True)
class Head:
    """The content of ``dataset.json``.

    Raises:
        ConfigurationError: a key with a wrong value; the message names it.
    """

    object_id: str
    keypoints: list[str]
    cameras: list[str]
    info: dict[str, Any]
    image_format: str = "jpg"
    format: int = FORMAT

    def __post_init__(self) -> None:
        _check_version(self.format)
        check_name("object_id", self.object_id)
        check_names("keypoints", self.keypoints)
        check_names("cameras", self.cameras)
        check_format(self.image_format)
        if not isinstance(self.info, dict):
            raise ConfigurationError(f"info = {self.info!r} must be an object")


def is_name(text: str) -> bool:
    """Whether a text is a name: letters, digits, ``_`` and ``-``, at most 64 of them."""
    return bool(_NAME.match(text))


def check_name(field: str, name: object) -> str:
    """The name, if it is one: letters, digits, ``_`` and ``-``, at most 64 of them.

    Raises:
        ConfigurationError: it is not, so it must not become part of a path.
    """
    if not isinstance(name, str) or not is_name(name):
        raise ConfigurationError(
            f"{field}: {name!r} is not a name of at most 64 letters, digits, '_' and '-'"
        )
    return name


def check_names(field: str, names: object) -> None:
    """Checks a list of different names.

    Raises:
        ConfigurationError: it is not such a list.
    """
    if not isinstance(names, list) or not names:
        raise ConfigurationError(f"{field} = {names!r} must be a list of names")
    for name in names:
        check_name(field, name)
    if len(set(names)) != len(names):
        raise ConfigurationError(f"{field}: names must differ, got {names}")


def read_head(folder: Path) -> Head:
    """Reads ``dataset.json`` of a resolved folder.

    Raises:
        ConfigurationError: missing, not readable, another format or a wrong value.
    """
    path = folder / HEAD
    try:
        real = file_inside(folder, path)
        if real.stat().st_size > MAX_HEAD_BYTES:
            raise DataError(f"{HEAD} has more than {MAX_HEAD_BYTES} bytes")
        content = json.loads(real.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, DataError) as error:
        raise ConfigurationError(f"{folder} is not a dataset: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: must hold an object")
    required = ["format", "object_id", "keypoints", "cameras", "image_format"]
    if content.get("format") == 1:
        required.remove("image_format")
    try:
        for key in required:
            if key not in content:
                raise ConfigurationError(f"{key!r} is missing")
        _check_version(content["format"])
        if unknown := set(content) - {*required, "info"}:
            raise ConfigurationError(f"key {min(unknown)!r} is unknown")
        return Head(**{"info": {}, **content})
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _check_version(version: object) -> None:
    if type(version) is not int or version not in READABLE_FORMATS:
        raise ConfigurationError(f"format = {version!r} must be one of {READABLE_FORMATS}")
