"""The ports of a grasp over the simulated cell, in one process and without ROS."""

from __future__ import annotations

import mujoco
import numpy as np

from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.events import ArmFinished, Fault, JawsFinished
from s3k_ros.grasp.executor import GraspExecutor, Ports
from s3k_ros.grasp.jaws import joint_from_width, width_from_joint
from s3k_ros.grasp.place_planner import Plan
from s3k_ros.grasp.ports import JointReading, WrenchReading
from s3k_ros.params.grasp import GraspParameters, RobotParameters
from s3k_ros.simulation.cell import ARM_JOINTS, TABLE_HEIGHT_M, build_cell
from s3k_ros.simulation.scene import SETTLE_S, ToyScene
from s3k_ros.simulation.simulator import Simulator
from s3k_ros.simulation.trajectory_goal import GoalState, TrajectoryGoal, TrajectoryRefusedError
from support.kinematic_cell import TICK_S, FakeKeypoints, direct_planner

# As perception gives them: five sets a second with errors of some millimetres.
KEYPOINT_PERIOD_S = 0.2


class SimulatedCell:
    """Drives the simulator itself, as fast as the machine can."""

    def __init__(self, seed: int, noise: float = 0.004, **grasp: object) -> None:
        self.robot, self.grasp = RobotParameters(), GraspParameters(**grasp)
        self.scene = ToyScene(TABLE_HEIGHT_M, "test")
        self.simulator = Simulator(
            build_cell([self.scene]), self.scene, seed=seed, settle_s=SETTLE_S,
            wrench_noise=True, paced=False,
        )  # fmt: skip
        self.noise, self.rng = noise, np.random.default_rng(seed)
        self.bias: dict[str, np.ndarray] = {}
        self.arm, self.gripper = self, SimulatedGripper(self)
        self.handle = None
        self.shown: list[Plan] = []
        self.keypoints = FakeKeypoints(self)
        self.keypoints.names = tuple(self.scene.names)
        self.wrenches: list[WrenchReading] = []
        self.refused: Fault | None = None
        self.look()

    # Clock, ArmPort, JointStateSource, WrenchSource, PlanView

    @property
    def time(self) -> float:
        return self.simulator.state.stamp

    def now(self) -> float:
        return self.time

    def available(self) -> bool:
        return True

    def start(self, trajectory, start_time) -> None:
        goal = TrajectoryGoal(
            tuple(ARM_JOINTS), trajectory.times, trajectory.positions, trajectory.velocities,
            trajectory.accelerations, start=start_time,
        )  # fmt: skip
        try:
            self.handle = self.simulator.start_trajectory(goal)
        except TrajectoryRefusedError as error:
            self.refused = Fault(GraspCode.ARM_ABORTED, str(error))

    def stop(self) -> None:
        if self.handle is not None:
            self.simulator.cancel_trajectory(self.handle)
            self.handle = None

    def poll(self):
        refused, self.refused = self.refused, None
        if refused is not None or self.handle is None or not self.handle.done:
            return refused
        handle, self.handle = self.handle, None
        if handle.state is GoalState.SUCCEEDED:
            return ArmFinished()
        return Fault(GraspCode.ARM_ABORTED, handle.message)

    def latest(self) -> JointReading:
        state = self.simulator.state
        width = width_from_joint(state.knuckle, self.robot)
        return JointReading(np.array(state.position), width, state.stamp)

    def recent(self):
        return tuple(self.wrenches[-40:])

    def show(self, plan: Plan) -> None:
        self.shown.append(plan)

    # running

    def truth(self) -> dict[str, np.ndarray]:
        data = self.simulator._data
        return dict(zip(self.scene.names, self.scene.keypoints(data), strict=True))

    def look(self) -> None:
        for name, position in self.truth().items():
            bias = self.bias.setdefault(name, self.rng.normal(0.0, self.noise, 3))
            self.keypoints.positions[name] = position + bias + self.rng.normal(0.0, 0.002, 3)

    def make_executor(self) -> GraspExecutor:
        planner = direct_planner(self.grasp, self.robot)
        ports = Ports(self, self, self.gripper, self.keypoints, self, self, planner, self)
        self.executor = GraspExecutor(ports, self.grasp, self.robot)
        return self.executor

    def step(self) -> None:
        state = self.simulator.step()
        self.simulator.feed()
        self.wrenches.append(WrenchReading(np.array(state.wrench[:3]), state.stamp))
        if self.time >= self.keypoints.due - 1e-9:
            self.look()
            self.keypoints.due = 0.0
            self.keypoints.step()
            self.keypoints.due = self.time + KEYPOINT_PERIOD_S

    def run(self, limit: float = 40.0, watch=None):
        end, last = self.time + limit, -np.inf
        while self.time < end:
            self.step()
            if self.time - last >= TICK_S - 1e-9:
                last = self.time
                outcome = self.executor.tick()
                if watch is not None:
                    watch(self)
                if outcome is not None:
                    return outcome
        raise AssertionError(f"no end after {limit} s")

    def wait(self, duration: float) -> None:
        end = self.time + duration
        while self.time < end:
            self.step()

    def tcp(self) -> np.ndarray:
        data = self.simulator._data
        mujoco.mj_kinematics(self.simulator.cell.model, data)
        return np.array(data.site_xpos[self.simulator.cell.tcp_site])


class SimulatedGripper:
    def __init__(self, cell: SimulatedCell) -> None:
        self.cell, self.handle = cell, None

    def available(self) -> bool:
        return True

    def move(self, width, force) -> None:
        knuckle = joint_from_width(width, self.cell.robot)
        self.handle = self.cell.simulator.start_gripper(knuckle, force)

    def stop(self) -> None:
        if self.handle is not None:
            self.cell.simulator.cancel_gripper(self.handle)
            self.handle = None

    def poll(self):
        if self.handle is None or not self.handle.done:
            return None
        handle, self.handle = self.handle, None
        if handle.stalled or handle.reached_goal:
            return JawsFinished(width_from_joint(handle.position, self.cell.robot), handle.stalled)
        return Fault(GraspCode.GRIPPER_FAILED, handle.message)
