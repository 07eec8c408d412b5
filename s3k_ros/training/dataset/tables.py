"""Readers of a dataset's tables that name every fault.

They hand each fault to a function. `Dataset` raises the first one, `s3k dataset check` collects
them all: what is checked is the same. Rows with a fault are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.geometry.se3 import Transform
from s3k_ros.training.dataset.format import (
    NEW_COLUMNS,
    QUATERNION,
    SCHEMAS,
    TRANSLATION,
    Fault,
    Head,
    Report,
    is_name,
)
from s3k_ros.training.dataset.image_files import MAX_PIXELS, file_inside

# Limits of what a reader takes into memory; far above any rig and any recording.
MAX_SAMPLES = 10**7
MAX_VALUES = 2**27
# What stands in for an empty cell while the rest of the table is checked.
_EMPTY = {"seed": 0, "labelled": False, "segment": 0, "object": "unknown"}

Array = npt.NDArray[np.float64]


def read_samples(folder: Path, head: Head, report: Report) -> dict[str, list[Any]] | None:
    """The columns of ``samples``; None when the table as a whole is unusable."""
    table = _read(folder, "samples", head.format, MAX_SAMPLES, report)
    if table is None:
        return None
    table.setdefault("object", [head.object_id] * len(table["sample"]))
    _check_numbers(table["sample"], report)
    for sample, name in zip(table["sample"], table["object"], strict=True):
        if not is_name(name):
            report(Fault("samples.object", f"{name!r} is not a name", sample))
    values = len(table["sample"]) * len(head.cameras) * len(head.keypoints)
    if values > MAX_VALUES:
        report(Fault("samples", f"{values} samples x cameras x keypoints, at most {MAX_VALUES}"))
        return None
    return table


def read_cameras(
    folder: Path, head: Head, count: int, report: Report
) -> dict[tuple[int, str], Camera]:
    """Cameras by sample and name; ``count``: number of samples."""
    rows = _read(folder, "cameras", head.format, _limit(count * len(head.cameras)), report)
    found: dict[tuple[int, str], Camera] = {}
    if rows is None:
        return found
    seen: set[tuple[int, str]] = set()
    known: dict[tuple[Any, ...], Camera] = {}  # the cameras of a rig are the same in most samples
    for sample, name, *values in zip(*rows.values(), strict=True):
        if not 0 <= sample < count:
            report(Fault("cameras.sample", f"no such sample, for {name!r}", sample))
        elif name not in head.cameras:
            report(Fault("cameras.camera", f"no camera {name!r}", sample))
        elif (sample, name) in seen:
            report(Fault("cameras.camera", f"{name!r} appears twice", sample))
        else:
            key = (name, *(tuple(v) if isinstance(v, list) else v for v in values))
            try:
                if key not in known:
                    known[key] = _camera(dict(zip(rows, (sample, name, *values), strict=True)))
                found[sample, name] = known[key]
            except (ValueError, TypeError, ConfigurationError, DataError) as error:
                report(Fault(f"camera {name!r}", str(error), sample))
        seen.add((sample, name))
    for sample in range(count):
        for name in head.cameras:
            if (sample, name) not in seen:
                report(Fault(f"camera {name!r}", "no calibration", sample))
    return found


def read_points(folder: Path, head: Head, count: int, name: str, report: Report) -> Array:
    """The points of ``labels``, (N, C, K, 2) px, or ``truth``, (N, K, 3) m; NaN where absent."""
    by_camera = name == "labels"
    names = (head.cameras, head.keypoints) if by_camera else (head.keypoints,)
    columns = ("camera", "keypoint") if by_camera else ("keypoint",)
    axes = ("u", "v") if by_camera else ("x", "y", "z")
    shape = (count, *map(len, names))
    points = np.full((*shape, len(axes)), np.nan)
    rows = _read(folder, name, head.format, _limit(int(np.prod(shape))), report)
    if rows is None or not rows["sample"]:
        return points
    places = [{key: i for i, key in enumerate(known)} for known in names]
    values = np.array([rows[axis] for axis in axes], float).T
    finite = np.isfinite(values).all(axis=1)
    for row, sample in enumerate(rows["sample"]):
        given = [rows[column][row] for column in columns]
        what = " in ".join(repr(value) for value in reversed(given))
        unknown = [c for c, v, known in zip(columns, given, places, strict=True) if v not in known]
        if not 0 <= sample < count:
            report(Fault(f"{name}.sample", f"no such sample, for {what}", sample))
        elif unknown:
            report(Fault(f"{name}.{unknown[0]}", f"no {unknown[0]} of that name: {what}", sample))
        elif not finite[row]:
            axis = axes[int(np.argmin(np.isfinite(values[row])))]
            report(Fault(f"{name}.{axis}", f"of {what} is not finite", sample))
        else:
            where = (sample, *(k[v] for k, v in zip(places, given, strict=True)))
            if np.isfinite(points[where]).all():
                report(Fault(name, f"{what} appears twice", sample))
            points[where] = values[row]
    return points


def check_labelled(labelled: npt.NDArray[np.bool_], labels: Array, report: Report) -> None:
    """Whether the flags (N,) of the samples fit their clicks (N, C, K, 2)."""
    clicked = np.isfinite(labels).all(axis=-1).any(axis=(1, 2))
    for sample in np.nonzero(np.asarray(labelled, bool) != clicked)[0]:
        count = "has clicks" if clicked[sample] else "has no clicks"
        message = f"is {bool(labelled[sample])}, but the sample {count}"
        report(Fault("samples.labelled", message, int(sample)))


def camera_row(sample: int, camera: Camera) -> dict[str, Any]:
    """The row of ``cameras`` for one camera."""
    matrix, pose = camera.matrix, camera.base_from_camera
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
        **dict(zip(QUATERNION, map(float, pose.quaternion), strict=True)),
        **dict(zip(TRANSLATION, map(float, pose.translation), strict=True)),
    }


def _camera(row: Mapping[str, Any]) -> Camera:
    width, height = row["width"], row["height"]
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise DataError(f"{width} x {height} px must be 1 to {MAX_PIXELS} pixels")
    matrix = np.array([[row["fx"], 0, row["cx"]], [0, row["fy"], row["cy"]], [0, 0, 1]], float)
    return Camera(
        name=row["camera"],
        width=width,
        height=height,
        matrix=matrix,
        distortion_model=row["distortion_model"],
        distortion=np.asarray(row["distortion"], float),
        base_from_camera=Transform.from_quaternion(
            [row[name] for name in QUATERNION], [row[name] for name in TRANSLATION]
        ),
    )


def _limit(rows: int) -> int:
    """How many rows are read, so that duplicates can be named but nothing fills the memory."""
    return 2 * rows + 1000


def _read(
    folder: Path, name: str, version: int, most: int, report: Report
) -> dict[str, list[Any]] | None:
    """The columns of a table by the schema's order; rows with a null are reported and left out."""
    file = f"{name}.parquet"
    schema = SCHEMAS[name]
    columns = [c for c in schema.names if version > 1 or (name, c) not in NEW_COLUMNS]
    try:
        opened = pq.ParquetFile(file_inside(folder, folder / file))
        missing = [column for column in columns if column not in opened.schema_arrow.names]
        for column in missing:
            report(Fault(file, f"field {column!r} is missing"))
        if opened.metadata.num_rows > most:
            report(Fault(file, f"{opened.metadata.num_rows} rows, at most {most} make sense"))
            return None
        if missing:
            return None
        table = opened.read(columns=columns).select(columns)
    except (OSError, ValueError, KeyError, pa.ArrowException, DataError) as error:
        report(Fault(file, f"cannot be read: {error}"))
        return None
    return _plain(name, table, report)


