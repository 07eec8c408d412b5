"""The gateway as a process, against intera's behaviour behind a real rosbridge websocket.

Stood in for: the robot and intera's nodes (`support/intera.py`) and rosbridge's server
(`support/rosbridge_server.py`, its JSON protocol with ROS 1's types checked).
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Duration
from control_msgs.action import FollowJointTrajectory
from control_msgs.msg import JointComponentTolerance, JointTolerance
from rclpy.action import ActionClient
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from s3k_ros.msg import RobotState
from s3k_ros.ros import qos

pytestmark = pytest.mark.ros

ACTION = "/robot/limb/right/follow_joint_trajectory"
VELOCITY = "/robot/limb/right/joint_velocity_command"
JOINTS = [f"right_j{i}" for i in range(7)]
Result = FollowJointTrajectory.Result
PARAMS = {
    "settle_s": 0.1, "reconnect_s": 0.2, "silence_s": 2.0,
    "answer_timeout_s": 2.5, "cancel_timeout_s": 5.0,
}  # fmt: skip
# Longer than anything here takes, shorter than the test's patience: a motion to be interrupted.
LONG_S = 30.0


class Gateway:
    """The gateway's process, its robot, and a client."""

    def __init__(self, ros, intera, node) -> None:
        self.ros, self.intera, self.node = ros, intera, node
        self.client = ActionClient(ros.node, FollowJointTrajectory, ACTION)
        self.states = ros.collect(RobotState, "/robot/state", qos.latched())
        self.joints = ros.collect(JointState, "/robot/joint_states", 10)
        self.feedback = []

    def goal(self, duration_s: float = 0.3, by: float = 0.1, first_s: float = 0.0):
        """A straight move of all joints by some rad, with five points."""
        start = self.intera.position
        points = []
        for share in np.linspace(0.0, 1.0, 5):
            at = int((first_s + share * (duration_s - first_s)) * 1e9)
            points.append(
                JointTrajectoryPoint(
                    positions=(start + share * by).tolist(),
                    velocities=[0.0] * 7,
                    time_from_start=Duration(sec=at // 10**9, nanosec=at % 10**9),
                )
            )
        trajectory = JointTrajectory(joint_names=JOINTS, points=points)
        return FollowJointTrajectory.Goal(trajectory=trajectory)

    def send(self, goal):
        self.ros.spin_until(self.client.server_is_ready, what="the gateway's action")
        future = self.client.send_goal_async(
            goal, feedback_callback=lambda message: self.feedback.append(message.feedback)
        )
        self.ros.spin_until(future.done, what="an answer to the goal")
        assert future.result().accepted
        return future.result()

    def end(self, handle):
        future = handle.get_result_async()
        self.ros.spin_until(future.done, what="a result")
        return future.result()

    def follow(self, goal):
        return self.end(self.send(goal))

    def succeeds(self) -> None:
        response = self.follow(self.goal())
        assert response.status == GoalStatus.STATUS_SUCCEEDED, response.result.error_string

    def start(self, **kwargs):
        """A long motion, under way."""
        handle = self.send(self.goal(duration_s=LONG_S, **kwargs))
        self.ros.spin_until(lambda: self.intera.moving, what="a motion")
        return handle

    def ready(self) -> None:
        self.says(lambda state: state.connected and not state.reason)

    def says(self, what):
        self.ros.spin_until(lambda: self.states and what(self.states[-1]), what="a state")
        return self.states[-1]

    def call(self, name: str):
        return self.ros.call(Trigger, f"/robot/{name}", Trigger.Request())


@pytest.fixture(scope="module")
def bridge():
    from support.rosbridge_server import RosbridgeServer

    server = RosbridgeServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def module_gateway(ros, bridge, start_node):
    from support.intera import Intera

    robot = Intera(bridge)
    node = start_node("sawyer_gateway", {**PARAMS, "rosbridge_port": bridge.port})
    yield Gateway(ros, robot, node)
    robot.close()


@pytest.fixture
def gateway(module_gateway, bridge):
    g = module_gateway
    bridge.call(g.intera.reset)
    bridge.errors.clear()
    bridge.heard.clear()
    g.states.clear()
    g.joints.clear()
    g.feedback.clear()
    bridge.call(g.intera._list)
    g.ready()
    yield g
    assert bridge.errors == []  # nothing that ROS 1 would not take


def test_a_goal_is_followed_whole(gateway, bridge):
    target = gateway.intera.position + 0.1
    response = gateway.follow(gateway.goal())
    assert response.status == GoalStatus.STATUS_SUCCEEDED, response.result.error_string
    assert response.result.error_code == Result.SUCCESSFUL
    assert np.allclose(gateway.intera.position, target, atol=1e-6)
    [sent] = gateway.intera.sent
    assert len(sent["goal"]["trajectory"]["points"]) == 5
    assert gateway.feedback and gateway.feedback[-1].joint_names == JOINTS


def test_what_ros1_lacks_is_left_out(gateway, bridge):
    goal = gateway.goal()
    goal.component_path_tolerance = [JointComponentTolerance(joint_name="base")]
    goal.path_tolerance = [JointTolerance(name="right_j0", position=0.15)]
    goal.goal_time_tolerance = Duration(nanosec=500_000_000)
    for point in goal.trajectory.points:
        point.effort = [0.0] * 7
    assert gateway.follow(goal).status == GoalStatus.STATUS_SUCCEEDED
    [sent] = gateway.intera.sent
    # intera's server fails on tolerances that lack a joint.
    tolerances = {t["name"]: t["position"] for t in sent["goal"]["path_tolerance"]}
    assert tolerances == {name: 0.15 if name == "right_j0" else 0.0 for name in JOINTS}
    assert sent["goal"]["goal_time_tolerance"] == {"secs": 0, "nsecs": 500_000_000}


def test_the_robots_clock_does_not_matter(gateway):
    """It is 20 minutes behind ours: its server would sleep that long, or drop the trajectory."""
    goal = gateway.goal()
    begin = gateway.ros.node.get_clock().now().nanoseconds + 300_000_000
    goal.trajectory.header.stamp.sec = begin // 10**9
    goal.trajectory.header.stamp.nanosec = begin % 10**9
    handle = gateway.send(goal)
    assert gateway.end(handle).status == GoalStatus.STATUS_SUCCEEDED
    assert gateway.ros.node.get_clock().now().nanoseconds - begin > 300_000_000
    [sent] = gateway.intera.sent
    assert sent["goal"]["trajectory"]["header"]["stamp"] == {"secs": 0, "nsecs": 0}
    assert sent["goal_id"]["stamp"] == {"secs": 0, "nsecs": 0}
    old = gateway.goal()
    old.trajectory.header.stamp.sec = begin // 10**9 - 60
    result = gateway.follow(old).result
    assert result.error_code == Result.OLD_HEADER_TIMESTAMP and "ago" in result.error_string


def test_joint_states_come_in_our_clock(gateway):
    gateway.ros.spin_until(lambda: len(gateway.joints) > 5, what="joint states")
    message = gateway.joints[-1]
    now = gateway.ros.node.get_clock().now().nanoseconds
    age = 1e-9 * now - message.header.stamp.sec - 1e-9 * message.header.stamp.nanosec
    assert 0.0 <= age < 60.0  # not 1234.5 s
    assert dict(zip(message.name, message.position, strict=True))["right_j3"] == pytest.approx(2.45)


def test_a_trajectory_that_begins_later_is_begun_where_the_arm_is(gateway):
    assert gateway.follow(gateway.goal(first_s=0.1)).status == GoalStatus.STATUS_SUCCEEDED
    first = gateway.intera.sent[0]["goal"]["trajectory"]["points"][0]
    assert first["time_from_start"] == {"secs": 0, "nsecs": 0}


def test_a_cancel_stops_the_robot(gateway):
    handle = gateway.start()
    future = handle.cancel_goal_async()
    gateway.ros.spin_until(future.done, what="an answer to the cancel")
    response = gateway.end(handle)
    assert response.status == GoalStatus.STATUS_CANCELED
    assert not gateway.intera.moving


def test_a_goal_right_after_a_cancel_is_not_cancelled_with_it(gateway):
    first = gateway.start()
    asked = first.cancel_goal_async()
    second = gateway.goal()
    response = gateway.follow(second)
    assert response.status == GoalStatus.STATUS_SUCCEEDED, response.result.error_string
    gateway.ros.spin_until(asked.done, what="an answer to the cancel")
    # Cancel and goal are two services: whichever arrives first ends the older goal.
    ends = (GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED)
    assert gateway.end(first).status in ends


def test_a_goal_cancelled_before_its_start_takes_what_it_was_to_replace_with_it(gateway):
    gateway.start()
    waits = gateway.goal()
    waits.trajectory.header.stamp = gateway.ros.node.get_clock().now().to_msg()
    waits.trajectory.header.stamp.sec += 9
    handle = gateway.send(waits)
    handle.cancel_goal_async()
    assert gateway.end(handle).status == GoalStatus.STATUS_CANCELED
    assert not gateway.intera.moving and len(gateway.intera.sent) == 1


def test_a_newer_goal_replaces_the_running_one(gateway):
    first = gateway.start()
    second = gateway.goal()
    second.trajectory.points[0].positions = gateway.intera.position.tolist()
    response = gateway.follow(second)
    assert response.status == GoalStatus.STATUS_SUCCEEDED, response.result.error_string
    replaced = gateway.end(first)
    assert replaced.status == GoalStatus.STATUS_ABORTED
    assert "replaced" in replaced.result.error_string


def spoil_joints(goal):
    goal.trajectory.joint_names = ["joint_a", *JOINTS[1:]]


def spoil_partial(goal):
    goal.trajectory.joint_names = JOINTS[:3]


def spoil_empty(goal):
    goal.trajectory.points = []


def spoil_nan(goal):
    goal.trajectory.points[1].positions[2] = float("nan")


def spoil_times(goal):
    goal.trajectory.points[2].time_from_start = Duration()


def spoil_end(goal):
    goal.trajectory.points[-1].velocities = [0.5] * 7


def spoil_start(goal):
    goal.trajectory.points[0].positions[3] += 0.3


def spoil_lengths(goal):
    goal.trajectory.points[3].velocities = []


@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        (spoil_joints, Result.INVALID_JOINTS, "joint_a"),
        (spoil_partial, Result.INVALID_JOINTS, "right_j6"),
        (spoil_empty, Result.INVALID_GOAL, "no points"),
        (spoil_nan, Result.INVALID_GOAL, "positions are not all finite"),
        (spoil_times, Result.INVALID_GOAL, "increase"),
        (spoil_end, Result.INVALID_GOAL, "rest"),
        (spoil_start, Result.INVALID_GOAL, "0.300 rad from where right_j3 is"),
        (spoil_lengths, Result.INVALID_GOAL, "velocities"),
    ],
)
def test_what_the_robot_would_refuse_without_a_word_is_refused_with_one(gateway, spoil, code, says):
    goal = gateway.goal()
    spoil(goal)
    response = gateway.follow(goal)
    assert response.status == GoalStatus.STATUS_ABORTED
    assert response.result.error_code == code and says in response.result.error_string
    assert not gateway.intera.sent


