"""The cell as one MuJoCo model: Sawyer on its pedestal, FT 300, 2F-85, table and cameras.

The model's world frame is the ROS frame ``base``, the root of the Sawyer. Geom groups:

====== =====================================================================
group  use
====== =====================================================================
0, 1   what the cell's cameras see
2      detailed meshes for portraits only: software rendering of them is slow
3      colliders without a look
5      moma's volumes, here the colliders of the arm
====== =====================================================================

Contact bits: everything that lies in the cell keeps MuJoCo's defaults (contype 1, conaffinity 1);
arm and gripper have contype 2 and conaffinity 1, so they touch the scene and not each other.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Protocol

import mujoco
import numpy as np
from dm_control import mjcf
from dm_robotics.moma.models.end_effectors.robot_hands import robotiq_2f85
from dm_robotics.moma.models.end_effectors.wrist_sensors import robotiq_fts300
from dm_robotics.moma.models.robots.robot_arms import sawyer, sawyer_constants

from s3k_ros.geometry.camera import Camera
from s3k_ros.params.admittance import ToolLoadParameters

ARM_JOINTS: tuple[str, ...] = sawyer_constants.JOINT_NAMES
GRIPPER_JOINT = "robotiq_85_left_knuckle_joint"
"""ROS name of the gripper's joint: 0 open, 0.7929 rad closed."""

PEDESTAL_HEIGHT_M = 0.913
"""Height of the frame ``base`` over the floor (moma's pedestal model)."""
TABLE_HEIGHT_M = -0.163
"""Height of the table's top in ``base``: a 0.75 m table beside the 0.913 m pedestal."""
TABLE_CENTRE_M = (0.70, 0.0)
"""Centre of the table in ``base``; its near edge leaves the pedestal free."""
TABLE_SIZE_M = (0.84, 1.30)
"""Length along x and width along y of the table."""
WORKSPACE_CENTRE_M = (0.60, 0.0, TABLE_HEIGHT_M + 0.05)
"""The point that the cameras look at, in ``base``."""

HOME_JOINTS_RAD = (0.0, -1.60, 0.0, 2.45, 0.0, 0.72, 1.745)
"""Posture with the hand drawn back over the table's near edge, clear of the cameras' views.

The grasp server's `home_rad`: 0.1 rad further back at j1 the upper arm would meet the head."""

POSITION_LIMITS_RAD = (
    np.array(sawyer_constants.JOINT_LIMITS["min"]),
    np.array(sawyer_constants.JOINT_LIMITS["max"]),
)
"""Lower and upper limits (7,) of the arm's joints."""
VELOCITY_LIMITS_RAD_S = np.array(sawyer_constants.VELOCITY_LIMITS["max"])
"""Speed limits (7,) of the arm's joints."""
EFFORT_LIMITS_NM = np.array(sawyer_constants.EFFORT_LIMITS["max"])
"""Torque limits of the arm's joints (moma, as in the vendor's URDF)."""

TOOL_LOAD = ToolLoadParameters(mass_kg=1.1207, com_m=(0.0, 0.0, 0.0696))
"""What hangs on the FT 300, by the model; `config/tool_load.yaml` says the same."""

# Servo of each joint: stiffness, damping, and the reflected inertia of motor and gears. The
# stiffness keeps a tracking error of milliradians at the accelerations of planned motions; the
# damping is near critical for the inertia seen at each joint in the workspace.
_STIFFNESS = (12000.0, 12000.0, 6000.0, 6000.0, 1500.0, 1500.0, 800.0)
_DAMPING = (600.0, 600.0, 250.0, 250.0, 45.0, 45.0, 20.0)
_ARMATURE = {"large_joint": 1.0, "medium_joint": 0.7, "small_joint": 0.2}

_GRIPPER_STIFFNESS = 60.0  # N m/rad
_GRIPPER_DAMPING = 4.0  # N m s/rad
_KNUCKLE_OPEN_RAD, _KNUCKLE_CLOSED_RAD = 0.0, 0.8  # travel of moma's driver joints

