"""The calibration that was recorded: `camera_info` and `/tf_static`, as calibrated cameras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from s3k_ros.cameras.recording.reader import Recording
from s3k_ros.cameras.recording.sets import info_topic
from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.geometry.camera import DISTORTION_SIZES, Camera
from s3k_ros.geometry.se3 import Transform

INFO = "sensor_msgs/msg/CameraInfo"
TF_STATIC = "/tf_static"

# Child frame -> its parent, and the pose in it.
Tree = dict[str, tuple[str, Transform]]


def recorded_cameras(
    recording: Recording, image_topics: Mapping[str, str], base_frame: str
) -> list[Camera]:
    """The cameras as they were calibrated when the recording began.

    Args:
        recording: the file.
        image_topics: topic of each camera's images; its camera_info lies beside it.
        base_frame: the frame that the poses shall be given in.

    Raises:
        ConfigurationError: a camera without calibration, or with one that cannot be used.
        DataError: the file is damaged.
    """
    beside = {info_topic(topic): c for c, topic in image_topics.items()}
    infos: dict[str, Any] = {}
    tree: Tree = {}
    for message in recording.messages(lambda topic: topic in beside or topic == TF_STATIC):
        if message.topic == TF_STATIC:
            _learn(tree, recording.decode(message))
        elif beside[message.topic] not in infos:
            infos[beside[message.topic]] = recording.decode(message)
        if len(infos) == len(beside) and all(
            _connected(tree, i, base_frame) for i in infos.values()
        ):
            break
    return [_camera(recording, name, infos.get(name), tree, base_frame) for name in image_topics]


def _camera(recording: Recording, name: str, info: Any, tree: Tree, base_frame: str) -> Camera:
    where = f"{recording.path}: camera {name!r}"
    if info is None or not any(info.k):
        raise ConfigurationError(f"{where} has no calibration in camera_info: give a rig file")
    region = (info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height)
    binned = max(info.binning_x, info.binning_y) > 1
    if binned or region not in ((0, 0, 0, 0), (0, 0, info.width, info.height)):
        raise ConfigurationError(
            f"{where} shows a region of its sensor, or joined pixels: give the rig file of that"
        )
    frame = info.header.frame_id
    if not _connected(tree, info, base_frame):
        raise ConfigurationError(
            f"{where}: {TF_STATIC} does not lead from {base_frame!r} to {frame!r}: name another "
            "base frame, or give a rig file"
        )
    model, distortion = info.distortion_model, list(info.d)
    if not distortion and model in ("", *DISTORTION_SIZES):
        model, distortion = "plumb_bob", [0.0] * DISTORTION_SIZES["plumb_bob"]
    return Camera(
        name=name,
        width=info.width,
        height=info.height,
        matrix=np.array(info.k, float).reshape(3, 3),
        distortion_model=model,
        distortion=np.array(distortion, float),
        base_from_camera=_pose(tree, frame, base_frame),
    )


def _learn(tree: Tree, message: Any) -> None:
    for stamped in message.transforms:
        r, t = stamped.transform.rotation, stamped.transform.translation
        try:
            pose = Transform.from_quaternion([r.x, r.y, r.z, r.w], [t.x, t.y, t.z])
        except ConfigurationError as error:
            raise DataError(f"{TF_STATIC}: {stamped.child_frame_id}: {error}") from None
        tree[stamped.child_frame_id] = (stamped.header.frame_id, pose)


def _connected(tree: Tree, info: Any, base_frame: str) -> bool:
    return bool(set(_ancestors(tree, info.header.frame_id)) & set(_ancestors(tree, base_frame)))


def _ancestors(tree: Tree, frame: str) -> dict[str, Transform]:
    """Every frame above one, itself too, with the pose of the one in it."""
    found: dict[str, Transform] = {}
    pose = Transform.identity()
    while frame not in found:
        found[frame] = pose
        if frame in tree:
            parent, parent_from_frame = tree[frame]
            frame, pose = parent, parent_from_frame @ pose
    return found


def _pose(tree: Tree, frame: str, base_frame: str) -> Transform:
    above_frame, above_base = _ancestors(tree, frame), _ancestors(tree, base_frame)
    common = next(name for name in above_frame if name in above_base)
    return above_base[common].inverse() @ above_frame[common]
