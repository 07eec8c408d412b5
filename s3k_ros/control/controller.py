"""The admittance controller: commands, joint states and wrench to joint velocities, cycle by cycle.

Pure: time comes in with every call, velocities go out. It starts disabled and says nothing then, so
that nobody else's motion is disturbed. Whatever fails stops the arm and disables it, except that
commands may pause: then the arm stops and goes on with the next one.
"""

from __future__ import annotations

import dataclasses
import enum
from collections import deque

import numpy as np
from numpy.typing import NDArray

from s3k_ros.control.arm import ControlArm
from s3k_ros.control.law import AdmittanceLaw
from s3k_ros.control.limits import Workspace, admitted, approached, braked
from s3k_ros.control.mapper import VelocityMapper
from s3k_ros.control.wrench import ToolLoad, at_point, rotated
from s3k_ros.errors import DataError, UnsafeMotionError
from s3k_ros.params.admittance import AdmittanceParameters

Array = NDArray[np.float64]

# An arm that was stopped is told so for this many cycles before the controller falls silent.
_REST_CYCLES = 10
# `zero` takes the mean of this many wrenches.
_ZERO_SAMPLES = 30


class State(enum.Enum):
    """What the controller is at."""

    OFF = "off"
    ON = "on"
    STOPPING = "stopping"


@dataclasses.dataclass(frozen=True)
class Output:
    """One cycle's outcome.

    Attributes:
        state: of the controller.
        velocity: (n,) rad/s for the arm; None: nothing is said to it.
        twist: (6,) of the tool point that these give, base axes.
        wrench: (6,) of contact, sensor frame; None: not known.
    """

    state: State
    velocity: Array | None
    twist: Array
    wrench: Array | None


@dataclasses.dataclass
class _Heard:
    """The newest of an input, and when it came, s."""

    value: Array
    at: float
    frame: str = ""


