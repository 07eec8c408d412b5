"""The 2F-85's position and force commands: ramp, arrival, stall.

A pure library like `arm_controller`. Positions are those of the ROS joint
``robotiq_85_left_knuckle_joint``: 0 open, 0.7929 rad closed.
"""

from __future__ import annotations

import dataclasses

from s3k_ros.params.simulation import GripperControlParameters
from s3k_ros.simulation.trajectory_goal import GoalState

OPEN_RAD, CLOSED_RAD = 0.0, 0.7929
"""Range of the knuckle joint in the driver's robot description."""

MODEL_CLOSED_RAD = 0.8
"""Angle of moma's driver joints when the fingers meet."""

MIN_EFFORT_N, MAX_EFFORT_N = 1.0, 235.0
"""Range of the grip force (2F-85 data sheet: up to 235 N)."""

TENDON_FORCE_PER_GRIP_FORCE = 0.106
"""Force on the fingers' tendon, N m/rad of mean knuckle angle, per N at each pad: by virtual work,
with 85 mm of closing over 0.8 rad."""


@dataclasses.dataclass
class GripperHandle:
    """A command under execution; changes until ``state`` is final."""

    goal: float
    effort: float
    started: float
    state: GoalState = GoalState.ACTIVE
    position: float = 0.0
    stalled: bool = False
    reached_goal: bool = False
    message: str = ""

    @property
    def done(self) -> bool:
        """True when nothing will change any more."""
        return self.state is not GoalState.ACTIVE


class GripperController:
    """Ramps the fingers to a position with a limited force, and keeps that force afterwards.

    Args:
        params: speed, tolerances and times.
    """

    def __init__(self, params: GripperControlParameters) -> None:
        self._params = params
        self._handle: GripperHandle | None = None
        self._target = OPEN_RAD
        self._effort = params.default_effort_n
        self._now = 0.0
        self._standing = 0.0
        self._begins = False

    @property
    def effort(self) -> float:
        """Commanded grip force, N."""
        return self._effort

    def hold(self, position: float) -> None:
        """Ends any command as aborted and holds a position, rad, from now on."""
        self._end(GoalState.ABORTED, "the cell was reset")
        self._target, self._effort = position, self._params.default_effort_n

    def start(self, position: float, effort: float, now: float) -> GripperHandle:
        """Starts a command; it replaces a running one, which ends as aborted.

        Args:
            position: rad of the knuckle; clipped to its range.
            effort: grip force, N; 0 or less stands for the default; clipped to the range.
            now: time, s.
        """
        self._end(GoalState.ABORTED, "replaced by a new command")
        goal = min(max(position, OPEN_RAD), CLOSED_RAD)
        wanted = effort if effort > 0 else self._params.default_effort_n
        self._effort = min(max(wanted, MIN_EFFORT_N), MAX_EFFORT_N)
        self._standing, self._begins = 0.0, True
        self._handle = GripperHandle(goal=goal, effort=self._effort, started=now)
        return self._handle

    def cancel(self, handle: GripperHandle, position: float) -> None:
        """Stops the fingers where they are, at ``position`` rad; the command ends as canceled."""
        if self._handle is handle:
            self._target = position
            self._end(GoalState.CANCELED, "canceled")

    def update(self, now: float, position: float, velocity: float) -> tuple[float, float]:
        """One control cycle.

        Args:
            now: time, s.
            position: measured, rad of the knuckle.
            velocity: measured, rad/s of the knuckle.

        Returns:
            Target of the knuckle, rad, and the grip force limit, N.
        """
        step, self._now = max(now - self._now, 0.0), now
        handle = self._handle
        if handle is not None:
            if self._begins:  # fingers that press begin where they are, not where they press to
                self._target, self._begins = position, False
            reach = self._params.speed_rad_s * step
            self._target += min(max(handle.goal - self._target, -reach), reach)
            self._judge(handle, step, position, velocity)
        return self._target, self._effort

    def _judge(self, handle: GripperHandle, step: float, position: float, velocity: float) -> None:
        handle.position = position
        standing = abs(velocity) < self._params.stall_speed_rad_s
        self._standing = self._standing + step if standing else 0.0
        if abs(position - handle.goal) <= self._params.position_tolerance_rad:
            handle.reached_goal = True
            self._end(GoalState.SUCCEEDED, "")
        elif self._standing >= self._params.stall_time_s:
            handle.stalled = True
            self._end(GoalState.SUCCEEDED, "stalled")
        elif self._now - handle.started > self._params.timeout_s:
            self._end(GoalState.ABORTED, f"not there after {self._params.timeout_s} s")

    def _end(self, state: GoalState, message: str) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            if state is GoalState.SUCCEEDED:
                # The fingers keep pressing towards the goal with the commanded force.
                self._target = handle.goal
            handle.message, handle.state = message, state


def model_from_knuckle(position: float) -> float:
    """Angle of moma's driver joints for a position of the ROS joint, rad."""
    return position * MODEL_CLOSED_RAD / CLOSED_RAD


def knuckle_from_model(angle: float) -> float:
    """Position of the ROS joint for an angle of moma's driver joints, rad."""
    return angle * CLOSED_RAD / MODEL_CLOSED_RAD
