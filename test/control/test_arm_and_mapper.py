from __future__ import annotations

import numpy as np
import pytest
from support.velocity_arm import HOME, URDF

from s3k_ros.control.arm import TABLE_GEOM, ControlArm
from s3k_ros.control.mapper import VelocityMapper
from s3k_ros.errors import ConfigurationError, UnsafeMotionError
from s3k_ros.grasp.arm.kinematics import ArmModel
from s3k_ros.params.admittance import AdmittanceParameters, ControlledArmParameters

pytestmark = pytest.mark.sim
JOINTS = ControlledArmParameters().arm_joints
PARAMS = AdmittanceParameters()
# Elbow and wrist stretched: smallest singular value of the Jacobian 0.002.
STRETCHED = np.array([0.0, -0.5, 0.0, 0.01, 0.0, 0.0, 0.0])


@pytest.fixture(scope="module")
def arm() -> ControlArm:
    return ControlArm(URDF.read_text(), JOINTS, table_height_m=-0.163)


@pytest.fixture(scope="module")
def mapper(arm) -> VelocityMapper:
    return VelocityMapper(arm, PARAMS, 0.01)


def test_kinematics_and_limits_are_the_descriptions(arm, mapper):
    """Against pinocchio, which the grasp server plans with."""
    reference = ArmModel(URDF.read_text(), JOINTS)
    np.testing.assert_allclose([arm.lower, arm.upper], [reference.lower, reference.upper])
    np.testing.assert_allclose(arm.velocity, reference.velocity)
    rng = np.random.default_rng(0)
    for joints in (HOME, *rng.uniform(arm.lower, arm.upper, (20, 7))):
        arm.place(joints)
        pose = reference.forward(joints)
        np.testing.assert_allclose(arm.tool_point, pose.translation, atol=1e-9)
        np.testing.assert_allclose(arm.base_from("grasp_tcp"), pose.rotation, atol=1e-9)
        rotation = np.kron(np.eye(2), pose.rotation)
        np.testing.assert_allclose(arm.jacobian, rotation @ reference.jacobian(joints), atol=1e-8)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name="right_j3"', 'name="elbow"', "lacks joint 'right_j3'"),
        ("grasp_tcp", "pads", "lacks 'grasp_tcp'"),
        (' velocity="1.328"', "", "'right_j1' has no velocity limit"),
        ("<robot", "<rob", "does not parse"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(old, new, said):
    with pytest.raises(ConfigurationError, match=said):
        ControlArm(URDF.read_text().replace(old, new), JOINTS)


def test_twists_come_true_in_the_middle_of_the_workspace(arm, mapper):
    arm.place(HOME)
    for twist in np.vstack([0.1 * np.eye(6), -0.1 * np.eye(6)]):
        found = arm.jacobian @ mapper.solve(twist, HOME)
        np.testing.assert_allclose(found, twist, atol=0.002)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_at_a_singularity_the_tool_does_not_move_elsewhere(arm, mapper, axis, sign):
    """The mapper's least squares alone go 20 mm/s downwards when sent 50 mm/s forwards."""
    arm.place(STRETCHED)
    twist = np.zeros(6)
    twist[axis] = sign * 0.05
    velocity = mapper.solve(twist)
    found = (arm.jacobian @ velocity)[:3]
    along = sign * found[axis]
    off = np.linalg.norm(np.delete(found, axis))
    assert off <= max(0.3 * along, 0.005) + 1e-9
    assert np.all(np.abs(velocity) <= mapper.velocity + 1e-9)


def test_wrist_keeps_its_distance_to_the_table_and_the_tool_may_touch(arm, mapper):
    import mujoco

    joints, lowest = HOME.copy(), np.inf
    for _ in range(400):
        arm.place(joints)
        joints = joints + 0.05 * mapper.solve(np.array([0.03, 0.0, -0.1, 0.0, 0.0, 0.0]), HOME)
        pairs = (arm.model.geom(name).id for name in arm.guarded)
        table = arm.model.geom(TABLE_GEOM).id
        gaps = [mujoco.mj_geomDistance(arm.model, arm.data, g, table, 1.0, None) for g in pairs]
        lowest = min(lowest, *gaps)
    assert lowest > PARAMS.table_clearance_m - 0.001
    assert arm.tool_point[2] < -0.163  # the wrist was what stopped it


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e12])
def test_no_velocity_comes_from_nonsense(arm, mapper, value):
    arm.place(HOME)
    with pytest.raises(UnsafeMotionError):
        mapper.solve(np.array([value, 0.0, 0.0, 0.0, 0.0, 0.0]))
