"""The grasp as a state machine: one pure function from state and event to state and commands.

::

    observe -> approach -> align -> close -> lift -> verify -> finished
       ^------------------- |         a keypoint that moved far sends the arm back to observe
    any phase -> stopping -> finished on a fault, a cancel or a lost keypoint

Nothing here waits, measures time or knows devices; the executor does.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from s3k_ros.grasp.codes import GraspCode, Holding, KeypointStatus, Phase
from s3k_ros.grasp.events import (
    ArmFinished,
    Command,
    Event,
    Fault,
    Finish,
    JawsFinished,
    Looked,
    MakePlan,
    Move,
    MoveJaws,
    NotPlanned,
    Outcome,
    Planned,
    ShowPlan,
    StopArm,
    StopJaws,
    Tare,
    Tick,
)
from s3k_ros.grasp.gates import check_reading, median_position
from s3k_ros.grasp.goal import Refusal
from s3k_ros.grasp.holding import Evidence, closed_on_nothing, judge
from s3k_ros.grasp.planner import GraspPlan, Target
from s3k_ros.grasp.state import GraspState
from s3k_ros.grasp.trajectory import JointTrajectory
from s3k_ros.params.grasp import GraspParameters

# Rest counts when it was watched for this long after the stop.
_REST_PROOF_S = 0.1
_WATCHED = (Phase.APPROACH, Phase.ALIGN)
Step = tuple[GraspState, tuple[Command, ...]]


def transition(state: GraspState, event: Event, now: float, params: GraspParameters) -> Step:
    """One step.

    Args:
        state: where the grasp stands.
        event: what happened.
        now: s on the clock of all times here.
        params: the server's parameters.

    Returns:
        The next state, and what to do, in order.
    """
    if state.outcome is not None:
        return state, ()
    if isinstance(event, Tick) and event.width is not None:
        state = _with_jaws(state, width=event.width)
    if state.ending is not None:
        return _ending(state, event, now)
    match event:
        case Fault():
            return _end(state, event.code, event.message, now, params)
        case Looked():
            return _looked(state, event, now, params)
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


# -- seeing ------------------------------------------------------------------------------------


def _looked(state: GraspState, event: Looked, now: float, params: GraspParameters) -> Step:
    refusal = _refusal(state, event, now, params)
    state = dataclasses.replace(state, keypoint=event.keypoint, refusal=refusal)
    if refusal is not None or event.keypoint is None:
        if event.keypoint is not None and event.keypoint.status == KeypointStatus.PREDICTED:
            # Perception continues a keypoint for as long as it trusts itself to: not lost yet.
            state = dataclasses.replace(state, last_good=now)
        return state, ()
    line = None
    if event.toward is not None:
        line = event.keypoint.position - event.toward.position
    elif state.readings:
        line = state.readings[-1][1].line
    target = Target(event.keypoint.position, event.keypoint.covariance, line)
    kept = [entry for entry in state.readings if now - entry[0] <= 2.0 * params.keypoint_max_age_s]
    readings = (*kept, (now, target))[-params.observations :]
    state = dataclasses.replace(state, readings=readings, last_good=now)
    if state.phase in _WATCHED and not state.planning:
        return _watch(state, now, params)
    return state, ()


def _refusal(
    state: GraspState, event: Looked, now: float, params: GraspParameters
) -> Refusal | None:
    goal = state.goal
    refusal = check_reading(event.keypoint, goal.keypoint, now, goal.min_confidence, params)
    if refusal is not None or not goal.toward_keypoint or state.phase in _WATCHED:
        # Once it moves, the hand itself may hide the other keypoint; the yaw is known by then.
        return refusal
    return check_reading(event.toward, goal.toward_keypoint, now, goal.min_confidence, params)


def _target(state: GraspState) -> Target:
    """The median of the usable readings, with the newest one's covariance and their median line."""
    targets = [target for _, target in state.readings]
    lines = [target.line for target in targets if target.line is not None]
    return Target(
        median_position([target.position for target in targets]),
        targets[-1].covariance,
        median_position(lines) if lines else None,
    )


