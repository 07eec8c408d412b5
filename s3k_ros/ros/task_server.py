"""The actions of the tasks: goals one at a time, from their arrival to their result.

Goals are always accepted and end with a code and a message, because ROS carries no reason with a
rejected goal. A goal's status stays ACCEPTED while it runs: rclpy's executor spins without pause as
long as an execute callback awaits something, so the callback runs only once the outcome is known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from std_msgs.msg import Header

from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.codes import GraspCode, Phase
from s3k_ros.grasp.executor import GraspExecutor
from s3k_ros.grasp.ports import Clock
from s3k_ros.grasp.tasks.events import Outcome
from s3k_ros.params.grasp import GraspParameters, GraspServerParameters, RobotParameters
from s3k_ros.ros import conversions
from s3k_ros.ros import grasp_messages as messages
from s3k_ros.ros.frames import FrameLookup
from s3k_ros.ros.node import S3kNode


class TaskOwner(Protocol):
    """Whose tasks these are. Parameters and executor may be others for each goal."""

    runner: GraspExecutor
    grasp: GraspParameters
    robot: RobotParameters

    def prepare(self) -> None:
        """Called before a goal begins."""


@dataclasses.dataclass
class _Session:
    """One goal from its arrival to its result."""

    action: type
    handle: ServerGoalHandle
    started: bool = False
    ended: bool = False
    deadline: float = 0.0
    lookup: FrameLookup | None = None
    phase: Phase | None = None
    told_at: float = 0.0


class TaskServer:
    """Serves the actions over one executor.

    Args:
        node: the node.
        owner: has the executor and the parameters.
        clock: of deadlines.
        params: rates and timeouts.
    """

    def __init__(
        self, node: S3kNode, owner: TaskOwner, clock: Clock, params: GraspServerParameters
    ) -> None:
        self._node, self._owner, self._clock, self._params = node, owner, clock, params
        self._session: _Session | None = None
        self._next: _Session | None = None
        self._emergency = False
        self.last = "no task yet"
        self._servers = [
            ActionServer(
                node, action, name, partial(self._result, action),
                handle_accepted_callback=partial(self._on_goal, action),
                cancel_callback=self._on_cancel,
            )
            for name, action in messages.ACTIONS.items()
        ]  # fmt: skip

    @property
    def running(self) -> bool:
        """Whether a goal is there that has no result yet."""
        return self._session is not None

    @property
    def emergency(self) -> bool:
        """Whether the emergency stop is on."""
        return self._emergency

    def emergency_stop(self, on: bool) -> None:
        """Ends what runs, and bars what comes until it is off."""
        self._emergency = on
        if on:
            self._stop(GraspCode.EMERGENCY_STOP, "emergency stop")

    # -- goals ---------------------------------------------------------------------------------

    def _on_goal(self, action: type, handle: ServerGoalHandle) -> None:
        session = _Session(action, handle)
        if self._emergency:
            self._refuse(session, GraspCode.EMERGENCY_STOP, "the emergency stop is on")
        elif self._session is None:
            self._begin(session)
        elif self._owner.grasp.second_goal == "reject":
            self._refuse(session, GraspCode.BUSY, "another task is running")
        else:
            if self._next is not None:
                self._refuse(self._next, GraspCode.PREEMPTED, "another goal came")
            self._next = session
            self._stop(GraspCode.PREEMPTED, "another goal came")

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        if self._session is not None and self._session.handle == handle:
            self._stop(GraspCode.CANCELED, "canceled by the client")
        return CancelResponse.ACCEPT

    def _begin(self, session: _Session) -> None:
        self._session = session
        if self._clock.now() == 0.0:
            return  # simulated time has not begun: the timer begins when it does
        self._owner.prepare()
        session.started = True
        base = self._owner.robot.base_frame
        frames = messages.frames(session.handle.request, base)
        if not frames:
            self._start(session, {})
            return
        session.deadline = self._clock.now() + self._params.tf_timeout_s
        session.lookup = FrameLookup(self._node, base, frames)

    def _start(self, session: _Session, base_from: dict[str, Transform]) -> None:
        goal = messages.goal_from_message(session.handle.request, base_from)
        outcome = self._owner.runner.start(goal)
        if outcome is not None:
            self._session = None
            self._finish(session, outcome)

    def _look_up(self, session: _Session, lookup: FrameLookup) -> None:
        """Tries to get the frames of the goal, until the deadline."""
        found = lookup.poll()
        if found is not None:
            self._forget_frames(session)
            self._start(session, found)
        elif self._clock.now() > session.deadline:
            self._give_up(session, GraspCode.INVALID_GOAL, lookup.problem)

    def _forget_frames(self, session: _Session) -> None:
        if session.lookup is not None:
            session.lookup.close()
        session.lookup = None

    def _stop(self, code: GraspCode, message: str) -> None:
        session = self._session
        if session is None:
            return
        if session.started and session.lookup is None:
            self._owner.runner.end(code, message)
        elif code == GraspCode.CANCELED:
            session.ended = True  # its status changes after this callback: the timer tells the end
        else:
            self._give_up(session, code, message)

    def _give_up(self, session: _Session, code: GraspCode, message: str) -> None:
        """Ends a session whose task has not begun."""
        self._forget_frames(session)
        self._session = None
        self._refuse(session, code, message)

    # -- time ----------------------------------------------------------------------------------

    def tick(self) -> None:
        """Lets the running goal go on, and the next one begin."""
        if self._next is not None and self._next.handle.is_cancel_requested:
            session, self._next = self._next, None
            self._refuse(session, GraspCode.CANCELED, "canceled by the client")
        session = self._session
        if session is not None and session.ended:
            self._give_up(session, GraspCode.CANCELED, "canceled by the client")
        elif session is not None and not session.started:
            self._begin(session)
        elif session is not None and session.lookup is not None:
            self._look_up(session, session.lookup)
        elif session is not None:
            self._run(session)
        if self._session is None and self._next is not None:
            session, self._next = self._next, None
            self._begin(session)

    def _run(self, session: _Session) -> None:
        runner = self._owner.runner
        runner.tick()
        state = runner.state
        if state is None:
            return
        if state.outcome is not None:
            self._session = None
            self._finish(session, state.outcome)
            return
        now = self._clock.now()
        waited = now - session.told_at >= 1 / self._params.feedback_rate_hz
        if state.phase != session.phase or waited:
            session.phase, session.told_at = state.phase, now
            feedback = messages.feedback_to_message(session.action, state, runner.fraction)
            session.handle.publish_feedback(feedback)

    # -- results -------------------------------------------------------------------------------

    def _refuse(self, session: _Session, code: GraspCode, message: str) -> None:
        self._finish(session, Outcome(code, message, messages.first_phase(session.action)))

    def _finish(self, session: _Session, outcome: Outcome) -> None:
        self.last = f"{outcome.code.name} in {outcome.phase}: {outcome.message}"
        self._node.get_logger().info(self.last)
        finish: Callable[[ServerGoalHandle], Any] = partial(
            self._result, session.action, outcome=outcome
        )
        session.handle.execute(finish)

    def _result(
        self, action: type, handle: ServerGoalHandle, outcome: Outcome | None = None
    ) -> Any:
        if outcome is None:  # nobody executes a goal without one
            outcome = Outcome(GraspCode.INTERNAL, "executed without an outcome", Phase.IDLE)
        if outcome.code == GraspCode.SUCCESS:
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return messages.result_to_message(action, outcome, self.header())

    def header(self) -> Header:
        """Now, in the base frame."""
        now = int(self._node.get_clock().now().nanoseconds)
        return conversions.header(now, self._owner.robot.base_frame)
