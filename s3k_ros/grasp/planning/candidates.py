"""The poses of the hand that would do for a grasp, and what speaks for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import GraspGoal, Refusal
from s3k_ros.grasp.planning.pose import grasp_point, hand_rotations, tilted, uncertain_width
from s3k_ros.params.grasp import GraspParameters, RobotParameters

Array = NDArray[np.float64]

# What speaks against a pose, in seconds of motion: a region that fills all the room between the
# jaws, and a radian of tilt.
_WIDTH_COST_S = 1.0
_TILT_COST_S = 2.0


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
class Candidate:
    """One way to stand at the grasp.

    Attributes:
        pose: ``base_from_tcp``; the hand comes along its z.
        tilt: rad against the approach that was asked for.
        cost: s of motion that it is worth to have a better one: for its tilt, and for the part of
            the opening that the keypoint's 95 % region takes.
    """

    pose: Transform
    tilt: float
    cost: float

    @property
    def approach(self) -> Array:
        """(3,) unit direction of the way in, base frame."""
        z: Array = self.pose.rotation[:, 2]
        return z


def candidates(
    goal: GraspGoal, target: Target, grasp: GraspParameters, robot: RobotParameters
) -> list[Candidate] | Refusal:
    """All poses whose opening holds the keypoint's 95 % region, in the order of ``tilts_rad``.

    A goal that asks for an approach of its own gets no other.

    Args:
        goal: resolved goal.
        target: what to grasp at.
        grasp: the tilts and margins.
        robot: the fingertips.

    Returns:
        At least one candidate, or TOO_UNCERTAIN when the region fits in none.
    """
    room = goal.opening_width_m - grasp.uncertainty_margin_m
    found, widths = [], []
    upright = hand_rotations(goal.approach, target.line)
    for tilt in _tilts(goal, grasp):
        for rotation in (r for hand in upright for r in tilted(hand, tilt)):
            width = uncertain_width(target.covariance, rotation[:, 1])
            widths.append(width)
            if width <= room:
                point = _point(goal, target, rotation[:, 2], grasp, robot)
                cost = _TILT_COST_S * abs(tilt) + _WIDTH_COST_S * width / max(room, 1e-6)
                found.append(Candidate(Transform(rotation, point), tilt, cost))
    if found:
        return found
    return Refusal(
        GraspCode.TOO_UNCERTAIN,
        f"95 % region is {1e3 * min(widths):.0f} mm wide across the jaws, "
        f"room is {1e3 * room:.0f} mm",
    )


def by_tilt(found: Sequence[Candidate]) -> list[list[Candidate]]:
    """Those without tilt, then all the others: a tilt is for where the asked approach fails."""
    groups = [
        [each for each in found if each.tilt == 0.0],
        [each for each in found if each.tilt != 0.0],
    ]
    return [group for group in groups if group]


def _tilts(goal: GraspGoal, grasp: GraspParameters) -> tuple[float, ...]:
    usual = np.array(grasp.approach) / np.linalg.norm(grasp.approach)
    if not np.allclose(goal.approach, usual, atol=1e-6):
        return (0.0,)
    return tuple(dict.fromkeys(grasp.tilts_rad or (0.0,)))


def _point(
    goal: GraspGoal,
    target: Target,
    approach: Array,
    grasp: GraspParameters,
    robot: RobotParameters,
) -> Array:
    lowest = grasp.table_height_m + grasp.finger_clearance_m + robot.fingertip_beyond_tcp_m
    past = approach * grasp.grasp_depth_m
    return grasp_point(target.position + past, goal.offset, approach, lowest)
