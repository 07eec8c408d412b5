"""Recorded images as frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from s3k_ros.cameras import pixels
from s3k_ros.errors import DataError

IMAGE = "sensor_msgs/msg/Image"

# ROS's names of pixel formats, and GenICam's, which `pixels` knows.
_FORMATS = {
    "bgr8": "BGR8",
    "8UC3": "BGR8",
    "rgb8": "RGB8",
    "mono8": "Mono8",
    "8UC1": "Mono8",
    "bayer_rggb8": "BayerRG8",
    "bayer_grbg8": "BayerGR8",
    "bayer_gbrg8": "BayerGB8",
    "bayer_bggr8": "BayerBG8",
}


def image_of(message: Any) -> NDArray[np.uint8]:
    """The image of a decoded sensor_msgs/Image: mono8 (H, W) or bgr8 (H, W, 3), read-only.

    Raises:
        DataError: size, encoding and data do not fit each other, or another encoding.
    """
    size = f"image {message.width} x {message.height} {message.encoding!r}"
    if message.encoding not in _FORMATS:
        raise DataError(f"{size}: only {', '.join(_FORMATS)} can be read")
    name = _FORMATS[message.encoding]
    channels = 3 if name in ("BGR8", "RGB8") else 1
    row, data = channels * message.width, np.frombuffer(message.data, np.uint8)
    if not row or not message.height or message.step < row:
        raise DataError(f"{size} with rows of {message.step} bytes makes no image")
    if data.size != message.step * message.height:
        raise DataError(f"{size}: {data.size} bytes are not {message.step} x {message.height}")
    rows = np.ascontiguousarray(data.reshape(message.height, message.step)[:, :row])
    shape = (message.height, message.width, 3) if channels == 3 else (message.height, message.width)
    return pixels.to_image(rows.reshape(shape), name)


def stamp_of(message: Any) -> int:
    """The stamp of a decoded message with a header, ns."""
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)