def collide(robot):
    robot.collision = True


def press_cuff(robot):
    robot.cuff = True


BEFALLS = [
    (lambda robot: robot.press_estop(), "STOPPED", "emergency stop is pressed"),
    (lambda robot: robot.disable(), "DISABLED", "/robot/enable"),
    (collide, "COLLISION", "collision"),
    (press_cuff, "CUFF", "cuff"),
]


@pytest.mark.parametrize(("befall", "word", "says"), BEFALLS, ids=[word for _, word, _ in BEFALLS])
def test_what_befalls_the_robot_ends_goals_with_its_name(gateway, befall, word, says):
    handle = gateway.start()
    befall(gateway.intera)
    result = gateway.end(handle).result
    assert result.error_code == Result.PATH_TOLERANCE_VIOLATED
    assert result.error_string.startswith(word) and says in result.error_string
    state = gateway.says(lambda s: s.reason.startswith(word))
    assert state.connected and state.collision == (word == "COLLISION")
    assert (state.enabled, state.stopped) == (
        word not in ("STOPPED", "DISABLED"), word == "STOPPED",
    )  # fmt: skip
    gateway.ros.spin_until(lambda: not gateway.intera.moving, what="rest")
    sent = len(gateway.intera.sent)
    refused = gateway.follow(gateway.goal())
    assert refused.status == GoalStatus.STATUS_ABORTED
    assert refused.result.error_string.startswith(word) and len(gateway.intera.sent) == sent


