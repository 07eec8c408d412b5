"""`triangulator`: keypoints in every view and the cameras' calibration in, 3D keypoints out.

A camera without calibration or TF gives no view; the diagnostics and the log say so.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from sensor_msgs.msg import PointCloud2
from tf2_ros import TransformBroadcaster
from visualization_msgs.msg import MarkerArray

from s3k_ros.errors import DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.geometry.se3 import Transform
from s3k_ros.msg import Keypoint2DArray, Keypoint3D, Keypoint3DArray, MultiViewKeypoints
from s3k_ros.params.nodes import TriangulatorNodeParameters
from s3k_ros.params.perception import TriangulationParameters
from s3k_ros.perception.detector import ViewKeypoints
from s3k_ros.perception.model_file import read_description
from s3k_ros.perception.triangulator import KeypointEstimate, KeypointTriangulator
from s3k_ros.ros import conversions, markers, qos
from s3k_ros.ros.calibration import CameraCalibrations
from s3k_ros.ros.diagnostics import Level, Report
from s3k_ros.ros.node import S3kNode, run_node
from s3k_ros.ros.resources import find_file

# Stands where a view takes no part, so that views keep their places.
_NO_CAMERA = Camera("none", 1, 1, np.eye(3), "plumb_bob", np.zeros(5), Transform.identity())


class TriangulatorNode(S3kNode):
    def __init__(self) -> None:
        super().__init__("triangulator")
        self._params = self.declare(TriangulatorNodeParameters, on_change=self._on_parameters)
        thresholds = self.declare(
            TriangulationParameters, "triangulation", on_change=self._on_thresholds
        )
        model = find_file(self._params.model)
        self._model = model.stem
        self._description = read_description(model)
        self._on_thresholds(thresholds)
        self._faults: dict[str, str] = {}
        self._make_outputs()
        self._make_inputs()

    def _make_outputs(self) -> None:
        make = partial(self.advertise, exclusive=True)
        self._keypoints = make(Keypoint3DArray, "keypoints", qos.keypoints())
        self._markers = make(MarkerArray, "keypoint_markers", qos.keypoints())
        self._cloud = make(PointCloud2, "keypoint_cloud", qos.keypoints())
        self._tf = TransformBroadcaster(self)

    def _make_inputs(self) -> None:
        p = self._params
        self._calibrations = CameraCalibrations(
            self, p.cameras, p.base_frame, moving=p.moving_cameras
        )
        self._input = self.diagnostics.stream("keypoints_2d", p.input_timeout_s)
        self.diagnostics.add("calibration", self._report_calibration)
        self.listen(MultiViewKeypoints, "keypoints_2d", self._on_views, qos.keypoints())

    def _on_views(self, message: MultiViewKeypoints) -> None:
        stamp_ns = conversions.nanoseconds(message.header.stamp)
        self._input.tick(latency_s=1e-9 * (self._now_ns() - stamp_ns))
        try:
            self._check_model(message)
            estimates = self._estimate(message)
        except DataError as error:
            self._input.refuse(str(error))
            return
        age_ns = self._now_ns() - stamp_ns
        self._publish(
            Keypoint3DArray(
                header=conversions.header(stamp_ns, self._params.base_frame),
                set_id=message.set_id,
                model=message.model,
                object_id=message.object_id,
                cameras=[view.camera for view in message.views],
                keypoints=[conversions.estimate_to_message(e, age_ns) for e in estimates],
            )
        )

    def _check_model(self, message: MultiViewKeypoints) -> None:
        expected = (self._model, self._description.object_id)
        if (message.model, message.object_id) != expected:
            raise DataError(
                f"the detector runs model {message.model!r} of {message.object_id!r}, "
                f"this node {expected[0]!r} of {expected[1]!r}"
            )

    def _estimate(self, message: MultiViewKeypoints) -> list[KeypointEstimate]:
        pairs = [self._calibrated(view) for view in message.views]
        return self._triangulator.estimate(
            [camera for camera, _ in pairs], [view for _, view in pairs]
        )

    def _calibrated(self, message: Keypoint2DArray) -> tuple[Camera, ViewKeypoints | None]:
        name = message.camera
        view = conversions.view_from_message(message, self._description.keypoints)
        self._faults.pop(name, None)
        if view is None:
            return _NO_CAMERA, None
        try:
            stamp = message.header.stamp
            return self._calibrations.camera(name, message.header.frame_id, stamp), view
        except DataError as error:
            self._faults[name] = str(error)
            return _NO_CAMERA, None

    def _publish(self, message: Keypoint3DArray) -> None:
        self._keypoints.publish(message)
        if self._markers.get_subscription_count():
            skeleton = self._description.skeleton
            self._markers.publish(markers.keypoint_markers(message, skeleton))
        if self._cloud.get_subscription_count():
            self._cloud.publish(markers.keypoint_cloud(message))
        if self._params.publish_tf:
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

    def _on_parameters(self, params: TriangulatorNodeParameters) -> None:
        self._params = params

    def _on_thresholds(self, thresholds: TriangulationParameters) -> None:
        self._triangulator = KeypointTriangulator.from_description(self._description, thresholds)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def main() -> int:
    return run_node(TriangulatorNode)
