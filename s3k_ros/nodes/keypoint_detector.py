"""`keypoint_detector`: N images in, the model's keypoints in every view out.

Complete sets come through message_filters; a silent camera costs its view, not the set
(`s3k_ros.ros.image_sets`). Inference runs in a thread that always takes the newest set.
"""

from __future__ import annotations

from functools import partial

from message_filters import Subscriber
from sensor_msgs.msg import CameraInfo, Image

from s3k_ros.errors import DataError
from s3k_ros.params.nodes import KeypointDetectorNodeParameters
from s3k_ros.params.perception import DetectorParameters
from s3k_ros.perception.detector import ViewStatus, image_status
from s3k_ros.perception.model_slot import ModelSlot
from s3k_ros.ros import conversions, qos
from s3k_ros.ros.calibration import CameraInfos
from s3k_ros.ros.detection import DetectionStage, View, ViewSet
from s3k_ros.ros.image_sets import ImageSet, ImageSets
from s3k_ros.ros.model_service import ModelService
from s3k_ros.ros.node import S3kNode, run_node
from s3k_ros.ros.resources import find_file
from s3k_ros.ros.worker import LatestWorker

_POLL_S = 0.05


class KeypointDetectorNode(S3kNode):
    def __init__(self) -> None:
        super().__init__("keypoint_detector")
        p = self._params = self.declare(
            KeypointDetectorNodeParameters, on_change=self._on_parameters
        )
        inference = self.declare(DetectorParameters, prefix="detector")
        self._slot = ModelSlot.open(find_file(p.model), inference, p.keypoints, len(p.cameras))
        self._stage = DetectionStage(self, p.cameras, self._slot, p.input_timeout_s)
        self._models = ModelService(
            self, "load_model", self._stage.prepare, ask="triangulator/load_model"
        )
        self._on_parameters(p)
        self._frames: dict[str, str] = {}
        self._infos = CameraInfos(p.cameras)
        self._make_inputs()

    def _make_inputs(self) -> None:
        p = self._params
        self._streams = {
            name: self.diagnostics.stream(name, p.input_timeout_s) for name in p.cameras
        }
        for name in p.cameras:
            learn = partial(self._infos.learn, name)
            self.listen(CameraInfo, f"{name}/camera_info", learn, qos.images())
        self._worker = LatestWorker(self._process, self._stage.sets.drop, self.fail)
        inputs = {name: self._subscribe(name) for name in p.cameras}
        self._gatherer: ImageSets[Image] = ImageSets(
            inputs,
            slop_s=p.slop_s,
            set_timeout_s=p.set_timeout_s,
            camera_timeout_s=p.camera_timeout_s,
            emit=self._worker.put,
            clock=lambda: 1e-9 * self.now_ns(),
        )
        self.diagnostics.add("synchronisation", self._gatherer.monitor.report)
        self.create_timer(_POLL_S, self._gatherer.poll)

    def _subscribe(self, camera: str) -> Subscriber:
        topic = f"{camera}/image_raw"
        options = self.subscription_options(topic)
        source = Subscriber(self, Image, topic, qos_profile=qos.images(), **options)
        source.registerCallback(self._on_image, camera)
        return source

    def _on_image(self, message: Image, camera: str) -> None:
        self._frames[camera] = message.header.frame_id
        age_ns = self.now_ns() - conversions.nanoseconds(message.header.stamp)
        self._streams[camera].tick(latency_s=1e-9 * age_ns)

    def _process(self, images: ImageSet[Image]) -> None:
        """One set, in the worker's thread."""
        views = [self._view(name, images) for name in self._params.cameras]
        self._stage.process(ViewSet(images.set_id, images.stamp_ns, images.skew_ns, views))

    def _view(self, camera: str, images: ImageSet[Image]) -> View:
        message = images.messages.get(camera)
        if message is None:
            header = conversions.header(images.stamp_ns, self._frames.get(camera, ""))
            return View(camera, header, None, ViewStatus.NO_IMAGE)
        try:
            image = conversions.image_from_message(message)
        except DataError as error:
            self._streams[camera].refuse(str(error))
            return View(camera, message.header, None, ViewStatus.BAD_IMAGE)
        stamp_ns = conversions.nanoseconds(message.header.stamp)
        info = self._infos.at(camera, stamp_ns)
        whole = conversions.whole_image(info, message.width, message.height)
        return View(camera, message.header, image, image_status(image), whole)

    def _on_parameters(self, params: KeypointDetectorNodeParameters) -> None:
        self._stage.overlay_scale = params.overlay_scale

    def close(self) -> None:
        if hasattr(self, "_worker"):
            self._worker.close()


def main() -> int:
    return run_node(KeypointDetectorNode)
