"""Image files of a dataset: JPEG and PNG only, checked before they are decoded.

A file is read when it is a regular file inside the dataset, after all links are followed, when its
header has the size that the calibration has, and when it is complete. So a dataset from elsewhere
can neither show files outside its folder nor fill the memory.
"""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from s3k_ros.errors import ConfigurationError, DataError

JPEG_QUALITY = 95
IMAGE_FORMATS = ("jpg", "png")
# Larger than any camera of a cell; an image of this size takes 200 MB decoded.
MAX_PIXELS = 2**26

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
# Start-of-frame markers hold the size; C4, C8 and CC are something else.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# What a camera may have put behind an image's end.
_TAIL_BYTES = 4096

Image = npt.NDArray[np.uint8]


def check_format(image_format: object) -> str:
    """The image format, if it is one of `IMAGE_FORMATS`.

    Raises:
        ConfigurationError: it is not.
    """
    if image_format not in IMAGE_FORMATS:
        raise ConfigurationError(f"image_format = {image_format!r} must be one of {IMAGE_FORMATS}")
    return str(image_format)


def write_image(path: Path, image: Image) -> None:
    """Writes an image, uint8 BGR (H, W, 3), in the format that the path's suffix names.

    Raises:
        OSError: it cannot be written, for instance because the disk is full.
    """
    options = {".jpg": [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY], ".png": []}[path.suffix]
    _, data = cv2.imencode(path.suffix, image, options)
    with open(path, "wb", buffering=0) as file:
        file.write(data)


def file_inside(folder: Path, path: Path) -> Path:
    """The regular file that a path leads to, links followed.

    Args:
        folder: where it has to lie, itself resolved.
        path: the path.

    Raises:
        DataError: it does not exist, is no regular file or lies outside the folder.
    """
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path.name} is missing or a broken link") from error
    if not real.is_relative_to(folder):
        raise DataError(f"{path.name} leads out of the dataset, to {real}")
    if not real.is_file():
        raise DataError(f"{path.name} is not a regular file")
    return real


def read_image(folder: Path, path: Path, width: int, height: int) -> Image:
    """Reads one image of a dataset.

    Args:
        folder: the dataset's folder, resolved.
        path: the image's path in it.
        width: what the calibration says, px.
        height: likewise.

    Returns:
        uint8 BGR (height, width, 3), as the camera saw it: a rotation tag is ignored.

    Raises:
        DataError: missing, outside the folder, not an image of the suffix's format, of another
            size, or incomplete.
    """
    data = read_bytes(folder, path, width, height)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DataError(f"{path.name} cannot be decoded: {error.err}") from error
    if image is None or image.shape != (height, width, 3):
        raise DataError(f"{path.name} cannot be decoded")
    return np.asarray(image, np.uint8)


def read_bytes(folder: Path, path: Path, width: int, height: int) -> bytes:
    """The bytes of an image file, checked like `read_image` but not decoded."""
    real = file_inside(folder, path)
    # No encoder makes more of an image than its raw bytes and a little around them.
    limit = 4 * width * height + 2**20
    if (size := real.stat().st_size) > limit:
        raise DataError(f"{path.name} has {size} bytes, at most {limit} make an image of its size")
    try:
        data = real.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}") from error
    found = image_size(data, path.suffix)
    if found is None:
        raise DataError(f"{path.name} is not a {path.suffix} image")
    if found != (width, height):
        raise DataError(
            f"{path.name} has {found[0]} x {found[1]} px, calibrated for {width} x {height}"
        )
    end = {".jpg": _JPEG_END, ".png": b"IEND"}[path.suffix]
    if data.rfind(end, max(0, len(data) - _TAIL_BYTES)) < 0:
        raise DataError(f"{path.name} is cut off")
    return data


def image_size(data: bytes, suffix: str) -> tuple[int, int] | None:
    """Width and height in px from a file's header; None when it is not of the suffix's format."""
    try:
        return _png_size(data) if suffix == ".png" else _jpeg_size(data)
    except (struct.error, IndexError):
        return None


def _png_size(data: bytes) -> tuple[int, int] | None:
    if data[:8] != _PNG_SIGNATURE or data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    if data[:2] != _JPEG_START:
        return None
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return None
