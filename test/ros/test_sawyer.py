"""The gateway's parts: what the robot's messages mean, actionlib, the watchdog of velocities."""

from __future__ import annotations

import math

import pytest

from s3k_ros.ros import sawyer
from s3k_ros.ros.rosbridge_action import Ros1Action, Status
from s3k_ros.ros.sawyer_velocity import VelocityForwarder

NAME = "/arm/follow"
JOINTS = ("a", "b")
STATE = {"enabled": True, "stopped": False, "error": False, "estop_button": 0, "estop_source": 0}


def joint_states(stamp_s: float, **fields):
    header = {"stamp": {"secs": int(stamp_s), "nsecs": int(stamp_s % 1.0 * 1e9)}}
    return {"header": header, "name": ["a", "b"], "position": [0.1, 0.2], **fields}


@pytest.fixture
def mirror():
    found = sawyer.RobotMirror("robot:9090", silence_s=0.5, settle_s=1.0)
    found.opened(0.0)
    found.take_joint_states(joint_states(0.0), 2.0, 10**9)
    found.take_state(STATE, 2.0)
    return found


def test_what_is_not_finite_comes_as_null(mirror):
    message = joint_states(1.0, position=[0.5, None], effort=[None, 1.0])
    states = mirror.take_joint_states(message, 2.0, 10**9)
    assert math.isnan(states.position[1]) and math.isnan(states.effort[0])
    assert mirror.positions == {"a": 0.5, "b": 0.2}  # an unknown one does not replace a known one


def test_stamps_keep_their_distances_in_our_clock(mirror):
    """The robot is 1000 s behind; the second message is held up for 0.3 s on its way."""
    first = mirror.take_joint_states(joint_states(100.0), 2.0, 1_100_010_000_000)
    late = mirror.take_joint_states(joint_states(100.02), 2.3, 1_100_330_000_000)
    assert first.header.stamp.sec == 1100 and first.header.stamp.nanosec == 10_000_000
    gap = late.header.stamp.nanosec - first.header.stamp.nanosec
    assert gap == pytest.approx(20_000_000, abs=1000)


def test_a_clock_that_was_set_back_is_followed():
    offset = sawyer.ClockOffset()
    assert offset.add(100.0, 50.0) == -50.0
    assert offset.add(53.0, 53.0) == -50.0  # the least of the last seconds
    for second in range(54, 68):
        found = offset.add(float(second), float(second))
    assert found == 0.0


def test_a_robot_is_heard_or_not_connected(mirror):
    assert mirror.obstacle(2.1) is None and mirror.connected(2.1)
    assert "silent" in str(mirror.obstacle(2.6)) and not mirror.connected(2.6)
    mirror.closed()
    assert "robot:9090" in str(mirror.obstacle(2.1))
    assert mirror.message(2.1, 0).enabled  # what was last known
    assert mirror.positions == {}


def test_nothing_is_sent_before_publishers_found_their_subscribers(mirror):
    mirror.opened(5.0)
    mirror.take_joint_states(joint_states(0.0), 5.5, 10**9)
    mirror.take_state(STATE, 5.5)
    assert mirror.obstacle(5.5).word == sawyer.DISCONNECTED
    mirror.take_joint_states(joint_states(0.0), 6.1, 10**9)
    mirror.take_state(STATE, 6.1)
    assert mirror.obstacle(6.1) is None


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"stopped": True, "estop_button": 1, "estop_source": 1}, "STOPPED: the emergency stop is"),
        ({"stopped": True, "estop_button": 3, "estop_source": 1}, "red button, and is released"),
        ({"stopped": True, "estop_button": 2, "estop_source": 3}, "a fault of a joint"),
        ({"error": True}, "FAULT"),
        ({"enabled": False}, "DISABLED"),
    ],
)
def test_a_state_says_what_to_do(mirror, fields, says):
    mirror.take_state({**STATE, **fields}, 2.0)
    assert says in str(mirror.obstacle(2.0))
    assert mirror.message(2.0, 0).reason == str(mirror.obstacle(2.0))


