"""The running cell: physics in a thread of its own, paced to real time.

Nothing here renders and nothing here waits for anybody: commands come in through a lock held for
microseconds, states go out to listeners that the physics thread calls after each control cycle.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

from s3k_ros.errors import DeviceUnavailableError
from s3k_ros.params.simulation import ArmControlParameters, GripperControlParameters
from s3k_ros.simulation import gripper_controller as gripper
from s3k_ros.simulation import robot_status
from s3k_ros.simulation.arm_controller import ArmController
from s3k_ros.simulation.cell import (
    ARM_JOINTS,
    HOME_JOINTS_RAD,
    POSITION_LIMITS_RAD,
    VELOCITY_LIMITS_RAD_S,
    CellModel,
)
from s3k_ros.simulation.robot_status import READY, RobotStatus
from s3k_ros.simulation.trajectory_goal import GoalHandle, JointLimits, TrajectoryGoal

Array = NDArray[np.float64]

CONTROL_PERIOD_S = 0.01
"""Period of control and of the published state, as in the vendor's trajectory server."""

# Behind by more than this, the simulation lets real time go instead of racing after it.
_LARGEST_LAG_S = 0.2
_RATE_WINDOW_S = 1.0
_RESET_TIMEOUT_S = 30.0
# FT 300 (moma, from its data sheet): standard deviations in N and N m.
_FORCE_STD = np.array([1.2, 1.2, 0.5, 0.02, 0.02, 0.12])


class Scene(Protocol):
    """What lies in the cell. `ToyScene` is one."""

    names: tuple[str, ...]

    def arrange(self, model: mujoco.MjModel, data: mujoco.MjData, seed: int) -> None:
        """Sets shapes and poses by seed."""

    def keypoints(self, data: mujoco.MjData) -> Array:
        """True keypoints (K, 3) in ``base``, m."""


@dataclasses.dataclass(frozen=True)
class CellState:
    """What the cell's sensors say at one time.

    Attributes:
        stamp: simulated time, s.
        cycle: number of the control cycle since start.
        seed, epoch: seed of the scene, and how many scenes there were before it.
        position, velocity, effort: (7,) of the arm's joints: rad, rad/s, N m.
        knuckle, knuckle_velocity: of the gripper's ROS joint, rad and rad/s.
        grip_effort: commanded grip force, N.
        wrench: (6,) force, N, and torque, N m, that the tool exerts on the FT 300, in its frame.
        robot: what the robot says of itself.
    """

    stamp: float
    cycle: int
    seed: int
    epoch: int
    position: Array
    velocity: Array
    effort: Array
    knuckle: float
    knuckle_velocity: float
    grip_effort: float
    wrench: Array
    robot: RobotStatus = READY


Listener = Callable[[CellState, mujoco.MjData], None]


