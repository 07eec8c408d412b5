"""Ways around obstacles: the port for planners of free space, and the built-in one on OMPL."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from ompl import base, geometric, util

from s3k_ros.grasp.arm.hand import Hand
from s3k_ros.grasp.arm.kinematics import ArmModel
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import Refusal

Array = NDArray[np.float64]

Clear = Callable[[Array], bool]
"""Whether every configuration of a path (T, n) rad is free."""


class FreeSpacePlanner(Protocol):
    """A planner of ways through free space, from rest to rest.

    It gives the way alone: whoever asked times it under the arm's limits and checks the result as
    a trajectory, so that nothing moves on a planner's word.
    """

    def path(self, start: Array, goal: Array, hand: Hand, clear: Clear) -> Array | Refusal:
        """Postures from start to goal, joined by straight lines in joint space.

        Args:
            start: (n,) rad, free.
            goal: (n,) rad, free.
            hand: opening of the jaws and what they hold.
            clear: the asker's own check, for planners that have no world of their own.

        Returns:
            (T, n) rad, T >= 2, with both ends; or IN_COLLISION (no way), UNREACHABLE or
            ROBOT_NOT_READY (no planner) with a reason.
        """


class SampledWays:
    """RRT-Connect (Kuffner and LaValle 2000) of OMPL, then shortcuts. The same start, goal and
    world give the same way: its random numbers begin anew with each call.

    Args:
        arm: limits of the joints.
        weight: (n,) m/rad, how far a joint's turn moves the arm at most; it sets the checks.
        check_step_m: no point of the arm moves further between two checks.
        max_edges: edges tried before it gives up; unlike a time limit, the same on every machine.
        time_limit_s: the end in any case.
    """

    def __init__(
        self,
        arm: ArmModel,
        weight: Array,
        check_step_m: float = 0.02,
        max_edges: int = 1500,
        time_limit_s: float = 2.0,
    ) -> None:
        self._arm = arm
        self._weight = weight
        self._step = check_step_m
        self._max_edges = max_edges
        self._time_limit = time_limit_s

    def path(self, start: Array, goal: Array, hand: Hand, clear: Clear) -> Array | Refusal:
        """As the protocol says; IN_COLLISION when no way was found within the limits."""
        edges = _Edges(clear, self._weight, self._step)
        end = time.monotonic() + self._time_limit

        def spent() -> bool:
            return edges.tried >= self._max_edges or time.monotonic() > end

        found = _connect(self._bounds(start, goal), start, goal, edges, spent)
        if found is None:
            return Refusal(
                GraspCode.IN_COLLISION, f"no way around the obstacles in {edges.tried} attempts"
            )
        return _shortened(found, edges, self._weight, end)

    def _bounds(self, start: Array, goal: Array) -> tuple[Array, Array]:
        """The arm's limits, widened to hold an arm that stands inside their margin."""
        low = np.minimum(self._arm.lower, np.minimum(start, goal))
        return low, np.maximum(self._arm.upper, np.maximum(start, goal))


# Longest edge of the trees, rad over all joints: half a turn of one joint at the most.
_RANGE_RAD = 1.0
_SEED = 1
_SHORTCUTS = 30


class _Edges:
    """Checks straight lines in joint space, coarse to fine: what is hit is mostly hit early."""

    def __init__(self, clear: Clear, weight: Array, step: float) -> None:
        self._clear, self._weight, self._step = clear, weight, step
        self.tried = 0

    def free(self, first: Array, second: Array) -> bool:
        self.tried += 1
        length = float(np.abs(second - first) @ self._weight)
        shares = _coarse_to_fine(max(1, math.ceil(length / self._step)))
        return self._clear(first + shares[:, None] * (second - first))


def _coarse_to_fine(count: int) -> Array:
    """The shares 1/count .. 1, the end first, then halves, quarters and so on."""
    order = [count]
    stack = [(0, count)]
    for low, high in stack:
        middle = (low + high) // 2
        if middle not in (low, high):
            order.append(middle)
            stack += [(low, middle), (middle, high)]
    return np.array(order) / count


class _Motions(base.MotionValidator):  # type: ignore[misc]
    """OMPL's question whether an edge is free."""

    def __init__(self, space: base.SpaceInformation, edges: _Edges, size: int) -> None:
        super().__init__(space)
        self._edges, self._size = edges, size

    def checkMotion(self, first: base.State, second: base.State) -> bool:
        return self._edges.free(_values(first, self._size), _values(second, self._size))


def _connect(
    bounds: tuple[Array, Array],
    start: Array,
    goal: Array,
    edges: _Edges,
    spent: Callable[[], bool],
) -> Array | None:
    size = len(start)
    util.setLogLevel(util.LOG_NONE)
    util.RNG.setSeed(_SEED)
    space = base.RealVectorStateSpace(size)
    limits = base.RealVectorBounds(size)
    for joint, (low, high) in enumerate(zip(*bounds, strict=True)):
        limits.setLow(joint, float(low))
        limits.setHigh(joint, float(high))
    space.setBounds(limits)
    information = base.SpaceInformation(space)
    # Edges are checked with their far ends, so states need no check of their own.
    information.setStateValidityChecker(lambda _: True)
    information.setMotionValidator(_Motions(information, edges, size))
    information.setup()
    problem = base.ProblemDefinition(information)
    problem.setStartAndGoalStates(_state(space, start), _state(space, goal))
    planner = geometric.RRTConnect(information)
    planner.setRange(_RANGE_RAD)
    planner.setProblemDefinition(problem)
    planner.setup()
    planner.solve(base.PlannerTerminationCondition(spent))
    if not problem.hasExactSolution():
        return None
    return np.array([_values(state, size) for state in problem.getSolutionPath().getStates()])


def _shortened(path: Array, edges: _Edges, weight: Array, end: float) -> Array:
    """The way without what can be cut off: corners first, then random chords (Geraerts 2007)."""
    path = _without_needless(path, edges)
    rng = np.random.default_rng(_SEED)
    for _ in range(_SHORTCUTS):
        if len(path) < 3 or time.monotonic() > end:
            break
        lengths = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(path, axis=0)) @ weight)])
        a, b = np.sort(rng.uniform(0.0, lengths[-1], 2))
        i, j = (int(np.searchsorted(lengths, x, side="right")) - 1 for x in (a, b))
        if i == j or i >= len(path) - 1 or j >= len(path) - 1:
            continue
        first, second = (
            path[k] + (x - lengths[k]) / (lengths[k + 1] - lengths[k]) * (path[k + 1] - path[k])
            for x, k in ((a, i), (b, j))
        )
        if edges.free(first, second):
            path = np.concatenate([path[: i + 1], [first, second], path[j + 1 :]])
    return _without_needless(path, edges)


def _without_needless(path: Array, edges: _Edges) -> Array:
    """Leaves out postures whose neighbours see each other, the longest jumps first."""
    kept = [0]
    while kept[-1] < len(path) - 1:
        here = kept[-1]
        for there in range(len(path) - 1, here, -1):
            if there == here + 1 or edges.free(path[here], path[there]):
                kept.append(there)
                break
    return path[kept]


def _state(space: base.StateSpace, values: Array) -> base.State:
    state = space.allocState()
    for index, value in enumerate(values):
        state[index] = float(value)
    return state


def _values(state: base.State, size: int) -> Array:
    return np.array([state[index] for index in range(size)])
