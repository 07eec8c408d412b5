"""Sets of views in, `keypoints_2d` out: what the detector's node and the fused one share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from s3k_ros.msg import Keypoint2DArray, KeypointModel, MultiViewKeypoints
from s3k_ros.perception.detector import KeypointDetector, ViewKeypoints, ViewStatus
from s3k_ros.perception.drawing import draw_keypoints
from s3k_ros.perception.model_slot import ModelSlot, swapped_name
from s3k_ros.perception.regions import Region
from s3k_ros.perception.session import CPU
from s3k_ros.ros import conversions, qos
from s3k_ros.ros.conversions import BgrImage
from s3k_ros.ros.diagnostics import Level, Report
from s3k_ros.ros.model_service import PreparedModel
from s3k_ros.ros.node import S3kNode


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """One camera's part in a set.

    Attributes:
        camera: its name.
        header: optical frame and exposure time; the set's time where no image came.
        image: (H, W, 3) uint8 BGR; None unless the status is OK.
        status: whether the image can be used.
        whole: where the image shows a part of the sensor: the whole one, in px of the image.
    """

    camera: str
    header: Header
    image: BgrImage | None
    status: ViewStatus
    whole: Region | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class ViewSet:
    """The images of one trigger.

    Attributes:
        set_id: counts the sets.
        stamp_ns: reference time of the trigger.
        skew_ns: latest minus earliest exposure.
        views: one for every camera, in the node's order.
    """

    set_id: int
    stamp_ns: int
    skew_ns: int
    views: Sequence[View]


class DetectionStage:
    """Finds the keypoints in every view and publishes them.

    Args:
        node: the node that publishes.
        cameras: names; every set has a view of each.
        slot: the model, which may change between two sets.
        timeout_s: silence after which the sets are reported as stale.

    Attributes:
        overlay_scale: size of `<camera>/keypoint_image` relative to the image.
        sets: rate, latency, skew and drops of the sets.
    """

    def __init__(
        self, node: S3kNode, cameras: Sequence[str], slot: ModelSlot, timeout_s: float
    ) -> None:
        self.overlay_scale = 1.0
        self._node = node
        self._slot = slot
        self._complete = 0
        make = partial(node.advertise, exclusive=True)
        self._keypoints = make(MultiViewKeypoints, "keypoints_2d", qos.keypoints())
        self._model = make(KeypointModel, "keypoint_model", qos.latched())
        self._overlays = {
            name: make(Image, f"{name}/keypoint_image", qos.images()) for name in cameras
        }
        self.sets = node.diagnostics.stream("sets", timeout_s)
        node.diagnostics.add("model", self._report)
        self._warn(slot.current)
        self._publish_model()

    def prepare(self, path: Path) -> PreparedModel:
        """Loads another model, in the caller's thread.

        Raises:
            ConfigurationError: the file is no good.
        """
        detector = self._slot.prepare(path)
        detector.model.name = swapped_name(path)
        self._warn(detector)

        def use() -> None:
            self._slot.use(detector)
            self._publish_model()

        return PreparedModel(detector.model.name, use, detector.model.description)

    def _warn(self, detector: KeypointDetector) -> None:
        if detector.model.fallback:
            self._node.get_logger().warning(f"model {detector.model.name}: {_place(detector)}")

    def _publish_model(self) -> None:
        model = self._slot.current.model
        message = conversions.model_to_message(model.name, model.description, self._node.now_ns())
        self._model.publish(message)

    def process(self, views: ViewSet) -> MultiViewKeypoints:
        """One set, in the thread of its owner: images to keypoints, published and returned."""
        detector = self._slot.current
        known = detector.model.fallback
        found = detector.detect(
            [view.image for view in views.views], [view.whole for view in views.views]
        )
        if detector.model.fallback != known:
            self._warn(detector)
        message = _message(views, found, detector)
        self._keypoints.publish(message)
        self._complete += all(view.status != ViewStatus.NO_IMAGE for view in views.views)
        latency_s = 1e-9 * (self._node.now_ns() - views.stamp_ns)
        self.sets.tick(latency_s=latency_s, skew_s=1e-9 * views.skew_ns)
        for view, keypoints in zip(views.views, found, strict=True):
            if keypoints is not None and self._overlays[view.camera].get_subscription_count():
                self._publish_overlay(view, keypoints, detector)
        return message

    def _publish_overlay(
        self, view: View, keypoints: ViewKeypoints, detector: KeypointDetector
    ) -> None:
        assert view.image is not None  # keypoints were found in it
        names = detector.model.description.keypoints
        drawn = draw_keypoints(view.image, keypoints, names, self.overlay_scale)
        self._overlays[view.camera].publish(conversions.image_to_message(drawn, view.header))

    def _report(self) -> Report:
        detector = self._slot.current
        model, timings = detector.model, detector.timings
        values = {
            "model": model.name,
            "object_id": model.description.object_id,
            "sha256": model.sha256,
            "provider": model.provider,
            "precision": model.precision,
            "complete_sets": self._complete,
            "sets": self.sets.received,
            **{f"{k[:-2]}_ms": 1e3 * v for k, v in dataclasses.asdict(timings).items()},
            "total_ms": 1e3 * timings.total_s,
        }
        warnings = [_place(detector)] if model.fallback else []
        if model.description.uncertainty.provisional:
            warnings.append("the model's uncertainty is provisional")
        if warnings:
            return Report(Level.WARN, "; ".join(warnings), values)
        return Report(Level.OK, model.name, values)


def _place(detector: KeypointDetector) -> str:
    """What the model runs on, though something else was asked for, and why."""
    model = detector.model
    place = "the CPU" if model.provider == CPU else model.provider
    return f"it runs on {place}: {model.fallback}"


def _message(
    views: ViewSet, found: Sequence[ViewKeypoints | None], detector: KeypointDetector
) -> MultiViewKeypoints:
    description = detector.model.description
    return MultiViewKeypoints(
        header=conversions.header(views.stamp_ns),
        set_id=views.set_id,
        model=detector.model.name,
        object_id=description.object_id,
        views=[
            _view_message(view, keypoints, description.keypoints)
            for view, keypoints in zip(views.views, found, strict=True)
        ],
    )


def _view_message(
    view: View, keypoints: ViewKeypoints | None, names: Sequence[str]
) -> Keypoint2DArray:
    status = view.status
    if status == ViewStatus.OK and keypoints is None:
        status = ViewStatus.BAD_IMAGE  # the detector refuses it, too small for instance
    return conversions.view_to_message(keypoints, status, names, view.camera, view.header)
