"""What can happen to a task, and what it can ask for: the alphabet of the state machines."""

from __future__ import annotations

import dataclasses

from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.arm.trajectory import JointTrajectory
from s3k_ros.grasp.codes import GraspCode, Holding, Phase
from s3k_ros.grasp.goal import PlaceGoal, Refusal
from s3k_ros.grasp.planning.place_planner import Plan
from s3k_ros.grasp.planning.planner import Target
from s3k_ros.grasp.planning.ways_back import RetreatGoal
from s3k_ros.grasp.tasks.gates import KeypointReading

# -- events ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Looked:
    """A new set of keypoints: the goal's keypoint, and the one that sets the yaw if asked for."""

    keypoint: KeypointReading | None
    toward: KeypointReading | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Planned:
    """The plan that was asked for."""

    plan: Plan


@dataclasses.dataclass(frozen=True)
class NotPlanned:
    """Why there is no plan."""

    refusal: Refusal


@dataclasses.dataclass(frozen=True)
class ArmFinished:
    """The arm came to the end of its trajectory."""


@dataclasses.dataclass(frozen=True)
class JawsFinished:
    """The jaws opened or closed: reached their target or stalled on the way."""

    width: float
    stalled: bool


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something that ends the task: a fault of a device, a limit, or a request to end."""

    code: GraspCode
    message: str


@dataclasses.dataclass(frozen=True)
class Tick:
    """Time goes on.

    Attributes:
        at_rest: the arm has stood still for a while, by fresh joint states.
        width: m between the jaws by the joint states; None when not known.
        load: N, change of the wrench since it was tared, over a while; None when not known.
        force: N, the same over the last few samples.
    """

    at_rest: bool = True
    width: float | None = None
    load: float | None = None
    force: float | None = None


Event = Looked | Planned | NotPlanned | ArmFinished | JawsFinished | Fault | Tick

# -- commands ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class MakePlan:
    """Plan from the commanded state: the whole task, or a correction of the straight way in.

    Attributes:
        target: where to; None for a release.
        correction: only the straight way in.
        goal: planned for in place of the task's own goal.
    """

    target: Target | None
    correction: bool
    goal: PlaceGoal | RetreatGoal | None = None


@dataclasses.dataclass(frozen=True)
class MakeRetract:
    """Plan a short way back along where the hand came from: how far in m."""

    distance: float


@dataclasses.dataclass(frozen=True, eq=False)
class ShowPlan:
    """Publish the plan for people."""

    plan: Plan


@dataclasses.dataclass(frozen=True, eq=False)
class Move:
    """Send a trajectory to the arm; it takes the place of a running one."""

    trajectory: JointTrajectory


@dataclasses.dataclass(frozen=True)
class MoveJaws:
    """Open or close the jaws to a gap in m with a force in N."""

    width: float
    force: float


@dataclasses.dataclass(frozen=True)
class StopArm:
    """Bring the arm to a standstill."""


@dataclasses.dataclass(frozen=True)
class StopJaws:
    """End the jaws' motion where they are."""


@dataclasses.dataclass(frozen=True)
class Tare:
    """Take the present wrench as zero."""


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """How a task ended.

    Attributes:
        code, message, phase: why, in words, and when.
        holding: whether the jaws hold something.
        width: m between the jaws, NaN when not known.
        grasp_pose: ``base_from_tcp`` where the jaws were to close, or to open; None: not planned.
        keypoint: the reading that it rests on.
    """

    code: GraspCode
    message: str
    phase: Phase
    holding: Holding = Holding.UNKNOWN
    width: float = float("nan")
    grasp_pose: Transform | None = None
    keypoint: KeypointReading | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Finish:
    """The task is over."""

    outcome: Outcome


Command = MakePlan | MakeRetract | ShowPlan | Move | MoveJaws | StopArm | StopJaws | Tare | Finish
