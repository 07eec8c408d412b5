"""Which rig a node's parameters mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from s3k_ros.cameras.basler import PylonBus
from s3k_ros.cameras.fake import FakeBus, FakeCamera
from s3k_ros.cameras.port import CameraRig
from s3k_ros.cameras.rig import DeviceRig
from s3k_ros.params.cameras import CameraRigParameters, CameraSettings, TriggerParameters


@dataclasses.dataclass(frozen=True)
class RigConfiguration:
    """Everything that makes a rig.

    Attributes:
        source: "basler" or "fake".
        parameters, settings, trigger: of the rig.
    """

    source: str
    parameters: CameraRigParameters
    settings: CameraSettings
    trigger: TriggerParameters


OpenRig = Callable[[RigConfiguration], CameraRig]


def make_rig(configuration: RigConfiguration) -> CameraRig:
    """The rig, not yet open.

    Raises:
        ConfigurationError: the configuration contradicts itself, or pypylon is missing.
    """
    c = configuration
    if c.source == "fake":
        serials = c.parameters.identities.values()
        bus = FakeBus([FakeCamera(serial, width=640, height=480) for serial in serials])
        return DeviceRig(c.parameters, c.settings, c.trigger, bus)
    return DeviceRig(c.parameters, c.settings, c.trigger, PylonBus(c.trigger))
