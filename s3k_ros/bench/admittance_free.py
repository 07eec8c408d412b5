"""What `s3k bench admittance` measures without contact: tracking, stopping, limits, calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from s3k_ros.bench.admittance_cell import Case, Cell
from s3k_ros.control import calibration as fitting
from s3k_ros.control.build import admittance_controller
from s3k_ros.control.calibration import Reading
from s3k_ros.control.controller import State
from s3k_ros.control.wrench import ToolLoad
from s3k_ros.params.admittance import (
    AdmittanceParameters,
    ControlledArmParameters,
    ToolLoadParameters,
)
from s3k_ros.results import Target
from s3k_ros.simulation.cell import HOME_JOINTS_RAD, TOOL_LOAD
from s3k_ros.simulation.simulator import CONTROL_PERIOD_S

Array = NDArray[np.float64]

# Chosen beforehand. Tracking: what a cable's insertion asks of a demonstration's speed; stopping:
# a third of a second is 15 mm of way at 50 mm/s; calibration: a dead band is 3 N.
TWIST_RMS_M_S, DRIFT_M = 0.005, 0.010
STOP_S = 0.3
OVER_RAD, OVER_M = 1e-6, 1e-3
CYCLE_S = 0.005
MASS_KG, FORCE_N = 0.05, 0.5

_CIRCLE_M, _CIRCLE_S = 0.05, 8.0
_STILL_M_S = 0.001
# FT 300 (moma, from its data sheet), and what a robot's kinematics are off in orientation.
_NOISE = np.array([1.2, 1.2, 0.5, 0.02, 0.02, 0.12])
_ORIENTATION_RAD = 0.003
_SAMPLES, _CALIBRATIONS, _TILT_DEGREES = 200, 200, 35.0


def tracking(cell: Cell) -> dict[str, dict[str, float]]:
    """A circle of 50 mm across the table, at 4 Hz and 100 Hz; the tool turns at the same time."""

    def command(t: float) -> Array:
        angle = 2.0 * np.pi * t / _CIRCLE_S
        speed = 2.0 * np.pi * _CIRCLE_M / _CIRCLE_S
        turn = 0.2 * np.cos(angle)
        return np.array([speed * np.cos(angle), -speed * np.sin(angle), 0.0, 0.0, 0.0, turn])

    found = {}
    for rate in (4.0, 100.0):
        trace = cell.run(Case(command, _CIRCLE_S, rate))
        error = trace.twist[:, :3] - trace.wanted[:, :3]
        turning = trace.twist[:, 3:] - trace.wanted[:, 3:]
        way = trace.point - trace.point[0]
        asked = np.cumsum(trace.wanted[:, :3], axis=0) * CONTROL_PERIOD_S
        found[f"{rate:g} Hz"] = {
            "twist_rms_mm_s": 1e3 * float(np.sqrt(np.mean(np.sum(error**2, axis=1)))),
            "twist_peak_mm_s": 1e3 * float(np.linalg.norm(error, axis=1).max()),
            "rotation_rms_mrad_s": 1e3 * float(np.sqrt(np.mean(np.sum(turning**2, axis=1)))),
            "drift_at_end_mm": 1e3 * float(np.linalg.norm(way[-1] - asked[-1])),
            "drift_peak_mm": 1e3 * float(np.linalg.norm(way - asked, axis=1).max()),
            "cycle_ms_median": 1e3 * float(np.median(trace.step_s)),
            "cycle_ms_p99": 1e3 * float(np.quantile(trace.step_s, 0.99)),
        }
    return found


def stopping(cell: Cell) -> dict[str, float]:
    """Time from the command's timeout to a standstill, s, at two speeds."""
    found = {}
    timeout = AdmittanceParameters.command_timeout_s
    for speed in (0.05, 0.15):
        twist = np.array([0.0, -speed, 0.0, 0.0, 0.0, 0.0])
        trace = cell.run(Case(lambda t, v=twist: v if t < 1.0 else None, 3.0))
        speeds = np.linalg.norm(trace.twist[:, :3], axis=1)
        moving = np.flatnonzero(speeds > _STILL_M_S)
        last = (moving[-1] + 1) * CONTROL_PERIOD_S
        found[f"{1e3 * speed:g} mm/s"] = float(last - 1.0 - timeout)
    return found


