"""Images between sensor_msgs and OpenCV."""

import array
import re
import sys

import cv2
import numpy as np
from sensor_msgs.msg import Image

# Encoding: element type and channels. Encodings of the form "32FC1" are computed.
ENCODINGS = {
    "mono8": ("uint8", 1),
    "mono16": ("uint16", 1),
    "bgr8": ("uint8", 3),
    "rgb8": ("uint8", 3),
    "bgra8": ("uint8", 4),
    "rgba8": ("uint8", 4),
    "bayer_rggb8": ("uint8", 1),
    "bayer_bggr8": ("uint8", 1),
    "bayer_gbrg8": ("uint8", 1),
    "bayer_grbg8": ("uint8", 1),
}
ELEMENT_TYPES = {
    "8U": "uint8",
    "8S": "int8",
    "16U": "uint16",
    "16S": "int16",
    "32S": "int32",
    "32F": "float32",
    "64F": "float64",
}
CODES = {name: code for code, name in ELEMENT_TYPES.items()}

# OpenCV names a Bayer pattern by the second row's second and third pixel.
CONVERSIONS = {
    ("bgr8", "rgb8"): cv2.COLOR_BGR2RGB,
    ("rgb8", "bgr8"): cv2.COLOR_RGB2BGR,
    ("bgr8", "mono8"): cv2.COLOR_BGR2GRAY,
    ("rgb8", "mono8"): cv2.COLOR_RGB2GRAY,
    ("mono8", "bgr8"): cv2.COLOR_GRAY2BGR,
    ("mono8", "rgb8"): cv2.COLOR_GRAY2RGB,
    ("bgra8", "bgr8"): cv2.COLOR_BGRA2BGR,
    ("rgba8", "bgr8"): cv2.COLOR_RGBA2BGR,
    ("bgra8", "rgb8"): cv2.COLOR_BGRA2RGB,
    ("rgba8", "rgb8"): cv2.COLOR_RGBA2RGB,
    ("bayer_rggb8", "bgr8"): cv2.COLOR_BayerBG2BGR,
    ("bayer_bggr8", "bgr8"): cv2.COLOR_BayerRG2BGR,
    ("bayer_gbrg8", "bgr8"): cv2.COLOR_BayerGR2BGR,
    ("bayer_grbg8", "bgr8"): cv2.COLOR_BayerGB2BGR,
    ("bayer_rggb8", "rgb8"): cv2.COLOR_BayerBG2RGB,
    ("bayer_bggr8", "rgb8"): cv2.COLOR_BayerRG2RGB,
    ("bayer_gbrg8", "rgb8"): cv2.COLOR_BayerGR2RGB,
    ("bayer_grbg8", "rgb8"): cv2.COLOR_BayerGB2RGB,
}


class CvBridgeError(TypeError):
    """An image that cannot be converted as asked."""


def _layout(encoding):
    """Element type and number of channels of an encoding."""
    if encoding in ENCODINGS:
        return ENCODINGS[encoding]
    computed = re.fullmatch(r"(8U|8S|16U|16S|32S|32F|64F)(?:C([1-4]))?", encoding)
    if computed is None:
        raise CvBridgeError(f"Unrecognized image encoding [{encoding}]")
    return ELEMENT_TYPES[computed[1]], int(computed[2] or 1)


class CvBridge:
    """Converts images in both directions."""

    def imgmsg_to_cv2(self, img_msg, desired_encoding="passthrough"):
        """The image as an array of its own, (height, width) or (height, width, channels).

        Raises:
            CvBridgeError: an unknown encoding, or one that cannot become the desired one.
        """
        name, channels = _layout(img_msg.encoding)
        dtype = np.dtype(name).newbyteorder(">" if img_msg.is_bigendian else "<")
        rows = np.ndarray((img_msg.height, img_msg.step), np.uint8, buffer=img_msg.data)
        used = np.ascontiguousarray(rows[:, : img_msg.width * channels * dtype.itemsize])
        image = used.view(dtype).astype(name, copy=False)
        if channels > 1:
            image = image.reshape(img_msg.height, img_msg.width, channels)
        if desired_encoding in ("passthrough", img_msg.encoding):
            return image
        conversion = CONVERSIONS.get((img_msg.encoding, desired_encoding))
        if conversion is not None:
            return cv2.cvtColor(image, conversion)
        # Upstream too lets "8UC3" pass for "bgr8" and the like: the same bytes under another name.
        computed = not (img_msg.encoding in ENCODINGS and desired_encoding in ENCODINGS)
        if computed and _layout(desired_encoding) == (name, channels):
            return image
        raise CvBridgeError(f"[{img_msg.encoding}] cannot be converted to [{desired_encoding}]")

    def cv2_to_imgmsg(self, cvim, encoding="passthrough", header=None):
        """The array as a message.

        Raises:
            TypeError: not a NumPy array.
            CvBridgeError: the array's type does not suit the encoding.
        """
        if not isinstance(cvim, np.ndarray):
            raise TypeError("Your input type is not a numpy array")
        channels = 1 if cvim.ndim < 3 else cvim.shape[2]
        own = f"{CODES[cvim.dtype.name]}C{channels}"
        if encoding != "passthrough" and _layout(encoding) != (cvim.dtype.name, channels):
            raise CvBridgeError(
                f"encoding specified as {encoding}, but image has incompatible type {own}"
            )
        message = Image(height=cvim.shape[0], width=cvim.shape[1])
        if header is not None:
            message.header = header
        message.encoding = own if encoding == "passthrough" else encoding
        order = cvim.dtype.byteorder
        message.is_bigendian = int(order == ">" or (order == "=" and sys.byteorder == "big"))
        # An array filled by its own method goes past the setter's check of every single element.
        data = array.array("B")
        data.frombytes(memoryview(np.ascontiguousarray(cvim)).cast("B"))
        message.data = data
        message.step = len(data) // message.height
        return message
