"""What a Sawyer says of itself on the ROS 1 side, and what may be concluded from it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from s3k_ros.errors import DataError
from s3k_ros.msg import RobotState
from s3k_ros.ros.conversions import stamp_message

JOINT_STATES = "/robot/joint_states"
STATE = "/robot/state"
COLLISION = "/robot/limb/right/collision_detection_state"
CUFF = "/io/robot/cuff/state"
ENABLE = "/robot/set_super_enable"
RESET = "/robot/set_super_reset"
STOP = "/robot/set_super_stop"
JOINT_COMMAND = "/robot/limb/right/joint_command"
COMMAND_TIMEOUT = "/robot/limb/right/joint_command_timeout"

TYPES = {
    JOINT_STATES: "sensor_msgs/JointState",
    STATE: "intera_core_msgs/RobotAssemblyState",
    COLLISION: "intera_core_msgs/CollisionDetectionState",
    CUFF: "intera_core_msgs/IODeviceStatus",
    ENABLE: "std_msgs/Bool",
    RESET: "std_msgs/Empty",
    STOP: "std_msgs/Empty",
    JOINT_COMMAND: "intera_core_msgs/JointCommand",
    COMMAND_TIMEOUT: "std_msgs/Float64",
}
HEARD = (JOINT_STATES, STATE, COLLISION, CUFF)
SPOKEN = (ENABLE, RESET, STOP, JOINT_COMMAND, COMMAND_TIMEOUT)

DISCONNECTED = "DISCONNECTED"

# intera_core_msgs/RobotAssemblyState
_PRESSED, _RELEASED = 1, 3
_SOURCES = {1: "the red button", 3: "a fault of a joint", 4: "the motion engine"}
_CUFF_SIGNAL = "right_cuff"
_NS = 1_000_000_000


@dataclasses.dataclass(frozen=True)
class Obstacle:
    """Why the arm may not move: a word for programs, a sentence for people."""

    word: str
    text: str

    def __str__(self) -> str:
        return f"{self.word}: {self.text}"


class ClockOffset:
    """Our clock minus the robot's, from what arrived fastest in the last 5 to 10 s.

    It includes the shortest way of a message, milliseconds; stamps keep their distances.
    """

    _SPAN_S = 5.0

    def __init__(self) -> None:
        self._since = -math.inf
        self._least = self._before = math.inf

    def add(self, stamp_s: float, received_s: float) -> float:
        """Takes a stamp and its receipt; the offset in s."""
        if received_s - self._since > self._SPAN_S or received_s < self._since:
            recent = received_s - self._since < 2 * self._SPAN_S
            self._before = self._least if recent and received_s >= self._since else math.inf
            self._since, self._least = received_s, math.inf
        self._least = min(self._least, received_s - stamp_s)
        return min(self._least, self._before)


class RobotMirror:
    """The newest that the robot said, and whether it may move.

    Args:
        address: of the rosbridge server, for texts.
        silence_s: joint states or a state older than this count as none.
        settle_s: for this long after a connection, messages to the robot may be lost: publisher
            and subscriber find each other late in ROS 1.
    """

    def __init__(self, address: str, silence_s: float, settle_s: float) -> None:
        self._address = address
        self._silence_s, self._settle_s = silence_s, settle_s
        self._ready_at = -math.inf
        self.linked = False
        self.clock_offset_s = math.nan
        self.state: dict[str, Any] = {}
        self.positions: dict[str, float] = {}
        self.collision = self.cuff = False
        self._offset = ClockOffset()
        self._last: tuple[float, Obstacle] | None = None
        self._joints_at = self._state_at = -math.inf

    def opened(self, now: float) -> None:
        """A connection begins: what was not said on it is not known."""
        self.linked, self.collision, self.cuff = True, False, False
        self._ready_at = now + self._settle_s
        self._offset = ClockOffset()

    def closed(self) -> None:
        """The connection ended: positions and receipts of before say nothing any more."""
        self.linked, self.positions = False, {}
        self._joints_at = self._state_at = -math.inf

    # -- messages, as JSON objects; all times in s, monotonic ----------------------------------

    def take_joint_states(self, message: dict[str, Any], now: float, wall_ns: int) -> JointState:
        """The message for ROS 2, stamped in our clock.

        Raises:
            DataError: names and positions do not fit.
        """
        names, positions = list(map(str, message["name"])), _floats(message["position"])
        if len(names) != len(positions):
            raise DataError(f"joint states have {len(names)} names, {len(positions)} positions")
        self.positions |= {n: p for n, p in zip(names, positions, strict=True) if math.isfinite(p)}
        self._joints_at = now
        stamp_ns = _nanoseconds(message["header"]["stamp"])
        self.clock_offset_s = self._offset.add(1e-9 * stamp_ns, 1e-9 * wall_ns)
        # In whole nanoseconds: a double cannot tell them apart since 1970.
        stamp = min(stamp_ns + round(self.clock_offset_s * _NS), wall_ns) if stamp_ns else wall_ns
        return JointState(
            header=Header(stamp=stamp_message(stamp)),
            name=names,
            position=positions,
            velocity=_floats(message.get("velocity", ())),
            effort=_floats(message.get("effort", ())),
        )

    def take_state(self, message: dict[str, Any], now: float) -> bool:
        """RobotAssemblyState; whether it differs from the one before."""
        fields = {name: bool(message[name]) for name in ("enabled", "stopped", "error")}
        state = {
            **fields,
            "ready": bool(message.get("ready", True)),
            "estop_button": int(message.get("estop_button", 0)),
            "estop_source": int(message.get("estop_source", 0)),
        }
        changed, self.state, self._state_at = state != self.state, state, now
        return changed

    def take_collision(self, message: dict[str, Any]) -> bool:
        """CollisionDetectionState; whether it changed."""
        collision = bool(message["collision_state"])
        changed, self.collision = collision != self.collision, collision
        return changed

    def take_cuff(self, message: dict[str, Any]) -> bool:
        """IODeviceStatus of the cuff; whether it changed."""
        pressed = self.cuff
        for signal in message["signals"]:
            if signal["name"] == _CUFF_SIGNAL:
                pressed = bool(json.loads(signal["data"])[0])
        changed, self.cuff = pressed != self.cuff, pressed
        return changed

    # -- conclusions ---------------------------------------------------------------------------

    def connected(self, now: float) -> bool:
        """Whether the robot is heard."""
        obstacle = self._obstacle(now)
        return obstacle is None or obstacle.word != DISCONNECTED

    def obstacle(self, now: float) -> Obstacle | None:
        """Why the arm may not move now; None when it may."""
        found = self._obstacle(now)
        if found is not None:
            self._last = (now, found)
        return found

    def obstacle_since(self, start: float, now: float) -> Obstacle | None:
        """The newest reason since ``start``, also one that is over."""
        found = self.obstacle(now)
        if found is None and self._last is not None and self._last[0] >= start:
            return self._last[1]
        return found

    def positions_of(self, joints: Sequence[str]) -> list[float] | None:
        """rad, of these joints; None when one of them is not known."""
        found = [self.positions.get(name, math.nan) for name in joints]
        return found if all(map(math.isfinite, found)) else None

    def message(self, now: float, wall_ns: int) -> RobotState:
        """The robot's state for ROS 2."""
        obstacle = self.obstacle(now)
        return RobotState(
            header=Header(stamp=stamp_message(wall_ns)),
            connected=self.connected(now),
            enabled=self.state.get("enabled", False),
            stopped=self.state.get("stopped", False),
            error=self.state.get("error", False),
            collision=self.collision,
            reason="" if obstacle is None else str(obstacle),
        )

    def _obstacle(self, now: float) -> Obstacle | None:
        if not self.linked:
            return Obstacle(DISCONNECTED, f"no connection to rosbridge at {self._address}")
        if now - self._state_at > self._silence_s:
            return Obstacle(DISCONNECTED, f"rosbridge answers, but {STATE} is silent")
        if now - self._joints_at > self._silence_s:
            return Obstacle(DISCONNECTED, f"rosbridge answers, but {JOINT_STATES} is silent")
        if now < self._ready_at:
            return Obstacle(DISCONNECTED, "just connected: publishers still find their subscribers")
        if self.state["stopped"]:
            return Obstacle("STOPPED", self._stop_text())
        if self.state["error"]:
            return Obstacle("FAULT", "the robot reports a fault; /robot/reset may clear it")
        if self.collision:
            return Obstacle("COLLISION", "the robot's collision detection has tripped")
        if not self.state["enabled"]:
            return Obstacle("DISABLED", "the robot is disabled; /robot/enable enables it")
        if self.cuff:
            return Obstacle("CUFF", "the cuff is pressed: someone guides the arm by hand")
        return None

    def _stop_text(self) -> str:
        button = self.state["estop_button"]
        if button == _PRESSED:
            return "the emergency stop is pressed; release it, then /robot/reset, /robot/enable"
        source = _SOURCES.get(self.state["estop_source"])
        by = f" by {source}" if source else ""
        released = ", and is released" if button == _RELEASED else ""
        return f"the robot was stopped{by}{released}; /robot/reset, then /robot/enable"


def _floats(values: Any) -> list[float]:
    """Numbers; rosbridge writes null for what is not finite."""
    return [math.nan if value is None else float(value) for value in values or ()]


def _nanoseconds(stamp: dict[str, Any]) -> int:
    return int(stamp["secs"]) * _NS + int(stamp["nsecs"])
