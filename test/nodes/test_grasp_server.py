"""The grasp server over DDS, with a perfect robot behind real action servers on simulated time."""

from __future__ import annotations

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool
from support.server_cell import PARAMS as SERVER
from support.server_cell import PATIENCE, ServerCell, request
from tf2_ros import StaticTransformBroadcaster
from visualization_msgs.msg import MarkerArray

from s3k_ros.action import GraspAtKeypoint
from s3k_ros.params.grasp import RobotParameters

pytestmark = pytest.mark.ros

Result = GraspAtKeypoint.Result
# Patient but with joint states and keypoints, whose silence is tested here. The robot's time runs
# faster than its messages come on a busy machine, which looks like speed.
PARAMS = {
    **SERVER,
    **{k: v for k, v in PATIENCE.items() if "joint_state" not in k and "keypoint" not in k},
    "grasp.joint_speed_margin": 5.0,
    "grasp.hand_speed_limit_m_s": 10.0,
}
PHASES = ("observe", "approach", "align", "close", "lift", "verify")
STANDSTILL_S = 0.3
# Twice what the server takes for standing still on average over a tenth of a second.
STILL_RAD_S = 0.02
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope="module")
def module_cell(ros, robot, start_node):
    return ServerCell(ros, robot, start_node("grasp_server", PARAMS))


@pytest.fixture
def cell(module_cell):
    module_cell.reset()
    return module_cell


def test_a_grasp_succeeds_and_tells_its_phases(cell):
    response = cell.grasp()
    result = response.result
    assert response.status == GoalStatus.STATUS_SUCCEEDED
    assert result.code == Result.SUCCESS and result.holding == Result.HOLDING, result.message
    assert result.phase == "verify" and result.keypoint.name == "right_front_paw"
    assert result.width == pytest.approx(0.085 * (1 - 0.5 / 0.7929), abs=1e-3)
    assert result.grasp_pose.header.frame_id == "base"
    p = result.grasp_pose.pose.position
    assert np.allclose([p.x, p.y, p.z], cell.robot.keypoints["right_front_paw"], atol=1e-6)
    seen = [f.phase for f in cell.feedback]
    assert list(dict.fromkeys(seen)) == list(PHASES)
    assert (np.diff([f.progress for f in cell.feedback]) >= -1e-6).all()
    assert [g.command.position[0] for g in cell.robot.gripper_goals] == pytest.approx([0, 0.7929])
    assert all(list(g.command.effort) == [20.0] for g in cell.robot.gripper_goals)


def test_trajectories_are_stamped_and_keep_the_arms_velocity_limits(cell):
    cell.grasp()
    velocity = np.array([1.74, 1.328, 1.957, 1.957, 3.485, 3.485, 4.545])
    assert len(cell.robot.arm_goals) == 3
    for goal in cell.robot.arm_goals:
        points = goal.trajectory.points
        assert goal.trajectory.joint_names == [f"right_j{i}" for i in range(7)]
        assert 0.0 < goal.trajectory.header.stamp.sec <= cell.robot.now
        assert (np.abs([p.velocities for p in points]) <= velocity * 1.001).all()
        assert np.abs(points[-1].velocities).max() < 1e-6


def test_a_dry_run_publishes_the_plan_and_moves_nothing(cell):
    markers = cell.ros.collect(MarkerArray, "grasp_plan_markers", LATCHED)
    response = cell.grasp(dry_run=True)
    assert response.result.code == Result.SUCCESS and "nothing moved" in response.result.message
    assert response.result.grasp_pose.header.frame_id == "base"
    assert not cell.robot.arm_goals and not cell.robot.gripper_goals
    cell.ros.spin_until(lambda: markers, 5.0, "markers")
    assert {m.ns for m in markers[-1].markers} >= {"grasp_plan/path", "grasp_plan/grasp"}
    assert {m.header.frame_id for m in markers[-1].markers} == {"base"}


def test_a_toy_that_moves_is_followed(cell):
    handle = cell.send(request())
    cell.reach("align")
    cell.robot.keypoints["right_front_paw"] = np.array([0.62, 0.03, -0.13])
    result = cell.result(handle).result
    assert result.code == Result.SUCCESS, result.message
    p = result.grasp_pose.pose.position
    assert np.allclose([p.x, p.y, p.z], [0.62, 0.03, -0.13], atol=1e-6)


def test_an_unknown_keypoint_aborts_with_the_valid_names(cell):
    response = cell.grasp(keypoint="left_ear")
    assert response.status == GoalStatus.STATUS_ABORTED
    assert response.result.code == Result.UNKNOWN_KEYPOINT
    assert "head, left_front_paw, right_front_paw, body, tail" in response.result.message


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"lift_height": float("nan")}, "lift_height_m"),
        ({"object_id": "bear"}, "plush_fox"),
        ({"toward_keypoint": "right_front_paw"}, "differ"),
    ],
)
def test_an_invalid_goal_says_why(cell, fields, says):
    result = cell.grasp(**fields).result
    assert result.code == Result.INVALID_GOAL and says in result.message


