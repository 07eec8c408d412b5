"""The fake robot behind other drivers: a Sawyer behind the gateway, and a ros2_control robot."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from control_msgs.action import FollowJointTrajectory
from geometry_msgs.msg import WrenchStamped
from rclpy.action import ActionServer, GoalResponse
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from support.fake_robot import ROBOT, FakeRobot

JTC_ACTION = "/joint_trajectory_controller/follow_joint_trajectory"
JTC_JOINT_STATES = "/joint_states"
JTC_WRENCH = "/force_torque_sensor_broadcaster/wrench"


class RobotWithoutArm(FakeRobot):
    """Gripper, sensor and perception: the arm is another one's."""

    def start_arm(self) -> None:
        pass

    def _publish(self, count: int) -> None:
        self.joint_states_alive = False
        stamp = Time(sec=int(self.now), nanosec=int(self.now % 1.0 * 1e9))
        self._joint_states.publish(
            JointState(
                header=Header(stamp=stamp), name=[ROBOT.gripper_joint], position=[self.knuckle]
            )
        )
        super()._publish(count)


class Ros2ControlRobot(FakeRobot):
    """An arm behind a joint_trajectory_controller of ros2_control.

    Rejects what `validate_trajectory_msg` of ros2_controllers (branch jazzy) rejects with default
    parameters; a new goal aborts the running one; a cancel holds the position.
    """

    def start_arm(self) -> None:
        self._arm_lives = True
        self.rejected: list[str] = []
        self._arm_server = ActionServer(
            self.node, FollowJointTrajectory, JTC_ACTION, lambda handle: None,
            goal_callback=self._validate, handle_accepted_callback=self._take_arm,
            cancel_callback=self._cancel_arm,
        )  # fmt: skip

    def _publishers(self) -> None:
        super()._publishers()
        self._joint_states = self.node.create_publisher(JointState, JTC_JOINT_STATES, 10)
        self._wrench = self.node.create_publisher(WrenchStamped, JTC_WRENCH, 10)

    def _validate(self, goal: FollowJointTrajectory.Goal) -> GoalResponse:
        reason = self._flaw(goal.trajectory)
        if reason:
            self.rejected.append(reason)
        return GoalResponse.REJECT if reason else GoalResponse.ACCEPT

    def _flaw(self, trajectory) -> str:
        points, size = trajectory.points, len(trajectory.joint_names)
        if sorted(trajectory.joint_names) != sorted(ROBOT.arm_joints):
            return "joints do not match, or are partial"
        if not points:
            return "empty trajectory"
        if np.abs(points[-1].velocities).max(initial=0.0) > np.finfo(np.float32).eps:
            return f"last velocity is not zero but {points[-1].velocities}"
        times = [p.time_from_start.sec + 1e-9 * p.time_from_start.nanosec for p in points]
        start = trajectory.header.stamp.sec + 1e-9 * trajectory.header.stamp.nanosec
        if start and start + times[-1] < self.now:
            return "ends in the past"
        if (np.diff(times) <= 0.0).any():
            return "time is not strictly increasing"
        for name in ("positions", "velocities", "accelerations"):
            lengths = {len(getattr(point, name)) for point in points}
            if not lengths <= ({size} if name == "positions" else {0, size}):
                return f"{name} have the wrong size"
        if any(len(point.effort) for point in points):
            return "effort is not supported"
        return ""
