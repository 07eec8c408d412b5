"""Messages to library types and back.

What cannot be converted is refused with a reason; nothing is filled with zeros.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration as DurationMessage
from builtin_interfaces.msg import Time as TimeMessage
from cv_bridge import CvBridge, CvBridgeError
from geometry_msgs.msg import Point, Quaternion, TransformStamped, Vector3
from geometry_msgs.msg import Transform as TransformMessage
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.geometry.camera import DISTORTION_SIZES, Camera
from s3k_ros.geometry.se3 import Transform
from s3k_ros.msg import Keypoint2D, Keypoint2DArray, Keypoint3D, KeypointModel
from s3k_ros.perception.description import ModelDescription
from s3k_ros.perception.detector import ViewKeypoints, ViewStatus
from s3k_ros.perception.regions import Region
from s3k_ros.perception.triangulator import KeypointEstimate

BgrImage = NDArray[np.uint8]
IntArray = NDArray[np.int_]

_NS_PER_S = 1_000_000_000
_bridge = CvBridge()


def nanoseconds(stamp: TimeMessage | DurationMessage) -> int:
    """A stamp or duration as nanoseconds."""
    return int(stamp.sec) * _NS_PER_S + int(stamp.nanosec)


def stamp_message(time_ns: int) -> TimeMessage:
    """Nanoseconds since the epoch as a stamp."""
    return TimeMessage(sec=time_ns // _NS_PER_S, nanosec=time_ns % _NS_PER_S)


def duration_message(duration_ns: int) -> DurationMessage:
    """Nanoseconds, also negative ones, as a duration."""
    return DurationMessage(sec=duration_ns // _NS_PER_S, nanosec=duration_ns % _NS_PER_S)


def header(time_ns: int, frame: str = "") -> Header:
    """A header of this stamp and frame."""
    return Header(stamp=stamp_message(time_ns), frame_id=frame)


def image_from_message(message: Image) -> BgrImage:
    """The image as uint8 BGR (H, W, 3); shares the message's memory where it is bgr8 already.

    Raises:
        DataError: size, encoding and data do not fit each other.
    """
    try:
        image = _bridge.imgmsg_to_cv2(message, desired_encoding="bgr8")
    except (CvBridgeError, ValueError, TypeError) as error:
        raise DataError(
            f"image {message.width} x {message.height} {message.encoding!r} with "
            f"{len(message.data)} bytes cannot be read: {error}"
        ) from None
    if image.shape != (message.height, message.width, 3) or image.size == 0:
        raise DataError(f"image is {image.shape}, its message says {message.height, message.width}")
    return np.asarray(image)


def image_to_message(image: BgrImage, image_header: Header) -> Image:
    """An image message from uint8 BGR (H, W, 3), or mono8 from (H, W)."""
    message = _bridge.cv2_to_imgmsg(image, encoding="mono8" if image.ndim == 2 else "bgr8")
    message.header = image_header
    return message


def transform_from_message(message: TransformMessage) -> Transform:
    """The rigid motion parent_from_child of a TF message.

    Raises:
        ConfigurationError: values that are not finite, or a quaternion of norm zero.
    """
    r, t = message.rotation, message.translation
    return Transform.from_quaternion([r.x, r.y, r.z, r.w], [t.x, t.y, t.z])


def transform_to_message(transform: Transform) -> TransformMessage:
    """The TF message of parent_from_child."""
    x, y, z, w = map(float, transform.quaternion)
    tx, ty, tz = map(float, transform.translation)
    return TransformMessage(
        translation=Vector3(x=tx, y=ty, z=tz), rotation=Quaternion(x=x, y=y, z=z, w=w)
    )


def transform_stamped(
    parent_from_child: Transform, parent_header: Header, child: str
) -> TransformStamped:
    """A TF message; ``parent_header`` holds the stamp and the parent frame."""
    return TransformStamped(
        header=parent_header,
        child_frame_id=child,
        transform=transform_to_message(parent_from_child),
    )


def camera_from_messages(name: str, info: CameraInfo, base_from_camera: Transform) -> Camera:
    """A calibrated camera from its camera_info (raw image, REP-104) and its pose.

    The camera is that of the image: with a region of interest and binning it is the part of the
    calibrated image that they leave. An empty distortion list means none.

    Raises:
        ConfigurationError: not calibrated, a distortion model other than plumb_bob and
            rational_polynomial, or a region that does not lie in the calibrated image.
    """
    if not any(info.k):
        raise ConfigurationError(f"camera {name!r}: camera_info has no intrinsics, not calibrated")
    model, distortion = info.distortion_model, list(info.d)
    if not distortion and model in ("", *DISTORTION_SIZES):
        model, distortion = "plumb_bob", [0.0] * DISTORTION_SIZES["plumb_bob"]
    whole = Camera(
        name=name,
        width=info.width,
        height=info.height,
        matrix=np.array(info.k).reshape(3, 3),
        distortion_model=model,
        distortion=np.array(distortion),
        base_from_camera=base_from_camera,
    )
    return _windowed(whole, info)


def _windowed(whole: Camera, info: CameraInfo) -> Camera:
    """The camera of the image that region of interest and binning leave (sensor_msgs/CameraInfo).

    The region counts in px of the whole image and is cut out first, then b x b px become one. With
    pixel centres at integers, u' = (u - x_offset + 1/2) / b - 1/2. `image_geometry` leaves the two
    halves out and so is off by (b - 1) / (2 b) px.
    """
    offset, size, binning = _window(info)
    left = size // binning
    if (left < 1).any() or (offset + size > (whole.width, whole.height)).any():
        raise ConfigurationError(
            f"camera {whole.name!r}: the region of {size[0]} x {size[1]} px at {tuple(offset)} in "
            f"camera_info, binned {binning[0]} x {binning[1]}, is no part of its "
            f"{whole.width} x {whole.height} px"
        )
    matrix = whole.matrix.copy()
    matrix[:2, :2] /= binning[:, np.newaxis]
    matrix[:2, 2] = (whole.matrix[:2, 2] - offset + 0.5) / binning - 0.5
    return dataclasses.replace(whole, width=int(left[0]), height=int(left[1]), matrix=matrix)


def _window(info: CameraInfo) -> tuple[IntArray, IntArray, IntArray]:
    """Offset and size of the region in px of the whole image, and binning, each (2,) along x, y."""
    roi = info.roi
    binning = np.array([max(info.binning_x, 1), max(info.binning_y, 1)])
    offset, size = np.array([roi.x_offset, roi.y_offset]), np.array([roi.width, roi.height])
    if not size.any() and not offset.any():  # "all values 0: full resolution"
        size = np.array([info.width, info.height])
    return offset, size, binning


def whole_image(info: CameraInfo | None, width: int, height: int) -> Region | None:
    """The whole sensor's image in px of an image of this size, to the pixel.

    None where the image is whole, or its camera_info (None: unknown) does not fit it.
    """
    if info is None:
        return None
    offset, size, binning = _window(info)
    if (size // binning).tolist() != [width, height]:
        return None
    x, y = np.rint(-offset / binning).astype(int).tolist()
    whole = Region(x, y, info.width // int(binning[0]), info.height // int(binning[1]))
    return None if whole == Region.whole(width, height) else whole


def camera_info(camera: Camera, info_header: Header) -> CameraInfo:
    """The camera_info of a camera's raw image; ``info_header`` names the optical frame."""
    projection = np.hstack([camera.matrix, np.zeros((3, 1))])
    return CameraInfo(
        header=info_header,
        width=camera.width,
        height=camera.height,
        distortion_model=camera.distortion_model,
        d=camera.distortion.tolist(),
        k=camera.matrix.ravel(),
        r=np.eye(3).ravel(),
        p=projection.ravel(),
    )


