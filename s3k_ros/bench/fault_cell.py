"""The simulated cell for `s3k bench faults`: cheap to simulate, and every part of it can fail.

In place of the plush fox a rigid block lies on the table: the faults are the same, and a grasp
takes a tenth of the time. All else is what `s3k bench grasp` runs on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np
from dm_control import mjcf
from numpy.typing import NDArray

from s3k_ros.grasp.arm.kinematics import ArmModel
from s3k_ros.grasp.arm.trajectory import JointTrajectory
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.executor import GraspExecutor
from s3k_ros.grasp.goal import GraspGoal, PlaceGoal
from s3k_ros.grasp.ports import RobotReading, WrenchReading
from s3k_ros.grasp.tasks.events import ArmFinished, Fault, JawsFinished, Outcome
from s3k_ros.params.grasp import GraspParameters, RobotParameters
from s3k_ros.simulation.cell import TABLE_HEIGHT_M, TOOL_LOAD, build_cell
from s3k_ros.simulation.grasp_cell import (
    URDF,
    GraspCell,
    SimulatedArm,
    SimulatedGripper,
    SimulatedJoints,
    SimulatedWrench,
    Stage,
)
from s3k_ros.simulation.shared_files import shared_file
from s3k_ros.simulation.sight import KeypointFeed, TruthLook
from s3k_ros.simulation.simulator import Simulator

Array = NDArray[np.float64]

BLOCK = "block"
HALF_M = (0.018, 0.032, 0.025)
MASS_KG = 0.1
X_M, Y_M = (0.48, 0.72), (-0.22, 0.22)
# A new place for the block is this far from the hand, so that nothing lies within the jaws.
_APART_M = 0.15
STILL_RAD_S = 0.02
_ERROR_M = 0.002
TIMESTEP_S = 0.0025


class BlockScene:
    """A block on the table; its keypoints are its middle and one end."""

    object_id = BLOCK
    names = ("middle", "end")
    _points = np.array([[0.0, 0.0, 0.005], [0.0, 0.030, 0.005]])

    def attach(self, root: mjcf.RootElement) -> None:
        """Adds the block."""
        body = root.worldbody.add("body", name=BLOCK)
        body.add("freejoint", name=BLOCK)
        body.add(
            "geom", name=BLOCK, type="box", size=HALF_M, mass=MASS_KG, condim=4,
            friction=(1.0, 0.02, 0.001),
        )  # fmt: skip

    def finish(self, spec: mujoco.MjSpec) -> None:
        """Nothing more."""

    def arrange(self, model: mujoco.MjModel, data: mujoco.MjData, seed: int) -> None:
        """Lays the block down."""
        model.geom(BLOCK).friction[0] = 1.0
        self.lay(data, np.random.default_rng([seed, 5]))

    def lay(self, data: mujoco.MjData, rng: np.random.Generator, hand: Array | None = None) -> None:
        """Lays it somewhere else, away from a hand (3,), m."""
        while True:
            place = np.array([rng.uniform(*X_M), rng.uniform(*Y_M)])
            if hand is None or np.linalg.norm(place - hand[:2]) > _APART_M:
                break
        yaw = rng.uniform(-np.pi, np.pi)
        joint = data.joint(BLOCK)
        joint.qpos[:] = [*place, TABLE_HEIGHT_M + HALF_M[2] + 5e-4,
                         np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]  # fmt: skip
        joint.qvel[:] = 0.0

    def keypoints(self, data: mujoco.MjData) -> Array:
        """True keypoints (K, 3), base frame, m."""
        body = data.body(BLOCK)
        placed: Array = self._points @ body.xmat.reshape(3, 3).T + body.xpos
        return placed

    def names_of(self, _object_id: str) -> tuple[str, ...]:
        """Names of the keypoints."""
        return self.names

    def keypoints_of(self, data: mujoco.MjData, _object_id: str) -> Array:
        """As `keypoints`."""
        return self.keypoints(data)


class FaultyClock:
    """A `Clock` that can jump."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.offset = 0.0

    def now(self) -> float:
        """Seconds."""
        return self._simulator.state.stamp + self.offset


class FaultyArm(SimulatedArm):
    """An `ArmPort` whose way to the controller can be cut.

    Attributes:
        cut: nothing passes any more, in neither direction; what runs at the robot goes on.
        fed: the action server tells the controller's watchdog that it lives.
        rejects: the controller refuses the next trajectory.
    """

    def __init__(self, simulator: Simulator, clock: FaultyClock) -> None:
        super().__init__(simulator)
        self._clock = clock
        self.cut = self.rejects = False
        self.fed = True

    def start(self, trajectory: JointTrajectory, start_time: float) -> None:
        """Follows a trajectory; its start is told on the jumping clock."""
        if self.rejects:
            self._refused = Fault(GraspCode.ARM_ABORTED, "rejected")
        elif not self.cut:
            super().start(trajectory, start_time - self._clock.offset)

    def stop(self) -> None:
        """Comes to a standstill; a goal whose cancel does not pass is forgotten all the same."""
        if self.cut:
            self._handle = None
        super().stop()

    def poll(self) -> ArmFinished | Fault | None:
        """The end of the newest trajectory, once."""
        return None if self.cut else super().poll()


