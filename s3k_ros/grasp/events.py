"""What can happen to a grasp, and what it can ask for: the alphabet of the state machine."""

from __future__ import annotations

import dataclasses

from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.codes import GraspCode, Holding, Phase
from s3k_ros.grasp.gates import KeypointReading
from s3k_ros.grasp.goal import Refusal
from s3k_ros.grasp.planner import GraspPlan, Target
from s3k_ros.grasp.trajectory import JointTrajectory

# -- events ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Looked:
    """A new set of keypoints: the goal's keypoint, and the one that sets the yaw if asked for."""

    keypoint: KeypointReading | None
    toward: KeypointReading | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Planned:
    """The plan that was asked for."""

    plan: GraspPlan


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
    """Something that ends the grasp: a fault of a device, a limit, or a request to end."""

    code: GraspCode
    message: str


@dataclasses.dataclass(frozen=True)
class Tick:
    """Time goes on.

    Attributes:
        at_rest: the arm has stood still for a while, by fresh joint states.
        width: m between the jaws by the joint states; None when not known.
        load: N, change of the wrench along the vertical since it was tared; None when not known.
    """

    at_rest: bool = True
    width: float | None = None
    load: float | None = None


Event = Looked | Planned | NotPlanned | ArmFinished | JawsFinished | Fault | Tick

# -- commands ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class MakePlan:
    """Plan from the commanded state: a whole grasp, or a correction of the straight way in."""

    target: Target
    correction: bool


@dataclasses.dataclass(frozen=True, eq=False)
class ShowPlan:
    """Publish the plan for people."""

    plan: GraspPlan


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
    """How a grasp ended.

    Attributes:
        code, message, phase: why, in words, and when.
        holding: whether the jaws hold something.
        width: m between the jaws, NaN when not known.
        grasp_pose: ``base_from_tcp`` at the grasp; None when none was planned.
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
    """The grasp is over."""

    outcome: Outcome


Command = MakePlan | ShowPlan | Move | MoveJaws | StopArm | StopJaws | Tare | Finish
