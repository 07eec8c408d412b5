"""A goal log as arrays, for whoever explains it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s3k_ros.cameras.recording.reader import RecordedMessage, Recording
from s3k_ros.errors import DataError

Array = NDArray[np.float64]

# Values with their times.
Timed = tuple[tuple[float, dict[str, Any]], ...]

_NS_PER_S = 1e9


@dataclasses.dataclass(frozen=True, eq=False)
class LoggedMotion:
    """A trajectory as it was sent: start in s from the goal's, (T,) s, (T, n) rad, rad/s."""

    start: float
    times: Array
    positions: Array
    velocities: Array


@dataclasses.dataclass(frozen=True, eq=False)
class LoggedKeypoint:
    """The readings of one keypoint: (N,) s, (N, 3) m, (N, 3, 3) m^2, (N,) 0 to 1, (N,) status."""

    times: Array
    positions: Array
    covariances: Array
    confidences: Array
    status: NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class GoalLog:
    """One goal. Times count in s from its arrival.

    Attributes:
        path: the file.
        finished: False when the server was killed meanwhile: the last moments are missing.
        started: s on the server's clock.
        request: the goal; ``kind`` is its class.
        parameters: of the server, by name.
        joint_names, joint_times, joints: of the arm: (N,) s of receipt, (N, n) rad.
        joint_stamps: (N,) s on the robot's clock, for differences alone.
        width_times, knuckle: (N,) s, (N,) rad of the gripper's joint.
        wrench_times, forces: (N,) s, (N, 3) N, without the tool's weight where that was known.
        robot: (time, values) of the robot's state.
        keypoints: by name.
        plans, paths: (time, values), and (M, 3) m of the tool's way, oldest first.
        motions: oldest first.
        states, events, commands: (time, values), oldest first.
        outcome: None when it never ended.
        ended: s, or when the last entry came.
    """

    path: Path
    finished: bool
    started: float
    request: dict[str, Any]
    parameters: dict[str, Any]
    joint_names: tuple[str, ...]
    joint_times: Array
    joints: Array
    joint_stamps: Array
    width_times: Array
    knuckle: Array
    wrench_times: Array
    forces: Array
    robot: Timed
    keypoints: dict[str, LoggedKeypoint]
    plans: Timed
    paths: tuple[Array, ...]
    motions: tuple[LoggedMotion, ...]
    states: Timed
    events: Timed
    commands: Timed
    outcome: dict[str, Any] | None
    ended: float

    @property
    def phases(self) -> list[tuple[str, float, float]]:
        """Name, begin and end of each phase; "stopping" is the time from a refusal to rest."""
        marks: list[tuple[str, float]] = []
        for time, state in self.states:
            name = (
                "stopping" if state["ending"] and state["ending"] != "SUCCESS" else state["phase"]
            )
            if not marks or marks[-1][0] != name:
                marks.append((name, time))
        ends = [*(time for _, time in marks[1:]), self.ended]
        return [(name, begin, end) for (name, begin), end in zip(marks, ends, strict=False)]


def read(path: Path | str) -> GoalLog:
    """Reads a goal log, also an unfinished one.

    Raises:
        ConfigurationError: there is no such file, or it is no MCAP file.
        DataError: it is damaged, or no goal log.
    """
    recording = Recording(path)
    messages: dict[str, list[RecordedMessage]] = {}
    for message in recording.messages(lambda name: name.startswith("goal/"), ("cdr", "json")):
        messages.setdefault(message.topic.removeprefix("goal/"), []).append(message)
    if "request" not in messages:
        raise DataError(f"{recording.path} is no goal log: it has no goal/request")
    return _Reader(recording, messages).log()