# moma's model of the arm shortens two links by 10 mm against the vendor's URDF (its comments give
# the original values). A cell's robot_description must fit the simulation, so restore them.
_LINK_OFFSETS = {"l2": (0.0, -0.14, 0.1425), "l4": (0.0, -0.125, -0.1265)}

_HAND = "sawyer/robotiq_fts300/robotiq_2f85/"
_COLLIDE = {"contype": 2, "conaffinity": 1}
_NO_CONTACT = {"contype": 0, "conaffinity": 0}
_FLOOR_RGBA = (0.45, 0.45, 0.47, 1.0)
_TABLE_RGBA = (0.72, 0.66, 0.58, 1.0)


class Attachment(Protocol):
    """Something that puts its own bodies into the cell, for instance the toys of a scene."""

    def attach(self, root: mjcf.RootElement) -> None:
        """Adds bodies, assets and lights to the cell's tree."""

    def finish(self, spec: mujoco.MjSpec) -> None:
        """Adds what exists only once MuJoCo has parsed the tree, before it is compiled."""


@dataclasses.dataclass(frozen=True)
class CellModel:
    """The compiled cell with the names and indices that its users need.

    Attributes:
        root: the MJCF tree that the model was compiled from.
        model: the compiled model.
        arm_qpos, arm_dof: (7,) indices of the arm's joints in ``qpos`` and ``qvel``.
        arm_position, arm_velocity: (7,) indices of the arm's actuators in ``ctrl``.
        arm_act: (7,) indices of the servos' position references in ``act``.
        gripper_qpos, gripper_dof: indices of the left driver joint.
        gripper_actuator: index of the fingers' position actuator in ``ctrl``.
        tcp_site: id of the site ``grasp_tcp``: z along the approach, y along the closing jaws.
        force_sensor, torque_sensor: addresses in ``sensordata`` of the FT 300's three values each.
        wrench_site: id of the site of the FT 300's measuring frame.
        robot_bodies: (b,) ids of the bodies of arm, sensor and gripper.
        cameras: calibrated cameras, frames optical, poses in ``base``.
    """

    root: mjcf.RootElement
    model: mujoco.MjModel
    arm_qpos: np.ndarray
    arm_dof: np.ndarray
    arm_position: np.ndarray
    arm_velocity: np.ndarray
    arm_act: np.ndarray
    gripper_qpos: int
    gripper_dof: int
    gripper_actuator: int
    tcp_site: int
    force_sensor: int
    torque_sensor: int
    wrench_site: int
    robot_bodies: np.ndarray
    cameras: tuple[Camera, ...]

    def make_data(self) -> mujoco.MjData:
        """A new state with the arm at home, still, and the gripper open."""
        data = mujoco.MjData(self.model)
        self.set_home(data)
        # No collisions: before a scene is laid out, its objects lie inside each other.
        mujoco.mj_kinematics(self.model, data)
        return data

    def command_arm(
        self,
        data: mujoco.MjData,
        position: np.ndarray,
        velocity: np.ndarray,
        damping_share: float = 1.0,
    ) -> None:
        """Sets the servos' references (7,), rad and rad/s; the position moves on at that speed.

        Their damping is a share of that for trajectories.
        """
        data.act[self.arm_act] = position
        data.ctrl[self.arm_position] = velocity
        data.ctrl[self.arm_velocity] = velocity
        damping = damping_share * np.array(_DAMPING)
        self.model.actuator_gainprm[self.arm_velocity, 0] = damping
        self.model.actuator_biasprm[self.arm_velocity, 2] = -damping

    def command_gripper(self, data: mujoco.MjData, angle: float, tendon_force: float) -> None:
        """Sets the target of the driver joints, rad, and the limit of their tendon's force."""
        data.ctrl[self.gripper_actuator] = angle
        self.model.actuator_forcerange[self.gripper_actuator] = (-tendon_force, tendon_force)

    def set_home(self, data: mujoco.MjData) -> None:
        """Puts the arm at home, still, with the gripper open; leaves everything else alone."""
        data.qpos[self.arm_qpos] = HOME_JOINTS_RAD
        data.qvel[self.arm_dof] = 0.0
        self.command_arm(data, np.array(HOME_JOINTS_RAD), np.zeros(len(HOME_JOINTS_RAD)))
        data.ctrl[self.gripper_actuator] = _KNUCKLE_OPEN_RAD
        for joint in range(self.model.njnt):
            if self.model.joint(joint).name.startswith(_HAND):
                data.qpos[self.model.jnt_qposadr[joint]] = 0.0
                data.qvel[self.model.jnt_dofadr[joint]] = 0.0


