"""Collision of arm, hand and held object with each other and the cell, on pinocchio and coal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import coal
import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.arm.hand import OPEN_HAND, Hand, Jaws
from s3k_ros.grasp.arm.kinematics import ArmModel
from s3k_ros.grasp.arm.world import Scene
from s3k_ros.grasp.jaws import joint_from_width
from s3k_ros.params.grasp import RobotParameters

Array = NDArray[np.float64]

TABLE = "the table"
_HELD = "what the hand holds"
# The shapes of the first two joints may stand in the table for good, beside an arm mounted in it.
_FIRST_TABLE_JOINT = 3
_NOTHING: frozenset[str] = frozenset()


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


@dataclasses.dataclass(frozen=True)
class Terms:
    """What a motion must keep free.

    Attributes:
        hand: the opening of the jaws, and what they hold.
        over_table_m: gap over the table.
        margin_m: gap to boxes, walls and cameras.
        support: what the held object may touch: it stood there, or will stand there.
    """

    hand: Hand = OPEN_HAND
    over_table_m: float = 0.0
    margin_m: float = 0.0
    support: frozenset[str] = _NOTHING


TOUCH_NOTHING = Terms()


class CollisionModel:
    """Collision checks for one arm in its cell. Not safe to share between threads.

    Shapes of one body and of bodies that share a joint are not checked against each other, nor are
    pairs that already overlap in the reference posture: their shapes are drawn generously there.
    That goes for base and shoulder and the table too, never for the joints beyond.

    Args:
        arm: the arm; its description brings the shapes.
        reference: (n,) rad, a posture known to be free, for instance home.
        table_height: m in the base frame.
        scene: what else stands around.
        robot: the gripper's joint and travel, so that its jaws stand as they are driven; None: as
            the description draws them.

    Raises:
        ConfigurationError: in the reference posture the arm touches something of the scene.
    """

    def __init__(
        self,
        arm: ArmModel,
        reference: Array,
        table_height: float,
        scene: Scene | None = None,
        robot: RobotParameters | None = None,
    ) -> None:
        self._arm = arm
        self._model = arm.model
        self._geometry = arm.collision_geometry()
        self._table_height = table_height
        self._robot = robot
        self._jaws = (
            None if robot is None else Jaws(arm.urdf, robot.arm_joints, robot.gripper_joint)
        )
        self._shapes = len(self._geometry.geometryObjects)
        self._names: dict[int, str] = {}
        self._held = self._add_held()
        self._table = self._add_world(TABLE, coal.Halfspace(np.array([0.0, 0.0, 1.0]), 0.0))
        self._add_scene(scene or Scene())
        self._add_pairs(reference)
        self._data = self._model.createData()
        self._geometry_data = self._geometry.createData()
        self._sort_pairs()
        self._terms = Terms()
        self._activate_held(_NOTHING, False)
        hit = self.first_collision(reference, Terms(over_table_m=-1.0))
        if hit is not None:
            raise ConfigurationError(f"scene: in the posture robot.home_rad, {hit}")

    def first_collision(self, path: Array, terms: Terms = TOUCH_NOTHING) -> Collision | None:
        """The first configuration of a path (T, n) rad that does not keep the terms."""
        self._set(terms)
        for index, joints in enumerate(np.atleast_2d(path)):
            hit = pin.computeCollisions(
                self._model, self._data, self._geometry, self._geometry_data,
                self._arm.configuration(joints), True,
            )  # fmt: skip
            if hit:
                return Collision(index, *self._touching())
        return None

    def hand_clearance(self, joints: Array, hand: Hand = OPEN_HAND) -> float:
        """Distance in m from hand and held object to the table; negative inside it."""
        self._set(Terms(hand))
        q = self._arm.configuration(joints)
        pin.updateGeometryPlacements(
            self._model, self._data, self._geometry, self._geometry_data, q
        )
        pairs = self._hand_table + ([self._held_table] if hand.held_m else [])
        return min(
            float(pin.computeDistance(self._geometry, self._geometry_data, index).min_distance)
            for index in pairs
        )

    def obstacle_clearance(self, joints: Array, hand: Hand = OPEN_HAND) -> float:
        """Distance in m from the hand to the nearest box, wall or camera; infinite without any."""
        self._set(Terms(hand))
        q = self._arm.configuration(joints)
        pin.updateGeometryPlacements(
            self._model, self._data, self._geometry, self._geometry_data, q
        )
        distances = (
            pin.computeDistance(self._geometry, self._geometry_data, index).min_distance
            for index in self._hand_around
        )
        return float(min(distances, default=np.inf))

    def support(self, joints: Array, hand: Hand, margin: float) -> frozenset[str]:
        """What the held object touches in a posture, or nearly: names of things in the cell."""
        if hand.held_m is None:
            return _NOTHING
        self._set(Terms(hand, margin_m=margin, over_table_m=margin))
        q = self._arm.configuration(joints)
        pin.computeCollisions(
            self._model, self._data, self._geometry, self._geometry_data, q, False
        )
        results = self._geometry_data.collisionResults
        return frozenset(
            name for name, index in self._held_world.items() if results[index].isCollision()
        )

    def reach(self, hand: Hand = OPEN_HAND) -> Array:
        """(n,) m: no point of the arm lies further than this from the axis of each joint."""
        shapes = list(self._geometry.geometryObjects)[: self._shapes]
        furthest = np.zeros(self._model.njoints)
        for shape in shapes:
            shape.geometry.computeLocalAABB()
            box = shape.geometry.aabb_local
            radius = float(np.linalg.norm(np.maximum(np.abs(box.min_), np.abs(box.max_))))
            distance = float(np.linalg.norm(shape.placement.translation)) + radius
            furthest[shape.parentJoint] = max(furthest[shape.parentJoint], distance)
        if hand.held_m is not None:
            held = self._geometry.geometryObjects[self._held]
            distance = float(np.linalg.norm(held.placement.translation))
            distance += float(np.linalg.norm(hand.held_m)) / 2
            furthest[-1] = max(furthest[-1], distance)
        for joint in range(self._model.njoints - 1, 1, -1):
            parent = self._model.parents[joint]
            length = float(np.linalg.norm(self._model.jointPlacements[joint].translation))
            furthest[parent] = max(furthest[parent], length + furthest[joint])
        return self._arm.ordered(furthest[1:])

    # -- set-up --------------------------------------------------------------------------------

    def _add_held(self) -> int:
        frame = self._arm.tcp_frame_id
        joint = self._model.frames[frame].parentJoint
        placement = self._model.frames[frame].placement
        held = pin.GeometryObject(_HELD, joint, frame, placement, coal.Box(0.01, 0.01, 0.01))
        return self._named(_HELD, held)

    def _add_world(self, name: str, shape: object, pose: Transform | None = None) -> int:
        in_base = pin.SE3.Identity() if pose is None else pin.SE3(pose.rotation, pose.translation)
        placement = self._arm.world_from_base * in_base
        return self._named(name, pin.GeometryObject(name, 0, 0, placement, shape))

    def _named(self, name: str, shape: pin.GeometryObject) -> int:
        index = int(self._geometry.addGeometryObject(shape))
        self._names[index] = name
        return index

    def _add_scene(self, scene: Scene) -> None:
        for box in scene.boxes:
            self._add_world(box.name, coal.Box(*box.size), box.pose)
        for wall in scene.walls:
            half = coal.Halfspace(wall.normal, float(wall.normal @ wall.point))
            self._add_world(wall.name, half)

    def _add_pairs(self, reference: Array) -> None:
        objects = list(self._geometry.geometryObjects)
        parents = list(self._model.parents)
        for i in range(self._shapes):
            for j in range(i + 1, self._shapes):
                a, b = objects[i].parentJoint, objects[j].parentJoint
                if a != b and parents[a] != b and parents[b] != a:
                    self._geometry.addCollisionPair(pin.CollisionPair(i, j))
        self._remove_touching(reference)
        world = range(self._held + 1, len(objects))
        for i in range(self._shapes):
            joint = objects[i].parentJoint
            if joint < objects[self._held].parentJoint:
                self._geometry.addCollisionPair(pin.CollisionPair(i, self._held))
            for j in world:
                if joint >= 1:
                    self._geometry.addCollisionPair(pin.CollisionPair(i, j))
        self._free_mounting(reference)
        for j in world:
            self._geometry.addCollisionPair(pin.CollisionPair(self._held, j))

    def _free_mounting(self, reference: Array) -> None:
        """Leaves out what of base and shoulder stands in the table in the reference posture."""
        in_base = pin.SE3(np.eye(3), np.array([0.0, 0.0, self._table_height]))
        table = self._geometry.geometryObjects[self._table]
        table.placement = self._arm.world_from_base * in_base
        self._remove_touching(
            reference,
            lambda pair: (
                pair.second == self._table
                and self._geometry.geometryObjects[pair.first].parentJoint < _FIRST_TABLE_JOINT
            ),
        )

    def _remove_touching(
        self, reference: Array, which: Callable[[pin.CollisionPair], bool] = lambda _: True
    ) -> None:
        data, geometry_data = self._model.createData(), self._geometry.createData()
        pin.computeCollisions(
            self._model, data, self._geometry, geometry_data,
            self._arm.configuration(reference), False,
        )  # fmt: skip
        pairs = list(self._geometry.collisionPairs)
        for pair, result in zip(pairs, geometry_data.collisionResults, strict=True):
            if result.isCollision() and which(pair):
                self._geometry.removeCollisionPair(pair)

    def _sort_pairs(self) -> None:
        last = self._model.njoints - 1
        pairs = [(pair.first, pair.second) for pair in self._geometry.collisionPairs]
        self._pairs = pairs
        objects = self._geometry.geometryObjects
        self._around = [i for i, (_, second) in enumerate(pairs) if second > self._table]
        self._held_pairs = [i for i, pair in enumerate(pairs) if self._held in pair]
        self._held_world = {
            self._names[second]: i for i, (a, second) in enumerate(pairs) if a == self._held
        }
        self._held_table = self._held_world[TABLE]
        of_hand = [
            i
            for i, (first, _) in enumerate(pairs)
            if first < self._shapes and objects[first].parentJoint == last
        ]
        self._hand_table = [i for i in of_hand if pairs[i][1] == self._table]
        self._hand_around = [i for i in of_hand if pairs[i][1] > self._table]

    # -- terms ---------------------------------------------------------------------------------

    def _set(self, terms: Terms) -> None:
        old, self._terms = self._terms, terms
        height = np.array([0.0, 0.0, self._table_height + terms.over_table_m])
        in_base = pin.SE3(np.eye(3), height)
        self._geometry.geometryObjects[self._table].placement = self._arm.world_from_base * in_base
        if terms.hand != old.hand:
            self._set_hand(terms.hand)
        if terms.hand.held_m != old.hand.held_m or terms.support != old.support:
            self._activate_held(terms.support, terms.hand.held_m is not None)
        if terms.margin_m != old.margin_m:
            for index in self._around:
                self._geometry_data.collisionRequests[index].security_margin = terms.margin_m

    def _set_hand(self, hand: Hand) -> None:
        if hand.held_m is not None:
            held = self._geometry.geometryObjects[self._held].geometry
            held.halfSide = np.array(hand.held_m, float) / 2
            held.computeLocalAABB()
        if self._jaws is None or self._robot is None:
            return
        position = 0.0 if hand.opening_m is None else joint_from_width(hand.opening_m, self._robot)
        placements = self._jaws.placements(position)
        for shape, placement in zip(self._geometry.geometryObjects, placements or [], strict=False):
            shape.placement = placement

    def _activate_held(self, support: Iterable[str], active: bool) -> None:
        free = {self._held_world[name] for name in support}
        for index in self._held_pairs:
            if active and index not in free:
                self._geometry_data.activateCollisionPair(index)
            else:
                self._geometry_data.deactivateCollisionPair(index)

    def _touching(self) -> tuple[str, str]:
        active = self._geometry_data.activeCollisionPairs
        results = self._geometry_data.collisionResults
        for index, (first, second) in enumerate(self._pairs):
            if active[index] and results[index].isCollision():
                return self._body(first), self._body(second)
        return "the arm", "something"

    def _body(self, index: int) -> str:
        if index in self._names:
            return self._names[index]
        return str(self._model.frames[self._geometry.geometryObjects[index].parentFrame].name)
