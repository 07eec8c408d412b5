"""The transitions of a grasp: from state and event to state and commands.

::

    observe -> approach -> align -> close -> lift -> verify -> finished
       ^------------------- |         a keypoint that moved far sends the arm back to observe
"""

from __future__ import annotations

import dataclasses
import math

from s3k_ros.grasp.codes import GraspCode, Holding, Phase
from s3k_ros.grasp.goal import Refusal
from s3k_ros.grasp.planning.place_planner import Plan
from s3k_ros.grasp.planning.planner import GraspPlan
from s3k_ros.grasp.tasks.core import Step, end, enter, move, outcome, took_too_long, with_jaws
from s3k_ros.grasp.tasks.events import (
    ArmFinished,
    Command,
    Event,
    Fault,
    Finish,
    JawsFinished,
    Looked,
    MoveJaws,
    NotPlanned,
    Planned,
    ShowPlan,
    Tare,
    Tick,
)
from s3k_ros.grasp.tasks.holding import Evidence, closed_on_nothing, judge
from s3k_ros.grasp.tasks.state import GraspState
from s3k_ros.grasp.tasks.watching import look_again, looked, lost, observe
from s3k_ros.params.grasp import GraspParameters


def grasp_step(state: GraspState, event: Event, now: float, params: GraspParameters) -> Step:
    """One step of a grasp."""
    match event:
        case Fault():
            return end(state, event.code, event.message, now, params)
        case Looked():
            return looked(state, event, now, params)
        case Planned():
            return _planned(state, event.plan, now, params)
        case NotPlanned():
            return _not_planned(state, event.refusal, now, params)
        case ArmFinished():
            return _advance(dataclasses.replace(state, arm_busy=False), now, params)
        case JawsFinished():
            return _jaws_finished(state, event, now, params)
        case Tick():
            return _tick(state, event, now, params)


# -- planning and moving -----------------------------------------------------------------------


def _planned(state: GraspState, plan: Plan, now: float, params: GraspParameters) -> Step:
    if not state.planning:
        return state, ()
    if not isinstance(plan, GraspPlan):
        return end(state, GraspCode.INTERNAL, "a plan of another task", now, params)
    state = dataclasses.replace(state, planning=False, plan=plan)
    if state.goal.dry_run:
        message = f"dry run: planned, nothing moved{_note(plan)}"
        result = outcome(state, GraspCode.SUCCESS, message)
        return dataclasses.replace(state, outcome=result), (ShowPlan(plan), Finish(result))
    if state.phase == Phase.ALIGN:
        return move(state, Phase.ALIGN, plan.align, now, params, ShowPlan(plan))
    if plan.approach is None:
        return end(state, GraspCode.INTERNAL, "a plan without approach", now, params)
    before: tuple[Command, ...] = (ShowPlan(plan), Tare())
    if state.jaws.order != "open":
        state = with_jaws(state, order="open", busy=True, stalled=False)
        before += (MoveJaws(state.goal.opening_width_m, state.goal.grip_force_n),)
    return move(state, Phase.APPROACH, plan.approach, now, params, *before)


def _not_planned(state: GraspState, refusal: Refusal, now: float, params: GraspParameters) -> Step:
    if not state.planning:
        return state, ()
    if state.phase == Phase.ALIGN:
        # No small correction from here: a whole plan may still find a way, or a better reason.
        return look_again(state, now, params)
    return end(state, refusal.code, refusal.message, now, params)


def _advance(state: GraspState, now: float, params: GraspParameters) -> Step:
    """To the next phase, when everything that this one waits for has come."""
    if state.arm_busy or state.jaws.busy or state.planning or state.plan is None:
        return state, ()
    if state.phase == Phase.APPROACH:
        return move(state, Phase.ALIGN, state.plan.align, now, params, Tare())
    if state.phase == Phase.ALIGN:
        state = with_jaws(state, order="close", busy=True, stalled=False)
        state = enter(state, Phase.CLOSE, now, params.gripper_timeout_s)
        return state, (Tare(), MoveJaws(0.0, state.goal.grip_force_n))
    if state.phase == Phase.CLOSE and state.plan is not None:
        return move(state, Phase.LIFT, state.plan.lift, now, params)
    if state.phase == Phase.LIFT:
        state = dataclasses.replace(state, lifted_at=now)
        return _verify_window(state, now, params)
    return state, ()


def _jaws_finished(
    state: GraspState, event: JawsFinished, now: float, params: GraspParameters
) -> Step:
    state = with_jaws(state, busy=False, width=event.width, stalled=event.stalled)
    if state.phase != Phase.CLOSE:
        if event.stalled and event.width < 0.8 * state.goal.opening_width_m:
            message = f"jaws opened to {1e3 * event.width:.0f} mm only"
            return end(state, GraspCode.GRIPPER_FAILED, message, now, params)
        return _advance(state, now, params)
    state = with_jaws(state, grip_width=event.width)
    if closed_on_nothing(event.width, params):
        message = f"the jaws closed on nothing, {1e3 * event.width:.1f} mm"
        return end(state, GraspCode.MISSED, message, now, params)
    return _advance(state, now, params)


# -- time --------------------------------------------------------------------------------------


def _tick(state: GraspState, event: Tick, now: float, params: GraspParameters) -> Step:
    if state.phase == Phase.OBSERVE:
        return observe(state, event, now, params)
    loss = lost(state, now, params)
    if loss is not None:
        return loss
    if state.phase in (Phase.LIFT, Phase.VERIFY) and closed_on_nothing(state.jaws.width, params):
        message = f"it slipped out, jaws at {1e3 * state.jaws.width:.1f} mm"
        return end(state, GraspCode.SLIPPED, message, now, params)
    if now < state.deadline:
        return state, ()
    if state.phase == Phase.VERIFY:
        return _verify(state, event, now, params)
    if state.phase == Phase.CLOSE or (not state.arm_busy and state.jaws.busy):
        return end(state, GraspCode.GRIPPER_FAILED, "the gripper did not answer", now, params)
    return took_too_long(state, now, params)


def _verify_window(state: GraspState, now: float, params: GraspParameters) -> Step:
    """Watches the jaws for a while: from the width that they have now."""
    state = with_jaws(state, window_width=state.jaws.width)
    return enter(state, Phase.VERIFY, now, params.verify_time_s), ()


def _verify(state: GraspState, event: Tick, now: float, params: GraspParameters) -> Step:
    jaws = state.jaws
    creeping = jaws.window_width - jaws.width > params.steady_m
    if creeping and now - state.lifted_at < params.max_verify_s:
        return _verify_window(state, now, params)
    width = None if math.isnan(jaws.width) else jaws.width
    evidence = Evidence(jaws.stalled, jaws.grip_width, width, event.load, creeping)
    holding, reason = judge(evidence, params)
    if holding == Holding.NOT_HOLDING:
        return end(state, GraspCode.SLIPPED, reason, now, params)
    note = "" if state.plan is None else _note(state.plan)
    text = {Holding.HOLDING: "holding", Holding.UNKNOWN: "perhaps holding"}[holding]
    message = f"{text}: {reason}{note}"
    return end(state, GraspCode.SUCCESS, message, now, params, holding)


def _note(plan: GraspPlan) -> str:
    return f" ({plan.note})" if plan.note else ""
