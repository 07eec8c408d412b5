"""`s3k calibrate-wrench`: bias, mass and centre of mass of what hangs on the force sensor.

The wrist tilts the tool to several sides, or somebody leads the arm by hand; in each posture it
stands, and the mean of the wrench is taken.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rclpy
import yaml
from control_msgs.action import FollowJointTrajectory
from geometry_msgs.msg import WrenchStamped
from numpy.typing import NDArray
from rclpy.action import ActionClient
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from s3k_ros.control.calibration import (
    LARGEST_CONDITION,
    LEAST_READINGS,
    Fit,
    Reading,
    condition,
    fit,
)
from s3k_ros.errors import ConfigurationError, DataError, DeviceUnavailableError, UnsafeMotionError
from s3k_ros.grasp.arm.collision import CollisionModel, Terms
from s3k_ros.grasp.arm.kinematics import ArmModel
from s3k_ros.params.admittance import (
    AdmittanceNodeParameters,
    AdmittanceParameters,
    ControlledArmParameters,
    ToolLoadParameters,
)
from s3k_ros.params.grasp import RobotParameters
from s3k_ros.ros import qos
from s3k_ros.ros.admittance_inputs import JointReader, wrench_array
from s3k_ros.ros.conversions import duration_message
from s3k_ros.ros.node import S3kNode
from s3k_ros.ros.resources import find_file

Array = NDArray[np.float64]

_TOPICS, _ARM = AdmittanceNodeParameters(), ControlledArmParameters()
_GRAVITY = np.array(ToolLoadParameters().gravity)
_SHIPPED_ROBOT = "config/robots/sawyer_2f85.urdf"
_LEAST_WRENCHES = 30
# An arm that moved so far during a reading did not stand.
_STILL_RAD = 2e-3
# Turns of the wrist's two first joints, in units of --tilt: gravity then comes from all sides.
_WRIST_TILTS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1))
_CLEARANCE_M = 0.05
_PATH_STEPS = 25
# Peak over mean speed of the quintic with which trajectory controllers join two postures.
_QUINTIC_PEAK = 1.875
_PATIENCE_S = 20.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k calibrate-wrench`."""
    parser.add_argument("--out", type=Path, default=Path("tool_load.yaml"), metavar="FILE.yaml")
    parser.add_argument("--tilt", type=float, default=35.0, help="of the wrist, degrees")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each reading")
    parser.add_argument("--speed", type=float, default=0.25, help="of the fastest joint, rad/s")
    parser.add_argument(
        "--by-hand", type=int, metavar="N",
        help="do not move: read N postures that somebody leads the arm to, Enter before each",
    )  # fmt: skip
    parser.add_argument("--robot", default="", metavar="URDF", help="default: the shipped Sawyer")
    parser.add_argument("--table-height", type=float, default=AdmittanceParameters.table_height_m)
    parser.add_argument("--joint-states", default=_TOPICS.joint_states, metavar="TOPIC")
    parser.add_argument("--wrench", default=_TOPICS.wrench, metavar="TOPIC")
    parser.add_argument("--arm-action", default=_TOPICS.arm_action, metavar="ACTION")


def run(args: argparse.Namespace) -> int:
    """Calibrates and writes the file; returns the exit code."""
    if args.out.suffix not in (".yaml", ".yml"):
        raise ConfigurationError(f"--out {args.out}: must end in .yaml")
    for name, low, high in (("tilt", 5, 60), ("seconds", 0.5, 60), ("speed", 0.02, 1)):
        if not low <= getattr(args, name) <= high:
            raise ConfigurationError(f"--{name} must be within {low}..{high}")
    rclpy.init(args=[])
    node = Calibrator(args)
    try:
        found = node.by_hand(args.by_hand) if args.by_hand else node.around(args.tilt)
        args.out.write_text(text(found), encoding="utf-8")
        print(f"{report(found)}\nwritten: {args.out}")
        return 0
    except KeyboardInterrupt:
        node.stop()
        return 130
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