class FaultyGripper(SimulatedGripper):
    """A `GripperPort` that can die or hang.

    Attributes:
        hung: commands are taken and nothing happens.
    """

    hung = False

    def move(self, width: float, force: float) -> None:
        """Moves the jaws."""
        if not self.hung:
            super().move(width, force)

    def poll(self) -> JawsFinished | Fault | None:
        """The end of the newest motion, once."""
        return None if self.hung else super().poll()

    def hang(self) -> None:
        """The fingers stay where they are, and nobody says so."""
        self.stop()
        self.hung = True


class FaultyWrench(SimulatedWrench):
    """A `WrenchSource` that can say the same for ever.

    Attributes:
        frozen: the driver repeats the last value.
    """

    frozen = False

    def add(self, reading: WrenchReading) -> None:
        """Takes what the sensor measured."""
        if self.frozen and self._readings:
            reading = WrenchReading(self._readings[-1].force - self.added, reading.received_at)
        super().add(reading)


class RobotStatePort:
    """A `RobotStateSource` over the simulated robot.

    Attributes:
        alive: False while no states come.
        connected: False while the gateway does not hear the robot.
    """

    def __init__(self, simulator: Simulator, clock: FaultyClock) -> None:
        self._simulator, self._clock = simulator, clock
        self._newest: RobotReading | None = None
        self.alive = self.connected = True

    def latest(self) -> RobotReading | None:
        """The newest reading."""
        if self.alive:
            says = vars(self._simulator.state.robot)
            self._newest = RobotReading(self._clock.now(), connected=self.connected, **says)
        return self._newest


class _JumpingJoints(SimulatedJoints):
    """Joint states received on the jumping clock."""

    clock: FaultyClock

    def latest(self) -> Any:
        """The newest reading."""
        if not self.alive:
            return self._newest
        reading = super().latest()
        self._newest = dataclasses.replace(
            reading, received_at=self.clock.now(), stamp=self._simulator.state.stamp
        )
        return self._newest


class FaultCell(GraspCell):
    """One cell for many trials; each begins with `begin`.

    Attributes:
        goal: the running goal.
        doubles: what executors said to goals that came twice.
        after_step: called after each cycle.
    """

    def __init__(self, seed: int) -> None:
        scene: Any = BlockScene()
        stage = Stage(scene, build_cell([scene], timestep_s=TIMESTEP_S), ())
        grasp, robot = GraspParameters(), RobotParameters()
        self._own = ArmModel.from_file(shared_file(URDF), robot.arm_joints)
        self.goal: GraspGoal | PlaceGoal | None = None
        super().__init__(stage, seed, grasp=grasp, robot=robot)
        self.begin(seed)

    def begin(self, seed: int) -> GraspExecutor:
        """A new scene with the arm at home, all parts well, and an executor."""
        self.simulator.reset(seed)
        self.rng = np.random.default_rng([seed, 9])
        self.simulator._noise = np.random.default_rng([seed, 10])
        self.clock = clock = FaultyClock(self.simulator)  # type: ignore[assignment]
        self.arm = FaultyArm(self.simulator, clock)
        self.gripper = FaultyGripper(self.simulator, self.robot)
        self.joints = _JumpingJoints(self.simulator, self.robot)
        self.joints.clock = clock
        self.wrench = FaultyWrench()
        self.robot_state = RobotStatePort(self.simulator, clock)
        scene: Any = self.stage.scene
        self.look = TruthLook(scene, self.rng, bias_m=_ERROR_M, noise_m=_ERROR_M / 2)
        self.keypoints = KeypointFeed(self.look)
        self.after_step: Callable[[], None] | None = None
        self.doubles: list[Outcome | None] = []
        self.keypoints.wanted = self._needs_keypoints
        self.planner._clock = clock  # type: ignore[assignment]
        self.planner._result = None
        ports = self.ports(robot_state=self.robot_state)
        self.executor = GraspExecutor(ports, self.grasp, self.robot, self._own, TOOL_LOAD)
        self._ticked = -np.inf
        return self.executor

    def step(self) -> None:
        """One control cycle; the gates are asked as at each message on a server."""
        state = self.simulator.step()
        if self.arm.fed:
            self.simulator.feed()
        now = self.clock.now()
        self.wrench.add(WrenchReading(np.array(state.wrench[:3]), now))
        self.keypoints.step(now, self.data)
        if self.executor is not None and self.executor.guarded:
            self.executor.guard()
        if self.after_step is not None:
            self.after_step()

    def lay_again(self) -> None:
        """The block lies somewhere else, away from the hand, as if somebody had put it there."""
        scene: Any = self.stage.scene
        self.stage.cell.model.geom(BLOCK).friction[0] = 1.0
        scene.lay(self.data, self.rng, self.tcp())
        mujoco.mj_forward(self.stage.cell.model, self.data)

    @property
    def still(self) -> bool:
        """Whether the arm stands still, by the simulator's truth."""
        return bool(np.abs(self.simulator.state.velocity).max() < STILL_RAD_S)

    @property
    def braking(self) -> bool:
        """Whether the controller brakes or has nothing to do."""
        motion = self.simulator._arm._motion
        return motion is None or motion.outcome is not None

    @property
    def height(self) -> float:
        """Of the block over its place on the table, m."""
        return float(self.data.body(BLOCK).xpos[2] - TABLE_HEIGHT_M - HALF_M[2])
