"""The simulated robot's state, its services, and its input of joint velocities."""

from __future__ import annotations

import mujoco
import numpy as np
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from s3k_ros.msg import RobotState
from s3k_ros.params.simulation import SimCellParameters
from s3k_ros.ros import qos
from s3k_ros.ros.conversions import stamp_message
from s3k_ros.ros.node import S3kNode
from s3k_ros.simulation.robot_status import RobotStatus
from s3k_ros.simulation.simulator import CellState, Simulator

# Cycles between two messages without a change: 10 Hz.
_EVERY = 10
# No joint velocities are kept in a queue: only the newest counts.
_NEWEST = 1


class RobotStatePublisher:
    """Publishes `/robot/state`: a listener of the simulator, called in the physics thread."""

    def __init__(self, node: S3kNode, params: SimCellParameters) -> None:
        self._out = node.advertise(RobotState, params.robot_state_topic, qos.latched())
        self._last: RobotStatus | None = None

    def __call__(self, state: CellState, _data: mujoco.MjData) -> None:
        """Publishes at every change and ten times a second."""
        if state.robot == self._last and state.cycle % _EVERY:
            return
        self._last = status = state.robot
        message = RobotState(
            connected=True,
            enabled=status.enabled,
            stopped=status.stopped,
            error=status.error,
            collision=status.collision,
            reason=status.reason,
        )
        message.header.stamp = stamp_message(round(state.stamp * 1e9))
        self._out.publish(message)


class RobotServices:
    """`/robot/enable`, `/robot/reset`, `/robot/stop`, and commanded joint velocities.

    Args:
        node: the node.
        params: names.
        simulator: the running cell.
    """

    def __init__(self, node: S3kNode, params: SimCellParameters, simulator: Simulator) -> None:
        self._node, self._simulator = node, simulator
        node.create_service(Trigger, "/robot/enable", self._on_enable)
        node.create_service(Trigger, "/robot/reset", self._on_reset)
        node.create_service(Trigger, "/robot/stop", self._on_stop)
        profile = qos.sensors()
        profile.depth = _NEWEST
        node.listen(Float64MultiArray, params.velocity_command_topic, self._on_velocity, profile)

    def _on_enable(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return _answer(response, self._simulator.enable_robot())

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        status = self._simulator.reset_robot()
        response.success, response.message = True, status.reason
        return response

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._simulator.stop_robot()
        response.success = True
        return response

    def _on_velocity(self, message: Float64MultiArray) -> None:
        if not self._simulator.command_velocity(np.array(message.data)):
            self._node.get_logger().warning(
                "joint velocities refused: a trajectory runs, the robot may not move, or they are "
                "not seven finite numbers",
                throttle_duration_sec=2.0,
            )


def _answer(response: Trigger.Response, status: RobotStatus) -> Trigger.Response:
    response.success, response.message = status.ready, status.reason
    return response
