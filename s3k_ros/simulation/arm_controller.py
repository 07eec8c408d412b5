"""Execution of joint trajectories with the meaning of control_msgs/FollowJointTrajectory.

A pure library: time comes in with every call, joint states come in, references go out. It is what
stands behind `/robot/limb/right/follow_joint_trajectory` of the simulated cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from s3k_ros.params.simulation import ArmControlParameters
from s3k_ros.simulation import arm_motion, trajectory_goal
from s3k_ros.simulation.arm_motion import Motion
from s3k_ros.simulation.trajectory_goal import (
    ErrorCode,
    GoalHandle,
    GoalState,
    JointLimits,
    PreparedTrajectory,
    TrajectoryGoal,
    TrajectoryRefusedError,
)
from s3k_ros.simulation.velocity_commands import VELOCITY_DAMPING_SHARE, VelocityCommands

Array = NDArray[np.float64]

_STILL_RAD_S = 0.02
# An arm slower than this has been caught: the reference stays where the arm is.
_CAUGHT_RAD_S = 0.05
_LONGEST_STOP_S = 0.5


class ArmController:
    """Turns trajectories into references of position and velocity, and judges their execution.

    One goal at a time: a new one replaces the old, which ends as aborted. The old motion goes on
    until the new trajectory begins (its header's time); any difference then fades out smoothly.

    Args:
        joints: names in the order of all arrays here.
        limits: joint limits.
        params: tolerances and times.
        position: (n,) rad at which the arm stands.
    """

    def __init__(
        self,
        joints: Sequence[str],
        limits: JointLimits,
        params: ArmControlParameters,
        position: Array,
    ) -> None:
        self._joints = tuple(joints)
        self._limits = limits
        self._params = params
        self._alive: float | None = None
        self._now = 0.0
        self._locked = False
        self._velocities = VelocityCommands(limits, params)
        self.hold(position)

    def hold(self, position: Array) -> None:
        """Ends any goal as aborted and holds a posture (n,), rad, from now on."""
        motion = getattr(self, "_motion", None)
        if motion is not None:
            motion.handle.end(GoalState.ABORTED, ErrorCode.INVALID_GOAL, "the cell was reset")
        self._motion: Motion | None = None
        self._next: tuple[float, Motion] | None = None
        self._velocities.end()
        self._brakes = False
        self._position = np.array(position, dtype=np.float64)
        self._velocity = np.zeros_like(self._position)

    @property
    def reference(self) -> tuple[Array, Array]:
        """Commanded position and velocity, (n,) each, of the last update."""
        return self._position, self._velocity

    @property
    def damping_share(self) -> float:
        """Of the servos' damping, how much is in force: velocities are followed more gently."""
        gentle = self._motion is None and self._velocities.active
        return VELOCITY_DAMPING_SHARE if gentle else 1.0

    def feed(self, now: float) -> None:
        """A sign of life of whoever gives the goals, at time ``now``."""
        self._alive = now

    def lock(self) -> None:
        """Stops what runs, as the robot's own safety controller does, and bars what comes.

        As intera's server ends goals then: PATH_TOLERANCE_VIOLATED and no text.
        """
        self._locked = True
        self._stop(GoalState.ABORTED, ErrorCode.PATH_TOLERANCE_VIOLATED, "")
        self._brakes = self._brakes or self._velocities.active
        self._velocities.end()

    def unlock(self) -> None:
        """Lets goals in again."""
        self._locked = False

    def command_velocity(self, velocity: Array, now: float) -> bool:
        """Takes joint velocities (n,), rad/s; False when refused: locked, busy or not finite.

        They hold for ``velocity_watchdog_s``; then the arm brakes.
        """
        fits = velocity.shape == self._position.shape and bool(np.isfinite(velocity).all())
        if self._locked or self._motion is not None or not fits:
            return False
        self._velocities.command(velocity, now)
        return True

    def prepare(self, goal: TrajectoryGoal) -> PreparedTrajectory:
        """Checks a goal and fits its spline: the slow part, which touches no state.

        Raises:
            TrajectoryRefusedError: the goal does not fit the arm.
        """
        return trajectory_goal.prepare(goal, self._joints, self._limits)

    def start(self, prepared: PreparedTrajectory, now: float) -> GoalHandle:
        """Starts a prepared goal at time ``now``.

        Raises:
            TrajectoryRefusedError: it does not fit the arm's present state; a running one goes on.
        """
        if self._locked:
            raise TrajectoryRefusedError(ErrorCode.PATH_TOLERANCE_VIOLATED, "")
        begin = now if prepared.goal.start is None else prepared.goal.start
        late = now - begin - float(prepared.times[-1])
        if prepared.goal.start is not None and late > 0:
            raise TrajectoryRefusedError(
                ErrorCode.OLD_HEADER_TIMESTAMP, f"the trajectory ended {late:.3f} s ago"
            )
        running = self._motion
        wait = begin - now if running is not None and running.outcome is None else 0.0
        if running is not None and wait > 0:
            # The old path goes on until the new one begins where it was planned to begin.
            at_begin = running.sample(self._params.blend_time_s, ahead=wait)
            motion = self._motion_of(prepared, 0.0, *at_begin)
            self._next = (begin, motion)
        else:
            motion = self._motion_of(prepared, now - begin, self._position, self._velocity)
            self._motion, self._next = motion, None
            self._velocities.end()
        if running is not None:
            replaced = (GoalState.ABORTED, ErrorCode.INVALID_GOAL, "replaced by a new goal")
            running.handle.end(*(running.outcome or replaced))
            running.handle = motion.handle
        self.feed(now)
        return motion.handle

    def cancel(self, handle: GoalHandle) -> None:
        """Brings a goal's motion to a stand on its path; it then ends as canceled."""
        if self._motion is not None and self._motion.handle is handle:
            self._stop(GoalState.CANCELED, ErrorCode.SUCCESSFUL, "canceled")

    def update(self, now: float, position: Array, velocity: Array) -> tuple[Array, Array]:
        """One control cycle.

        Args:
            now: time of this cycle, s.
            position: (n,) measured, rad.
            velocity: (n,) measured, rad/s.

        Returns:
            References (n,) of position and velocity for this cycle.
        """
        step, self._now = max(now - self._now, 0.0), now
        motion = self._motion
        if motion is None:
            self._follow_velocities(step, position, velocity)
            return self.reference
        self._watch(now)
        motion = self._switch(now, step) or motion
        rate = motion.advance(step, self._params.stop_time_s)
        if rate > 0.0:
            self._position, self._velocity = motion.sample(self._params.blend_time_s, rate)
        else:
            self._catch(position, velocity)
        motion.handle.desired = self._position
        motion.handle.elapsed = motion.progress
        self._judge(motion, position, velocity)
        return self.reference

    def _catch(self, position: Array, velocity: Array) -> None:
        """Brakes with all torque: no speed, at where the arm is until it hardly moves.

        A reference that stands still alone would let the servos swing in for 0.1 s.
        """
        if self._brakes:
            self._position = np.array(position)
            self._brakes = bool(np.abs(velocity).max() > _CAUGHT_RAD_S)
        self._velocity = np.zeros_like(self._velocity)

    def _follow_velocities(self, step: float, position: Array, velocity: Array) -> None:
        if self._velocities.active:
            self._position, self._velocity = self._velocities.update(
                self._now, step, self._position, position
            )
        else:
            self._catch(position, velocity)

    def _switch(self, now: float, step: float) -> Motion | None:
        """Goes over to the next motion when its time has come."""
        if self._next is None or now < self._next[0]:
            return None
        (begin, motion), self._next = self._next, None
        old, self._motion = self._motion, motion
        assert old is not None
        position, velocity = old.sample(self._params.blend_time_s, ahead=step)
        elapsed = now - begin
        motion.offset = position - motion.position(elapsed)
        motion.offset_rate = velocity - motion.velocity(elapsed)
        motion.progress, motion.blend_age = elapsed - step, -step  # this cycle adds its step
        return motion

    def _watch(self, now: float) -> None:
        limit = self._params.watchdog_s
        if limit > 0 and self._alive is not None and now - self._alive > limit:
            self._stop(
                GoalState.ABORTED, ErrorCode.PATH_TOLERANCE_VIOLATED,
                f"watchdog: no sign of life of the action server for {limit} s",
            )  # fmt: skip

    def _stop(self, state: GoalState, code: ErrorCode, message: str) -> None:
        motion = self._motion
        if motion is None or motion.outcome is not None:
            return
        self._next = None
        self._brakes = True
        motion.handle.state = GoalState.STOPPING
        motion.stop_age = 0.0
        motion.outcome = (state, code, message)

    def _motion_of(
        self, prepared: PreparedTrajectory, elapsed: float, position: Array, velocity: Array
    ) -> Motion:
        return arm_motion.begin(
            prepared, self._joints, self._limits, self._params, elapsed, position, velocity
        )

    def _judge(self, motion: Motion, position: Array, velocity: Array) -> None:
        error = np.abs(position - self._position)
        still = bool(np.all(np.abs(velocity) < _STILL_RAD_S))
        if motion.outcome is not None:
            stop = self._params.stop_time_s
            age = motion.stop_age or 0.0
            if age >= stop and ((still and not self._brakes) or age > stop + _LONGEST_STOP_S):
                self._finish(*motion.outcome)
            return
        if np.any(error > motion.path_tolerance):
            worst = int(np.argmax(error - motion.path_tolerance))
            self._stop(
                GoalState.ABORTED, ErrorCode.PATH_TOLERANCE_VIOLATED,
                f"{self._joints[worst]} is {error[worst]:.4f} rad off its path, allowed "
                f"{motion.path_tolerance[worst]:.4f}",
            )  # fmt: skip
            return
        over = motion.progress - motion.duration
        if over < 0 or self._next is not None:
            return
        if np.all(error <= motion.goal_tolerance) and still:
            self._finish(GoalState.SUCCEEDED, ErrorCode.SUCCESSFUL, "")
        elif over > motion.goal_time:
            worst = int(np.argmax(error - motion.goal_tolerance))
            self._finish(
                GoalState.ABORTED, ErrorCode.GOAL_TOLERANCE_VIOLATED,
                f"{self._joints[worst]} is {error[worst]:.4f} rad off its goal, allowed "
                f"{motion.goal_tolerance[worst]:.4f}",
            )  # fmt: skip

    def _finish(self, state: GoalState, code: ErrorCode, message: str) -> None:
        assert self._motion is not None
        self._motion.handle.end(state, code, message)
        self._motion = None
        self._velocity = np.zeros_like(self._velocity)
