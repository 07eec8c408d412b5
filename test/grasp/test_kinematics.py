from __future__ import annotations

import numpy as np
import pytest
from support.kinematic_cell import URDF, sawyer

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.arm.kinematics import ArmModel
from s3k_ros.params.grasp import RobotParameters

HOME = np.array(RobotParameters().home_rad)


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1))))


@pytest.fixture(scope="module")
def composed():
    """dm-robotics-moma's arm, sensor and hand; the two offsets of the vendor's arm restored."""
    from dm_control import mjcf
    from dm_robotics.moma import robot
    from dm_robotics.moma.models.end_effectors.robot_hands import robotiq_2f85
    from dm_robotics.moma.models.end_effectors.wrist_sensors import robotiq_fts300
    from dm_robotics.moma.models.robots.robot_arms import sawyer as moma_sawyer

    arm, hand = moma_sawyer.Sawyer(), robotiq_2f85.Robotiq2F85()
    arm.mjcf_model.find("body", "l2").pos = (0, -0.14, 0.1425)
    arm.mjcf_model.find("body", "l4").pos = (0, -0.125, -0.1265)
    robot.standard_compose(arm, hand, robotiq_fts300.RobotiqFTS300())
    return mjcf.Physics.from_mjcf_model(arm.mjcf_model), arm, hand


def test_forward_kinematics_equal_the_composed_mujoco_model(composed):
    physics, arm, hand = composed
    model = sawyer(0.0)
    rng = np.random.default_rng(3)
    for joints in (np.zeros(7), HOME, *rng.uniform(model.lower, model.upper, (50, 7))):
        physics.bind(arm.joints).qpos = joints
        physics.forward()
        site = physics.bind(hand.tool_center_point)
        pose = model.forward(joints)
        assert np.abs(pose.translation - site.xpos).max() < 0.5e-3
        assert angle_deg(pose.rotation, np.reshape(site.xmat, (3, 3))) < 0.1


def test_grasp_tcp_lies_between_the_pads_with_y_along_the_closing_jaws(composed):
    physics, arm, hand = composed
    physics.bind(arm.joints).qpos = HOME
    physics.forward()
    base_from_tcp = sawyer().forward(HOME)
    pads = [
        base_from_tcp.inverse().apply(physics.bind(hand.mjcf_model.find("body", name)).xpos)
        for name in ("left_pad", "right_pad")
    ]
    between = pads[1] - pads[0]
    assert abs(between[1]) > 0.1 and np.abs(between[[0, 2]]).max() < 1e-3
    assert np.abs((pads[0] + pads[1])[:2]).max() < 1e-3  # symmetric to the TCP
    assert -0.06 < pads[0][2] < 0.0  # the pads begin behind it, z points out of the hand


def test_limits_are_those_of_the_arm():
    arm = sawyer(0.0)
    upper = [3.0503, 2.2736, 3.0426, 3.0439, 2.9761, 2.9761, 4.7124]
    velocity = [1.74, 1.328, 1.957, 1.957, 3.485, 3.485, 4.545]
    assert arm.upper.tolist() == upper
    assert arm.lower.tolist() == [-3.0503, -3.8095, -3.0426, -3.0439, -2.9761, -2.9761, -4.7124]
    assert arm.velocity.tolist() == velocity
    assert np.allclose(sawyer(0.03).upper, np.array(upper) - 0.03)


def test_jacobian_equals_finite_differences():
    arm, step = sawyer(), 1e-6
    start = arm.forward(HOME)
    numeric = np.empty((6, 7))
    for joint in range(7):
        moved = arm.forward(HOME + step * np.eye(7)[joint])
        between = start.inverse() @ moved
        numeric[:3, joint] = between.translation / step
        skew = (between.rotation - between.rotation.T) / 2
        numeric[3:, joint] = np.array([skew[2, 1], skew[0, 2], skew[1, 0]]) / step
    assert np.abs(numeric - arm.jacobian(HOME)).max() < 1e-5


def test_solve_reaches_poses_of_random_postures_within_the_limits():
    arm = sawyer()
    rng = np.random.default_rng(5)
    for joints in HOME + rng.uniform(-0.5, 0.5, (100, 7)):
        joints = np.clip(joints, arm.lower, arm.upper)
        target = arm.forward(joints)
        found = arm.solve(target, HOME)
        assert found is not None
        assert (found >= arm.lower).all() and (found <= arm.upper).all()
        reached = arm.forward(found)
        assert np.abs(reached.translation - target.translation).max() < 1e-4
        assert angle_deg(reached.rotation, target.rotation) < 0.02


def test_solve_gives_none_beyond_the_reach():
    far = Transform(sawyer().forward(HOME).rotation, np.array([1.6, 0.0, 0.0]))
    assert sawyer().solve(far, HOME) is None


def test_solutions_are_distinct():
    arm = sawyer()
    rng = np.random.default_rng(1)
    seeds = [HOME, HOME, *rng.uniform(arm.lower, arm.upper, (6, 7))]
    found = list(arm.solutions(arm.forward(HOME), seeds))
    assert 1 <= len(found) <= len(seeds) - 1
    for i, a in enumerate(found):
        assert all(np.abs(a - b).max() >= 0.05 for b in found[:i])


def test_joints_keep_the_callers_order():
    names = list(reversed(RobotParameters().arm_joints))
    arm = ArmModel.from_file(URDF, names)
    assert np.allclose(arm.forward(HOME[::-1]).matrix, sawyer().forward(HOME).matrix)
    assert np.allclose(arm.velocity[::-1], sawyer().velocity)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"joints": ("right_j0", "right_j9")}, "right_j9.*right_j0"),
        ({"tcp_frame": "tool0"}, "tool0.*grasp_tcp"),
        ({"base_frame": "world"}, "world.*base"),
    ],
)
def test_a_description_that_lacks_something_is_refused_by_name(change, says):
    options = {"joints": RobotParameters().arm_joints, **change}
    with pytest.raises(ConfigurationError, match=says):
        ArmModel.from_file(URDF, **options)


def test_a_description_that_is_no_urdf_or_no_file_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="does not parse"):
        ArmModel("<robot", RobotParameters().arm_joints)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        ArmModel.from_file(tmp_path / "none.urdf", RobotParameters().arm_joints)


def test_redundancy_draws_joints_away_from_their_limits():
    arm, rng = sawyer(), np.random.default_rng(4)
    better = 0
    for _ in range(40):
        joints = rng.uniform(arm.lower, arm.upper)
        joints[rng.integers(7)] = arm.lower[0] + 0.05
        joints = np.clip(joints, arm.lower, arm.upper)
        pose = arm.forward(joints)
        moved = arm.roomier(pose, joints, 1.0)
        assert arm.room(moved) >= arm.room(joints)
        assert np.abs(arm.forward(moved).translation - pose.translation).max() < 1e-4
        better += arm.room(moved) > arm.room(joints) + 0.05
    assert better > 20
