"""Which rig a node's parameters mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from s3k_ros.cameras.basler import PylonBus
from s3k_ros.cameras.fake import FakeBus, FakeCamera
from s3k_ros.cameras.port import CameraRig
from s3k_ros.cameras.replay import ReplayRig
from s3k_ros.cameras.rig import DeviceRig
from s3k_ros.errors import ConfigurationError
from s3k_ros.params.cameras import (
    CameraRigParameters,
    CameraSettings,
    ReplayParameters,
    TriggerParameters,
)
from s3k_ros.ros.node import S3kNode
from s3k_ros.ros.rig_images import RigImages
from s3k_ros.ros.topic_rig import TopicImages, TopicRig


@dataclasses.dataclass(frozen=True)
class RigConfiguration:
    """Everything that makes a rig.

    Attributes:
        source: "basler", "fake", "replay" or "topics".
        parameters, settings, trigger, replay: of the rig.
        node: subscribes to the images of "topics".
    """

    source: str
    parameters: CameraRigParameters
    settings: CameraSettings
    trigger: TriggerParameters
    replay: ReplayParameters
    node: S3kNode


OpenRig = Callable[[RigConfiguration], CameraRig]


def make_rig(configuration: RigConfiguration) -> CameraRig:
    """The rig, not yet open.

    Raises:
        ConfigurationError: the configuration contradicts itself, pypylon or the library for
            recordings is missing, or the recording is no good.
    """
    c = configuration
    if c.source == "replay":
        return _replay(c)
    if c.source == "topics":
        return TopicRig(c.node, c.parameters)
    if c.source == "fake":
        serials = c.parameters.identities.values()
        bus = FakeBus([FakeCamera(serial, width=640, height=480) for serial in serials])
        return DeviceRig(c.parameters, c.settings, c.trigger, bus)
    return DeviceRig(c.parameters, c.settings, c.trigger, PylonBus(c.trigger))


def make_images(node: S3kNode, rig: CameraRig, rig_file: Path | None) -> RigImages | TopicImages:
    """The door through which a rig's images reach a node and its topics.

    Raises:
        ConfigurationError: as `RigImages`.
    """
    return TopicImages(node, rig) if isinstance(rig, TopicRig) else RigImages(node, rig, rig_file)


def _replay(c: RigConfiguration) -> CameraRig:
    try:
        from s3k_ros.cameras.recording.reader import Recording
        from s3k_ros.cameras.recording.sets import RecordedSets
    except ModuleNotFoundError as error:
        text = f"{error.name} is missing: pip install -r requirements/cameras.in"
        raise ConfigurationError(f"source 'replay': {text}") from None
    if not c.replay.recording:
        raise ConfigurationError("source 'replay' needs the parameter replay.recording")
    recording = Recording(Path(c.replay.recording).expanduser())
    if not recording.finished:
        c.node.get_logger().warning(f"{recording.path} was never finished: it ends where it is cut")
    return ReplayRig(
        c.parameters.cameras,
        RecordedSets(recording, c.parameters.cameras, c.parameters.max_skew_s),
        speed=c.replay.speed,
        loop=c.replay.loop,
        restamp=c.replay.restamp,
        queue_sets=c.parameters.queue_sets,
    )
