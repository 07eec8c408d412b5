"""What a grasp and a place by keypoint share: seeing it, planning to it, following it."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import numpy as np

from s3k_ros.grasp.codes import GraspCode, KeypointStatus, Phase
from s3k_ros.grasp.goal import PlaceGoal, Refusal
from s3k_ros.grasp.planning.place_planner import PlacePlan
from s3k_ros.grasp.planning.planner import GraspPlan, Target
from s3k_ros.grasp.tasks.core import Step, end, enter
from s3k_ros.grasp.tasks.events import Looked, MakePlan, StopArm, Tick
from s3k_ros.grasp.tasks.gates import check_reading, median_position
from s3k_ros.grasp.tasks.state import WatchingState
from s3k_ros.params.grasp import GraspParameters

W = TypeVar("W", bound=WatchingState)


def looked(state: WatchingState, event: Looked, now: float, params: GraspParameters) -> Step:
    """Takes a new set of keypoints; corrects the way when the keypoint moved."""
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
    if state.watching and not state.planning:
        return _follow(state, now, params)
    return state, ()


def observe(state: WatchingState, event: Tick, now: float, params: GraspParameters) -> Step:
    """Waits until the arm stands still and the target is known, then asks for a plan."""
    if state.planning:
        if now < state.deadline:
            return state, ()
        message = f"planning took longer than {params.planning_timeout_s:g} s"
        return end(state, GraspCode.WATCHDOG, message, now, params)
    target = _target(state, params)
    if target is not None and event.at_rest:
        state = enter(state, Phase.OBSERVE, now, params.planning_timeout_s)
        return ask_for_plan(state, target, correction=False)
    if now < state.deadline:
        return state, ()
    refusal = _why_not(state, now, params)
    if target is not None:
        refusal = Refusal(GraspCode.ROBOT_NOT_READY, "the arm does not stand still")
    if state.keypoint is not None and now - state.keypoint.received_at > params.keypoint_max_age_s:
        refusal = check_reading(state.keypoint, state.goal.keypoint, now, 0.0, params) or refusal
    return end(state, refusal.code, refusal.message, now, params)


def ask_for_plan(state: WatchingState, target: Target, *, correction: bool) -> Step:
    """Asks for a plan to a target; a place keeps the yaw that it first planned with."""
    goal = None
    if isinstance(state.goal, PlaceGoal) and state.plan is not None:
        x, y, z, w = state.plan.pose.quaternion.tolist()
        goal = dataclasses.replace(state.goal, keep=(x, y, z, w))
    state = dataclasses.replace(state, planning=True)
    return state, (MakePlan(target, correction=correction, goal=goal),)


def look_again(state: WatchingState, now: float, params: GraspParameters) -> Step:
    """Stops on the way in and begins anew from there."""
    back = dataclasses.replace(state, arm_busy=False, readings=(), planning=False)
    return enter(back, Phase.OBSERVE, now, params.observe_timeout_s), (StopArm(),)


def lost(state: WatchingState, now: float, params: GraspParameters) -> Step | None:
    """The end when the keypoint was unusable for too long while the arm moved to it."""
    if not state.watching or now - state.last_good <= params.lost_timeout_s:
        return None
    why = f": {state.refusal.message}" if state.refusal is not None else ""
    message = f"{state.goal.keypoint!r} lost for {now - state.last_good:.1f} s{why}"
    return end(state, GraspCode.LOST, message, now, params)


def _follow(state: WatchingState, now: float, params: GraspParameters) -> Step:
    """Corrects the way when the keypoint moved since it was planned."""
    target = _target(state, params)
    if state.plan is None or state.plan.target is None or target is None:
        return state, ()
    straight = state.phase == state.STRAIGHT
    shift = float(np.linalg.norm(target.position - state.plan.target.position))
    blind = straight and _way_left(state, now) < params.correction_blind_m
    if shift <= (params.correction_limit_m if blind else params.correction_threshold_m):
        return state, ()
    name = state.goal.keypoint
    if state.corrections >= params.max_corrections:
        message = f"{name!r} keeps moving: corrected {state.corrections} times"
        return end(state, GraspCode.LOST, message, now, params)
    state = dataclasses.replace(state, corrections=state.corrections + 1)
    if straight and shift > params.correction_limit_m:
        return look_again(state, now, params)
    return ask_for_plan(state, target, correction=straight)


def _way_left(state: WatchingState, now: float) -> float:
    """Metres to go on the straight way in: by the joints' way, of which it is a share."""
    match state.plan:
        case GraspPlan() as plan:
            way, first, before = plan.align, plan.pregrasp, plan.approach
        case PlacePlan() as plan:
            way, first, before = plan.lower, plan.above, plan.transfer
        case _:
            return 0.0
    begin = plan.tcp_path[0] if before is None else first.translation
    length = float(np.linalg.norm(plan.pose.translation - begin))
    whole = float(np.linalg.norm(way.end - way.positions[0]))
    left = float(np.linalg.norm(way.end - way.sample(now - state.since)[0]))
    return length * left / whole if whole > 0.0 else 0.0


def _target(state: WatchingState, params: GraspParameters) -> Target | None:
    """The median of the usable readings, with the newest one's covariance and their median line.

    None while there are too few; a pose is known from the start.
    """
    if isinstance(state.goal, PlaceGoal) and not state.goal.keypoint:
        return Target(np.array(state.goal.position), np.zeros((3, 3)))
    if len(state.readings) < params.observations:
        return None
    targets = [target for _, target in state.readings]
    lines = [target.line for target in targets if target.line is not None]
    return Target(
        median_position([target.position for target in targets]),
        targets[-1].covariance,
        median_position(lines) if lines else None,
    )


def _refusal(
    state: WatchingState, event: Looked, now: float, params: GraspParameters
) -> Refusal | None:
    goal = state.goal
    refusal = check_reading(event.keypoint, goal.keypoint, now, goal.min_confidence, params)
    if refusal is not None or not goal.toward_keypoint or state.watching:
        # Once it moves, the hand itself may hide the other keypoint; the yaw is known by then.
        return refusal
    return check_reading(event.toward, goal.toward_keypoint, now, goal.min_confidence, params)


def _why_not(state: WatchingState, now: float, params: GraspParameters) -> Refusal:
    """Why there is no target at the end of observing."""
    if state.refusal is not None:
        return state.refusal
    name = state.goal.keypoint
    refusal = check_reading(state.keypoint, name, now, state.goal.min_confidence, params)
    return refusal or Refusal(
        GraspCode.NO_KEYPOINTS,
        f"{name!r} was usable in {len(state.readings)} sets, needed {params.observations}",
    )
