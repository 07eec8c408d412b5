"""The simulated cell as the ports of a grasp, in one process, without ROS and without waiting.

A `Stage` is compiled once; a `GraspCell` is one scene on it. Whoever wants a fault puts another
port in a part's place, or tells a part to fail.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from s3k_ros.calibration.rig_file import load_rig
from s3k_ros.geometry.camera import Camera
from s3k_ros.grasp.arm.kinematics import ArmModel
from s3k_ros.grasp.arm.trajectory import JointTrajectory
from s3k_ros.grasp.arm.world import load_scene
from s3k_ros.grasp.codes import GraspCode, Phase
from s3k_ros.grasp.executor import GraspExecutor, Ports
from s3k_ros.grasp.goal import Refusal
from s3k_ros.grasp.jaws import joint_from_width, width_from_joint
from s3k_ros.grasp.planning.place_planner import Plan
from s3k_ros.grasp.planning.planner import GraspPlanner
from s3k_ros.grasp.planning.task_planner import TaskPlanner
from s3k_ros.grasp.ports import JointReading, WrenchReading
from s3k_ros.grasp.tasks.events import (
    ArmFinished,
    Fault,
    JawsFinished,
    NotPlanned,
    Outcome,
    Planned,
)
from s3k_ros.params.grasp import GraspParameters, RobotParameters
from s3k_ros.simulation import rig
from s3k_ros.simulation.cell import ARM_JOINTS, TABLE_HEIGHT_M, TOOL_LOAD, CellModel, build_cell
from s3k_ros.simulation.gripper_controller import GripperHandle
from s3k_ros.simulation.scene import FOX, SETTLE_S, ToyScene
from s3k_ros.simulation.shared_files import shared_file
from s3k_ros.simulation.sight import KeypointFeed, Look, TruthLook
from s3k_ros.simulation.simulator import CONTROL_PERIOD_S, Simulator
from s3k_ros.simulation.touch import CameraBodies, TouchWatch
from s3k_ros.simulation.trajectory_goal import (
    GoalHandle,
    GoalState,
    TrajectoryGoal,
    TrajectoryRefusedError,
)
from s3k_ros.simulation.views import Views

Array = NDArray[np.float64]

URDF = "config/robots/sawyer_2f85.urdf"
SCENE = "config/scene.yaml"
TICK_S = 0.03
"""Between two ticks of the executor, as on the grasp server."""
PLANNING_S = 0.3
"""A plan is there so long after it was asked for; a correction in a third of that."""
# As much as the judgements on the wrench look back, at 100 Hz.
_WRENCHES = 40
_LOOKING = (Phase.OBSERVE, Phase.APPROACH, Phase.ALIGN, Phase.TRANSFER, Phase.LOWER)


@dataclasses.dataclass
class Stage:
    """A compiled cell on which scenes are laid out, with its renderer made when it is needed."""

    scene: ToyScene
    cell: CellModel
    cameras: tuple[Camera, ...]
    _views: Views | None = None

    @classmethod
    def build(
        cls, objects: Sequence[str] = (FOX,), family: str = "test", width: int = 640
    ) -> Stage:
        """Compiles a cell with objects, distractors, and cameras that can be run into."""
        scene = ToyScene(TABLE_HEIGHT_M, family, objects)
        cameras = rig.demo_rig(width)
        return cls(scene, build_cell([scene, CameraBodies(cameras)], cameras), cameras)

    @property
    def views(self) -> Views:
        """Renders it; belongs to the thread that asks first."""
        if self._views is None:
            self._views = Views(self.cell.model, self.cameras)
        return self._views

    def close(self) -> None:
        """Frees the GL context."""
        if self._views is not None:
            self._views.close()
            self._views = None


class GraspCell:
    """One scene, driven by whoever calls `step` or `run`, as fast as the machine can.

    Args:
        stage: where it is laid out; one scene at a time.
        seed: of the scene and of all noise.
        grasp, robot: parameters of the grasp.
        look: how keypoints are seen; None: the truth with some millimetres of error.

    Attributes:
        clock, arm, gripper, joints, wrench, keypoints, planner, view: the ports.
        touches: contacts of the robot with table, cameras and bin so far.
        executor: the newest one.
    """

    def __init__(
        self,
        stage: Stage,
        seed: int,
        *,
        grasp: GraspParameters | None = None,
        robot: RobotParameters | None = None,
        look: Look | None = None,
    ) -> None:
        self.stage = stage
        self.grasp, self.robot = grasp or GraspParameters(), robot or RobotParameters()
        self.simulator = Simulator(
            stage.cell, stage.scene, seed=seed, settle_s=SETTLE_S, wrench_noise=True, paced=False
        )
        self.rng = np.random.default_rng([seed, 9])
        self.clock = SimulatedClock(self.simulator)
        self.arm = SimulatedArm(self.simulator)
        self.gripper = SimulatedGripper(self.simulator, self.robot)
        self.joints = SimulatedJoints(self.simulator, self.robot)
        self.wrench = SimulatedWrench()
        self.keypoints = KeypointFeed(look or TruthLook(stage.scene, self.rng))
        self.keypoints.wanted = self._needs_keypoints
        self.planner = InProcessPlanner(make_planner(self.grasp, self.robot), self.clock)
        self.view = PlanList()
        self.touches = TouchWatch(stage.cell.model)
        self.executor: GraspExecutor | None = None
        self._ticked = -np.inf

    @property
    def time(self) -> float:
        """Simulated, s."""
        return self.simulator.state.stamp

    @property
    def data(self) -> mujoco.MjData:
        """The physical state."""
        return self.simulator._data

    def truth(self, object_id: str | None = None) -> dict[str, Array]:
        """True keypoints (3,) by name of an object, the scene's first by default."""
        scene = self.stage.scene
        wanted = object_id or scene.object_id
        points = scene.keypoints_of(self.data, wanted)
        return dict(zip(scene.names_of(wanted), points, strict=True))

    def show(self) -> None:
        """Gives the renderer this scene's looks, before the first image."""
        scene, seed = self.stage.scene, self.simulator.state.seed
        self.stage.views.upload(scene.decorate(self.stage.cell.model, seed))

    def ports(self, **others: Any) -> Ports:
        """The ports, with ``others`` in place of some or beside them."""
        own = {
            "clock": self.clock, "arm": self.arm, "gripper": self.gripper,
            "keypoints": self.keypoints, "joints": self.joints, "wrench": self.wrench,
            "planner": self.planner, "view": self.view,
        }  # fmt: skip
        return Ports(**{**own, **others})

    def make_executor(self, **others: Any) -> GraspExecutor:
        """An executor over the ports."""
        arm = ArmModel.from_file(shared_file(URDF), self.robot.arm_joints)  # for the gates
        self.executor = GraspExecutor(self.ports(**others), self.grasp, self.robot, arm, TOOL_LOAD)
        return self.executor

    def step(self) -> None:
        """One control cycle of the robot, and whatever perception sees meanwhile."""
        state = self.simulator.step()
        self.simulator.feed()
        self.wrench.add(WrenchReading(np.array(state.wrench[:3]), state.stamp))
        self.touches.look(self.data)
        self.keypoints.step(state.stamp, self.data)

    def run(
        self, limit_s: float = 60.0, watch: Callable[[GraspCell], None] | None = None
    ) -> Outcome | None:
        """Steps and ticks until the executor's outcome; None when there is none in time."""
        assert self.executor is not None, "make_executor first"
        end = self.time + limit_s
        while self.time < end:
            self.step()
            if self.time - self._ticked < TICK_S - 1e-9:
                continue
            self._ticked = self.time
            outcome = self.executor.tick()
            if watch is not None:
                watch(self)
            if outcome is not None:
                return outcome
        return None

    def wait(self, duration_s: float) -> None:
        """Steps for a while without ticking."""
        for _ in range(round(duration_s / CONTROL_PERIOD_S)):
            self.step()

    def tcp(self) -> Array:
        """(3,) position of the tool centre point, base frame, m."""
        position: Array = np.array(self.data.site_xpos[self.stage.cell.tcp_site])
        return position

    def _needs_keypoints(self) -> bool:
        """Only a task that is on its way to a keypoint looks."""
        if self.executor is None or not self.executor.busy or self.executor.state is None:
            return False
        return self.executor.state.phase in _LOOKING