def _watch(state: GraspState, now: float, params: GraspParameters) -> Step:
    """Corrects the grasp when the keypoint moved since it was planned."""
    if state.plan is None or len(state.readings) < params.observations:
        return state, ()
    if state.phase == Phase.ALIGN and _way_left(state, state.plan, now) < params.correction_blind_m:
        return state, ()
    target = _target(state)
    shift = float(np.linalg.norm(target.position - state.plan.target.position))
    if shift <= params.correction_threshold_m:
        return state, ()
    name = state.goal.keypoint
    if state.corrections >= params.max_corrections:
        message = f"{name!r} keeps moving: corrected {state.corrections} times"
        return _end(state, GraspCode.LOST, message, now, params)
    state = dataclasses.replace(state, corrections=state.corrections + 1)
    if state.phase == Phase.ALIGN and shift > params.correction_limit_m:
        return _look_again(state, now, params)
    state = dataclasses.replace(state, planning=True)
    return state, (MakePlan(target, correction=state.phase == Phase.ALIGN),)


def _way_left(state: GraspState, plan: GraspPlan, now: float) -> float:
    """Metres to go on the way in, which is straight: by the joints' way, of which it is a share."""
    align = plan.align
    begin = plan.pregrasp.translation if plan.approach is not None else plan.tcp_path[0]
    length = float(np.linalg.norm(plan.grasp.translation - begin))
    whole = float(np.linalg.norm(align.end - align.positions[0]))
    left = float(np.linalg.norm(align.end - align.sample(now - state.since)[0]))
    return length * left / whole if whole > 0.0 else 0.0


def _look_again(state: GraspState, now: float, params: GraspParameters) -> Step:
    """Stops on the way in and begins anew from there."""
    back = dataclasses.replace(state, arm_busy=False, readings=(), planning=False)
    return _enter(back, Phase.OBSERVE, now, params.observe_timeout_s), (StopArm(),)


# -- planning and moving -----------------------------------------------------------------------


def _planned(state: GraspState, plan: GraspPlan, now: float, params: GraspParameters) -> Step:
    if not state.planning:
        return state, ()
    state = dataclasses.replace(state, planning=False, plan=plan)
    if state.goal.dry_run:
        message = f"dry run: planned, nothing moved{_note(plan)}"
        outcome = _outcome(state, GraspCode.SUCCESS, message)
        return dataclasses.replace(state, outcome=outcome), (ShowPlan(plan), Finish(outcome))
    if state.phase == Phase.ALIGN:
        return _move(state, Phase.ALIGN, plan.align, now, params, ShowPlan(plan))
    if plan.approach is None:
        return _end(state, GraspCode.INTERNAL, "a plan without approach", now, params)
    before: tuple[Command, ...] = (ShowPlan(plan), Tare())
    if state.jaws.order != "open":
        state = _with_jaws(state, order="open", busy=True)
        before += (MoveJaws(state.goal.opening_width_m, state.goal.grip_force_n),)
    return _move(state, Phase.APPROACH, plan.approach, now, params, *before)


def _not_planned(state: GraspState, refusal: Refusal, now: float, params: GraspParameters) -> Step:
    if not state.planning:
        return state, ()
    if state.phase == Phase.ALIGN:
        # No small correction from here: a whole plan may still find a way, or a better reason.
        return _look_again(state, now, params)
    return _end(state, refusal.code, refusal.message, now, params)


def _move(
    state: GraspState,
    phase: Phase,
    trajectory: JointTrajectory,
    now: float,
    params: GraspParameters,
    *before: Command,
) -> Step:
    limit = trajectory.duration + params.motion_margin_s
    if state.jaws.busy:
        limit = max(limit, params.gripper_timeout_s)
    state = dataclasses.replace(_enter(state, phase, now, limit), arm_busy=True, moved=True)
    return state, (*before, Move(trajectory))