@pytest.mark.parametrize("befall", [collide, press_cuff])
def test_an_abort_without_a_text_gets_one_though_its_cause_comes_late_or_never(gateway, befall):
    gateway.intera.reports -= {"collision", "cuff"}
    handle = gateway.start()
    befall(gateway.intera)
    result = gateway.end(handle).result
    assert result.error_code == Result.PATH_TOLERANCE_VIOLATED
    assert "no reason" in result.error_string and "cuff" in result.error_string


def test_a_success_short_of_the_goal_is_none(gateway):
    """intera's loop takes a disabled robot for the end of the trajectory."""
    gateway.intera.sees_disabled_first = True
    gateway.intera.reports -= {"state"}
    handle = gateway.start(by=1.0)
    gateway.intera.disable()
    response = gateway.end(handle)
    assert response.status == GoalStatus.STATUS_ABORTED
    assert response.result.error_code in (
        Result.GOAL_TOLERANCE_VIOLATED, Result.PATH_TOLERANCE_VIOLATED,
    )  # fmt: skip
    assert "rad off" in response.result.error_string or "silent" in response.result.error_string


def test_another_clients_cancel_is_told(gateway, bridge):
    handle = gateway.start()
    bridge.call(lambda: gateway.intera._on_cancel({"id": ""}))
    result = gateway.end(handle).result
    assert result.error_string.startswith("PREEMPTED") and "another client" in result.error_string


