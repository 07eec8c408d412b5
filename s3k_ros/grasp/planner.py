"""Plans a whole grasp before anything moves, and corrects it while it moves."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import GraspGoal, Refusal
from s3k_ros.grasp.hand import Hand
from s3k_ros.grasp.kinematics import ArmModel
from s3k_ros.grasp.motion import UP, ArmState, MotionPlanner, Posture, text
from s3k_ros.grasp.pose import grasp_point, hand_rotations, uncertain_width, yaw_is_set
from s3k_ros.grasp.trajectory import JointTrajectory
from s3k_ros.grasp.world import Scene
from s3k_ros.params.grasp import GraspParameters, RobotParameters

__all__ = ["ArmState", "GraspPlan", "GraspPlanner", "Target"]

Array = NDArray[np.float64]


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
        poses = self._poses(goal, target)
        if isinstance(poses, Refusal):
            return poses
        worst = self._unreachable(poses[0])
        for posture in self.motion.postures(poses, start.position):
            result = self._complete(goal, target, posture, start)
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
        poses = self._poses(goal, target)
        if isinstance(poses, Refusal):
            return poses
        here = self.motion.arm.forward(start.position).rotation
        pose = max(poses, key=lambda p: float(np.trace(here.T @ p.rotation)))
        joints = self.motion.arm.solve(pose, start.position)
        if joints is None:
            return self._unreachable(pose)
        hand = Hand(goal.opening_width_m)
        align = self.motion.redirect("corrected way in", start, joints, hand)
        if isinstance(align, Refusal):
            return align
        return self._with_lift(goal, target, Posture(pose, joints), None, align)

    # -- where ---------------------------------------------------------------------------------

    def _poses(self, goal: GraspGoal, target: Target) -> list[Transform] | Refusal:
        """Poses of the hand that serve the grasp and lie in the workspace."""
        rotations = self._rotations(goal, target)
        if isinstance(rotations, Refusal):
            return rotations
        point = self._grasp_point(goal, target)
        back = np.asarray(goal.approach) * goal.approach_distance_m
        refusal = self.motion.outside(
            {
                "grasp": point,
                "start of the way in": point - back,
                "lifted grasp": point + UP * goal.lift_height_m,
            }
        )
        return refusal or [Transform(rotation, point) for rotation in rotations]

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

    @staticmethod
    def _unreachable(pose: Transform) -> Refusal:
        message = f"no posture reaches {text(pose.translation)} from there"
        return Refusal(GraspCode.UNREACHABLE, message)

    # -- ways ----------------------------------------------------------------------------------

    def _complete(
        self, goal: GraspGoal, target: Target, posture: Posture, start: ArmState
    ) -> GraspPlan | Refusal:
        back, hand = -np.asarray(goal.approach), Hand(goal.opening_width_m)
        distance = goal.approach_distance_m
        align = self.motion.straight("way in", posture, back, distance, hand, inwards=True)
        if isinstance(align, Refusal):
            return align
        approach = self.motion.free(start, align.positions[0], hand)
        if isinstance(approach, Refusal):
            return approach
        return self._with_lift(goal, target, posture, approach, align)

    def _with_lift(
        self,
        goal: GraspGoal,
        target: Target,
        posture: Posture,
        approach: JointTrajectory | None,
        align: JointTrajectory,
    ) -> GraspPlan | Refusal:
        lift = self.motion.straight(
            "way up", posture, UP, goal.lift_height_m, Hand(goal.opening_width_m)
        )
        if isinstance(lift, Refusal):
            return lift
        parts = {"approach": approach, "align": align, "lift": lift}
        broken = self.motion.broken_limit(parts)
        if broken is not None:
            return broken
        whole = align if approach is None else approach.then(align)
        note = ""
        if goal.toward_keypoint and not yaw_is_set(goal.approach, target.line):
            note = f"{goal.toward_keypoint!r} lies along the approach: yaw chosen by the server"
        pose, back = posture.pose, -np.asarray(goal.approach) * goal.approach_distance_m
        return GraspPlan(
            target=target,
            grasp=pose,
            pregrasp=Transform(pose.rotation, pose.translation + back),
            lifted=Transform(pose.rotation, pose.translation + UP * goal.lift_height_m),
            approach=approach,
            align=align,
            lift=lift,
            tcp_path=self.motion.tcp_path(whole),
            note=note,
        )