def _advance(state: GraspState, now: float, params: GraspParameters) -> Step:
    """To the next phase, when everything that this one waits for has come."""
    if state.arm_busy or state.jaws.busy or state.planning or state.plan is None:
        return state, ()
    if state.phase == Phase.APPROACH:
        return _move(state, Phase.ALIGN, state.plan.align, now, params, Tare())
    if state.phase == Phase.ALIGN:
        state = _with_jaws(state, order="close", busy=True)
        state = _enter(state, Phase.CLOSE, now, params.gripper_timeout_s)
        return state, (Tare(), MoveJaws(0.0, state.goal.grip_force_n))
    if state.phase == Phase.CLOSE and state.plan is not None:
        return _move(state, Phase.LIFT, state.plan.lift, now, params)
    if state.phase == Phase.LIFT:
        state = dataclasses.replace(state, lifted_at=now)
        return _verify_window(state, now, params)
    return state, ()


def _jaws_finished(
    state: GraspState, event: JawsFinished, now: float, params: GraspParameters
) -> Step:
    state = _with_jaws(state, busy=False, width=event.width)
    if state.phase != Phase.CLOSE:
        if event.stalled and event.width < 0.8 * state.goal.opening_width_m:
            message = f"jaws opened to {1e3 * event.width:.0f} mm only"
            return _end(state, GraspCode.GRIPPER_FAILED, message, now, params)
        return _advance(state, now, params)
    state = _with_jaws(state, stalled=event.stalled, grip_width=event.width)
    if closed_on_nothing(event.width, params):
        message = f"the jaws closed on nothing, {1e3 * event.width:.1f} mm"
        return _end(state, GraspCode.MISSED, message, now, params)
    return _advance(state, now, params)


# -- time --------------------------------------------------------------------------------------


def _tick(state: GraspState, event: Tick, now: float, params: GraspParameters) -> Step:
    if state.phase == Phase.OBSERVE:
        return _tick_observe(state, event, now, params)
    if state.phase in _WATCHED and now - state.last_good > params.lost_timeout_s:
        why = f": {state.refusal.message}" if state.refusal is not None else ""
        message = f"{state.goal.keypoint!r} lost for {now - state.last_good:.1f} s{why}"
        return _end(state, GraspCode.LOST, message, now, params)
    if state.phase in (Phase.LIFT, Phase.VERIFY) and closed_on_nothing(state.jaws.width, params):
        message = f"it slipped out, jaws at {1e3 * state.jaws.width:.1f} mm"
        return _end(state, GraspCode.SLIPPED, message, now, params)
    if now < state.deadline:
        return state, ()
    if state.phase == Phase.VERIFY:
        return _verify(state, event, now, params)
    if state.phase == Phase.CLOSE or (not state.arm_busy and state.jaws.busy):
        return _end(state, GraspCode.GRIPPER_FAILED, "the gripper did not answer", now, params)
    message = f"{state.phase} took longer than {state.deadline - state.since:.1f} s"
    return _end(state, GraspCode.WATCHDOG, message, now, params)


def _tick_observe(state: GraspState, event: Tick, now: float, params: GraspParameters) -> Step:
    if state.planning:
        if now < state.deadline:
            return state, ()
        message = f"planning took longer than {params.planning_timeout_s:g} s"
        return _end(state, GraspCode.WATCHDOG, message, now, params)
    if len(state.readings) >= params.observations and event.at_rest:
        state = _enter(state, Phase.OBSERVE, now, params.planning_timeout_s)
        state = dataclasses.replace(state, planning=True)
        return state, (MakePlan(_target(state), correction=False),)
    if now < state.deadline:
        return state, ()
    refusal = state.refusal
    if refusal is None:
        name = state.goal.keypoint
        refusal = check_reading(
            state.keypoint, name, now, state.goal.min_confidence, params
        ) or Refusal(
            GraspCode.NO_KEYPOINTS,
            f"{name!r} was usable in {len(state.readings)} sets, needed {params.observations}",
        )
    if len(state.readings) >= params.observations:
        refusal = Refusal(GraspCode.ROBOT_NOT_READY, "the arm does not stand still")
    if state.keypoint is not None and now - state.keypoint.received_at > params.keypoint_max_age_s:
        refusal = check_reading(state.keypoint, state.goal.keypoint, now, 0.0, params) or refusal
    return _end(state, refusal.code, refusal.message, now, params)


