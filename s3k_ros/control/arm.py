"""The arm for velocity control: its URDF as a MuJoCo model, for dm-robotics-controllers' mapper.

MuJoCo and the mapper are imported when an arm is made, so that all else in `control` runs without.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from s3k_ros.errors import ConfigurationError

Array = NDArray[np.float64]

TABLE_GEOM = "table"
_TABLE_HALF_M = (2.0, 2.0, 0.05)


@dataclasses.dataclass(frozen=True)
class Shape:
    """One collision shape of a link: a box, or a capsule around a cylinder's axis.

    Attributes:
        link: that it is fixed to.
        position, rpy: (3,) of its centre in the link, m and rad.
        size: half lengths (3,) of a box, or radius and half length of a capsule's straight part, m.
    """

    link: str
    position: tuple[float, ...]
    rpy: tuple[float, ...]
    size: tuple[float, ...]


class ControlArm:
    """Kinematics of one arm at its present joints. Not to be shared between threads.

    Args:
        urdf: text of the robot description.
        joints: names of the arm's joints, base to hand; all others stand at zero.
        base_frame, tcp_frame, sensor_frame: links.
        table_height_m: adds a table at this height in the base frame to keep clear of; None: none.

    Attributes:
        size: number of joints.
        lower, upper: (n,) rad, position limits of the description.
        velocity: (n,) rad/s, its velocity limits.
        guarded: names of the geoms that keep clear of the table.

    Raises:
        ConfigurationError: a description that does not parse, or lacks a joint or link.
    """

    def __init__(
        self,
        urdf: str,
        joints: Sequence[str],
        *,
        base_frame: str = "base",
        tcp_frame: str = "grasp_tcp",
        sensor_frame: str = "robotiq_ft_frame_id",
        table_height_m: float | None = None,
    ) -> None:
        import mujoco

        self._mujoco = mujoco
        root = _parse(urdf)
        self.velocity = _speed_limits(root, joints)
        spec = _kinematic_spec(root)
        self.guarded: tuple[str, ...] = ()
        if table_height_m is not None:
            first, last = _chain(root, joints, sensor_frame)
            links = [link for link in _moving_links(root, joints) if link not in first | last]
            shapes = [shape for shape in _shapes(root) if shape.link in links]
            self.guarded = _add_shapes(spec, shapes)
            _add_table(spec, base_frame, table_height_m)
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self.joint_ids = [self._id(mujoco.mjtObj.mjOBJ_JOINT, name) for name in joints]
        self._qpos = self.model.jnt_qposadr[self.joint_ids]
        self._dof = self.model.jnt_dofadr[self.joint_ids]
        self.size = len(joints)
        self.lower, self.upper = self.model.jnt_range[self.joint_ids].T.copy()
        if not np.all(self.lower < self.upper):
            raise ConfigurationError("robot description: the arm's joints must have limits")
        self.tcp_frame = tcp_frame
        self._base, self._tcp, self._sensor = (
            self._id(mujoco.mjtObj.mjOBJ_BODY, name)
            for name in (base_frame, tcp_frame, sensor_frame)
        )
        self._jacobian = np.zeros((6, self.model.nv))
        self.place(np.clip(np.zeros(self.size), self.lower, self.upper))

    def place(self, joints: Array) -> None:
        """Puts the arm at joint positions (n,) rad; all else here is about this posture."""
        mujoco, data = self._mujoco, self.data
        data.qpos[self._qpos] = joints
        mujoco.mj_kinematics(self.model, data)
        mujoco.mj_comPos(self.model, data)
        mujoco.mj_jacBody(self.model, data, self._jacobian[:3], self._jacobian[3:], self._tcp)
        self.world_from_base = data.xmat[self._base].reshape(3, 3).copy()

    @property
    def joints(self) -> Array:
        """(n,) rad, the present joint positions."""
        present: Array = self.data.qpos[self._qpos]
        return present

    def base_from(self, frame: str) -> Array:
        """(3, 3) rotation of a link in the base frame.

        Raises:
            ConfigurationError: the description has no such link.
        """
        body = self._id(self._mujoco.mjtObj.mjOBJ_BODY, frame)
        rotation: Array = self.world_from_base.T @ self.data.xmat[body].reshape(3, 3)
        return rotation

    @property
    def tool_point(self) -> Array:
        """(3,) m, base frame."""
        point: Array = self.world_from_base.T @ (
            self.data.xpos[self._tcp] - self.data.xpos[self._base]
        )
        return point

    @property
    def sensor_to_tool(self) -> Array:
        """(3,) m from the sensor's origin to the tool point, base axes."""
        lever: Array = self.world_from_base.T @ (
            self.data.xpos[self._tcp] - self.data.xpos[self._sensor]
        )
        return lever

    @property
    def base_from_sensor(self) -> Array:
        """(3, 3) rotation of the sensor in the base frame."""
        rotation: Array = self.world_from_base.T @ self.data.xmat[self._sensor].reshape(3, 3)
        return rotation

    @property
    def jacobian(self) -> Array:
        """(6, n) of the tool point: linear over angular, base axes."""
        full = self._jacobian[:, self._dof]
        back = self.world_from_base.T
        return np.concatenate([back @ full[:3], back @ full[3:]])

    def has_frame(self, name: str) -> bool:
        """Whether the description has this link."""
        body = self._mujoco.mjtObj.mjOBJ_BODY
        return name != "world" and self._mujoco.mj_name2id(self.model, body, name) >= 0

    def _id(self, kind: Any, name: str) -> int:
        found = int(self._mujoco.mj_name2id(self.model, kind, name))
        if found < 0:
            raise ConfigurationError(f"robot description lacks {name!r}")
        return found