def make_planner(grasp: GraspParameters, robot: RobotParameters) -> TaskPlanner:
    """A planner with the shipped robot description and the shipped scene around the robot."""
    margin = robot.limit_margin_rad
    arm = ArmModel.from_file(shared_file(URDF), robot.arm_joints, limit_margin=margin)
    around = load_scene(shared_file(SCENE), robot.base_frame, load_rig)
    return TaskPlanner(GraspPlanner(arm, grasp, robot, around), grasp, robot)


class SimulatedClock:
    """A `Clock`: simulated time."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def now(self) -> float:
        """Seconds."""
        return self._simulator.state.stamp


class SimulatedArm:
    """An `ArmPort` over the simulator's own trajectory controller.

    Attributes:
        there: False while its action server is gone.
    """

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._handle: GoalHandle | None = None
        self._refused: Fault | None = None
        self.there = True

    def available(self) -> bool:
        """Whether the arm's controller is there."""
        return self.there

    def start(self, trajectory: JointTrajectory, start_time: float) -> None:
        """Follows a trajectory from ``start_time`` on, in place of a running one."""
        goal = TrajectoryGoal(
            tuple(ARM_JOINTS), trajectory.times, trajectory.positions, trajectory.velocities,
            trajectory.accelerations, start=start_time,
        )  # fmt: skip
        self._refused = None
        try:
            self._handle = self._simulator.start_trajectory(goal)
        except TrajectoryRefusedError as error:
            self._refused = Fault(GraspCode.ARM_ABORTED, str(error))

    def stop(self) -> None:
        """Comes to a standstill."""
        if self._handle is not None:
            self._simulator.cancel_trajectory(self._handle)
            self._handle = None

    def poll(self) -> ArmFinished | Fault | None:
        """The end of the newest trajectory, once."""
        refused, self._refused = self._refused, None
        if refused is not None or self._handle is None or not self._handle.done:
            return refused
        handle, self._handle = self._handle, None
        if handle.state is GoalState.SUCCEEDED:
            return ArmFinished()
        return Fault(GraspCode.ARM_ABORTED, handle.message)


