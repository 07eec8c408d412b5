"""An arm that obeys joint velocities at once, behind the admittance controller, in one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s3k_ros.control.build import admittance_controller
from s3k_ros.control.controller import Output
from s3k_ros.params.admittance import (
    AdmittanceParameters,
    ControlledArmParameters,
    ToolLoadParameters,
)
from s3k_ros.params.grasp import RobotParameters

URDF = Path(__file__).parents[2] / "config/robots/sawyer_2f85.urdf"
HOME = np.array(RobotParameters().home_rad)
PERIOD = 0.01


class VelocityArm:
    """Controller and arm.

    Attributes:
        controller: the one under test.
        joints, velocity: (7,) of the arm now.
        wrench: (6,) what its sensor reads.
        speaks: whether joint states and wrench are heard.
        now: s.
    """

    def __init__(self, joints: np.ndarray = HOME, **params: object) -> None:
        self.params = AdmittanceParameters(**params)
        self.controller = admittance_controller(
            URDF.read_text(), self.params, ToolLoadParameters(), ControlledArmParameters(), PERIOD
        )
        self.joints = np.array(joints)
        self.velocity = np.zeros(7)
        self.wrench = np.zeros(6)
        self.joints_speak = self.wrench_speaks = True
        self.now = 0.0

    def step(self) -> Output:
        """One cycle."""
        if self.joints_speak:
            self.controller.hear_joints(self.joints, self.now)
        if self.wrench_speaks:
            self.controller.hear_wrench(self.wrench, self.now)
        output = self.controller.step(self.now)
        self.velocity = np.zeros(7) if output.velocity is None else output.velocity
        self.joints = self.joints + PERIOD * self.velocity
        self.now += PERIOD
        return output

    def enable(self) -> str:
        """Enables after a first cycle."""
        self.step()
        return self.controller.enable(self.now)

    def command(self, *twist: float, frame: str = "") -> str:
        return self.controller.hear_command(np.array(twist, dtype=float), frame, self.now)

    @property
    def point(self) -> np.ndarray:
        self.controller.arm.place(self.joints)
        return self.controller.arm.tool_point
