"""Collision of the arm with itself and with the table, on pinocchio and coal."""

from __future__ import annotations

import dataclasses

import coal
import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from s3k_ros.grasp.kinematics import ArmModel

Array = NDArray[np.float64]

_TABLE = "table"
# The slab under the table's top: larger than any arm's reach, so its sides do not matter.
_SLAB_SIZE_M = (6.0, 6.0, 1.0)
# Joints that carry the base and shoulder cannot reach the table, and their shapes may stand in it.
_FIRST_TABLE_JOINT = 3


@dataclasses.dataclass(frozen=True)
class Collision:
    """Where a path first touches something.

    Attributes:
        index: index of the first bad configuration of the path.
        first, second: names of the two bodies.
    """

    index: int
    first: str
    second: str

    def __str__(self) -> str:
        return f"{self.first} would touch {self.second}"


class CollisionModel:
    """Collision checks for one arm over a table. Not safe to share between threads.

    Shapes of one body and of bodies that share a joint are not checked against each other, nor are
    pairs that already overlap in the reference posture: their shapes are drawn generously there.

    Args:
        arm: the arm; its description brings the shapes.
        reference: (n,) rad, a posture known to be free, for instance home.
        table_height: m in the base frame.
    """

    def __init__(self, arm: ArmModel, reference: Array, table_height: float) -> None:
        self._arm = arm
        self._model = arm.model
        self._geometry = arm.collision_geometry()
        self._table_height = table_height
        slab = pin.GeometryObject(_TABLE, 0, 0, pin.SE3.Identity(), coal.Box(*_SLAB_SIZE_M))
        self._table = self._geometry.addGeometryObject(slab)
        self._add_pairs(reference)
        self._data = self._model.createData()
        self._geometry_data = self._geometry.createData()

    def first_collision(self, path: Array, table_clearance: float = 0.0) -> Collision | None:
        """The first configuration of a path (T, n) rad that touches something.

        Args:
            path: joint positions in the order of the arm's joints.
            table_clearance: m that must stay free over the table.
        """
        self._place_table(table_clearance)
        for index, joints in enumerate(np.atleast_2d(path)):
            hit = pin.computeCollisions(
                self._model, self._data, self._geometry, self._geometry_data,
                self._arm.configuration(joints), True,
            )  # fmt: skip
            if hit:
                return Collision(index, *self._touching())
        return None

    def hand_clearance(self, joints: Array) -> float:
        """Distance in m from the bodies on the last joint to the table; negative inside it."""
        self._place_table(0.0)
        q = self._arm.configuration(joints)
        pin.updateGeometryPlacements(
            self._model, self._data, self._geometry, self._geometry_data, q
        )
        last = self._model.njoints - 1
        pairs = [
            index
            for index, pair in enumerate(self._geometry.collisionPairs)
            if pair.second == self._table
            and self._geometry.geometryObjects[pair.first].parentJoint == last
        ]
        return min(
            float(pin.computeDistance(self._geometry, self._geometry_data, index).min_distance)
            for index in pairs
        )

    def _add_pairs(self, reference: Array) -> None:
        objects = list(self._geometry.geometryObjects)
        parents = list(self._model.parents)
        for i, first in enumerate(objects):
            for j in range(i + 1, len(objects)):
                a, b = first.parentJoint, objects[j].parentJoint
                if j == self._table:
                    if a >= _FIRST_TABLE_JOINT:
                        self._geometry.addCollisionPair(pin.CollisionPair(i, j))
                elif a != b and parents[a] != b and parents[b] != a:
                    self._geometry.addCollisionPair(pin.CollisionPair(i, j))
        self._place_table(-1.0)
        data, geometry_data = self._model.createData(), self._geometry.createData()
        pin.computeCollisions(
            self._model, data, self._geometry, geometry_data,
            self._arm.configuration(reference), False,
        )  # fmt: skip
        pairs = list(self._geometry.collisionPairs)
        for pair, result in zip(pairs, geometry_data.collisionResults, strict=True):
            if result.isCollision():
                self._geometry.removeCollisionPair(pair)

    def _place_table(self, clearance: float) -> None:
        z = self._table_height + clearance - _SLAB_SIZE_M[2] / 2
        in_base = pin.SE3(np.eye(3), np.array([0.0, 0.0, z]))
        self._geometry.geometryObjects[self._table].placement = self._arm.world_from_base * in_base

    def _touching(self) -> tuple[str, str]:
        for pair, result in zip(
            self._geometry.collisionPairs, self._geometry_data.collisionResults, strict=True
        ):
            if result.isCollision():
                return self._body(pair.first), self._body(pair.second)
        return "the arm", "something"

    def _body(self, index: int) -> str:
        shape = self._geometry.geometryObjects[index]
        if index == self._table:
            return "the table"
        return str(self._model.frames[shape.parentFrame].name)