def test_slow_answers_are_waited_for(gateway):
    gateway.intera.delay_s = 0.3
    response = gateway.follow(gateway.goal())
    assert response.status == GoalStatus.STATUS_SUCCEEDED, response.result.error_string


def test_an_action_server_that_is_not_there_is_named(gateway):
    gateway.intera.serves = False
    result = gateway.follow(gateway.goal()).result
    assert result.error_string.startswith("NO_")  # did not answer, or has not for long
    gateway.ros.spin_until(
        lambda: gateway.follow(gateway.goal()).result.error_string.startswith("NO_SERVER"),
        what="NO_SERVER",
    )
    assert "joint_trajectory_action_server.py" in gateway.follow(gateway.goal()).result.error_string


def test_malformed_messages_are_counted_and_dropped(gateway, bridge):
    for payload in (b"{", b"[1, 2]", b'{"op": "publish"}', b'{"op": "dance"}', b"null", b""):
        bridge.send_raw(payload)
    bridge.send_raw(b"\x00\x01", binary=True)
    topic = b'{"op": "publish", "topic": "%s", "msg": %s}'
    for name, content in [
        (b"/robot/joint_states", b'{"name": ["a"], "position": []}'),
        (b"/robot/joint_states", b"7"),
        (
            b"/robot/joint_states",
            b'{"name": ["a"], "position": [1], "header": {"stamp": {"secs": 1e999, "nsecs": 0}}}',
        ),
        (b"/robot/state", b'{"enabled": true}'),
        (b"/robot/state", b"null"),
        (b"/io/robot/cuff/state", b'{"signals": [{"name": "right_cuff", "data": "?"}]}'),
        (b"/robot/limb/right/follow_joint_trajectory/status", b'{"status_list": [{}]}'),
        (b"/robot/limb/right/follow_joint_trajectory/result", b"{}"),
    ]:
        bridge.send_raw(topic % (name, content))
    gateway.succeeds()
    # A text that is not UTF-8 costs the connection (RFC 6455), no more.
    bridge.send_raw(b"\xff\xfe")
    gateway.says(lambda state: not state.connected)
    gateway.ready()
    gateway.succeeds()
    assert gateway.node.returncode is None and "Traceback" not in gateway.node.output


def test_stop_reset_and_enable(gateway):
    assert gateway.call("stop").success
    gateway.says(lambda s: s.stopped and not s.enabled)
    refused = gateway.call("enable")
    assert not refused.success and "reset" in refused.message
    assert gateway.call("reset").success
    gateway.says(lambda s: not s.stopped)
    assert gateway.call("enable").success
    gateway.ready()


