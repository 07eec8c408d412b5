"""Places and releases over DDS, with a perfect robot behind real action servers."""

from __future__ import annotations

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import TransformStamped
from rclpy.action import ActionClient
from std_msgs.msg import Bool
from support.server_cell import PATIENCE
from tf2_ros import StaticTransformBroadcaster

from s3k_ros.action import GraspAtKeypoint, PlaceAt, Release

pytestmark = pytest.mark.ros

Result = GraspAtKeypoint.Result
SPOT = (0.55, -0.25, -0.12)
STILL_RAD_S = 0.02
ACTIONS = {"grasp_at_keypoint": GraspAtKeypoint, "place_at": PlaceAt, "release": Release}
PARAMS = {
    "use_sim_time": True,
    "robot.speed_scale": 1.0,
    "grasp.verify_time_s": 0.3,
    **PATIENCE,
}


class Cell:
    """The robot and clients of the three actions."""

    def __init__(self, ros, robot) -> None:
        self.ros, self.robot = ros, robot
        self.clients = {k: ActionClient(ros.node, kind, k) for k, kind in ACTIONS.items()}
        self.feedback: list = []

    def send(self, name: str, goal):
        self.feedback.clear()
        client = self.clients[name]
        self.ros.spin_until(client.server_is_ready, 30.0, name)
        self.ros.spin_until(self.robot.heard, 30.0, "subscriptions of the server")
        future = client.send_goal_async(
            goal, feedback_callback=lambda message: self.feedback.append(message.feedback)
        )
        self.ros.spin_until(future.done, 10.0, "an answer to the goal")
        assert future.result().accepted
        return future.result()

    def result(self, handle):
        future = handle.get_result_async()
        self.ros.spin_until(future.done, 30.0, "a result")
        return future.result()

    def ask(self, name: str, goal):
        return self.result(self.send(name, goal))

    def reach(self, phase: str) -> None:
        self.ros.spin_until(
            lambda: self.feedback and self.feedback[-1].phase == phase, 20.0, f"phase {phase}"
        )

    def hold(self) -> None:
        """Grasps the toy."""
        goal = GraspAtKeypoint.Goal(keypoint="right_front_paw", toward_keypoint="body")
        result = self.ask("grasp_at_keypoint", goal).result
        assert result.code == Result.SUCCESS and result.holding == Result.HOLDING, result.message


def place(**fields) -> PlaceAt.Goal:
    goal = PlaceAt.Goal(**fields)
    p = goal.pose.pose.position
    p.x, p.y, p.z = SPOT
    return goal


@pytest.fixture(scope="module")
def module_cell(ros, module_domain, start_node):
    from support.fake_robot import FakeRobot

    robot = FakeRobot(module_domain)
    start_node("grasp_server", PARAMS)
    yield Cell(ros, robot)
    robot.close()


@pytest.fixture
def cell(module_cell):
    module_cell.robot.reset()
    module_cell.robot.speed = 2.0
    module_cell.ros.spin(0.4)
    return module_cell


def test_a_place_goes_through_its_phases_and_lets_go(cell):
    cell.hold()
    response = cell.ask("place_at", place(retreat_distance=0.08))
    result = response.result
    assert response.status == GoalStatus.STATUS_SUCCEEDED and result.code == Result.SUCCESS
    assert result.holding == Result.NOT_HOLDING and result.phase == "retreat"
    assert result.width == pytest.approx(0.085, abs=1e-3) and not result.keypoint.name
    seen = list(dict.fromkeys(f.phase for f in cell.feedback))
    assert [p for p in seen if p != "observe"] == ["transfer", "lower", "release", "retreat"]
    assert (np.diff([f.progress for f in cell.feedback]) >= -1e-6).all()
    assert result.place_pose.header.frame_id == "base"
    p = result.place_pose.pose.position
    assert np.allclose([p.x, p.y, p.z], SPOT, atol=1e-6)


def test_a_place_at_a_keypoint_brings_its_keypoint_along(cell):
    cell.hold()
    cell.robot.keypoints["body"] = np.array(SPOT)
    result = cell.ask("place_at", PlaceAt.Goal(keypoint="body")).result
    assert result.code == Result.SUCCESS and result.keypoint.name == "body", result.message


def test_a_release_opens_and_draws_back(cell):
    cell.hold()
    result = cell.ask("release", Release.Goal(retreat_distance=0.05)).result
    assert result.code == Result.SUCCESS and result.holding == Result.NOT_HOLDING, result.message
    assert {f.phase for f in cell.feedback} <= {"release", "retreat"}
    nothing = cell.ask("place_at", place())
    assert nothing.status == GoalStatus.STATUS_ABORTED
    assert nothing.result.code == Result.NOTHING_HELD


