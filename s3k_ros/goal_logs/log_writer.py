"""One goal's file: an MCAP that Foxglove opens, ROS 2 messages where there is one, else JSON.

| topic | type | what |
| --- | --- | --- |
| goal/parameters | JSON | all parameters, and the versions that made the file |
| goal/request | JSON | the goal, resolved |
| goal/joint_states | sensor_msgs/JointState | measured, arm and jaws |
| goal/wrench | geometry_msgs/WrenchStamped | measured |
| goal/contact | geometry_msgs/WrenchStamped | less the tool's weight, where that is known |
| goal/robot_state | s3k_ros/RobotState | as the robot says |
| goal/keypoints | s3k_ros/Keypoint3DArray | of the goal's keypoints, each set that came |
| goal/plan | JSON | poses, path and notes of each plan |
| goal/plan/<part> | trajectory_msgs/JointTrajectory | its trajectories |
| goal/plan/<pose>_pose, goal/plan/path | geometry_msgs/PoseStamped, nav_msgs/Path | for looking |
| goal/motion | trajectory_msgs/JointTrajectory | as sent to the arm, with its start |
| goal/state | JSON | the state machine, at each change |
| goal/events, goal/commands | JSON | what happened, what was asked for |
| goal/outcome | JSON | how it ended |
"""

from __future__ import annotations

import contextlib
import dataclasses
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from s3k_ros.cameras.recording.writer import RecordingWriter, Topic
from s3k_ros.errors import DeviceUnavailableError
from s3k_ros.geometry.se3 import Transform
from s3k_ros.goal_logs import entries, schemas
from s3k_ros.grasp.arm.trajectory import JointTrajectory
from s3k_ros.grasp.ports import JointReading, RobotReading, WrenchReading
from s3k_ros.grasp.tasks.events import (
    Command,
    Finish,
    Looked,
    Move,
    Outcome,
    Planned,
    ShowPlan,
    Tick,
)
from s3k_ros.params.grasp import RobotParameters

FORMAT = 1
_NS_PER_S = 1e9
# Of a state, what changes it enough to be noted.
_STATE = ("phase", "planning", "corrections", "arm_busy", "moved")
# Changes of the load at the wrist smaller than this are not noted by themselves, N.
_LOAD_STEP_N = 0.5


