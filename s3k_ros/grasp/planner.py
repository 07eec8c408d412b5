"""Plans a whole grasp before anything moves, and corrects it while it moves."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from s3k_ros.errors import UnsafeMotionError
from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.collision import CollisionModel
from s3k_ros.grasp.goal import GraspGoal, Refusal
from s3k_ros.grasp.kinematics import ArmModel, JointLimits
from s3k_ros.grasp.pose import (
    grasp_point,
    hand_rotations,
    straight_line,
    uncertain_width,
    yaw_is_set,
)
from s3k_ros.grasp.trajectory import JointTrajectory, exceeded, joint_move, path_move
from s3k_ros.params.grasp import GraspParameters, RobotParameters

Array = NDArray[np.float64]

_UP = np.array([0.0, 0.0, 1.0])
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
class Target:
    """What to grasp at.

    Attributes:
        position: (3,) m, the keypoint in the base frame.
        covariance: (3, 3) m^2.
        line: (3,) m from ``toward_keypoint`` to the keypoint, or None.
    """

    position: Array
    covariance: Array
    line: Array | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class GraspPlan:
    """Everything that will move, in order.

    Attributes:
        target: what it was planned for.
        grasp, pregrasp, lifted: poses of the tool centre point, ``base_from_tcp``.
        approach, align, lift: trajectories; a correction during align has an empty approach.
        tcp_path: (M, 3) m, way of the tool centre point, for showing.
        note: for people, for instance that the yaw was free.
    """

    target: Target
    grasp: Transform
    pregrasp: Transform
    lifted: Transform
    approach: JointTrajectory | None
    align: JointTrajectory
    lift: JointTrajectory
    tcp_path: Array
    note: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class _Candidate:
    """One way to stand at the grasp, with the straight ways to and from it."""

    pose: Transform
    joints: Array
    cost: float


class GraspPlanner:
    """Plans grasps for one arm. Not safe to share between threads.

    Args:
        arm: kinematics with the margin on its limits.
        grasp, robot: parameters.
    """

    def __init__(self, arm: ArmModel, grasp: GraspParameters, robot: RobotParameters) -> None:
        self._arm = arm
        self._grasp = grasp
        self._robot = robot
        self._home = np.array(robot.home_rad)
        self._collision = CollisionModel(arm, self._home, grasp.table_height_m)
        rng = np.random.default_rng(0)
        self._seeds = [
            np.clip(self._home + rng.normal(0.0, 0.7, arm.size), arm.lower, arm.upper)
            for _ in range(_EXTRA_SEEDS)
        ]
        self._limits = JointLimits(
            arm.lower,
            arm.upper,
            arm.velocity,
            np.array(robot.max_acceleration),
            np.array(robot.max_jerk),
        ).scaled(robot.speed_scale)
        self._line_speed = robot.line_speed_m_s * robot.speed_scale

    def plan(self, goal: GraspGoal, target: Target, start: ArmState) -> GraspPlan | Refusal:
        """Plans approach, align and lift from where the arm stands.

        Args:
            goal: resolved goal.
            target: what to grasp at.
            start: commanded state, at rest or on the way (then the way up is left out).

        Returns:
            A plan, or UNREACHABLE, IN_COLLISION, OUTSIDE_WORKSPACE or TOO_UNCERTAIN with a reason.
        """
        rotations = self._rotations(goal, target)
        if isinstance(rotations, Refusal):
            return rotations
        point = self._grasp_point(goal, target)
        refusal = self._outside(point, np.asarray(goal.approach), goal)
        if refusal is not None:
            return refusal
        poses = [Transform(rotation, point) for rotation in rotations]
        worst = Refusal(GraspCode.UNREACHABLE, f"no posture reaches {_text(point)} from there")
        for candidate in self._candidates(poses, start.position):
            result = self._complete(goal, target, candidate, start)
            if isinstance(result, GraspPlan):
                return result
            if result.code > worst.code or "no posture" in worst.message:
                worst = result
        return worst

    def correct(self, goal: GraspGoal, target: Target, start: ArmState) -> GraspPlan | Refusal:
        """Plans from a state on the straight way in to a target that moved a little.

        Returns:
            A plan without approach whose align begins at ``start``, or a refusal as from ``plan``.
        """
        rotations = self._rotations(goal, target)
        if isinstance(rotations, Refusal):
            return rotations
        point = self._grasp_point(goal, target)
        refusal = self._outside(point, np.asarray(goal.approach), goal)
        if refusal is not None:
            return refusal
        here = self._arm.forward(start.position).rotation
        rotation = max(rotations, key=lambda r: float(np.trace(here.T @ r)))
        pose = Transform(rotation, point)
        joints = self._arm.solve(pose, start.position)
        if joints is None:
            return Refusal(GraspCode.UNREACHABLE, f"no posture reaches {_text(point)} from there")
        try:
            limits = self._limits_around(start.position)
            align = joint_move(
                start.position, joints, limits, self._robot.trajectory_step_s,
                start.velocity, start.acceleration,
            )  # fmt: skip
            hit = self._collision.first_collision(_thinned(align.positions))
            if hit is not None:
                return Refusal(GraspCode.IN_COLLISION, f"corrected way in: {hit}")
            return self._with_lift(goal, target, pose, joints, None, align)
        except UnsafeMotionError as error:
            return Refusal(GraspCode.UNREACHABLE, str(error))

    # -- where ---------------------------------------------------------------------------------

    def _rotations(self, goal: GraspGoal, target: Target) -> list[Array] | Refusal:
        rotations = hand_rotations(goal.approach, target.line)
        room = goal.opening_width_m - self._grasp.uncertainty_margin_m
        widths = [uncertain_width(target.covariance, r[:, 1]) for r in rotations]
        fitting = [r for r, width in zip(rotations, widths, strict=True) if width <= room]
        if fitting:
            return fitting
        return Refusal(
            GraspCode.TOO_UNCERTAIN,
            f"95 % region is {1e3 * min(widths):.0f} mm wide across the jaws, "
            f"room is {1e3 * room:.0f} mm",
        )

    def _grasp_point(self, goal: GraspGoal, target: Target) -> Array:
        lowest = (
            self._grasp.table_height_m
            + self._grasp.finger_clearance_m
            + self._robot.fingertip_beyond_tcp_m
        )
        past = np.asarray(goal.approach) * self._grasp.grasp_depth_m
        return grasp_point(target.position + past, goal.offset, goal.approach, lowest)

    def _outside(self, point: Array, approach: Array, goal: GraspGoal) -> Refusal | None:
        low, high = self._grasp.workspace_low_m, self._grasp.workspace_high_m
        places = {
            "grasp": point,
            "start of the way in": point - approach * goal.approach_distance_m,
            "lifted grasp": point + _UP * goal.lift_height_m,
        }
        for name, place in places.items():
            if (place < low).any() or (place > high).any():
                return Refusal(
                    GraspCode.OUTSIDE_WORKSPACE,
                    f"{name} {_text(place)} is outside the workspace {_text(low)} to {_text(high)}",
                )
        return None

    def _candidates(self, poses: Sequence[Transform], start: Array) -> Iterator[_Candidate]:
        """Postures at the grasp, those near the start first; harder seeds only when needed."""
        for seeds in ([start, self._home], self._seeds):
            found = [
                _Candidate(pose, joints, float((np.abs(joints - start) / self._arm.velocity).max()))
                for pose in poses
                for joints in self._arm.solutions(pose, seeds)
            ]
            yield from sorted(found, key=lambda candidate: candidate.cost)

    # -- ways ----------------------------------------------------------------------------------

    def _complete(
        self, goal: GraspGoal, target: Target, candidate: _Candidate, start: ArmState
    ) -> GraspPlan | Refusal:
        back = -np.asarray(goal.approach)
        way_in = self._trace(candidate.pose, candidate.joints, back, goal.approach_distance_m)
        if way_in is None:
            return Refusal(
                GraspCode.UNREACHABLE,
                f"no straight way of {goal.approach_distance_m:g} m to "
                f"{_text(candidate.pose.translation)}",
            )
        way_in = way_in[::-1]
        hit = self._collision.first_collision(way_in)
        if hit is not None:
            return Refusal(GraspCode.IN_COLLISION, f"way in: {hit}")
        try:
            approach = self._approach(start, way_in[0])
            if isinstance(approach, Refusal):
                return approach
            align = path_move(
                way_in, self._line_speed, self._limits, self._robot.trajectory_step_s,
                goal.approach_distance_m,
            )  # fmt: skip
            return self._with_lift(goal, target, candidate.pose, candidate.joints, approach, align)
        except UnsafeMotionError as error:
            return Refusal(GraspCode.UNREACHABLE, str(error))

    def _with_lift(
        self,
        goal: GraspGoal,
        target: Target,
        pose: Transform,
        joints: Array,
        approach: JointTrajectory | None,
        align: JointTrajectory,
    ) -> GraspPlan | Refusal:
        way_up = self._trace(pose, joints, _UP, goal.lift_height_m)
        if way_up is None:
            return Refusal(
                GraspCode.UNREACHABLE,
                f"no straight way up of {goal.lift_height_m:g} m from {_text(pose.translation)}",
            )
        hit = self._collision.first_collision(way_up)
        if hit is not None:
            return Refusal(GraspCode.IN_COLLISION, f"way up: {hit}")
        lift = path_move(
            way_up,
            self._line_speed,
            self._limits,
            self._robot.trajectory_step_s,
            goal.lift_height_m,
        )
        for name, part in (("approach", approach), ("align", align), ("lift", lift)):
            broken = "" if part is None else exceeded(part, self._limits_around(part.positions))
            if broken:
                raise UnsafeMotionError(f"{name}: {broken} is beyond its limit")
        whole = align if approach is None else approach.then(align)
        note = ""
        if goal.toward_keypoint and not yaw_is_set(goal.approach, target.line):
            note = f"{goal.toward_keypoint!r} lies along the approach: yaw chosen by the server"
        back = -np.asarray(goal.approach) * goal.approach_distance_m
        return GraspPlan(
            target=target,
            grasp=pose,
            pregrasp=Transform(pose.rotation, pose.translation + back),
            lifted=Transform(pose.rotation, pose.translation + _UP * goal.lift_height_m),
            approach=approach,
            align=align,
            lift=lift,
            tcp_path=self._tcp_path(whole),
            note=note,
        )

    def _approach(self, start: ArmState, goal: Array) -> JointTrajectory | Refusal:
        """To the start of the way in: first up when the hand is low, around home if need be."""
        if start.moving:
            return self._free_move([start.position, goal], start)
        up = self._way_up(start.position)
        above = start.position if up is None else up.end
        result = self._free_move([above, goal], ArmState.at_rest(above))
        if isinstance(result, Refusal):
            around = self._free_move([above, self._home, goal], ArmState.at_rest(above))
            result = result if isinstance(around, Refusal) else around
        if isinstance(result, Refusal) or up is None:
            return result
        return up.then(result)

    def _free_move(self, via: Sequence[Array], start: ArmState) -> JointTrajectory | Refusal:
        whole: JointTrajectory | None = None
        for first, second in itertools.pairwise(via):
            state = start if whole is None else ArmState.at_rest(first)
            move = joint_move(
                first, second, self._limits_around(np.stack([first, second])),
                self._robot.trajectory_step_s, state.velocity, state.acceleration,
            )  # fmt: skip
            ends = min(self._collision.hand_clearance(q) for q in (first, second))
            clearance = min(self._grasp.transit_clearance_m, ends - _CLEARANCE_SLACK_M)
            hit = self._collision.first_collision(_thinned(move.positions), clearance)
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
        path = self._trace(self._arm.forward(start), start, _UP, missing)
        if path is None or self._collision.first_collision(path) is not None:
            return None
        limits = self._limits_around(path)
        return path_move(path, self._line_speed, limits, self._robot.trajectory_step_s, missing)

    def _trace(
        self, pose: Transform, joints: Array, direction: Array, distance: float
    ) -> Array | None:
        """Joint positions (T, n) along a straight line without leaving the branch of ``joints``."""
        path = [joints]
        for step in straight_line(pose, direction, distance, _LINE_STEP_M)[1:]:
            solution = self._arm.solve(step, path[-1])
            if solution is None or np.abs(solution - path[-1]).max() > _MAX_JUMP_RAD:
                return None
            path.append(solution)
        return np.stack(path)

    def _limits_around(self, positions: Array) -> JointLimits:
        """The limits, widened to hold where the arm already stands, inside the margin or not."""
        stack = np.atleast_2d(positions)
        return dataclasses.replace(
            self._limits,
            lower=np.minimum(self._limits.lower, stack.min(axis=0)),
            upper=np.maximum(self._limits.upper, stack.max(axis=0)),
        )

    def _tcp_path(self, trajectory: JointTrajectory) -> Array:
        return np.array(
            [self._arm.forward(q).translation for q in _thinned(trajectory.positions, 0.1)]
        )


def _thinned(path: Array, step: float = _CHECK_STEP_RAD) -> Array:
    """The points of a path at most about ``step`` rad apart, both ends included."""
    travelled = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(path, axis=0)).max(axis=1))])
    _, keep = np.unique((travelled / step).astype(int), return_index=True)
    indices = np.unique(np.append(keep, len(path) - 1))
    thinned: Array = path[indices]
    return thinned


def _text(point: Sequence[float] | Array) -> str:
    return "(" + ", ".join(f"{value:.3f}" for value in point) + ")"
