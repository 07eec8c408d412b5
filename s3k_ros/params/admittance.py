"""Parameters of the admittance controller. Frames: base frame unless a text says more."""

from __future__ import annotations

import dataclasses

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.base import Parameters, param


@dataclasses.dataclass(frozen=True)
class AdmittanceParameters(Parameters):
    """The law, its limits and its watchdogs (docs/admittance.md)."""

    # The law
    mass_kg: float = param(8.0, "Virtual mass M.", unit="kg", low=0.5, high=200.0)
    damping_n_s_m: float = param(
        600.0,
        "Virtual damping D: in contact a commanded speed v presses with D v, up to push_force_n. "
        "Less yields faster, but is stable on softer surfaces only.",
        unit="N s/m", low=20.0, high=5000.0,
    )  # fmt: skip
    inertia_kg_m2: float = param(
        1.2, "Virtual inertia, of all axes through the tool point.",
        unit="kg m^2", low=0.01, high=20.0,
    )  # fmt: skip
    rotational_damping_n_m_s: float = param(
        60.0, "Virtual damping of rotation.", unit="N m s/rad", low=0.5, high=500.0
    )
    dead_band_n: float = param(
        3.0, "Forces up to this move nothing, and are taken off larger ones.",
        unit="N", low=0.0, high=50.0,
    )  # fmt: skip
    dead_band_n_m: float = param(
        0.5, "The same for torques about the tool point.", unit="N m", low=0.0, high=10.0
    )
    filter_hz: float = param(
        15.0,
        "Cut-off of the wrench's first-order low pass; the brake at contact does without.",
        unit="Hz",
        low=1.0,
        high=100.0,
    )
    push_force_n: float = param(
        20.0, "With this force, beside the dead band, a command presses at most, however fast.",
        unit="N", low=1.0, high=150.0,
    )  # fmt: skip
    contact_closing_m_s: float = param(
        0.005, "In contact, the fastest motion towards what is touched.",
        unit="m/s", low=0.001, high=1.0,
    )  # fmt: skip
    contact_recovery_m_s2: float = param(
        0.05, "Rate at which it rises again once nothing is touched any more.",
        unit="m/s^2", low=0.001, high=100.0,
    )  # fmt: skip
    force_limit_n: float = param(
        60.0, "A larger external force stops the arm and disables the controller.",
        unit="N", low=5.0, high=300.0,
    )  # fmt: skip
    torque_limit_n_m: float = param(
        12.0, "The same for the torque about the tool point.", unit="N m", low=0.5, high=30.0
    )
    enable_force_n: float = param(
        5.0, "Enabling is refused at a larger force: then calibration or zero is due.",
        unit="N", low=0.5, high=100.0,
    )  # fmt: skip
    # Limits of motion
    max_linear_m_s: float = param(
        0.15, "Speed of the tool point; faster commands are slowed down, ten times faster ones "
        "refused.", unit="m/s", low=0.005, high=1.0,
    )  # fmt: skip
    max_angular_rad_s: float = param(
        0.5, "Angular speed of the tool; as above.", unit="rad/s", low=0.01, high=3.0
    )
    linear_acceleration_m_s2: float = param(
        1.0, "Rate at which commands are followed; yielding to contact is faster.",
        unit="m/s^2", low=0.05, high=10.0,
    )  # fmt: skip
    angular_acceleration_rad_s2: float = param(
        2.0, "The same for rotation.", unit="rad/s^2", low=0.1, high=50.0
    )
    workspace_low_m: tuple[float, ...] = param(
        (0.25, -0.65, -0.2), "Lower corner of the box that the tool point does not leave.",
        unit="m", low=-3.0, high=3.0,
    )  # fmt: skip
    workspace_high_m: tuple[float, ...] = param(
        (1.0, 0.65, 0.7), "Upper corner of that box.", unit="m", low=-3.0, high=3.0
    )
    wall_gain_1_s: float = param(
        4.0, "Largest speed towards a wall or a joint limit, for each metre or radian to it.",
        unit="1/s", low=0.5, high=20.0,
    )  # fmt: skip
    joint_speed_scale: float = param(
        0.5, "Share of the description's joint speeds that is used.", low=0.01, high=1.0
    )
    joint_acceleration: tuple[float, ...] = param(
        (15.0,) * 7,
        "Acceleration limits of the arm's joints: above what the grasp server plans with, since "
        "contact must be answered within tens of milliseconds, from low speeds.",
        unit="rad/s^2", low=0.1, high=200.0,
    )  # fmt: skip
    limit_margin_rad: float = param(
        0.03, "Distance kept from joint limits.", unit="rad", low=0.0, high=0.5
    )
    posture_gain_1_s: float = param(
        0.5, "How strongly a moving arm's elbow returns to where it was when enabled; 0: never.",
        unit="1/s", low=0.0, high=5.0,
    )  # fmt: skip
    avoid_table: bool = param(
        True, "Arm and wrist, without the gripper, keep table_clearance_m from the table."
    )
    table_height_m: float = param(
        -0.163, "Height of the table's top.", unit="m", low=-2.0, high=2.0
    )
    table_clearance_m: float = param(
        0.02, "Least gap of arm and wrist to the table.", unit="m", low=0.0, high=0.3
    )
    # Watchdogs
    command_timeout_s: float = param(
        0.5, "A command holds for so long; then the arm stops. 4 Hz leave room for a lost one.",
        unit="s", low=0.02, high=5.0,
    )  # fmt: skip
    joints_timeout_s: float = param(
        0.1, "Joint states that are older stop the arm and disable.", unit="s", low=0.02, high=2.0
    )
    wrench_timeout_s: float = param(
        0.1, "A wrench that is older stops the arm and disables.", unit="s", low=0.02, high=2.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("workspace_low_m", "workspace_high_m"):
            if len(getattr(self, name)) != 3:
                raise ConfigurationError(f"AdmittanceParameters.{name} must have three elements")
        if any(a >= b for a, b in zip(self.workspace_low_m, self.workspace_high_m, strict=True)):
            raise ConfigurationError(
                "AdmittanceParameters.workspace_low_m must lie below workspace_high_m"
            )


@dataclasses.dataclass(frozen=True)
class ToolLoadParameters(Parameters):
    """What the force sensor feels of the tool; `s3k calibrate-wrench` writes these."""

    bias: tuple[float, ...] = param(
        (0.0,) * 6, "The sensor's reading without any load: N, then N m, in its frame.",
        low=-500.0, high=500.0,
    )  # fmt: skip
    mass_kg: float = param(
        0.0, "Mass of all that hangs on the sensor.", unit="kg", low=0.0, high=20.0
    )
    com_m: tuple[float, ...] = param(
        (0.0, 0.0, 0.0), "Its centre of mass, in the sensor's frame.", unit="m", low=-1.0, high=1.0
    )
    gravity: tuple[float, ...] = param(
        (0.0, 0.0, -9.81), "Acceleration of gravity in the base frame.",
        unit="m/s^2", low=-9.9, high=9.9,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, size in (("bias", 6), ("com_m", 3), ("gravity", 3)):
            if len(getattr(self, name)) != size:
                raise ConfigurationError(f"ToolLoadParameters.{name} must have {size} elements")


@dataclasses.dataclass(frozen=True)
class ControlledArmParameters(Parameters):
    """The arm that is controlled."""

    robot_description: str = param(
        "", "URDF file of arm and tool; empty: the package's sawyer_2f85.urdf.", read_only=True
    )
    base_frame: str = param("base", "Frame of the workspace.", read_only=True)
    tcp_frame: str = param(
        "grasp_tcp", "The tool point: its link in the description.", read_only=True
    )
    sensor_frame: str = param(
        "robotiq_ft_frame_id", "The force sensor's link: the frame_id of its wrench.",
        read_only=True,
    )  # fmt: skip
    arm_joints: tuple[str, ...] = param(
        tuple(f"right_j{i}" for i in range(7)), "Joints of the arm, base to hand.", read_only=True
    )


@dataclasses.dataclass(frozen=True)
class AdmittanceNodeParameters(Parameters):
    """The admittance controller as a node: topics and rate."""

    rate_hz: float = param(
        100.0, "Control cycles per second.", unit="Hz", low=20.0, high=500.0, read_only=True
    )
    joint_states: str = param("/robot/joint_states", "Topic with the arm's joints.", read_only=True)
    wrench: str = param(
        "/robotiq_force_torque_sensor_broadcaster/wrench", "Topic of the force sensor.",
        read_only=True,
    )  # fmt: skip
    velocity_command: str = param(
        "/robot/limb/right/joint_velocity_command",
        "Topic of the joint velocities, as ros2_control's velocity controllers take them.",
        read_only=True,
    )  # fmt: skip
    robot_state: str = param(
        "/robot/state", "Topic of the robot's state; empty: it has none, and no gate.",
        read_only=True,
    )  # fmt: skip
    robot_state_timeout_s: float = param(
        1.0, "A robot's state that is older counts as not ready.", unit="s", low=0.1, high=10.0,
        read_only=True,
    )  # fmt: skip
    arm_action: str = param(
        "/robot/limb/right/follow_joint_trajectory",
        "While a goal runs on this action the controller stays disabled; empty: not asked.",
        read_only=True,
    )  # fmt: skip
