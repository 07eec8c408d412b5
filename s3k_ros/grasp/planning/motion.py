"""What grasps and places are made of: postures, straight ways, moves through free space.

Everything here is checked before it is returned, so that whoever joins these parts has a plan that
may run. What cannot be done is a ``Refusal`` with a code and a reason, never an exception.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from s3k_ros.errors import UnsafeMotionError
from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.arm.collision import CollisionModel, Terms
from s3k_ros.grasp.arm.guard import Guard
from s3k_ros.grasp.arm.hand import OPEN_HAND, Hand
from s3k_ros.grasp.arm.kinematics import ArmModel, JointLimits
from s3k_ros.grasp.arm.path_timing import timed
from s3k_ros.grasp.arm.trajectory import JointTrajectory, exceeded, joint_move, path_move, stop_move
from s3k_ros.grasp.arm.world import Scene
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import Refusal
from s3k_ros.grasp.planning.free_space import FreeSpacePlanner, SampledWays
from s3k_ros.grasp.planning.pose import straight_line
from s3k_ros.grasp.planning.postures import Posture, PostureSearch
from s3k_ros.params.grasp import GraspParameters, RobotParameters

__all__ = ["OPEN_HAND", "UP", "ArmState", "Hand", "MotionPlanner", "Posture", "text"]

Array = NDArray[np.float64]

UP = np.array([0.0, 0.0, 1.0])
_LINE_STEP_M = 0.01
# A larger jump of a joint between two points of a line means another branch of the solutions.
_MAX_JUMP_RAD = 0.35
# Share of the planning time after which nothing new is tried.
_TIME_SHARE = 0.5


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


class MotionPlanner:
    """Motions of one arm. Not safe to share between threads.

    Args:
        arm: kinematics with the margin on its limits.
        grasp, robot: parameters.
        scene: what stands around besides the table.
        free_space: finds ways around obstacles; None: the built-in one.

    Attributes:
        arm, limits: the arm, and its limits at the speed scale.
        free_space: as given; it may be exchanged between two plans.

    Raises:
        ConfigurationError: at home the arm touches something of the scene.
    """

    def __init__(
        self,
        arm: ArmModel,
        grasp: GraspParameters,
        robot: RobotParameters,
        scene: Scene | None = None,
        free_space: FreeSpacePlanner | None = None,
    ) -> None:
        self.arm = arm
        self._grasp, self._robot = grasp, robot
        home = np.array(robot.home_rad)
        collision = CollisionModel(arm, home, grasp.table_height_m, scene, robot)
        self._guard = Guard(arm, collision, grasp)
        self._search = PostureSearch(arm, collision, home, robot.singularity_margin)
        self.free_space = free_space or SampledWays(
            arm, self._guard.weight, self._guard.step, time_limit_s=grasp.free_space_time_s
        )
        acceleration, jerk = np.array(robot.max_acceleration), np.array(robot.max_jerk)
        limits = JointLimits(arm.lower, arm.upper, arm.velocity, acceleration, jerk)
        self.limits = limits.scaled(robot.speed_scale)
        self._line_speed = robot.line_speed_m_s * robot.speed_scale
        self._step = robot.trajectory_step_s
        self._until = math.inf

    def begin(self) -> None:
        """A new plan begins: searches may take until half of the planning time is over.

        After that no further postures are looked for and nothing is planned around, so that a
        refusal comes before the watchdog.
        """
        self._until = time.monotonic() + _TIME_SHARE * self._grasp.planning_timeout_s

    @property
    def late(self) -> bool:
        """Whether the time for searches is over."""
        return time.monotonic() > self._until

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

    def postures(
        self,
        poses: Sequence[Transform],
        start: Array,
        hand: Hand = OPEN_HAND,
        costs: Sequence[float] | None = None,
    ) -> Iterator[Posture]:
        """Postures at any of some poses, the best first; harder seeds when asked on.

        What is best: a short time from ``start`` (n,) rad, room to joint limits, singularities and
        obstacles, and the ``costs`` in seconds that the poses have themselves.
        """
        return self._search.postures(poses, start, hand, costs, self._until)

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
            hand: what it is like on the way; what it holds may touch what it stands on there.
            inwards: the motion ends at the posture; False: it begins there.

        Returns:
            The trajectory, or UNREACHABLE, IN_COLLISION or OUTSIDE_WORKSPACE.
        """
        path = self._trace(posture, direction, distance)
        if path is None:
            where = text(posture.pose.translation)
            return _unreachable(f"no straight {name} of {distance:g} m at {where}")
        margin = min(self.arm.singularity(joints) for joints in path)
        if margin < self._robot.singularity_margin:
            return _unreachable(
                f"{name}: too near a singularity, {margin:.3f} of {self._robot.singularity_margin}"
            )
        path = path[::-1] if inwards else path
        try:
            limits = self._limits_around(path[0])
            way = path_move(path, self._line_speed, limits, self._step, distance)
        except UnsafeMotionError as error:
            return _unreachable(f"{name}: {error}")
        terms = self._guard.straight(posture.joints, hand, leaving=not inwards)
        return self._checked(name, way, terms)

    def free(
        self, start: ArmState, goal: Array, hand: Hand = OPEN_HAND, around: bool = True
    ) -> JointTrajectory | Refusal:
        """To a posture (n,) rad through free space: first up when the hand is low.

        Args:
            start: where the arm stands, or its state on the way.
            goal: (n,) rad, where it comes to rest.
            hand: what it is like on the way.
            around: obstacles in the direct way are planned around, which takes longer.

        Returns:
            The trajectory, or IN_COLLISION, UNREACHABLE, OUTSIDE_WORKSPACE or what ``free_space``
            refused with.
        """
        try:
            if start.moving:
                return self._from_motion(start, goal, hand, around)
            return self._from_rest(start.position, goal, hand, around)
        except UnsafeMotionError as error:
            return _unreachable(f"approach: {error}")

    def redirect(
        self, name: str, start: ArmState, goal: Array, hand: Hand = OPEN_HAND
    ) -> JointTrajectory | Refusal:
        """A short direct move from a state on the way to a standstill at a posture (n,) rad."""
        try:
            move = self._direct(start, goal)
        except UnsafeMotionError as error:
            return _unreachable(f"{name}: {error}")
        return self._checked(name, move, self._guard.straight(goal, hand))

    def touches(self, name: str, joints: Array, hand: Hand) -> Refusal | None:
        """IN_COLLISION when something touches in a posture (n,) rad, with this hand."""
        path = np.stack([joints, joints])
        return self._guard.problem(
            name, path, dataclasses.replace(self._guard.straight(joints, hand), margin_m=0.0)
        )

    def broken_limit(self, parts: Mapping[str, JointTrajectory | None]) -> Refusal | None:
        """UNREACHABLE when a part of a plan breaks a limit of the arm; it never should."""
        for name, part in parts.items():
            broken = "" if part is None else exceeded(part, self._limits_around(part.positions))
            if broken:
                return _unreachable(f"{name}: {broken} is beyond its limit")
        return None

    def tcp_path(self, trajectory: JointTrajectory) -> Array:
        """(M, 3) m, the way of the tool centre point, for showing."""
        positions = trajectory.positions
        count = 2 + int(np.abs(np.diff(positions, axis=0)).max(axis=1).sum() / 0.1)
        chosen = np.linspace(0, len(positions) - 1, min(count, len(positions))).round().astype(int)
        return np.array([self.arm.position(q) for q in positions[chosen]])

    # -- free space ----------------------------------------------------------------------------

    def _from_motion(
        self, start: ArmState, goal: Array, hand: Hand, around: bool
    ) -> JointTrajectory | Refusal:
        """Straight on to the goal; if something is in the way, by way of a standstill."""
        terms = self._guard.transit(start.position, goal, hand)
        if isinstance(terms, Refusal):
            return terms
        direct = self._checked("approach", self._direct(start, goal), terms)
        if not around or not isinstance(direct, Refusal):
            return direct
        state = (start.position, start.velocity, start.acceleration)
        stop = stop_move(*state, self._limits_around(start.position), self._step)
        if isinstance(self._checked("stop", stop, Terms(hand)), Refusal):
            return direct
        rest = self._from_rest(stop.end, goal, hand, around)
        return rest if isinstance(rest, Refusal) else stop.then(rest)

    def _from_rest(
        self, start: Array, goal: Array, hand: Hand, around: bool
    ) -> JointTrajectory | Refusal:
        up = self._way_up(start, hand)
        above = start if up is None else up.end
        terms = self._guard.transit(above, goal, hand)
        if isinstance(terms, Refusal):
            return terms
        move = self._checked("approach", self._direct(ArmState.at_rest(above), goal), terms)
        if isinstance(move, Refusal) and around and not self.late:
            move = self._around(above, goal, terms, move)
        if isinstance(move, Refusal) or up is None:
            return move
        return up.then(move)

    def _around(
        self, start: Array, goal: Array, terms: Terms, refusal: Refusal
    ) -> JointTrajectory | Refusal:
        """By the planner of free space, whatever that is; its way is timed and checked here."""
        wide = self._guard.wider(terms, start, goal)
        way = self.free_space.path(
            start, goal, terms.hand, lambda path: self._guard.free(path, wide, start)
        )
        if isinstance(way, Refusal):
            return dataclasses.replace(way, message=f"{refusal.message}; {way.message}")
        limits = self._limits_around(way)
        result: JointTrajectory | Refusal = refusal
        for trajectory in timed(way, limits, self._step):
            result = self._checked("approach", trajectory, terms)
            if not isinstance(result, Refusal) and not exceeded(trajectory, limits):
                break
        return result

    def _direct(self, start: ArmState, goal: Array) -> JointTrajectory:
        limits = self._limits_around(np.stack([start.position, goal]))
        return joint_move(
            start.position, goal, limits, self._step, start.velocity, start.acceleration
        )

    def _way_up(self, start: Array, hand: Hand) -> JointTrajectory | None:
        """Straight up until the hand is clear of what lies on the table; None when it is."""
        missing = self._guard.missing_height(start, hand)
        if missing == 0.0:
            return None
        path = self._trace(Posture(self.arm.forward(start), start), UP, missing)
        if path is None:
            return None
        up = path_move(path, self._line_speed, self._limits_around(path), self._step, missing)
        terms = dataclasses.replace(self._guard.straight(start, hand), margin_m=0.0)
        return None if isinstance(self._checked("way up", up, terms), Refusal) else up

    # -- inside --------------------------------------------------------------------------------

    def _checked(
        self, name: str, trajectory: JointTrajectory, terms: Terms
    ) -> JointTrajectory | Refusal:
        return self._guard.problem(name, trajectory.positions, terms) or trajectory

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


def text(point: Sequence[float] | Array) -> str:
    """A point for people, to the millimetre."""
    return "(" + ", ".join(f"{value:.3f}" for value in point) + ")"


def _unreachable(message: str) -> Refusal:
    return Refusal(GraspCode.UNREACHABLE, message)
