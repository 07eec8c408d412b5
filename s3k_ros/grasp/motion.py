"""What grasps and places are made of: postures, straight ways, moves through free space.

Everything here is checked before it is returned, so that whoever joins these parts has a plan that
may run. What cannot be done is a ``Refusal`` with a code and a reason, never an exception.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from s3k_ros.errors import UnsafeMotionError
from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.collision import CollisionModel, Terms
from s3k_ros.grasp.goal import Refusal
from s3k_ros.grasp.hand import OPEN_HAND, Hand
from s3k_ros.grasp.kinematics import ArmModel, JointLimits
from s3k_ros.grasp.pose import straight_line
from s3k_ros.grasp.trajectory import JointTrajectory, exceeded, joint_move, path_move
from s3k_ros.params.grasp import GraspParameters, RobotParameters

Array = NDArray[np.float64]

UP = np.array([0.0, 0.0, 1.0])
_LINE_STEP_M = 0.01
# A larger jump of a joint between two points of a line means another branch of the solutions.
_MAX_JUMP_RAD = 0.35
# Seeds besides the current and the home posture; drawn once, so that plans are reproducible.
_EXTRA_SEEDS = 6
# Collision is checked at postures at most this far apart in any joint.
_CHECK_STEP_RAD = 0.06
# Moves may come this much closer to the table than the clearances of their own two ends.
_CLEARANCE_SLACK_M = 0.005


@dataclasses.dataclass(frozen=True, eq=False)
class ArmState:
    """Commanded state of the arm, (n,) rad, rad/s, rad/s^2."""

    position: Array
    velocity: Array
    acceleration: Array

    @classmethod
    def at_rest(cls, position: Array) -> ArmState:
        """Standing still."""
        return cls(position, np.zeros(len(position)), np.zeros(len(position)))

    @property
    def moving(self) -> bool:
        """Whether any joint has a speed."""
        return bool(np.abs(self.velocity).max() > 1e-6)


@dataclasses.dataclass(frozen=True, eq=False)
class Posture:
    """One way to stand at a pose: ``base_from_tcp``, (n,) rad, and what it costs to go there."""

    pose: Transform
    joints: Array
    cost: float


class MotionPlanner:
    """Motions of one arm. Not safe to share between threads.

    Args:
        arm: kinematics with the margin on its limits.
        grasp, robot: parameters.

    Attributes:
        arm, limits: the arm, and its limits at the speed scale.
    """

    def __init__(self, arm: ArmModel, grasp: GraspParameters, robot: RobotParameters) -> None:
        self.arm = arm
        self._grasp = grasp
        self._robot = robot
        self._home = np.array(robot.home_rad)
        self._collision = CollisionModel(arm, self._home, grasp.table_height_m, robot=robot)
        rng = np.random.default_rng(0)
        self._seeds = [
            np.clip(self._home + rng.normal(0.0, 0.7, arm.size), arm.lower, arm.upper)
            for _ in range(_EXTRA_SEEDS)
        ]
        self.limits = JointLimits(
            arm.lower,
            arm.upper,
            arm.velocity,
            np.array(robot.max_acceleration),
            np.array(robot.max_jerk),
        ).scaled(robot.speed_scale)
        self._line_speed = robot.line_speed_m_s * robot.speed_scale

    # -- where ---------------------------------------------------------------------------------

    def outside(self, places: Mapping[str, Array]) -> Refusal | None:
        """OUTSIDE_WORKSPACE with the name of the first place (3,) m where the hand must not be."""
        low, high = self._grasp.workspace_low_m, self._grasp.workspace_high_m
        for name, place in places.items():
            if (place < low).any() or (place > high).any():
                return Refusal(
                    GraspCode.OUTSIDE_WORKSPACE,
                    f"{name} {text(place)} is outside the workspace {text(low)} to {text(high)}",
                )
        return None

    def postures(self, poses: Sequence[Transform], start: Array) -> Iterator[Posture]:
        """Postures at any of some poses, those near the start first; harder seeds when asked on."""
        for seeds in ([start, self._home], self._seeds):
            found = [
                Posture(pose, joints, float((np.abs(joints - start) / self.arm.velocity).max()))
                for pose in poses
                for joints in self.arm.solutions(pose, seeds)
            ]
            yield from sorted(found, key=lambda posture: posture.cost)

    # -- ways ----------------------------------------------------------------------------------

    def straight(
        self,
        name: str,
        posture: Posture,
        direction: Array,
        distance: float,
        hand: Hand = OPEN_HAND,
        inwards: bool = False,
    ) -> JointTrajectory | Refusal:
        """From rest to rest along a straight line that begins, or ends, at a posture.

        Args:
            name: what people call this way, for instance "way in".
            posture: where the line is fixed.
            direction: (3,) from the posture outwards, base frame, any length.
            distance: m.
            hand: what it is like on the way.
            inwards: the motion ends at the posture; False: it begins there.

        Returns:
            The trajectory, or UNREACHABLE or IN_COLLISION.
        """
        path = self._trace(posture, direction, distance)
        if path is None:
            return Refusal(
                GraspCode.UNREACHABLE,
                f"no straight {name} of {distance:g} m at {text(posture.pose.translation)}",
            )
        path = path[::-1] if inwards else path
        hit = self._collision.first_collision(path)
        if hit is not None:
            return Refusal(GraspCode.IN_COLLISION, f"{name}: {hit}")
        try:
            return path_move(
                path, self._line_speed, self._limits_around(path[0]),
                self._robot.trajectory_step_s, distance,
            )  # fmt: skip
        except UnsafeMotionError as error:
            return Refusal(GraspCode.UNREACHABLE, f"{name}: {error}")

    def free(
        self, start: ArmState, goal: Array, hand: Hand = OPEN_HAND
    ) -> JointTrajectory | Refusal:
        """To a posture (n,) rad through free space: first up when the hand is low."""
        try:
            return self._free(start, goal)
        except UnsafeMotionError as error:
            return Refusal(GraspCode.UNREACHABLE, f"approach: {error}")

    def redirect(
        self, name: str, start: ArmState, goal: Array, hand: Hand = OPEN_HAND
    ) -> JointTrajectory | Refusal:
        """A short direct move from a state on the way to a standstill at a posture (n,) rad."""
        try:
            move = joint_move(
                start.position, goal, self._limits_around(start.position),
                self._robot.trajectory_step_s, start.velocity, start.acceleration,
            )  # fmt: skip
        except UnsafeMotionError as error:
            return Refusal(GraspCode.UNREACHABLE, f"{name}: {error}")
        hit = self._collision.first_collision(thinned(move.positions))
        return move if hit is None else Refusal(GraspCode.IN_COLLISION, f"{name}: {hit}")

    def broken_limit(self, parts: Mapping[str, JointTrajectory | None]) -> Refusal | None:
        """UNREACHABLE when a part of a plan breaks a limit of the arm; it never should."""
        for name, part in parts.items():
            broken = "" if part is None else exceeded(part, self._limits_around(part.positions))
            if broken:
                return Refusal(GraspCode.UNREACHABLE, f"{name}: {broken} is beyond its limit")
        return None

    def tcp_path(self, trajectory: JointTrajectory) -> Array:
        """(M, 3) m, the way of the tool centre point, for showing."""
        path = thinned(trajectory.positions, 0.1)
        return np.array([self.arm.forward(q).translation for q in path])

    # -- inside --------------------------------------------------------------------------------

    def _free(self, start: ArmState, goal: Array) -> JointTrajectory | Refusal:
        if start.moving:
            return self._joint_moves([start.position, goal], start)
        up = self._way_up(start.position)
        above = start.position if up is None else up.end
        result = self._joint_moves([above, goal], ArmState.at_rest(above))
        if isinstance(result, Refusal):
            around = self._joint_moves([above, self._home, goal], ArmState.at_rest(above))
            result = result if isinstance(around, Refusal) else around
        if isinstance(result, Refusal) or up is None:
            return result
        return up.then(result)

    def _joint_moves(self, via: Sequence[Array], start: ArmState) -> JointTrajectory | Refusal:
        whole: JointTrajectory | None = None
        for first, second in itertools.pairwise(via):
            state = start if whole is None else ArmState.at_rest(first)
            move = joint_move(
                first, second, self._limits_around(np.stack([first, second])),
                self._robot.trajectory_step_s, state.velocity, state.acceleration,
            )  # fmt: skip
            ends = min(self._collision.hand_clearance(q) for q in (first, second))
            clearance = min(self._grasp.transit_clearance_m, ends - _CLEARANCE_SLACK_M)
            hit = self._collision.first_collision(
                thinned(move.positions), Terms(over_table_m=clearance)
            )
            if hit is not None:
                return Refusal(GraspCode.IN_COLLISION, f"approach: {hit}")
            whole = move if whole is None else whole.then(move)
        if whole is None:
            raise UnsafeMotionError("a move needs two postures")
        return whole

    def _way_up(self, start: Array) -> JointTrajectory | None:
        """Straight up until the hand is clear of what lies on the table; None when it is."""
        missing = self._grasp.transit_clearance_m - self._collision.hand_clearance(start)
        if missing <= _CLEARANCE_SLACK_M:
            return None
        path = self._trace(Posture(self.arm.forward(start), start, 0.0), UP, missing)
        if path is None or self._collision.first_collision(path) is not None:
            return None
        limits = self._limits_around(path)
        return path_move(path, self._line_speed, limits, self._robot.trajectory_step_s, missing)

    def _trace(self, posture: Posture, direction: Array, distance: float) -> Array | None:
        """Joint positions (T, n) along a straight line without leaving the posture's branch."""
        path = [posture.joints]
        for step in straight_line(posture.pose, direction, distance, _LINE_STEP_M)[1:]:
            solution = self.arm.solve(step, path[-1])
            if solution is None or np.abs(solution - path[-1]).max() > _MAX_JUMP_RAD:
                return None
            path.append(solution)
        return np.stack(path)

    def _limits_around(self, positions: Array) -> JointLimits:
        """The limits, widened to hold where the arm already stands, inside the margin or not."""
        stack = np.atleast_2d(positions)
        return dataclasses.replace(
            self.limits,
            lower=np.minimum(self.limits.lower, stack.min(axis=0)),
            upper=np.maximum(self.limits.upper, stack.max(axis=0)),
        )


def thinned(path: Array, step: float = _CHECK_STEP_RAD) -> Array:
    """The points of a path at most about ``step`` rad apart, both ends included."""
    travelled = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(path, axis=0)).max(axis=1))])
    _, keep = np.unique((travelled / step).astype(int), return_index=True)
    indices = np.unique(np.append(keep, len(path) - 1))
    points: Array = path[indices]
    return points


def text(point: Sequence[float] | Array) -> str:
    """A point for people, to the millimetre."""
    return "(" + ", ".join(f"{value:.3f}" for value in point) + ")"
