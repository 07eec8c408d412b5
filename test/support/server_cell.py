"""The grasp server's process beside a perfect robot, and a client of it."""

from __future__ import annotations

from rclpy.action import ActionClient

from s3k_ros.action import GraspAtKeypoint

# Quick motions keep the tests short; limits of the arm hold all the same.
PARAMS = {
    "use_sim_time": True,
    "robot.speed_scale": 1.0,
    "grasp.verify_time_s": 0.3,
    "grasp.grasp_depth_m": 0.0,
}
# For tests that do not ask about ages: a machine with much else to do delivers late, and simulated
# time runs faster than its clock.
PATIENCE = {
    "grasp.clock_jump_s": 30.0,
    "grasp.joint_state_max_age_s": 5.0,
    "grasp.robot_state_max_age_s": 5.0,
    "grasp.wrench_max_age_s": 5.0,
    "grasp.wrench_stuck_s": 0.0,
    "grasp.keypoint_max_age_s": 5.0,
}


def request(**fields) -> GraspAtKeypoint.Goal:
    return GraspAtKeypoint.Goal(
        **{"keypoint": "right_front_paw", "toward_keypoint": "body", **fields}
    )


class ServerCell:
    """The robot, the server's process and a client."""

    def __init__(self, ros, robot, node) -> None:
        self.ros, self.robot, self.node = ros, robot, node
        self.client = ActionClient(ros.node, GraspAtKeypoint, "grasp_at_keypoint")
        self.feedback: list[GraspAtKeypoint.Feedback] = []

    def send(self, goal):
        self.feedback.clear()
        self.ros.spin_until(self.client.server_is_ready, 30.0, "grasp_at_keypoint")
        self.ros.spin_until(self.robot.heard, 30.0, "subscriptions of the server")
        future = self.client.send_goal_async(
            goal, feedback_callback=lambda message: self.feedback.append(message.feedback)
        )
        self.ros.spin_until(future.done, 10.0, "an answer to the goal")
        assert future.result().accepted
        return future.result()

    def result(self, handle, timeout_s: float = 30.0):
        future = handle.get_result_async()
        self.ros.spin_until(future.done, timeout_s, "a result")
        return future.result()

    def grasp(self, **fields):
        return self.result(self.send(request(**fields)))

    def reach(self, phase: str) -> None:
        self.ros.spin_until(
            lambda: self.feedback and self.feedback[-1].phase == phase, 20.0, f"phase {phase}"
        )

    def reset(self) -> None:
        self.robot.reset()
        self.robot.speed = 2.0
        # The server's view of the joints follows; a jump is no motion that it would wait for.
        self.ros.spin(0.4)