def _verify_window(state: GraspState, now: float, params: GraspParameters) -> Step:
    """Watches the jaws for a while: from the width that they have now."""
    state = _with_jaws(state, window_width=state.jaws.width)
    return _enter(state, Phase.VERIFY, now, params.verify_time_s), ()


def _verify(state: GraspState, event: Tick, now: float, params: GraspParameters) -> Step:
    jaws = state.jaws
    creeping = jaws.window_width - jaws.width > params.steady_m
    if creeping and now - state.lifted_at < params.max_verify_s:
        return _verify_window(state, now, params)
    width = None if math.isnan(jaws.width) else jaws.width
    evidence = Evidence(jaws.stalled, jaws.grip_width, width, event.load, creeping)
    holding, reason = judge(evidence, params)
    if holding == Holding.NOT_HOLDING:
        return _end(state, GraspCode.SLIPPED, reason, now, params)
    note = "" if state.plan is None else _note(state.plan)
    text = {Holding.HOLDING: "holding", Holding.UNKNOWN: "perhaps holding"}[holding]
    message = f"{text}: {reason}{note}"
    return _end(state, GraspCode.SUCCESS, message, now, params, holding)


# -- ending ------------------------------------------------------------------------------------


def _end(
    state: GraspState,
    code: GraspCode,
    message: str,
    now: float,
    params: GraspParameters,
    holding: Holding | None = None,
) -> Step:
    """Ends the grasp: at once when nothing has moved, else when the arm stands still."""
    if holding is None:
        missed = code in (GraspCode.MISSED, GraspCode.SLIPPED)
        holding = Holding.NOT_HOLDING if missed else Holding.UNKNOWN
    outcome = _outcome(state, code, message, holding)
    if not state.moved:
        return dataclasses.replace(state, outcome=outcome), (Finish(outcome),)
    commands: tuple[Command, ...] = (StopArm(),) if state.arm_busy else ()
    if state.jaws.busy:
        commands += (StopJaws(),)
    deadline = now + params.stop_timeout_s
    return (
        dataclasses.replace(state, ending=outcome, since=now, deadline=deadline, arm_busy=False),
        commands,
    )


def _ending(state: GraspState, event: Event, now: float) -> Step:
    if not isinstance(event, Tick) or state.ending is None:
        return state, ()
    # Before that, the arm may look as it did before its last motion began.
    if event.at_rest and now >= state.since + _REST_PROOF_S:
        where = f"; arm at rest, {state.jaws}"
    elif now >= state.deadline:
        where = f"; ARM NOT CONFIRMED AT REST, {state.jaws}"
    else:
        return state, ()
    outcome = dataclasses.replace(
        state.ending, message=state.ending.message + where, width=state.jaws.width
    )
    return dataclasses.replace(state, outcome=outcome), (Finish(outcome),)


def _outcome(
    state: GraspState, code: GraspCode, message: str, holding: Holding = Holding.UNKNOWN
) -> Outcome:
    return Outcome(
        code=code,
        message=message,
        phase=state.phase,
        holding=holding,
        width=state.jaws.width,
        grasp_pose=None if state.plan is None else state.plan.grasp,
        keypoint=state.keypoint,
    )


def _enter(state: GraspState, phase: Phase, now: float, limit: float) -> GraspState:
    return dataclasses.replace(state, phase=phase, since=now, deadline=now + limit)


def _with_jaws(state: GraspState, **changes: object) -> GraspState:
    return dataclasses.replace(state, jaws=dataclasses.replace(state.jaws, **changes))  # type: ignore[arg-type]


def _note(plan: GraspPlan) -> str:
    return f" ({plan.note})" if plan.note else ""
