"""MoveIt 2 as a planner of ways through free space, by its standard service."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from moveit_msgs.msg import (
    Constraints,
    JointConstraint,
    MotionPlanRequest,
    MotionPlanResponse,
    MoveItErrorCodes,
)
from moveit_msgs.srv import GetMotionPlan
from numpy.typing import NDArray
from rclpy.node import Node

from s3k_ros.errors import DataError
from s3k_ros.grasp.arm.hand import Hand
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import Refusal
from s3k_ros.grasp.planning.free_space import Clear
from s3k_ros.params.moveit import MoveItParameters

Array = NDArray[np.float64]

# MoveIt's default tolerance of joint goals.
_GOAL_TOLERANCE_RAD = 1e-4
# Its way must begin and end this close to what was asked for.
_END_TOLERANCE_RAD = 0.01
# Postures that lie this close to the straight line between others say nothing.
_STRAIGHT_RAD = 0.005
# Answers with more postures are no way that anyone planned.
_MOST_POSTURES = 10_000
_NO_WAY = {
    MoveItErrorCodes.PLANNING_FAILED,
    MoveItErrorCodes.FAILURE,
    MoveItErrorCodes.INVALID_MOTION_PLAN,
    MoveItErrorCodes.TIMED_OUT,
    MoveItErrorCodes.START_STATE_IN_COLLISION,
    MoveItErrorCodes.GOAL_IN_COLLISION,
    MoveItErrorCodes.GOAL_STATE_INVALID,
    MoveItErrorCodes.START_STATE_INVALID,
}


class MoveItWays:
    """A `FreeSpacePlanner` over ``plan_kinematic_path``.

    It is asked for the way alone: whoever asks times it under our limits and checks it against our
    own world, and MoveIt against its planning scene. What the jaws hold, MoveIt does not know
    unless the cell tells it; our check does.

    `path` waits for the answer, so it must not be called in the thread of the node's executor.

    Args:
        node: the node; its executor runs meanwhile.
        params: names in MoveIt.
        joints: of the arm, in the order of the ways.

    Attributes:
        time_s: s that MoveIt may plan.
    """

    def __init__(self, node: Node, params: MoveItParameters, joints: Sequence[str]) -> None:
        self._client = node.create_client(GetMotionPlan, params.service)
        self._params = params
        self._joints = list(joints)
        self.time_s = 1.0

    def available(self) -> bool:
        """Whether MoveIt's service is there."""
        return bool(self._client.service_is_ready())

    def path(self, start: Array, goal: Array, hand: Hand, clear: Clear) -> Array | Refusal:
        """Postures (T, n) rad from start to goal, as the protocol says."""
        name = self._client.srv_name
        if not self.available():
            return Refusal(GraspCode.ROBOT_NOT_READY, f"MoveIt's service {name} is not there")
        answered = threading.Event()
        future = self._client.call_async(self._request(start, goal))
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(self.time_s + self._params.answer_margin_s):
            self._client.remove_pending_request(future)
            return Refusal(GraspCode.ROBOT_NOT_READY, f"MoveIt's service {name} did not answer")
        try:
            return self._way(future.result().motion_plan_response, start, goal)
        except DataError as error:
            return Refusal(GraspCode.UNREACHABLE, f"MoveIt's answer is unusable: {error}")

    def _request(self, start: Array, goal: Array) -> GetMotionPlan.Request:
        request = MotionPlanRequest(
            group_name=self._params.group,
            pipeline_id=self._params.pipeline,
            planner_id=self._params.planner,
            num_planning_attempts=self._params.attempts,
            allowed_planning_time=self.time_s,
            max_velocity_scaling_factor=1.0,  # its timing is not used
            max_acceleration_scaling_factor=1.0,
        )
        # The rest of the robot, such as the jaws, is as MoveIt knows it.
        request.start_state.is_diff = True
        request.start_state.joint_state.name = self._joints
        request.start_state.joint_state.position = start.tolist()
        joints = [
            JointConstraint(
                joint_name=name,
                position=float(position),
                tolerance_above=_GOAL_TOLERANCE_RAD,
                tolerance_below=_GOAL_TOLERANCE_RAD,
                weight=1.0,
            )
            for name, position in zip(self._joints, goal, strict=True)
        ]
        request.goal_constraints = [Constraints(joint_constraints=joints)]
        return GetMotionPlan.Request(motion_plan_request=request)

    def _way(self, response: MotionPlanResponse, start: Array, goal: Array) -> Array | Refusal:
        error = response.error_code
        if error.val != MoveItErrorCodes.SUCCESS:
            return _refusal(error.val, error.message)
        trajectory = response.trajectory.joint_trajectory
        missing = set(self._joints) - set(trajectory.joint_names)
        if missing:
            raise DataError(f"it lacks joint {min(missing)}")
        rows = [list(point.positions) for point in trajectory.points]
        if not 2 <= len(rows) <= _MOST_POSTURES:
            raise DataError(f"it has {len(rows)} postures")
        if {len(row) for row in rows} != {len(trajectory.joint_names)}:
            raise DataError("its postures do not fit its joints")
        order = [trajectory.joint_names.index(name) for name in self._joints]
        way: Array = np.array(rows, dtype=np.float64)[:, order]
        if not np.isfinite(way).all():
            raise DataError("it is not finite")
        for name, found, asked in (("begins", way[0], start), ("ends", way[-1], goal)):
            off = float(np.abs(found - asked).max())
            if off > _END_TOLERANCE_RAD:
                raise DataError(f"it {name} {off:.3f} rad beside what was asked for")
        way[0], way[-1] = start, goal
        return corners(way, _STRAIGHT_RAD)


def corners(way: Array, tolerance: float) -> Array:
    """The postures (T, n) that a way needs: the others lie within ``tolerance`` rad of lines.

    Ramer, Douglas and Peucker, without recursion. Postures equal to their neighbours go too.
    """
    keep = np.zeros(len(way), dtype=bool)
    keep[[0, -1]] = True
    stack = [(0, len(way) - 1)]
    while stack:
        first, last = stack.pop()
        if last - first < 2:
            continue
        chord = way[last] - way[first]
        inner = way[first + 1 : last] - way[first]
        length = float(chord @ chord)
        share = np.clip(inner @ chord / length, 0.0, 1.0) if length > 0.0 else np.zeros(len(inner))
        off = np.abs(inner - share[:, None] * chord).max(axis=1)
        worst = int(off.argmax())
        if off[worst] > tolerance:
            keep[first + 1 + worst] = True
            stack += [(first, first + 1 + worst), (first + 1 + worst, last)]
    kept: Array = way[keep]
    return kept


def _refusal(code: int, message: str) -> Refusal:
    # Constants are properties of a message's metaclass.
    named = [name for name in dir(type(MoveItErrorCodes)) if name.isupper() and name[0] != "_"]
    names = {getattr(MoveItErrorCodes, n): n for n in named if n != "SLOT_TYPES"}
    text = ": ".join(filter(None, (f"MoveIt says {names.get(code, code)}", message)))
    found = GraspCode.IN_COLLISION if code in _NO_WAY else GraspCode.ROBOT_NOT_READY
    return Refusal(found, text)
