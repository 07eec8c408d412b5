from pathlib import Path

import mujoco
import numpy as np
import pytest

from s3k_ros.geometry.se3 import Transform
from s3k_ros.simulation.cell import ARM_JOINTS, build_cell
from s3k_ros.simulation.frames import GRIPPER, HAND, LINKS, SENSOR, TCP, RobotFrames

pytestmark = pytest.mark.sim


@pytest.fixture(scope="module")
def cell():
    return build_cell()


@pytest.fixture
def joints():
    return np.random.default_rng(7).uniform(-2.5, 2.2, (5, len(ARM_JOINTS)))


def base_from(frames: RobotFrames, child: str, q: np.ndarray) -> Transform:
    positions, quaternions = frames.links(q)
    parents = {
        name: (parent, Transform.from_quaternion(r, p))
        for (parent, name), p, r in zip(frames.chain, positions, quaternions, strict=True)
    }
    parents |= {name: (parent, transform) for parent, name, transform in frames.fixed}
    pose = Transform.identity()
    while child != "base":
        child, step = parents[child]
        pose = step @ pose
    return pose


def test_chained_transforms_give_the_poses_of_the_physics(cell, joints):
    frames, data = RobotFrames(cell), cell.make_data()
    for q in joints:
        data.qpos[cell.arm_qpos] = q
        mujoco.mj_kinematics(cell.model, data)
        for site, name in ((cell.tcp_site, TCP), (cell.wrench_site, SENSOR)):
            pose = base_from(frames, name, q)
            # moma's quaternions have six digits
            np.testing.assert_allclose(pose.translation, data.site_xpos[site], atol=1e-5)
            np.testing.assert_allclose(pose.rotation.ravel(), data.site_xmat[site], atol=1e-5)


def test_transforms_agree_with_the_robot_description(cell, joints):
    pin = pytest.importorskip("pinocchio")
    path = Path(__file__).parents[2] / "config" / "robots" / "sawyer_2f85.urdf"
    model = pin.buildModelFromUrdf(str(path))
    data, frames = model.createData(), RobotFrames(cell)
    for q in joints:
        full = pin.neutral(model)
        for name, value in zip(ARM_JOINTS, q, strict=True):
            full[model.joints[model.getJointId(name)].idx_q] = value
        pin.framesForwardKinematics(model, data, full)
        for name in (*LINKS, HAND, GRIPPER, SENSOR, TCP):
            pose, expected = base_from(frames, name, q), data.oMf[model.getFrameId(name)]
            np.testing.assert_allclose(pose.translation, expected.translation, atol=2e-4)
            np.testing.assert_allclose(pose.rotation, expected.rotation, atol=2e-4)