def build_cell(
    attachments: Sequence[Attachment] = (),
    cameras: Sequence[Camera] = (),
    timestep_s: float = 0.00125,
) -> CellModel:
    """Composes and compiles the cell.

    Args:
        attachments: what lies in the cell, in order.
        cameras: calibrated cameras in ``base``; each becomes a MuJoCo camera of its name.
        timestep_s: physics time step.

    Returns:
        The compiled cell.
    """
    root = mjcf.RootElement(model="cell")
    root.compiler.angle = "radian"
    _set_options(root, timestep_s, cameras)
    _add_room(root)
    arm = _build_arm()
    root.attach(arm.mjcf_model)
    _add_pedestal(root)
    for camera in cameras:
        _add_camera(root, camera)
    for attachment in attachments:
        attachment.attach(root)
    spec = mujoco.MjSpec.from_string(root.to_xml_string(), assets=root.get_assets())
    for attachment in attachments:
        attachment.finish(spec)
    model = spec.compile()
    return _index(root, model, tuple(cameras))


def _set_options(root: mjcf.RootElement, timestep_s: float, cameras: Sequence[Camera]) -> None:
    root.option.timestep = timestep_s
    root.option.integrator = "implicitfast"
    root.option.cone = "elliptic"
    # A noslip pass would be needed to hold rigid things for minutes; grasps last seconds.
    root.option.impratio = 10.0
    root.option.flag.multiccd = "disable"
    root.visual.map.znear = 0.01
    root.visual.map.zfar = 10.0
    root.visual.quality.offsamples = 0
    root.visual.headlight.ambient = (0.35, 0.35, 0.35)
    root.visual.headlight.diffuse = (0.35, 0.35, 0.35)
    root.visual.headlight.specular = (0.0, 0.0, 0.0)
    getattr(root.visual, "global").offwidth = max([1280, *(c.width for c in cameras)])
    getattr(root.visual, "global").offheight = max([960, *(c.height for c in cameras)])


def _add_room(root: mjcf.RootElement) -> None:
    world = root.worldbody
    world.add(
        "geom", name="floor", type="plane", size=(4, 4, 0.1), rgba=_FLOOR_RGBA,
        pos=(0, 0, -PEDESTAL_HEIGHT_M), **_NO_CONTACT,
    )  # fmt: skip
    half = (TABLE_SIZE_M[0] / 2, TABLE_SIZE_M[1] / 2, 0.02)
    # The table is a body so that a scene can give its top a look of its own by name.
    table = world.add("body", name="table", pos=(*TABLE_CENTRE_M, TABLE_HEIGHT_M - half[2]))
    table.add(
        "geom", name="table_top", type="box", size=half, rgba=_TABLE_RGBA, group=0,
        friction=(1.0, 0.01, 0.001),
    )  # fmt: skip
    leg = (PEDESTAL_HEIGHT_M + TABLE_HEIGHT_M) / 2 - half[2]
    for sx in (-1, 1):
        for sy in (-1, 1):
            table.add(
                "geom", type="box", size=(0.025, 0.025, leg), rgba=(0.3, 0.3, 0.3, 1),
                pos=(sx * (half[0] - 0.04), sy * (half[1] - 0.04), -half[2] - leg), **_NO_CONTACT,
            )  # fmt: skip
    world.add(
        "light", name="ceiling", pos=(0.5, 0.0, 2.0), dir=(0, 0, -1), directional=True,
        diffuse=(0.45, 0.45, 0.45), specular=(0.05, 0.05, 0.05), castshadow=True,
    )  # fmt: skip