def test_a_pose_in_another_frame_is_turned_into_the_base_frame(cell):
    cell.hold()
    shifted = TransformStamped()
    shifted.header.frame_id, shifted.child_frame_id = "base", "bin"
    t, q = shifted.transform.translation, shifted.transform.rotation
    t.x, t.y, t.z = SPOT
    q.z = q.w = float(np.sqrt(0.5))  # a quarter turn
    StaticTransformBroadcaster(cell.ros.node).sendTransform(shifted)
    goal = PlaceAt.Goal(use_orientation=True, dry_run=True)
    goal.pose.header.frame_id = "bin"
    goal.pose.pose.position.x = 0.05
    goal.pose.pose.orientation.x, goal.pose.pose.orientation.w = 1.0, 0.0
    result = cell.ask("place_at", goal).result
    assert result.code == Result.SUCCESS, result.message
    p, q = result.place_pose.pose.position, result.place_pose.pose.orientation
    assert np.allclose([p.x, p.y, p.z], np.add(SPOT, [0.0, 0.05, 0.0]), atol=1e-6)
    assert abs(q.x * q.y) == pytest.approx(0.5, abs=1e-6)
    goal.pose.header.frame_id = "nowhere"
    refused = cell.ask("place_at", goal).result
    assert refused.code == Result.INVALID_GOAL and "pose is in frame 'nowhere'" in refused.message


@pytest.mark.parametrize(
    ("name", "spoil", "says"),
    [
        ("place_at", lambda g: setattr(g.pose.pose.position, "y", float("nan")), "pose.position"),
        ("place_at", lambda g: setattr(g.pose.pose.orientation, "w", 0.0), "pose.orientation"),
        ("place_at", lambda g: setattr(g.pose.pose.orientation, "w", 7.0), "0.99 to 1.01"),
        ("place_at", lambda g: setattr(g, "retreat_distance", 1e9), "retreat_distance"),
        ("place_at", lambda g: setattr(g.approach.vector, "z", float("inf")), "approach"),
        ("release", lambda g: setattr(g, "release_width", float("nan")), "release_width"),
        ("release", lambda g: setattr(g, "contact_force_limit", 1e9), "contact_force_limit"),
    ],
)
def test_hostile_goals_end_as_invalid_and_move_nothing(cell, name, spoil, says):
    goal = place(use_orientation=True) if name == "place_at" else Release.Goal()
    spoil(goal)
    response = cell.ask(name, goal)
    assert response.status == GoalStatus.STATUS_ABORTED
    assert response.result.code == Result.INVALID_GOAL and says in response.result.message
    assert not cell.robot.arm_goals and not cell.robot.gripper_goals


def test_one_task_runs_at_a_time_over_all_actions(cell):
    cell.hold()
    first = cell.send("place_at", place())
    cell.reach("transfer")
    assert cell.ask("release", Release.Goal()).result.code == Result.BUSY
    busy = GraspAtKeypoint.Goal(keypoint="right_front_paw")
    assert cell.ask("grasp_at_keypoint", busy).result.code == Result.BUSY
    assert cell.result(first).result.code == Result.SUCCESS


@pytest.mark.parametrize("phase", ["transfer", "lower", "retreat"])
def test_a_cancel_stands_still_and_a_release_works_after_it(cell, phase):
    cell.hold()
    handle = cell.send("place_at", place())
    cell.reach(phase)
    future = handle.cancel_goal_async()
    cell.ros.spin_until(future.done, 5.0, "an answer to the cancel")
    response = cell.result(handle)
    assert response.status == GoalStatus.STATUS_CANCELED
    assert response.result.code == Result.CANCELED and "arm at rest" in response.result.message
    assert cell.robot.arm_speed < STILL_RAD_S
    held = Result.NOT_HOLDING if phase == "retreat" else Result.HOLDING
    assert response.result.holding in (held, Result.UNKNOWN)
    assert cell.ask("release", Release.Goal()).result.code == Result.SUCCESS


def test_a_contact_draws_the_hand_back(cell):
    cell.hold()
    handle = cell.send("place_at", place())
    cell.reach("lower")
    cell.robot.force = np.array([0.0, 0.0, 70.0])
    result = cell.result(handle).result
    assert result.code == Result.CONTACT_FORCE and "; drawn back; arm at rest" in result.message
    assert cell.robot.arm_speed < STILL_RAD_S
    # Approach, align, lift, transfer, lower, and back.
    assert len(cell.robot.arm_goals) == 6


def test_an_emergency_stop_ends_a_place(cell):
    cell.hold()
    publisher = cell.ros.node.create_publisher(Bool, "emergency_stop", 1)
    cell.ros.spin_until(publisher.get_subscription_count, 5.0, "emergency_stop's listener")
    handle = cell.send("place_at", place())
    cell.reach("transfer")
    publisher.publish(Bool(data=True))
    assert cell.result(handle).result.code == Result.EMERGENCY_STOP
    assert cell.ask("release", Release.Goal()).result.code == Result.EMERGENCY_STOP
    publisher.publish(Bool(data=False))
    cell.ros.spin(0.3)
    assert cell.ask("release", Release.Goal()).result.code == Result.SUCCESS