class GoalLogWriter:
    """Writes one goal's entries in the order in which they come.

    Args:
        path: a new file.
        robot: names of joints and frames.
        parameters: by name; they may be dataclasses.

    Raises:
        ConfigurationError, DeviceUnavailableError: as `RecordingWriter`.
    """

    def __init__(self, path: Path, robot: RobotParameters, parameters: Mapping[str, Any]) -> None:
        self._robot = robot
        self._writer = RecordingWriter(path, "zstd")
        self._topics: dict[str, Topic] = {}
        self._header = {"format": FORMAT, "python": platform.python_version()}
        self._parameters: Mapping[str, Any] | None = parameters
        self._last_state: dict[str, Any] = {}
        self._last_keypoints: list[Any] = []
        self._load: float | None = None

    def write(self, stamp: float, entry: object) -> None:
        """Adds an entry at a time in s.

        Raises:
            DeviceUnavailableError: the disk is full or fails.
        """
        now = max(round(_NS_PER_S * stamp), 0)
        if self._parameters is not None:
            values = {**self._header, **entries.plain(dict(self._parameters))}
            self._parameters = None
            self._json("parameters", "Parameters", values, now)
        match entry:
            case JointReading():
                stamp_ns = max(round(_NS_PER_S * entry.time), 0)
                values = entries.joint_state(entry, self._robot, stamp_ns)
                self._cdr("joint_states", schemas.JOINT_STATE, values, now)
            case WrenchReading():
                self._cdr("wrench", schemas.WRENCH, entries.wrench(entry, now), now)
                if entry.weight is not None:
                    self._cdr("contact", schemas.WRENCH, entries.contact(entry, now), now)
            case RobotReading():
                values = entries.robot_state(entry, now)
                self._cdr("robot_state", schemas.ROBOT_STATE, values, now)
            case Looked():
                self._looked(entry, now)
            case Planned():
                self._plan(entry.plan, now)
            case Tick():
                self._load = entry.load
            case Outcome():
                self._outcome(entry, now)
            case Finish() | ShowPlan():
                pass  # with the state's outcome, with the plan
            case Move():
                self._json("commands", "Command", {"command": "Move"}, now)
            case _:
                self._other(entry, now)

    def flush(self) -> None:
        """Hands everything to the operating system; raises as `write`."""
        self._writer.flush()

    def close(self) -> None:
        """Finishes the file; raises as `write`."""
        self._writer.close()

    def abandon(self) -> None:
        """After a failure: what is written stays, nothing is tried any more."""
        with contextlib.suppress(DeviceUnavailableError, OSError):
            self._writer.close()

    def _other(self, entry: Any, now: int) -> None:
        name = type(entry).__name__
        if name.endswith("Goal"):
            self._json("request", "Request", {"kind": name, **entries.plain(entry)}, now)
        elif hasattr(entry, "phase") and hasattr(entry, "outcome"):
            self._state(entry, now)
        elif isinstance(getattr(entry, "trajectory", None), JointTrajectory):
            values = entries.trajectory(entry.trajectory, self._robot, now)
            self._cdr("motion", schemas.TRAJECTORY, values, now)
        else:
            kind = "command" if isinstance(entry, get_args(Command)) else "event"
            self._json(f"{kind}s", kind.title(), {kind: name, **entries.plain(entry)}, now)

    def _looked(self, entry: Looked, now: int) -> None:
        found = [reading for reading in (entry.keypoint, entry.toward) if reading is not None]
        values = entries.keypoints(found, self._robot, now)
        self._cdr("keypoints", schemas.KEYPOINTS, values, now)

    def _plan(self, plan: object, now: int) -> None:
        """Any plan: its trajectories and poses as messages, the rest as it is."""
        values: dict[str, Any] = {"plan": type(plan).__name__}
        for name, value in _fields(plan).items():
            if isinstance(value, JointTrajectory):
                message = entries.trajectory(value, self._robot, now)
                self._cdr(f"plan/{name}", schemas.TRAJECTORY, message, now)
            elif isinstance(value, Transform):
                message = entries.pose(value, self._robot, now)
                self._cdr(f"plan/{name}_pose", schemas.POSE, message, now)
            elif name == "tcp_path":
                message = entries.path(value, self._robot, now)
                self._cdr("plan/path", schemas.PATH, message, now)
            values[name] = entries.plain(value)
        self._json("plan", "Plan", values, now)

    def _state(self, state: Any, now: int) -> None:
        values = {name: entries.plain(getattr(state, name, None)) for name in _STATE}
        jaws, ending = getattr(state, "jaws", None), getattr(state, "ending", None)
        values["jaws"] = [getattr(jaws, "order", None), getattr(jaws, "busy", None)]
        values["ending"] = None if ending is None else entries.plain(ending.code)
        refusal = getattr(state, "refusal", None)
        values["refused"] = None if refusal is None else refusal.code.name
        if values != self._last_state:
            self._last_state = values
            full = {
                **values,
                "jaws": entries.plain(jaws),
                "load": entries.plain(self._load),
                "refusal": None if refusal is None else refusal.message,
                "deadline": entries.plain(getattr(state, "deadline", None)),
            }
            self._json("state", "State", full, now)
        if (outcome := getattr(state, "outcome", None)) is not None:
            self._outcome(outcome, now)

    def _outcome(self, outcome: Any, now: int) -> None:
        values = entries.plain(outcome)
        values["code_number"] = int(outcome.code)
        self._json("outcome", "Outcome", values, now)

    def _cdr(self, name: str, kind: str, values: Mapping[str, Any], now: int) -> None:
        if name not in self._topics:
            self._topics[name] = schemas.topic(f"goal/{name}", kind)
        self._put(name, schemas.cdr(kind, values), now)

    def _json(self, name: str, kind: str, values: Mapping[str, Any], now: int) -> None:
        if name not in self._topics:
            self._topics[name] = entries.json_topic(f"goal/{name}", kind)
        self._put(name, entries.json_bytes(values), now)

    def _put(self, name: str, data: bytes, now: int) -> None:
        channel = self._writer.add_topic(self._topics[name])
        self._writer.write(channel, data, now, now)


def _fields(value: object) -> dict[str, Any]:
    if not dataclasses.is_dataclass(value):
        return {}
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
