"""Parameters of the perception nodes."""

from __future__ import annotations

import dataclasses

from s3k_ros.params.base import Parameters, param

CAMERAS = ("front_left", "front_right", "rear_left", "rear_right")
MODEL = "models/plush_fox.onnx"


@dataclasses.dataclass(frozen=True)
class KeypointDetectorNodeParameters(Parameters):
    """Images in, keypoints in every view out."""

    cameras: tuple[str, ...] = param(
        CAMERAS, "Cameras; their images arrive on <camera>/image_raw.", read_only=True
    )
    model: str = param(
        MODEL,
        "Model file; a relative path may start at the package's share folder.",
        read_only=True,
    )
    keypoints: tuple[str, ...] = param(
        (), "Keypoints that the model must have, in order; empty: those it has.", read_only=True
    )
    slop_s: float = param(
        0.005, "Largest difference of the exposure times within a set.",
        unit="s", low=0.0001, high=1.0, read_only=True,
    )  # fmt: skip
    set_timeout_s: float = param(
        0.3, "How long a set waits for cameras that are alive.",
        unit="s", low=0.001, high=10.0, read_only=True,
    )  # fmt: skip
    camera_timeout_s: float = param(
        1.0, "No set waits for a camera that is silent for this long while others are not.",
        unit="s", low=0.05, high=60.0, read_only=True,
    )  # fmt: skip
    input_timeout_s: float = param(
        3.0, "Silence after which an input is reported as stale, by the wall clock.",
        unit="s", low=0.1, high=60.0, read_only=True,
    )  # fmt: skip
    overlay_scale: float = param(
        1.0, "Size of <camera>/keypoint_image relative to the image.", low=0.1, high=1.0
    )


@dataclasses.dataclass(frozen=True)
class TriangulatorNodeParameters(Parameters):
    """Keypoints in every view in, keypoints in the base frame out."""

    base_frame: str = param("base", "Frame of the 3D keypoints.", read_only=True)
    cameras: tuple[str, ...] = param(
        CAMERAS, "Cameras; their calibration arrives on <camera>/camera_info.", read_only=True
    )
    model: str = param(
        MODEL,
        "Model file, for its calibrated uncertainty; must be the detector's.",
        read_only=True,
    )
    moving_cameras: bool = param(
        False,
        "Cameras move: follow /tf too, which costs a callback for each of its messages.",
        read_only=True,
    )
    publish_tf: bool = param(False, "Publish a TF frame keypoint/<name> for every valid keypoint.")
    input_timeout_s: float = param(
        3.0, "Silence after which the detector is reported as stale, by the wall clock.",
        unit="s", low=0.1, high=60.0, read_only=True,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class RigDescriptionParameters(Parameters):
    """The calibration of a rig, from its file."""

    rig: str = param(
        "config/rig.yaml",
        "Rig file; a relative path may start at the package's share folder.",
        read_only=True,
    )
    base_frame: str = param(
        "", "Frame that the cameras' poses are given in; empty: the rig file's.", read_only=True
    )
    publish_camera_info: bool = param(
        False, "Publish <camera>/camera_info, for drivers that have none.", read_only=True
    )
    camera_info_rate_hz: float = param(
        2.0, "Rate of camera_info.", unit="Hz", low=0.1, high=30.0, read_only=True
    )


@dataclasses.dataclass(frozen=True)
class CameraRigNodeParameters(Parameters):
    """Where the images come from, and their calibration."""

    source: str = param(
        "basler",
        "basler: cameras through pylon; replay: a recording; topics (perception alone): images and "
        "camera_info of another driver or of the simulated cell; fake: cameras in memory with "
        "images of one grey.",
        choices=("basler", "replay", "topics", "fake"),
        read_only=True,
    )
    rig: str = param(
        "config/rig.yaml",
        "Rig file, for camera_info and the optical frames; empty: none. Source topics needs none. "
        "A relative path may start at the package's share folder.",
        read_only=True,
    )


@dataclasses.dataclass(frozen=True)
class LifecycleParameters(Parameters):
    """The life cycle of a managed node."""

    autostart: bool = param(
        True, "Configures and activates itself; false: waits for ~/change_state.", read_only=True
    )


@dataclasses.dataclass(frozen=True)
class PerceptionNodeParameters(Parameters):
    """Rig, detector and triangulator in one process."""

    base_frame: str = param("base", "Frame of the 3D keypoints.", read_only=True)
    model: str = param(
        MODEL,
        "Model file; a relative path may start at the package's share folder.",
        read_only=True,
    )
    keypoints: tuple[str, ...] = param(
        (), "Keypoints that the model must have, in order; empty: those it has.", read_only=True
    )
    moving_cameras: bool = param(
        False,
        "Cameras move: follow /tf too, which costs a callback for each of its messages.",
        read_only=True,
    )
    publish_tf: bool = param(False, "Publish a TF frame keypoint/<name> for every valid keypoint.")
    overlay_scale: float = param(
        1.0, "Size of <camera>/keypoint_image relative to the image.", low=0.1, high=1.0
    )
    input_timeout_s: float = param(
        3.0, "Silence after which the rig is reported as stale, by the wall clock.",
        unit="s", low=0.1, high=60.0, read_only=True,
    )  # fmt: skip
