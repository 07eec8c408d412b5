"""What the admittance controller hears over ROS, as arrays, and whether the robot may move.

All times here are of the wall: a watchdog must go on when the simulated clock or a driver stops.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from action_msgs.msg import GoalStatus, GoalStatusArray
from geometry_msgs.msg import TwistStamped, WrenchStamped
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool

from s3k_ros.msg import RobotState
from s3k_ros.params.admittance import AdmittanceNodeParameters
from s3k_ros.ros import qos
from s3k_ros.ros.node import S3kNode

Array = NDArray[np.float64]

_RUNNING = (GoalStatus.STATUS_ACCEPTED, GoalStatus.STATUS_EXECUTING, GoalStatus.STATUS_CANCELING)
_LOOK_PERIOD_S = 0.5


def twist_array(message: TwistStamped) -> Array:
    """(6,) linear and angular velocity."""
    v, w = message.twist.linear, message.twist.angular
    return np.array([v.x, v.y, v.z, w.x, w.y, w.z])


def wrench_array(message: WrenchStamped) -> Array:
    """(6,) force and torque."""
    f, t = message.wrench.force, message.wrench.torque
    return np.array([f.x, f.y, f.z, t.x, t.y, t.z])


class JointReader:
    """Positions of an arm's joints from joint states, whatever their order.

    Args:
        joints: names, in the order of the arrays.
    """

    def __init__(self, joints: tuple[str, ...]) -> None:
        self._joints = joints
        self._names: list[str] = []
        self._indices: list[int] = []

    def read(self, message: JointState) -> Array | None:
        """(n,) rad; None when a joint is missing, as in another driver's joint states."""
        if message.name != self._names:
            self._names = list(message.name)
            places = {name: i for i, name in enumerate(self._names)}
            known = all(name in places for name in self._joints)
            self._indices = [places[name] for name in self._joints] if known else []
        if not self._indices or len(message.position) < len(self._names):
            return None
        return np.array(message.position)[self._indices]


class MotionGate:
    """Whether the arm may be moved by velocities: robot's state, stop, and no trajectory under way.

    Args:
        node: listens.
        params: topics.
        changed: called with why not, empty when it may, whenever something was heard.
    """

    def __init__(
        self, node: S3kNode, params: AdmittanceNodeParameters, changed: Callable[[str], None]
    ) -> None:
        self._node, self._params, self._changed = node, params, changed
        self._state: RobotState | None = None
        self._heard_at = 0.0
        self._stop = False
        self._goals: GoalStatusArray | None = None
        self._status = f"{params.arm_action}/_action/status"
        if params.robot_state:
            node.listen(RobotState, params.robot_state, self._on_state, qos.latched())
        if params.arm_action:
            profile = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            node.create_subscription(GoalStatusArray, self._status, self._on_goals, profile)
        node.listen(Bool, "emergency_stop", self._on_stop, qos.keypoints())
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(_LOOK_PERIOD_S, self._look, clock=steady)
        self._look()

    def reason(self) -> str:
        """Why the arm may not be moved now; empty when it may."""
        if self._stop:
            return "the emergency stop is on"
        if self._goals is not None and any(g.status in _RUNNING for g in self._goals.status_list):
            return f"a trajectory runs on {self._params.arm_action}"
        if not self._params.robot_state:
            return ""
        if self._state is None:
            return f"nothing heard on {self._params.robot_state} yet"
        age = time.monotonic() - self._heard_at
        if age > self._params.robot_state_timeout_s:
            return f"nothing heard on {self._params.robot_state} for {age:.1f} s"
        return refusal(self._state)

    def _on_state(self, message: RobotState) -> None:
        self._state, self._heard_at = message, time.monotonic()
        self._changed(self.reason())

    def _on_goals(self, message: GoalStatusArray) -> None:
        self._goals = message
        self._changed(self.reason())

    def _on_stop(self, message: Bool) -> None:
        self._stop = message.data
        self._changed(self.reason())

    def _look(self) -> None:
        """What no message tells: silence, and an action server that has gone with its goals."""
        if self._goals is not None and not self._node.count_publishers(self._status):
            self._goals = None
        self._changed(self.reason())


def refusal(state: RobotState) -> str:
    """Why a robot in this state may not be moved; empty when it may."""
    troubles = (
        (not state.connected, "its driver does not hear it"),
        (state.stopped, "it is stopped"),
        (state.collision, "its collision detection has tripped"),
        (state.error, "it reports a fault"),
        (not state.enabled, "its motors are off"),
    )
    text = next((text for present, text in troubles if present), "")
    return f"the robot: {text}" + (f" ({state.reason})" if state.reason else "") if text else ""
