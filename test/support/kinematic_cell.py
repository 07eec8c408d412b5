"""A perfect kinematic arm, gripper and perception on a made-up clock: the ports of a grasp."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from s3k_ros.grasp.arm.kinematics import ArmModel
from s3k_ros.grasp.codes import GraspCode, KeypointStatus
from s3k_ros.grasp.executor import GraspExecutor, Ports
from s3k_ros.grasp.goal import Refusal
from s3k_ros.grasp.planning.place_planner import Plan
from s3k_ros.grasp.planning.planner import GraspPlanner
from s3k_ros.grasp.planning.task_planner import TaskPlanner
from s3k_ros.grasp.ports import JointReading, RobotReading, WrenchReading
from s3k_ros.grasp.tasks.events import ArmFinished, Fault, JawsFinished, NotPlanned, Planned
from s3k_ros.grasp.tasks.gates import KeypointReading
from s3k_ros.grasp.tool_weight import ToolWeight
from s3k_ros.params.admittance import ToolLoadParameters
from s3k_ros.params.grasp import GraspParameters, RobotParameters

URDF = Path(__file__).parents[2] / "config" / "robots" / "sawyer_2f85.urdf"
NAMES = ("head", "left_front_paw", "right_front_paw", "body", "tail")
TABLE_HEIGHT_M = -0.163
STEP_S = 0.01
TICK_S = 0.03


def sawyer(margin: float = 0.03) -> ArmModel:
    """The shipped robot description."""
    return ArmModel.from_file(URDF, RobotParameters().arm_joints, limit_margin=margin)


class Cell:
    """Clock, arm, gripper, keypoints, joint states, wrench and planner in one, stepped by hand.

    Attributes:
        toy_width: m, gap at which the jaws stall; 0 for nothing between them.
        keypoints: name -> position (3,), status OK.
        hidden: names that come with `hidden_status`.
        tool: what the executor is told of the tool; its weight is in the forces then.
    """

    def __init__(self, tool: ToolLoadParameters | None = None, **robot: object) -> None:
        self.tool = tool
        self.robot = RobotParameters(**robot)
        self.time = 100.0
        self.arm = FakeArm(self)
        self.gripper = FakeGripper(self)
        self.joints = FakeJoints(self)
        self.wrench = FakeWrench(self)
        self.state = FakeRobotState(self)
        self.keypoints = FakeKeypoints(self)
        self.shown: list[Plan] = []
        self.executor: GraspExecutor | None = None

    def now(self) -> float:
        return self.time

    def show(self, plan: Plan) -> None:
        self.shown.append(plan)

    def make_executor(self, **grasp: object) -> GraspExecutor:
        parameters = GraspParameters(**{"grasp_depth_m": 0.0, **grasp})
        planner = direct_planner(parameters, self.robot)
        self.planner = planner
        ports = Ports(
            self, self.arm, self.gripper, self.keypoints, self.joints, self.wrench, planner, self,
            robot_state=self.state,
        )  # fmt: skip
        self.executor = GraspExecutor(ports, parameters, self.robot, sawyer(), self.tool)
        return self.executor

    def step(self) -> None:
        self.time += STEP_S
        self.arm.step()
        self.gripper.step()
        self.joints.step()
        self.wrench.step()
        self.state.step()
        self.keypoints.step()

    def run(self, until=None, limit: float = 60.0):
        """Steps and ticks until the outcome, or until a condition on the executor holds."""
        end = self.time + limit
        last = -np.inf
        while self.time < end:
            self.step()
            if self.time - last < TICK_S - 1e-9:
                continue
            last = self.time
            outcome = self.executor.tick()
            if outcome is not None:
                return outcome
            if until is not None and until(self.executor):
                return None
        raise AssertionError(f"no end after {limit} s, state {self.executor.state.phase}")


class FakeArm:
    """Follows trajectories perfectly; stops at once when told."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.position = np.array(cell.robot.home_rad)
        self.there = True
        self.fails_after: float | None = None
        self.deaf = False
        self.frozen = False
        self.coasts = False
        self.speed = 0.0
        self.motion = None
        self.report: ArmFinished | Fault | None = None
        self.sent: list = []

    def available(self) -> bool:
        return self.there

    def start(self, trajectory, start_time) -> None:
        self.sent.append((trajectory, start_time))
        if not self.deaf:
            self.motion, self.report = (trajectory, start_time), None

    def stop(self) -> None:
        if not self.coasts:
            self.motion = None
        self.report = None

    def poll(self):
        report, self.report = self.report, None
        return report

    def step(self) -> None:
        self.speed = 0.0
        if self.motion is None or self.frozen:
            return
        trajectory, start = self.motion
        elapsed = self.cell.time - start
        position = trajectory.sample(elapsed)[0]
        self.speed = float(np.abs(position - self.position).max() / STEP_S)
        self.position = position
        if self.fails_after is not None and elapsed > self.fails_after:
            self.motion = None
            self.report = Fault(GraspCode.ARM_ABORTED, "path tolerance violated")
        elif elapsed >= trajectory.duration:
            self.motion = None
            self.report = ArmFinished()


