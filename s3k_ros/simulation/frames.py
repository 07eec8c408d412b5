"""The robot's frames, as its URDF and drivers name them (config/robots/sawyer_2f85.urdf)."""

from __future__ import annotations

import itertools

import mujoco
import numpy as np
from numpy.typing import NDArray

from s3k_ros.geometry.se3 import Transform
from s3k_ros.simulation.cell import CellModel

Array = NDArray[np.float64]

LINKS = tuple(f"right_l{i}" for i in range(7))
HAND, SENSOR = "right_hand", "robotiq_ft_frame_id"
GRIPPER, TCP = "robotiq_85_base_link", "grasp_tcp"

# The gripper's driver counts x along the closing jaws, moma's model y.
_BASE_FROM_ROS_BASE = Transform(np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]]), np.zeros(3))


class RobotFrames:
    """Transforms between the robot's frames.

    Args:
        cell: the compiled cell.
        base_frame: name of the root.

    Attributes:
        chain: (parent, child) of the seven moving links, in order of the joints.
        fixed: (parent, child, parent_from_child) of the frames that do not move on them.
    """

    def __init__(self, cell: CellModel, base_frame: str = "base") -> None:
        self.chain = tuple(zip((base_frame, *LINKS[:-1]), LINKS, strict=True))
        data = cell.make_data()
        data.qpos[cell.arm_qpos] = 0.0
        mujoco.mj_kinematics(cell.model, data)
        links = [Transform.identity(), *(_body(data, f"sawyer/l{i}") for i in range(7))]
        steps = [a.inverse() @ b for a, b in itertools.pairwise(links)]
        self._positions = np.array([step.translation for step in steps])
        self._quaternions = np.array([step.quaternion for step in steps])
        self.fixed = _fixed_frames(cell, data, links[-1])

    def links(self, joints: Array) -> tuple[Array, Array]:
        """Poses of the seven links in their parents.

        Args:
            joints: (7,) rad.

        Returns:
            Translations (7, 3), m, and unit quaternions (7, 4), x y z w.
        """
        x, y, z, w = self._quaternions.T
        s, c = np.sin(joints / 2), np.cos(joints / 2)  # every joint turns about its link's z
        turned = np.stack([x * c + y * s, y * c - x * s, z * c + w * s, w * c - z * s], axis=1)
        return self._positions, turned


def _fixed_frames(
    cell: CellModel, data: mujoco.MjData, wrist: Transform
) -> tuple[tuple[str, str, Transform], ...]:
    hand = _body(data, "sawyer/hand")
    gripper = _body(data, "sawyer/robotiq_fts300/robotiq_2f85/base") @ _BASE_FROM_ROS_BASE
    sensor, tcp = _site(data, cell.wrench_site), _site(data, cell.tcp_site)
    return (
        (LINKS[-1], HAND, wrist.inverse() @ hand),
        (HAND, SENSOR, hand.inverse() @ sensor),
        (HAND, GRIPPER, hand.inverse() @ gripper),
        (GRIPPER, TCP, gripper.inverse() @ tcp),
    )


def _body(data: mujoco.MjData, name: str) -> Transform:
    body = data.body(name)
    return Transform(body.xmat.reshape(3, 3), body.xpos)


def _site(data: mujoco.MjData, site: int) -> Transform:
    return Transform(data.site_xmat[site].reshape(3, 3), data.site_xpos[site])
