"""What a task needs from the world. ROS, simulation and tests implement these protocols."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from s3k_ros.grasp.arm.trajectory import JointTrajectory
from s3k_ros.grasp.goal import Goal
from s3k_ros.grasp.planning.place_planner import Plan
from s3k_ros.grasp.planning.planner import ArmState, Target
from s3k_ros.grasp.planning.task_planner import PlanGoal
from s3k_ros.grasp.tasks.events import (
    ArmFinished,
    Command,
    Event,
    Fault,
    JawsFinished,
    NotPlanned,
    Outcome,
    Planned,
)
from s3k_ros.grasp.tasks.gates import KeypointReading
from s3k_ros.grasp.tasks.state import TaskState

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class JointReading:
    """Measured joints.

    Attributes:
        positions: (n,) rad, in the order of the arm's joints.
        width: m between the jaws; None when the gripper's joint is not in the message.
        received_at: s on the server's clock.
        stamp: s on the robot's clock, for differences alone; None: as ``received_at``.
    """

    positions: Array
    width: float | None
    received_at: float
    stamp: float | None = None

    @property
    def time(self) -> float:
        """Seconds on the robot's clock, or else of receipt."""
        return self.received_at if self.stamp is None else self.stamp


@dataclasses.dataclass(frozen=True, eq=False)
class WrenchReading:
    """Measured force at the wrist.

    Attributes:
        force: (3,) N in the sensor's frame.
        received_at: s.
        weight: (3,) N, what of it is the tool's own weight; None when that is not known.
    """

    force: Array
    received_at: float
    weight: Array | None = None

    @property
    def contact(self) -> Array:
        """(3,) N without the tool's weight, where that is known."""
        return self.force if self.weight is None else self.force - self.weight


@dataclasses.dataclass(frozen=True)
class RobotReading:
    """What the robot says of itself, as `msg/RobotState.msg`, and when it came, in s."""

    received_at: float
    connected: bool = True
    enabled: bool = True
    stopped: bool = False
    error: bool = False
    collision: bool = False
    reason: str = ""


class Clock(Protocol):
    """The server's clock: ROS time, simulated or not."""

    def now(self) -> float:
        """Seconds."""


class ArmPort(Protocol):
    """An arm that follows trajectories. No method waits."""

    def available(self) -> bool:
        """Whether the arm's controller is there."""

    def start(self, trajectory: JointTrajectory, start_time: float) -> None:
        """Follows a trajectory from ``start_time`` on, in place of a running one."""

    def stop(self) -> None:
        """Comes to a standstill; ``poll`` reports nothing of the trajectory that was stopped."""

    def poll(self) -> ArmFinished | Fault | None:
        """The end of the newest trajectory, once."""


class GripperPort(Protocol):
    """A parallel gripper. No method waits."""

    def available(self) -> bool:
        """Whether the gripper's controller is there."""

    def move(self, width: float, force: float) -> None:
        """Moves the jaws to a gap in m with a force in N, in place of a running motion."""

    def stop(self) -> None:
        """Ends the motion where it is; ``poll`` reports nothing of it."""

    def poll(self) -> JawsFinished | Fault | None:
        """The end of the newest motion, once."""


class KeypointSource(Protocol):
    """The newest set of keypoints."""

    @property
    def sets(self) -> int:
        """How many sets have come."""

    @property
    def object_id(self) -> str:
        """The running model's object; empty while not known."""

    @property
    def names(self) -> tuple[str, ...]:
        """The model's keypoints; empty while not known."""

    def latest(self, name: str) -> KeypointReading | None:
        """The newest reading of a keypoint."""


class JointStateSource(Protocol):
    """The newest joint states."""

    def latest(self) -> JointReading | None:
        """The newest reading, None while none came."""


class WrenchSource(Protocol):
    """The wrenches of the last fraction of a second."""

    def recent(self) -> tuple[WrenchReading, ...]:
        """Readings, oldest first; empty without a sensor."""


class RobotStateSource(Protocol):
    """What the robot says of itself."""

    def latest(self) -> RobotReading | None:
        """The newest reading, None while none came."""


class PlannerPort(Protocol):
    """A planner that works beside its caller."""

    def submit(
        self, goal: PlanGoal, target: Target | None, start: ArmState, correction: bool
    ) -> None:
        """Begins to plan; an earlier request is forgotten."""

    def poll(self) -> Planned | NotPlanned | None:
        """The result of the newest request, once."""


class PlanView(Protocol):
    """Shows plans to people."""

    def show(self, plan: Plan) -> None:
        """Shows a plan in place of an earlier one."""


@dataclasses.dataclass(frozen=True, eq=False)
class Motion:
    """A trajectory as the arm got it, and the time when it begins."""

    trajectory: JointTrajectory
    start: float


Entry = (
    Goal | Event | Command | TaskState | JointReading | WrenchReading | RobotReading | Motion
    | Outcome
)  # fmt: skip


class Journal(Protocol):
    """Hears everything that a task rests on and does, for a post-mortem. It must be quick."""

    def record(self, time: float, entry: Entry) -> None:
        """Takes an entry at a time in s on the server's clock.

        In this order: the goal once, resolved; while the task runs, the readings of joints, wrench
        and robot, each once, and each motion as it is sent; each event that is fed to the state
        machine, the state after it, and each command of it that was obeyed. The last state has the
        outcome. A goal that is refused as it is brings the goal as it came and its outcome, and
        nothing else.
        """


class NoJournal:
    """A journal that keeps nothing."""

    def record(self, time: float, entry: Entry) -> None:
        """Drops it."""


@dataclasses.dataclass(frozen=True)
class Ports:
    """Everything outside that a task needs."""

    clock: Clock
    arm: ArmPort
    gripper: GripperPort
    keypoints: KeypointSource
    joints: JointStateSource
    wrench: WrenchSource
    planner: PlannerPort
    view: PlanView
    journal: Journal = dataclasses.field(default_factory=NoJournal)
    robot_state: RobotStateSource | None = None