def test_a_cause_explains_only_what_came_after_it(mirror):
    mirror.take_collision({"collision_state": True})
    assert mirror.obstacle(2.0).word == "COLLISION"
    mirror.take_collision({"collision_state": False})
    assert mirror.obstacle_since(1.9, 2.1).word == "COLLISION"
    assert mirror.obstacle_since(2.05, 2.1) is None


class Wire:
    """What was published."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict]] = []
        self.there = True

    def __call__(self, topic: str, message: dict) -> bool:
        if self.there:
            self.sent.append((topic, message))
        return self.there

    def cancelled(self) -> list[str]:
        return [message["id"] for topic, message in self.sent if topic.endswith("/cancel")]


def entry(name: str, status: Status, text: str = ""):
    return {"goal_id": {"id": name}, "status": int(status), "text": text}


def listed(action: Ros1Action, *entries) -> None:
    action.take(action.status_topic, {"status_list": list(entries)})


def test_a_goal_without_a_connection_is_not_sent_later():
    wire = Wire()
    wire.there = False
    action = Ros1Action(NAME, "k", wire)
    assert action.send({}) is None and action.goals == ()
    wire.there = True
    listed(action)
    assert wire.sent == []


def test_goals_that_nobody_watches_are_cancelled_and_others_left_alone():
    wire = Wire()
    action = Ros1Action(NAME, "k", wire)
    own = action.send({})
    orphan = "s3k_sawyer_gateway-dead-3"
    ended = entry("s3k_sawyer_gateway-dead-2", Status.PREEMPTED)
    other = entry("/moveit-1", Status.ACTIVE)
    listed(action, entry(own.id, Status.ACTIVE), entry(orphan, Status.ACTIVE), ended, other)
    assert wire.cancelled() == [orphan]
    action.give_up(own)
    assert wire.cancelled() == [orphan, own.id] and action.goals == ()


def test_a_server_that_was_started_anew_has_lost_the_goal():
    action = Ros1Action(NAME, "k", Wire())
    goal = action.send({})
    for _ in range(10):
        listed(action)  # lists from before it was named say nothing
    assert not goal.over
    listed(action, entry(goal.id, Status.ACTIVE))
    for _ in range(4):
        listed(action)
    assert goal.over and goal.status is Status.LOST


def test_a_result_that_was_lost_is_replaced_by_the_list():
    action = Ros1Action(NAME, "k", Wire())
    goal = action.send({})
    for _ in range(4):
        listed(action, entry(goal.id, Status.ABORTED, "why"))
    assert not goal.over
    listed(action, entry(goal.id, Status.ABORTED, "why"))
    assert goal.over and goal.text == "why" and goal.result is None


def test_velocities_go_out_at_a_limited_rate_and_end_with_zeros():
    wire = Wire()
    forwarder = VelocityForwarder(JOINTS, rate_hz=50.0, timeout_s=0.1, publish=wire)
    for millisecond in range(0, 100, 2):  # commands at 500 Hz
        forwarder.take([0.1, -0.1], 1e-3 * millisecond, "")
    assert len(wire.sent) <= 6 and wire.sent[-1][1]["velocity"] == [0.1, -0.1]
    assert wire.sent[-1][1]["names"] == ["a", "b"] and wire.sent[-1][1]["mode"] == 2
    last = 0.098
    for tick in range(60):
        forwarder.tick(last + 0.01 * tick)
    values = [message["velocity"] for _, message in wire.sent]
    zeros = values.index([0.0, 0.0])
    assert values[zeros:] == [[0.0, 0.0]] * 5 and not forwarder.active
    assert zeros <= 6 + 6  # kept up for no longer than the timeout


@pytest.mark.parametrize(
    ("command", "obstacle", "says"),
    [
        ([0.1], "", "1 velocities"),
        ([0.1, math.inf], "", "finite"),
        ([0.1, 0.1], "COLLISION: it", "COLLISION"),
    ],
)
def test_a_command_that_cannot_be_means_zero(command, obstacle, says):
    wire = Wire()
    forwarder = VelocityForwarder(JOINTS, rate_hz=50.0, timeout_s=0.1, publish=wire)
    forwarder.take([0.1, 0.1], 0.0, "")
    forwarder.take(command, 0.01, obstacle)
    assert wire.sent[-1][1]["velocity"] == [0.0, 0.0]
    assert forwarder.refused == 1 and says in forwarder.reason