def view_to_message(
    view: ViewKeypoints | None,
    status: ViewStatus,
    names: Sequence[str],
    camera: str,
    view_header: Header,
) -> Keypoint2DArray:
    """The keypoints of one view, or the reason why there are none."""
    message = Keypoint2DArray(header=view_header, camera=camera, status=int(status))
    if view is None or status != ViewStatus.OK:
        return message
    covariances = view.covariances.reshape(-1, 4)
    message.keypoints = [
        Keypoint2D(
            name=name,
            u=float(view.pixels[k, 0]),
            v=float(view.pixels[k, 1]),
            covariance=covariances[k],
            confidence=float(view.confidences[k]),
        )
        for k, name in enumerate(names)
    ]
    return message


def view_from_message(message: Keypoint2DArray, names: Sequence[str]) -> ViewKeypoints | None:
    """The keypoints of one view; None when its status is not OK.

    Raises:
        DataError: other keypoints than ``names``, or another order.
    """
    if message.status != Keypoint2DArray.OK:
        return None
    found = [keypoint.name for keypoint in message.keypoints]
    if found != list(names):
        raise DataError(f"view {message.camera!r} has keypoints {found}, expected {list(names)}")
    # As after transport: a message that never left this process holds more than its float32.
    confidences = np.array([k.confidence for k in message.keypoints], np.float32)
    return ViewKeypoints(
        pixels=np.array([[k.u, k.v] for k in message.keypoints]),
        covariances=np.array([k.covariance for k in message.keypoints]).reshape(-1, 2, 2),
        confidences=confidences.astype(np.float64),
    )


def estimate_to_message(estimate: KeypointEstimate, age_ns: int) -> Keypoint3D:
    """One keypoint in space; ``age_ns`` since the exposure it rests on."""
    x, y, z = map(float, estimate.position)
    return Keypoint3D(
        name=estimate.name,
        status=int(estimate.status),
        position=Point(x=x, y=y, z=z),
        covariance=estimate.covariance.ravel(),
        confidence=float(estimate.confidence),
        reprojection_error=float(estimate.reprojection_error),
        views_used=int(estimate.views_used),
        age=duration_message(age_ns),
    )


def model_to_message(name: str, description: ModelDescription, time_ns: int) -> KeypointModel:
    """What subscribers need to know about a model, stamped with the time it was loaded."""
    return KeypointModel(
        header=header(time_ns),
        model=name,
        object_id=description.object_id,
        names=list(description.keypoints),
        skeleton=[index for pair in description.skeleton for index in pair],
        sigma=description.sigma_px,
        input_size=[side for stage in description.stages.values() for side in stage.input_size],
    )
