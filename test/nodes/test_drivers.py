"""The grasp server over other drivers than the simulated cell: only names change.

Stood in for: the robot and intera (`support/intera.py` behind a real rosbridge websocket and the
real gateway), and a ros2_control controller (`support/driven_robots.py`); perception and gripper
are `support/fake_robot.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from ament_index_python.packages import get_package_share_directory
from rclpy.action import ActionClient
from support.server_cell import PATIENCE

from s3k_ros.action import GraspAtKeypoint
from s3k_ros.params.grasp import GraspServerParameters

pytestmark = pytest.mark.ros

CONFIG = Path(get_package_share_directory("s3k_ros")) / "config"
Result = GraspAtKeypoint.Result
PAW = "right_front_paw"
PARAMS = {
    "use_sim_time": True,
    "robot.speed_scale": 1.0,
    "grasp.verify_time_s": 0.3,
    "grasp.grasp_depth_m": 0.0,
    "grasp.lift_height_m": 0.06,
    **PATIENCE,
    "grasp.keypoint_max_age_s": 10.0,
    "grasp.robot_timeout_s": 60.0,
    "grasp.observe_timeout_s": 60.0,
    "grasp.motion_margin_s": 20.0,
    "grasp.planning_timeout_s": 60.0,
    "grasp.stop_timeout_s": 10.0,
}
SPEED = 3.0  # of simulated time


def grasp_begun(ros, robot):
    """A goal under way, and the phases that it told."""
    client = ActionClient(ros.node, GraspAtKeypoint, "grasp_at_keypoint")
    ros.spin_until(client.server_is_ready, what="grasp_at_keypoint")
    ros.spin_until(robot.heard, what="subscriptions of the server")
    phases: list[str] = []
    future = client.send_goal_async(
        GraspAtKeypoint.Goal(keypoint=PAW, toward_keypoint="body"),
        feedback_callback=lambda message: phases.append(message.feedback.phase),
    )
    ros.spin_until(future.done, what="an answer to the goal")
    return future.result(), phases


def result_of(ros, handle):
    future = handle.get_result_async()
    ros.spin_until(future.done, what="a result")
    return future.result().result


def names_of(file: str) -> dict[str, object]:
    content = yaml.safe_load((CONFIG / file).read_text())
    return dict(content["/**/grasp_server"]["ros__parameters"])


@pytest.mark.parametrize("file", ["sawyer.yaml", "ros2_control.yaml"])
def test_files_of_drivers_hold_the_servers_names_and_nothing_else(file):
    names = names_of(file)
    assert set(names) == {"arm_action", "gripper_action", "joint_states", "wrench", "robot_state"}
    parameters = GraspServerParameters.from_mapping(names)
    assert (parameters == GraspServerParameters()) == (file == "sawyer.yaml")


def test_a_whole_grasp_over_the_gateway(ros, module_domain, start_node):
    from support.driven_robots import RobotWithoutArm
    from support.intera import Intera
    from support.rosbridge_server import RosbridgeServer

    bridge = RosbridgeServer()
    robot = RobotWithoutArm(module_domain)
    intera = Intera(bridge)
    try:
        robot.speed = SPEED
        bridge.clock = lambda: robot.now + 4321.0
        parameters = {"use_sim_time": True, "settle_s": 0.1, "rosbridge_port": bridge.port}
        parameters |= {"silence_s": 5.0, "answer_timeout_s": 30.0, "late_start_s": 10.0}
        start_node("sawyer_gateway", parameters)
        server = start_node("grasp_server", PARAMS)
        handle, phases = grasp_begun(ros, robot)
        result = result_of(ros, handle)
        assert result.code == Result.SUCCESS, f"{result.message}\n{server.output}"
        assert result.holding == Result.HOLDING and result.phase == "verify"
        assert list(dict.fromkeys(phases))[-3:] == ["close", "lift", "verify"]
        assert len(intera.sent) >= 3 and bridge.errors == []
        robot.reset()
        bridge.call(intera.reset)
        ros.spin(0.5)  # the server's view of the joints follows
        handle, phases = grasp_begun(ros, robot)
        ros.spin_until(lambda: intera.moving, what="a motion")
        intera.press_estop()
        result = result_of(ros, handle)
        # Whichever comes first: the robot's state, or the arm's end with the gateway's reason.
        assert result.code in (Result.ROBOT_DISABLED, Result.ARM_ABORTED), result.message
        assert "emergency stop" in result.message
        server.stop()
    finally:
        intera.close()
        robot.close()
        bridge.close()


def test_a_whole_grasp_with_a_ros2_control_controller(ros, module_domain, start_node):
    """The toy moves meanwhile: a corrected trajectory replaces the running one."""
    from support.driven_robots import Ros2ControlRobot

    robot = Ros2ControlRobot(module_domain + 1)
    helper = type(ros)(module_domain + 1)
    try:
        robot.speed = SPEED
        file = ["--params-file", str(CONFIG / "ros2_control.yaml")]
        parameters = {**PARAMS, "free_space_planner": "moveit"}  # asked only for ways around
        server = start_node("grasp_server", parameters, arguments=file, domain=module_domain + 1)
        handle, phases = grasp_begun(helper, robot)
        helper.spin_until(lambda: "align" in phases, what="phase align")
        robot.keypoints[PAW] = robot.keypoints[PAW] + np.array([0.015, -0.015, 0.0])
        result = result_of(helper, handle)
        clients = helper.node.get_client_names_and_types_by_node("grasp_server", "/")
        assert ("/plan_kinematic_path", ["moveit_msgs/srv/GetMotionPlan"]) in clients
        assert robot.rejected == []
        assert result.code == Result.SUCCESS, f"{result.message}\n{server.output}"
        assert len(robot.arm_goals) >= 4
    finally:
        helper.close()
        robot.close()