def _parse(urdf: str) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(urdf)
    except ElementTree.ParseError as error:
        raise ConfigurationError(f"robot description does not parse: {error}") from error
    if root.tag != "robot":
        raise ConfigurationError(f"robot description starts with <{root.tag}>, not <robot>")
    return root


def _kinematic_spec(root: ElementTree.Element) -> Any:
    """Links and joints alone: shapes may name meshes that are not here, masses play no part."""
    import mujoco

    bare = ElementTree.Element("robot", {"name": root.get("name", "robot")})
    for link in root.findall("link"):
        inertial = ElementTree.SubElement(
            ElementTree.SubElement(bare, "link", {"name": link.get("name", "")}), "inertial"
        )
        ElementTree.SubElement(inertial, "mass", {"value": "1"})
        tensor = {key: "1" if key[1] == key[2] else "0" for key in _TENSOR}
        ElementTree.SubElement(inertial, "inertia", tensor)
    bare.extend(root.findall("joint"))
    # Fixed links stay bodies of their own: frames are looked up among them. Geoms that touch
    # nothing, as ours, would count as looks and be dropped.
    extension = ElementTree.SubElement(bare, "mujoco")
    options = {"fusestatic": "false", "discardvisual": "false"}
    ElementTree.SubElement(extension, "compiler", options)
    try:
        return mujoco.MjSpec.from_string(ElementTree.tostring(bare, encoding="unicode"))
    except ValueError as error:
        raise ConfigurationError(f"robot description does not parse: {error}") from error


_TENSOR = ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")


def _speed_limits(root: ElementTree.Element, joints: Sequence[str]) -> Array:
    found = {joint.get("name"): joint.find("limit") for joint in root.findall("joint")}
    limits = []
    for name in joints:
        if name not in found:
            raise ConfigurationError(
                f"robot description lacks joint {name!r}; it has: {', '.join(map(str, found))}"
            )
        limit = found[name]
        speed = 0.0 if limit is None else float(limit.get("velocity", "0"))
        if not speed > 0.0:
            raise ConfigurationError(f"robot description: joint {name!r} has no velocity limit")
        limits.append(speed)
    return np.array(limits)


