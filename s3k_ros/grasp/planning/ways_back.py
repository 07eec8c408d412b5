"""Ways back: from what was let go, and from what was run into."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from s3k_ros.errors import UnsafeMotionError
from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.arm.hand import OPEN_HAND
from s3k_ros.grasp.arm.trajectory import JointTrajectory, path_move
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import Refusal, ReleaseGoal, Vector
from s3k_ros.grasp.planning.motion import ArmState, MotionPlanner, Posture
from s3k_ros.grasp.planning.planner import Target
from s3k_ros.params.grasp import GraspParameters, RobotParameters

Array = NDArray[np.float64]

# A release draws back less when there is no room for more.
_RETREAT_SHARES = (1.0, 0.5, 0.25)
# A trail that is shorter leads nowhere; a turn of the hand counts as this much way per rad.
_SHORTEST_TRAIL_M = 0.002
_TURN_M_PER_RAD = 0.02
_TRAIL_POINTS = 20


@dataclasses.dataclass(frozen=True)
class RetreatGoal:
    """A straight way in m from where the hand is; None stands for back along the hand."""

    distance: float
    direction: Vector | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class RetractGoal:
    """A short way in m back along where the arm has been: (T, n) rad, the newest posture last."""

    trail: Array
    distance: float


@dataclasses.dataclass(frozen=True, eq=False)
class RetreatPlan:
    """A way back: where it begins, and the trajectory; None: the hand stays."""

    pose: Transform
    retreat: JointTrajectory | None
    tcp_path: Array
    target: Target | None = None
    note: str = ""


class WayBackPlanner:
    """Plans ways back for one arm. Not safe to share between threads.

    Args:
        motion: what its plans are made of.
        grasp, robot: parameters.
    """

    def __init__(
        self, motion: MotionPlanner, grasp: GraspParameters, robot: RobotParameters
    ) -> None:
        self._motion = motion
        self._grasp = grasp
        self._robot = robot

    def retreat(self, goal: RetreatGoal, start: ArmState) -> RetreatPlan | Refusal:
        """Plans a straight way from where the hand is, its jaws open."""
        pose = self._motion.arm.forward(start.position)
        if goal.distance == 0.0:
            return RetreatPlan(pose, None, pose.translation[None])
        direction = -pose.rotation[:, 2] if goal.direction is None else np.array(goal.direction)
        end = pose.translation + direction * goal.distance
        posture = Posture(pose, start.position, 0.0)
        way = self._motion.outside({"end of the way back": end}) or self._motion.straight(
            "way back", posture, direction, goal.distance, OPEN_HAND
        )
        if isinstance(way, Refusal):
            return way
        return RetreatPlan(pose, way, self._motion.tcp_path(way))

    def release(self, goal: ReleaseGoal, start: ArmState) -> RetreatPlan:
        """Plans the way back of a release: shorter than wanted, or none, rather than no release."""
        wanted, reason = goal.retreat_distance_m, ""
        for share in _RETREAT_SHARES:
            way = self.retreat(RetreatGoal(share * wanted), start)
            if isinstance(way, RetreatPlan):
                note = f"drawn back {1e3 * share * wanted:.0f} mm only: {reason}" if reason else ""
                return dataclasses.replace(way, note=note)
            reason = reason or way.message
        pose = self._motion.arm.forward(start.position)
        return RetreatPlan(pose, None, pose.translation[None], note=f"not drawn back: {reason}")

    def retract(self, goal: RetractGoal, start: ArmState) -> RetreatPlan | Refusal:
        """Plans a way back along a trail: it is free, because the arm has just been there."""
        path = np.vstack([start.position, goal.trail[::-1]])
        points = np.array([self._motion.arm.forward(q).translation for q in path])
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        steps += _TURN_M_PER_RAD * np.abs(np.diff(path, axis=0)).max(axis=1)
        way = np.concatenate([[0.0], np.cumsum(steps)])
        length = min(goal.distance, float(way[-1]))
        if length < _SHORTEST_TRAIL_M:
            return Refusal(GraspCode.UNREACHABLE, "it came from nowhere")
        even = np.linspace(0.0, length, _TRAIL_POINTS)
        path = np.stack([np.interp(even, way, column) for column in path.T], axis=1)
        limits = dataclasses.replace(
            self._motion.limits,
            lower=np.minimum(self._motion.limits.lower, path.min(axis=0)),
            upper=np.maximum(self._motion.limits.upper, path.max(axis=0)),
        )
        try:
            speed, step = self._grasp.retract_speed_m_s, self._robot.trajectory_step_s
            trajectory = path_move(path, speed, limits, step, length)
        except UnsafeMotionError as error:
            return Refusal(GraspCode.UNREACHABLE, str(error))
        pose = self._motion.arm.forward(start.position)
        return RetreatPlan(pose, trajectory, self._motion.tcp_path(trajectory))
