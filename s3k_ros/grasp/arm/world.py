"""What stands around the robot: the scene file, boxes, walls and the cameras' bodies, as YAML.

::

    base_frame: base
    boxes:                             # may be left out, as each part
      pedestal_cabinet:
        size_m: [0.4, 0.3, 0.5]        # sides
        position_m: [0.2, -0.9, -0.4]  # of its middle, base frame
        quaternion: [0, 0, 0, 1]       # x y z w of base_from_box; left out: along the base's axes
    walls:
      behind:
        point_m: [-0.9, 0, 0]          # any point of its surface
        normal: [1, 0, 0]              # out of the wall into the room, any length
    cameras:
      rig: rig.yaml                    # a rig file, beside this one or by its full path
      size_m: [0.06, 0.06, 0.08]       # each camera's body, along its optical axes
      front_m: 0.02                    # how far it reaches beyond the optical centre

The table is not here: its height is the parameter ``grasp.table_height_m``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import yaml
from numpy.typing import NDArray

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.camera import Camera
from s3k_ros.geometry.se3 import Transform

Array = NDArray[np.float64]


class Rig(Protocol):
    """What a rig file says (`calibration.rig_file.Rig`, which this layer does not know)."""

    @property
    def base_frame(self) -> str:
        """The frame of the cameras' poses."""

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """The cameras."""


ReadRig = Callable[[Path], Rig]

# A number beyond this is a slip of the pen: the arm reaches 1.3 m.
_FAR_M = 20.0


@dataclasses.dataclass(frozen=True, eq=False)
class Box:
    """A box: its name, its sides (3,) m, and ``base_from_box`` of its middle."""

    name: str
    size: Array
    pose: Transform


@dataclasses.dataclass(frozen=True, eq=False)
class Wall:
    """A solid half-space: its name, a point (3,) m of its surface, and its unit normal (3,)."""

    name: str
    point: Array
    normal: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """Everything around the robot, in its base frame, besides the table."""

    boxes: tuple[Box, ...] = ()
    walls: tuple[Wall, ...] = ()


def box(name: str, size: Sequence[float], position: Sequence[float]) -> Box:
    """A box along the axes of the base frame: sides and middle, (3,) m each."""
    return Box(name, np.array(size, float), Transform(np.eye(3), np.array(position, float)))


def load_scene(path: str | Path, base_frame: str, read_rig: ReadRig) -> Scene:
    """Reads a scene file.

    Args:
        path: the file.
        base_frame: the frame that the robot works in; the file must name the same.
        read_rig: reads the rig file that the scene file names (`calibration.rig_file.load_rig`).

    Raises:
        ConfigurationError: the file cannot be read, a key is missing or unknown, or a value is
            wrong; the message names file and entry.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        return parse_scene(values, base_frame, lambda name: read_rig(path.parent / name))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"scene file {path}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"scene file {path}: no YAML: {error}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"scene file {path}: {error}") from None


def parse_scene(values: Any, base_frame: str, read_rig: ReadRig) -> Scene:
    """A scene from the content of its file; ``read_rig`` knows where rig files are.

    Raises:
        ConfigurationError: as `load_scene`.
    """
    top = _section("the file", values, ("base_frame",), ("boxes", "walls", "cameras"))
    if top["base_frame"] != base_frame:
        raise ConfigurationError(
            f"base_frame = {top['base_frame']!r} must be the robot's base frame {base_frame!r}"
        )
    boxes = [_box(name, entry) for name, entry in _entries("boxes", top)]
    walls = [_wall(name, entry) for name, entry in _entries("walls", top)]
    if top.get("cameras") is not None:
        boxes += _cameras(top["cameras"], base_frame, read_rig)
    names = [each.name for each in boxes] + [each.name for each in walls]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"the name {name!r} stands twice")
    return Scene(tuple(boxes), tuple(walls))


def _box(name: str, entry: Any) -> Box:
    where = f"box {name!r}"
    section = _section(where, entry, ("size_m", "position_m"), ("quaternion",))
    quaternion = _numbers(f"{where}: quaternion", section.get("quaternion", [0, 0, 0, 1]), 4)
    if not 0.99 < np.linalg.norm(quaternion) < 1.01:
        raise ConfigurationError(f"{where}: quaternion = {quaternion.tolist()} must have length 1")
    position = _numbers(f"{where}: position_m", section["position_m"], 3)
    return Box(
        name,
        _size(f"{where}: size_m", section["size_m"]),
        Transform.from_quaternion(quaternion / np.linalg.norm(quaternion), position),
    )


def _wall(name: str, entry: Any) -> Wall:
    where = f"wall {name!r}"
    section = _section(where, entry, ("point_m", "normal"))
    normal = _numbers(f"{where}: normal", section["normal"], 3)
    if np.linalg.norm(normal) < 1e-6:
        raise ConfigurationError(f"{where}: normal must not be the zero vector")
    point = _numbers(f"{where}: point_m", section["point_m"], 3)
    return Wall(name, point, normal / np.linalg.norm(normal))


def _cameras(entry: Any, base_frame: str, read_rig: ReadRig) -> list[Box]:
    section = _section("cameras", entry, ("rig", "size_m"), ("front_m",))
    size = _size("cameras: size_m", section["size_m"])
    front = float(_numbers("cameras: front_m", [section.get("front_m", 0.0)], 1)[0])
    if not isinstance(section["rig"], str):
        raise ConfigurationError(f"cameras: rig = {section['rig']!r} must be a file's name")
    rig = read_rig(Path(section["rig"]))
    if rig.base_frame != base_frame:
        raise ConfigurationError(f"cameras: the rig's base frame is {rig.base_frame!r}")
    # The body lies behind its front, and the optical frame looks along +z.
    body = Transform(np.eye(3), np.array([0.0, 0.0, front - size[2] / 2]))
    return [
        Box(f"camera {camera.name}", size, camera.base_from_camera @ body) for camera in rig.cameras
    ]


def _entries(key: str, top: Mapping[str, Any]) -> list[tuple[str, Any]]:
    entries = top.get(key)
    if entries is None:
        return []
    if not isinstance(entries, Mapping):
        raise ConfigurationError(f"{key} must map names to entries")
    return [(str(name), entry) for name, entry in entries.items()]


def _section(
    where: str, values: Any, keys: Sequence[str], optional: Sequence[str] = ()
) -> Mapping[str, Any]:
    valid = ", ".join((*keys, *optional))
    if not isinstance(values, Mapping):
        raise ConfigurationError(f"{where} must be a mapping with the keys {valid}")
    for key in keys:
        if key not in values:
            raise ConfigurationError(f"{where}: {key} is missing")
    for key in values:
        if key not in keys and key not in optional:
            raise ConfigurationError(f"{where}: unknown key {key!r}; valid: {valid}")
    return values


def _size(where: str, values: Any) -> Array:
    size = _numbers(where, values, 3)
    if (size <= 0.0).any():
        raise ConfigurationError(f"{where} = {size.tolist()} must be above zero")
    return size


def _numbers(where: str, values: Any, count: int) -> Array:
    good = isinstance(values, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in values
    )
    if not good or len(values) != count:
        raise ConfigurationError(f"{where} = {values!r} must be a list of {count} numbers")
    numbers = np.array(values, dtype=np.float64)
    if not np.isfinite(numbers).all() or np.abs(numbers).max() > _FAR_M:
        raise ConfigurationError(
            f"{where} = {values!r} must be finite and at most {_FAR_M:g} in size"
        )
    return numbers
