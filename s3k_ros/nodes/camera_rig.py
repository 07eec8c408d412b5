"""`camera_rig`: several cameras as one instrument; images and their calibration as topics."""

from __future__ import annotations

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.cameras import (
    CameraRigParameters,
    CameraSettings,
    ReplayParameters,
    TriggerParameters,
)
from s3k_ros.params.nodes import CameraRigNodeParameters
from s3k_ros.ros.node import S3kNode, run_node
from s3k_ros.ros.resources import find_file
from s3k_ros.ros.rig import RigDriver
from s3k_ros.ros.rig_images import RigImages
from s3k_ros.ros.rig_source import OpenRig, RigConfiguration, make_rig


class CameraRigNode(S3kNode):
    def __init__(self, make: OpenRig = make_rig) -> None:
        super().__init__("camera_rig")
        p = self.declare(CameraRigNodeParameters)
        parameters = self.declare(CameraRigParameters)
        settings = self.declare(CameraSettings, "camera")
        trigger = self.declare(TriggerParameters, "trigger")
        replay = self.declare(ReplayParameters, "replay")
        if p.source == "topics":
            raise ConfigurationError("source 'topics' is for perception: camera_rig publishes them")
        rig = make(RigConfiguration(p.source, parameters, settings, trigger, replay, self))
        self._images = RigImages(self, rig, find_file(p.rig) if p.rig else None)
        self._driver = RigDriver(self, rig, self._images.publish)
        self._driver.start()

    def close(self) -> None:
        if hasattr(self, "_driver"):
            self._driver.close()


def main() -> int:
    return run_node(CameraRigNode)