class FakeGripper:
    """Moves its jaws at 0.1 m/s and stalls on the toy."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.width = 0.085
        self.toy_width = 0.03
        self.there = True
        self.dead = False
        self.target = None
        self.report = None
        self.orders: list = []

    def available(self) -> bool:
        return self.there

    def move(self, width, force) -> None:
        self.orders.append((width, force))
        if not self.dead:
            self.target, self.report = width, None

    def stop(self) -> None:
        self.target, self.report = None, None

    def poll(self):
        report, self.report = self.report, None
        return report

    def step(self) -> None:
        if self.target is None:
            # What is between the jaws may leave: then they close, as their force goes on.
            if self.orders and self.orders[-1][0] == 0.0 and self.width > self.toy_width:
                self.width = self.toy_width
            return
        low = max(self.target, min(self.toy_width, self.width))
        self.width += float(np.clip(low - self.width, -0.1 * STEP_S, 0.1 * STEP_S))
        if self.target > self.width and self.target > low - 1e-9:
            self.width += min(0.1 * STEP_S, self.target - self.width)
        if abs(self.width - self.target) < 1e-6:
            self.report, self.target = JawsFinished(self.width, False), None
        elif abs(self.width - low) < 1e-6:
            self.report, self.target = JawsFinished(self.width, True), None


class FakeJoints:
    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.alive = True
        self.reading: JointReading | None = None
        self.step()

    def latest(self):
        return self.reading

    def step(self) -> None:
        if self.alive:
            cell = self.cell
            self.reading = JointReading(cell.arm.position.copy(), cell.gripper.width, cell.time)


class FakeWrench:
    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.force = np.array([0.0, 0.0, 9.0])
        self.alive = self.noisy = True
        self.readings: list[WrenchReading] = []
        self.weight = None
        if cell.tool is not None:
            self.weight = ToolWeight(sawyer(), cell.robot.wrench_frame, cell.tool)

    def recent(self):
        return tuple(self.readings[-50:])

    def step(self) -> None:
        if self.alive:
            noise = 1e-3 * (len(self.readings) % 7) if self.noisy else 0.0
            weight = 0.0 if self.weight is None else self.weight.at(self.cell.arm.position)
            self.readings.append(WrenchReading(self.force + weight + noise, self.cell.time))


class FakeRobotState:
    """Ten times a second, and at every change."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.alive = True
        self.says: dict[str, object] = {}
        self.reading: RobotReading | None = None
        self.due = 0.0

    def latest(self):
        return self.reading

    def say(self, **says: object) -> None:
        self.says, self.due = says, 0.0
        self.step()

    def step(self) -> None:
        if self.alive and self.cell.time >= self.due:
            self.due = self.cell.time + 0.1
            self.reading = RobotReading(self.cell.time, **self.says)


class FakeKeypoints:
    """Ten sets a second."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.sets = 0
        self.object_id = "plush_fox"
        self.names = NAMES
        self.alive = True
        self.positions = {
            "right_front_paw": np.array([0.60, 0.05, TABLE_HEIGHT_M + 0.03]),
            "body": np.array([0.66, 0.12, TABLE_HEIGHT_M + 0.05]),
        }
        self.hidden: set[str] = set()
        self.hidden_status = KeypointStatus.TOO_FEW_VIEWS
        self.sigma = 0.004
        self.confidence = 0.95
        self.readings: dict[str, KeypointReading] = {}
        self.due = 0.0

    def latest(self, name):
        return self.readings.get(name)

    def step(self) -> None:
        if not self.alive or self.cell.time < self.due:
            return
        self.due = self.cell.time + 0.1
        self.sets += 1
        for name, position in self.positions.items():
            hidden = name in self.hidden
            self.readings[name] = KeypointReading(
                name,
                self.hidden_status if hidden else KeypointStatus.OK,
                np.full(3, np.nan) if hidden else position.copy(),
                np.eye(3) * self.sigma**2,
                self.confidence,
                self.cell.time,
            )


def direct_planner(grasp: GraspParameters, robot: RobotParameters) -> DirectPlanner:
    """A planner of all tasks that plans at once."""
    return DirectPlanner(task_planner(grasp, robot))


@functools.cache
def task_planner(grasp: GraspParameters, robot: RobotParameters) -> TaskPlanner:
    """A planner of all tasks; it keeps nothing from one plan to the next."""
    return TaskPlanner(GraspPlanner(sawyer(), grasp, robot), grasp, robot)


class DirectPlanner:
    """Plans at once; the answer comes at the next poll, or never."""

    def __init__(self, planner: TaskPlanner) -> None:
        self.planner = planner
        self.result = None
        self.requests: list = []
        self.silent = False

    def submit(self, goal, target, start, correction) -> None:
        self.requests.append((goal, target, start, correction))
        if self.silent:
            return
        plan = (self.planner.correct if correction else self.planner.plan)(goal, target, start)
        self.result = NotPlanned(plan) if isinstance(plan, Refusal) else Planned(plan)

    def poll(self):
        result, self.result = self.result, None
        return result
