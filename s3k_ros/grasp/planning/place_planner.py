"""Plans places before anything moves, and corrects them while they move."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.arm.hand import Hand
from s3k_ros.grasp.arm.trajectory import JointTrajectory
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import PlaceGoal, Refusal
from s3k_ros.grasp.planning.motion import ArmState, MotionPlanner, Posture, text
from s3k_ros.grasp.planning.planner import GraspPlan, Target
from s3k_ros.grasp.planning.pose import CHI2_95_3, grasp_point, hand_rotations, yaw_is_set
from s3k_ros.grasp.planning.ways_back import RetreatGoal, RetreatPlan, WayBackPlanner
from s3k_ros.params.grasp import GraspParameters, RobotParameters

Array = NDArray[np.float64]

# Yaws tried when the hand's own cannot be kept: the nearest first, over the full turn.
_YAW_STEP_RAD = np.pi / 8


@dataclasses.dataclass(frozen=True, eq=False)
class PlacePlan:
    """Everything that will move, in order.

    Attributes:
        target: what it was planned for.
        pose, above, retreated: poses of the tool centre point, ``base_from_tcp``: where the jaws
            open, before, after.
        transfer, lower, retreat: trajectories; a correction during lower has no transfer, and a
            hand that stays no retreat.
        tcp_path: (M, 3) m, way of the tool centre point, for showing.
        note: for people, for instance that the yaw could not be kept.
    """

    target: Target
    pose: Transform
    above: Transform
    retreated: Transform
    transfer: JointTrajectory | None
    lower: JointTrajectory
    retreat: JointTrajectory | None
    tcp_path: Array
    note: str = ""


Plan = GraspPlan | PlacePlan | RetreatPlan


class PlacePlanner:
    """Plans places for one arm. Not safe to share between threads.

    Args:
        motion: what its plans are made of.
        grasp, robot: parameters.

    Attributes:
        back: plans the ways back alone.
    """

    def __init__(
        self, motion: MotionPlanner, grasp: GraspParameters, robot: RobotParameters
    ) -> None:
        self._motion = motion
        self._grasp = grasp
        self._robot = robot
        self.back = WayBackPlanner(motion, grasp, robot)

    def plan(self, goal: PlaceGoal, target: Target, start: ArmState) -> PlacePlan | Refusal:
        """Plans transfer, lower and retreat from where the arm stands or moves.

        Returns:
            A plan, or UNREACHABLE, IN_COLLISION, OUTSIDE_WORKSPACE or TOO_UNCERTAIN with a reason.
        """
        poses = self._poses(goal, target, start)
        if isinstance(poses, Refusal):
            return poses
        self._motion.begin()
        worst = self._unreachable(poses[0])
        for turned, pose in enumerate(poses):
            for posture in self._motion.postures([pose], start.position):
                result = self._complete(goal, target, posture, start)
                if isinstance(result, PlacePlan):
                    kept = turned == 0 or yaw_is_set(goal.approach, target.line)
                    note = "" if kept else "the yaw could not be kept"
                    return dataclasses.replace(result, note=note)
                if result.code > worst.code or "no posture" in worst.message:
                    worst = result
        return worst

    def correct(self, goal: PlaceGoal, target: Target, start: ArmState) -> PlacePlan | Refusal:
        """Plans from a state on the way down to a target that moved a little.

        Returns:
            A plan without transfer whose lower begins at ``start``, or a refusal as from ``plan``.
        """
        poses = self._poses(goal, target, start)
        if isinstance(poses, Refusal):
            return poses
        here = self._motion.arm.forward(start.position).rotation
        pose = max(poses, key=lambda p: float(np.trace(here.T @ p.rotation)))
        joints = self._motion.arm.solve(pose, start.position)
        if joints is None:
            return self._unreachable(pose)
        lower = self._motion.redirect("corrected way down", start, joints, self._hand(goal))
        if isinstance(lower, Refusal):
            return lower
        return self._with_retreat(goal, target, Posture(pose, joints, 0.0), None, lower)

    # -- where ---------------------------------------------------------------------------------

    def _poses(self, goal: PlaceGoal, target: Target, start: ArmState) -> list[Transform] | Refusal:
        """Poses of the hand that serve the place, the best first."""
        refusal = self._too_uncertain(target)
        if refusal is not None:
            return refusal
        lowest = (
            self._grasp.table_height_m
            + self._grasp.finger_clearance_m
            + self._robot.fingertip_beyond_tcp_m
        )
        approach = np.asarray(goal.approach)
        point = grasp_point(target.position, goal.offset, approach, lowest)
        refusal = self._motion.outside(
            {
                "place": point,
                "start of the way down": point - approach * goal.approach_distance_m,
                "end of the way back": point - approach * goal.retreat_distance_m,
            }
        )
        if refusal is not None:
            return refusal
        return [Transform(rotation, point) for rotation in self._rotations(goal, target, start)]

    def _rotations(self, goal: PlaceGoal, target: Target, start: ArmState) -> Sequence[Array]:
        if goal.orientation is not None:
            return [_rotation(goal.orientation)]
        if yaw_is_set(goal.approach, target.line):
            return hand_rotations(goal.approach, target.line)
        here = self._motion.arm.forward(start.position).rotation
        return kept_yaws(goal.approach, here if goal.keep is None else _rotation(goal.keep))

    def _too_uncertain(self, target: Target) -> Refusal | None:
        widest = 2.0 * np.sqrt(CHI2_95_3 * max(np.linalg.eigvalsh(target.covariance)[-1], 0.0))
        limit = self._grasp.place_uncertainty_m
        if widest <= limit:
            return None
        return Refusal(
            GraspCode.TOO_UNCERTAIN,
            f"95 % region is {1e3 * widest:.0f} mm wide, allowed {1e3 * limit:.0f} mm",
        )

    def _hand(self, goal: PlaceGoal) -> Hand:
        x, y, z = self._grasp.held_object_m
        return Hand(goal.held_width_m, (x, y, z) if min(x, y, z) > 0.0 else None)

    @staticmethod
    def _unreachable(pose: Transform) -> Refusal:
        message = f"no posture reaches {text(pose.translation)} from there"
        return Refusal(GraspCode.UNREACHABLE, message)

    # -- ways ----------------------------------------------------------------------------------

    def _complete(
        self, goal: PlaceGoal, target: Target, posture: Posture, start: ArmState
    ) -> PlacePlan | Refusal:
        back, hand = -np.asarray(goal.approach), self._hand(goal)
        distance = goal.approach_distance_m
        lower = self._motion.straight("way down", posture, back, distance, hand, inwards=True)
        if isinstance(lower, Refusal):
            return lower
        transfer = self._motion.free(start, lower.positions[0], hand)
        if isinstance(transfer, Refusal):
            return transfer
        return self._with_retreat(goal, target, posture, transfer, lower)

    def _with_retreat(
        self,
        goal: PlaceGoal,
        target: Target,
        posture: Posture,
        transfer: JointTrajectory | None,
        lower: JointTrajectory,
    ) -> PlacePlan | Refusal:
        pose, back = posture.pose, -np.asarray(goal.approach)
        x, y, z = back.tolist()
        after = self.back.retreat(
            RetreatGoal(goal.retreat_distance_m, (x, y, z)), ArmState.at_rest(lower.end)
        )
        if isinstance(after, Refusal):
            return after
        if goal.until_contact and transfer is not None:
            lower = _slowed(lower, goal.approach_distance_m, self._grasp.touch_speed_m_s)
        parts = {"transfer": transfer, "lower": lower, "retreat": after.retreat}
        broken = self._motion.broken_limit(parts)
        if broken is not None:
            return broken
        whole = lower if transfer is None else transfer.then(lower)
        return PlacePlan(
            target=target,
            pose=pose,
            above=Transform(pose.rotation, pose.translation + back * goal.approach_distance_m),
            retreated=Transform(pose.rotation, pose.translation + back * goal.retreat_distance_m),
            transfer=transfer,
            lower=lower,
            retreat=after.retreat,
            tcp_path=self._motion.tcp_path(whole),
        )


def kept_yaws(approach: ArrayLike, rotation: Array) -> list[Array]:
    """Orientations with z along ``approach``, those that turn a hand least about it first.

    Args:
        approach: (3,) direction of motion, any length, base frame.
        rotation: (3, 3), the hand as it is.
    """
    z = np.asarray(approach, float) / np.linalg.norm(approach)
    # The axis of the hand that lies most across the approach keeps its direction.
    axis = 0 if abs(rotation[:, 1] @ z) > 0.9 else 1
    across = rotation[:, axis] - z * float(rotation[:, axis] @ z)
    across /= np.linalg.norm(across)
    y = across if axis == 1 else np.cross(z, across)
    x = np.cross(y, z)
    steps = [0, *(sign * k for k in range(1, 8) for sign in (1, -1)), 8]
    yaws = [step * _YAW_STEP_RAD for step in steps]
    turned = [np.cos(yaw) * y + np.sin(yaw) * x for yaw in yaws]
    return [np.stack([np.cross(t, z), t, z], axis=1) for t in turned]


def _slowed(trajectory: JointTrajectory, length: float, speed: float) -> JointTrajectory:
    """The same way, at most as fast as ``speed`` m/s on average: every limit holds all the more."""
    factor = max(length / speed / trajectory.duration, 1.0)
    return JointTrajectory(
        trajectory.times * factor,
        trajectory.positions,
        trajectory.velocities / factor,
        trajectory.accelerations / factor**2,
    )


def _rotation(quaternion: Sequence[float]) -> Array:
    return Transform.from_quaternion(quaternion, np.zeros(3)).rotation
