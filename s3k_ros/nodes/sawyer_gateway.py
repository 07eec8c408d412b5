"""`sawyer_gateway`: a Sawyer on ROS 1 under the names and types of ROS 2, over rosbridge.

The robot follows whole trajectories; nothing that must be regular crosses the link. Everything runs
in the node's executor: the link's thread only fills a queue and wakes it.
"""

from __future__ import annotations

import time
from typing import Any

from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from s3k_ros.msg import RobotState
from s3k_ros.params.gateway import SawyerGatewayParameters
from s3k_ros.ros import qos, sawyer
from s3k_ros.ros.diagnostics import Level, Report
from s3k_ros.ros.node import S3kNode, run_node
from s3k_ros.ros.rosbridge import Event, RosbridgeLink, Subscription
from s3k_ros.ros.rosbridge_action import Ros1Action
from s3k_ros.ros.sawyer_arm import SawyerArm
from s3k_ros.ros.sawyer_results import feedback_from_ros1, result_from_ros1
from s3k_ros.ros.sawyer_velocity import VelocityForwarder

_TICK_S = 0.01
_STATE_PERIOD_S = 0.1
# A connection on which nothing at all came for this long is dropped and made anew.
_DEAD_S = 3.0
_FOLLOW = "control_msgs/FollowJointTrajectory"


