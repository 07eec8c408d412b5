"""`keypoint_detector`: N images in, the model's keypoints in every view out.

Complete sets come through message_filters; a silent camera costs its view, not the set
(`s3k_ros.ros.image_sets`). Inference runs in a thread that always takes the newest set.
"""

from __future__ import annotations

import dataclasses
from functools import partial

from message_filters import Subscriber
from sensor_msgs.msg import Image

from s3k_ros.errors import DataError
from s3k_ros.msg import KeypointModel, MultiViewKeypoints
from s3k_ros.params.nodes import KeypointDetectorNodeParameters
from s3k_ros.params.perception import DetectorParameters
from s3k_ros.perception.detector import KeypointDetector, ViewKeypoints, ViewStatus, image_status
from s3k_ros.perception.drawing import draw_keypoints
from s3k_ros.ros import conversions, qos
from s3k_ros.ros.conversions import BgrImage
from s3k_ros.ros.diagnostics import Level, Report
from s3k_ros.ros.image_sets import ImageSet, ImageSets
from s3k_ros.ros.node import S3kNode, run_node
from s3k_ros.ros.resources import find_file
from s3k_ros.ros.worker import LatestWorker

_POLL_S = 0.05


class KeypointDetectorNode(S3kNode):
    def __init__(self) -> None:
        super().__init__("keypoint_detector")
        self._params = self.declare(KeypointDetectorNodeParameters, on_change=self._on_parameters)
        inference = self.declare(DetectorParameters, prefix="detector")
        model = str(find_file(self._params.model))
        self._detector = KeypointDetector.load(model, inference, self._params.keypoints)
        self._names = self._detector.model.description.keypoints
        self._frames: dict[str, str] = {}
        self._complete = 0
        self._make_outputs()
        self._make_inputs()

    def _make_outputs(self) -> None:
        make = partial(self.advertise, exclusive=True)
        self._keypoints = make(MultiViewKeypoints, "keypoints_2d", qos.keypoints())
        self._model = make(KeypointModel, "keypoint_model", qos.latched())
        self._overlays = {
            name: make(Image, f"{name}/keypoint_image", qos.images())
            for name in self._params.cameras
        }
        model = self._detector.model
        self._model.publish(
            conversions.model_to_message(model.name, model.description, self._now_ns())
        )

    def _make_inputs(self) -> None:
        p = self._params
        self._sets = self.diagnostics.stream("sets", p.input_timeout_s)
        self._streams = {
            name: self.diagnostics.stream(name, p.input_timeout_s) for name in p.cameras
        }
        self.diagnostics.add("model", self._report_model)
        self._worker = LatestWorker(self._process, self._sets.drop, self.fail)
        inputs = {name: self._subscribe(name) for name in p.cameras}
        self._gatherer: ImageSets[Image] = ImageSets(
            inputs,
            slop_s=p.slop_s,
            set_timeout_s=p.set_timeout_s,
            camera_timeout_s=p.camera_timeout_s,
            emit=self._worker.put,
            clock=lambda: 1e-9 * self._now_ns(),
        )
        self.create_timer(_POLL_S, self._gatherer.poll)

    def _subscribe(self, camera: str) -> Subscriber:
        topic = f"{camera}/image_raw"
        options = self.subscription_options(topic)
        source = Subscriber(self, Image, topic, qos_profile=qos.images(), **options)
        source.registerCallback(self._on_image, camera)
        return source

    def _on_image(self, message: Image, camera: str) -> None:
        self._frames[camera] = message.header.frame_id
        age_ns = self._now_ns() - conversions.nanoseconds(message.header.stamp)
        self._streams[camera].tick(latency_s=1e-9 * age_ns)

    def _process(self, images: ImageSet[Image]) -> None:
        """One set, in the worker's thread: images to keypoints."""
        pictures = {name: self._picture(name, message) for name, message in images.messages.items()}
        cameras = self._params.cameras
        found = self._detector.detect([pictures.get(name) for name in cameras])
        message = MultiViewKeypoints(
            header=conversions.header(images.stamp_ns),
            set_id=images.set_id,
            model=self._detector.model.name,
            object_id=self._detector.model.description.object_id,
            views=[self._view(n, images, pictures, v) for n, v in zip(cameras, found, strict=True)],
        )
        self._keypoints.publish(message)
        self._complete += len(images.messages) == len(cameras)
        latency_s = 1e-9 * (self._now_ns() - images.stamp_ns)
        self._sets.tick(latency_s=latency_s, skew_s=1e-9 * images.skew_ns)
        for name, view in zip(cameras, found, strict=True):
            if view is not None and self._overlays[name].get_subscription_count():
                self._publish_overlay(images.messages[name], pictures[name], view, name)

    def _picture(self, camera: str, message: Image) -> BgrImage | None:
        try:
            return conversions.image_from_message(message)
        except DataError as error:
            self._streams[camera].refuse(str(error))
            return None

    def _view(
        self,
        camera: str,
        images: ImageSet[Image],
        pictures: dict[str, BgrImage | None],
        view: ViewKeypoints | None,
    ) -> object:
        if camera not in images.messages:
            header = conversions.header(images.stamp_ns, self._frames.get(camera, ""))
            return conversions.view_to_message(None, ViewStatus.NO_IMAGE, (), camera, header)
        header = images.messages[camera].header
        status = image_status(pictures[camera])
        if status != ViewStatus.OK:  # an image came, whatever became of it
            status = ViewStatus.BAD_IMAGE
        return conversions.view_to_message(view, status, self._names, camera, header)

    def _publish_overlay(
        self, message: Image, image: BgrImage | None, view: ViewKeypoints, camera: str
    ) -> None:
        if image is None:
            return
        drawn = draw_keypoints(image, view, self._names, self._params.overlay_scale)
        self._overlays[camera].publish(conversions.image_to_message(drawn, message.header))

    def _report_model(self) -> Report:
        model, timings = self._detector.model, self._detector.timings
        values = {
            "model": model.name,
            "object_id": model.description.object_id,
            "sha256": model.sha256,
            "complete_sets": self._complete,
            "sets": self._sets.received,
            **{f"{k[:-2]}_ms": 1e3 * v for k, v in dataclasses.asdict(timings).items()},
            "total_ms": 1e3 * timings.total_s,
        }
        if model.description.uncertainty.provisional:
            return Report(Level.WARN, "the model's uncertainty is provisional", values)
        return Report(Level.OK, model.name, values)

    def _on_parameters(self, params: KeypointDetectorNodeParameters) -> None:
        self._params = params

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def close(self) -> None:
        if hasattr(self, "_worker"):
            self._worker.close()


def main() -> int:
    return run_node(KeypointDetectorNode)
