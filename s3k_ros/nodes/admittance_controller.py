"""`admittance_controller`: Cartesian velocities and the wrist's wrench to joint velocities.

A cycle runs when a wrench comes, since its news should reach the arm at once; when none comes, a
timer runs it, and the watchdogs in it stop the arm.
"""

from __future__ import annotations

import array
import os
import time

from geometry_msgs.msg import TwistStamped, WrenchStamped
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from s3k_ros.control.build import admittance_controller
from s3k_ros.control.controller import Output, State
from s3k_ros.params.admittance import (
    AdmittanceNodeParameters,
    AdmittanceParameters,
    ControlledArmParameters,
    ToolLoadParameters,
)
from s3k_ros.ros import qos
from s3k_ros.ros.admittance_inputs import JointReader, MotionGate, twist_array, wrench_array
from s3k_ros.ros.conversions import stamp_message
from s3k_ros.ros.diagnostics import Level, Report
from s3k_ros.ros.node import S3kNode, run_node
from s3k_ros.ros.resources import find_file

_SHIPPED_ROBOT = "config/robots/sawyer_2f85.urdf"
# Silence after which an input is reported; the watchdogs are far quicker.
_STALE_S = 2.0
# A wrench that comes sooner than this share of a period waits for the next one, and the timer
# steps in after that many periods without any.
_EARLIEST, _LATEST = 0.6, 1.5


class AdmittanceControllerNode(S3kNode):
    def __init__(self) -> None:
        super().__init__("admittance_controller")
        self._params = params = self.declare(AdmittanceNodeParameters)
        law = self.declare(AdmittanceParameters, "admittance")
        load = self.declare(ToolLoadParameters, "wrench")
        self._robot = robot = self.declare(ControlledArmParameters, "robot")
        self._period = 1.0 / params.rate_hz
        urdf = find_file(robot.robot_description or _SHIPPED_ROBOT).read_text(encoding="utf-8")
        self._controller = admittance_controller(urdf, law, load, robot, self._period)
        self._state, self._cycled_at, self._longest = State.OFF, 0.0, 0.0
        self._velocity = self.advertise(Float64MultiArray, params.velocity_command, qos.commands())
        self._wrench = self.advertise(WrenchStamped, "admittance/wrench", qos.keypoints())
        self._twist = self.advertise(TwistStamped, "admittance/twist", qos.keypoints())
        self._listen()
        self.create_service(SetBool, "admittance/enable", self._on_enable)
        self.create_service(Trigger, "admittance/zero", self._on_zero)
        self.diagnostics.add("control", self._report)
        self._gate = MotionGate(self, params, self._on_gate)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(self._period, self._on_timer, clock=steady)

    def close(self) -> None:
        # Nothing to say: after a signal the context is gone. The receiver's watchdog stops the arm.
        if self.context.ok():
            self._velocity.publish(Float64MultiArray(data=[0.0] * len(self._robot.arm_joints)))

    def _listen(self) -> None:
        p = self._params
        self._reader = JointReader(self._robot.arm_joints)
        self._joint_stream = self.diagnostics.stream(p.joint_states, _STALE_S)
        self._wrench_stream = self.diagnostics.stream(p.wrench, _STALE_S)
        # In this order: of a robot's two messages of one time the cycle shall know both.
        self.listen(JointState, p.joint_states, self._on_joints, qos.sensors())
        self.listen(TwistStamped, "cartesian_velocity_command", self._on_command, qos.commands())
        self.listen(WrenchStamped, p.wrench, self._on_wrench, qos.sensors())

    # -- inputs --------------------------------------------------------------------------------

    def _on_joints(self, message: JointState) -> None:
        position = self._reader.read(message)
        if position is None:
            return
        if self._controller.hear_joints(position, time.monotonic()):
            self._joint_stream.tick()
        else:
            self._joint_stream.refuse("joint positions are not finite")

    def _on_command(self, message: TwistStamped) -> None:
        frame = message.header.frame_id
        frame = "" if frame == self._robot.base_frame else frame
        refused = self._controller.hear_command(twist_array(message), frame, time.monotonic())
        if refused:
            self.get_logger().warning(f"refused: {refused}", throttle_duration_sec=2.0)

    def _on_wrench(self, message: WrenchStamped) -> None:
        frame = message.header.frame_id
        if frame not in ("", self._robot.sensor_frame):
            self._wrench_stream.refuse(
                f"the wrench is in frame {frame!r}, not in robot.sensor_frame "
                f"{self._robot.sensor_frame!r}"
            )
            return
        now = time.monotonic()
        if not self._controller.hear_wrench(wrench_array(message), now):
            self._wrench_stream.refuse("the wrench is not finite")
            return
        self._wrench_stream.tick()
        if now - self._cycled_at >= _EARLIEST * self._period:
            self._cycle(now)

    def _on_timer(self) -> None:
        now = time.monotonic()
        if now - self._cycled_at >= _LATEST * self._period:
            self._cycle(now)

    def _on_gate(self, reason: str) -> None:
        changed, self._controller.gate = reason != self._controller.gate, reason
        if changed and reason:
            self._cycle(time.monotonic())  # at once: each cycle is 0.5 mm of way

    # -- cycle ---------------------------------------------------------------------------------

    def _cycle(self, now: float) -> None:
        self._cycled_at = now
        self._publish(self._controller.step(now))
        self._longest = max(self._longest, time.monotonic() - now)

    def _publish(self, output: Output) -> None:
        if output.state is not self._state:
            self._state = output.state
            self.get_logger().info(f"{output.state.value}: {self._controller.reason or 'enabled'}")
        if output.velocity is not None:
            data = array.array("d", output.velocity.tobytes())
            self._velocity.publish(Float64MultiArray(data=data))
            self._publish_twist(output)
        if output.wrench is not None:
            message = WrenchStamped()
            message.header.stamp = stamp_message(self.now_ns())
            message.header.frame_id = self._robot.sensor_frame
            f, t = message.wrench.force, message.wrench.torque
            f.x, f.y, f.z, t.x, t.y, t.z = output.wrench.tolist()
            self._wrench.publish(message)

    def _publish_twist(self, output: Output) -> None:
        message = TwistStamped()
        message.header.stamp = stamp_message(self.now_ns())
        message.header.frame_id = self._robot.base_frame
        v, w = message.twist.linear, message.twist.angular
        v.x, v.y, v.z, w.x, w.y, w.z = output.twist.tolist()
        self._twist.publish(message)

    # -- services and reports ------------------------------------------------------------------

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if request.data:
            self._controller.gate = self._gate.reason()
            response.message = self._controller.enable(time.monotonic())
        else:
            self._controller.disable("disabled by the service")
        response.success = not response.message
        return response

    def _on_zero(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = self._controller.zero(time.monotonic())
        response.success = not response.message
        return response

    def _report(self) -> Report:
        controller = self._controller
        values = {
            "state": controller.state.value,
            "longest_cycle_ms": 1e3 * self._longest,
            "mapper_misses": controller.misses,
        }
        self._longest = 0.0
        trouble = controller.refused or controller.trouble
        if controller.state is State.ON:
            return Report(Level.WARN if trouble else Level.OK, trouble or "on", values)
        return Report(Level.OK, f"{controller.state.value}: {controller.reason}", values)


def main() -> int:
    # Importing the mapper's wrappers would look for a display.
    os.environ.setdefault("MUJOCO_GL", "disable")
    return run_node(AdmittanceControllerNode)
