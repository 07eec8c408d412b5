"""The ROS 2 messages of goal logs, without ROS: their definitions, and how they become CDR.

Field for field as the packages define them (a test compares), without comments and constants.
"""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from s3k_ros.cameras.recording.definitions import full_definition
from s3k_ros.cameras.recording.writer import Topic
from s3k_ros.errors import ConfigurationError

DEFINITIONS = {
    "builtin_interfaces/Time": "int32 sec\nuint32 nanosec",
    "builtin_interfaces/Duration": "int32 sec\nuint32 nanosec",
    "std_msgs/Header": "builtin_interfaces/Time stamp\nstring frame_id",
    "geometry_msgs/Vector3": "float64 x\nfloat64 y\nfloat64 z",
    "geometry_msgs/Point": "float64 x\nfloat64 y\nfloat64 z",
    "geometry_msgs/Quaternion": "float64 x 0\nfloat64 y 0\nfloat64 z 0\nfloat64 w 1",
    "geometry_msgs/Pose": "Point position\nQuaternion orientation",
    "geometry_msgs/PoseStamped": "std_msgs/Header header\nPose pose",
    "geometry_msgs/Wrench": "Vector3 force\nVector3 torque",
    "geometry_msgs/WrenchStamped": "std_msgs/Header header\nWrench wrench",
    "nav_msgs/Path": "std_msgs/Header header\ngeometry_msgs/PoseStamped[] poses",
    "sensor_msgs/JointState": "std_msgs/Header header\nstring[] name\nfloat64[] position\n"
    "float64[] velocity\nfloat64[] effort",
    "trajectory_msgs/JointTrajectory": "std_msgs/Header header\nstring[] joint_names\n"
    "JointTrajectoryPoint[] points",
    "trajectory_msgs/JointTrajectoryPoint": "float64[] positions\nfloat64[] velocities\n"
    "float64[] accelerations\nfloat64[] effort\nbuiltin_interfaces/Duration time_from_start",
    "s3k_ros/Keypoint3D": "string name\nuint8 status\ngeometry_msgs/Point position\n"
    "float64[9] covariance\nfloat32 confidence\nfloat32 reprojection_error\nuint32 views_used\n"
    "builtin_interfaces/Duration age",
    "s3k_ros/Keypoint3DArray": "std_msgs/Header header\nuint64 set_id\nstring model\n"
    "string object_id\nstring[] cameras\nKeypoint3D[] keypoints",
    "s3k_ros/RobotState": "std_msgs/Header header\nbool connected\nbool enabled\nbool stopped\n"
    "bool error\nbool collision\nstring reason",
}

JOINT_STATE = "sensor_msgs/msg/JointState"
WRENCH = "geometry_msgs/msg/WrenchStamped"
KEYPOINTS = "s3k_ros/msg/Keypoint3DArray"
ROBOT_STATE = "s3k_ros/msg/RobotState"
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
POSE = "geometry_msgs/msg/PoseStamped"
PATH = "nav_msgs/msg/Path"

_SCALARS = {
    "bool": "?", "uint8": "B", "int32": "i", "uint32": "I", "uint64": "Q", "float32": "f",
    "float64": "d",
}  # fmt: skip
_FIELD = re.compile(r"(\S+?)(\[(\d*)\])? (\w+)")
_NS_PER_S = 1_000_000_000


def topic(name: str, kind: str) -> Topic:
    """A topic of a goal log."""
    return Topic(name, kind, full_definition(kind, _read))


def header(time_ns: int, frame: str) -> dict[str, Any]:
    """The values of a std_msgs/Header."""
    return {"stamp": seconds(time_ns), "frame_id": frame}


def seconds(time_ns: int) -> dict[str, int]:
    """The values of a time or a duration."""
    sec, nanosec = divmod(time_ns, _NS_PER_S)
    return {"sec": sec, "nanosec": nanosec}


def cdr(kind: str, values: Mapping[str, Any]) -> bytes:
    """A message as it goes over the wire: little endian, each field aligned to its own size.

    Args:
        kind: of DEFINITIONS, as "package/msg/Type".
        values: by field; what is left out is zero or empty.
    """
    out = bytearray()
    _put(out, kind.replace("/msg/", "/"), values)
    return b"\x00\x01\x00\x00" + bytes(out)


def _read(package: str, name: str) -> str:
    try:
        return DEFINITIONS[f"{package}/{name}"]
    except KeyError:
        raise ConfigurationError(f"goal logs have no definition of {package}/{name}") from None


@functools.cache
def _fields(kind: str) -> tuple[tuple[str, str, str | None], ...]:
    """Name, type, and length of each field: None for one, "" for any, else a number."""
    package = kind.partition("/")[0]
    found = []
    for line in DEFINITIONS[kind].splitlines():
        match = _FIELD.match(line)
        if match is None:
            raise ConfigurationError(f"{kind}: cannot read {line!r}")
        of, many, length, name = match.groups()
        plain = of in _SCALARS or of == "string" or "/" in of
        found.append((name, of if plain else f"{package}/{of}", length if many else None))
    return tuple(found)


def _put(out: bytearray, kind: str, values: Mapping[str, Any]) -> None:
    for name, of, length in _fields(kind):
        value = values.get(name)
        if length is None:
            _put_one(out, of, value)
            continue
        if length:
            value = np.zeros(int(length)) if value is None else value
        else:
            value = () if value is None else value
            _put_one(out, "uint32", len(value))
        if of == "float64":
            if len(value):
                _align(out, 8)
                out += np.asarray(value, "<f8").tobytes()
        else:
            for entry in value:
                _put_one(out, of, entry)


def _put_one(out: bytearray, of: str, value: Any) -> None:
    if of in _SCALARS:
        code = _SCALARS[of]
        _align(out, struct.calcsize(code))
        out += struct.pack("<" + code, 0 if value is None else value)
    elif of == "string":
        data = str(value or "").encode() + b"\x00"
        _put_one(out, "uint32", len(data))
        out += data
    else:
        _put(out, of, value or {})


def _align(out: bytearray, size: int) -> None:
    out += bytes(-len(out) % size)
