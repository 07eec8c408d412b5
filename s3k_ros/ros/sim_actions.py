"""The simulated hardware's actions: the arm's trajectories and the gripper's commands.

Nothing here blocks: a goal's coroutine waits for a future that `poll`, called by a timer, resolves
when the controller is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from control_msgs.action import FollowJointTrajectory, GripperCommand, ParallelGripperCommand
from numpy.typing import NDArray
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import JointState

from s3k_ros.ros.conversions import nanoseconds, stamp_message
from s3k_ros.simulation.cell import ARM_JOINTS, GRIPPER_JOINT
from s3k_ros.simulation.gripper_controller import CLOSED_RAD, OPEN_RAD, GripperHandle
from s3k_ros.simulation.simulator import Simulator
from s3k_ros.simulation.trajectory_goal import (
    ErrorCode,
    GoalHandle,
    GoalState,
    TrajectoryGoal,
    TrajectoryRefusedError,
)

_NS = 1e-9
# Feedback every so many polls.
_FEEDBACK_EVERY = 5


class _Server:
    """What both action servers share: goals under way, cancelling, the end of a goal."""

    def __init__(self, node: Node, kind: Any, name: str) -> None:
        self._kind = kind
        self._running: list[tuple[ServerGoalHandle, Any, Future]] = []
        self._polls = 0
        self._server = ActionServer(
            node, kind, name, self._execute, cancel_callback=self._on_cancel
        )

    def poll(self) -> None:
        """Passes on what happened since the last call."""
        self._polls += 1
        for entry in list(self._running):
            goal, handle, future = entry
            if handle.done:
                self._running.remove(entry)
                future.set_result(None)
            elif goal.is_cancel_requested:
                self._cancel(handle)
            elif self._polls % _FEEDBACK_EVERY == 0:
                goal.publish_feedback(self._feedback(handle))

    def _on_cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        """Stops at once: the next poll may be late on a busy machine."""
        for running, handle, _ in self._running:
            if running == goal:
                self._cancel(handle)
        return CancelResponse.ACCEPT

    def destroy(self) -> None:
        """Vanishes, as a server that dies: goals under way get no result."""
        self._running.clear()
        self._server.destroy()

    async def _finish(self, goal: ServerGoalHandle, handle: Any) -> None:
        """Waits for the controller and gives the goal the same end."""
        future = Future()
        self._running.append((goal, handle, future))
        await future
        if goal.is_cancel_requested:
            goal.canceled()
        elif handle.state is GoalState.SUCCEEDED and self._succeeds(handle):
            goal.succeed()
        else:
            goal.abort()

    def _succeeds(self, handle: Any) -> bool:
        return True

    async def _execute(self, goal: ServerGoalHandle) -> Any:
        raise NotImplementedError

    def _cancel(self, handle: Any) -> None:
        raise NotImplementedError

    def _feedback(self, handle: Any) -> Any:
        raise NotImplementedError


class ArmServer(_Server):
    """control_msgs/FollowJointTrajectory on the simulated arm.

    Args:
        node: the node; its executor runs the server.
        name: of the action.
        simulator: the running cell.
    """

    def __init__(self, node: Node, name: str, simulator: Simulator) -> None:
        self._simulator = simulator
        super().__init__(node, FollowJointTrajectory, name)

    def poll(self) -> None:
        """Passes on what happened, and tells the arm's watchdog that this server lives."""
        self._simulator.feed()
        super().poll()

    async def _execute(self, goal: ServerGoalHandle) -> FollowJointTrajectory.Result:
        try:
            handle = self._simulator.start_trajectory(trajectory_goal(goal.request))
        except TrajectoryRefusedError as error:
            goal.abort()
            return _arm_result(error.code, str(error))
        await self._finish(goal, handle)
        return _arm_result(handle.code, handle.message)

    def _cancel(self, handle: GoalHandle) -> None:
        self._simulator.cancel_trajectory(handle)

    def _feedback(self, handle: GoalHandle) -> FollowJointTrajectory.Feedback:
        feedback = FollowJointTrajectory.Feedback(joint_names=list(ARM_JOINTS))
        state = self._simulator.state
        feedback.header.stamp = stamp_message(round(state.stamp * 1e9))
        feedback.desired.positions = handle.desired.tolist()
        feedback.actual.positions = state.position.tolist()
        feedback.error.positions = (handle.desired - state.position).tolist()
        return feedback


