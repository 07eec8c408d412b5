"""MoveIt as the planner of free space, over its real service. Stood in for: move_group."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from moveit_msgs.msg import MoveItErrorCodes

from s3k_ros.grasp.arm.kinematics import ArmModel
from s3k_ros.grasp.arm.world import Scene, box
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import Refusal
from s3k_ros.grasp.planning.motion import ArmState, MotionPlanner
from s3k_ros.params.grasp import GraspParameters, RobotParameters
from s3k_ros.params.moveit import MoveItParameters

pytestmark = pytest.mark.ros

ROBOT = RobotParameters()
HOME = np.array([-0.5, -0.8, 0.0, 1.6, 0.0, 0.77, 1.745])
SIDE = HOME + np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
# Between the two, where the hand would pass.
PILLAR = Scene(boxes=(box("pillar", (0.06, 0.06, 0.14), (0.639, 0.16, -0.09)),))


@pytest.fixture(scope="module")
def move_group(module_domain):
    from support.fake_move_group import FakeMoveGroup

    fake = FakeMoveGroup(module_domain, ROBOT.arm_joints)
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def module_ways(ros):
    """The client, with its node spinning as the grasp server's does while a thread plans."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from s3k_ros.ros.moveit import MoveItWays

    node = rclpy.create_node("asks_moveit", context=ros.context)
    ways = MoveItWays(node, MoveItParameters(answer_margin_s=0.3), ROBOT.arm_joints)
    executor = SingleThreadedExecutor(context=ros.context)
    executor.add_node(node)
    running = threading.Event()
    running.set()

    def spin() -> None:
        while running.is_set():
            executor.spin_once(timeout_sec=0.05)

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    yield ways
    running.clear()
    thread.join(5.0)
    executor.shutdown()
    node.destroy_node()


@pytest.fixture
def ways(ros, module_ways, move_group):
    ros.spin_until(module_ways.available, what="the service")
    move_group.reset()
    move_group.requests.clear()
    module_ways.time_s = 5.0
    return module_ways


@pytest.fixture(scope="module")
def arm():
    from ament_index_python.packages import get_package_share_directory

    import s3k_ros

    assert s3k_ros
    urdf = Path(get_package_share_directory("s3k_ros")) / "config/robots/sawyer_2f85.urdf"
    return ArmModel.from_file(
        urdf, ROBOT.arm_joints, base_frame=ROBOT.base_frame, tcp_frame=ROBOT.tcp_frame,
        limit_margin=ROBOT.limit_margin_rad,
    )  # fmt: skip


def around(start, goal):
    """Over the pillar: the shoulder lifts, turns, and comes down."""
    lifted = np.array([0.0, -0.5, 0.0, 0.0, 0.0, 0.0, 0.0])
    return np.stack([start, start + lifted, goal + lifted, goal])


def planner(arm, ways):
    room = GraspParameters(workspace_low_m=(-1.3, -1.3, -0.2), workspace_high_m=(1.3, 1.3, 1.8))
    return MotionPlanner(arm, room, ROBOT, PILLAR, ways)


def test_moveits_way_is_timed_under_our_limits_and_checked_in_our_world(arm, ways, move_group):
    motion = planner(arm, ways)
    direct = motion.free(ArmState.at_rest(HOME), SIDE, around=False)
    assert isinstance(direct, Refusal) and "pillar" in direct.message
    move_group.plan = around
    found = motion.free(ArmState.at_rest(HOME), SIDE)
    assert not isinstance(found, Refusal), found
    assert np.allclose(found.positions[0], HOME) and np.allclose(found.end, SIDE)
    assert (np.abs(found.velocities) <= motion.limits.velocity * 1.02).all()
    assert found.positions[:, 1].min() < HOME[1] - 0.3  # it went MoveIt's way


def test_the_request_is_what_move_group_takes(ways, move_group):
    ways.path(HOME, SIDE, None, lambda path: True)
    [request] = move_group.requests
    asked = request.motion_plan_request
    assert asked.group_name == "right_arm" and asked.allowed_planning_time == 5.0
    assert asked.start_state.is_diff  # the jaws and what is attached: as MoveIt knows it
    assert list(asked.start_state.joint_state.position) == pytest.approx(HOME.tolist())
    assert len(asked.goal_constraints[0].joint_constraints) == 7


def test_a_way_of_moveit_that_hits_our_world_is_refused(arm, ways, move_group):
    """Its planning scene lacks the pillar."""
    found = planner(arm, ways).free(ArmState.at_rest(HOME), SIDE)
    assert isinstance(found, Refusal) and found.code == GraspCode.IN_COLLISION
    assert "pillar" in found.message and len(move_group.requests) == 1


@pytest.mark.parametrize(
    ("code", "expected", "says"),
    [
        (MoveItErrorCodes.PLANNING_FAILED, GraspCode.IN_COLLISION, "PLANNING_FAILED"),
        (MoveItErrorCodes.GOAL_IN_COLLISION, GraspCode.IN_COLLISION, "GOAL_IN_COLLISION"),
        (MoveItErrorCodes.INVALID_GROUP_NAME, GraspCode.ROBOT_NOT_READY, "INVALID_GROUP_NAME"),
        (-4711, GraspCode.ROBOT_NOT_READY, "-4711"),
    ],
)
def test_moveits_refusals_keep_their_names(ways, move_group, code, expected, says):
    move_group.plan = lambda start, goal: code
    found = ways.path(HOME, SIDE, None, lambda path: True)
    assert found.code == expected and says in found.message and "test wants" in found.message


def trajectory_of(response):
    return response.motion_plan_response.trajectory.joint_trajectory


def lacks_a_joint(response):
    trajectory_of(response).joint_names[-1] = "other"


def is_empty(response):
    trajectory_of(response).points.clear()


def is_not_finite(response):
    trajectory_of(response).points[2].positions[3] = float("nan")


def begins_elsewhere(response):
    trajectory_of(response).points[0].positions[-1] += 0.2


def is_ragged(response):
    trajectory_of(response).points[1].positions = [0.0]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lacks_a_joint, "lacks joint right_j0"),
        (is_empty, "0 postures"),
        (is_not_finite, "not finite"),
        (begins_elsewhere, "begins 0.200 rad"),
        (is_ragged, "do not fit"),
    ],
)
def test_an_unusable_answer_is_refused(ways, move_group, spoil, says):
    move_group.spoil = spoil
    found = ways.path(HOME, SIDE, None, lambda path: True)
    assert found.code == GraspCode.UNREACHABLE and says in found.message


def test_moveit_that_is_late_or_not_there_is_named(ways, move_group, ros):
    ways.time_s = 0.05
    move_group.held.clear()
    late = ways.path(HOME, SIDE, None, lambda path: True)
    move_group.held.set()
    assert late.code == GraspCode.ROBOT_NOT_READY and "did not answer" in late.message
    from s3k_ros.ros.moveit import MoveItWays

    nobody = MoveItWays(ros.node, MoveItParameters(service="nobody"), ROBOT.arm_joints)
    missing = nobody.path(HOME, SIDE, None, lambda path: True)
    assert missing.code == GraspCode.ROBOT_NOT_READY and "nobody" in missing.message


def test_corners_keep_a_way_within_their_tolerance():
    from support.fake_move_group import _dense

    from s3k_ros.ros.moveit import corners

    way = around(HOME, SIDE)
    kept = corners(_dense(way), 0.005)
    assert len(kept) == 4 and np.allclose(kept, way)
    still = np.stack([HOME, HOME, HOME])
    assert len(corners(still, 0.005)) == 2
