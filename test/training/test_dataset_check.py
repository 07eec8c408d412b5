"""Damage to a dataset is refused by the reader and named by the check: sample and field."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pyarrow")

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
from support.toy_training import CAMERAS, KEYPOINTS, write_dataset

from s3k_ros import cli
from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.training.dataset.format import SCHEMAS
from s3k_ros.training.dataset.reader import Dataset
from s3k_ros.training.dataset.tools.check import check

SIZE = (64, 48)


@functools.cache
def original(base: Path) -> Path:
    return write_dataset(base / "original", 2, 2, size=SIZE)


@pytest.fixture
def folder(tmp_path: Path, tmp_path_factory) -> Path:
    return shutil.copytree(original(tmp_path_factory.getbasetemp()), tmp_path / "toy")


def edit(folder: Path, table: str, change: Callable[[pandas.DataFrame], pandas.DataFrame]) -> None:
    path = folder / f"{table}.parquet"
    frame = pandas.read_parquet(path)
    changed = change(frame)
    # Not by pandas, which writes NaN as an empty cell.
    pq.write_table(pa.table({name: changed[name].tolist() for name in changed}), path)


def faults(folder: Path) -> list[str]:
    return [str(fault) for fault in check(folder).faults]


def refused(folder: Path, *parts: str) -> None:
    """Both the reader and the check name these parts."""
    with pytest.raises((DataError, ConfigurationError)) as error:
        Dataset(folder).truth(0)
    found = faults(folder)
    assert all(part in str(error.value) for part in parts), error.value
    assert any(all(part in fault for part in parts) for fault in found), found


def put(column: str, row: int, value: object) -> Callable[[pandas.DataFrame], pandas.DataFrame]:
    def change(frame: pandas.DataFrame) -> pandas.DataFrame:
        values = frame[column].tolist()
        values[row] = value
        return frame.assign(**{column: values})

    return change


def test_a_sound_dataset_has_no_faults(folder: Path) -> None:
    found = check(folder)
    assert (found.faults, found.samples, found.images) == ((), 4, 16)


@pytest.mark.parametrize("table", SCHEMAS)
def test_a_missing_column_is_named(folder: Path, table: str) -> None:
    for column in SCHEMAS[table].names:
        copy = shutil.copytree(folder, folder.parent / f"{table}_{column}")
        edit(copy, table, lambda frame, column=column: frame.drop(columns=column))
        refused(copy, f"{table}.parquet", f"field {column!r} is missing")


@pytest.mark.parametrize("table", SCHEMAS)
def test_a_column_of_another_kind_is_named(folder: Path, table: str) -> None:
    for column, kind in zip(SCHEMAS[table].names, SCHEMAS[table].types, strict=True):
        copy = shutil.copytree(folder, folder.parent / f"{table}_{column}")
        wrong = 1 if pa.types.is_string(kind) else "1"
        edit(copy, table, lambda frame, c=column, w=wrong: frame.assign(**{c: w}))
        refused(copy, f"{table}.{column}", f"expected {kind}")


@pytest.mark.parametrize(
    ("table", "column"), [(t, c) for t in SCHEMAS for c in SCHEMAS[t].names if c != "distortion"]
)
def test_an_empty_cell_is_named(folder: Path, table: str, column: str) -> None:
    path = folder / f"{table}.parquet"
    rows = pq.read_table(path).to_pylist()
    sample = rows[1]["sample"]
    rows[1][column] = None
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMAS[table]), path)
    where = f"sample {sample}, " if column != "sample" or table == "samples" else ""
    refused(folder, f"{where}{table}.{column}", "row 1 is empty")


@pytest.mark.parametrize(
    ("table", "column", "value", "expected"),
    [
        ("labels", "u", np.nan, "labels.u: of "),
        ("labels", "v", np.inf, "labels.v: of "),
        ("labels", "camera", "z", "labels.camera: no camera of that name"),
        ("labels", "keypoint", "wing", "labels.keypoint: no keypoint of that name"),
        ("truth", "z", np.nan, "truth.z: of 'head' is not finite"),
        ("truth", "keypoint", "../x", "truth.keypoint: no keypoint of that name"),
        ("cameras", "fx", np.nan, "camera 'a'"),
        ("cameras", "fx", -3.0, "camera 'a'"),
        ("cameras", "qx", np.inf, "camera 'a'"),
        ("cameras", "width", 0, "camera 'a'"),
        ("cameras", "height", 10**9, "camera 'a': 64 x 1000000000 px must be"),
        ("cameras", "distortion_model", "magic", "camera 'a'"),
        ("cameras", "camera", "../../a", "cameras.camera: no camera '../../a'"),
        ("samples", "object", "../x", "samples.object: '../x' is not a name"),
        ("samples", "labelled", False, "samples.labelled: is False, but the sample has clicks"),
    ],
)
def test_a_bad_value_is_named_with_its_sample(folder, table, column, value, expected) -> None:
    edit(folder, table, put(column, 0, value))
    refused(folder, "sample 0, ", expected)


@pytest.mark.parametrize("table", ["cameras", "labels", "truth"])
def test_a_row_of_a_sample_that_does_not_exist_is_named(folder: Path, table: str) -> None:
    for sample in (4, -1, 2**62):
        copy = shutil.copytree(folder, folder.parent / f"{table}{sample}")
        extra = put("sample", 0, sample)
        edit(copy, table, lambda f, extra=extra: pandas.concat([f, extra(f).iloc[:1]]))
        refused(copy, f"sample {sample}, {table}.sample: no such sample")


@pytest.mark.parametrize("table", ["samples", "cameras", "labels", "truth"])
def test_a_row_that_appears_twice_is_named(folder: Path, table: str) -> None:
    edit(folder, table, lambda frame: pandas.concat([frame, frame.iloc[:1]]))
    refused(folder, "sample 0, ", table.removesuffix("s"), "appears twice")


def test_a_gap_in_the_samples_is_named(folder: Path) -> None:
    edit(folder, "samples", put("sample", 2, 7))
    assert "sample 2, samples.sample: is missing; samples count from 0 without gaps" in faults(
        folder
    )
    refused(folder, "sample 7, samples.sample", "without gaps")


def test_samples_out_of_order_are_named(folder: Path) -> None:
    edit(folder, "samples", lambda frame: frame.iloc[[0, 2, 1, 3]])
    refused(folder, "sample 2, samples.sample: is out of order")


def test_a_missing_calibration_is_named(folder: Path) -> None:
    edit(folder, "cameras", lambda frame: frame.iloc[1:])
    refused(folder, "sample 0, camera 'a': no calibration")


@pytest.mark.parametrize("table", ["samples", "cameras", "labels"])
def test_a_missing_table_is_named(folder: Path, table: str) -> None:
    (folder / f"{table}.parquet").unlink()
    refused(folder, f"{table}.parquet", "is missing")


@pytest.mark.parametrize("kind", ["text", "link", "folder", "cut"])
def test_a_table_that_is_none_is_named(folder: Path, kind: str) -> None:
    path = folder / "labels.parquet"
    data = path.read_bytes()
    path.unlink()
    if kind == "text":
        path.write_text("not a table")
    elif kind == "link":
        (folder.parent / "labels.parquet").write_bytes(data)
        path.symlink_to("../labels.parquet")
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(data[: len(data) // 2])
    refused(folder, "labels.parquet: cannot be read")


def test_a_table_with_far_too_many_rows_is_refused_as_a_whole(folder: Path) -> None:
    edit(folder, "labels", lambda frame: pandas.concat([frame] * 200))
    refused(folder, "labels.parquet", "rows, at most")
    assert len(faults(folder)) <= 3


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("format", 3, "format = 3"),
        ("format", "2", "format = '2'"),
        ("format", True, "format = True"),
        ("object_id", "a/b", "object_id"),
        ("object_id", None, "object_id"),
        ("cameras", [], "cameras"),
        ("cameras", "abcd", "cameras"),
        ("cameras", ["a", "a"], "names must differ"),
        ("cameras", ["../a", "b", "c", "d"], "cameras: '../a'"),
        ("keypoints", ["a b"], "keypoints: 'a b'"),
        ("keypoints", [["head"]], "keypoints"),
        ("keypoints", {"head": 1}, "keypoints"),
        ("image_format", "tiff", "image_format = 'tiff'"),
        ("image_format", ["jpg"], "image_format"),
        ("info", [1], "info"),
        ("colour", 1, "'colour' is unknown"),
    ],
)
def test_a_bad_value_in_the_head_is_named(folder: Path, key: str, value: object, expected) -> None:
    head = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**head, key: value}))
    refused(folder, expected)


@pytest.mark.parametrize("key", ["format", "object_id", "cameras", "keypoints", "image_format"])
def test_a_missing_key_of_the_head_is_named(folder: Path, key: str) -> None:
    head = json.loads((folder / "dataset.json").read_text())
    del head[key]
    (folder / "dataset.json").write_text(json.dumps(head))
    refused(folder, f"{key!r} is missing")


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000, "\udcff"])
def test_a_head_that_is_no_object_is_refused(folder: Path, text: str) -> None:
    (folder / "dataset.json").write_text(text, errors="surrogateescape")
    refused(folder, "dataset.json" if text in ("[]", "null") else "is not a dataset")


def test_images_are_checked_one_by_one(folder: Path) -> None:
    images = folder / "images"
    (images / "000001_b.jpg").unlink()
    (images / "000002_c.jpg").write_text("no image")
    (images / "000003_d.jpg").unlink()
    outside = folder.parent.resolve() / "secret.jpg"
    shutil.copy(images / "000003_c.jpg", outside)
    (images / "000003_d.jpg").symlink_to(outside)
    (images / "notes.txt").write_text("mine")
    assert faults(folder) == [
        "sample 1, image b: 000001_b.jpg is missing or a broken link",
        "sample 2, image c: 000002_c.jpg is not a .jpg image",
        f"sample 3, image d: 000003_d.jpg leads out of the dataset, to {outside}",
        "images: 'notes.txt' belongs to no sample",
    ]
    for sample, camera in ((1, "b"), (2, "c"), (3, "d")):
        with pytest.raises(DataError, match=f"sample {sample}, image {camera}"):
            Dataset(folder).images(sample)


def test_images_behind_a_link_out_of_the_folder_are_refused(folder: Path) -> None:
    (folder / "images").rename(folder.parent / "elsewhere")
    (folder / "images").symlink_to("../elsewhere")
    with pytest.raises(DataError, match="leads out of the dataset"):
        Dataset(folder).images(0)
    assert len([fault for fault in faults(folder) if "leads out" in fault]) == 16


def test_a_link_to_a_dataset_opens_it(folder: Path) -> None:
    (folder.parent / "link").symlink_to(folder)
    assert len(Dataset(folder.parent / "link").images(0)) == len(CAMERAS)
    assert not faults(folder.parent / "link")


def test_the_click_that_contradicts_the_others_is_named(folder: Path) -> None:
    frame = pandas.read_parquet(folder / "labels.parquet")
    counts = frame.groupby(["sample", "keypoint"]).size()
    sample, keypoint = counts[counts == 4].index[0]
    row = frame[(frame["sample"] == sample) & (frame["keypoint"] == keypoint)].index[2]
    edit(folder, "labels", put("u", row, frame["u"][row] + 12))
    camera = frame["camera"][row]
    (fault,) = faults(folder)
    assert fault.startswith(f"sample {sample}, labels: {keypoint!r} in {camera!r} is 1")
    assert "from where the other views place it" in fault


def test_a_click_outside_its_image_is_named(folder: Path) -> None:
    edit(folder, "labels", put("u", 0, 70.0))
    assert any("lies outside 64 x 48 px" in fault for fault in faults(folder))


def test_every_fault_is_listed_not_only_the_first(folder: Path) -> None:
    edit(folder, "labels", put("u", 0, np.nan))
    edit(folder, "truth", put("x", 5, np.inf))
    edit(folder, "cameras", put("fx", 9, 0.0))
    (folder / "images" / "000001_b.jpg").unlink()
    found = faults(folder)
    expected = [
        "sample 0, labels.u",
        "sample 1, truth.x",
        "sample 2, camera 'b'",
        "sample 1, image b",
    ]
    assert all(any(fault.startswith(start) for fault in found) for start in expected)


def test_the_command_prints_every_fault_and_fails(folder: Path, capsys) -> None:
    assert cli.main(["dataset", "check", str(folder)]) == 0
    assert "no faults" in capsys.readouterr().out
    os.unlink(folder / "images" / "000001_b.jpg")
    assert cli.main(["dataset", "check", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert f"{folder}: sample 1, image b:" in printed and "16 images: 1 fault\n" in printed
    assert cli.main(["dataset", "check", str(folder), "--no-images"]) == 0


def test_tables_written_by_pandas_are_read(folder: Path) -> None:
    before = Dataset(folder)
    for table in SCHEMAS:
        path = folder / f"{table}.parquet"
        pandas.read_parquet(path).astype({"sample": "int32"}).to_parquet(path)
    after = Dataset(folder)
    assert np.array_equal(after.labels(0), before.labels(0), equal_nan=True)
    assert np.array_equal(after.truth(3), before.truth(3))


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 6), st.integers(-(2**63), 2**63 - 1), st.floats(),
    st.sampled_from([*CAMERAS, *KEYPOINTS, "../a", "", "\x1b[2J"]), st.text(max_size=4),
    st.binary(max_size=3), st.lists(st.floats(), max_size=3),
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_damaged_table_is_refused_or_read_and_the_check_agrees(data, tmp_path_factory) -> None:
    source = original(tmp_path_factory.getbasetemp())
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    if not folder.exists():
        shutil.copytree(source, folder)
    for name in SCHEMAS:
        shutil.copy(source / f"{name}.parquet", folder)
    table = data.draw(st.sampled_from(sorted(SCHEMAS)))
    rows = pq.read_table(source / f"{table}.parquet").to_pylist()
    column = data.draw(st.sampled_from(SCHEMAS[table].names))
    whole = data.draw(st.booleans())
    value = data.draw(VALUES)
    for row in rows if whole else [rows[data.draw(st.integers(0, len(rows) - 1))]]:
        row[column] = value
    try:
        kinds = None if whole else SCHEMAS[table]
        damaged = pa.Table.from_pylist(rows, schema=kinds)
    except (pa.ArrowException, TypeError, OverflowError, ValueError):
        return  # Parquet cannot hold such a table
    pq.write_table(damaged, folder / f"{table}.parquet")
    found = check(folder, images=False).faults
    try:
        Dataset(folder).truth(0)
    except (DataError, ConfigurationError) as error:
        assert str(error) == f"{folder}: {found[0]}"
    else:
        assert all(fault.field == "labels" for fault in found)  # clicks that contradict each other
