"""What follows from a goal log: forces against limits, jaws, what was planned when."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s3k_ros.errors import S3kError
from s3k_ros.goal_logs.reader import GoalLog
from s3k_ros.params.grasp import RobotParameters

Array = NDArray[np.float64]

# The force when it was tared: the mean of so long before, as the server's monitor takes it.
_TARE_S = 0.1
# Speeds are differences over about this long: one of joint states alone is mostly noise.
_SPEED_S = 0.06


def force_changes(log: GoalLog) -> tuple[Array, Array]:
    """(N,) s and (N,) N: how far the force is from where it was when last tared."""
    zero = log.forces[:5].mean(axis=0) if len(log.forces) else np.zeros(3)
    changes = np.linalg.norm(log.forces - zero, axis=1)
    for time in (time for time, command in log.commands if command["command"] == "Tare"):
        before = (log.wrench_times > time - _TARE_S) & (log.wrench_times <= time)
        if before.any():
            zero = log.forces[before].mean(axis=0)
        after = log.wrench_times > time
        changes[after] = np.linalg.norm(log.forces[after] - zero, axis=1)
    return log.wrench_times, changes


def force_limits(log: GoalLog) -> tuple[Array, Array]:
    """(M,) s and (M,) N: the limit of the change from each time on; NaN where none holds."""
    limit = log.request.get("contact_force_limit_n")
    if not isinstance(limit, (int, float)) or limit < 0.0:
        return np.empty(0), np.empty(0)
    robot = _robot(log)
    known = log.parameters.get("wrench", {}).get("mass_kg", 0.0) > 0.0
    tool = 0.0 if known else robot["tool_weight_n"]
    # While the hand turns, weights turn in the sensor's frame.
    turning = {"approach": tool, "transfer": tool + robot["payload_weight_n"]}
    times, limits = [], []
    for name, begin, _ in log.phases:
        times.append(begin)
        idle = name in ("observe", "stopping")
        limits.append(np.nan if idle else limit + 2.0 * turning.get(name, 0.0))
    return np.array([*times, log.ended]), np.array([*limits, limits[-1] if limits else np.nan])


def jaw_widths(log: GoalLog) -> tuple[Array, Array]:
    """(N,) s and (N,) m between the jaws."""
    robot = _robot(log)
    share = 1.0 - log.knuckle / robot["gripper_closed_rad"]
    return log.width_times, np.clip(share, 0.0, 1.0) * robot["gripper_opening_m"]


def measured_speeds(log: GoalLog) -> tuple[Array, Array]:
    """(N,) s and (N, n) rad/s by differences of the joint states."""
    new = np.concatenate([[True], np.diff(log.joint_stamps) > 1e-6])
    times, stamps, positions = log.joint_times[new], log.joint_stamps[new], log.joints[new]
    if len(times) < 3:
        return times, np.zeros_like(positions)
    step = max(round(_SPEED_S / float(np.median(np.diff(stamps)))), 1)
    if len(times) <= step:
        return times, np.zeros_like(positions)
    spans = (stamps[step:] - stamps[:-step])[:, None]
    return (times[step:] + times[:-step]) / 2.0, (positions[step:] - positions[:-step]) / spans


def planned_at(log: GoalLog, times: Array) -> tuple[Array, Array]:
    """(N, n) rad and rad/s that the motions in force say for some times; NaN where none is."""
    positions = np.full((len(times), len(log.joint_names)), np.nan)
    velocities = positions.copy()
    stopped = [time for time, command in log.commands if command["command"] == "StopArm"]
    following_starts = [*(motion.start for motion in log.motions[1:]), np.inf]
    for motion, following in zip(log.motions, following_starts, strict=False):
        end = min([motion.start + float(motion.times[-1]), following,
                   *(time for time in stopped if time > motion.start)])  # fmt: skip
        inside = (times >= motion.start) & (times <= end)
        since = times[inside] - motion.start
        for joint in range(positions.shape[1]):
            positions[inside, joint] = np.interp(since, motion.times, motion.positions[:, joint])
            velocities[inside, joint] = np.interp(since, motion.times, motion.velocities[:, joint])
    return positions, velocities


def tracking_error(log: GoalLog) -> Array:
    """(n,) rad, the largest difference between plan and measurement of each joint; NaN without."""
    planned, _ = planned_at(log, log.joint_times)
    errors = np.abs(planned - log.joints)
    if not np.isfinite(errors).any():
        return np.full(len(log.joint_names), np.nan)
    worst: Array = np.nanmax(errors, axis=0)
    return worst


def tool_way(log: GoalLog) -> Array | None:
    """(N, 3) m, the tool centre point by the joint states; None without the robot's description."""
    urdf, robot = log.parameters.get("urdf"), _robot(log)
    if not urdf or not len(log.joints):
        return None
    try:
        # The kinematics' library need not be there where logs are read.
        from s3k_ros.grasp.arm.kinematics import ArmModel

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "robot.urdf"
            path.write_text(urdf, encoding="utf-8")
            arm = ArmModel.from_file(
                path, log.joint_names, base_frame=robot["base_frame"], tcp_frame=robot["tcp_frame"]
            )
        return np.array([arm.forward(joints).translation for joints in log.joints])
    except (S3kError, ImportError):
        return None


def _robot(log: GoalLog) -> dict[str, Any]:
    """The robot's parameters of that time, with today's defaults for those that are newer."""
    return {**vars(RobotParameters()), **log.parameters.get("robot", {})}
