"""A move_group for tests: the real service `plan_kinematic_path`, answers as MoveIt's.

It runs in a thread with a context of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import rclpy
from moveit_msgs.msg import MoveItErrorCodes
from moveit_msgs.srv import GetMotionPlan
from rclpy.executors import SingleThreadedExecutor
from trajectory_msgs.msg import JointTrajectoryPoint

SERVICE = "plan_kinematic_path"


class FakeMoveGroup:
    """Attributes: `plan`, from (start, goal) to postures (T, n) or an error code; `requests`.

    `names` are the joints of its model, in its own order, one of them not the arm's; `spoil` may
    change the response before it goes out; `held` holds answers back while it is cleared.
    """

    def __init__(self, domain: int, joints: tuple[str, ...]) -> None:
        self._joints = joints
        self.names = ["head_pan", *reversed(joints)]
        self.requests: list[GetMotionPlan.Request] = []
        self.held = threading.Event()
        self.held.set()
        self.reset()
        self.context = rclpy.Context()
        rclpy.init(context=self.context, args=[], domain_id=domain)
        self.node = rclpy.create_node("move_group", context=self.context)
        self.node.create_service(GetMotionPlan, SERVICE, self._serve)
        self._running = True
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def reset(self) -> None:
        self.plan: Callable[[np.ndarray, np.ndarray], np.ndarray | int] = lambda start, goal: (
            np.stack([start, goal])
        )
        self.spoil: Callable[[GetMotionPlan.Response], None] = lambda response: None

    def close(self) -> None:
        self._running = False
        self.held.set()
        self._thread.join(5.0)
        self.node.destroy_node()
        self.context.try_shutdown()

    def _spin(self) -> None:
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(self.node)
        while self._running:
            executor.spin_once(timeout_sec=0.05)
        executor.shutdown()

    def _serve(
        self, request: GetMotionPlan.Request, response: GetMotionPlan.Response
    ) -> GetMotionPlan.Response:
        self.requests.append(request)
        self.held.wait(30.0)
        asked = request.motion_plan_request
        start = dict(
            zip(asked.start_state.joint_state.name, asked.start_state.joint_state.position,
                strict=True)
        )  # fmt: skip
        goal = {c.joint_name: c.position for c in asked.goal_constraints[0].joint_constraints}
        found = self.plan(
            np.array([start[name] for name in self._joints]),
            np.array([goal[name] for name in self._joints]),
        )
        answer = response.motion_plan_response
        if isinstance(found, int):
            answer.error_code.val, answer.error_code.message = found, "as the test wants it"
            return response
        answer.error_code.val = MoveItErrorCodes.SUCCESS
        answer.group_name = asked.group_name
        answer.trajectory.joint_trajectory.joint_names = list(self.names)
        for index, posture in enumerate(_dense(found)):
            values = {"head_pan": 0.1, **dict(zip(self._joints, posture, strict=True))}
            point = JointTrajectoryPoint(positions=[float(values[n]) for n in self.names])
            point.time_from_start.nanosec = 1_000_000 * index
            answer.trajectory.joint_trajectory.points.append(point)
        self.spoil(response)
        return response


def _dense(way: np.ndarray, count: int = 60) -> np.ndarray:
    """Evenly spaced, as after MoveIt's time parameterisation."""
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))])
    even = np.sort(np.concatenate([np.linspace(0.0, lengths[-1], count), lengths]))
    return np.stack([np.interp(even, lengths, column) for column in way.T], axis=1)