class _Reader:
    """Turns the messages of a file, by topic, into a `GoalLog`."""

    def __init__(self, recording: Recording, messages: dict[str, list[RecordedMessage]]) -> None:
        self._recording, self._messages = recording, messages
        self._start_ns = messages["request"][0].log_ns

    def log(self) -> GoalLog:
        robot = self._robot_names()
        joints = [(t, m) for t, m in self._decoded("joint_states")]
        arm = tuple(robot["arm_joints"]) or tuple(joints[0][1].name if joints else ())
        jaws = [(t, m) for t, m in joints if robot["gripper_joint"] in m.name]
        wrench = list(self._decoded("contact")) or list(self._decoded("wrench"))
        ends = self._objects("outcome")
        last = max((ms[-1].log_ns for ms in self._messages.values()), default=self._start_ns)
        return GoalLog(
            path=self._recording.path,
            finished=self._recording.finished,
            started=self._start_ns / _NS_PER_S,
            request=self._objects("request")[0][1],
            parameters=next((values for _, values in self._objects("parameters")), {}),
            joint_names=arm,
            joint_times=np.array([t for t, _ in joints]),
            joints=_rows([m.position[: len(arm)] for _, m in joints], len(arm)),
            joint_stamps=np.array([_stamp(m) for _, m in joints]),
            width_times=np.array([t for t, _ in jaws]),
            knuckle=np.array([m.position[list(m.name).index(robot["gripper_joint"])]
                              for _, m in jaws]),
            wrench_times=np.array([t for t, _ in wrench]),
            forces=_rows([_xyz(m.wrench.force) for _, m in wrench], 3),
            robot=tuple((t, _flags(m)) for t, m in self._decoded("robot_state")),
            keypoints=self._keypoints(),
            plans=self._objects("plan"),
            paths=tuple(
                _rows([_xyz(p.pose.position) for p in m.poses], 3)
                for _, m in self._decoded("plan/path")
            ),
            motions=tuple(_motion(t, m, len(arm)) for t, m in self._decoded("motion")),
            states=self._objects("state"),
            events=self._objects("events"),
            commands=self._objects("commands"),
            outcome=ends[-1][1] if ends else None,
            ended=ends[-1][0] if ends else self._seconds(last),
        )  # fmt: skip

    def _robot_names(self) -> dict[str, Any]:
        values = next((values for _, values in self._objects("parameters")), {})
        return {"arm_joints": (), "gripper_joint": "", **values.get("robot", {})}

    def _keypoints(self) -> dict[str, LoggedKeypoint]:
        found: dict[str, list[tuple[float, Any]]] = {}
        for time, message in self._decoded("keypoints"):
            for keypoint in message.keypoints:
                found.setdefault(keypoint.name, []).append((time, keypoint))
        return {
            name: LoggedKeypoint(
                times=np.array([t for t, _ in readings]),
                positions=_rows([_xyz(k.position) for _, k in readings], 3),
                covariances=np.array([k.covariance for _, k in readings]).reshape(-1, 3, 3),
                confidences=np.array([k.confidence for _, k in readings]),
                status=np.array([k.status for _, k in readings]),
            )
            for name, readings in found.items()
        }

    def _seconds(self, time_ns: int) -> float:
        return (time_ns - self._start_ns) / _NS_PER_S

    def _objects(self, topic: str) -> Timed:
        try:
            return tuple(
                (self._seconds(message.log_ns), json.loads(message.data))
                for message in self._messages.get(topic, ())
            )
        except ValueError as error:
            raise DataError(f"{self._recording.path}: goal/{topic}: {error}") from None

    def _decoded(self, topic: str) -> list[tuple[float, Any]]:
        return [
            (self._seconds(message.log_ns), self._recording.decode(message))
            for message in self._messages.get(topic, ())
        ]


def _motion(time: float, message: Any, joints: int) -> LoggedMotion:
    since = [p.time_from_start.sec + p.time_from_start.nanosec / _NS_PER_S for p in message.points]
    return LoggedMotion(
        start=time,
        times=np.array(since),
        positions=_rows([p.positions for p in message.points], joints),
        velocities=_rows([p.velocities for p in message.points], joints),
    )


def _stamp(message: Any) -> float:
    return float(message.header.stamp.sec + message.header.stamp.nanosec / _NS_PER_S)


def _flags(message: Any) -> dict[str, Any]:
    names = ("connected", "enabled", "stopped", "error", "collision", "reason")
    return {name: getattr(message, name) for name in names}


def _rows(rows: list[Any], width: int) -> Array:
    """(N, width), also of no rows."""
    return np.array([list(row) for row in rows], float).reshape(-1, width)


def _xyz(value: Any) -> tuple[float, float, float]:
    return value.x, value.y, value.z
