"""A rig whose images come from topics: of the simulated cell, or of any other driver."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Mapping
from functools import partial

from message_filters import Subscriber
from sensor_msgs.msg import CameraInfo, Image

from s3k_ros.cameras.port import (
    CameraState,
    CameraStatistics,
    Event,
    Frame,
    FrameSet,
    Reason,
    RigStatistics,
    Setting,
    Value,
)
from s3k_ros.cameras.tally import Tally
from s3k_ros.errors import ConfigurationError, DataError, DeviceUnavailableError
from s3k_ros.params.cameras import CameraRigParameters
from s3k_ros.perception.detector import ViewStatus, image_status
from s3k_ros.ros import conversions, qos
from s3k_ros.ros.calibration import CameraInfos
from s3k_ros.ros.conversions import nanoseconds
from s3k_ros.ros.detection import View
from s3k_ros.ros.image_sets import ImageSet, ImageSets
from s3k_ros.ros.node import S3kNode

_POLL_S = 0.05
# A simulated cell on a busy machine sends less than one image a second.
_SILENT_S = 3.0


class TopicRig:
    """`CameraRig` of the topics `<camera>/image_raw`; their stamps stay as they are.

    Args:
        node: subscribes; its executor has to run.
        parameters: names of the cameras, and when images make a set.
    """

    def __init__(self, node: S3kNode, parameters: CameraRigParameters) -> None:
        self._node, self._parameters = node, parameters
        self._slop_ns = round(1e9 * parameters.max_skew_s)
        self._changed = threading.Condition()
        self._waiting: collections.deque[ImageSet[Image]] = collections.deque()
        self._tally = Tally()
        self._counters: collections.Counter[str] = collections.Counter()
        self._failed: collections.Counter[tuple[str, Reason]] = collections.Counter()
        self._heard_s: dict[str, float] = {}
        self._opened = self._active = False
        self._gatherer: ImageSets[Image] | None = None
        self.frame_ids: dict[str, str] = {}

    @property
    def cameras(self) -> tuple[str, ...]:
        """See `CameraRig`."""
        return self._parameters.cameras

    def open(self) -> None:
        """See `CameraRig.open`; a topic that nobody publishes yet is no error."""
        with self._changed:
            if self._opened:
                return
            self._opened = True
        if self._gatherer is None:
            self._subscribe()

    def _subscribe(self) -> None:
        p, node = self._parameters, self._node
        inputs = {}
        for name in p.cameras:
            topic = f"{name}/image_raw"
            options = node.subscription_options(topic)
            inputs[name] = Subscriber(node, Image, topic, qos_profile=qos.images(), **options)
            inputs[name].registerCallback(self._on_image, name)
        self._gatherer = ImageSets(
            inputs,
            slop_s=p.max_skew_s,
            set_timeout_s=p.set_timeout_s,
            camera_timeout_s=p.silence_s,
            emit=self._put,
            clock=lambda: 1e-9 * node.now_ns(),
        )
        node.diagnostics.add("synchronisation", self._gatherer.monitor.report)
        node.create_timer(_POLL_S, self._gatherer.poll)

    def start(self) -> None:
        """See `CameraRig.start`."""
        with self._changed:
            if not self._opened:
                raise DeviceUnavailableError("the rig is not open")
            self._active = True

    def stop(self) -> None:
        """See `CameraRig.stop`."""
        with self._changed:
            self._active = False
            while self._waiting:
                self._tally.refused(self._waiting.popleft().messages, Reason.STOPPED)
            self._changed.notify_all()

    def close(self) -> None:
        """See `CameraRig.close`."""
        self.stop()
        self._opened = False

    def _on_image(self, message: Image, camera: str) -> None:
        self.frame_ids[camera] = message.header.frame_id
        with self._changed:
            self._heard_s[camera] = time.monotonic()
            self._tally.received[camera] += self._active

    def _put(self, images: ImageSet[Image]) -> None:
        with self._changed:
            if not self._active:
                return
            self._waiting.append(images)
            while len(self._waiting) > self._parameters.queue_sets:
                self._tally.refused(self._waiting.popleft().messages, Reason.OVERFLOW)
            self._changed.notify_all()

    def next_set(self, timeout_s: float) -> FrameSet | None:
        """See `CameraRig.next_set`."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._active, timeout_s)
            if not self._active or not self._waiting:
                return None
            images = self._waiting.popleft()
        frames = {name: self._frame(name, images) for name in self.cameras}
        found = {name: frame for name, frame in frames.items() if frame is not None}
        missing = {
            name: Reason.FAILED if name in images.messages else Reason.LOST
            for name in self.cameras
            if name not in found
        }
        with self._changed:
            if len(images.messages) > 1:
                self._tally.measured(images.skew_ns)
            self._tally.delivered(found, complete=not missing)
        return FrameSet(images.set_id, images.stamp_ns, images.skew_ns, found, missing)

    def _frame(self, camera: str, images: ImageSet[Image]) -> Frame | None:
        message = images.messages.get(camera)
        if message is None:
            return None
        self._counters[camera] += 1
        try:
            image = conversions.image_from_message(message)
        except DataError as error:
            self._failed[camera, Reason.FAILED] += 1
            if self._failed[camera, Reason.FAILED] == 1:
                self._node.get_logger().warning(f"{camera}: {error}")
            return None
        image.flags.writeable = False
        stamp_ns = nanoseconds(message.header.stamp)
        # Nobody tells the error of the stamps; more than this would not have made a set.
        return Frame(camera, image, stamp_ns, self._slop_ns, self._counters[camera])

    def settings(self, camera: str) -> Mapping[str, Setting]:
        """See `CameraRig.settings`: there are none."""
        self._require(camera)
        return {}

    def change(self, camera: str, name: str, value: Value) -> Value:
        """See `CameraRig.change`: always refused."""
        self._require(camera)
        raise ConfigurationError(f"camera {camera} has no setting {name!r}: its driver has them")

    def statistics(self) -> RigStatistics:
        """See `CameraRig.statistics`."""
        with self._changed:
            return self._tally.statistics(
                {
                    name: CameraStatistics(
                        state=self._state(name),
                        device=f"{name}/image_raw",
                        connections=int(name in self._heard_s),
                        **self._tally.of_camera(name, self._failed),
                    )
                    for name in self.cameras
                }
            )

    def _state(self, camera: str) -> CameraState:
        heard_s = self._heard_s.get(camera)
        if heard_s is None or not self._opened:
            return CameraState.ABSENT
        if not self._active:
            return CameraState.READY
        # By the wall clock: a simulation that stands still is silent too.
        silent = time.monotonic() - heard_s > max(_SILENT_S, self._parameters.silence_s)
        return CameraState.SILENT if silent else CameraState.STREAMING

    def take_events(self) -> list[Event]:
        """See `CameraRig.take_events`: there are none, the states say it all."""
        return []

    def _require(self, camera: str) -> None:
        if camera not in self.cameras:
            raise ConfigurationError(f"no camera {camera!r}; the rig has {', '.join(self.cameras)}")


