"""What is known about a running task: the state of its state machine."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from typing import ClassVar

from s3k_ros.grasp.codes import Holding, Phase
from s3k_ros.grasp.goal import Goal, GraspGoal, PlaceGoal, Refusal, ReleaseGoal
from s3k_ros.grasp.planning.place_planner import PlacePlan, Plan
from s3k_ros.grasp.planning.planner import GraspPlan, Target
from s3k_ros.grasp.planning.ways_back import RetreatPlan
from s3k_ros.grasp.tasks.events import Outcome
from s3k_ros.grasp.tasks.gates import KeypointReading
from s3k_ros.params.grasp import GraspParameters

# Shares of the whole action that have passed when a phase begins and ends.
Spans = Mapping[Phase, tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Jaws:
    """What is known of the gripper.

    Attributes:
        order: what it was last told for this goal: "", "open" or "close".
        busy: it has not answered yet.
        stalled: it stalled on its way.
        width: m between the jaws, NaN when not known.
        grip_width: m, where the closing ended.
        window_width: m, when the present window of verify began.
    """

    order: str = ""
    busy: bool = False
    stalled: bool = False
    width: float = math.nan
    grip_width: float = math.nan
    window_width: float = math.nan

    def __str__(self) -> str:
        gap = "" if math.isnan(self.width) else f" at {1e3 * self.width:.0f} mm"
        if not self.order:
            return f"gripper untouched{gap}"
        if self.busy:
            return f"gripper stopped while {self.order[:4].rstrip('e')}ing{gap}"
        if self.order == "open":
            return f"gripper {'stalled while opening' if self.stalled else 'open'}{gap}"
        return f"gripper closed{gap}"


@dataclasses.dataclass(frozen=True)
class Grip:
    """What the tasks before left between the jaws.

    Attributes:
        order: the last order that was carried out: "", "open" or "close".
        holding: the last verdict.
        width: m between the jaws at that time, NaN when not known.
        opening: m between the fully open jaws.
    """

    order: str = ""
    holding: Holding = Holding.UNKNOWN
    width: float = math.nan
    opening: float = math.inf

    def after(self, state: TaskState) -> Grip:
        """What a task that has ended leaves."""
        jaws, outcome = state.jaws, state.outcome
        if not jaws.order or outcome is None:
            dropped = outcome is not None and outcome.holding == Holding.NOT_HOLDING
            return dataclasses.replace(self, holding=Holding.NOT_HOLDING) if dropped else self
        # Jaws that were to open and did not may still hold something: their width will tell.
        failed = jaws.order == "open" and (jaws.stalled or jaws.busy)
        order = "" if failed else jaws.order
        return dataclasses.replace(self, order=order, holding=outcome.holding, width=jaws.width)


class Retract(enum.Enum):
    """How far the drawing back after a contact is."""

    NONE = "none"
    WANTED = "wanted"
    PLANNING = "planning"
    MOVING = "moving"


@dataclasses.dataclass(frozen=True, eq=False)
class TaskState:
    """Everything that the next step of any task depends on.

    Attributes:
        goal: resolved goal.
        phase: the phase; ``ending`` and ``outcome`` overlay it.
        since: s, when the phase began.
        deadline: s, when the watchdog ends the phase.
        plan: the plan in force.
        planning: a plan was asked for and is not there yet.
        arm_busy: a trajectory runs.
        moved: the arm or the jaws were told to move for this goal.
        jaws: the gripper.
        grip: what the tasks before left between them.
        force: N, change at the wrist since it was tared; NaN when not known.
        pressed: N, of a contact that is known and that the limit stands on top of.
        ending: how it will end once the arm stands still.
        retract: the drawing back before that.
        outcome: how it ended; nothing follows.
    """

    goal: Goal
    phase: Phase
    since: float
    deadline: float
    plan: Plan | None = None
    planning: bool = False
    arm_busy: bool = False
    moved: bool = False
    jaws: Jaws = Jaws()
    grip: Grip = Grip()
    force: float = math.nan
    pressed: float = 0.0
    ending: Outcome | None = None
    retract: Retract = Retract.NONE
    outcome: Outcome | None = None

    SPANS: ClassVar[Spans] = {}


@dataclasses.dataclass(frozen=True, eq=False)
class WatchingState(TaskState):
    """A task that goes to a keypoint: first through free space, then along a straight way.

    Attributes:
        readings: the last usable readings: time and target.
        keypoint: the newest reading, usable or not.
        last_good: s, when a usable reading last came.
        refusal: why the newest reading was refused.
        corrections: how often the way was corrected.
    """

    goal: GraspGoal | PlaceGoal
    readings: tuple[tuple[float, Target], ...] = ()
    keypoint: KeypointReading | None = None
    last_good: float = -math.inf
    refusal: Refusal | None = None
    corrections: int = 0

    FREE: ClassVar[Phase]
    STRAIGHT: ClassVar[Phase]

    @property
    def watching(self) -> bool:
        """Whether it is on its way to a keypoint that may still move."""
        return bool(self.goal.keypoint) and self.phase in (self.FREE, self.STRAIGHT)


@dataclasses.dataclass(frozen=True, eq=False)
class GraspState(WatchingState):
    """A grasp; ``lifted_at``: s, when the arm stood still after the lift."""

    goal: GraspGoal
    plan: GraspPlan | None = None
    lifted_at: float = math.inf

    FREE: ClassVar[Phase] = Phase.APPROACH
    STRAIGHT: ClassVar[Phase] = Phase.ALIGN
    SPANS: ClassVar[Spans] = {
        Phase.OBSERVE: (0.0, 0.1),
        Phase.APPROACH: (0.1, 0.4),
        Phase.ALIGN: (0.4, 0.65),
        Phase.CLOSE: (0.65, 0.75),
        Phase.LIFT: (0.75, 0.95),
        Phase.VERIFY: (0.95, 1.0),
    }


@dataclasses.dataclass(frozen=True, eq=False)
class PlaceState(WatchingState):
    """A place; ``touched``: the way down met something, and ends there."""

    goal: PlaceGoal
    plan: PlacePlan | None = None
    touched: bool = False

    FREE: ClassVar[Phase] = Phase.TRANSFER
    STRAIGHT: ClassVar[Phase] = Phase.LOWER
    SPANS: ClassVar[Spans] = {
        Phase.OBSERVE: (0.0, 0.1),
        Phase.TRANSFER: (0.1, 0.5),
        Phase.LOWER: (0.5, 0.75),
        Phase.RELEASE: (0.75, 0.85),
        Phase.RETREAT: (0.85, 1.0),
    }


@dataclasses.dataclass(frozen=True, eq=False)
class ReleaseState(TaskState):
    """A release where the hand is."""

    goal: ReleaseGoal
    plan: RetreatPlan | None = None

    SPANS: ClassVar[Spans] = {Phase.RELEASE: (0.0, 0.5), Phase.RETREAT: (0.5, 1.0)}


NO_GRIP = Grip()


def begin(goal: Goal, now: float, params: GraspParameters, grip: Grip = NO_GRIP) -> TaskState:
    """The state of a new task with a resolved goal."""
    deadline = now + params.observe_timeout_s
    if isinstance(goal, GraspGoal):
        return GraspState(goal, Phase.OBSERVE, now, deadline, grip=grip)
    if isinstance(goal, PlaceGoal):
        return PlaceState(goal, Phase.OBSERVE, now, deadline, grip=grip)
    return ReleaseState(goal, Phase.RELEASE, now, deadline, grip=grip)


def progress(state: TaskState, now: float) -> float:
    """0 to 1 over the whole action, by phases and the time within them."""
    if state.outcome is not None:
        return 1.0
    low, high = state.SPANS[state.phase]
    if state.ending is not None:
        return high
    length = max(state.deadline - state.since, 1e-6)
    return low + (high - low) * min(max((now - state.since) / length, 0.0), 1.0)
