"""The transitions of a place: from state and event to state and commands.

::

    observe -> transfer -> lower -> release -> retreat -> finished
       ^------------------ |        a keypoint that moved far sends the arm back to observe
"""

from __future__ import annotations

import dataclasses
import math

from s3k_ros.grasp.codes import GraspCode, Holding, Phase
from s3k_ros.grasp.goal import Refusal
from s3k_ros.grasp.planning.place_planner import PlacePlan
from s3k_ros.grasp.planning.ways_back import RetreatGoal, RetreatPlan
from s3k_ros.grasp.tasks.core import REST_PROOF_S, Step, end, enter, move, took_too_long
from s3k_ros.grasp.tasks.events import (
    ArmFinished,
    Event,
    Fault,
    JawsFinished,
    Looked,
    MakePlan,
    NotPlanned,
    Planned,
    ShowPlan,
    StopArm,
    Tare,
    Tick,
)
from s3k_ros.grasp.tasks.holding import closed_on_nothing
from s3k_ros.grasp.tasks.releasing import (
    draw_back,
    dry_run,
    open_jaws,
    opening_late,
    opening_step,
)
from s3k_ros.grasp.tasks.state import Grip, PlaceState
from s3k_ros.grasp.tasks.watching import look_again, looked, lost, observe
from s3k_ros.params.grasp import GraspParameters

_CARRYING = (Phase.OBSERVE, Phase.TRANSFER, Phase.LOWER)
# Jaws this near to fully open, or this much wider than they gripped, hold nothing.
_OPEN_SHARE = 0.97
_WIDER_M = 0.01


def place_step(state: PlaceState, event: Event, now: float, params: GraspParameters) -> Step:
    """One step of a place."""
    match event:
        case Fault(code=GraspCode.CONTACT_FORCE) if _feels_its_way(state):
            return _touch(state, now, params)
        case Fault():
            return end(state, event.code, event.message, now, params)
        case Looked():
            return looked(state, event, now, params)
        case Planned():
            return _planned(state, event, now, params)
        case NotPlanned():
            return _not_planned(state, event.refusal, now, params)
        case ArmFinished() if state.phase == Phase.RETREAT:
            return opening_step(state, event, now, params)
        case ArmFinished():
            return _advance(dataclasses.replace(state, arm_busy=False), now, params)
        case JawsFinished():
            return opening_step(state, event, now, params)
        case Tick():
            return _tick(state, event, now, params)


def nothing_held(width: float, grip: Grip, params: GraspParameters) -> str:
    """Why there can be nothing between the jaws, in words; empty when there may be something."""
    gap = f"the jaws are at {1e3 * width:.1f} mm"
    if not math.isnan(width):
        if closed_on_nothing(width, params):
            return f"{gap}: closed on nothing"
        if width >= _OPEN_SHARE * grip.opening:
            return f"{gap}: open"
        if grip.order == "close" and width > grip.width + _WIDER_M:
            return f"{gap}: something opened them since they gripped at {1e3 * grip.width:.1f} mm"
    if grip.order == "open":
        return f"{gap}: they were opened" if not math.isnan(width) else "the jaws were opened"
    return "the last task ended with nothing held" if grip.holding == Holding.NOT_HOLDING else ""


# -- planning and moving -----------------------------------------------------------------------


def _planned(state: PlaceState, event: Planned, now: float, params: GraspParameters) -> Step:
    if not state.planning:
        return state, ()
    plan = event.plan
    state = dataclasses.replace(state, planning=False)
    if isinstance(plan, RetreatPlan) and state.plan is not None:
        merged = dataclasses.replace(state.plan, pose=plan.pose, retreat=plan.retreat)
        return draw_back(dataclasses.replace(state, plan=merged), now, params)
    if not isinstance(plan, PlacePlan):
        return end(state, GraspCode.INTERNAL, "a plan of another task", now, params)
    state = dataclasses.replace(state, plan=plan)
    if state.goal.dry_run:
        return dry_run(state, now)
    if state.phase == Phase.LOWER:
        return move(state, Phase.LOWER, plan.lower, now, params, ShowPlan(plan))
    if plan.transfer is None:
        return end(state, GraspCode.INTERNAL, "a plan without transfer", now, params)
    return move(state, Phase.TRANSFER, plan.transfer, now, params, ShowPlan(plan), Tare())