def _add_pedestal(root: mjcf.RootElement) -> None:
    pedestal = mjcf.from_path(sawyer_constants.SAWYER_PEDESTAL_XML)
    for geom in pedestal.find_all("geom"):
        if geom.mesh is not None:
            geom.group = 2
            for key, value in _NO_CONTACT.items():
                setattr(geom, key, value)
        else:
            geom.group = 3
            geom.contype, geom.conaffinity = 2, 1
    frame = root.worldbody.add("site", name="floor_under_base", pos=(0, 0, -PEDESTAL_HEIGHT_M))
    frame.attach(pedestal)
    # What the cameras see of it: the column, the controller's box and the feet.
    for kind, size, pos in (
        ("cylinder", (0.13, 0.43), (-0.02, 0.0, -0.44)),
        ("box", (0.11, 0.20, 0.265), (-0.30, 0.0, -0.38)),
        ("box", (0.30, 0.28, 0.03), (-0.1225, 0.0, -0.88)),
    ):
        root.worldbody.add(
            "geom", type=kind, size=size, pos=pos, rgba=(0.2, 0.2, 0.2, 1), group=1, **_NO_CONTACT
        )


def _build_arm() -> sawyer.Sawyer:
    arm = sawyer.Sawyer(name="sawyer")
    sensor = robotiq_fts300.RobotiqFTS300(name="robotiq_fts300")
    hand = robotiq_2f85.Robotiq2F85(name="robotiq_2f85")
    _use_position_servos(arm)
    _use_position_gripper(hand)
    _restore_link_lengths(arm)
    for part in (arm, sensor, hand):
        _compensate_gravity(part.mjcf_model)
    _simplify_arm(arm.mjcf_model)
    _simplify_sensor(sensor.mjcf_model)
    _simplify_hand(hand.mjcf_model)
    hand.mjcf_model.find("body", "base").add(
        "site", name="grasp_tcp", group=3, pos=hand.tool_center_point.pos, size=(0.002,)
    )
    sensor.attach(hand)
    arm.attach(sensor)
    return arm


def _use_position_servos(arm: sawyer.Sawyer) -> None:
    """Replaces moma's velocity actuators by servos on position and velocity together.

    The position's reference is the activation of an integrator, so that it moves on between two
    control cycles. The joint's torque is limited as a whole, gravity compensation included, as in
    the real arm.
    """
    root = arm.mjcf_model
    for actuator in list(arm.actuators):
        actuator.remove()
    for name, armature in _ARMATURE.items():
        joint = root.find("default", name).joint
        joint.armature, joint.frictionloss, joint.damping = armature, 0.0, 0.5
    for i, joint in enumerate(arm.joints):
        limit = float(EFFORT_LIMITS_NM[i])
        joint.actuatorfrclimited = True
        joint.actuatorfrcrange = (-limit, limit)
        joint.actuatorgravcomp = True
        root.actuator.add(
            "general", name=f"{joint.name}_position", joint=joint, dyntype="integrator",
            gainprm=(_STIFFNESS[i],), biastype="affine", biasprm=(0.0, -_STIFFNESS[i], 0.0),
            ctrllimited=False,
        )  # fmt: skip
        root.actuator.add(
            "velocity", name=f"{joint.name}_velocity", joint=joint, kv=_DAMPING[i],
            ctrllimited=False,
        )  # fmt: skip


def _use_position_gripper(hand: robotiq_2f85.Robotiq2F85) -> None:
    actuator = hand.actuators[0]
    actuator.dyntype = "none"
    actuator.ctrlrange = (_KNUCKLE_OPEN_RAD, _KNUCKLE_CLOSED_RAD)
    actuator.gainprm = (_GRIPPER_STIFFNESS, 0.0, 0.0)
    actuator.biasprm = (0.0, -_GRIPPER_STIFFNESS, -_GRIPPER_DAMPING)


def _restore_link_lengths(arm: sawyer.Sawyer) -> None:
    for name, pos in _LINK_OFFSETS.items():
        arm.mjcf_model.find("body", name).pos = pos


def _compensate_gravity(root: mjcf.RootElement) -> None:
    for body in root.find_all("body"):
        body.gravcomp = 1.0


