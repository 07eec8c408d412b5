"""The rig file: intrinsics, optical frames and poses of a cell's cameras, as YAML.

::

    base_frame: base
    cameras:
      front_left:
        frame: front_left_optical
        width: 640
        height: 480
        matrix: [fx, 0, cx, 0, fy, cy, 0, 0, 1]       # px
        distortion_model: plumb_bob                   # or rational_polynomial
        distortion: [k1, k2, p1, p2, k3]
        base_from_camera:                             # of the optical frame
          translation: [x, y, z]                      # m
          quaternion: [x, y, z, w]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.camera import Camera
from s3k_ros.geometry.se3 import Transform

_CAMERA_KEYS = (
    "frame",
    "width",
    "height",
    "matrix",
    "distortion_model",
    "distortion",
    "base_from_camera",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Rig:
    """The cameras of a cell.

    Attributes:
        base_frame: name of the frame that the poses are given in.
        cameras: the calibrated cameras.
        frames: name of each camera's optical frame, in the same order.
    """

    base_frame: str
    cameras: tuple[Camera, ...]
    frames: tuple[str, ...]


def load_rig(path: str | Path) -> Rig:
    """Reads a rig file.

    Raises:
        ConfigurationError: the file cannot be read, a key is missing or unknown, or a value is of
            the wrong kind; the message names file and key.
    """
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"rig file {path}: {error}") from None
    try:
        return parse_rig(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"rig file {path}: no YAML: {error}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"rig file {path}: {error}") from None


def parse_rig(values: Any) -> Rig:
    """A rig from the content of its file.

    Raises:
        ConfigurationError: as `load_rig`.
    """
    top = _section("the file", values, ("base_frame", "cameras"))
    named = top["cameras"]
    if not isinstance(named, Mapping) or not named:
        raise ConfigurationError("cameras must map names to cameras, at least one")
    sections = {name: _section(f"camera {name!r}", v, _CAMERA_KEYS) for name, v in named.items()}
    return Rig(
        base_frame=str(top["base_frame"]),
        cameras=tuple(_camera(str(name), section) for name, section in sections.items()),
        frames=tuple(str(section["frame"]) for section in sections.values()),
    )


def rig_text(cameras: Sequence[Camera], base_frame: str) -> str:
    """The rig file of these cameras; each optical frame is called ``<name>_optical``."""
    named = {camera.name: _camera_values(camera) for camera in cameras}
    values = {"base_frame": base_frame, "cameras": named}
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=100)


def _section(where: str, values: Any, keys: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise ConfigurationError(f"{where} must be a mapping with the keys {', '.join(keys)}")
    for key in keys:
        if key not in values:
            raise ConfigurationError(f"{where}: {key} is missing")
    for key in values:
        if key not in keys:
            raise ConfigurationError(f"{where}: unknown key {key!r}; valid: {', '.join(keys)}")
    return values


def _camera(name: str, section: Mapping[str, Any]) -> Camera:
    where = f"camera {name!r}: "
    pose = _section(
        where + "base_from_camera", section["base_from_camera"], ("translation", "quaternion")
    )
    translation = _numbers(where + "translation", pose["translation"], 3)
    quaternion = _numbers(where + "quaternion", pose["quaternion"], 4)
    size = _numbers(where + "width, height", [section["width"], section["height"]], 2)
    if any(side != int(side) for side in size):
        raise ConfigurationError(f"{where}width, height = {size.tolist()} must be whole numbers")
    return Camera(
        name=name,
        width=int(size[0]),
        height=int(size[1]),
        matrix=_numbers(where + "matrix", section["matrix"], 9).reshape(3, 3),
        distortion_model=str(section["distortion_model"]),
        distortion=_numbers(where + "distortion", section["distortion"]),
        base_from_camera=Transform.from_quaternion(quaternion, translation),
    )


def _numbers(where: str, values: Any, count: int | None = None) -> np.ndarray[Any, Any]:
    numbers = isinstance(values, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in values
    )
    if not numbers or (count is not None and len(values) != count):
        what = f"{count} numbers" if count is not None else "numbers"
        raise ConfigurationError(f"{where} = {values!r} must be a list of {what}")
    return np.array(values, dtype=np.float64)


def _camera_values(camera: Camera) -> dict[str, Any]:
    pose = camera.base_from_camera
    return {
        "frame": f"{camera.name}_optical",
        "width": camera.width,
        "height": camera.height,
        "matrix": camera.matrix.ravel().tolist(),
        "distortion_model": camera.distortion_model,
        "distortion": camera.distortion.tolist(),
        "base_from_camera": {
            "translation": pose.translation.tolist(),
            "quaternion": pose.quaternion.tolist(),
        },
    }
