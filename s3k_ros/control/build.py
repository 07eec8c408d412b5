"""An admittance controller from a robot description and parameters."""

from __future__ import annotations

from s3k_ros.control.arm import ControlArm
from s3k_ros.control.controller import AdmittanceController
from s3k_ros.control.mapper import VelocityMapper
from s3k_ros.control.wrench import ToolLoad
from s3k_ros.errors import ConfigurationError
from s3k_ros.params.admittance import (
    AdmittanceParameters,
    ControlledArmParameters,
    ToolLoadParameters,
)


def admittance_controller(
    urdf: str,
    params: AdmittanceParameters,
    load: ToolLoadParameters,
    robot: ControlledArmParameters,
    period_s: float,
) -> AdmittanceController:
    """The controller of an arm.

    Args:
        urdf: text of the robot description.
        params: the law, its limits and watchdogs.
        load: what the sensor feels without contact.
        robot: names.
        period_s: between two steps.

    Raises:
        ConfigurationError: a description that does not parse, or lacks a joint or link; a value
            that does not fit the arm.
    """
    joints = len(robot.arm_joints)
    if len(params.joint_acceleration) != joints:
        raise ConfigurationError(
            f"AdmittanceParameters.joint_acceleration has {len(params.joint_acceleration)} "
            f"elements, the arm {joints} joints"
        )
    if params.wall_gain_1_s * period_s > 0.5:
        raise ConfigurationError(
            f"AdmittanceParameters.wall_gain_1_s = {params.wall_gain_1_s:g} is too large for a "
            f"period of {period_s:g} s: their product must be 0.5 at most"
        )
    arm = ControlArm(
        urdf, robot.arm_joints, base_frame=robot.base_frame, tcp_frame=robot.tcp_frame,
        sensor_frame=robot.sensor_frame,
        table_height_m=params.table_height_m if params.avoid_table else None,
    )  # fmt: skip
    mapper = VelocityMapper(arm, params, period_s)
    return AdmittanceController(params, ToolLoad.from_parameters(load), arm, mapper, period_s)