class Simulator:
    """Runs a cell until closed.

    Args:
        cell: the compiled cell.
        scene: what lies in it; None for an empty table.
        arm_params, gripper_params: parameters of the controllers.
        seed: seed of the first scene and of the sensors' noise.
        settle_s: simulated time that a new scene gets to come to rest.
        wrench_noise: whether the wrench carries the FT 300's noise.
        paced: False lets physics run as fast as it can.
        fail: called once, from the physics thread, with an exception that ended it.
        clock, sleep: of wall time, s.
    """

    def __init__(
        self,
        cell: CellModel,
        scene: Scene | None = None,
        *,
        arm_params: ArmControlParameters | None = None,
        gripper_params: GripperControlParameters | None = None,
        seed: int = 0,
        settle_s: float = 1.2,
        wrench_noise: bool = False,
        paced: bool = True,
        fail: Callable[[BaseException], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.cell = cell
        self.scene = scene
        self._data = cell.make_data()
        self._steps = max(1, round(CONTROL_PERIOD_S / cell.model.opt.timestep))
        limits = JointLimits(*POSITION_LIMITS_RAD, VELOCITY_LIMITS_RAD_S)
        params = arm_params or ArmControlParameters()
        self._arm = ArmController(ARM_JOINTS, limits, params, np.array(HOME_JOINTS_RAD))
        self._collision_force_n = params.collision_force_n
        self._robot = READY
        self._gripper = gripper.GripperController(gripper_params or GripperControlParameters())
        self._settle_s = settle_s
        self._noise = np.random.default_rng(seed) if wrench_noise else None
        self._wrench_zero = np.zeros(6)
        self._paced, self._clock, self._sleep = paced, clock, sleep
        self._fail = fail
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._reset_request: tuple[int, threading.Event] | None = None
        self._failure = ""
        self._seed, self._epoch, self._cycle = seed, 0, 0
        self._rate = 1.0
        self._lay_out(seed)
        self._state = self._read()

    # Reading

    @property
    def state(self) -> CellState:
        """The newest state."""
        return self._state

    @property
    def real_time_factor(self) -> float:
        """Simulated over wall time in the last second; new scenes' settling does not count."""
        return self._rate

    @property
    def failure(self) -> str:
        """Why the physics last had to start its scene anew; empty when it never had to."""
        return self._failure

    def add_listener(self, listener: Listener) -> None:
        """Has a listener called after each cycle, in the physics thread: it must be quick."""
        self._listeners.append(listener)

    # Commands, from any thread

    def feed(self) -> None:
        """A sign of life of the arm's action server."""
        with self._lock:
            self._arm.feed(self._state.stamp)

    def start_trajectory(self, goal: TrajectoryGoal) -> GoalHandle:
        """Starts an arm goal.

        Raises:
            TrajectoryRefusedError: see `ArmController`.
        """
        prepared = self._arm.prepare(goal)
        with self._lock:
            return self._arm.start(prepared, self._state.stamp)

    def cancel_trajectory(self, handle: GoalHandle) -> None:
        """Stops an arm goal on its path."""
        with self._lock:
            self._arm.cancel(handle)

    def command_velocity(self, velocity: Array) -> bool:
        """Joint velocities (7,), rad/s, for the next 0.1 s; False when refused.

        Refused are those that come while a trajectory runs or the robot may not move, and what is
        not finite.
        """
        with self._lock:
            return self._arm.command_velocity(
                np.asarray(velocity, dtype=np.float64), self._state.stamp
            )

    def stop_robot(self) -> None:
        """Presses the robot's stop: the arm brakes, its goal aborts, the motors go off."""
        self._set_robot(robot_status.stopped)

    def disable_robot(self) -> None:
        """Switches the motors off: the arm brakes and its goal aborts."""
        self._set_robot(robot_status.disabled)

    def fail_robot(self, reason: str) -> None:
        """A fault of the robot."""
        self._set_robot(lambda status: robot_status.failed(status, reason))

    def reset_robot(self) -> RobotStatus:
        """Clears stop, fault and collision; what holds afterwards."""
        return self._set_robot(robot_status.reset)

    def enable_robot(self) -> RobotStatus:
        """Switches the motors on, unless it must be reset first; what holds afterwards."""
        return self._set_robot(robot_status.enabled)

    def start_gripper(self, position: float, effort: float) -> gripper.GripperHandle:
        """Starts a gripper command: rad of the ROS joint and N."""
        with self._lock:
            return self._gripper.start(position, effort, self._state.stamp)

    def cancel_gripper(self, handle: gripper.GripperHandle) -> None:
        """Stops the fingers where they are."""
        with self._lock:
            self._gripper.cancel(handle, self._state.knuckle)

    def _set_robot(self, change: Callable[[RobotStatus], RobotStatus]) -> RobotStatus:
        with self._lock:
            self._robot = change(self._robot)
            if self._robot.ready:
                self._arm.unlock()
            else:
                self._arm.lock()
            return self._robot

    def zero_wrench(self) -> None:
        """Makes the present wrench the zero, as the FT 300's service does."""
        with self._lock:
            self._wrench_zero = self._raw_wrench()

    def reset(self, seed: int) -> None:
        """Lays out the scene of a seed with the arm at home; returns when it lies still.

        Raises:
            DeviceUnavailableError: the physics does not run.
        """
        done = threading.Event()
        with self._lock:
            self._reset_request = (seed, done)
        if self._thread is None:
            self._serve_reset()
        if not done.wait(_RESET_TIMEOUT_S):
            raise DeviceUnavailableError(f"no new scene within {_RESET_TIMEOUT_S} s")

    # Running

    def start(self) -> None:
        """Starts the physics thread."""
        self._thread = threading.Thread(target=self._run, name="physics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the physics thread."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
            self._thread = None

    def step(self) -> CellState:
        """One control cycle, for callers that drive the simulation themselves."""
        self._control()
        mujoco.mj_step(self.cell.model, self._data, self._steps)
        self._recover()
        self._detect_collision()
        self._cycle += 1
        self._state = self._read()
        for listener in self._listeners:
            listener(self._state, self._data)
        return self._state

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as error:
            if self._fail is None:
                raise
            self._fail(error)

    def _loop(self) -> None:
        due = window_start = self._clock()
        cycles = 0
        while not self._closing.is_set():
            if self._reset_request is not None:
                self._serve_reset()
                due = window_start = self._clock()
                cycles = 0
            self.step()
            cycles += 1
            due += CONTROL_PERIOD_S
            now = self._clock()
            if now - window_start >= _RATE_WINDOW_S:
                self._rate = cycles * CONTROL_PERIOD_S / (now - window_start)
                window_start, cycles = now, 0
            if not self._paced:
                continue
            if now < due:
                self._sleep(due - now)
            elif now - due > _LARGEST_LAG_S:
                due = now

    def _control(self) -> None:
        cell, data = self.cell, self._data
        knuckle = gripper.knuckle_from_model(float(data.qpos[cell.gripper_qpos]))
        speed = gripper.knuckle_from_model(float(data.qvel[cell.gripper_dof]))
        with self._lock:
            arm = self._arm.update(data.time, data.qpos[cell.arm_qpos], data.qvel[cell.arm_dof])
            damping = self._arm.damping_share
            target, force = self._gripper.update(data.time, knuckle, speed)
        cell.command_arm(data, *arm, damping)
        cell.command_gripper(
            data, gripper.model_from_knuckle(target), force * gripper.TENDON_FORCE_PER_GRIP_FORCE
        )

    def _read(self) -> CellState:
        cell, data = self.cell, self._data
        wrench = self._raw_wrench() - self._wrench_zero
        if self._noise is not None:
            wrench += self._noise.normal(0.0, _FORCE_STD)
        return CellState(
            stamp=float(data.time),
            cycle=self._cycle,
            seed=self._seed,
            epoch=self._epoch,
            position=data.qpos[cell.arm_qpos],
            velocity=data.qvel[cell.arm_dof],
            effort=data.qfrc_actuator[cell.arm_dof],
            knuckle=gripper.knuckle_from_model(float(data.qpos[cell.gripper_qpos])),
            knuckle_velocity=gripper.knuckle_from_model(float(data.qvel[cell.gripper_dof])),
            grip_effort=self._gripper.effort,
            wrench=wrench,
            robot=self._robot,
        )

    def _detect_collision(self) -> None:
        """The net force on arm and hand; what the fingers squeeze cancels out."""
        limit = self._collision_force_n
        if limit <= 0.0 or self._robot.collision:
            return
        # Filled for the force sensors anyway: forces from contacts and from outside, last three.
        force = float(np.linalg.norm(self._data.cfrc_ext[self.cell.robot_bodies, 3:].sum(axis=0)))
        if force > limit:
            self._set_robot(lambda status: robot_status.collided(status, force))

    def _raw_wrench(self) -> Array:
        """MuJoCo's sensors tell what the arm does to the tool; the FT 300 tells the reverse."""
        data, force, torque = self._data.sensordata, self.cell.force_sensor, self.cell.torque_sensor
        return -np.concatenate([data[force : force + 3], data[torque : torque + 3]])

    def _serve_reset(self) -> None:
        with self._lock:
            request, self._reset_request = self._reset_request, None
        if request is None:
            return
        seed, done = request
        self._epoch += 1
        self._lay_out(seed)
        self._state = self._read()
        done.set()

    def _lay_out(self, seed: int) -> None:
        """A new scene, settled, with the arm at home. Simulated time goes on."""
        cell, data = self.cell, self._data
        now = data.time
        with self._lock:
            self._arm.hold(np.array(HOME_JOINTS_RAD))
            self._robot = READY
            self._arm.unlock()
            self._gripper.hold(gripper.OPEN_RAD)
            mujoco.mj_resetData(cell.model, data)
            data.time = now
            cell.set_home(data)
            if self.scene is not None:
                self.scene.arrange(cell.model, data, seed)
            mujoco.mj_forward(cell.model, data)
            self._wrench_zero = np.zeros(6)
        self._seed = seed
        steps = round(self._settle_s / cell.model.opt.timestep) if self.scene is not None else 0
        if steps:
            self._control()
            mujoco.mj_step(cell.model, data, steps)

    def _recover(self) -> None:
        """Physics that diverged starts its scene anew instead of publishing nonsense."""
        warnings = self._data.warning
        for kind in (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQACC):
            if warnings[kind].number:
                stamp = self._state.stamp
                self._failure = f"{kind.name} at {stamp:.3f} s, scene {self._seed}"
                self._data.time = stamp + CONTROL_PERIOD_S
                self._epoch += 1
                self._lay_out(self._seed)
                return