def _plain(name: str, table: pa.Table, report: Report) -> dict[str, list[Any]] | None:
    columns: dict[str, list[Any]] = {}
    for column in table.column_names:
        found, wanted = table.schema.field(column).type, SCHEMAS[name].field(column).type
        try:
            if not _same_kind(found, wanted):
                raise pa.ArrowInvalid("another kind of value")
            columns[column] = table[column].cast(wanted).to_pylist()
        except (pa.ArrowException, ValueError) as error:
            field = f"{name}.{column}"
            report(Fault(field, f"has type {found}, expected {wanted}: {error}"))
    if len(columns) < len(table.column_names):
        return None
    return _without_nulls(name, columns, report)


def _same_kind(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a column holds the wanted kind: no text where numbers belong; any width."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_list(wanted):
        is_list = pa.types.is_list(found) or pa.types.is_large_list(found)
        return is_list and _same_kind(found.value_type, wanted.value_type)
    if pa.types.is_floating(wanted):
        return pa.types.is_floating(found) or pa.types.is_integer(found)
    if pa.types.is_integer(wanted):
        return pa.types.is_integer(found)
    if pa.types.is_string(wanted):
        return pa.types.is_string(found) or pa.types.is_large_string(found)
    return bool(found == wanted)


def _without_nulls(
    name: str, columns: dict[str, list[Any]], report: Report
) -> dict[str, list[Any]]:
    """Reports empty cells. Their rows go, but a sample keeps its place."""
    empty_rows: set[int] = set()
    for column, values in columns.items():
        empty = [row for row, value in enumerate(values) if value is None]
        for row in empty:
            sample = row if name == "samples" else columns["sample"][row]
            report(Fault(f"{name}.{column}", f"row {row} is empty", sample))
            values[row] = row if column == "sample" else _EMPTY.get(column)
        empty_rows.update(empty)
    if name == "samples" or not empty_rows:
        return columns
    keep = [row for row in range(len(columns["sample"])) if row not in empty_rows]
    return {column: [values[row] for row in keep] for column, values in columns.items()}


def _check_numbers(samples: list[int], report: Report) -> None:
    """Samples count from 0 without gaps, in order."""
    count, seen = len(samples), set()
    for sample in samples:
        if sample in seen:
            report(Fault("samples.sample", "appears twice", sample))
        elif not 0 <= sample < count:
            message = f"{count} samples must count from 0 without gaps"
            report(Fault("samples.sample", message, sample))
        seen.add(sample)
    for sample in sorted(set(range(count)) - seen):
        report(Fault("samples.sample", "is missing; samples count from 0 without gaps", sample))
    if len(seen) == count and seen == set(range(count)) and samples != sorted(samples):
        first = next(s for row, s in enumerate(samples) if s != row)
        report(Fault("samples.sample", "is out of order", first))