def _simplify_arm(root: mjcf.RootElement) -> None:
    """Meshes only for the eye, moma's capsules as colliders."""
    for geom in root.find_all("geom"):
        bits = _NO_CONTACT if geom.mesh is not None else _COLLIDE
        geom.contype, geom.conaffinity = bits["contype"], bits["conaffinity"]
    for name in ("arm_base_link", "l0"):  # these stand inside the pedestal's colliders
        for geom in root.find("body", name).geom:
            geom.contype = geom.conaffinity = 0


def _simplify_sensor(root: mjcf.RootElement) -> None:
    """Three meshes of 144k faces become one cylinder of their size."""
    for geom in root.find_all("geom"):
        geom.contype = geom.conaffinity = 0
        if geom.mesh is not None:
            geom.group = 2
    root.find("body", "fts300_body").add(
        "geom", type="cylinder", size=(0.0374, 0.0221), pos=(0, 0, -0.0221), group=1, mass=0,
        rgba=(0.149, 0.149, 0.149, 1), **_COLLIDE,
    )  # fmt: skip


def _simplify_hand(root: mjcf.RootElement) -> None:
    """Stand-ins for the 56k faces of the gripper's body; the fingers keep their meshes."""
    for name in ("base_mount_geom", "base_geom"):
        geom = root.find("geom", name)
        geom.group = 2
        geom.contype = geom.conaffinity = 0
    base = root.find("body", "base")
    look = {"group": 1, "rgba": (0.149, 0.149, 0.149, 1), "mass": 0, **_COLLIDE}
    base.add("geom", type="cylinder", size=(0.0374, 0.024), pos=(0, 0, 0.013), **look)
    base.add("geom", type="box", size=(0.020, 0.040, 0.022), pos=(0, 0, 0.059), **look)
    base.add("geom", type="box", size=(0.016, 0.022, 0.006), pos=(0, 0, 0.084), **look)
    # Linkages touch nothing: they lie behind the fingertips and would only cost collision tests.
    for geom in root.find_all("geom"):
        name = geom.name or ""
        if any(part in name for part in ("driver", "coupler", "spring_link", "follower")):
            geom.contype = geom.conaffinity = 0


def _add_camera(root: mjcf.RootElement, camera: Camera) -> None:
    """Adds a pinhole camera: optical frames look along +z with y down, MuJoCo's along -z, y up."""
    rotation = camera.base_from_camera.rotation @ np.diag([1.0, -1.0, -1.0])
    root.worldbody.add(
        "camera", name=camera.name, mode="fixed",
        pos=camera.base_from_camera.translation,
        xyaxes=np.concatenate([rotation[:, 0], rotation[:, 1]]),
        fovy=math.degrees(2.0 * math.atan(camera.height / 2.0 / camera.matrix[1, 1])),
    )  # fmt: skip


def _index(root: mjcf.RootElement, model: mujoco.MjModel, cameras: tuple[Camera, ...]) -> CellModel:
    servos = np.array([model.actuator(f"sawyer/{n}_position").id for n in ARM_JOINTS])
    joints = [model.joint(f"sawyer/{name}") for name in ARM_JOINTS]
    driver = model.joint(_HAND + "left_driver_joint")
    sensor = "sawyer/robotiq_fts300/ft_sensor_"
    return CellModel(
        root=root,
        model=model,
        arm_qpos=np.array([int(j.qposadr[0]) for j in joints]),
        arm_dof=np.array([int(j.dofadr[0]) for j in joints]),
        arm_position=servos,
        arm_act=model.actuator_actadr[servos].copy(),
        arm_velocity=np.array([model.actuator(f"sawyer/{n}_velocity").id for n in ARM_JOINTS]),
        gripper_qpos=int(driver.qposadr[0]),
        gripper_dof=int(driver.dofadr[0]),
        gripper_actuator=model.actuator(_HAND + "fingers_actuator").id,
        tcp_site=model.site(_HAND + "grasp_tcp").id,
        force_sensor=int(model.sensor(sensor + "force").adr[0]),
        torque_sensor=int(model.sensor(sensor + "torque").adr[0]),
        wrench_site=model.site(sensor + "frame_site").id,
        robot_bodies=np.array(
            [i for i in range(model.nbody) if model.body(i).name.startswith("sawyer/")]
        ),
        cameras=cameras,
    )