def limits(urdf: str, params: AdmittanceParameters, seconds: float, seed: int) -> dict[str, Any]:
    """Random commands, wrenches and pauses on an arm that obeys perfectly: largest excess."""
    rng = np.random.default_rng(seed)
    period = CONTROL_PERIOD_S
    controller = admittance_controller(
        urdf, params, ToolLoadParameters(), ControlledArmParameters(), period
    )
    arm, q = controller.arm, np.array(HOME_JOINTS_RAD)
    low, high = np.array(params.workspace_low_m), np.array(params.workspace_high_m)
    before = np.zeros(arm.size)
    over = dict.fromkeys(("position_rad", "speed_rad_s", "acceleration_rad_s2", "workspace_m"), 0.0)
    twist, wrench = np.zeros(6), np.zeros(6)
    for cycle in range(round(seconds / period)):
        now = cycle * period
        if cycle % 150 == 0:
            twist = rng.normal(0.0, 1.0, 6) * np.array([0.2] * 3 + [0.6] * 3)
            wrench = rng.normal(0.0, 1.0, 6) * np.array([8.0] * 3 + [1.0] * 3) * rng.integers(0, 2)
        controller.hear_joints(q, now)
        controller.hear_wrench(wrench if controller.state is State.ON else np.zeros(6), now)
        if controller.state is State.OFF:
            controller.enable(now)
        controller.hear_command(twist, "", now)
        velocity = controller.step(now).velocity
        velocity = np.zeros(arm.size) if velocity is None else velocity
        q = q + period * velocity
        arm.place(q)
        point = arm.tool_point
        found = {
            "position_rad": max((arm.lower - q).max(), (q - arm.upper).max()),
            "speed_rad_s": (np.abs(velocity) - arm.velocity).max(),
            "acceleration_rad_s2": (
                np.abs(velocity - before) / period - np.array(params.joint_acceleration)
            ).max(),
            "workspace_m": max((low - point).max(), (point - high).max()),
        }
        over = {key: max(over[key], float(found[key])) for key in over}
        before = velocity
    return {"over": over, "mapper_misses": controller.misses, "cycles": round(seconds / period)}


def calibration(seed: int) -> dict[str, float]:
    """Errors of 95 % of calibrations: mass, centre of mass, bias, what is left of the weight."""
    rng = np.random.default_rng(seed)
    true = ToolLoad.from_parameters(TOOL_LOAD).zeroed(np.array([4.0, -3.0, 6.0, 0.1, -0.2, 0.15]))
    down = np.diag([1.0, -1.0, -1.0])
    tilts = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1)]
    turns = Rotation.from_euler("xy", np.radians(_TILT_DEGREES) * np.array(tilts)).as_matrix()
    others = Rotation.random(100, rng=rng).as_matrix()
    rows = []
    for _ in range(_CALIBRATIONS):
        readings = []
        for turn in turns:
            rotation = down @ turn
            wobble = Rotation.from_rotvec(rng.normal(0.0, _ORIENTATION_RAD, 3)).as_matrix()
            noise = rng.normal(0.0, _NOISE / np.sqrt(_SAMPLES))
            reading = true.bias + true.weight(rotation @ wobble) + noise
            readings.append(Reading(rotation, reading))
        load = fitting.fit(readings, true.gravity).load
        left = [load.external(true.bias + true.weight(r), r) for r in others]
        rows.append(
            (
                abs(load.mass_kg - true.mass_kg),
                float(np.linalg.norm(load.com_m - true.com_m)),
                float(np.linalg.norm(load.bias[:3] - true.bias[:3])),
                max(float(np.linalg.norm(w[:3])) for w in left),
                max(float(np.linalg.norm(w[3:])) for w in left),
            )
        )
    names = ("mass_kg", "com_m", "bias_n", "force_left_n", "torque_left_n_m")
    return dict(zip(names, np.quantile(np.array(rows), 0.95, axis=0).tolist(), strict=True))


def targets(
    free: Mapping[str, Mapping[str, float]],
    stops: Mapping[str, float],
    limits: Mapping[str, Any],
    calibration: Mapping[str, float],
) -> list[Target]:
    """Figures of this file against their limits."""
    slow, fast = free["4 Hz"], free["100 Hz"]
    over = limits["over"]
    return [
        Target.at_most("twist RMS at 100 Hz", fast["twist_rms_mm_s"], 1e3 * TWIST_RMS_M_S, "mm/s"),
        Target.at_most("drift in 8 s at 4 Hz", slow["drift_peak_mm"], 1e3 * DRIFT_M, "mm"),
        Target.at_most("stop after the timeout", max(stops.values()), STOP_S, "s"),
        Target.at_most("beyond joint limits", over["position_rad"], OVER_RAD, "rad"),
        Target.at_most("beyond joint speeds", over["speed_rad_s"], OVER_RAD, "rad/s"),
        Target.at_most("beyond the workspace", over["workspace_m"], OVER_M, "m"),
        Target.at_most("cycle, 99 %", fast["cycle_ms_p99"], 1e3 * CYCLE_S, "ms"),
        Target.at_most("mass, 95 %", calibration["mass_kg"], MASS_KG, "kg"),
        Target.at_most("force left, 95 %", calibration["force_left_n"], FORCE_N, "N"),
    ]