def _not_planned(state: PlaceState, refusal: Refusal, now: float, params: GraspParameters) -> Step:
    if not state.planning:
        return state, ()
    if state.phase == Phase.LOWER:
        # No small correction from here: a whole plan may still find a way, or a better reason.
        return look_again(state, now, params)
    if state.phase == Phase.RELEASE and state.plan is not None:
        # It lies, and the jaws open: the hand stays there.
        note = f"not drawn back: {refusal.message}"
        plan = dataclasses.replace(state.plan, retreat=None, note=note)
        return draw_back(dataclasses.replace(state, planning=False, plan=plan), now, params)
    return end(state, refusal.code, refusal.message, now, params)


def _advance(state: PlaceState, now: float, params: GraspParameters) -> Step:
    """To the next phase, when everything that this one waits for has come."""
    if state.arm_busy or state.planning or state.plan is None:
        return state, ()
    if state.phase == Phase.TRANSFER:
        return move(state, Phase.LOWER, state.plan.lower, now, params, Tare())
    if state.phase == Phase.LOWER and not state.touched:
        return open_jaws(state, now, params)
    return state, ()


# -- contact on the way down -------------------------------------------------------------------


def _feels_its_way(state: PlaceState) -> bool:
    return state.goal.until_contact and state.phase == Phase.LOWER and state.ending is None


def _touch(state: PlaceState, now: float, params: GraspParameters) -> Step:
    """Stops on the way down; what is held is let go when the arm stands still."""
    if state.touched:
        return state, ()
    state = dataclasses.replace(state, touched=True, arm_busy=False, planning=False)
    return enter(state, Phase.LOWER, now, params.stop_timeout_s), (StopArm(),)


def _let_go(state: PlaceState, now: float, params: GraspParameters) -> Step:
    """At rest on what was touched: opens the jaws, and plans the way back from just here."""
    # It presses until it is let go: as much as that is no new contact.
    pressed = 0.0 if math.isnan(state.force) else state.force
    state = dataclasses.replace(state, pressed=pressed, planning=True)
    x, y, z = (-v for v in state.goal.approach)
    back = RetreatGoal(state.goal.retreat_distance_m, (x, y, z))
    return open_jaws(state, now, params, MakePlan(None, correction=False, goal=back))


# -- time --------------------------------------------------------------------------------------


def _tick(state: PlaceState, event: Tick, now: float, params: GraspParameters) -> Step:
    if state.phase in _CARRYING and not state.goal.dry_run:
        gone = _gone(state, params)
        if gone is not None:
            return end(state, gone.code, gone.message, now, params)
    if state.phase == Phase.OBSERVE:
        return observe(state, event, now, params)
    loss = lost(state, now, params) if not state.touched else None
    if loss is not None:
        return loss
    if state.touched and state.phase == Phase.LOWER:
        return _tick_touched(state, event, now, params)
    if _feels_its_way(state):
        if event.force is None:
            message = "until_contact needs a force sensor, and none speaks"
            return end(state, GraspCode.NO_WRENCH, message, now, params)
        if event.force > min(params.touch_force_n, state.goal.contact_force_limit_n):
            return _touch(state, now, params)
    if now < state.deadline:
        return state, ()
    letting_go = state.phase in (Phase.RELEASE, Phase.RETREAT)
    return (opening_late if letting_go else took_too_long)(state, now, params)


def _tick_touched(state: PlaceState, event: Tick, now: float, params: GraspParameters) -> Step:
    if event.at_rest and now >= state.since + REST_PROOF_S:
        return _let_go(state, now, params)
    if now < state.deadline:
        return state, ()
    message = "the arm does not stand still after the contact"
    return end(state, GraspCode.ROBOT_NOT_READY, message, now, params)


def _gone(state: PlaceState, params: GraspParameters) -> Refusal | None:
    """NOTHING_HELD at the start, DROPPED on the way; None while something may be held."""
    if not state.moved:
        reason = nothing_held(state.jaws.width, state.grip, params)
        return Refusal(GraspCode.NOTHING_HELD, reason) if reason else None
    if closed_on_nothing(state.jaws.width, params):
        width = 1e3 * state.jaws.width
        return Refusal(GraspCode.DROPPED, f"it fell out, jaws at {width:.1f} mm")
    return None
