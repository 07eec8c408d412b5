"""`keypoints_2d` in, `keypoints` out: what the triangulator's node and the fused one share."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from functools import partial

import numpy as np
from sensor_msgs.msg import PointCloud2
from tf2_ros import TransformBroadcaster
from visualization_msgs.msg import MarkerArray

from s3k_ros.errors import DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.geometry.se3 import Transform
from s3k_ros.msg import Keypoint2DArray, Keypoint3D, Keypoint3DArray, MultiViewKeypoints
from s3k_ros.params.perception import TriangulationParameters
from s3k_ros.params.tracking import TrackingParameters
from s3k_ros.perception.description import ModelDescription
from s3k_ros.perception.detector import ViewKeypoints
from s3k_ros.perception.tracking import KeypointTracker, TrackedKeypoint
from s3k_ros.perception.triangulator import KeypointEstimate, KeypointTriangulator
from s3k_ros.ros import conversions, markers, qos
from s3k_ros.ros.calibration import CameraCalibrations
from s3k_ros.ros.diagnostics import Level, Report
from s3k_ros.ros.node import S3kNode
from s3k_ros.srv import PredictKeypoints

# Stands where a view takes no part, so that views keep their places.
_NO_CAMERA = Camera("none", 1, 1, np.eye(3), "plumb_bob", np.zeros(5), Transform.identity())


@dataclasses.dataclass(frozen=True, eq=False)
class _Model:
    """A model whose sets count."""

    description: ModelDescription
    triangulator: KeypointTriangulator


class TriangulationStage:
    """Makes 3D keypoints of the keypoints of a set's views, follows them and publishes.

    Args:
        node: the node that publishes.
        calibrations: of its cameras.
        base_frame: frame of the 3D keypoints.
        model, description: the model's name in messages, and what its file says.
        thresholds: of the triangulation.
        tracking: of the tracking, on or off.

    Attributes:
        publish_tf: publish a TF frame for every keypoint with a position.
    """

    def __init__(
        self,
        node: S3kNode,
        calibrations: CameraCalibrations,
        base_frame: str,
        model: str,
        description: ModelDescription,
        thresholds: TriangulationParameters,
        tracking: TrackingParameters,
    ) -> None:
        self.publish_tf = False
        self._node = node
        self._calibrations = calibrations
        self._base_frame = base_frame
        self._thresholds = thresholds
        self._tracking = tracking
        self._models: dict[str, _Model] = {}
        self._tracker: tuple[str, KeypointTracker] | None = None
        self._tracked: MultiViewKeypoints | None = None  # the set that the tracks have come to
        self._lock = threading.Lock()  # sets and questions may come from different threads
        self._faults: dict[str, str] = {}
        self._make_outputs()
        self.learn_model(model, description)
        node.diagnostics.add("calibration", self._report_calibration)

    def _make_outputs(self) -> None:
        make = partial(self._node.advertise, exclusive=True)
        self._keypoints = make(Keypoint3DArray, "keypoints", qos.keypoints())
        self._markers = make(MarkerArray, "keypoint_markers", qos.keypoints())
        self._cloud = make(PointCloud2, "keypoint_cloud", qos.keypoints())
        self._tf = TransformBroadcaster(self._node)
        if self._tracking.enabled:
            self._raw = make(Keypoint3DArray, "keypoints_raw", qos.keypoints())
            self._node.create_service(PredictKeypoints, "predict_keypoints", self._serve_prediction)

    def learn_model(self, name: str, description: ModelDescription) -> None:
        """Makes a model known; sets of the one before still count."""
        triangulator = KeypointTriangulator.from_description(description, self._thresholds)
        newest = list(self._models.items())[-1:]
        self._models = {**dict(newest), name: _Model(description, triangulator)}

    def set_thresholds(self, thresholds: TriangulationParameters) -> None:
        """Other thresholds, from the next set on."""
        self._thresholds = thresholds
        for name, known in self._models.items():
            self.learn_model(name, known.description)

    def set_tracking(self, tracking: TrackingParameters) -> None:
        """Another tracking, from the next set on."""
        self._tracking = tracking
        if self._tracker is not None:
            self._tracker[1].params = tracking

    def process(self, message: MultiViewKeypoints) -> None:
        """One set: published, as 3D keypoints.

        Raises:
            DataError: it comes from a model that nobody knows, or its views do not fit the model,
                or its stamp is not after the last one's (tracking).
        """
        model = self._model_of(message)
        estimates = self._estimate(model.triangulator, message)
        stamp_ns = conversions.nanoseconds(message.header.stamp)
        since_ns = self._node.now_ns() - stamp_ns
        plain = [conversions.estimate_to_message(e, since_ns) for e in estimates]
        if not self._tracking.enabled:
            self._publish(self._array(message, plain))
            return
        self._raw.publish(self._array(message, plain))
        with self._lock:
            tracked = self._track(message, stamp_ns, estimates)
        keypoints = [
            conversions.estimate_to_message(t.estimate, t.age_ns + since_ns) for t in tracked
        ]
        self._publish(self._array(message, keypoints))

    def _model_of(self, message: MultiViewKeypoints) -> _Model:
        found = self._models.get(message.model)
        if found is None or found.description.object_id != message.object_id:
            known = (f"{n!r} of {m.description.object_id!r}" for n, m in self._models.items())
            raise DataError(
                f"the detector runs model {message.model!r} of {message.object_id!r}, "
                f"this node {' and '.join(known)}"
            )
        return found

    def _estimate(
        self, triangulator: KeypointTriangulator, message: MultiViewKeypoints
    ) -> list[KeypointEstimate]:
        pairs = [self._calibrated(view, triangulator.names) for view in message.views]
        return triangulator.estimate([camera for camera, _ in pairs], [view for _, view in pairs])

    def _calibrated(
        self, message: Keypoint2DArray, names: Sequence[str]
    ) -> tuple[Camera, ViewKeypoints | None]:
        name = message.camera
        view = conversions.view_from_message(message, names)
        self._faults.pop(name, None)
        if view is None:
            return _NO_CAMERA, None
        try:
            stamp = message.header.stamp
            return self._calibrations.camera(name, message.header.frame_id, stamp), view
        except DataError as error:
            self._faults[name] = str(error)
            return _NO_CAMERA, None

    def _track(
        self, message: MultiViewKeypoints, stamp_ns: int, estimates: list[KeypointEstimate]
    ) -> list[TrackedKeypoint]:
        if self._tracker is None or self._tracker[0] != message.model:
            self._tracker = (message.model, KeypointTracker(len(estimates), self._tracking))
        tracked = self._tracker[1].update(stamp_ns, estimates)
        self._tracked = message
        return tracked

    def predict(self, stamp_ns: int) -> Keypoint3DArray:
        """The keypoints at a time, which changes nothing.

        Raises:
            DataError: nothing was tracked yet, or the time lies before the last set.
        """
        with self._lock:
            if self._tracker is None or self._tracked is None:
                raise DataError("nothing was tracked yet")
            tracked, basis = self._tracker[1].at(stamp_ns), self._tracked
        keypoints = [conversions.estimate_to_message(t.estimate, t.age_ns) for t in tracked]
        message = self._array(basis, keypoints)
        message.header.stamp = conversions.stamp_message(stamp_ns)
        return message

    def _serve_prediction(
        self, request: PredictKeypoints.Request, response: PredictKeypoints.Response
    ) -> PredictKeypoints.Response:
        stamp_ns = conversions.nanoseconds(request.stamp) or self._node.now_ns()
        try:
            response.keypoints = self.predict(stamp_ns)
            response.success = True
        except DataError as error:
            response.message = str(error)
        return response

    def _array(self, message: MultiViewKeypoints, keypoints: list[Keypoint3D]) -> Keypoint3DArray:
        stamp_ns = conversions.nanoseconds(message.header.stamp)
        return Keypoint3DArray(
            header=conversions.header(stamp_ns, self._base_frame),
            set_id=message.set_id,
            model=message.model,
            object_id=message.object_id,
            cameras=[view.camera for view in message.views],
            keypoints=keypoints,
        )

    def _publish(self, message: Keypoint3DArray) -> None:
        self._keypoints.publish(message)
        if self._markers.get_subscription_count():
            skeleton = self._models[message.model].description.skeleton
            self._markers.publish(markers.keypoint_markers(message, skeleton))
        if self._cloud.get_subscription_count():
            self._cloud.publish(markers.keypoint_cloud(message))
        if self.publish_tf:
            self._publish_tf(message)

    def _publish_tf(self, message: Keypoint3DArray) -> None:
        transforms = []
        for keypoint in message.keypoints:
            if keypoint.status in (Keypoint3D.OK, Keypoint3D.PREDICTED):
                p = keypoint.position
                pose = Transform.from_quaternion([0.0, 0.0, 0.0, 1.0], [p.x, p.y, p.z])
                child = f"keypoint/{keypoint.name}"
                transforms.append(conversions.transform_stamped(pose, message.header, child))
        if transforms:
            self._tf.sendTransform(transforms)

    def _report_calibration(self) -> Report:
        faults = [f"{name}: {fault}" for name, fault in sorted(self._faults.items())]
        return Report(Level.ERROR, "; ".join(faults)) if faults else Report()
