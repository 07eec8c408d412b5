"""Interfaces: field for field upstream's, shown by the type hashes that DDS compares."""

import json
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_share_directory
from control_msgs.action import FollowJointTrajectory, ParallelGripperCommand
from control_msgs.msg import JointComponentTolerance
from moveit_msgs.msg import Constraints, JointConstraint, MoveItErrorCodes
from moveit_msgs.srv import GetMotionPlan

# Computed by rosidl from the definitions of control_msgs and geometry2, branch jazzy, moveit_msgs
# 2.6.0 (Jazzy's) and object_recognition_msgs, branch ros2. A hash covers all that a type holds.
HASHES = {
    "control_msgs/action/FollowJointTrajectory": (
        "RIHS01_738ebcb7a2d7cfa42f9f1001cc99ce3a4383d1cfe508015d9be8485e4b1c66f6"
    ),
    "control_msgs/action/GripperCommand": (
        "RIHS01_e17c0e644eccf14bea84a0a93e0977182872c2eb7873ca6694900059b46dbc84"
    ),
    "control_msgs/action/ParallelGripperCommand": (
        "RIHS01_adfd3c1ebe8abc38ebcc0e454b6423d291d4010dd5697d14eca5b9be4726ae18"
    ),
    "control_msgs/msg/GripperCommand": (
        "RIHS01_57eb8f326c9889ca8bb34ead82cc94cc09bf6bc5c3b6c09546dca3a00b589890"
    ),
    "control_msgs/msg/JointComponentTolerance": (
        "RIHS01_739ea7566931944d33830fa10f1bf5e7a7fbdc3172bce7a7eaac642bd6e3ffa4"
    ),
    "control_msgs/msg/JointTolerance": (
        "RIHS01_c254f9cece0f3b733017b6990fd46d1326e25242d6b8844398c97d9a88e7d648"
    ),
    "moveit_msgs/msg/MoveItErrorCodes": (
        "RIHS01_dcda8a9950cf6dd6ac221c2c0d2509f52f136afa0403dd19beacdf07e83e4a07"
    ),
    "moveit_msgs/msg/RobotState": (
        "RIHS01_7c516dc15713e545cb2836c5ca745fbdcfcc10de4855a41c83e6b4bf1afc3f83"
    ),
    "moveit_msgs/srv/GetMotionPlan": (
        "RIHS01_0e118e1d8d53d5fea8eea309fc06a58239fa0e617864127e7de8399ab7335b27"
    ),
    "object_recognition_msgs/msg/ObjectType": (
        "RIHS01_5eb3ee3976403366d7c50d7dbee8bec96b3bced1e752674a7194a35841632134"
    ),
    "tf2_msgs/msg/TFMessage": (
        "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"
    ),
}


@pytest.mark.parametrize("name", HASHES)
def test_type_hash_is_upstreams(name):
    package, rest = name.split("/", 1)
    description = json.loads(
        (Path(get_package_share_directory(package)) / f"{rest}.json").read_text()
    )
    hashes = {item["type_name"]: item["hash_string"] for item in description["type_hashes"]}
    assert hashes[name] == HASHES[name]


def test_follow_joint_trajectory_names_its_error_codes():
    result = FollowJointTrajectory.Result
    assert [
        result.SUCCESSFUL,
        result.INVALID_GOAL,
        result.INVALID_JOINTS,
        result.OLD_HEADER_TIMESTAMP,
        result.PATH_TOLERANCE_VIOLATED,
        result.GOAL_TOLERANCE_VIOLATED,
    ] == [0, -1, -2, -3, -4, -5]


def test_component_tolerance_names_its_components():
    kind = JointComponentTolerance
    values = [kind.X_AXIS, kind.Y_AXIS, kind.Z_AXIS, kind.TRANSLATION, kind.ROTATION]
    assert values == [1, 2, 3, 4, 5]


def test_moveit_names_its_error_codes():
    code = MoveItErrorCodes
    values = [code.SUCCESS, code.FAILURE, code.PLANNING_FAILED, code.TIMED_OUT]
    assert values == [1, 99999, -1, -6]
    assert [code.START_STATE_IN_COLLISION, code.GOAL_IN_COLLISION] == [-10, -12]
    assert code.INVALID_GROUP_NAME == -15


def test_a_motion_plan_request_holds_start_and_goal():
    request = GetMotionPlan.Request().motion_plan_request
    assert not request.start_state.is_diff
    request.goal_constraints = [Constraints(joint_constraints=[JointConstraint(position=1.0)])]
    assert request.goal_constraints[0].joint_constraints[0].position == 1.0
    answer = GetMotionPlan.Response().motion_plan_response
    assert answer.trajectory.joint_trajectory.points == [] and answer.error_code.val == 0


def test_parallel_gripper_result_tells_stall_and_state():
    result = ParallelGripperCommand.Result(stalled=True)
    assert result.stalled and not result.reached_goal
    assert list(result.state.position) == []
