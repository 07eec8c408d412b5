"""Calibrated cameras from `camera_info` and TF."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence

from builtin_interfaces.msg import Time as TimeMessage
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage
from tf2_ros import Buffer, TransformException, TransformListener

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.ros.conversions import camera_from_messages, nanoseconds, transform_from_message
from s3k_ros.ros.node import S3kNode

_TF_STATIC_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
# So many changes of a camera's camera_info are remembered, for sets that are still under way.
_CHANGES = 8


@dataclasses.dataclass
class _Held:
    """A camera_info and the stamps of the first and the last message that said the same, ns."""

    info: CameraInfo
    first_ns: int
    last_ns: int


class CameraInfos:
    """What camera_info said of which time: regions and binning change while images come.

    Args:
        cameras: names.
    """

    def __init__(self, cameras: Sequence[str]) -> None:
        self._known: dict[str, deque[_Held]] = {name: deque(maxlen=_CHANGES) for name in cameras}

    def learn(self, camera: str, info: CameraInfo) -> None:
        """Takes a camera's newest camera_info."""
        known, stamp_ns = self._known[camera], nanoseconds(info.header.stamp)
        if known and stamp_ns < known[-1].last_ns:  # a clock set back
            known.clear()
        if known and _same(known[-1].info, info):
            known[-1].last_ns = stamp_ns
            return
        if known and stamp_ns == known[-1].last_ns:  # a driver without stamps
            known.clear()
        known.append(_Held(info, stamp_ns, stamp_ns))

    def at(self, camera: str, stamp_ns: int) -> CameraInfo | None:
        """What held at a time; None while nothing is known, and between two that differ.

        Before all that is known it is the oldest, after it the newest.
        """
        known = list(self._known[camera])  # a copy: another thread may learn
        if known and stamp_ns <= known[0].last_ns:
            return known[0].info
        if known and stamp_ns >= known[-1].first_ns:
            return known[-1].info
        held = (h.info for h in known if h.first_ns <= stamp_ns <= h.last_ns)
        return next(held, None)


class CameraCalibrations:
    """Knows the calibration of a node's cameras as far as it was published.

    Args:
        node: the node that listens.
        cameras: names; whoever has their camera_info hands it to `learn`.
        base_frame: frame of the cameras' poses.
        moving: follow ``/tf`` too; otherwise only ``/tf_static``, because a callback for each of
            the robot's transforms costs more than all the rest of the node.
    """

    def __init__(
        self, node: S3kNode, cameras: Sequence[str], base_frame: str, *, moving: bool
    ) -> None:
        self._cameras = tuple(cameras)
        self._base_frame = base_frame
        self._infos = CameraInfos(cameras)
        self._cache: dict[str, tuple[CameraInfo, object, Camera]] = {}
        self._buffer = Buffer()
        if moving:
            self._listener = TransformListener(self._buffer, node)
        else:
            node.create_subscription(TFMessage, "/tf_static", self._on_static, _TF_STATIC_QOS)

    def camera(self, name: str, frame: str, stamp: TimeMessage) -> Camera:
        """The camera as it stood at a time.

        Args:
            name: its name.
            frame: its optical frame.
            stamp: time of exposure.

        Raises:
            DataError: no camera_info or no transform yet, or a calibration that cannot be used.
        """
        if name not in self._cameras:
            raise DataError(f"not one of the configured cameras {', '.join(self._cameras)}")
        info = self._infos.at(name, nanoseconds(stamp))
        if info is None:
            raise DataError(
                f"no calibration: nothing on {name}/camera_info yet, or it has just changed and "
                "what came with this image was lost"
            )
        try:
            found = self._buffer.lookup_transform(self._base_frame, frame, Time.from_msg(stamp))
        except TransformException as error:
            raise DataError(f"no TF from {self._base_frame} to {frame}: {error}") from None
        cached = self._cache.get(name)
        if cached and cached[0] is info and cached[1] == found.transform:
            return cached[2]
        try:
            camera = camera_from_messages(name, info, transform_from_message(found.transform))
        except ConfigurationError as error:
            raise DataError(f"bad calibration: {error}") from None
        self._cache[name] = (info, found.transform, camera)
        return camera

    def learn(self, name: str, info: CameraInfo) -> None:
        """Takes a camera's newest camera_info; it holds for images from its stamp on."""
        self._infos.learn(name, info)

    def _on_static(self, message: TFMessage) -> None:
        for transform in message.transforms:
            self._buffer.set_transform_static(transform, "")


def _same(a: CameraInfo, b: CameraInfo) -> bool:
    """Whether two messages hold the same calibration, whatever their stamps."""
    size = (a.width, a.height, a.distortion_model) == (b.width, b.height, b.distortion_model)
    binning = (a.binning_x, a.binning_y, a.roi) == (b.binning_x, b.binning_y, b.roi)
    return size and binning and list(a.k) == list(b.k) and list(a.d) == list(b.d)