def test_joint_velocities_are_forwarded_and_end_with_zeros(gateway):
    publisher = gateway.ros.node.create_publisher(Float64MultiArray, VELOCITY, 1)
    gateway.ros.spin_until(publisher.get_subscription_count, what="the gateway")
    command = [0.01 * i for i in range(7)]
    stream = gateway.ros.node.create_timer(
        0.02, lambda: publisher.publish(Float64MultiArray(data=command))
    )
    gateway.ros.spin_until(lambda: len(gateway.intera.velocities) > 5, what="velocities")
    refused = gateway.follow(gateway.goal())
    gateway.ros.node.destroy_timer(stream)
    assert "velocities" in refused.result.error_string
    gateway.ros.spin_until(
        lambda: [v for _, v in gateway.intera.velocities[-3:]] == [[0.0] * 7] * 3, what="zeros"
    )
    values = [v for _, v in gateway.intera.velocities]
    assert values[0] == pytest.approx(command)
    publisher.publish(Float64MultiArray(data=[float("nan")] * 7))
    gateway.ros.spin(0.1)
    assert all(np.isfinite(v).all() for _, v in gateway.intera.velocities)
    gateway.succeeds()


# -- the link: last, because it is cut -------------------------------------------------------------


def test_a_cut_ends_goals_at_once_and_on_reconnection_the_robot_is_stopped(gateway, bridge):
    handle = gateway.start()
    bridge.cut()
    try:
        result = gateway.end(handle).result
        assert result.error_string.startswith("DISCONNECTED")
        assert not gateway.says(lambda s: not s.connected).connected
        refused = gateway.follow(gateway.goal()).result
        assert refused.error_string.startswith("DISCONNECTED")
        assert not gateway.call("enable").success
        assert gateway.intera.moving  # nobody could tell it
    finally:
        bridge.listen()
    gateway.ros.spin_until(lambda: not gateway.intera.moving, what="the end of the old motion")
    gateway.ready()
    # Neither the goal nor the call of before came late.
    assert len(gateway.intera.sent) == 1 and "/robot/set_super_enable" not in bridge.heard
    gateway.succeeds()


def test_a_cut_while_a_newer_goal_waits_for_its_start_ends_the_older_one_too(gateway, bridge):
    gateway.start()
    waits = gateway.goal()
    waits.trajectory.header.stamp = gateway.ros.node.get_clock().now().to_msg()
    waits.trajectory.header.stamp.sec += 9
    handle = gateway.send(waits)
    bridge.cut()
    bridge.listen()
    assert gateway.end(handle).result.error_string.startswith("DISCONNECTED")
    gateway.ros.spin_until(lambda: not gateway.intera.moving, what="the end of the old motion")
    gateway.states.clear()
    gateway.ready()


def test_an_unplugged_cable_is_noticed_by_its_silence(gateway, bridge):
    handle = gateway.start()
    bridge.frozen = True
    try:
        begun = time.monotonic()
        result = gateway.end(handle).result
        assert result.error_string.startswith("DISCONNECTED") and "silent" in result.error_string
        assert time.monotonic() - begun < 60.0
    finally:
        bridge.frozen = False
    gateway.ros.spin_until(lambda: not gateway.intera.moving, what="the end of the old motion")
    gateway.ready()


def test_a_robot_that_falls_silent_is_not_connected(gateway):
    gateway.intera.reports -= {"joints"}
    state = gateway.says(lambda s: not s.connected)
    assert "/robot/joint_states" in state.reason
    gateway.intera.reports |= {"joints"}
    gateway.ready()


def test_a_gateway_that_dies_leaves_nothing_and_one_that_ends_stops_the_robot(
    gateway, bridge, start_node
):
    gateway.start()
    gateway.node.stop(9)
    assert gateway.intera.moving  # the dead cannot stop it: the next one does
    second = start_node("sawyer_gateway", {**PARAMS, "rosbridge_port": bridge.port})
    gateway.ros.spin_until(lambda: not gateway.intera.moving, what="the end of the old motion")
    gateway.states.clear()
    gateway.ready()
    gateway.start()
    assert second.stop() == 0
    gateway.ros.spin_until(lambda: not gateway.intera.moving, what="rest")
