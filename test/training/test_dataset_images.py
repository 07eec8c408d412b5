"""Image files are checked before they are decoded, and never lead out of the folder."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3k_ros.errors import DataError
from s3k_ros.training.dataset import image_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image = np.random.default_rng(1).integers(0, 256, (12, 20, 3), np.uint8)
    for suffix in image_files.IMAGE_FORMATS:
        image_files.write_image(tmp_path / f"x.{suffix}", image)
    return tmp_path.resolve()


def refused(folder: Path, name: str, match: str, size: tuple[int, int] = (20, 12)) -> None:
    with pytest.raises(DataError, match=match):
        image_files.read_image(folder, folder / name, *size)


@pytest.mark.parametrize("name", ["x.jpg", "x.png"])
def test_size_is_read_from_the_header(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    assert image_files.image_size(data, Path(name).suffix) == (20, 12)
    assert image_files.read_image(folder, folder / name, 20, 12).shape == (12, 20, 3)


def test_size_is_found_behind_other_parts_of_a_jpeg() -> None:
    start = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc4\x00\x03x"
    frame = b"\xff\xc2\x00\x0b\x08" + struct.pack(">HH", 480, 640)
    assert image_files.image_size(start + frame, ".jpg") == (640, 480)


@pytest.mark.parametrize("name", ["x.jpg", "x.png"])
def test_another_size_than_calibrated_is_refused(folder: Path, name: str) -> None:
    refused(folder, name, "20 x 12 px, calibrated for 12 x 20", (12, 20))


def test_an_absurd_size_is_refused_before_decoding(folder: Path, monkeypatch) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 10**6, 10**6, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + bytes(20) + b"IEND")
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    refused(folder, "bomb.png", "1000000 x 1000000 px")


def test_a_file_far_larger_than_its_image_is_refused_unread(folder: Path, monkeypatch) -> None:
    os.truncate(folder / "x.png", 2**30)  # a hole: takes no space
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read"))
    refused(folder, "x.png", "has 1073741824 bytes")


@pytest.mark.parametrize("name", ["x.jpg", "x.png"])
def test_a_cut_off_image_is_refused(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) * 2 // 3])
    refused(folder, name, "is cut off")


def test_an_image_in_a_file_of_the_other_format_is_refused(folder: Path) -> None:
    (folder / "x.png").replace(folder / "y.jpg")
    refused(folder, "y.jpg", "not a .jpg image")


def test_a_link_out_of_the_folder_is_refused(folder: Path) -> None:
    inner = folder / "d"
    inner.mkdir()
    (inner / "x.jpg").symlink_to(folder / "x.jpg")
    refused(inner, "x.jpg", "leads out of the dataset")
    (inner / "images").symlink_to(folder)
    refused(inner, "images/x.jpg", "leads out of the dataset")


def test_a_link_inside_the_folder_is_followed(folder: Path) -> None:
    (folder / "y.jpg").symlink_to("x.jpg")
    assert image_files.read_image(folder, folder / "y.jpg", 20, 12).shape == (12, 20, 3)


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "nothing"])
def test_what_is_no_file_is_refused_and_never_waited_for(folder: Path, kind: str) -> None:
    path = folder / "z.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to("z.jpg")
    refused(folder, "z.jpg", "z.jpg is")


def test_a_rotation_tag_is_ignored(folder: Path) -> None:
    data = (folder / "x.jpg").read_bytes()
    # TIFF header and one entry: orientation (0x0112), short, 6: turned by 90 degrees.
    tiff = (
        b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"
        + bytes(4)
    )
    exif = b"Exif\x00\x00" + tiff
    tagged = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    (folder / "t.jpg").write_bytes(tagged)
    plain = image_files.read_image(folder, folder / "x.jpg", 20, 12)
    assert np.array_equal(image_files.read_image(folder, folder / "t.jpg", 20, 12), plain)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_damaged_files_are_refused_or_read_but_never_crash(data, tmp_path_factory) -> None:
    folder = tmp_path_factory.getbasetemp().resolve()
    suffix = data.draw(st.sampled_from(image_files.IMAGE_FORMATS))
    path = folder / f"fuzz.{suffix}"
    image_files.write_image(path, np.zeros((12, 20, 3), np.uint8))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        assert image_files.read_image(folder, path, 20, 12).shape == (12, 20, 3)
    except DataError as error:
        assert path.name in str(error)
