"""A Sawyer with intera's ROS 1 nodes behind a `RosbridgeServer`.

Behaves as `intera_joint_trajectory_action/joint_trajectory_action.py` of RethinkRobotics/intera_sdk
(master) does, its silences included, on actionlib's `SimpleActionServer`:

- a collision, a disabled robot or a pressed cuff aborts with PATH_TOLERANCE_VIOLATED and no text,
  or, when the loop sees the disabled robot first, ends as a success short of the goal;
- a trajectory that begins elsewhere, or is empty, aborts with error code 0 and no text;
- a new goal ends the running one as preempted before it begins;
- while it waits for a start time that lies ahead it hears no cancel;
- the robot's clock is not ours.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import numpy as np

from support.rosbridge_server import RosbridgeServer, stamp

JOINTS = tuple(f"right_j{i}" for i in range(7))
HOME = (0.0, -1.60, 0.0, 2.45, 0.0, 0.72, 1.745)
ACTION = "/robot/limb/right/follow_joint_trajectory"
CLOCK_OFFSET_S = -1234.5
_STEP_S = 0.01
_THRESHOLD_RAD = 0.2
_GOAL_TIME_S = 0.1
_FOLLOW = "control_msgs/FollowJointTrajectory"
PENDING, ACTIVE, PREEMPTED, SUCCEEDED, ABORTED, RECALLED = 0, 1, 2, 3, 4, 8
PATH_TOLERANCE_VIOLATED = -4


class Intera:
    """The robot; attributes may be set from the test's thread.

    Attributes:
        sees_disabled_first: its loop ends as a success when the robot is disabled on the way.
        serves: the action server runs.
        delay_s: its messages come this much later.
        sent: goals in the order of their coming.
        velocities: (time, command) of JointCommand in VELOCITY_MODE.
        reports: topics that it publishes.
    """

    def __init__(self, bridge: RosbridgeServer) -> None:
        self.bridge = bridge
        bridge.clock = lambda: time.time() + CLOCK_OFFSET_S
        self.velocities: list[tuple[float, list[float]]] = []
        self.reset()
        bridge.on(f"{ACTION}/goal", self._on_goal)
        bridge.on(f"{ACTION}/cancel", self._on_cancel)
        bridge.on("/robot/limb/right/joint_command", self._on_command)
        bridge.on("/robot/set_super_enable", lambda m: self._set(enabled=m["data"]))
        bridge.on("/robot/set_super_stop", lambda m: self.press_estop(source=2))
        bridge.on("/robot/set_super_reset", lambda m: self._reset_robot())
        self._task = asyncio.run_coroutine_threadsafe(self._run(), bridge.loop)

    def reset(self) -> None:
        self.position = np.array(HOME)
        self.moved = 0.0
        self.state = {"ready": True, "homed": True, "enabled": True, "stopped": False,
                      "error": False, "estop_button": 0, "estop_source": 0}  # fmt: skip
        self.collision = self.cuff = False
        self.sees_disabled_first, self.serves, self.delay_s = False, True, 0.0
        self.reports = {"joints", "state", "collision", "cuff"}
        self.sent: list[dict[str, Any]] = []
        self._statuses: dict[str, tuple[int, float]] = {}
        self._goal: dict[str, Any] | None = None
        self._next: dict[str, Any] | None = None
        self._began = 0.0
        self.velocities.clear()

    def close(self) -> None:
        self._task.cancel()

    # -- what befalls the robot ----------------------------------------------------------------

    def disable(self) -> None:
        self._set(enabled=False)

    def press_estop(self, source: int = 1) -> None:
        button = 1 if source == 1 else 2
        self._set(enabled=False, stopped=True, estop_button=button, estop_source=source)

    def release_estop(self) -> None:
        self._set(estop_button=3)

    @property
    def moving(self) -> bool:
        return self._goal is not None

    def _set(self, **fields: Any) -> None:
        self.state = {**self.state, **fields}

    def _reset_robot(self) -> None:
        if self.state["estop_button"] != 1:
            self._set(stopped=False, error=False, estop_button=0, estop_source=0)
            self.collision = False

    # -- actionlib -----------------------------------------------------------------------------

    def _on_goal(self, message: dict[str, Any]) -> None:
        if not self.serves:
            return
        self.sent.append(message)
        name = message["goal_id"]["id"]
        if name in self._statuses:  # a cancel came before its goal
            self._end(message, RECALLED)
            return
        if self._next is not None:
            self._end(self._next, RECALLED)
        self._next = message
        self._say(name, PENDING)

    def _on_cancel(self, message: dict[str, Any]) -> None:
        name = message["id"]
        for goal in (self._goal, self._next):
            if goal is not None and name in ("", goal["goal_id"]["id"]):
                goal["cancelled"] = True
                return
        if name and self.serves:
            self._statuses.setdefault(name, (RECALLED, time.monotonic()))

    def _say(self, name: str, status: int) -> None:
        self._statuses[name] = (status, time.monotonic())
        self._list()

    def _list(self) -> None:
        if not self.serves:
            return
        now = time.monotonic()
        self._statuses = {
            name: entry for name, entry in self._statuses.items()
            if entry[0] in (PENDING, ACTIVE) or now - entry[1] < 5.0
        }  # fmt: skip
        entries = [
            {"goal_id": {"id": name}, "status": status}
            for name, (status, _) in self._statuses.items()
        ]
        self._publish(
            f"{ACTION}/status", "actionlib_msgs/GoalStatusArray", {"status_list": entries}
        )

    def _end(self, goal: dict[str, Any], status: int, code: int = 0, text: str = "") -> None:
        name = goal["goal_id"]["id"]
        if goal is self._goal:
            self._goal = None
        if goal is self._next:
            self._next = None
        message = {
            "status": {"goal_id": {"id": name}, "status": status, "text": text},
            "result": {"error_code": code},
        }
        self._publish(f"{ACTION}/result", f"{_FOLLOW}ActionResult", message)
        self._say(name, status)

    # -- the trajectory ------------------------------------------------------------------------

    def _begin(self, goal: dict[str, Any]) -> None:
        self._goal, self._next = goal, None
        self._say(goal["goal_id"]["id"], ACTIVE)
        trajectory = goal["goal"]["trajectory"]
        names, points = trajectory["joint_names"], trajectory["points"]
        listed = {t["name"] for t in goal["goal"]["path_tolerance"]}
        if not points:
            self._end(goal, ABORTED)
            return
        if set(names) - set(JOINTS) or (listed and listed != set(names)):
            self._end(goal, ABORTED, 0, "Exception in execute callback: KeyError")
            return
        order = [names.index(name) for name in JOINTS]
        goal["table"] = np.array([p["positions"] for p in points])[:, order]
        goal["times"] = np.array([_seconds(p["time_from_start"]) for p in points])
        if (np.abs(goal["table"][0] - self.position) > _THRESHOLD_RAD).any():
            self._end(goal, ABORTED)
            return
        if goal["times"][0] != 0.0:  # its interpolation divides by the wrong interval
            self._end(goal, ABORTED, 0, "Exception in execute callback: ZeroDivisionError")
            return
        self._began = _seconds(trajectory["header"]["stamp"]) or self.bridge.clock()

    def _follow(self, goal: dict[str, Any]) -> None:
        elapsed = self.bridge.clock() - self._began
        if elapsed < 0.0:
            return  # waiting, and deaf
        end = goal["times"][-1]
        if not self.state["enabled"] and self.sees_disabled_first:
            self._end(goal, SUCCEEDED)
        elif self.collision or self.cuff or not self.state["enabled"]:
            self._end(goal, ABORTED, PATH_TOLERANCE_VIOLATED)
        elif goal.get("cancelled") or self._next is not None:
            self._end(goal, PREEMPTED)
        elif elapsed > end + _GOAL_TIME_S:
            self._end(goal, SUCCEEDED)
        else:
            before = self.position
            columns = [np.interp(elapsed, goal["times"], column) for column in goal["table"].T]
            self.position = np.array(columns)
            self.moved += float(np.abs(self.position - before).max())
            self._feedback(goal, elapsed)

    def _feedback(self, goal: dict[str, Any], elapsed: float) -> None:
        here = {"positions": self.position.tolist(), "time_from_start": stamp(elapsed)}
        error = {"positions": [0.0] * len(JOINTS)}
        message = {
            "status": {"goal_id": goal["goal_id"], "status": ACTIVE},
            "feedback": {
                "joint_names": list(JOINTS),
                "desired": here,
                "actual": here,
                "error": error,
            },
        }
        self._publish(f"{ACTION}/feedback", f"{_FOLLOW}ActionFeedback", message)

    def _on_command(self, message: dict[str, Any]) -> None:
        if message["mode"] == 2:
            assert message["names"] == list(JOINTS)
            self.velocities.append((time.monotonic(), message["velocity"]))

    # -- time ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        count = 0
        while True:
            await asyncio.sleep(_STEP_S)
            if self._goal is not None:
                self._follow(self._goal)
            if self._goal is None and self._next is not None:
                goal = self._next
                if goal.get("cancelled"):
                    self._end(goal, RECALLED)
                else:
                    self._begin(goal)
            self._report()
            if count % 20 == 0:
                self._list()
            count += 1

    def _report(self) -> None:
        send = self.bridge.publish
        if "joints" in self.reports:
            # As the real one, with the head's joint.
            message = {"name": ["head_pan", *JOINTS], "position": [0.0, *self.position.tolist()]}
            send("/robot/joint_states", "sensor_msgs/JointState", {"header": {}, **message})
        if "state" in self.reports:
            send("/robot/state", "intera_core_msgs/RobotAssemblyState", self.state)
        if "collision" in self.reports:
            kind = "intera_core_msgs/CollisionDetectionState"
            name = "/robot/limb/right/collision_detection_state"
            send(name, kind, {"collision_state": self.collision})
        if "cuff" in self.reports:
            signal = {"name": "right_cuff", "format": '{"type": "bool"}'}
            signals = [{**signal, "data": json.dumps([self.cuff])}]
            send("/io/robot/cuff/state", "intera_core_msgs/IODeviceStatus", {"signals": signals})

    def _publish(self, topic: str, kind: str, message: dict[str, Any]) -> None:
        if self.delay_s:
            self.bridge.loop.call_later(
                self.delay_s, lambda: self.bridge.publish(topic, kind, message)
            )
        else:
            self.bridge.publish(topic, kind, message)


def _seconds(time_of_ros: dict[str, int]) -> float:
    return time_of_ros["secs"] + 1e-9 * time_of_ros["nsecs"]