class GripperServer(_Server):
    """ParallelGripperCommand or GripperCommand on the simulated gripper.

    Args:
        node: the node; its executor runs the server.
        name: of the action.
        kind: "ParallelGripperCommand" or "GripperCommand".
        simulator: the running cell.
        allow_stalling: whether a stall is a success; may change at any time.
    """

    def __init__(
        self, node: Node, name: str, kind: str, simulator: Simulator, allow_stalling: bool
    ) -> None:
        self._simulator = simulator
        self.allow_stalling = allow_stalling
        kinds = {k.__name__: k for k in (ParallelGripperCommand, GripperCommand)}
        super().__init__(node, kinds[kind], name)

    async def _execute(self, goal: ServerGoalHandle) -> Any:
        command = gripper_command(goal.request)
        if command is None:
            goal.abort()
            return self._kind.Result()
        handle = self._simulator.start_gripper(*command)
        await self._finish(goal, handle)
        return self._fill(self._kind.Result(), handle)

    def _succeeds(self, handle: GripperHandle) -> bool:
        return self.allow_stalling or not handle.stalled

    def _cancel(self, handle: GripperHandle) -> None:
        self._simulator.cancel_gripper(handle)

    def _feedback(self, handle: GripperHandle) -> Any:
        return self._fill(self._kind.Feedback(), handle)

    def _fill(self, message: Any, handle: GripperHandle) -> Any:
        state = self._simulator.state
        if self._kind is GripperCommand:
            message.position, message.effort = state.knuckle, float(handle.effort)
        else:
            message.state = JointState(
                name=[GRIPPER_JOINT],
                position=[state.knuckle],
                velocity=[state.knuckle_velocity],
                effort=[float(handle.effort)],
            )
            message.state.header.stamp = stamp_message(round(state.stamp * 1e9))
        if hasattr(message, "stalled"):
            message.stalled, message.reached_goal = handle.stalled, handle.reached_goal
        return message


def trajectory_goal(request: FollowJointTrajectory.Goal) -> TrajectoryGoal:
    """The library's goal of an action goal.

    Raises:
        TrajectoryRefusedError: points that are not all of one kind, or motion of other joints.
    """
    trajectory = request.trajectory
    if request.multi_dof_trajectory.points:
        raise TrajectoryRefusedError(ErrorCode.INVALID_GOAL, "multi-DOF motion is not supported")
    start = nanoseconds(trajectory.header.stamp)
    return TrajectoryGoal(
        joints=tuple(trajectory.joint_names),
        times=np.array([nanoseconds(p.time_from_start) * _NS for p in trajectory.points]),
        positions=_table("positions", [p.positions for p in trajectory.points]),
        velocities=_optional("velocities", [p.velocities for p in trajectory.points]),
        accelerations=_optional("accelerations", [p.accelerations for p in trajectory.points]),
        start=start * _NS if start else None,
        path_tolerance={t.name: t.position for t in request.path_tolerance},
        goal_tolerance={t.name: t.position for t in request.goal_tolerance},
        goal_time_tolerance=nanoseconds(request.goal_time_tolerance) * _NS,
    )


def gripper_command(request: Any) -> tuple[float, float] | None:
    """Position (rad) and effort (N) of either action's goal; None when it makes no sense."""
    command = request.command
    if isinstance(command, JointState):
        if len(command.position) != 1 or (command.name and command.name[0] != GRIPPER_JOINT):
            return None
        position = command.position[0]
        effort = command.effort[0] if len(command.effort) == 1 else 0.0
    else:
        position, effort = command.position, command.max_effort
    slack = 0.02  # drivers differ in the last digits of the closed position
    if not np.isfinite([position, effort]).all() or not (
        OPEN_RAD - slack <= position <= CLOSED_RAD + slack
    ):
        return None
    return float(position), float(effort)


def _optional(name: str, rows: Sequence[Any]) -> NDArray[np.float64] | None:
    return _table(name, rows) if any(len(row) for row in rows) else None


def _table(name: str, rows: Sequence[Any]) -> NDArray[np.float64]:
    if len({len(row) for row in rows}) > 1:
        raise TrajectoryRefusedError(
            ErrorCode.INVALID_GOAL, f"{name} must be given for all points and joints or for none"
        )
    return np.array([list(row) for row in rows], dtype=np.float64)


def _arm_result(code: ErrorCode, message: str) -> FollowJointTrajectory.Result:
    return FollowJointTrajectory.Result(error_code=int(code), error_string=message)