class TopicImages:
    """What `RigImages` is for other rigs: the images are published already, with camera_info.

    Args:
        node: the node.
        rig: where the images come from.
    """

    def __init__(self, node: S3kNode, rig: TopicRig) -> None:
        self._rig = rig
        self._infos = CameraInfos(rig.cameras)
        for name in rig.cameras:
            learn = partial(self._infos.learn, name)
            node.listen(CameraInfo, f"{name}/camera_info", learn, qos.images())

    def view(self, camera: str, frames: FrameSet) -> View:
        """As `RigImages.view`."""
        frame = frames.frames.get(camera)
        stamp_ns = frames.stamp_ns if frame is None else frame.stamp_ns
        header = conversions.header(stamp_ns, self._rig.frame_ids.get(camera, ""))
        if frame is not None:
            height, width = frame.image.shape[:2]
            whole = conversions.whole_image(self.info(frame), width, height)
            return View(camera, header, frame.image, image_status(frame.image), whole)
        failed = frames.missing.get(camera) is Reason.FAILED
        return View(camera, header, None, ViewStatus.BAD_IMAGE if failed else ViewStatus.NO_IMAGE)

    def info(self, frame: Frame) -> CameraInfo | None:
        """The camera_info that held for an image; None before the first one."""
        return self._infos.at(frame.camera, frame.stamp_ns)

    def publish(self, frames: FrameSet) -> None:
        """Nothing: others publish them."""
