"""`triangulator`: keypoints in every view and the cameras' calibration in, 3D keypoints out.

A camera without calibration or TF gives no view; the diagnostics and the log say so.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sensor_msgs.msg import CameraInfo

from s3k_ros.errors import DataError
from s3k_ros.msg import MultiViewKeypoints
from s3k_ros.params.nodes import TriangulatorNodeParameters
from s3k_ros.params.perception import TriangulationParameters
from s3k_ros.params.tracking import TrackingParameters
from s3k_ros.perception.model_file import read_description
from s3k_ros.perception.model_slot import swapped_name
from s3k_ros.ros import conversions, qos
from s3k_ros.ros.calibration import CameraCalibrations
from s3k_ros.ros.model_service import ModelService, PreparedModel
from s3k_ros.ros.node import S3kNode, run_node
from s3k_ros.ros.resources import find_file
from s3k_ros.ros.triangulation import TriangulationStage


class TriangulatorNode(S3kNode):
    def __init__(self) -> None:
        super().__init__("triangulator")
        p = self.declare(TriangulatorNodeParameters, on_change=self._on_parameters)
        thresholds = self.declare(
            TriangulationParameters,
            "triangulation",
            on_change=lambda new: self._stage.set_thresholds(new),
        )
        tracking = self.declare(
            TrackingParameters, "tracking", on_change=lambda new: self._stage.set_tracking(new)
        )
        model = find_file(p.model)
        description = read_description(model)
        calibrations = CameraCalibrations(self, p.cameras, p.base_frame, moving=p.moving_cameras)
        for name in p.cameras:
            learn = partial(calibrations.learn, name)
            self.listen(CameraInfo, f"{name}/camera_info", learn, qos.images())
        self._stage = TriangulationStage(
            self, calibrations, p.base_frame, model.stem, description, thresholds, tracking
        )
        self._on_parameters(p)
        self._input = self.diagnostics.stream("keypoints_2d", p.input_timeout_s)
        self.listen(MultiViewKeypoints, "keypoints_2d", self._on_views, qos.keypoints())
        self._models = ModelService(self, "triangulator/load_model", self._prepare)

    def _on_views(self, message: MultiViewKeypoints) -> None:
        stamp_ns = conversions.nanoseconds(message.header.stamp)
        self._input.tick(latency_s=1e-9 * (self.now_ns() - stamp_ns))
        try:
            self._stage.process(message)
        except DataError as error:
            self._input.refuse(str(error))

    def _prepare(self, path: Path) -> PreparedModel:
        """Another model's file for `ModelService`: sets of both models count from then on."""
        description = read_description(path)
        name = swapped_name(path)
        use = partial(self._stage.learn_model, name, description)
        return PreparedModel(name, use, description)

    def _on_parameters(self, params: TriangulatorNodeParameters) -> None:
        self._stage.publish_tf = params.publish_tf


def main() -> int:
    return run_node(TriangulatorNode)
