"""The simulated cell under velocity control, in one process: for `s3k bench admittance`.

The loop is the real one: each control cycle reads joint states and the FT 300's wrench, with its
noise, and commands joint velocities, which the simulated controller takes as the cell's topic does.
Contact forces are MuJoCo's, of every physics step, and not what the sensor says. These steps are
shorter than the cell's own 1.25 ms: there, a hand that rubs along an edge has contact in one step
and none in the next, with peaks up to three times as high. At 0.5 and 0.25 ms they are the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator

import mujoco
import numpy as np
from dm_control import mjcf
from numpy.typing import NDArray

from s3k_ros.control.arm import ControlArm
from s3k_ros.control.build import admittance_controller
from s3k_ros.control.controller import State
from s3k_ros.errors import UnsafeMotionError
from s3k_ros.params.admittance import (
    AdmittanceParameters,
    ControlledArmParameters,
)
from s3k_ros.params.simulation import ArmControlParameters
from s3k_ros.simulation.cell import TABLE_HEIGHT_M, TOOL_LOAD, CellModel, build_cell
from s3k_ros.simulation.simulator import CONTROL_PERIOD_S, CellState, Simulator

Array = NDArray[np.float64]

TIMESTEP_S = 0.0005
"""Of the physics."""
TOUCH_N = 0.5
"""A larger contact force is a touch."""
_CLOSED_RAD, _GRIP_N, _CLOSING_S = 0.79, 20.0, 1.5
# The arm settles, the controller is enabled, then commands begin.
_ENABLE_CYCLE, _FIRST_CYCLE = 5, 10


class Blocks:
    """Two rigid blocks on the table, before and beside the hand at home; a rigid rod on request."""

    def __init__(self, rod: bool = False) -> None:
        self._rod = rod

    def attach(self, root: mjcf.RootElement) -> None:
        """Adds the blocks."""
        half = 0.135
        for size, place in (((0.05, 0.3), (0.5, 0.16)), ((0.3, 0.05), (0.3, 0.36))):
            where = *place, TABLE_HEIGHT_M + half
            root.worldbody.add("geom", type="box", size=(*size, half), pos=where)
        if self._rod:
            root.find("body", "sawyer/robotiq_fts300/robotiq_2f85/base").add(
                "geom", type="capsule", fromto=(0, 0, 0.09, 0, 0, 0.2), size=(0.006,), mass=0,
                contype=2, conaffinity=1,
            )  # fmt: skip

    def finish(self, spec: mujoco.MjSpec) -> None:
        """Nothing to add."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One run.

    Attributes:
        command: time since the first command in s -> twist (6,) m/s, rad/s, base axes; None: ended.
        seconds: length.
        rate_hz: of the commands.
        delay: cycles by which the wrench is late, beside the cell's own.
        closed: the jaws.
        limp: the servos lose all torque at the first touch, gravity compensation excepted: what the
            arm's inertia alone does.
    """

    command: Callable[[float], Array | None]
    seconds: float
    rate_hz: float = 100.0
    delay: int = 0
    closed: bool = False
    limp: bool = False


@dataclasses.dataclass(frozen=True)
class Trace:
    """What a run gave, T control cycles after the first command and S physics steps.

    Attributes:
        force: (S,) N, net contact force on arm and hand.
        wanted: (T, 6) twist that was commanded and held.
        twist: (T, 6) that the joints' measured velocities give.
        point: (T, 3) m, the tool point.
        joints: (T, n) rad.
        step_s: (T,) processor time of each control step.
        ended: what the controller said at the end; empty while it was on.
    """

    force: Array
    wanted: Array
    twist: Array
    point: Array
    joints: Array
    step_s: Array
    ended: str


class Peer:
    """Resolved-rate control by damped least squares: the same commands, no wrench.

    Args:
        arm: kinematics.
    """

    damping = 0.05

    def __init__(self, arm: ControlArm) -> None:
        self._arm = arm

    def velocity(self, joints: Array, twist: Array) -> Array:
        """(n,) rad/s for a twist (6,) at joints (n,) rad."""
        self._arm.place(joints)
        j = self._arm.jacobian
        q = j.T @ np.linalg.solve(j @ j.T + self.damping**2 * np.eye(6), twist)
        return q / max(1.0, float((np.abs(q) / self._arm.velocity).max()))


class Cell:
    """The cell with its blocks, for runs one after the other.

    Args:
        urdf: of the arm.
        params: of the controller.
        rod: whether the hand holds a rigid rod.
        seed: of the sensor's noise.
    """

    def __init__(self, urdf: str, params: AdmittanceParameters, rod: bool, seed: int) -> None:
        self._urdf, self._params, self._seed = urdf, params, seed
        self._cell = build_cell([Blocks(rod)], timestep_s=TIMESTEP_S)
        self.arm = ControlArm(urdf, ControlledArmParameters().arm_joints)

    def run(self, case: Case, peer: bool = False) -> Trace:
        """Runs a case with the controller, or with the peer."""
        simulator = self._simulator(case.closed)
        controller = admittance_controller(
            self._urdf, self._params, TOOL_LOAD, ControlledArmParameters(), CONTROL_PERIOD_S
        )
        bare = Peer(self.arm) if peer else None
        rows: list[tuple[Array, ...]] = []
        wrenches: list[Array] = []
        held, ended = np.zeros(6), ""
        every = max(1, round(1.0 / (case.rate_hz * CONTROL_PERIOD_S)))
        state = simulator.state
        with _forces(self._cell, case.limp) as forces:
            for cycle in range(_FIRST_CYCLE + round(case.seconds / CONTROL_PERIOD_S)):
                now = cycle * CONTROL_PERIOD_S
                since = now - _FIRST_CYCLE * CONTROL_PERIOD_S
                wrenches.append(state.wrench)
                start = time.thread_time()
                controller.hear_joints(state.position, now)
                controller.hear_wrench(wrenches[max(0, cycle - case.delay)], now)
                if cycle == _ENABLE_CYCLE and (ended := controller.enable(now)):
                    break
                twist = case.command(max(since, 0.0))
                if since >= -1e-9 and (cycle - _FIRST_CYCLE) % every == 0 and twist is not None:
                    held = twist
                    controller.hear_command(twist, "", now)
                output = controller.step(now)
                took = time.thread_time() - start
                velocity = output.velocity
                if bare is not None:
                    velocity = bare.velocity(state.position, held)
                if velocity is not None:
                    simulator.command_velocity(velocity)
                state = simulator.step()
                if cycle < _FIRST_CYCLE:
                    forces.clear()
                else:
                    rows.append((held, *self._measured(state), np.array(took)))
            ended = ended or (controller.reason if controller.state is not State.ON else "")
        if not rows:
            raise UnsafeMotionError(f"the controller was not enabled: {ended}")
        wanted, twists, points, joints, took_s = map(np.array, zip(*rows, strict=True))
        return Trace(np.array(forces), wanted, twists, points, joints, took_s, ended)

    def _measured(self, state: CellState) -> tuple[Array, Array, Array]:
        self.arm.place(state.position)
        return self.arm.jacobian @ state.velocity, self.arm.tool_point, state.position

    def _simulator(self, closed: bool) -> Simulator:
        simulator = Simulator(
            self._cell, None, seed=self._seed, wrench_noise=True, paced=False,
            # The robot's own collision detection would end what is to be measured.
            arm_params=ArmControlParameters(collision_force_n=0.0),
        )  # fmt: skip
        if closed:
            simulator.start_gripper(_CLOSED_RAD, _GRIP_N)
            for _ in range(round(_CLOSING_S / CONTROL_PERIOD_S)):
                simulator.step()
        return simulator


@contextlib.contextmanager
def _forces(cell: CellModel, limp: bool) -> Iterator[list[float]]:
    """Gathers the net contact force on arm and hand, N, of every physics step."""
    found: list[float] = []
    dead = False
    model = cell.model
    servos = np.concatenate([cell.arm_position, cell.arm_velocity])
    gains, biases = model.actuator_gainprm[servos], model.actuator_biasprm[servos]

    def note(_model: mujoco.MjModel, data: mujoco.MjData) -> None:
        nonlocal dead
        found.append(float(np.linalg.norm(data.cfrc_ext[cell.robot_bodies, 3:].sum(axis=0))))
        dead = dead or (limp and found[-1] > TOUCH_N)
        if dead:  # at every step: the cell sets its servos' damping at every cycle
            model.actuator_gainprm[servos] = model.actuator_biasprm[servos] = 0.0

    mujoco.set_mjcb_control(note)
    try:
        yield found
    finally:
        mujoco.set_mjcb_control(None)
        model.actuator_gainprm[servos], model.actuator_biasprm[servos] = gains, biases
