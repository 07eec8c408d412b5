"""The gripper behind a ParallelGripperCommand or a GripperCommand action: one type on a name."""

from __future__ import annotations

import math
from typing import Any

from control_msgs.action import GripperCommand, ParallelGripperCommand
from control_msgs.msg import GripperCommand as GripperCommandMessage
from rclpy.node import Node
from sensor_msgs.msg import JointState

from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.jaws import joint_from_width, width_from_joint
from s3k_ros.grasp.tasks.events import Fault, JawsFinished
from s3k_ros.params.grasp import RobotParameters
from s3k_ros.ros.latest_goal import GoalEnd, LatestGoal


class ActionGripper:
    """A `GripperPort` over the action type that ``robot.gripper_action_type`` names.

    A stall is an end like arrival: drivers abort on it unless they are told otherwise.

    Args:
        node: the node.
        action: name of the action.
        robot: travel and joint of the gripper.
    """

    def __init__(self, node: Node, action: str, robot: RobotParameters) -> None:
        self.robot = robot
        self._parallel = robot.gripper_action_type == "ParallelGripperCommand"
        kind = ParallelGripperCommand if self._parallel else GripperCommand
        self._goal = LatestGoal(node, kind, action, self._ended)
        self._report: JawsFinished | Fault | None = None
        self._width = math.nan

    def available(self) -> bool:
        """Whether the gripper's controller is there."""
        return self._goal.available()

    def move(self, width: float, force: float) -> None:
        """Moves the jaws to a gap in m with a force in N, in place of a running motion."""
        self._report, self._width = None, width
        position = joint_from_width(width, self.robot)
        if self._parallel:
            command = JointState(
                name=[self.robot.gripper_joint], position=[position], effort=[force]
            )
            self._goal.send(ParallelGripperCommand.Goal(command=command))
        else:
            order = GripperCommandMessage(position=position, max_effort=force)
            self._goal.send(GripperCommand.Goal(command=order))

    def stop(self) -> None:
        """Ends the motion where it is."""
        self._report = None
        self._goal.stop()

    def poll(self) -> JawsFinished | Fault | None:
        """The end of the newest motion, once."""
        report, self._report = self._report, None
        return report

    def _ended(self, end: GoalEnd) -> None:
        if not end.accepted:
            text = "the gripper's controller rejected the command"
            self._report = Fault(GraspCode.GRIPPER_FAILED, text)
        elif end.result.stalled or end.result.reached_goal or end.succeeded:
            self._report = JawsFinished(self._final_width(end.result), bool(end.result.stalled))
        else:
            self._report = Fault(
                GraspCode.GRIPPER_FAILED,
                f"the gripper neither arrived nor stalled (status {end.status})",
            )

    def _final_width(self, result: Any) -> float:
        if not self._parallel:
            return width_from_joint(result.position, self.robot)
        if len(result.state.position):
            return width_from_joint(result.state.position[0], self.robot)
        return self._width if result.reached_goal else math.nan