def _children(root: ElementTree.Element) -> dict[str, list[tuple[str, str]]]:
    """Of each link: (joint, link) of those that hang on it."""
    tree: dict[str, list[tuple[str, str]]] = {}
    for joint in root.findall("joint"):
        parent, child = joint.find("parent"), joint.find("child")
        if parent is not None and child is not None:
            entry = joint.get("name", ""), child.get("link", "")
            tree.setdefault(parent.get("link", ""), []).append(entry)
    return tree


def _below(root: ElementTree.Element, link: str) -> set[str]:
    tree, found, todo = _children(root), set[str](), [link]
    while todo:
        current = todo.pop()
        found.add(current)
        todo += [child for _, child in tree.get(current, ())]
    return found


def _moving_links(root: ElementTree.Element, joints: Sequence[str]) -> list[str]:
    edges = [edge for edges in _children(root).values() for edge in edges]
    start = next(child for joint, child in edges if joint == joints[0])
    return sorted(_below(root, start))


def _chain(
    root: ElementTree.Element, joints: Sequence[str], sensor: str
) -> tuple[set[str], set[str]]:
    """Links before the second joint, which the table cannot reach, and the tool, which may."""
    edges = {joint: child for edges in _children(root).values() for joint, child in edges}
    first = _below(root, edges[joints[0]]) - _below(root, edges[joints[1]])
    # The tool hangs on the flange beside the sensor: what is below it, and the flange's others.
    tree = _children(root)
    flange = next((p for p, c in tree.items() if sensor in [link for _, link in c]), sensor)
    return first, _below(root, flange) - {flange, sensor}


def _shapes(root: ElementTree.Element) -> list[Shape]:
    shapes = []
    for link in root.findall("link"):
        for collision in link.findall("collision"):
            size = _size(collision.find("geometry"))
            if size is None:
                continue  # meshes are elsewhere, and need not be exact here
            origin = collision.find("origin")
            place = {} if origin is None else origin.attrib
            shapes.append(
                Shape(
                    link.get("name", ""),
                    _floats(place.get("xyz", "0 0 0")),
                    _floats(place.get("rpy", "0 0 0")),
                    size,
                )
            )
    return shapes


def _size(geometry: ElementTree.Element | None) -> tuple[float, ...] | None:
    for shape in () if geometry is None else geometry:
        if shape.tag == "box":
            return tuple(0.5 * v for v in _floats(shape.get("size", "")))
        if shape.tag == "cylinder":
            return float(shape.get("radius", "0")), 0.5 * float(shape.get("length", "0"))
        if shape.tag == "sphere":
            return float(shape.get("radius", "0")), 0.0
    return None


def _floats(text: str) -> tuple[float, ...]:
    return tuple(float(word) for word in text.split())


def _add_shapes(spec: Any, shapes: Sequence[Shape]) -> tuple[str, ...]:
    import mujoco
    from scipy.spatial.transform import Rotation

    names = []
    for i, shape in enumerate(shapes):
        names.append(f"guard_{i}")
        kind = mujoco.mjtGeom.mjGEOM_BOX if len(shape.size) == 3 else mujoco.mjtGeom.mjGEOM_CAPSULE
        # A sphere is a capsule of almost no length.
        size = shape.size if len(shape.size) == 3 else (shape.size[0], max(shape.size[1], 1e-4), 0)
        x, y, z, w = Rotation.from_euler("xyz", shape.rpy).as_quat()
        spec.body(shape.link).add_geom(
            name=names[-1], type=kind, size=size, pos=shape.position, quat=(w, x, y, z),
            contype=0, conaffinity=0,
        )  # fmt: skip
    return tuple(names)


def _add_table(spec: Any, base_frame: str, height_m: float) -> None:
    import mujoco

    base = spec.body(base_frame)
    if base is None:
        raise ConfigurationError(f"robot description lacks {base_frame!r}")
    base.add_geom(
        name=TABLE_GEOM, type=mujoco.mjtGeom.mjGEOM_BOX, size=_TABLE_HALF_M,
        pos=(0.0, 0.0, height_m - _TABLE_HALF_M[2]), contype=0, conaffinity=0,
    )  # fmt: skip