class Calibrator(S3kNode):
    """Visits postures and reads the sensor there.

    Args:
        args: of `s3k calibrate-wrench`.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__("wrench_calibration", alone=False)
        self._args = args
        path = find_file(args.robot or _SHIPPED_ROBOT)
        # The sensor in the tool point's place: its orientation is what counts here.
        self._arm = ArmModel.from_file(
            path, _ARM.arm_joints, base_frame=_ARM.base_frame, tcp_frame=_ARM.sensor_frame
        )
        self._reader = JointReader(_ARM.arm_joints)
        self._joints: Array | None = None
        self._wrenches: list[Array] = []
        self._goal = None
        self._client = ActionClient(self, FollowJointTrajectory, args.arm_action)
        self.listen(JointState, args.joint_states, self._on_joints, qos.sensors())
        self.listen(WrenchStamped, args.wrench, self._on_wrench, qos.sensors())

    def by_hand(self, count: int) -> Fit:
        """The calibration from postures that somebody leads the arm to."""
        readings = []
        for i in range(count):
            input(f"posture {i + 1} of {count}: lead the arm there, let go, press Enter ")
            readings.append(self._read())
        return fit(readings, _GRAVITY)

    def around(self, tilt: float) -> Fit:
        """The calibration from the present posture and tilts of it, degrees; the arm comes back.

        Raises:
            UnsafeMotionError: too few tilts are in range and free.
        """
        start = self._present()
        postures = self._plan(start, tilt)
        print(
            f"{len(postures)} postures, the wrist tilted by {tilt:g} degrees from the present one"
        )
        readings = [self._read()]
        for i, posture in enumerate(postures):
            self._go(posture)
            readings.append(self._read())
            print(f"{i + 1} of {len(postures)}: {np.round(readings[-1].wrench, 2).tolist()}")
            self._go(start)
        return fit(readings, _GRAVITY)

    def stop(self) -> None:
        """Cancels the motion that is under way."""
        if self._goal is not None:
            rclpy.spin_until_future_complete(self, self._goal.cancel_goal_async(), timeout_sec=2.0)

    # -- motion --------------------------------------------------------------------------------

    def _plan(self, start: Array, tilt: float) -> list[Array]:
        """Postures (n,) rad from wrist tilts; those that are out of range or touch are left out."""
        home = np.array(RobotParameters().home_rad)
        checks = CollisionModel(self._arm, home, self._args.table_height)
        terms = Terms(over_table_m=_CLEARANCE_M)
        postures, hits = [start], list[str]()
        for wrist in _WRIST_TILTS:
            posture = start.copy()
            posture[-3:-1] += np.radians(tilt) * np.array(wrist)
            if np.any(posture < self._arm.lower) or np.any(posture > self._arm.upper):
                hits.append("a joint would leave its range")
                continue
            # Every way leads through the start: so each is checked once, and short.
            hit = checks.first_collision(np.linspace(start, posture, _PATH_STEPS), terms)
            if hit is None:
                postures.append(posture)
            else:
                hits.append(str(hit))
        rotations = [self._arm.forward(posture).rotation for posture in postures]
        if len(postures) < LEAST_READINGS or condition(rotations, _GRAVITY) > LARGEST_CONDITION:
            why = f": {'; '.join(sorted(set(hits)))}" if hits else ""
            raise UnsafeMotionError(
                f"tilted by {tilt:g} degrees to the {len(postures) - 1} sides that are free from "
                f"here, the postures are too few or too alike{why}; begin elsewhere, tilt further, "
                "or use --by-hand"
            )
        return postures[1:]

    def _go(self, posture: Array) -> None:
        if not self._client.wait_for_server(timeout_sec=_PATIENCE_S):
            raise DeviceUnavailableError(f"no action server {self._args.arm_action}")
        start = self._present()
        way = float(np.abs(posture - start).max())
        duration = max(1.0, _QUINTIC_PEAK * way / self._args.speed)
        still = [0.0] * self._arm.size
        points = [
            JointTrajectoryPoint(
                positions=joints.tolist(), velocities=still, accelerations=still,
                time_from_start=duration_message(round(at * 1e9)),
            )
            for at, joints in ((0.0, start), (duration, posture))
        ]  # fmt: skip
        trajectory = JointTrajectory(joint_names=list(_ARM.arm_joints), points=points)
        sent = self._client.send_goal_async(FollowJointTrajectory.Goal(trajectory=trajectory))
        rclpy.spin_until_future_complete(self, sent, timeout_sec=_PATIENCE_S)
        self._goal = sent.result() if sent.done() else None
        if self._goal is None or not self._goal.accepted:
            raise DeviceUnavailableError("the arm's controller did not take the motion")
        ended = self._goal.get_result_async()
        rclpy.spin_until_future_complete(self, ended, timeout_sec=duration + _PATIENCE_S)
        self._goal = None
        outcome = ended.result().result if ended.done() else None
        if outcome is None or outcome.error_code != FollowJointTrajectory.Result.SUCCESSFUL:
            told = outcome and (outcome.error_code, outcome.error_string)
            raise DeviceUnavailableError(f"the arm's controller ended the motion: {told}")

    # -- reading -------------------------------------------------------------------------------

    def _present(self) -> Array:
        self._joints = None
        self._spin_until(lambda: self._joints is not None, "joint states with the arm's joints")
        assert self._joints is not None
        return self._joints

    def _read(self) -> Reading:
        self._spin(0.5)  # for the last swing to fade
        before = self._present()
        self._wrenches.clear()
        self._spin(self._args.seconds)
        self._spin_until(lambda: len(self._wrenches) >= _LEAST_WRENCHES, "wrenches")
        after = self._present()
        if np.abs(after - before).max() > _STILL_RAD:
            raise DataError("the arm moved during a reading")
        rotation = self._arm.forward(after).rotation
        return Reading(rotation, np.mean(self._wrenches, axis=0))

    def _spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            rclpy.spin_once(self, timeout_sec=0.02)

    def _spin_until(self, done: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not done():
            if time.monotonic() > end:
                raise DeviceUnavailableError(f"no {what} for {_PATIENCE_S:g} s")
            rclpy.spin_once(self, timeout_sec=0.02)

    def _on_joints(self, message: JointState) -> None:
        read = self._reader.read(message)
        self._joints = self._joints if read is None else read

    def _on_wrench(self, message: WrenchStamped) -> None:
        if message.header.frame_id in ("", _ARM.sensor_frame):
            self._wrenches.append(wrench_array(message))


def text(found: Fit) -> str:
    """A parameter file of a calibration."""
    load = found.load
    values = {
        "wrench.bias": [round(float(v), 4) for v in load.bias],
        "wrench.mass_kg": round(load.mass_kg, 4),
        "wrench.com_m": [round(float(v), 5) for v in load.com_m],
    }
    # Who listens to the sensor, each by its name: other nodes refuse what they do not know.
    nodes = ("admittance_controller", "grasp_server")
    body = "".join(yaml.safe_dump({f"/**/{node}": {"ros__parameters": values}}) for node in nodes)
    comment = "".join(f"# {line}\n" for line in report(found).splitlines())
    return f"# Written by s3k calibrate-wrench.\n{comment}{body}"


def report(found: Fit) -> str:
    """A calibration and its quality, for people."""
    load = found.load
    com = ", ".join(f"{1e3 * v:.1f}" for v in load.com_m)
    return "\n".join(
        (
            f"mass {load.mass_kg:.3f} kg (standard error {found.mass_error_kg:.3f}), centre of "
            f"mass ({com}) mm (standard error {1e3 * found.com_error_m:.1f})",
            f"bias {np.round(load.bias, 3).tolist()} N, N m",
            f"residual {found.force_residual_n:.2f} N and {found.torque_residual_n_m:.3f} N m, "
            f"condition {found.condition:.1f}",
        )
    )
