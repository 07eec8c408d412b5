"""The wrench of contact: what the force sensor reads, less its bias and the tool's weight."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from s3k_ros.params.admittance import ToolLoadParameters

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class ToolLoad:
    """What the sensor feels although nothing touches the tool.

    Attributes:
        bias: (6,) N and N m, the reading without load, sensor frame.
        mass_kg: of all that hangs on the sensor.
        com_m: (3,) its centre of mass, sensor frame.
        gravity: (3,) m/s^2, base frame.
    """

    bias: Array
    mass_kg: float
    com_m: Array
    gravity: Array

    @classmethod
    def from_parameters(cls, params: ToolLoadParameters) -> ToolLoad:
        """The load that parameters describe."""
        vectors = (np.array(v) for v in (params.bias, params.com_m, params.gravity))
        bias, com, gravity = vectors
        return cls(bias, params.mass_kg, com, gravity)

    def weight(self, base_from_sensor: Array) -> Array:
        """(6,) wrench of the tool's weight on the sensor, in its frame, at a rotation (3, 3)."""
        force = self.mass_kg * (base_from_sensor.T @ self.gravity)
        return np.concatenate([force, np.cross(self.com_m, force)])

    def external(self, measured: Array, base_from_sensor: Array) -> Array:
        """(6,) wrench of contact in the sensor's frame, of a reading (6,) at a rotation (3, 3)."""
        wrench: Array = measured - self.bias - self.weight(base_from_sensor)
        return wrench

    def zeroed(self, external: Array) -> ToolLoad:
        """The same tool with a bias for which a wrench (6,) of ``external`` would be zero."""
        return dataclasses.replace(self, bias=self.bias + external)


def at_point(wrench: Array, lever: Array) -> Array:
    """A wrench (6,) about another point, ``lever`` (3,) m away from the old one, same axes."""
    force = wrench[:3]
    return np.concatenate([force, wrench[3:] - np.cross(lever, force)])


def rotated(vectors: Array, rotation: Array) -> Array:
    """A wrench or twist (6,) in other axes: ``rotation`` (3, 3) turns old components into new."""
    return np.concatenate([rotation @ vectors[:3], rotation @ vectors[3:]])


def beyond(vector: Array, band: float) -> Array:
    """What is left of a vector (3,) when ``band`` is taken off its length."""
    length = float(np.linalg.norm(vector))
    return vector * (1.0 - band / length) if length > band else np.zeros(3)


def shortened(vector: Array, length: float) -> Array:
    """A vector (3,) in its direction, no longer than ``length``."""
    present = float(np.linalg.norm(vector))
    return vector * (length / present) if present > length else vector


def filter_gain(cutoff_hz: float, period_s: float) -> float:
    """Share of the newest value in a first-order low pass, sampled every ``period_s``."""
    return 1.0 - math.exp(-2.0 * math.pi * cutoff_hz * period_s)
