"""What all tasks share: moving, opening the jaws, ending at rest, drawing back after a contact."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, TypeVar

from s3k_ros.grasp.arm.trajectory import JointTrajectory
from s3k_ros.grasp.codes import GraspCode, Holding, Phase
from s3k_ros.grasp.planning.ways_back import RetreatPlan
from s3k_ros.grasp.tasks.events import (
    ArmFinished,
    Command,
    Event,
    Fault,
    Finish,
    MakeRetract,
    Move,
    NotPlanned,
    Outcome,
    Planned,
    StopArm,
    StopJaws,
    Tare,
    Tick,
)
from s3k_ros.grasp.tasks.state import Retract, TaskState, WatchingState
from s3k_ros.params.grasp import GraspParameters, RobotParameters

# Rest counts when it was watched for this long after the stop.
REST_PROOF_S = 0.1
# The hand turns: in the sensor's frame, weights turn.
_TURNING = (Phase.APPROACH, Phase.TRANSFER)
_NOTHING_LEFT = (
    GraspCode.MISSED,
    GraspCode.SLIPPED,
    GraspCode.NOTHING_HELD,
    GraspCode.DROPPED,
)
Step = tuple[TaskState, tuple[Command, ...]]
S = TypeVar("S", bound=TaskState)


def enter(state: S, phase: Phase, now: float, limit: float) -> S:
    """The state at the beginning of a phase that may last ``limit`` s."""
    return dataclasses.replace(state, phase=phase, since=now, deadline=now + limit)


def with_jaws(state: S, **changes: Any) -> S:
    """The state with other knowledge of the gripper."""
    return dataclasses.replace(state, jaws=dataclasses.replace(state.jaws, **changes))


def move(
    state: TaskState,
    phase: Phase,
    trajectory: JointTrajectory,
    now: float,
    params: GraspParameters,
    *before: Command,
) -> Step:
    """Sends the arm on its way for a phase."""
    limit = trajectory.duration + params.motion_margin_s
    if state.jaws.busy:
        limit = max(limit, params.gripper_timeout_s)
    state = dataclasses.replace(enter(state, phase, now, limit), arm_busy=True, moved=True)
    return state, (*before, Move(trajectory))


def contact_limit(state: TaskState, robot: RobotParameters, *, weighed: bool) -> float:
    """N: the change of force since it was tared that is too much in this state.

    Args:
        state: of the task.
        robot: the weights that turn with the hand.
        weighed: whether the tool's weight has been taken off the forces.
    """
    turning = 0.0
    if state.phase in _TURNING and state.ending is None:
        turning += 0.0 if weighed else robot.tool_weight_n
        turning += robot.payload_weight_n if state.phase == Phase.TRANSFER else 0.0
    return state.goal.contact_force_limit_n + state.pressed + 2.0 * turning


def took_too_long(state: TaskState, now: float, params: GraspParameters) -> Step:
    """Ends a phase whose deadline has passed."""
    message = f"{state.phase} took longer than {state.deadline - state.since:.1f} s"
    return end(state, GraspCode.WATCHDOG, message, now, params)


# -- ending ------------------------------------------------------------------------------------


def end(
    state: TaskState,
    code: GraspCode,
    message: str,
    now: float,
    params: GraspParameters,
    holding: Holding | None = None,
) -> Step:
    """Ends a task: at once when nothing has moved, else when the arm stands still."""
    result = outcome(state, code, message, _judged(state, code) if holding is None else holding)
    if not state.moved:
        return dataclasses.replace(state, outcome=result), (Finish(result),)
    commands: tuple[Command, ...] = (StopArm(),) if state.arm_busy else ()
    if state.jaws.busy:
        commands += (StopJaws(),)
    drawn_back = code == GraspCode.CONTACT_FORCE and params.retract_distance_m > 0.0
    state = dataclasses.replace(
        state, ending=result, arm_busy=False, planning=False,
        retract=Retract.WANTED if drawn_back else Retract.NONE,
    )  # fmt: skip
    return enter(state, state.phase, now, params.stop_timeout_s), commands


def ending(state: TaskState, event: Event, now: float, params: GraspParameters) -> Step:
    """The way from the decision to end to its end: a standstill, after a contact further back.

    The first reason to end counts; a later one, also a cancel, only ends the drawing back.
    """
    match event:
        case Fault() if state.retract != Retract.NONE:
            return _no_retract(state, event.message, now, params)
        case NotPlanned() if state.retract == Retract.PLANNING:
            return _no_retract(state, event.refusal.message, now, params)
        case Planned() if state.retract == Retract.PLANNING:
            return _retract(state, event, now, params)
        case ArmFinished() if state.retract == Retract.MOVING:
            state = dataclasses.replace(state, arm_busy=False, retract=Retract.NONE)
            state = _say(state, "drawn back")
            return enter(state, state.phase, now, params.stop_timeout_s), ()
        case Tick():
            return _tick_ending(state, event, now, params)
    return state, ()


def _judged(state: TaskState, code: GraspCode) -> Holding:
    """What the jaws hold after an end that says nothing more of it."""
    if code in _NOTHING_LEFT:
        return Holding.NOT_HOLDING
    return Holding.UNKNOWN if state.jaws.order else state.grip.holding


def _tick_ending(state: TaskState, event: Tick, now: float, params: GraspParameters) -> Step:
    late = now >= state.deadline
    if state.retract in (Retract.PLANNING, Retract.MOVING):
        return _no_retract(state, "it took too long", now, params) if late else (state, ())
    # Before that, the arm may look as it did before its last motion began.
    resting = event.at_rest and now >= state.since + REST_PROOF_S
    if not resting and not late:
        return state, ()
    if state.retract == Retract.WANTED and resting:
        state = enter(state, state.phase, now, params.planning_timeout_s)
        state = dataclasses.replace(state, retract=Retract.PLANNING)
        return state, (MakeRetract(params.retract_distance_m),)
    return _finish(state, "arm at rest" if resting else "ARM NOT CONFIRMED AT REST")


def _retract(state: TaskState, event: Planned, now: float, params: GraspParameters) -> Step:
    trajectory = event.plan.retreat if isinstance(event.plan, RetreatPlan) else None
    if trajectory is None:
        return _no_retract(state, "no way", now, params)
    # What it presses against lets go on the way back: that much is no new contact.
    pressed = 0.0 if math.isnan(state.force) else state.force
    state = dataclasses.replace(state, arm_busy=True, retract=Retract.MOVING, pressed=pressed)
    state = enter(state, state.phase, now, trajectory.duration + params.motion_margin_s)
    return state, (Tare(), Move(trajectory))


def _no_retract(state: TaskState, why: str, now: float, params: GraspParameters) -> Step:
    commands = (StopArm(),) if state.retract == Retract.MOVING else ()
    state = dataclasses.replace(state, arm_busy=False, retract=Retract.NONE)
    state = enter(state, state.phase, now, params.stop_timeout_s)
    return _say(state, f"not drawn back: {why}"), commands


def _finish(state: TaskState, where: str) -> Step:
    state = _say(state, f"{where}, {state.jaws}")
    if state.ending is None:
        return state, ()
    result = dataclasses.replace(state.ending, width=state.jaws.width)
    return dataclasses.replace(state, outcome=result), (Finish(result),)


def _say(state: S, text: str) -> S:
    if state.ending is None:
        return state
    said = dataclasses.replace(state.ending, message=f"{state.ending.message}; {text}")
    return dataclasses.replace(state, ending=said)


def outcome(
    state: TaskState, code: GraspCode, message: str, holding: Holding = Holding.UNKNOWN
) -> Outcome:
    """How it ends from this state."""
    return Outcome(
        code=code,
        message=message,
        phase=state.phase,
        holding=holding,
        width=state.jaws.width,
        grasp_pose=None if state.plan is None else state.plan.pose,
        keypoint=state.keypoint if isinstance(state, WatchingState) else None,
    )
