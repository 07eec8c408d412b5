"""The tasks as a state machine: one pure function from state and event to state and commands.

::

    grasp    observe -> approach -> align -> close -> lift -> verify    (grasping.py)
    place    observe -> transfer -> lower -> release -> retreat         (placing.py)
    release  release -> retreat                                         (releasing.py)
    all      any phase -> at rest, after a contact drawn back -> finished    (core.py)

Nothing here waits, measures time or knows devices; the executor does.
"""

from __future__ import annotations

import dataclasses
import math

from s3k_ros.grasp.tasks.core import Step, end, ending
from s3k_ros.grasp.tasks.events import Event, Fault, Tick
from s3k_ros.grasp.tasks.grasping import grasp_step
from s3k_ros.grasp.tasks.placing import place_step
from s3k_ros.grasp.tasks.releasing import release_step
from s3k_ros.grasp.tasks.state import GraspState, PlaceState, ReleaseState, TaskState
from s3k_ros.params.grasp import GraspParameters


def transition(state: TaskState, event: Event, now: float, params: GraspParameters) -> Step:
    """One step.

    Args:
        state: where the task stands.
        event: what happened.
        now: s on the clock of all times here.
        params: the server's parameters.

    Returns:
        The next state, and what to do, in order.
    """
    if state.outcome is not None:
        return state, ()
    if isinstance(event, Tick):
        state = _felt(state, event)
    if state.ending is not None:
        return ending(state, event, now, params)
    match state:
        case GraspState():
            return grasp_step(state, event, now, params)
        case PlaceState():
            return place_step(state, event, now, params)
        case ReleaseState():
            if isinstance(event, Fault):
                return end(state, event.code, event.message, now, params)
            return release_step(state, event, now, params)
    return state, ()


def _felt(state: TaskState, event: Tick) -> TaskState:
    """What a tick measured: the jaws and the force at the wrist."""
    width = state.jaws.width if event.width is None else event.width
    force = math.nan if event.force is None else event.force
    jaws = dataclasses.replace(state.jaws, width=width)
    return dataclasses.replace(state, jaws=jaws, force=force)
