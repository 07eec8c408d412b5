"""The gates of a motion: what must hold before the arm moves, and while it moves.

Each gate looks at what was measured, never at what was commanded, and says why it fails. The
executor asks at every message that matters and at every tick; it stops the arm and ends the goal.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from s3k_ros.grasp.arm.kinematics import ArmModel
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.ports import JointReading, RobotReading, WrenchReading
from s3k_ros.grasp.tasks.events import Fault
from s3k_ros.params.grasp import GraspParameters, RobotParameters

Array = NDArray[np.float64]

# Speeds are means over this time: long against a message's jitter, short against a stop.
_SPEED_WINDOW_S = 0.05
# Without the robot's own stamps, messages that arrive in bunches would look like speed.
_UNSTAMPED_WINDOW_S = 0.2
# So many equal readings in a row before a sensor counts as stuck. An FT 300 is noisy by 0.5 N and
# more, with digits of 0.01 N: three axes stay equal once in 10^5 readings, never twenty in a row.
_STUCK_READINGS = 20


class SafetyMonitor:
    """Judges clock, robot, wrench and motion of one goal at a time.

    Args:
        grasp: ages and limits.
        robot: joints and the scale of their speed.
        arm: kinematics for the hand's place and speed; None leaves those two gates out.
    """

    def __init__(
        self, grasp: GraspParameters, robot: RobotParameters, arm: ArmModel | None = None
    ) -> None:
        self._grasp = grasp
        self._robot = robot
        self._arm = arm
        self._joint_limit = (
            None
            if arm is None
            else np.asarray(arm.velocity) * robot.speed_scale * grasp.joint_speed_margin
        )
        self._low, self._high = np.array(grasp.workspace_low_m), np.array(grasp.workspace_high_m)
        self.reset()

    def reset(self) -> None:
        """Forgets all: a new goal begins."""
        self._looked_at: float | None = None
        self._wrench_seen = -np.inf
        self._wrench_value: Array | None = None
        self._wrench_equal, self._wrench_changed = 0, -np.inf
        self._history: deque[tuple[float, Array, Array]] = deque()
        self._allowed: float | None = None

    def clock(self, now: float) -> Fault | None:
        """Whether time went on as time does since the last look. Call it often."""
        before, self._looked_at = self._looked_at, now
        if before is None:
            return None
        if now < before:
            return Fault(GraspCode.WATCHDOG, f"the clock went back by {before - now:.2f} s")
        if now - before > self._grasp.clock_jump_s:
            text = f"the clock leapt by {now - before:.2f} s, or the server stood still"
            return Fault(GraspCode.WATCHDOG, text)
        return None

    def robot(self, reading: RobotReading | None, now: float) -> Fault | None:
        """Whether the robot says, and said lately, that it may move."""
        refusal = refused_by(reading)
        if refusal is not None:
            return refusal
        if reading is None:
            return Fault(GraspCode.ROBOT_DISABLED, "the robot's state is not known: none arrives")
        age = now - reading.received_at
        if age > self._grasp.robot_state_max_age_s:
            return Fault(GraspCode.ROBOT_DISABLED, f"the robot's state is {age:.2f} s old")
        return None

    def wrench(self, recent: tuple[WrenchReading, ...], now: float) -> Fault | None:
        """Whether the force sensor lives: fresh, finite, and not the same value for ever."""
        if not self._grasp.require_wrench:
            return None
        if not recent:
            return Fault(GraspCode.NO_WRENCH, "no wrench arrives")
        for reading in recent:
            if reading.received_at > self._wrench_seen:
                if not np.isfinite(reading.force).all():
                    return Fault(GraspCode.NO_WRENCH, "the wrench is not finite")
                self._note_wrench(reading)
        self._wrench_seen = recent[-1].received_at
        age = now - recent[-1].received_at
        if age > self._grasp.wrench_max_age_s:
            return Fault(GraspCode.NO_WRENCH, f"the wrench is {age:.2f} s old")
        stuck = self._wrench_seen - self._wrench_changed
        if 0.0 < self._grasp.wrench_stuck_s < stuck and self._wrench_equal >= _STUCK_READINGS:
            return Fault(GraspCode.NO_WRENCH, f"the wrench has been the same for {stuck:.2f} s")
        return None

    def motion(self, joints: JointReading) -> Fault | None:
        """Whether a moving arm keeps to its speeds and its hand to the workspace."""
        if self._arm is None or (self._history and joints.time == self._history[-1][0]):
            return None
        hand = self._arm.forward(joints.positions).translation
        self._remember(joints.time, joints.positions, hand)
        window = _UNSTAMPED_WINDOW_S if joints.stamp is None else _SPEED_WINDOW_S
        return self._too_fast(window) or self._outside(hand)

    def _note_wrench(self, reading: WrenchReading) -> None:
        if self._wrench_value is not None and np.array_equal(reading.force, self._wrench_value):
            self._wrench_equal += 1
            return
        self._wrench_value, self._wrench_equal = reading.force, 0
        self._wrench_changed = reading.received_at

    def _remember(self, time: float, positions: Array, hand: Array) -> None:
        if self._history and time < self._history[-1][0]:
            self._history.clear()  # the robot's clock went back
        self._history.append((time, positions, hand))
        while len(self._history) > 2 and self._history[1][0] <= time - _UNSTAMPED_WINDOW_S:
            self._history.popleft()

    def _too_fast(self, window: float) -> Fault | None:
        time, positions, hand = self._history[-1]
        earlier = [entry for entry in self._history if entry[0] <= time - window + 1e-6]
        if not earlier or self._joint_limit is None:
            return None
        then, old_positions, old_hand = earlier[-1]
        speeds = np.abs(positions - old_positions) / (time - then)
        worst = int(np.argmax(speeds / self._joint_limit))
        if speeds[worst] > self._joint_limit[worst]:
            return Fault(
                GraspCode.TOO_FAST,
                f"{self._robot.arm_joints[worst]} moves at {speeds[worst]:.2f} rad/s, limit "
                f"{self._joint_limit[worst]:.2f}",
            )
        speed = float(np.linalg.norm(hand - old_hand)) / (time - then)
        limit = self._grasp.hand_speed_limit_m_s
        if speed > limit:
            return Fault(
                GraspCode.TOO_FAST, f"the hand moves at {speed:.2f} m/s, limit {limit:.2f}"
            )
        return None

    def _outside(self, hand: Array) -> Fault | None:
        """A hand that begins outside may come in, and not go further out."""
        out = float(np.linalg.norm(hand - np.clip(hand, self._low, self._high)))
        allowed = out if self._allowed is None else self._allowed
        margin = self._grasp.workspace_margin_m
        if out > allowed + margin:
            place = ", ".join(f"{value:.2f}" for value in hand)
            return Fault(
                GraspCode.OUTSIDE_WORKSPACE, f"the hand is {out:.2f} m outside the box, at {place}"
            )
        self._allowed = min(allowed, out)
        return None


def refused_by(reading: RobotReading | None) -> Fault | None:
    """Why the robot says that it may not move; None when it may, or says nothing."""
    if reading is None:
        return None
    reason = f": {reading.reason}" if reading.reason else ""
    if not reading.connected:
        return Fault(GraspCode.ROBOT_DISABLED, f"the robot is not connected{reason}")
    if reading.collision:
        return Fault(GraspCode.ROBOT_COLLISION, f"the robot felt a collision{reason}")
    if reading.stopped:
        return Fault(GraspCode.ROBOT_DISABLED, f"the robot is stopped{reason}")
    if reading.error:
        return Fault(GraspCode.ROBOT_DISABLED, f"the robot reports a fault{reason}")
    if not reading.enabled:
        return Fault(GraspCode.ROBOT_DISABLED, f"the robot is disabled{reason}")
    return None
