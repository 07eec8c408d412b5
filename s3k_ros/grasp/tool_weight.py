"""The tool's own weight, which turns with the hand in the force sensor's frame."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from s3k_ros.errors import ConfigurationError
from s3k_ros.grasp.arm.kinematics import ArmModel
from s3k_ros.grasp.ports import JointStateSource, WrenchReading, WrenchSource
from s3k_ros.params.admittance import ToolLoadParameters

Array = NDArray[np.float64]


class ToolWeight:
    """What the force sensor feels of all that hangs on it.

    Args:
        arm: kinematics of its own.
        frame: the sensor's link.
        load: its mass, from `s3k calibrate-wrench`. Bias and centre of mass play no part here:
            forces alone are judged, as changes since they were tared.

    Raises:
        ConfigurationError: the robot description lacks the frame.
    """

    def __init__(self, arm: ArmModel, frame: str, load: ToolLoadParameters) -> None:
        self._arm = arm
        try:
            self._frame = arm.frame_id(frame)
        except ConfigurationError as error:
            raise ConfigurationError(
                f"robot.wrench_frame: {error}; name the force sensor's link, or set wrench.mass_kg "
                "to 0 where the weight on it is not known"
            ) from error
        self._force = load.mass_kg * np.array(load.gravity)

    def at(self, joints: Array) -> Array:
        """(3,) N in the sensor's frame, with the arm at joints (n,) rad."""
        weight: Array = self._arm.rotation(self._frame, joints).T @ self._force
        return weight


class WeighedWrench:
    """A force sensor whose readings carry the tool's weight at the posture in which they came.

    Args:
        source: the sensor.
        joints: of the arm; until they are known, readings carry no weight.
        weight: of the tool.
    """

    def __init__(self, source: WrenchSource, joints: JointStateSource, weight: ToolWeight) -> None:
        self._source, self._joints, self._weight = source, joints, weight
        self._weighed: dict[WrenchReading, WrenchReading] = {}

    def recent(self) -> tuple[WrenchReading, ...]:
        """Readings, oldest first."""
        readings, joints = self._source.recent(), self._joints.latest()
        if joints is None:
            return readings
        # Once for all that came since the last call: the arm turns by milliradians meanwhile.
        new = [reading for reading in readings if reading not in self._weighed]
        weight = self._weight.at(joints.positions) if new else None
        self._weighed = {
            reading: self._weighed.get(reading) or dataclasses.replace(reading, weight=weight)
            for reading in readings
        }
        return tuple(self._weighed.values())
