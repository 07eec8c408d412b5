"""`perception`: rig, detector and triangulator in one process, without image transport.

The libraries and topics are those of `camera_rig`, `keypoint_detector` and `triangulator`, and so
are the results; images are published only while someone listens.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from s3k_ros.cameras.port import FrameSet
from s3k_ros.errors import DataError
from s3k_ros.params.cameras import (
    CameraRigParameters,
    CameraSettings,
    ReplayParameters,
    TriggerParameters,
)
from s3k_ros.params.nodes import CameraRigNodeParameters, PerceptionNodeParameters
from s3k_ros.params.perception import DetectorParameters, TriangulationParameters
from s3k_ros.params.tracking import TrackingParameters
from s3k_ros.perception.model_slot import ModelSlot
from s3k_ros.ros.calibration import CameraCalibrations
from s3k_ros.ros.detection import DetectionStage, ViewSet
from s3k_ros.ros.model_service import ModelService, PreparedModel
from s3k_ros.ros.node import S3kNode, run_node
from s3k_ros.ros.resources import find_file
from s3k_ros.ros.rig import RigDriver
from s3k_ros.ros.rig_source import OpenRig, RigConfiguration, make_images, make_rig
from s3k_ros.ros.triangulation import TriangulationStage


class PerceptionNode(S3kNode):
    def __init__(self, make: OpenRig = make_rig) -> None:
        super().__init__("perception")
        p = self._params = self.declare(PerceptionNodeParameters, on_change=self._on_parameters)
        source = self.declare(CameraRigNodeParameters)
        rig_parameters = self.declare(CameraRigParameters)
        settings = self.declare(CameraSettings, "camera")
        trigger = self.declare(TriggerParameters, "trigger")
        replay = self.declare(ReplayParameters, "replay")
        self._cameras = rig_parameters.cameras
        rig = make(RigConfiguration(source.source, rig_parameters, settings, trigger, replay, self))
        self._make_stages(p)
        self._on_parameters(p)
        self._images = make_images(self, rig, find_file(source.rig) if source.rig else None)
        self._models = ModelService(self, "load_model", self._prepare)
        self._driver = RigDriver(self, rig, self._process)
        self._driver.start()

    def _make_stages(self, p: PerceptionNodeParameters) -> None:
        inference = self.declare(DetectorParameters, prefix="detector")
        thresholds = self.declare(
            TriangulationParameters,
            "triangulation",
            on_change=lambda new: self._triangulation.set_thresholds(new),
        )
        tracking = self.declare(
            TrackingParameters,
            "tracking",
            on_change=lambda new: self._triangulation.set_tracking(new),
        )
        slot = ModelSlot.open(find_file(p.model), inference, p.keypoints, len(self._cameras))
        self._detection = DetectionStage(self, self._cameras, slot, p.input_timeout_s)
        self._calibrations = CameraCalibrations(
            self, self._cameras, p.base_frame, moving=p.moving_cameras
        )
        model = slot.current.model
        self._triangulation = TriangulationStage(
            self, self._calibrations, p.base_frame, model.name, model.description,
            thresholds, tracking,
        )  # fmt: skip

    def _process(self, frames: FrameSet) -> None:
        """One set, in the rig's thread."""
        for name, frame in frames.frames.items():
            info = self._images.info(frame)
            if info is not None:
                self._calibrations.learn(name, info)
        views = [self._images.view(name, frames) for name in self._cameras]
        found = self._detection.process(
            ViewSet(frames.set_id, frames.stamp_ns, frames.skew_ns, views)
        )
        try:
            self._triangulation.process(found)
        except DataError as error:
            self._detection.sets.refuse(str(error))
        self._images.publish(frames)

    def _prepare(self, path: Path) -> PreparedModel:
        """Another model for `ModelService`; the triangulation learns of it first."""
        model = self._detection.prepare(path)

        def use() -> None:
            self._triangulation.learn_model(model.name, model.description)
            model.use()

        return dataclasses.replace(model, use=use)

    def _on_parameters(self, params: PerceptionNodeParameters) -> None:
        self._detection.overlay_scale = params.overlay_scale
        self._triangulation.publish_tf = params.publish_tf

    def close(self) -> None:
        if hasattr(self, "_driver"):
            self._driver.close()


def main() -> int:
    return run_node(PerceptionNode)
