"""What is known about a running grasp: the state of its state machine."""

from __future__ import annotations

import dataclasses
import math

from s3k_ros.grasp.codes import Phase
from s3k_ros.grasp.events import Outcome
from s3k_ros.grasp.gates import KeypointReading
from s3k_ros.grasp.goal import GraspGoal, Refusal
from s3k_ros.grasp.planner import GraspPlan, Target
from s3k_ros.params.grasp import GraspParameters

# Share of the whole action that has passed when a phase begins.
_PROGRESS = {
    Phase.IDLE: 0.0,
    Phase.OBSERVE: 0.0,
    Phase.APPROACH: 0.1,
    Phase.ALIGN: 0.4,
    Phase.CLOSE: 0.65,
    Phase.LIFT: 0.75,
    Phase.VERIFY: 0.95,
}
_END = {
    Phase.IDLE: 0.0,
    Phase.OBSERVE: 0.1,
    Phase.APPROACH: 0.4,
    Phase.ALIGN: 0.65,
    Phase.CLOSE: 0.75,
    Phase.LIFT: 0.95,
    Phase.VERIFY: 1.0,
}


@dataclasses.dataclass(frozen=True)
class Jaws:
    """What is known of the gripper.

    Attributes:
        order: what it was last told: "", "open" or "close".
        busy: it has not answered yet.
        stalled: it stalled on its way to closed.
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
        return f"gripper {'open' if self.order == 'open' else 'closed'}{gap}"


@dataclasses.dataclass(frozen=True, eq=False)
class GraspState:
    """Everything that the next step depends on.

    Attributes:
        goal: resolved goal.
        phase: the phase; ``ending`` and ``outcome`` overlay it.
        since: s, when the phase began.
        deadline: s, when the watchdog ends the phase.
        readings: the last usable readings: time, position, line from toward_keypoint or None.
        keypoint: the newest reading, usable or not.
        last_good: s, when a usable reading last came.
        refusal: why the newest reading was refused.
        plan: the plan in force.
        planning: a plan was asked for and is not there yet.
        lifted_at: s, when the arm stood still after the lift.
        corrections: how often the grasp was corrected.
        arm_busy: a trajectory runs.
        moved: the arm has moved for this goal.
        jaws: the gripper.
        ending: how it will end once the arm stands still.
        outcome: how it ended; nothing follows.
    """

    goal: GraspGoal
    phase: Phase
    since: float
    deadline: float
    readings: tuple[tuple[float, Target], ...] = ()
    keypoint: KeypointReading | None = None
    last_good: float = -math.inf
    refusal: Refusal | None = None
    plan: GraspPlan | None = None
    planning: bool = False
    lifted_at: float = math.inf
    corrections: int = 0
    arm_busy: bool = False
    moved: bool = False
    jaws: Jaws = Jaws()
    ending: Outcome | None = None
    outcome: Outcome | None = None


def begin(goal: GraspGoal, now: float, params: GraspParameters) -> GraspState:
    """The state of a new grasp with a resolved goal."""
    return GraspState(goal, Phase.OBSERVE, now, now + params.observe_timeout_s)


def progress(state: GraspState, now: float) -> float:
    """0 to 1 over the whole action, by phases and the time within them."""
    if state.outcome is not None:
        return 1.0
    low, high = _PROGRESS[state.phase], _END[state.phase]
    if state.ending is not None:
        return high
    length = max(state.deadline - state.since, 1e-6)
    return low + (high - low) * min(max((now - state.since) / length, 0.0), 1.0)
