"""What the robot runs into: table, cameras, bin. And bodies of the cameras to run into."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import mujoco
import numpy as np
from dm_control import mjcf

from s3k_ros.geometry.camera import Camera
from s3k_ros.simulation import things

CAMERA_HALF_M = (0.02, 0.02, 0.03)
"""Half sizes of a camera with its lens, along its optical frame's axes."""
_CAMERA = "camera_"
_TABLE = "table"
_ROBOT = "sawyer/"
# Contacts nearer in time than this are one touch.
_SAME_S = 0.2


class CameraBodies:
    """Solid cameras: an attachment of the cell. Nobody sees them.

    Args:
        cameras: calibrated; the housing stands behind the pinhole.
    """

    def __init__(self, cameras: Sequence[Camera]) -> None:
        self._cameras = tuple(cameras)

    def attach(self, root: mjcf.RootElement) -> None:
        """Adds them to the cell's tree."""
        for camera in self._cameras:
            pose = camera.base_from_camera
            centre = pose.translation - pose.rotation[:, 2] * CAMERA_HALF_M[2]
            body = root.worldbody.add(
                "body", name=_CAMERA + camera.name, pos=centre,
                xyaxes=np.concatenate([pose.rotation[:, 0], pose.rotation[:, 1]]),
            )  # fmt: skip
            body.add("geom", type="box", size=CAMERA_HALF_M, group=3)

    def finish(self, spec: mujoco.MjSpec) -> None:
        """Nothing more."""


@dataclasses.dataclass(frozen=True)
class Touch:
    """The robot touched something that stands fast.

    Attributes:
        time: when it began, s.
        part: of the robot: name of the body.
        obstacle: name of the body: table, bin, camera_...
    """

    time: float
    part: str
    obstacle: str


class TouchWatch:
    """Notes the robot's contacts with what stands fast.

    Args:
        model: of the cell.

    Attributes:
        found: one for each pair of bodies and time.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        names = [model.body(int(b)).name for b in model.geom_bodyid]
        self._names = names
        self._robot = np.array([name.startswith(_ROBOT) for name in names])
        self._fixed = np.array(
            [name in (_TABLE, things.BIN) or name.startswith(_CAMERA) for name in names]
        )
        self._last: dict[tuple[str, str], float] = {}
        self.found: list[Touch] = []

    def look(self, data: mujoco.MjData) -> None:
        """Notes the contacts of this moment."""
        if not data.ncon:
            return
        pairs = data.contact.geom
        # A flex has no geom: -1, which stands for neither here.
        known = (pairs >= 0).all(axis=1) & (data.contact.dist < 0.0)
        first, second = pairs[known].T
        hits = np.concatenate([
            pairs[known][self._robot[first] & self._fixed[second]],
            pairs[known][self._robot[second] & self._fixed[first]][:, ::-1],
        ])  # fmt: skip
        for part, obstacle in {(self._names[a], self._names[b]) for a, b in hits}:
            before = self._last.get((part, obstacle), -np.inf)
            if data.time - before > _SAME_S:
                self.found.append(Touch(float(data.time), part, obstacle))
            self._last[part, obstacle] = float(data.time)
