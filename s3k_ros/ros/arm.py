"""The arm behind a FollowJointTrajectory action."""

from __future__ import annotations

from collections.abc import Sequence

from control_msgs.action import FollowJointTrajectory
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory as JointTrajectoryMessage
from trajectory_msgs.msg import JointTrajectoryPoint

from s3k_ros.grasp.arm.trajectory import JointTrajectory
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.tasks.events import ArmFinished, Fault
from s3k_ros.ros.conversions import duration_message, stamp_message
from s3k_ros.ros.latest_goal import GoalEnd, LatestGoal

_NS_PER_S = 1e9
_ERRORS = {
    FollowJointTrajectory.Result.INVALID_GOAL: "INVALID_GOAL",
    FollowJointTrajectory.Result.INVALID_JOINTS: "INVALID_JOINTS",
    FollowJointTrajectory.Result.OLD_HEADER_TIMESTAMP: "OLD_HEADER_TIMESTAMP",
    FollowJointTrajectory.Result.PATH_TOLERANCE_VIOLATED: "PATH_TOLERANCE_VIOLATED",
    FollowJointTrajectory.Result.GOAL_TOLERANCE_VIOLATED: "GOAL_TOLERANCE_VIOLATED",
}


class TrajectoryArm:
    """An `ArmPort` over an action server of FollowJointTrajectory.

    Args:
        node: the node.
        action: name of the action.
        joints: names of the joints, in the order of the trajectories.
        stamped: trajectories carry their start time, so that a correction meets the running
            trajectory where it was planned to. Without it they start when they arrive.
    """

    def __init__(self, node: Node, action: str, joints: Sequence[str], *, stamped: bool) -> None:
        self._joints = list(joints)
        self.stamped = stamped
        self._report: ArmFinished | Fault | None = None
        self._goal = LatestGoal(node, FollowJointTrajectory, action, self._ended)

    def available(self) -> bool:
        """Whether the arm's controller is there."""
        return self._goal.available()

    def start(self, trajectory: JointTrajectory, start_time: float) -> None:
        """Follows a trajectory from ``start_time`` on, in place of a running one."""
        self._report = None
        message = trajectory_message(trajectory, self._joints)
        if self.stamped:
            message.header.stamp = stamp_message(round(start_time * _NS_PER_S))
        self._goal.send(FollowJointTrajectory.Goal(trajectory=message))

    def stop(self) -> None:
        """Comes to a standstill."""
        self._report = None
        self._goal.stop()

    def poll(self) -> ArmFinished | Fault | None:
        """The end of the newest trajectory, once."""
        report, self._report = self._report, None
        return report

    def _ended(self, end: GoalEnd) -> None:
        if not end.accepted:
            text = "the arm's controller rejected the trajectory"
            self._report = Fault(GraspCode.ARM_ABORTED, text)
        elif end.succeeded and end.result.error_code == FollowJointTrajectory.Result.SUCCESSFUL:
            self._report = ArmFinished()
        else:
            code = end.result.error_code
            text = ": ".join(filter(None, (_ERRORS.get(code, ""), end.result.error_string)))
            self._report = Fault(
                GraspCode.ARM_ABORTED,
                f"the arm's controller ended the motion: {text or f'status {end.status}'}",
            )


def trajectory_message(
    trajectory: JointTrajectory, joints: Sequence[str]
) -> JointTrajectoryMessage:
    """The message of a trajectory, without a start time."""
    columns = (trajectory.positions, trajectory.velocities, trajectory.accelerations)
    points = [
        JointTrajectoryPoint(
            positions=positions,
            velocities=velocities,
            accelerations=accelerations,
            time_from_start=duration_message(round(time * _NS_PER_S)),
        )
        for time, positions, velocities, accelerations in zip(
            trajectory.times.tolist(), *(column.tolist() for column in columns), strict=True
        )
    ]
    return JointTrajectoryMessage(joint_names=list(joints), points=points)
