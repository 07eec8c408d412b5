"""Definitions of ROS 1's messages, and rosbridge's check of JSON against them.

As `rosbridge_library/internal/message_conversion.py` of the branch `ros1` does it: a field that the
type lacks is refused, an integer may stand for a float but not the other way round, missing fields
take their defaults, and a header without a stamp gets the present time.
"""

from __future__ import annotations

from typing import Any

_POINT = {
    "positions": "float64[]", "velocities": "float64[]", "accelerations": "float64[]",
    "effort": "float64[]", "time_from_start": "duration",
}  # fmt: skip
DEFINITIONS: dict[str, dict[str, str]] = {
    "std_msgs/Header": {"seq": "uint32", "stamp": "time", "frame_id": "string"},
    "std_msgs/Bool": {"data": "bool"},
    "std_msgs/Empty": {},
    "std_msgs/Float64": {"data": "float64"},
    "sensor_msgs/JointState": {
        "header": "std_msgs/Header", "name": "string[]", "position": "float64[]",
        "velocity": "float64[]", "effort": "float64[]",
    },
    "trajectory_msgs/JointTrajectoryPoint": _POINT,
    "trajectory_msgs/JointTrajectory": {
        "header": "std_msgs/Header", "joint_names": "string[]",
        "points": "trajectory_msgs/JointTrajectoryPoint[]",
    },
    "control_msgs/JointTolerance": {
        "name": "string", "position": "float64", "velocity": "float64", "acceleration": "float64",
    },
    "control_msgs/FollowJointTrajectoryGoal": {
        "trajectory": "trajectory_msgs/JointTrajectory",
        "path_tolerance": "control_msgs/JointTolerance[]",
        "goal_tolerance": "control_msgs/JointTolerance[]",
        "goal_time_tolerance": "duration",
    },
    "control_msgs/FollowJointTrajectoryResult": {"error_code": "int32", "error_string": "string"},
    "control_msgs/FollowJointTrajectoryFeedback": {
        "header": "std_msgs/Header", "joint_names": "string[]",
        "desired": "trajectory_msgs/JointTrajectoryPoint",
        "actual": "trajectory_msgs/JointTrajectoryPoint",
        "error": "trajectory_msgs/JointTrajectoryPoint",
    },
    "actionlib_msgs/GoalID": {"stamp": "time", "id": "string"},
    "actionlib_msgs/GoalStatus": {
        "goal_id": "actionlib_msgs/GoalID", "status": "uint8", "text": "string",
    },
    "actionlib_msgs/GoalStatusArray": {
        "header": "std_msgs/Header", "status_list": "actionlib_msgs/GoalStatus[]",
    },
    "control_msgs/FollowJointTrajectoryActionGoal": {
        "header": "std_msgs/Header", "goal_id": "actionlib_msgs/GoalID",
        "goal": "control_msgs/FollowJointTrajectoryGoal",
    },
    "control_msgs/FollowJointTrajectoryActionResult": {
        "header": "std_msgs/Header", "status": "actionlib_msgs/GoalStatus",
        "result": "control_msgs/FollowJointTrajectoryResult",
    },
    "control_msgs/FollowJointTrajectoryActionFeedback": {
        "header": "std_msgs/Header", "status": "actionlib_msgs/GoalStatus",
        "feedback": "control_msgs/FollowJointTrajectoryFeedback",
    },
    "intera_core_msgs/RobotAssemblyState": {
        "homed": "bool", "ready": "bool", "enabled": "bool", "stopped": "bool", "error": "bool",
        "lowVoltage": "bool", "estop_button": "uint8", "estop_source": "uint8",
    },
    "intera_core_msgs/CollisionDetectionState": {
        "header": "std_msgs/Header", "collision_state": "bool",
    },
    "intera_core_msgs/JointCommand": {
        "header": "std_msgs/Header", "mode": "int32", "names": "string[]", "position": "float64[]",
        "velocity": "float64[]", "acceleration": "float64[]", "effort": "float64[]",
    },
    "intera_core_msgs/IOStatus": {"tag": "string", "id": "string", "detail": "string"},
    "intera_core_msgs/IOComponentStatus": {"name": "string", "status": "intera_core_msgs/IOStatus"},
    "intera_core_msgs/IODataStatus": {
        "name": "string", "format": "string", "data": "string",
        "status": "intera_core_msgs/IOStatus",
    },
    "intera_core_msgs/IODeviceStatus": {
        "time": "time", "device": "intera_core_msgs/IOComponentStatus",
        "ports": "intera_core_msgs/IODataStatus[]", "signals": "intera_core_msgs/IODataStatus[]",
        "commands": "time[]", "responses": "string[]",
    },
}  # fmt: skip
_JSON = {"bool": bool, "string": str}


class Refused(Exception):
    """A message that is not of its type."""


def populated(message: Any, kind: str, now: dict[str, int], path: str = "") -> Any:
    """The message with all of its type's fields, or `Refused`."""
    if kind.endswith("[]"):
        if not isinstance(message, list):
            raise Refused(f"{path} is no list")
        return [populated(item, kind[:-2], now, path) for item in message]
    if kind in ("time", "duration"):
        return {"secs": int(message.get("secs", 0)), "nsecs": int(message.get("nsecs", 0))}
    if kind not in DEFINITIONS:
        return _primitive(message, kind, path)
    if not isinstance(message, dict):
        raise Refused(f"Expected a JSON object for type {kind} but received a {type(message)}")
    fields = DEFINITIONS[kind]
    for name in message:
        if name not in fields:
            raise Refused(f"Message type {kind} does not have a field {path}.{name}")
    values = {
        name: populated(message[name], field, now, f"{path}.{name}")
        if name in message
        else default(field)
        for name, field in fields.items()
    }
    if kind == "std_msgs/Header" and "stamp" not in message:
        values["stamp"] = dict(now)
    return values


def default(kind: str) -> Any:
    """What a field holds that nobody wrote."""
    if kind.endswith("[]"):
        return []
    if kind in ("time", "duration"):
        return {"secs": 0, "nsecs": 0}
    if kind in DEFINITIONS:
        return {name: default(field) for name, field in DEFINITIONS[kind].items()}
    return {"bool": False, "string": ""}.get(kind, 0.0 if kind.startswith("float") else 0)


def _primitive(value: Any, kind: str, path: str) -> Any:
    wanted = _JSON.get(kind, (int, float) if kind.startswith("float") else int)
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind != "bool"):
        raise Refused(f"a {kind} is required for field {path}, but got a {type(value).__name__}")
    return value
