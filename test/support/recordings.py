"""Recordings for tests, written without ROS."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ament_index_python.packages import get_package_share_directory
from mcap_ros2._dynamic import serialize_dynamic
from numpy.typing import NDArray

from s3k_ros.cameras.port import FrameSet
from s3k_ros.cameras.recording.definitions import full_definition
from s3k_ros.cameras.recording.reader import Recording
from s3k_ros.cameras.recording.sets import RecordedSets
from s3k_ros.cameras.recording.writer import RecordingWriter, Topic
from s3k_ros.geometry.camera import Camera

IMAGE, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"
TF, STRING = "tf2_msgs/msg/TFMessage", "std_msgs/msg/String"


@cache
def definition(kind: str) -> str:
    def read(package: str, name: str) -> str:
        return (Path(get_package_share_directory(package)) / "msg" / f"{name}.msg").read_text()

    return full_definition(kind, read)


@cache
def _encoders(kind: str) -> Any:
    return serialize_dynamic(kind, definition(kind))


def cdr(kind: str, values: dict[str, Any]) -> bytes:
    """A message as it goes over the wire."""
    return bytes(_encoders(kind)[kind](values))


def topic(name: str, kind: str) -> Topic:
    return Topic(name, kind, definition(kind))


def header(stamp_ns: int, frame: str = "") -> dict[str, Any]:
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    return {"stamp": {"sec": sec, "nanosec": nanosec}, "frame_id": frame}


def image_cdr(image: NDArray[np.uint8], stamp_ns: int, encoding: str = "", **changed: Any) -> bytes:
    height, width = image.shape[:2]
    values = {
        "header": header(stamp_ns),
        "height": height,
        "width": width,
        "encoding": encoding or ("mono8" if image.ndim == 2 else "bgr8"),
        "is_bigendian": 0,
        "step": image.nbytes // height,
        "data": image.tobytes(),
    }
    return cdr(IMAGE, {**values, **changed})


def write_sets(writer: RecordingWriter, sets: Iterable[FrameSet], namespace: str = "") -> None:
    """Every frame of some sets, as a recorder would receive them."""
    for frames in sets:
        for name, frame in frames.frames.items():
            channel = writer.add_topic(topic(f"{namespace}/{name}/image_raw", IMAGE))
            data = image_cdr(frame.image, frame.stamp_ns)
            writer.write(channel, data, frame.stamp_ns + 10_000_000, frame.stamp_ns + 5_000_000)


def write_calibration(
    writer: RecordingWriter, cameras: Iterable[Camera], base_frame: str = "base", **changed: Any
) -> None:
    """camera_info of every camera, and their poses on /tf_static, each in a message of its own."""
    for camera in cameras:
        frame = f"{camera.name}_optical"
        values = {
            "header": header(1, frame),
            "height": camera.height,
            "width": camera.width,
            "distortion_model": camera.distortion_model,
            "d": camera.distortion.tolist(),
            "k": camera.matrix.ravel().tolist(),
            "r": np.eye(3).ravel().tolist(),
            "p": np.hstack([camera.matrix, np.zeros((3, 1))]).ravel().tolist(),
            "binning_x": 0,
            "binning_y": 0,
            "roi": dict.fromkeys(("x_offset", "y_offset", "height", "width"), 0)
            | {"do_rectify": False},
        }
        channel = writer.add_topic(topic(f"/{camera.name}/camera_info", INFO))
        writer.write(channel, cdr(INFO, {**values, **changed}), 1, 1)
        pose = camera.base_from_camera
        stamped = {
            "header": header(1, base_frame),
            "child_frame_id": frame,
            "transform": {
                "translation": dict(zip("xyz", pose.translation.tolist(), strict=True)),
                "rotation": dict(zip("xyzw", pose.quaternion.tolist(), strict=True)),
            },
        }
        channel = writer.add_topic(topic("/tf_static", TF))
        writer.write(channel, cdr(TF, {"transforms": [stamped]}), 1, 1)


def record(path: Path, sets: Iterable[FrameSet], **options: Any) -> Path:
    """A finished recording of some sets."""
    writer = RecordingWriter(path, **options)
    write_sets(writer, sets)
    writer.close()
    return path


def read_sets(path: Path, **options: Any) -> list[FrameSet]:
    """All sets of a recording."""
    return list(RecordedSets(Recording(path), **options)())


def same_images(a: FrameSet, b: FrameSet) -> bool:
    """Whether two sets have the same cameras, stamps and pixels."""
    return set(a.frames) == set(b.frames) and all(
        a.frames[name].stamp_ns == b.frames[name].stamp_ns
        and np.array_equal(a.frames[name].image, b.frames[name].image)
        for name in a.frames
    )