class SawyerGatewayNode(S3kNode):
    def __init__(self) -> None:
        super().__init__("sawyer_gateway")
        self._params = p = self.declare(SawyerGatewayParameters, on_change=self._on_params)
        self._address = f"{p.rosbridge_host}:{p.rosbridge_port}"
        self._mirror = sawyer.RobotMirror(self._address, p.silence_s, p.settle_s)
        self._complaint: tuple[float, str] | None = None
        self._told_at, self._settled = 0.0, False
        self._told: tuple[Any, ...] = ()
        self._action = Ros1Action(
            p.arm_action, _FOLLOW, self._publish, result_from_ros1, feedback_from_ros1
        )
        self._velocity = VelocityForwarder(
            p.joints, p.velocity_rate_hz, p.velocity_timeout_s, self._publish
        )
        self._joint_states = self.advertise(JointState, p.joint_states, qos.keypoints())
        self._robot_state = self.advertise(RobotState, p.robot_state, qos.latched())
        self._arm = SawyerArm(self, p, self._action, self._mirror)
        self.listen(Float64MultiArray, p.joint_velocity_command, self._on_velocity, qos.keypoints())
        self.create_service(Trigger, "/robot/enable", self._on_enable)
        self.create_service(Trigger, "/robot/reset", self._on_reset)
        self.create_service(Trigger, "/robot/stop", self._on_stop)
        self.diagnostics.add("link", self._report_link)
        self.diagnostics.add("robot", self._report_robot)
        self._wake = self.create_guard_condition(self._take_events)
        self._link = self._open_link()
        self.create_timer(_TICK_S, self._tick)

    def close(self) -> None:
        """The arm stops when its driver goes: the link outlives the node's context."""
        self._velocity.end(time.monotonic())
        self._arm.stop()
        self._link.close()

    def _open_link(self) -> RosbridgeLink:
        p = self._params
        period = 1.0 / p.stream_rate_hz
        streams = [
            Subscription(topic, sawyer.TYPES[topic], period, topic == sawyer.JOINT_STATES)
            for topic in sawyer.HEARD
        ]
        action = [Subscription(topic, kind) for topic, kind in self._action.topics.items()]
        spoken = {topic: sawyer.TYPES[topic] for topic in sawyer.SPOKEN}
        return RosbridgeLink(
            p.rosbridge_host, p.rosbridge_port, [*streams, *action],
            spoken | self._action.advertised, p.reconnect_s, self._wake.trigger,
        )  # fmt: skip

    def _on_params(self, values: SawyerGatewayParameters) -> None:
        self._params = self._arm.params = values

    def _publish(self, topic: str, message: dict[str, Any]) -> bool:
        return self._link.publish(topic, message)

    # -- what the robot says -------------------------------------------------------------------

    def _take_events(self) -> None:
        for event in self._link.drain():
            try:
                self._take(event)
            except Exception as error:  # whatever the other side sent, this one goes on
                self._link.refuse(f"{event.topic}: {type(error).__name__}: {error}")
        self._arm.tick(time.monotonic())
        self._tell_state()

    def _take(self, event: Event) -> None:
        if event.kind == "open":
            self._mirror.opened(event.time)
            self._arm.listed_at, self._settled = event.time, False
            self.get_logger().info(f"connected to rosbridge at {self._address}")
        elif event.kind == "closed":
            self._mirror.closed()
            self.get_logger().warning(f"connection to rosbridge at {self._address} lost")
        elif event.kind == "status":
            self._complaint = (event.time, f"{event.topic}: {event.content}")
            self.get_logger().warning(f"rosbridge says {event.topic}: {event.content}")
        elif event.topic == sawyer.JOINT_STATES:
            states = self._mirror.take_joint_states(event.content, event.time, self.now_ns())
            self._joint_states.publish(states)
        elif event.topic == sawyer.STATE:
            self._mirror.take_state(event.content, event.time)
        elif event.topic == sawyer.COLLISION:
            self._mirror.take_collision(event.content)
        elif event.topic == sawyer.CUFF:
            self._mirror.take_cuff(event.content)
        else:
            if event.topic == self._action.status_topic:
                self._arm.listed_at = event.time
            self._action.take(event.topic, event.content)

    def _tick(self) -> None:
        self._take_events()
        now = time.monotonic()
        if not self._settled and self._mirror.connected(now):
            timeout = {"data": self._params.joint_command_timeout_s}
            self._settled = self._publish(sawyer.COMMAND_TIMEOUT, timeout)
        if self._velocity.active and self._mirror.obstacle(now) is not None:
            self._velocity.end(now)
        self._velocity.tick(now)
        self._arm.busy = "joint velocities are being commanded" if self._velocity.active else ""
        if self._link.connected and now - max(self._link.heard_at, self._link.opened_at) > _DEAD_S:
            self._link.drop()

    def _tell_state(self) -> None:
        """The robot's state at every change, and regularly."""
        now = time.monotonic()
        told = (self._mirror.obstacle(now), self._mirror.state, self._mirror.collision)
        if told != self._told or now - self._told_at >= _STATE_PERIOD_S:
            self._told, self._told_at = told, now
            self._robot_state.publish(self._mirror.message(now, self.now_ns()))

    # -- commands ------------------------------------------------------------------------------

    def _on_velocity(self, message: Float64MultiArray) -> None:
        now = time.monotonic()
        obstacle = self._mirror.obstacle(now)
        reason = "a trajectory is running" if self._arm.moving else str(obstacle or "")
        self._velocity.take(message.data, now, reason)
        self._arm.busy = "joint velocities are being commanded" if self._velocity.active else ""

    def _on_enable(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._mirror.state.get("stopped"):
            return _answer(response, False, "the robot is stopped: /robot/reset comes first")
        return self._command(response, sawyer.ENABLE, {"data": True})

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._command(response, sawyer.RESET, {})

    def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._arm.stop()
        return self._command(response, sawyer.STOP, {})

    def _command(
        self, response: Trigger.Response, topic: str, message: dict[str, Any]
    ) -> Trigger.Response:
        """Success means that it was sent; whether the robot followed, its state tells."""
        if not self._publish(topic, message):
            return _answer(response, False, f"no connection to rosbridge at {self._address}")
        return _answer(response, True, f"sent; {self._params.robot_state} tells when it holds")

    # -- reports -------------------------------------------------------------------------------

    def _report_link(self) -> Report:
        values = {
            "rosbridge": self._address,
            "connected": self._link.connected,
            "malformed": self._link.malformed,
            "newest_malformed": self._link.unreadable,
            "clock_offset_s": self._mirror.clock_offset_s,
        }
        if not self._link.connected:
            return Report(Level.ERROR, f"no connection to rosbridge at {self._address}", values)
        if self._complaint is not None and time.monotonic() - self._complaint[0] < 10.0:
            return Report(Level.WARN, f"rosbridge complains: {self._complaint[1]}", values)
        return Report(values=values)

    def _report_robot(self) -> Report:
        obstacle = self._arm.obstacle(time.monotonic())
        values = {
            "last_goal": self._arm.last,
            "ready": self._mirror.state.get("ready"),
            "velocities_refused": self._velocity.refused,
            "velocities_refused_because": self._velocity.reason,
        }
        if obstacle is not None:
            return Report(Level.WARN, str(obstacle), values)
        return Report(values=values)


def _answer(response: Trigger.Response, success: bool, message: str) -> Trigger.Response:
    response.success, response.message = success, message
    return response


def main() -> int:
    return run_node(SawyerGatewayNode)
