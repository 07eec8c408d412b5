"""Parameters of the grasp server. Lengths are in the robot's base frame unless a text says more."""

from __future__ import annotations

import dataclasses

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.base import Parameters, param


@dataclasses.dataclass(frozen=True)
class GraspParameters(Parameters):
    """What a grasp does when its goal does not say, and how its phases judge the world."""

    # What a goal may override
    approach: tuple[float, ...] = param(
        (0.0, 0.0, -1.0), "Direction of the hand's motion on its way in, base frame."
    )
    approach_distance_m: float = param(
        0.12, "Straight way before the grasp.", unit="m", low=0.02, high=0.3
    )
    lift_height_m: float = param(0.15, "Straight way up after it.", unit="m", low=0.02, high=0.4)
    opening_width_m: float = param(
        0.085, "Gap between the open jaws.", unit="m", low=0.005, high=0.2
    )
    grip_force_n: float = param(
        20.0, "Force of the jaws: a 2F-85's least, because soft toys slip out of a harder grip.",
        unit="N", low=1.0, high=235.0,
    )  # fmt: skip
    contact_force_limit_n: float = param(
        30.0, "Change of force at the wrist that stops the motion.", unit="N", low=2.0, high=200.0
    )
    min_confidence: float = param(
        0.5, "Least confidence of a keypoint to grasp at.", low=0.0, high=1.0
    )
    grasp_depth_m: float = param(
        0.005, "How far grasp_tcp goes past the keypoint on its way in, where the table allows it: "
        "the middle of a 2F-85's pads lies behind grasp_tcp.", unit="m", low=-0.05, high=0.05,
    )  # fmt: skip
    retreat_distance_m: float = param(
        0.10, "Straight way back after the jaws have let go; 0: the hand stays.",
        unit="m", low=0.0, high=0.3,
    )  # fmt: skip
    release_width_m: float = param(
        0.085, "Gap to which the jaws open to let go.", unit="m", low=0.005, high=0.2
    )
    # Placing
    place_uncertainty_m: float = param(
        0.06, "Largest extent of a keypoint's 95 % region for a place at it.",
        unit="m", low=0.001, high=1.0,
    )  # fmt: skip
    touch_force_n: float = param(
        6.0, "Change of force that ends the way down of a place until contact.",
        unit="N", low=1.0, high=100.0,
    )  # fmt: skip
    touch_speed_m_s: float = param(
        0.04, "Mean speed of that way down.", unit="m/s", low=0.005, high=0.5
    )
    # After a contact
    retract_distance_m: float = param(
        0.03, "Way back along where the hand came from after CONTACT_FORCE; 0: it stays.",
        unit="m", low=0.0, high=0.2,
    )  # fmt: skip
    retract_speed_m_s: float = param(
        0.05, "Speed of that way back.", unit="m/s", low=0.005, high=0.5
    )
    # Observing
    observe_timeout_s: float = param(
        5.0, "Longest wait for usable keypoints.", unit="s", low=0.1, high=60.0
    )
    observations: int = param(
        3, "Usable sets whose median is the keypoint's position.", low=1, high=20
    )
    keypoint_max_age_s: float = param(
        1.0, "Keypoints received longer ago than this are stale.", unit="s", low=0.05, high=10.0
    )
    uncertainty_margin_m: float = param(
        0.005,
        "Part of the opening that the 95 % region of the keypoint must leave free.",
        unit="m",
        low=0.0,
        high=0.1,
    )
    # Watching while moving
    lost_timeout_s: float = param(
        2.0, "A keypoint unusable for this long while the arm moves is lost.",
        unit="s", low=0.1, high=10.0,
    )  # fmt: skip
    correction_threshold_m: float = param(
        0.01, "The grasp is corrected when the keypoint moved further.",
        unit="m", low=0.001, high=0.2,
    )  # fmt: skip
    correction_limit_m: float = param(
        0.06, "A keypoint that moved further during align sends the arm back to approach.",
        unit="m", low=0.005, high=0.5,
    )  # fmt: skip
    correction_blind_m: float = param(
        0.05, "Last part of the way in, without corrections below correction_limit_m: there the "
        "hand hides what it is about to grasp, and perception errs.",
        unit="m", low=0.0, high=0.3,
    )  # fmt: skip
    max_corrections: int = param(6, "More corrections than this end the grasp.", low=0, high=100)
    # Geometry of the scene
    table_height_m: float = param(
        -0.163, "Height of the table's top.", unit="m", low=-2.0, high=2.0
    )
    finger_clearance_m: float = param(
        0.006, "Least gap between fingertips and table.", unit="m", low=0.0, high=0.1
    )
    transit_clearance_m: float = param(
        0.10, "Least gap between hand and table on joint moves, where start and end allow it.",
        unit="m", low=0.0, high=0.5,
    )  # fmt: skip
    obstacle_margin_m: float = param(
        0.01, "Least gap between arm and the boxes, walls and cameras of the scene file.",
        unit="m", low=0.0, high=0.2,
    )  # fmt: skip
    held_object_m: tuple[float, ...] = param(
        (0.08, 0.085, 0.08),
        "Sides of the box around what the jaws hold, along the axes of grasp_tcp "
        "and centred there; zeros: what is held counts for nothing.", unit="m", low=0.0, high=1.0,
    )  # fmt: skip
    tilts_rad: tuple[float, ...] = param(
        (0.0, 0.26, -0.26, 0.52, -0.52),
        "Tilts of the server's approach, about the jaws' axis and across it, for where it fails "
        "without. 0 alone: none. A goal's own approach is never tilted.",
        unit="rad", low=-1.2, high=1.2,
    )  # fmt: skip
    free_space_time_s: float = param(
        2.0, "Longest search for a way around obstacles, each time.", unit="s", low=0.05, high=30.0
    )
    workspace_low_m: tuple[float, ...] = param(
        (0.25, -0.65, -0.2), "Lower corner of the box in which the hand works.",
        unit="m", low=-3.0, high=3.0,
    )  # fmt: skip
    workspace_high_m: tuple[float, ...] = param(
        (1.0, 0.65, 0.7), "Upper corner of that box.", unit="m", low=-3.0, high=3.0
    )
    # Holding
    min_width_m: float = param(
        0.004, "Jaws closed further than this hold nothing.", unit="m", low=0.0, high=0.1
    )
    min_load_n: float = param(
        0.0, "A smaller change of the wrist's load after the lift leaves holding unknown. "
        "0: not asked.", unit="N", low=0.0, high=50.0,
    )  # fmt: skip
    verify_time_s: float = param(
        0.6, "Time the lifted arm stands before the judgement.", unit="s", low=0.1, high=10.0
    )
    steady_m: float = param(
        0.0015, "Jaws that closed less than this during verify_time_s are steady.",
        unit="m", low=0.0, high=0.02,
    )  # fmt: skip
    max_verify_s: float = param(
        3.0, "Longest wait for the jaws to become steady.", unit="s", low=0.1, high=30.0
    )
    # Limits in time
    gripper_timeout_s: float = param(
        6.0, "Longest opening or closing of the jaws.", unit="s", low=0.5, high=60.0
    )
    motion_margin_s: float = param(
        2.0, "A motion may last this much longer than planned.", unit="s", low=0.2, high=30.0
    )
    planning_timeout_s: float = param(5.0, "Longest planning.", unit="s", low=0.1, high=60.0)
    stop_timeout_s: float = param(
        1.5, "Longest wait for the arm to stand still at the end.", unit="s", low=0.1, high=10.0
    )
    joint_state_max_age_s: float = param(
        0.5, "Joint states received longer ago than this stop the motion.",
        unit="s", low=0.02, high=5.0,
    )  # fmt: skip
    # Gates while the arm moves (grasp/safety.py)
    robot_state_max_age_s: float = param(
        0.5, "A robot's state received longer ago than this stops the motion.",
        unit="s", low=0.05, high=5.0,
    )  # fmt: skip
    require_wrench: bool = param(
        True, "Nothing moves without a living force sensor; false where there is none."
    )
    wrench_max_age_s: float = param(
        0.5, "A wrench received longer ago than this stops the motion.",
        unit="s", low=0.02, high=5.0,
    )  # fmt: skip
    wrench_stuck_s: float = param(
        0.5, "A wrench that has not changed in its last digit for this long stops the motion: "
        "drivers repeat the last value of a sensor that fell silent. 0: never.",
        unit="s", low=0.0, high=60.0,
    )  # fmt: skip
    workspace_margin_m: float = param(
        0.05, "How far the moving hand may leave the workspace's box; one that begins further out "
        "may come in.", unit="m", low=0.0, high=1.0,
    )  # fmt: skip
    hand_speed_limit_m_s: float = param(
        1.5, "A hand measured faster than this stops.", unit="m/s", low=0.05, high=10.0
    )
    joint_speed_margin: float = param(
        1.25, "A joint measured faster than its limit times robot.speed_scale times this stops.",
        low=1.0, high=10.0,
    )  # fmt: skip
    clock_jump_s: float = param(
        1.0, "A clock that leaps by more than this between two looks ends the task, as does one "
        "that goes back.", unit="s", low=0.1, high=60.0,
    )  # fmt: skip
    robot_timeout_s: float = param(
        2.0, "Longest wait for joint states and the action servers of arm and gripper.",
        unit="s", low=0.0, high=60.0,
    )  # fmt: skip
    # Several goals
    second_goal: str = param(
        "reject", "What a goal meets while another runs: BUSY, or the first ends PREEMPTED.",
        choices=("reject", "preempt"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("approach", "workspace_low_m", "workspace_high_m", "held_object_m"):
            if len(getattr(self, name)) != 3:
                raise ConfigurationError(f"GraspParameters.{name} must have three elements")
        if sum(v * v for v in self.approach) < 1e-6:
            raise ConfigurationError("GraspParameters.approach must not be the zero vector")
        if any(a >= b for a, b in zip(self.workspace_low_m, self.workspace_high_m, strict=True)):
            raise ConfigurationError(
                "GraspParameters.workspace_low_m must lie below workspace_high_m"
            )


@dataclasses.dataclass(frozen=True)
class RobotParameters(Parameters):
    """The arm and gripper: names, model and limits of motion. Defaults: Sawyer with a 2F-85."""

    robot_description: str = param(
        "", "URDF file of arm and gripper; empty: the package's sawyer_2f85.urdf.", read_only=True
    )
    base_frame: str = param("base", "Frame of the keypoints and of all poses.", read_only=True)
    tcp_frame: str = param(
        "grasp_tcp", "Frame between the closed pads: z out of the hand, y along the closing jaws.",
        read_only=True,
    )  # fmt: skip
    arm_joints: tuple[str, ...] = param(
        tuple(f"right_j{i}" for i in range(7)), "Joints of the arm, base to hand.", read_only=True
    )
    home_rad: tuple[float, ...] = param(
        (0.0, -1.60, 0.0, 2.45, 0.0, 0.72, 1.745),
        "A posture in the middle of the workspace, from which inverse kinematics also starts.",
        unit="rad", low=-7.0, high=7.0,
    )  # fmt: skip
    max_acceleration: tuple[float, ...] = param(
        (3.5, 2.5, 5.0, 5.0, 5.0, 5.0, 5.0),
        "Acceleration limits of the arm's joints; no vendor figure, chosen on the safe side.",
        unit="rad/s^2", low=0.01, high=100.0,
    )  # fmt: skip
    max_jerk: tuple[float, ...] = param(
        (35.0, 25.0, 50.0, 50.0, 50.0, 50.0, 50.0),
        "Jerk limits: acceleration within a tenth of a second.",
        unit="rad/s^3", low=0.1, high=10000.0,
    )  # fmt: skip
    speed_scale: float = param(
        0.7, "Scale of all speeds; accelerations scale with it too.", low=0.01, high=1.0
    )
    line_speed_m_s: float = param(
        0.17, "Speed of the hand on straight lines, before scaling.", unit="m/s", low=0.01, high=1.0
    )
    limit_margin_rad: float = param(
        0.03, "Distance kept from joint limits.", unit="rad", low=0.0, high=0.5
    )
    singularity_margin: float = param(
        0.02, "Least singular value of the hand's Jacobian (m/rad; turns count with 0.3 m) on "
        "straight ways; postures with three times as much are preferred.", low=0.0, high=0.3,
    )  # fmt: skip
    trajectory_step_s: float = param(
        0.02, "Time between points of a trajectory.", unit="s", low=0.005, high=0.1
    )
    stamp_trajectories: bool = param(
        True, "Trajectories carry their start time. False: they start when they arrive.",
    )  # fmt: skip
    rest_speed_rad_s: float = param(
        0.01, "An arm whose joints are slower than this stands still.",
        unit="rad/s", low=0.0005, high=0.2,
    )  # fmt: skip
    correction_lead_s: float = param(
        0.15, "A corrected trajectory leaves the running one this long after planning began.",
        unit="s", low=0.02, high=1.0,
    )  # fmt: skip
    tool_weight_n: float = param(
        12.0, "Weight beyond the force sensor, which it feels turn with the hand: allowed for "
        "twice where wrench.mass_kg does not tell it.", unit="N", low=0.0, high=200.0,
    )  # fmt: skip
    payload_weight_n: float = param(
        5.0, "The same for what is held, during transfer.", unit="N", low=0.0, high=200.0
    )
    wrench_frame: str = param(
        "robotiq_ft_frame_id", "The force sensor's link in the description.", read_only=True
    )
    # Gripper
    gripper_joint: str = param(
        "robotiq_85_left_knuckle_joint", "Joint of the gripper in the joint states.", read_only=True
    )
    gripper_action_type: str = param(
        "ParallelGripperCommand", "Type of the gripper's action.",
        choices=("ParallelGripperCommand", "GripperCommand"), read_only=True,
    )  # fmt: skip
    gripper_opening_m: float = param(
        0.085, "Gap of the fully open jaws.", unit="m", low=0.01, high=0.3
    )
    gripper_closed_rad: float = param(
        0.7929, "Joint position of the closed jaws; open is 0.", unit="rad", low=0.01, high=3.2
    )
    fingertip_beyond_tcp_m: float = param(
        0.014, "How far the fingertips reach past grasp_tcp, at most, while the jaws close.",
        unit="m", low=0.0, high=0.1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("home_rad", "max_acceleration", "max_jerk"):
            if len(getattr(self, name)) != len(self.arm_joints):
                raise ConfigurationError(
                    f"RobotParameters.{name} must have one element for each of arm_joints"
                )


@dataclasses.dataclass(frozen=True)
class GraspServerParameters(Parameters):
    """The grasp server as a node: what it listens to, and how often it works."""

    arm_action: str = param(
        "/robot/limb/right/follow_joint_trajectory", "The arm's FollowJointTrajectory action.",
        read_only=True,
    )  # fmt: skip
    gripper_action: str = param(
        "/robotiq_gripper_controller/gripper_cmd", "The gripper's action.", read_only=True
    )
    joint_states: str = param(
        "/robot/joint_states", "Topic with the joints of arm and gripper.", read_only=True
    )
    wrench: str = param(
        "/robotiq_force_torque_sensor_broadcaster/wrench", "Topic of the force sensor.",
        read_only=True,
    )  # fmt: skip
    robot_state: str = param(
        "/robot/state", "Topic with what the robot says of itself (s3k_ros/RobotState); empty: "
        "there is none, and no gate.", read_only=True,
    )  # fmt: skip
    scene: str = param(
        "config/scene.yaml", "Scene file: boxes, walls and cameras around the robot; a relative "
        "path is looked up in the package too. Empty: nothing but the table.", read_only=True,
    )  # fmt: skip
    free_space_planner: str = param(
        "builtin", "Who finds ways around obstacles: builtin (OMPL), or moveit (move_group); what "
        "they find is checked here before anything moves.", choices=("builtin", "moveit"),
        read_only=True,
    )  # fmt: skip
    tick_rate_hz: float = param(
        30.0, "Steps of the state machine.", unit="Hz", low=10.0, high=100.0, read_only=True
    )
    feedback_rate_hz: float = param(
        10.0, "Feedback to the client, besides that at every change of phase.",
        unit="Hz", low=0.5, high=100.0, read_only=True,
    )  # fmt: skip
    tf_timeout_s: float = param(
        2.0, "Longest wait for the transform of an approach that is not in the base frame.",
        unit="s", low=0.0, high=60.0, read_only=True,
    )  # fmt: skip
    input_timeout_s: float = param(
        2.0, "Silence after which an input is reported as stale.",
        unit="s", low=0.1, high=60.0, read_only=True,
    )  # fmt: skip
    log_folder: str = param(
        "s3k_goal_logs", "Folder of the goal logs, a file a goal; a relative path lies in ROS_HOME "
        "(~/.ros). Empty: none are written.", read_only=True,
    )  # fmt: skip
    log_files: int = param(
        500, "Goal logs that stay, the newest.", low=1, high=100000, read_only=True
    )
    log_megabytes: int = param(
        500, "Size of all goal logs together; the oldest ones make way.",
        unit="MB", low=1, high=1000000, read_only=True,
    )  # fmt: skip