def spoil(what):
    def do(robot):
        if what == "hidden":
            robot.hidden = {"right_front_paw"}
        elif what == "doubtful":
            robot.confidence = 0.1
        elif what == "far":
            robot.keypoints["right_front_paw"] = np.array([1.5, 0.0, -0.1])
        elif what == "silent":
            robot.keypoints_alive = False
        elif what == "frame":
            robot.frame = "world"
        elif what == "joints":
            robot.joint_states_alive = False

    return do


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("hidden", Result.NO_KEYPOINTS),
        ("doubtful", Result.LOW_CONFIDENCE),
        ("far", Result.OUTSIDE_WORKSPACE),
        ("silent", Result.NO_KEYPOINTS),
        ("frame", Result.NO_KEYPOINTS),
        ("joints", Result.ROBOT_NOT_READY),
    ],
)
def test_what_is_bad_from_the_start_moves_nothing(cell, what, code):
    spoil(what)(cell.robot)
    cell.ros.spin(0.3)
    result = cell.grasp().result
    # Keypoints that came before they fell silent are stale.
    assert result.code in ({code, Result.STALE} if what in ("silent", "frame") else {code})
    assert not cell.robot.arm_goals and not cell.robot.gripper_goals


def test_keypoints_lost_on_the_way_end_the_grasp_safely(cell):
    handle = cell.send(request(approach_distance=0.25))
    cell.reach("approach")
    cell.robot.hidden = {"right_front_paw"}
    result = cell.result(handle).result
    assert result.code == Result.LOST and "TOO_FEW_VIEWS" in result.message
    assert cell.robot.arm_speed < STILL_RAD_S and "arm at rest" in result.message


def test_a_grip_on_nothing_is_missed(cell):
    cell.robot.toy_rad = 0.7929
    result = cell.grasp().result
    assert result.code == Result.MISSED and result.holding == Result.NOT_HOLDING


def test_a_toy_that_slips_is_noticed(cell):
    handle = cell.send(request())
    cell.reach("lift")
    cell.robot.toy_rad = 0.7929
    result = cell.result(handle).result
    assert result.code == Result.SLIPPED and result.holding == Result.NOT_HOLDING


def test_a_contact_stops_the_arm(cell):
    handle = cell.send(request())
    cell.reach("align")
    cell.robot.force = np.array([0.0, 0.0, 70.0])
    result = cell.result(handle).result
    assert result.code == Result.CONTACT_FORCE and cell.robot.arm_speed < STILL_RAD_S


def test_an_arm_that_aborts_is_reported(cell):
    cell.robot.aborts = True
    result = cell.grasp().result
    assert result.code == Result.ARM_ABORTED and "PATH_TOLERANCE_VIOLATED" in result.message


def test_an_arm_that_rejects_is_reported(cell):
    cell.robot.rejects = True
    result = cell.grasp().result
    assert result.code == Result.ARM_ABORTED and "rejected" in result.message


@pytest.mark.parametrize("phase", PHASES)
def test_a_cancel_stands_still_in_time_and_the_next_goal_works(cell, phase):
    handle = cell.send(request())
    cell.reach(phase)
    # At real time, so that a slow machine's latency is not multiplied.
    cell.robot.speed = 1.0
    asked = cell.robot.now
    future = handle.cancel_goal_async()
    cell.ros.spin_until(future.done, 5.0, "an answer to the cancel")
    assert future.result().goals_canceling
    cell.ros.spin_until(lambda: cell.robot.now > asked + STANDSTILL_S, 5.0)
    still = cell.robot.position.copy()
    assert cell.robot.arm_speed == 0.0
    response = cell.result(handle)
    assert response.status == GoalStatus.STATUS_CANCELED
    assert response.result.code == Result.CANCELED
    assert response.result.phase in PHASES[PHASES.index(phase) :]
    assert np.array_equal(still, cell.robot.position)
    cell.robot.speed = 2.0
    assert cell.grasp().result.code == Result.SUCCESS


def test_a_second_goal_is_busy_and_the_first_goes_on(cell):
    first = cell.send(request())
    cell.reach("approach")
    second = cell.grasp()
    assert second.status == GoalStatus.STATUS_ABORTED and second.result.code == Result.BUSY
    assert cell.result(first).result.code == Result.SUCCESS


def set_parameter(cell, name: str, value) -> None:
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    change = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    answer = cell.ros.call(SetParameters, "/grasp_server/set_parameters", change)
    assert answer.results[0].successful, answer.results[0].reason


