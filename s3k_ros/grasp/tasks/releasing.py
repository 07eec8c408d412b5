"""Opening the jaws and drawing the hand back: a release, and the end of a place.

::

    release -> retreat -> finished
"""

from __future__ import annotations

import dataclasses
import math

from s3k_ros.grasp.codes import GraspCode, Holding, Phase
from s3k_ros.grasp.planning.ways_back import RetreatPlan
from s3k_ros.grasp.tasks.core import Step, end, enter, move, outcome, took_too_long, with_jaws
from s3k_ros.grasp.tasks.events import (
    ArmFinished,
    Command,
    Event,
    Finish,
    JawsFinished,
    MakePlan,
    MoveJaws,
    NotPlanned,
    Planned,
    ShowPlan,
    Tare,
    Tick,
)
from s3k_ros.grasp.tasks.state import PlaceState, ReleaseState
from s3k_ros.params.grasp import GraspParameters

# Jaws that opened by less than this share of what they were told hold on.
_OPENED = 0.8
# What is held must get this much room, however narrow the goal wants the jaws.
_LETS_GO_M = 0.01


def release_step(state: ReleaseState, event: Event, now: float, params: GraspParameters) -> Step:
    """One step of a release."""
    match event:
        case Planned(plan=RetreatPlan() as plan) if state.planning:
            state = dataclasses.replace(state, planning=False, plan=plan)
            opening, commands = open_jaws(state, now, params)
            return opening, (ShowPlan(plan), *commands)
        case NotPlanned() if state.planning:
            return end(state, event.refusal.code, event.refusal.message, now, params)
        case ArmFinished() | JawsFinished():
            return opening_step(state, event, now, params)
        case Tick() if state.plan is None:
            return _await_rest(state, event, now, params)
        case Tick() if now >= state.deadline:
            return opening_late(state, now, params)
    return state, ()


def _await_rest(state: ReleaseState, event: Tick, now: float, params: GraspParameters) -> Step:
    if state.planning:
        late = f"planning took longer than {params.planning_timeout_s:g} s"
        code = GraspCode.WATCHDOG
    else:
        if event.at_rest:
            state = enter(state, Phase.RELEASE, now, params.planning_timeout_s)
            state = dataclasses.replace(state, planning=True)
            return state, (MakePlan(None, correction=False),)
        late, code = "the arm does not stand still", GraspCode.ROBOT_NOT_READY
    return (state, ()) if now < state.deadline else end(state, code, late, now, params)


def open_jaws(
    state: PlaceState | ReleaseState, now: float, params: GraspParameters, *before: Command
) -> Step:
    """Tells the jaws to let go."""
    width = state.goal.release_width_m
    if not math.isnan(state.jaws.width):
        width = min(max(width, state.jaws.width + _LETS_GO_M), state.grip.opening)
    state = with_jaws(state, order="open", busy=True, stalled=False)
    state = enter(state, Phase.RELEASE, now, params.gripper_timeout_s)
    state = dataclasses.replace(state, moved=True)
    return state, (*before, Tare(), MoveJaws(width, params.grip_force_n))


def opening_step(
    state: PlaceState | ReleaseState,
    event: ArmFinished | JawsFinished,
    now: float,
    params: GraspParameters,
) -> Step:
    """The jaws have answered, or the hand is back."""
    if isinstance(event, JawsFinished):
        state = with_jaws(state, busy=False, width=event.width, stalled=event.stalled)
        if event.stalled and event.width < _OPENED * state.goal.release_width_m:
            message = f"the jaws opened to {1e3 * event.width:.0f} mm only"
            return end(state, GraspCode.NOT_RELEASED, message, now, params)
        state = with_jaws(state, stalled=False)
        return draw_back(state, now, params)
    state = dataclasses.replace(state, arm_busy=False)
    return _released(state, now, params) if state.phase == Phase.RETREAT else (state, ())


def draw_back(state: PlaceState | ReleaseState, now: float, params: GraspParameters) -> Step:
    """Back from what was let go, once its way is planned and the jaws are open."""
    if state.planning or state.jaws.busy or state.plan is None:
        return state, ()
    retreat = state.plan.retreat
    if retreat is None:
        return _released(state, now, params)
    return move(state, Phase.RETREAT, retreat, now, params, Tare())


def opening_late(state: PlaceState | ReleaseState, now: float, params: GraspParameters) -> Step:
    """The end of an opening or of a way back that takes too long."""
    if state.jaws.busy:
        return end(state, GraspCode.NOT_RELEASED, "the gripper did not answer", now, params)
    return took_too_long(state, now, params)


def _released(state: PlaceState | ReleaseState, now: float, params: GraspParameters) -> Step:
    text = "released"
    if isinstance(state, PlaceState):
        how = "at the first contact" if state.touched else "without a contact"
        text = f"placed {how}" if state.goal.until_contact else "placed"
    note = f" ({state.plan.note})" if state.plan is not None and state.plan.note else ""
    return end(state, GraspCode.SUCCESS, text + note, now, params, Holding.NOT_HOLDING)


def dry_run(state: PlaceState, now: float) -> Step:
    """The end of a dry run: the plan alone."""
    if state.plan is None:
        return state, ()
    note = f" ({state.plan.note})" if state.plan.note else ""
    result = outcome(state, GraspCode.SUCCESS, f"dry run: planned, nothing moved{note}")
    return dataclasses.replace(state, outcome=result), (ShowPlan(state.plan), Finish(result))