class SimulatedGripper:
    """A `GripperPort` over the simulator's own gripper controller.

    Attributes:
        there: False while its action server is gone.
    """

    def __init__(self, simulator: Simulator, robot: RobotParameters) -> None:
        self._simulator, self._robot = simulator, robot
        self._handle: GripperHandle | None = None
        self.there = True

    def available(self) -> bool:
        """Whether the gripper's controller is there."""
        return self.there

    def move(self, width: float, force: float) -> None:
        """Moves the jaws to a gap in m with a force in N, in place of a running motion."""
        knuckle = joint_from_width(width, self._robot)
        self._handle = self._simulator.start_gripper(knuckle, force)

    def stop(self) -> None:
        """Ends the motion where it is."""
        if self._handle is not None:
            self._simulator.cancel_gripper(self._handle)
            self._handle = None

    def poll(self) -> JawsFinished | Fault | None:
        """The end of the newest motion, once."""
        if self._handle is None or not self._handle.done:
            return None
        handle, self._handle = self._handle, None
        if handle.stalled or handle.reached_goal:
            return JawsFinished(width_from_joint(handle.position, self._robot), handle.stalled)
        return Fault(GraspCode.GRIPPER_FAILED, handle.message)


class SimulatedJoints:
    """A `JointStateSource`.

    Attributes:
        alive: False while no joint states come.
    """

    def __init__(self, simulator: Simulator, robot: RobotParameters) -> None:
        self._simulator, self._robot = simulator, robot
        self._newest: JointReading | None = None
        self.alive = True

    def latest(self) -> JointReading | None:
        """The newest reading."""
        if self.alive:
            state = self._simulator.state
            width = width_from_joint(state.knuckle, self._robot)
            self._newest = JointReading(np.array(state.position), width, state.stamp)
        return self._newest


class SimulatedWrench:
    """A `WrenchSource`.

    Attributes:
        alive: False while the sensor says nothing.
        added: (3,) N on top of what is measured.
    """

    def __init__(self) -> None:
        self._readings: deque[WrenchReading] = deque(maxlen=_WRENCHES)
        self.alive = True
        self.added = np.zeros(3)

    def recent(self) -> tuple[WrenchReading, ...]:
        """Readings, oldest first."""
        return tuple(self._readings)

    def add(self, reading: WrenchReading) -> None:
        """Takes what the sensor measured."""
        if self.alive:
            self._readings.append(WrenchReading(reading.force + self.added, reading.received_at))


class PlanList:
    """A `PlanView` that keeps all plans."""

    def __init__(self) -> None:
        self.shown: list[Plan] = []

    def show(self, plan: Plan) -> None:
        """Keeps a plan."""
        self.shown.append(plan)


class InProcessPlanner:
    """A `PlannerPort` that plans at once and tells the result when a planner beside it would.

    Args:
        planner: does the work.
        clock: simulated time.
        planning_s: how long a plan takes.
    """

    def __init__(
        self, planner: TaskPlanner, clock: SimulatedClock, planning_s: float = PLANNING_S
    ) -> None:
        self.planner = planner
        self._clock, self._planning_s = clock, planning_s
        self._result: Planned | NotPlanned | None = None
        self._due = 0.0

    def submit(self, goal: Any, target: Any, start: Any, correction: bool) -> None:
        """Begins to plan; an earlier request is forgotten."""
        plan = (self.planner.correct if correction else self.planner.plan)(goal, target, start)
        self._result = NotPlanned(plan) if isinstance(plan, Refusal) else Planned(plan)
        self._due = self._clock.now() + self._planning_s / (3.0 if correction else 1.0)

    def poll(self) -> Planned | NotPlanned | None:
        """The result of the newest request, once."""
        if self._result is None or self._clock.now() < self._due:
            return None
        result, self._result = self._result, None
        return result