def test_a_second_goal_preempts_when_the_policy_says_so(cell):
    set_parameter(cell, "grasp.second_goal", "preempt")
    try:
        first = cell.send(request())
        cell.reach("approach")
        second = cell.send(request())
        ended = cell.result(first)
        assert ended.status == GoalStatus.STATUS_ABORTED
        assert ended.result.code == Result.PREEMPTED and "arm at rest" in ended.result.message
        assert cell.result(second).result.code == Result.SUCCESS
    finally:
        set_parameter(cell, "grasp.second_goal", "reject")


def test_a_home_that_stands_in_the_scene_leaves_the_server_as_it_was(cell):
    usual = list(RobotParameters().home_rad)
    # Stretched out backwards, into the wall of the shipped scene.
    set_parameter(cell, "robot.home_rad", [3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.7])
    try:
        assert cell.grasp().result.code == Result.SUCCESS
    finally:
        set_parameter(cell, "robot.home_rad", usual)
    assert cell.grasp().result.code == Result.SUCCESS


def test_an_emergency_stop_ends_the_grasp_and_bars_the_next(cell):
    publisher = cell.ros.node.create_publisher(Bool, "emergency_stop", 1)
    cell.ros.spin_until(publisher.get_subscription_count, 5.0, "emergency_stop's listener")
    handle = cell.send(request())
    cell.reach("approach")
    publisher.publish(Bool(data=True))
    result = cell.result(handle).result
    assert result.code == Result.EMERGENCY_STOP and cell.robot.arm_speed < STILL_RAD_S
    assert cell.grasp().result.code == Result.EMERGENCY_STOP
    publisher.publish(Bool(data=False))
    cell.ros.spin(0.3)
    assert cell.grasp().result.code == Result.SUCCESS


def test_an_approach_in_another_frame_is_turned_into_the_base_frame(cell):
    from geometry_msgs.msg import TransformStamped

    tilted = TransformStamped()
    tilted.header.frame_id, tilted.child_frame_id = "base", "tilted"
    # Half a turn about x: the frame's z points down.
    tilted.transform.rotation.x, tilted.transform.rotation.w = 1.0, 0.0
    broadcaster = StaticTransformBroadcaster(cell.ros.node)
    broadcaster.sendTransform(tilted)
    goal = request(dry_run=True)
    goal.approach.header.frame_id, goal.approach.vector.z = "tilted", 1.0
    result = cell.result(cell.send(goal)).result
    assert result.code == Result.SUCCESS, result.message
    q = result.grasp_pose.pose.orientation
    assert 1 - 2 * (q.x**2 + q.y**2) == pytest.approx(-1.0, abs=1e-6)  # z of the hand, downwards
    goal.approach.header.frame_id = "nowhere"
    refused = cell.result(cell.send(goal)).result
    assert refused.code == Result.INVALID_GOAL and "nowhere" in refused.message


# -- devices that die: last, because their servers are started anew --------------------------------


@pytest.mark.parametrize("phase", ["approach", "lift"])
def test_an_arm_whose_server_dies_mid_motion_ends_the_grasp(cell, phase):
    handle = cell.send(request())
    cell.reach(phase)
    cell.robot.stop_arm()
    try:
        result = cell.result(handle).result
        assert result.code == Result.ARM_UNAVAILABLE and result.phase == phase
        assert "arm at rest" in result.message
        assert cell.grasp().result.code == Result.ARM_UNAVAILABLE
    finally:
        cell.robot.start_arm()
    cell.ros.spin(1.0)
    assert cell.grasp().result.code == Result.SUCCESS


def test_a_gripper_whose_server_dies_while_closing_ends_the_grasp(cell):
    handle = cell.send(request())
    cell.reach("close")
    cell.robot.stop_gripper()
    try:
        result = cell.result(handle).result
        assert result.code in (Result.GRIPPER_UNAVAILABLE, Result.GRIPPER_FAILED)
    finally:
        cell.robot.start_gripper()


def test_a_gripper_of_the_older_type_works_by_a_parameter(cell, start_node, ros):
    from support.fake_robot import FakeRobot

    other = FakeRobot(cell.robot.context.get_domain_id() + 1, "GripperCommand")
    helper = None
    try:
        domain = other.context.get_domain_id()
        params = {**PARAMS, "robot.gripper_action_type": "GripperCommand"}
        node = start_node("grasp_server", params, domain=domain)
        helper = type(ros)(domain)
        result = ServerCell(helper, other, node).grasp().result
        assert result.code == Result.SUCCESS, result.message
        assert [g.command.max_effort for g in other.gripper_goals] == [20.0, 20.0]
    finally:
        if helper is not None:
            helper.close()
        other.close()
