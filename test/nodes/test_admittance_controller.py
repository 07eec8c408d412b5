"""`admittance_controller` over real ROS, with a kinematic robot that obeys joint velocities."""

from __future__ import annotations

import time

import numpy as np
import pytest
from support.velocity_arm import HOME, PERIOD

from s3k_ros.params.admittance import AdmittanceNodeParameters, ControlledArmParameters

pytestmark = [pytest.mark.ros, pytest.mark.sim]
TOPICS = AdmittanceNodeParameters()
# A busy machine must not look like a dead robot: tests of the watchdogs cut inputs for good.
SLACK = {"admittance.joints_timeout_s": 1.5, "admittance.wrench_timeout_s": 1.5}


class Robot:
    """Joint states and a wrench at 100 Hz while spun, and the newest command obeyed."""

    def __init__(self, ros) -> None:
        from geometry_msgs.msg import TwistStamped, WrenchStamped
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Float64MultiArray

        from s3k_ros.msg import RobotState
        from s3k_ros.ros import qos

        self._ros, node = ros, ros.node
        self.joints, self.velocity = HOME.copy(), np.zeros(7)
        self.force, self.speaks, self.ready, self.commands = 0.0, True, True, 0
        self.twist: tuple[float, ...] | None = None
        self.frame = ""
        self._said = self._sent = 0.0
        self._types = TwistStamped, WrenchStamped, JointState, RobotState
        self._joints_out = node.create_publisher(JointState, TOPICS.joint_states, 10)
        self._wrench_out = node.create_publisher(WrenchStamped, TOPICS.wrench, 10)
        self._state_out = node.create_publisher(RobotState, TOPICS.robot_state, qos.latched())
        self._twist_out = node.create_publisher(TwistStamped, "cartesian_velocity_command", 1)
        node.create_subscription(Float64MultiArray, TOPICS.velocity_command, self._obey, 1)
        node.create_timer(PERIOD, self._tick)

    def _obey(self, message) -> None:
        self.commands += 1
        self.velocity = np.array(message.data)

    def _tick(self) -> None:
        twist_type, wrench_type, joints_type, state_type = self._types
        self.joints = self.joints + PERIOD * self.velocity
        now = time.monotonic()
        if now - self._said > 0.2:
            self._said = now
            self._state_out.publish(state_type(connected=True, enabled=self.ready))
        if self.speaks:
            # Names as a driver sends them: the arm's among others, in another order.
            names = ["head_pan", *reversed(ControlledArmParameters().arm_joints)]
            positions = [0.0, *self.joints[::-1].tolist()]
            self._joints_out.publish(joints_type(name=names, position=positions))
            message = wrench_type()
            message.header.frame_id = "robotiq_ft_frame_id"
            message.wrench.force.z = self.force
            self._wrench_out.publish(message)
        if self.twist is not None and now - self._sent > 0.25:
            self._sent = now
            command = twist_type()
            command.header.frame_id = self.frame
            v, w = command.twist.linear, command.twist.angular
            v.x, v.y, v.z, w.x, w.y, w.z = self.twist
            self._twist_out.publish(command)

    def enable(self, on: bool = True):
        from std_srvs.srv import SetBool

        return self._ros.call(SetBool, "admittance/enable", SetBool.Request(data=on))

    def until(self, done, what: str) -> None:
        self._ros.spin_until(done, what=what)


@pytest.fixture(scope="module")
def node(start_node):
    process = start_node("admittance_controller", SLACK)
    process.wait_until_ready()
    return process


@pytest.fixture(scope="module")
def _robot(ros, node):
    return Robot(ros)


@pytest.fixture
def robot(_robot, ros):
    """At home, still, heard, enabled."""
    robot = _robot
    robot.twist, robot.force, robot.speaks, robot.ready, robot.frame = None, 0.0, True, True, ""
    robot.joints, robot.velocity = HOME.copy(), np.zeros(7)
    robot.until(lambda: robot.enable().success, "enabled")
    yield robot
    robot.twist, robot.speaks, robot.ready = None, True, True
    robot.enable(False)
    ros.spin(0.3)


def moving(robot: Robot) -> bool:
    return float(np.abs(robot.velocity).max()) > 0.01


def still(robot: Robot) -> bool:
    return not np.abs(robot.velocity).max() > 1e-3


def test_commands_at_4_hz_move_the_arm_and_their_end_stops_it(robot):
    robot.twist = (0.05, 0.0, 0.0, 0.0, 0.0, 0.0)
    robot.until(lambda: moving(robot), "motion")
    robot.twist = None
    robot.until(lambda: still(robot), "a stop")


def test_a_twist_in_the_tools_frame_is_turned(robot):
    from s3k_ros.ros import qos

    out = robot._ros.collect(robot._types[0], "admittance/twist", qos.keypoints())
    robot.frame, robot.twist = "grasp_tcp", (0.0, 0.0, 0.05, 0.0, 0.0, 0.0)
    robot.until(lambda: moving(robot), "motion")
    robot.until(lambda: out and out[-1].twist.linear.z < -0.04, "motion downwards")
    assert out[-1].header.frame_id == "base"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_hostile_twists_stop_the_arm_and_the_node_lives(robot, node, value):
    robot.twist = (0.05, 0.0, 0.0, 0.0, 0.0, 0.0)
    robot.until(lambda: moving(robot), "motion")
    robot.twist = (0.05, value, 0.0, 0.0, 0.0, 0.0)
    robot.until(lambda: still(robot), "a stop")
    assert node.returncode is None


@pytest.mark.parametrize("fault", ["silence", "contact", "robot disabled"])
def test_faults_stop_the_arm_and_then_the_node_is_silent(robot, ros, fault):
    robot.twist = (0.05, 0.0, 0.0, 0.0, 0.0, 0.0)
    robot.until(lambda: moving(robot), "motion")
    if fault == "silence":
        robot.speaks = False
    elif fault == "contact":
        robot.force = 80.0
    else:
        robot.ready, robot._said = False, 0.0
    robot.until(lambda: still(robot), "a stop")

    def silent() -> bool:
        before = robot.commands
        ros.spin(0.3)
        return robot.commands == before

    robot.until(silent, "silence")
    said = {"silence": "no ", "contact": "N of contact", "robot disabled": "motors are off"}[fault]
    robot.until(lambda: said in robot.enable().message, "a refusal")


def test_a_running_trajectory_bars_the_controller(robot, ros):
    from action_msgs.msg import GoalStatus, GoalStatusArray
    from rclpy.qos import DurabilityPolicy, QoSProfile

    profile = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    out = ros.node.create_publisher(GoalStatusArray, f"{TOPICS.arm_action}/_action/status", profile)
    running = GoalStatusArray(status_list=[GoalStatus(status=GoalStatus.STATUS_EXECUTING)])
    robot.twist = (0.05, 0.0, 0.0, 0.0, 0.0, 0.0)
    robot.until(lambda: moving(robot), "motion")
    out.publish(running)
    robot.until(lambda: still(robot), "a stop")
    robot.until(lambda: "a trajectory runs" in robot.enable().message, "a refusal")
    ros.node.destroy_publisher(out)
    robot.until(lambda: robot.enable().success, "enabled once the server has gone")
