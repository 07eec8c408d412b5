"""`camera_rig`: several cameras as one instrument; images and their calibration as topics.

A managed node: configure opens and claims the cameras, activate begins to take images, deactivate
keeps the cameras, cleanup and shutdown let go of them. By default it does the first two itself.
"""

from __future__ import annotations

from s3k_ros.errors import ConfigurationError, DeviceUnavailableError
from s3k_ros.params.cameras import (
    CameraRigParameters,
    CameraSettings,
    ReplayParameters,
    TriggerParameters,
)
from s3k_ros.params.nodes import CameraRigNodeParameters, LifecycleParameters
from s3k_ros.ros.lifecycle import ManagedNode
from s3k_ros.ros.node import run_node
from s3k_ros.ros.resources import find_file
from s3k_ros.ros.rig import RigDriver
from s3k_ros.ros.rig_images import RigImages
from s3k_ros.ros.rig_source import OpenRig, RigConfiguration, make_rig


class CameraRigNode(ManagedNode):
    def __init__(self, make: OpenRig = make_rig) -> None:
        super().__init__("camera_rig")
        p = self.declare(CameraRigNodeParameters)
        life = self.declare(LifecycleParameters)
        parameters = self.declare(CameraRigParameters)
        settings = self.declare(CameraSettings, "camera")
        trigger = self.declare(TriggerParameters, "trigger")
        replay = self.declare(ReplayParameters, "replay")
        if p.source == "topics":
            raise ConfigurationError("source 'topics' is for perception: camera_rig publishes them")
        rig = make(RigConfiguration(p.source, parameters, settings, trigger, replay, self))
        self._images = RigImages(self, rig, find_file(p.rig) if p.rig else None)
        self._driver = RigDriver(self, rig, self._images.publish, self._set_active)
        if life.autostart:
            self.start()

    def configure(self) -> None:
        self._driver.open()

    def activate(self) -> None:
        self._driver.activate()

    def deactivate(self) -> None:
        self._driver.deactivate()

    def cleanup(self) -> None:
        self._driver.release()

    def _set_active(self, active: bool) -> None:
        """`rig/set_active`: the same steps as by ~/change_state."""
        if self.state not in ("inactive", "active"):
            raise DeviceUnavailableError(f"the rig is {self.state}: configure it first")
        if active != (self.state == "active"):
            (self.trigger_activate if active else self.trigger_deactivate)()
            self.raise_refusal()

    def close(self) -> None:
        if hasattr(self, "_driver"):
            self._driver.close()


def main() -> int:
    return run_node(CameraRigNode)
