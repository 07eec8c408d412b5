"""Which of the many postures that reach a pose the arm takes."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.arm.collision import CollisionModel
from s3k_ros.grasp.arm.hand import OPEN_HAND, Hand
from s3k_ros.grasp.arm.kinematics import ArmModel

Array = NDArray[np.float64]

# Seeds besides the current and the home posture; drawn once, so that plans are reproducible.
_EXTRA_SEEDS = 6
# Room that a posture should have. What lacks all of it costs as much as a second of motion.
_LIMIT_ROOM_RAD = 0.5
_OBSTACLE_ROOM_M = 0.05
# Singular values of this many times the refused one are good.
_SINGULARITY_ROOM = 3.0


@dataclasses.dataclass(frozen=True, eq=False)
class Posture:
    """One way to stand at a pose: ``base_from_tcp``, (n,) rad, and its cost in seconds."""

    pose: Transform
    joints: Array
    cost: float = 0.0


class PostureSearch:
    """Inverse kinematics from several seeds, ranked.

    Args:
        arm: kinematics with the margin on its limits.
        collision: the arm in its cell.
        home: (n,) rad, the seed in the middle of the workspace.
        singularity_margin: least singular value that straight ways may have.
    """

    def __init__(
        self, arm: ArmModel, collision: CollisionModel, home: Array, singularity_margin: float
    ) -> None:
        self._arm, self._collision, self._home = arm, collision, home
        self._margin = singularity_margin
        rng = np.random.default_rng(0)
        self._seeds = [
            np.clip(home + rng.normal(0.0, 0.7, arm.size), arm.lower, arm.upper)
            for _ in range(_EXTRA_SEEDS)
        ]

    def postures(
        self,
        poses: Sequence[Transform],
        start: Array,
        hand: Hand = OPEN_HAND,
        costs: Sequence[float] | None = None,
        until: float = math.inf,
    ) -> Iterator[Posture]:
        """Postures at any of some poses, the best first; those of harder seeds when asked on.

        Args:
            poses: ``base_from_tcp``.
            start: (n,) rad, where the arm comes from.
            hand: what it is like there.
            costs: s, what speaks against each pose itself; None: nothing.
            until: s of ``time.monotonic``, when the search ends with what it has found.
        """
        own = [0.0] * len(poses) if costs is None else costs
        for seeds in ([start, self._home], self._seeds):
            found = [
                Posture(pose, joints, more + self.cost(joints, start, hand))
                for pose, more in zip(poses, own, strict=True)
                if time.monotonic() < until
                for joints in self._roomy(pose, seeds)
            ]
            yield from sorted(found, key=lambda posture: posture.cost)

    def _roomy(self, pose: Transform, seeds: Sequence[Array]) -> Iterator[Array]:
        """Solutions for a pose; those near a joint limit also with more room, if there is some."""
        for joints in self._arm.solutions(pose, seeds):
            yield joints
            if self._arm.room(joints) < _LIMIT_ROOM_RAD:
                roomier = self._arm.roomier(pose, joints, 2 * _LIMIT_ROOM_RAD)
                if roomier is not joints:
                    yield roomier

    def cost(self, joints: Array, start: Array, hand: Hand = OPEN_HAND) -> float:
        """Seconds of motion from ``start``, and up to one more for each kind of room it lacks."""
        travel = float((np.abs(joints - start) / self._arm.velocity).max())
        rooms = [
            (self._arm.room(joints), _LIMIT_ROOM_RAD),
            (self._arm.singularity(joints), _SINGULARITY_ROOM * self._margin),
            (self._collision.obstacle_clearance(joints, hand), _OBSTACLE_ROOM_M),
        ]
        lacking = [1.0 - min(room / good, 1.0) for room, good in rooms if good > 0.0]
        return travel + sum(max(lack, 0.0) for lack in lacking)
