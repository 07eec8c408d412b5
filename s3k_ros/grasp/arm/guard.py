"""What every motion is held to before it may run: collision and workspace, at fine steps."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from s3k_ros.grasp.arm.collision import CollisionModel, Terms
from s3k_ros.grasp.arm.hand import OPEN_HAND, Hand
from s3k_ros.grasp.arm.kinematics import ArmModel
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import Refusal
from s3k_ros.params.grasp import GraspParameters

Array = NDArray[np.float64]

# Between two checks no point of the arm moves further than twice the margin to obstacles, so that
# nothing slips through; but not finer or coarser than this.
_FINEST_M, _COARSEST_M = 0.01, 0.04
# Moves may come this much closer to the table than the clearances of their own two ends.
_CLEARANCE_SLACK_M = 0.005
# Rounding of postures on the border of the workspace.
_BORDER_M = 1e-3


class Guard:
    """Checks of whole paths. Not safe to share between threads.

    Args:
        arm: its kinematics.
        collision: the arm in its cell.
        grasp: the workspace and the clearances.

    Attributes:
        weight: (n,) m/rad, how far a joint's turn moves any point of arm and hand at most.
        step: m that any point moves between two checks at most.
    """

    def __init__(self, arm: ArmModel, collision: CollisionModel, grasp: GraspParameters) -> None:
        self._arm, self._collision, self._grasp = arm, collision, grasp
        self._low = np.array(grasp.workspace_low_m)
        self._high = np.array(grasp.workspace_high_m)
        self.weight = collision.reach()
        self.step = float(np.clip(2 * grasp.obstacle_margin_m, _FINEST_M, _COARSEST_M))

    def problem(self, name: str, path: Array, terms: Terms) -> Refusal | None:
        """What a path (T, n) rad meets first, between its points too; None: it may run.

        An arm that stands outside the workspace may come back in, but not go further out.
        """
        fine = self.spaced(path, terms.hand)
        hit = self._collision.first_collision(fine, terms)
        if hit is not None:
            return Refusal(GraspCode.IN_COLLISION, f"{name}: {hit}")
        return self._outside(name, fine)

    def free(self, postures: Array, terms: Terms, start: Array) -> bool:
        """Whether postures (T, n) rad keep the terms and the workspace, each for itself."""
        if self._collision.first_collision(postures, terms) is not None:
            return False
        return bool((self._excess(postures) <= self._excess(start[None])[0] + _BORDER_M).all())

    def transit(self, start: Array, goal: Array, hand: Hand) -> Terms | Refusal:
        """The terms of a move between two postures (n,) rad: generous where both ends allow it.

        Returns:
            The terms, or IN_COLLISION when an end touches something.
        """
        for name, joints in (("where the arm stands", start), ("start of the way in", goal)):
            hit = self._collision.first_collision(joints, Terms(hand))
            if hit is not None:
                return Refusal(GraspCode.IN_COLLISION, f"{name}: {hit}")
        ends = min(self._collision.hand_clearance(q, hand) for q in (start, goal))
        over = min(self._grasp.transit_clearance_m, ends - _CLEARANCE_SLACK_M)
        wide = Terms(hand, over, self._grasp.obstacle_margin_m)
        if self._collision.first_collision(np.stack([start, goal]), wide) is None:
            return wide
        return dataclasses.replace(wide, margin_m=0.0)

    def wider(self, terms: Terms, *ends: Array) -> Terms:
        """More room than a move needs, for the search of its way: what lies between two checks of
        that keeps the terms themselves. As they are where an end (n,) rad does not allow it.
        """
        wide = dataclasses.replace(terms, margin_m=terms.margin_m + self.step / 2)
        touching = self._collision.first_collision(np.stack(ends), wide)
        return wide if touching is None else terms

    def straight(self, joints: Array, hand: Hand, *, leaving: bool = False) -> Terms:
        """The terms of a straight way from or to a posture (n,) rad, close to things on purpose.

        An arm that leaves may stand closer to obstacles than the margin; it must not touch them.
        """
        margin = self._grasp.obstacle_margin_m
        terms = Terms(hand, 0.0, margin, self._collision.support(joints, hand, margin))
        if leaving and self._collision.first_collision(joints, terms) is not None:
            return dataclasses.replace(terms, margin_m=0.0)
        return terms

    def missing_height(self, joints: Array, hand: Hand) -> float:
        """How much higher, in m, the hand should stand before it goes anywhere; 0: high enough."""
        clearance = self._collision.hand_clearance(joints, hand)
        missing = self._grasp.transit_clearance_m - clearance
        return missing if missing > _CLEARANCE_SLACK_M else 0.0

    def spaced(self, path: Array, hand: Hand = OPEN_HAND) -> Array:
        """Points of a path so close that nothing moves by more than ``step`` between two."""
        weight = self.weight if hand.held_m is None else self._collision.reach(hand)
        lengths = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(path, axis=0)) @ weight)])
        count = max(2, int(np.ceil(lengths[-1] / self.step)) + 1)
        along = np.linspace(0.0, lengths[-1], count)
        return np.stack([np.interp(along, lengths, joint) for joint in path.T], axis=1)

    def _outside(self, name: str, path: Array) -> Refusal | None:
        excess = self._excess(path)
        worst = int(np.argmax(excess))
        if excess[worst] <= max(excess[0], 0.0) + _BORDER_M:
            return None
        point = self._arm.position(path[worst])
        return Refusal(
            GraspCode.OUTSIDE_WORKSPACE,
            f"{name}: the hand would leave the workspace by {1e3 * excess[worst]:.0f} mm, at "
            f"({point[0]:.3f}, {point[1]:.3f}, {point[2]:.3f})",
        )

    def _excess(self, path: Array) -> Array:
        """(T,) m that the tool centre point stands outside the workspace; 0 or less: inside."""
        points = np.array([self._arm.position(joints) for joints in path])
        beyond: Array = np.maximum(self._low - points, points - self._high).max(axis=1)
        return np.maximum(beyond, 0.0)
