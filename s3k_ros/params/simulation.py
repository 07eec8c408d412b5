"""Parameters of the simulated cell."""

from __future__ import annotations

import dataclasses

from s3k_ros.params.base import Parameters, param


@dataclasses.dataclass(frozen=True)
class ArmControlParameters(Parameters):
    """How the arm's trajectory controller judges goals and motion."""

    path_tolerance_rad: float = param(
        0.2, "Largest tracking error of a joint when a goal names none; 0: unlimited.",
        unit="rad", low=0.0, high=6.3,
    )  # fmt: skip
    goal_tolerance_rad: float = param(
        0.01, "Largest error of a joint at the end when a goal names none; 0: unlimited.",
        unit="rad", low=0.0, high=6.3,
    )  # fmt: skip
    goal_time_tolerance_s: float = param(
        1.0, "Time after the last point to reach it when a goal names none.",
        unit="s", low=0.0, high=60.0,
    )  # fmt: skip
    start_tolerance_rad: float = param(
        0.1, "Largest distance of a trajectory's start from the arm's commanded posture.",
        unit="rad", low=0.0, high=6.3,
    )  # fmt: skip
    stop_time_s: float = param(
        0.05, "Time in which a motion is slowed on its path after a cancel or a stop; what speed "
        "is left then, the joints brake with all their torque.", unit="s", low=0.02, high=2.0,
    )  # fmt: skip
    blend_time_s: float = param(
        0.15, "Time in which the offset of a replaced motion fades out.",
        unit="s", low=0.02, high=2.0,
    )  # fmt: skip
    watchdog_s: float = param(
        0.5, "The arm stops when the action server gave no sign of life for this long; 0: never.",
        unit="s", low=0.0, high=60.0,
    )  # fmt: skip
    velocity_watchdog_s: float = param(
        0.1, "The arm brakes when no joint velocities were commanded for this long.",
        unit="s", low=0.02, high=1.0,
    )  # fmt: skip
    velocity_acceleration_rad_s2: float = param(
        15.0, "Acceleration and braking of commanded joint velocities: as the admittance "
        "controller counts on. At home the torques of the joints allow 21.",
        unit="rad/s^2", low=0.5, high=100.0,
    )  # fmt: skip
    collision_force_n: float = param(
        100.0, "Net force on arm and hand at which the robot's own collision detection stops it; "
        "0: never.", unit="N", low=0.0, high=1000.0,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class GripperControlParameters(Parameters):
    """How the gripper moves and when it counts as stalled."""

    speed_rad_s: float = param(1.2, "Speed of the knuckle.", unit="rad/s", low=0.05, high=3.0)
    default_effort_n: float = param(
        40.0, "Grip force when a command names none.", unit="N", low=1.0, high=235.0
    )
    position_tolerance_rad: float = param(
        0.01, "Distance from the commanded position that counts as reached.",
        unit="rad", low=0.001, high=0.2,
    )  # fmt: skip
    stall_speed_rad_s: float = param(
        0.02, "Below this speed the gripper counts as standing.",
        unit="rad/s", low=0.001, high=1.0,
    )  # fmt: skip
    stall_time_s: float = param(
        0.25, "Standing for this long short of the goal is a stall.",
        unit="s", low=0.05, high=5.0,
    )  # fmt: skip
    timeout_s: float = param(
        5.0, "A command that neither arrives nor stalls fails after this.",
        unit="s", low=0.5, high=60.0,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SimCellParameters(Parameters):
    """The simulated cell as a node."""

    seed: int = param(0, "Seed of the first scene.", low=0, high=2**63 - 1, read_only=True)
    scene_family: str = param(
        "test", "Kinds of distractors, cloths and lights; the model was trained on train.",
        choices=("train", "dev", "test"), read_only=True,
    )  # fmt: skip
    scene_objects: tuple[str, ...] = param(
        ("fox",), "What is to be grasped, of fox, box, boot; bin beside them adds the bin.",
        read_only=True,
    )  # fmt: skip
    base_frame: str = param("base", "Frame of the robot's root.", read_only=True)
    image_width: int = param(
        640, "Width of the images; the height is 3/4 of it.",
        unit="px", low=64, high=1280, read_only=True,
    )  # fmt: skip
    image_rate_hz: float = param(
        5.0, "Image sets per second of simulated time.", unit="Hz", low=0.1, high=60.0
    )
    disabled_cameras: tuple[str, ...] = param(
        (), "Cameras that send nothing, to try the loss of a camera."
    )
    shadows: bool = param(False, "Render shadows: several times as slow.", read_only=True)
    scene_view: bool = param(
        True, "Offer scene/image_raw, a view of the whole cell, while someone listens.",
        read_only=True,
    )  # fmt: skip
    publish_calibration: bool = param(
        True, "Publish the cameras' TF; false when rig_description does.", read_only=True
    )
    publish_camera_info: bool = param(
        True, "Publish camera_info; false when rig_description does.", read_only=True
    )
    ground_truth_rate_hz: float = param(
        20.0, "Rate of sim/ground_truth.", unit="Hz", low=0.0, high=100.0, read_only=True
    )
    clock_rate_hz: float = param(
        50.0,
        "Rate of /clock. Each message costs every node that follows it half a millisecond.",
        unit="Hz",
        low=1.0,
        high=100.0,
        read_only=True,
    )
    tf_rate_hz: float = param(
        25.0, "Rate of the arm's TF.", unit="Hz", low=1.0, high=100.0, read_only=True
    )
    timestep_s: float = param(
        0.00125, "Time step of the physics.", unit="s", low=0.0005, high=0.005, read_only=True
    )
    physics_niceness: int = param(
        -10,
        "Niceness that the physics adds to its own; below 0 where the system allows it (root).",
        low=-20,
        high=19,
        read_only=True,
    )
    render_niceness: int = param(
        2, "Niceness that the renderer adds to its own.", low=0, high=19, read_only=True
    )
    wrench_noise: bool = param(
        True, "Add the FT 300's noise (moma, from its data sheet) to the wrench.", read_only=True
    )
    arm_action: str = param(
        "/robot/limb/right/follow_joint_trajectory", "Name of the arm's action.", read_only=True
    )
    gripper_action: str = param(
        "/robotiq_gripper_controller/gripper_cmd", "Name of the gripper's action.", read_only=True
    )
    gripper_action_type: str = param(
        "ParallelGripperCommand", "Type of the gripper's action: one type on a name.",
        choices=("ParallelGripperCommand", "GripperCommand"), read_only=True,
    )  # fmt: skip
    joint_states_topic: str = param(
        "/robot/joint_states", "Topic of the joint states.", read_only=True
    )
    wrench_topic: str = param(
        "/robotiq_force_torque_sensor_broadcaster/wrench", "Topic of the wrench.", read_only=True
    )
    robot_state_topic: str = param("/robot/state", "Topic of the robot's state.", read_only=True)
    velocity_command_topic: str = param(
        "/robot/limb/right/joint_velocity_command", "Topic of commanded joint velocities.",
        read_only=True,
    )  # fmt: skip
    zero_wrench_service: str = param(
        "/robotiq_force_torque_sensor_broadcaster/zero_ftsensor",
        "Service that zeroes the wrench.", read_only=True,
    )  # fmt: skip
    allow_stalling: bool = param(True, "A stalled grip succeeds; otherwise it aborts.")
    arm_server_enabled: bool = param(
        True, "False takes the arm's action server away, to try its loss."
    )
    gripper_server_enabled: bool = param(
        True, "False takes the gripper's action server away, to try its loss."
    )
