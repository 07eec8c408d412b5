"""What becomes of a journal's entries: plain values for JSON, ROS 2 messages where there is one.

What is not known here, because it is newer, becomes plain values too.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from typing import Any

import numpy as np

from s3k_ros.cameras.recording.writer import Topic
from s3k_ros.geometry.se3 import Transform
from s3k_ros.goal_logs import schemas
from s3k_ros.grasp.arm.trajectory import JointTrajectory
from s3k_ros.grasp.jaws import joint_from_width
from s3k_ros.grasp.ports import JointReading, RobotReading, WrenchReading
from s3k_ros.grasp.tasks.gates import KeypointReading
from s3k_ros.params.grasp import RobotParameters

_NS_PER_S = 1e9
# Enough for micrometres and microradians.
_DIGITS = 6
# Foxglove wants a schema; the contents say more than one could.
_ANYTHING = json.dumps({"type": "object", "properties": {}, "additionalProperties": True})


def json_topic(name: str, kind: str) -> Topic:
    """A topic of JSON objects."""
    return Topic(name, f"s3k.{kind}", _ANYTHING, encoding="json")


def json_bytes(value: Any) -> bytes:
    """A JSON object; what is not finite becomes null, as JSON has no word for it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def plain(value: Any) -> Any:
    """An entry as lists, dictionaries, numbers and texts."""
    if isinstance(value, enum.Enum):
        return value.value if isinstance(value, enum.StrEnum) else value.name
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (float, np.floating)):
        return round(float(value), _DIGITS) if math.isfinite(value) else None
    if isinstance(value, np.ndarray):
        return [plain(entry) for entry in value.tolist()]
    if isinstance(value, Transform):
        return {"position": plain(value.translation), "quaternion": plain(value.quaternion)}
    if isinstance(value, JointTrajectory):
        return {"duration": plain(value.duration), "points": len(value.times)}
    if isinstance(value, KeypointReading):
        fields = (f for f in dataclasses.fields(value) if f.name != "source")
        return {f.name: plain(getattr(value, f.name)) for f in fields}
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(entry) for entry in value]
    return str(value)


def joint_state(reading: JointReading, robot: RobotParameters, time_ns: int) -> dict[str, Any]:
    """The values of a sensor_msgs/JointState: the arm, and the gripper's joint where known.

    Args:
        reading: as it came.
        robot: names of the joints.
        time_ns: on the robot's clock.
    """
    names, positions = list(robot.arm_joints), reading.positions.tolist()
    if reading.width is not None and robot.gripper_joint not in names:
        names.append(robot.gripper_joint)
        positions.append(joint_from_width(reading.width, robot))
    velocities = getattr(reading, "velocities", None)
    return {
        "header": schemas.header(time_ns, ""),
        "name": names,
        "position": positions,
        "velocity": () if velocities is None else velocities,
    }


def wrench(reading: WrenchReading, time_ns: int) -> dict[str, Any]:
    """The values of a geometry_msgs/WrenchStamped; without torque the reading has none."""
    values = {"force": _xyz(reading.force)}
    torque = getattr(reading, "torque", None)
    if torque is not None:
        values["torque"] = _xyz(torque)
    return {"header": schemas.header(time_ns, "ft_sensor"), "wrench": values}


def contact(reading: WrenchReading, time_ns: int) -> dict[str, Any]:
    """The values of a geometry_msgs/WrenchStamped: the force without the tool's weight."""
    values = {"force": _xyz(reading.contact)}
    return {"header": schemas.header(time_ns, "ft_sensor"), "wrench": values}


def robot_state(reading: RobotReading, time_ns: int) -> dict[str, Any]:
    """The values of an s3k_ros/RobotState."""
    return {"header": schemas.header(time_ns, ""), **vars(reading)}


def keypoints(
    readings: list[KeypointReading], robot: RobotParameters, time_ns: int
) -> dict[str, Any]:
    """The values of an s3k_ros/Keypoint3DArray."""
    return {
        "header": schemas.header(time_ns, robot.base_frame),
        "keypoints": [
            {
                "name": reading.name,
                "status": int(reading.status),
                "position": _xyz(reading.position),
                "covariance": np.asarray(reading.covariance, float).ravel(),
                "confidence": reading.confidence,
            }
            for reading in readings
        ],
    }


def trajectory(motion: JointTrajectory, robot: RobotParameters, time_ns: int) -> dict[str, Any]:
    """The values of a trajectory_msgs/JointTrajectory that starts at a time."""
    columns = (motion.positions, motion.velocities, motion.accelerations)
    return {
        "header": schemas.header(time_ns, ""),
        "joint_names": robot.arm_joints,
        "points": [
            {
                "positions": positions,
                "velocities": velocities,
                "accelerations": accelerations,
                "time_from_start": schemas.seconds(round(time * _NS_PER_S)),
            }
            for time, positions, velocities, accelerations in zip(
                motion.times.tolist(), *columns, strict=True
            )
        ],
    }


def pose(base_from_tcp: Transform, robot: RobotParameters, time_ns: int) -> dict[str, Any]:
    """The values of a geometry_msgs/PoseStamped."""
    orientation = dict(zip("xyzw", base_from_tcp.quaternion.tolist(), strict=True))
    return {
        "header": schemas.header(time_ns, robot.base_frame),
        "pose": {"position": _xyz(base_from_tcp.translation), "orientation": orientation},
    }


def path(points: Any, robot: RobotParameters, time_ns: int) -> dict[str, Any]:
    """The values of a nav_msgs/Path of (M, 3) points, m."""
    header = schemas.header(time_ns, robot.base_frame)
    return {
        "header": header,
        "poses": [
            {"header": header, "pose": {"position": _xyz(point), "orientation": {"w": 1.0}}}
            for point in points
        ],
    }


def _xyz(values: Any) -> dict[str, float]:
    return dict(zip("xyz", (float(value) for value in values), strict=True))
