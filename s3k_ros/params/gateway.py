"""Parameters of the gateway to a Sawyer on ROS 1."""

from __future__ import annotations

import dataclasses

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.base import Parameters, param


@dataclasses.dataclass(frozen=True)
class SawyerGatewayParameters(Parameters):
    """A Sawyer behind rosbridge, with the names that a ROS 2 driver would have."""

    rosbridge_host: str = param(
        "127.0.0.1", "Host of the rosbridge server on the robot's ROS 1 side.", read_only=True
    )
    rosbridge_port: int = param(9090, "Its port.", low=1, high=65535, read_only=True)
    joints: tuple[str, ...] = param(
        tuple(f"right_j{i}" for i in range(7)),
        "Joints of the arm, base to hand; joint velocity commands come in this order.",
        read_only=True,
    )
    # Names on the ROS 2 side
    arm_action: str = param(
        "/robot/limb/right/follow_joint_trajectory",
        "The arm's FollowJointTrajectory action; also its name on the ROS 1 side.",
        read_only=True,
    )
    joint_states: str = param("/robot/joint_states", "Topic of the joint states.", read_only=True)
    robot_state: str = param("/robot/state", "Topic of the robot's state.", read_only=True)
    joint_velocity_command: str = param(
        "/robot/limb/right/joint_velocity_command", "Topic of joint velocities to forward.",
        read_only=True,
    )  # fmt: skip
    # The link
    stream_rate_hz: float = param(
        50.0, "Highest rate of joint states and robot state over the link: JSON is slow.",
        unit="Hz", low=5.0, high=100.0, read_only=True,
    )  # fmt: skip
    silence_s: float = param(
        0.5, "A robot whose joint states or state are silent for this long is not connected.",
        unit="s", low=0.1, high=10.0, read_only=True,
    )  # fmt: skip
    settle_s: float = param(
        1.0, "No goal is sent for this long after a connection: ROS 1 connects publishers late.",
        unit="s", low=0.0, high=10.0, read_only=True,
    )  # fmt: skip
    reconnect_s: float = param(
        2.0, "Longest pause between attempts to connect.", unit="s", low=0.1, high=60.0,
        read_only=True,
    )  # fmt: skip
    # Goals
    answer_timeout_s: float = param(
        2.0, "A goal that intera's action server does not answer in this time ends.",
        unit="s", low=0.1, high=30.0,
    )  # fmt: skip
    cancel_timeout_s: float = param(
        1.0, "A cancel that it does not confirm in this time ends the goal as aborted.",
        unit="s", low=0.1, high=30.0,
    )  # fmt: skip
    late_start_s: float = param(
        0.5, "A trajectory whose start lies further in the past is refused; others start late.",
        unit="s", low=0.0, high=10.0,
    )  # fmt: skip
    path_tolerance_rad: float = param(
        0.2, "A trajectory must begin this close to the arm; intera's own default.",
        unit="rad", low=0.001, high=0.5,
    )  # fmt: skip
    arrival_tolerance_rad: float = param(
        0.05, "Success of intera counts when every joint is this close to the trajectory's end.",
        unit="rad", low=0.001, high=0.5,
    )  # fmt: skip
    # Joint velocities
    velocity_rate_hz: float = param(
        50.0, "Highest rate of joint velocities over the link.",
        unit="Hz", low=10.0, high=100.0, read_only=True,
    )  # fmt: skip
    velocity_timeout_s: float = param(
        0.1, "Joint velocities that stop for this long end with zero velocity.",
        unit="s", low=0.02, high=1.0,
    )  # fmt: skip
    joint_command_timeout_s: float = param(
        0.2, "The robot's own watchdog for joint commands, set at each connection: what stops the "
        "arm when the link is cut while velocities stream.",
        unit="s", low=0.05, high=1.0, read_only=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.joints or len(set(self.joints)) != len(self.joints):
            raise ConfigurationError(
                f"SawyerGatewayParameters.joints = {self.joints} must be different names"
            )