class AdmittanceController:
    """Velocity admittance control of one arm.

    Args:
        params: the law, its limits and watchdogs.
        load: what the sensor feels without contact.
        arm: kinematics, at the present joints.
        mapper: twists to joint velocities, on the same arm.
        period_s: between two steps.

    Attributes:
        state: what it is at.
        reason: why it is off or stopping, in words.
        gate: why the arm may not move, from outside; empty when it may.
        refused: why the last command was refused; empty when it was not.
        trouble: why the arm stands although it is on; empty when it does not.
        load: as given, changed by `zero`.
        arm: as given.
        misses: cycles in which the mapper found nothing.
    """

    def __init__(
        self,
        params: AdmittanceParameters,
        load: ToolLoad,
        arm: ControlArm,
        mapper: VelocityMapper,
        period_s: float,
    ) -> None:
        self.load = load
        self.gate = ""
        self.reason = "not enabled yet"
        self.refused = ""
        self.trouble = ""
        self.misses = 0
        self.state = State.OFF
        self._params = params
        self.arm, self._mapper = arm, mapper
        self._period = period_s
        self._change = np.resize(np.array(params.joint_acceleration), arm.size) * period_s
        self._law = AdmittanceLaw(params, period_s)
        self._workspace = Workspace(
            np.array(params.workspace_low_m), np.array(params.workspace_high_m),
            params.wall_gain_1_s,
        )  # fmt: skip
        self._command: _Heard | None = None
        self._joints: _Heard | None = None
        self._wrench: _Heard | None = None
        self._recent: deque[Array] = deque(maxlen=_ZERO_SAMPLES)
        self._velocity = np.zeros(arm.size)
        self._posture = np.zeros(arm.size)
        self._rested = 0

    # -- inputs --------------------------------------------------------------------------------

    def hear_command(self, twist: Array, frame: str, now: float) -> str:
        """Takes a twist (6,) m/s, rad/s of the tool point in a link's axes; "" is the base's.

        Returns:
            Why it was refused, empty when it was not. A refused command ends the one before it.
        """
        self._command, self.refused = None, ""
        try:
            if frame and not self.arm.has_frame(frame):
                raise DataError(f"the command is in frame {frame!r}, which the robot has not")
            self._command = _Heard(admitted(twist, self._params), now, frame)
        except DataError as error:
            self.refused = str(error)
        return self.refused

    def hear_joints(self, position: Array, now: float) -> bool:
        """Takes joint positions (n,) rad; False when they are none."""
        fit = position.shape == (self.arm.size,) and bool(np.isfinite(position).all())
        if fit:
            self._joints = _Heard(position, now)
        return fit

    def hear_wrench(self, wrench: Array, now: float) -> bool:
        """Takes the sensor's reading (6,) in its own frame; False when it is none."""
        fit = wrench.shape == (6,) and bool(np.isfinite(wrench).all())
        if fit:
            self._wrench = _Heard(wrench, now)
            self._recent.append(wrench)
        return fit

    # -- switching -----------------------------------------------------------------------------

    def enable(self, now: float) -> str:
        """Switches on; why not, empty when it did."""
        if self.state is State.STOPPING:
            return "it is still stopping"
        found = self.gate or self._stale(now) or self._loaded()
        if found:
            return found
        if self.state is State.OFF:
            assert self._joints is not None
            self._command = None
            self._law.reset()
            self._velocity = np.zeros(self.arm.size)
            self._posture = self._joints.value
            self.state, self.reason, self.trouble = State.ON, "", ""
        return ""

    def disable(self, reason: str) -> None:
        """Stops the arm, then switches off."""
        if self.state is State.ON:
            self.state, self.reason = State.STOPPING, reason
            self._rested = 0

    def zero(self, now: float) -> str:
        """Makes the present wrench, meaned over what came last, that of no contact.

        Returns:
            Why not, empty when it did.
        """
        if self.state is not State.OFF:
            return "only while it is off"
        if found := self._stale(now):
            return found
        if len(self._recent) < _ZERO_SAMPLES:
            return f"only {len(self._recent)} of {_ZERO_SAMPLES} wrenches have come yet"
        self._place()
        mean = np.mean(self._recent, axis=0)
        self.load = self.load.zeroed(self.load.external(mean, self.arm.base_from_sensor))
        return ""

    # -- cycle ---------------------------------------------------------------------------------

    def step(self, now: float) -> Output:
        """One control cycle at time ``now``, s."""
        external = self._external()
        if self.state is State.ON:
            self._judge(now, external)
        if self.state is State.OFF:
            return Output(self.state, None, np.zeros(6), external)
        if self.state is State.STOPPING:
            self._stop()
        else:
            assert external is not None
            self._move(now, external)
        twist = self.arm.jacobian @ self._velocity
        return Output(self.state, self._velocity, twist, external)

    def _judge(self, now: float, external: Array | None) -> None:
        found = self.gate or self._stale(now)
        if not found and external is not None:
            found = self._overload(external)
        if found:
            self.disable(found)

    def _stop(self) -> None:
        self._velocity = braked(self._velocity, self._change)
        if not self._velocity.any():
            self._rested += 1
            if self._rested > _REST_CYCLES:
                self.state = State.OFF

    def _move(self, now: float, external: Array) -> None:
        arm = self.arm
        wrench = rotated(at_point(external, self._lever()), arm.base_from_sensor)
        twist = self._law.step(self._desired(now), wrench)
        twist = np.concatenate([self._workspace.led(twist[:3], arm.tool_point), twist[3:]])
        try:
            target = self._mapper.solve(twist, self._posture)
            self.trouble = ""
        except UnsafeMotionError as error:
            self.misses += 1
            self.trouble = str(error)
            target = np.zeros(arm.size)
        target = target * self._workspace.share((arm.jacobian @ target)[:3], arm.tool_point)
        self._velocity = self._kept(approached(self._velocity, target, self._change))

    def _desired(self, now: float) -> Array:
        command = self._command
        if command is None or now - command.at > self._params.command_timeout_s:
            return np.zeros(6)
        if not command.frame:
            return command.value
        return rotated(command.value, self.arm.base_from(command.frame))

    def _kept(self, velocity: Array) -> Array:
        """Joint velocities (n,) that do not pass a limit of position within the period."""
        assert self._joints is not None
        position, period = self._joints.value, self._period
        low = np.minimum(self._mapper.lower - position, 0.0) / period
        high = np.maximum(self._mapper.upper - position, 0.0) / period
        return np.clip(velocity, low, high)

    def _external(self) -> Array | None:
        if self._wrench is None or self._joints is None:
            return None
        self._place()
        return self.load.external(self._wrench.value, self.arm.base_from_sensor)

    def _place(self) -> None:
        assert self._joints is not None
        self.arm.place(self._joints.value)

    def _lever(self) -> Array:
        """(3,) m from sensor to tool point, in the sensor's axes."""
        return self.arm.base_from_sensor.T @ self.arm.sensor_to_tool

    def _stale(self, now: float) -> str:
        inputs = (
            ("joint states", self._joints, self._params.joints_timeout_s),
            ("wrench", self._wrench, self._params.wrench_timeout_s),
        )
        for name, heard, limit in inputs:
            if heard is None:
                return f"no {name} yet"
            if now - heard.at > limit:
                return f"no {name} for {now - heard.at:.2f} s"
        return ""

    def _loaded(self) -> str:
        external = self._external()
        force = 0.0 if external is None else float(np.linalg.norm(external[:3]))
        if force <= self._params.enable_force_n:
            return ""
        return (
            f"{force:.1f} N of contact, allowed {self._params.enable_force_n:g} N: free the tool; "
            "or the sensor is not calibrated (s3k calibrate-wrench, admittance/zero)"
        )

    def _overload(self, external: Array) -> str:
        force = float(np.linalg.norm(external[:3]))
        if force > self._params.force_limit_n:
            return f"{force:.1f} N of contact, limit {self._params.force_limit_n:g} N"
        torque = float(np.linalg.norm(at_point(external, self._lever())[3:]))
        if torque > self._params.torque_limit_n_m:
            return f"{torque:.1f} N m of contact, limit {self._params.torque_limit_n_m:g} N m"
        return ""
