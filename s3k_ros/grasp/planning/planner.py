"""Plans a whole grasp before anything moves, and corrects it while it moves."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.arm.hand import Hand
from s3k_ros.grasp.arm.kinematics import ArmModel
from s3k_ros.grasp.arm.trajectory import JointTrajectory
from s3k_ros.grasp.arm.world import Scene
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import GraspGoal, Refusal
from s3k_ros.grasp.planning.candidates import Candidate, Target, by_tilt, candidates
from s3k_ros.grasp.planning.motion import UP, ArmState, MotionPlanner, Posture, text
from s3k_ros.grasp.planning.pose import yaw_is_set
from s3k_ros.params.grasp import GraspParameters, RobotParameters

__all__ = ["ArmState", "GraspPlan", "GraspPlanner", "Target"]

Array = NDArray[np.float64]

# Of the postures to which only the way is blocked, so many are tried with a way around.
_AROUND_TRIES = 3


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

    @property
    def pose(self) -> Transform:
        """``base_from_tcp`` where the jaws close."""
        return self.grasp


@dataclasses.dataclass(frozen=True, eq=False)
class _Stand:
    """A posture at the grasp whose straight ways are free."""

    posture: Posture
    align: JointTrajectory
    lift: JointTrajectory


class GraspPlanner:
    """Plans grasps for one arm. Not safe to share between threads.

    Args:
        arm: kinematics with the margin on its limits.
        grasp, robot: parameters.
        scene: what stands around besides the table.

    Attributes:
        motion: what its plans are made of; places use it too.
    """

    def __init__(
        self,
        arm: ArmModel,
        grasp: GraspParameters,
        robot: RobotParameters,
        scene: Scene | None = None,
    ) -> None:
        self._grasp = grasp
        self._robot = robot
        self.motion = MotionPlanner(arm, grasp, robot, scene)

    def plan(self, goal: GraspGoal, target: Target, start: ArmState) -> GraspPlan | Refusal:
        """Plans approach, align and lift from where the arm stands.

        Args:
            goal: resolved goal.
            target: what to grasp at.
            start: commanded state, at rest or on the way (then the way up is left out).

        Returns:
            A plan, or UNREACHABLE, IN_COLLISION, OUTSIDE_WORKSPACE or TOO_UNCERTAIN with a reason.
        """
        found = candidates(goal, target, self._grasp, self._robot)
        if isinstance(found, Refusal):
            return found
        self.motion.begin()
        first: Refusal | None = None
        for group in by_tilt(found):
            result = self._best(goal, target, group, start)
            if isinstance(result, GraspPlan):
                return result
            first = first or result
        return first or self._unreachable(found[0].pose)

    def correct(self, goal: GraspGoal, target: Target, start: ArmState) -> GraspPlan | Refusal:
        """Plans from a state on the straight way in to a target that moved a little.

        Returns:
            A plan without approach whose align begins at ``start``, or a refusal as from ``plan``.
        """
        found = candidates(goal, target, self._grasp, self._robot)
        if isinstance(found, Refusal):
            return found
        here = self.motion.arm.forward(start.position).rotation
        nearest = max(found, key=lambda c: float(np.trace(here.T @ c.pose.rotation)))
        outside = self._outside(goal, nearest)
        if outside is not None:
            return outside
        joints = self.motion.arm.solve(nearest.pose, start.position)
        if joints is None:
            return self._unreachable(nearest.pose)
        posture = Posture(nearest.pose, joints)
        align = self.motion.redirect("corrected way in", start, joints, self._open(goal))
        if isinstance(align, Refusal):
            return align
        lift = self._lift(goal, posture)
        if isinstance(lift, Refusal):
            return lift
        return self._whole(goal, target, _Stand(posture, align, lift), None)

    # -- where ---------------------------------------------------------------------------------

    def _outside(self, goal: GraspGoal, candidate: Candidate) -> Refusal | None:
        point = candidate.pose.translation
        return self.motion.outside(
            {
                "grasp": point,
                "start of the way in": point - candidate.approach * goal.approach_distance_m,
                "lifted grasp": point + UP * goal.lift_height_m,
            }
        )

    def _best(
        self,
        goal: GraspGoal,
        target: Target,
        group: Sequence[Candidate],
        start: ArmState,
    ) -> GraspPlan | Refusal:
        """The best of some candidates that can be reached, or why the most hopeful one cannot."""
        outside = [self._outside(goal, candidate) for candidate in group]
        inside = [each for each, out in zip(group, outside, strict=True) if out is None]
        refusals = [out for out in outside if out is not None][:1]
        poses, costs = [each.pose for each in inside], [each.cost for each in inside]
        blocked: list[_Stand] = []
        hand = self._open(goal)
        for posture in self.motion.postures(poses, start.position, hand, costs):
            if self.motion.late:
                break
            stand = self._stand(goal, posture)
            if isinstance(stand, Refusal):
                refusals.append(stand)
                continue
            result = self._reach(goal, target, stand, start, around=False)
            if isinstance(result, GraspPlan):
                return result
            refusals.append(result)
            blocked.append(stand)
        for stand in blocked[:_AROUND_TRIES]:
            result = self._reach(goal, target, stand, start, around=True)
            if isinstance(result, GraspPlan):
                return result
            refusals.append(result)
        unreachable = self._unreachable(group[0].pose)
        return max(refusals, key=lambda refusal: refusal.code, default=unreachable)

    # -- ways ----------------------------------------------------------------------------------

    def _stand(self, goal: GraspGoal, posture: Posture) -> _Stand | Refusal:
        """The straight ways in and up, and the jaws closing between them."""
        hand, closed = self._open(goal), Hand(0.0)
        for name, how in (("grasp", hand), ("closing jaws", closed)):
            touching = self.motion.touches(name, posture.joints, how)
            if touching is not None:
                return touching
        back, distance = -posture.pose.rotation[:, 2], goal.approach_distance_m
        align = self.motion.straight("way in", posture, back, distance, hand, inwards=True)
        if isinstance(align, Refusal):
            return align
        lift = self._lift(goal, posture)
        return lift if isinstance(lift, Refusal) else _Stand(posture, align, lift)

    def _lift(self, goal: GraspGoal, posture: Posture) -> JointTrajectory | Refusal:
        held = dataclasses.replace(self._open(goal), held_m=self.held_m)
        return self.motion.straight("way up", posture, UP, goal.lift_height_m, held)

    def _reach(
        self, goal: GraspGoal, target: Target, stand: _Stand, start: ArmState, *, around: bool
    ) -> GraspPlan | Refusal:
        goal_joints = stand.align.positions[0]
        approach = self.motion.free(start, goal_joints, self._open(goal), around)
        if isinstance(approach, Refusal):
            return approach
        return self._whole(goal, target, stand, approach)

    def _whole(
        self, goal: GraspGoal, target: Target, stand: _Stand, approach: JointTrajectory | None
    ) -> GraspPlan | Refusal:
        pose, align = stand.posture.pose, stand.align
        broken = self.motion.broken_limit(
            {"approach": approach, "align": align, "lift": stand.lift}
        )
        if broken is not None:
            return broken
        back = -pose.rotation[:, 2] * goal.approach_distance_m
        return GraspPlan(
            target=target,
            grasp=pose,
            pregrasp=Transform(pose.rotation, pose.translation + back),
            lifted=Transform(pose.rotation, pose.translation + UP * goal.lift_height_m),
            approach=approach,
            align=align,
            lift=stand.lift,
            tcp_path=self.motion.tcp_path(align if approach is None else approach.then(align)),
            note=_note(goal, target, pose),
        )

    @property
    def held_m(self) -> tuple[float, float, float] | None:
        """Sides of the box around what the jaws hold; None when the parameter leaves it out."""
        x, y, z = self._grasp.held_object_m
        return (x, y, z) if min(x, y, z) > 0.0 else None

    @staticmethod
    def _open(goal: GraspGoal) -> Hand:
        return Hand(goal.opening_width_m)

    @staticmethod
    def _unreachable(pose: Transform) -> Refusal:
        message = f"no posture reaches {text(pose.translation)} from there"
        return Refusal(GraspCode.UNREACHABLE, message)


def _note(goal: GraspGoal, target: Target, pose: Transform) -> str:
    notes = []
    if goal.toward_keypoint and not yaw_is_set(goal.approach, target.line):
        notes.append(f"{goal.toward_keypoint!r} lies along the approach: yaw chosen by the server")
    tilt = math.acos(float(np.clip(np.dot(goal.approach, pose.rotation[:, 2]), -1.0, 1.0)))
    if tilt > 1e-3:
        notes.append(f"approach tilted by {math.degrees(tilt):.0f} degrees")
    return "; ".join(notes)
