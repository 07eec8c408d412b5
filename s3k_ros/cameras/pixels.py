"""Raw frames to mono8 or bgr8 images: Bayer patterns are interpolated once, here."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from s3k_ros.errors import ConfigurationError

Image = NDArray[np.uint8]

# GenICam and OpenCV's four-letter names both begin with the upper left pixel.
_BAYER = {
    "BayerRG8": cv2.COLOR_BayerRGGB2BGR,
    "BayerGR8": cv2.COLOR_BayerGRBG2BGR,
    "BayerGB8": cv2.COLOR_BayerGBRG2BGR,
    "BayerBG8": cv2.COLOR_BayerBGGR2BGR,
}
_PLAIN = ("Mono8", "BGR8", "BGR8Packed", "RGB8", "RGB8Packed")

# What the rig can use, best first: a Bayer image is a third of a BGR one on the wire.
SUPPORTED = (*_BAYER, *_PLAIN)


def to_image(data: Image, pixel_format: str) -> Image:
    """Converts a raw frame.

    Args:
        data: (height, width) or (height, width, 3), uint8.
        pixel_format: GenICam name, one of SUPPORTED.

    Returns:
        (height, width) mono8 or (height, width, 3) bgr8, read-only.
    """
    if pixel_format in _BAYER:
        image = np.asarray(cv2.cvtColor(data, _BAYER[pixel_format]), np.uint8)
    elif pixel_format.startswith("RGB8"):
        image = np.asarray(cv2.cvtColor(data, cv2.COLOR_RGB2BGR), np.uint8)
    else:
        image = data
    image.flags.writeable = False
    return image


def choose_format(wanted: str, offered: tuple[str, ...], camera: str) -> str:
    """The pixel format to use.

    Args:
        wanted: a name, or "auto" for the first of SUPPORTED that is offered.
        offered: what the camera has.
        camera: for the message.

    Raises:
        ConfigurationError: the camera or the rig does not have it; the message lists what works.
    """
    usable = [name for name in SUPPORTED if name in offered]
    if wanted == "auto" and usable:
        return usable[0]
    if wanted in usable:
        return wanted
    listed = ", ".join(usable) or f"none of {', '.join(offered)}"
    raise ConfigurationError(f"camera {camera}: pixel format {wanted!r} cannot be used: {listed}")
