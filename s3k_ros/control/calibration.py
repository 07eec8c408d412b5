"""Calibration of the force sensor: bias, mass and centre of mass from readings in several postures.

At rest and free, a sensor reads ``f = b_f + m g_s`` and ``t = b_t + (m c) x g_s`` with gravity
``g_s`` in its own frame: linear in bias, mass and first moment ``m c``, ten unknowns in all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from s3k_ros.control.wrench import ToolLoad
from s3k_ros.errors import DataError

Array = NDArray[np.float64]

LEAST_READINGS = 4
LARGEST_CONDITION = 10.0
"""Tilting a hand that points down by 30 degrees to four sides gives 6, by 15 degrees 12."""
# Above this the tool touched something, or the arm moved: an FT 300's noise is 1.2 N a reading.
LARGEST_FORCE_RESIDUAL_N = 1.0
LARGEST_TORQUE_RESIDUAL_N_M = 0.1


@dataclasses.dataclass(frozen=True)
class Reading:
    """The sensor in one posture, at rest.

    Attributes:
        base_from_sensor: (3, 3) rotation of the sensor.
        wrench: (6,) mean of its readings, N and N m, its frame.
    """

    base_from_sensor: Array
    wrench: Array


@dataclasses.dataclass(frozen=True)
class Fit:
    """A calibration and how good it is.

    Attributes:
        load: bias, mass and centre of mass.
        condition: of the least squares, gravity counted as 1: how well the postures tell the
            unknowns apart.
        force_residual_n, torque_residual_n_m: RMS over all readings.
        mass_error_kg, com_error_m: standard errors by the residuals, the latter of the worst axis.
    """

    load: ToolLoad
    condition: float
    force_residual_n: float
    torque_residual_n_m: float
    mass_error_kg: float
    com_error_m: float


def fit(readings: Sequence[Reading], gravity: Array) -> Fit:
    """Least squares over readings.

    Args:
        readings: in postures that differ in the direction of gravity.
        gravity: (3,) m/s^2, base frame.

    Raises:
        DataError: too few readings, too alike postures, or residuals of a tool that was not free.
    """
    if len(readings) < LEAST_READINGS:
        raise DataError(f"{len(readings)} readings; at least {LEAST_READINGS} are needed")
    if not all(np.isfinite(reading.wrench).all() for reading in readings):
        raise DataError("a reading is not finite")
    strength = float(np.linalg.norm(gravity))
    downs = _downs([reading.base_from_sensor for reading in readings], gravity)
    forces = np.array([reading.wrench[:3] for reading in readings])
    torques = np.array([reading.wrench[3:] for reading in readings])
    force_matrix, torque_matrix = _matrices(downs)
    found = condition([reading.base_from_sensor for reading in readings], gravity)
    if found > LARGEST_CONDITION:
        raise DataError(
            f"the postures are too alike: condition {found:.3g}, allowed "
            f"{LARGEST_CONDITION:g}; tilt the tool further, to several sides"
        )
    force_solution, force_rms, force_errors = _solve(force_matrix, forces.ravel())
    torque_solution, torque_rms, torque_errors = _solve(torque_matrix, torques.ravel())
    _check(force_solution[3], force_rms, torque_rms)
    mass = force_solution[3] / strength
    load = ToolLoad(
        bias=np.concatenate([force_solution[:3], torque_solution[:3]]),
        mass_kg=float(mass),
        com_m=torque_solution[3:] / force_solution[3],
        gravity=gravity,
    )
    return Fit(
        load, found, force_rms, torque_rms, float(force_errors[3] / strength),
        float(torque_errors[3:].max() / force_solution[3]),
    )  # fmt: skip


def condition(rotations: Sequence[Array], gravity: Array) -> float:
    """Of the least squares for readings at these rotations (3, 3), with gravity counted as 1."""
    matrices = _matrices(_downs(rotations, gravity))
    return max(float(np.linalg.cond(matrix)) for matrix in matrices)


def _downs(rotations: Sequence[Array], gravity: Array) -> list[Array]:
    down = gravity / np.linalg.norm(gravity)
    return [rotation.T @ down for rotation in rotations]


def _matrices(downs: Sequence[Array]) -> tuple[Array, Array]:
    """Of the forces and of the torques. For weight, not mass, so that all columns are of a size."""
    forces = [np.column_stack([np.eye(3), down]) for down in downs]
    torques = [np.column_stack([np.eye(3), -_cross(down)]) for down in downs]
    return np.concatenate(forces), np.concatenate(torques)


def _solve(matrix: Array, values: Array) -> tuple[Array, float, Array]:
    """Solution, RMS of the residuals, standard errors of the solution."""
    solution = np.asarray(np.linalg.lstsq(matrix, values, rcond=None)[0], dtype=np.float64)
    residual = values - matrix @ solution
    free = max(1, len(values) - matrix.shape[1])
    variance = float(residual @ residual) / free
    covariance = variance * np.linalg.inv(matrix.T @ matrix)
    errors = np.asarray(np.sqrt(np.diag(covariance)), dtype=np.float64)
    return solution, float(np.sqrt(np.mean(residual**2))), errors


def _check(weight_n: float, force_rms: float, torque_rms: float) -> None:
    if force_rms > LARGEST_FORCE_RESIDUAL_N or torque_rms > LARGEST_TORQUE_RESIDUAL_N_M:
        raise DataError(
            f"the readings do not fit one tool: {force_rms:.2f} N and {torque_rms:.3f} N m off, "
            f"allowed {LARGEST_FORCE_RESIDUAL_N:g} N and {LARGEST_TORQUE_RESIDUAL_N_M:g} N m; did "
            "it touch something, or hang on a cable?"
        )
    if weight_n <= 0.0:
        raise DataError(
            f"the weight comes out as {weight_n:.2f} N: is the sensor's frame the right one?"
        )


def _cross(vector: Array) -> Array:
    """(3, 3) with ``_cross(a) @ b == np.cross(a, b)``."""
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
