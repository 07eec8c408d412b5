"""The newest goal of an action, of which alone the end matters. No method waits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.node import Node


@dataclasses.dataclass(frozen=True)
class GoalEnd:
    """How a goal ended: refused, or with a status of ``action_msgs/GoalStatus`` and a result."""

    accepted: bool
    status: int = GoalStatus.STATUS_UNKNOWN
    result: Any = None

    @property
    def succeeded(self) -> bool:
        """Whether the server says that it succeeded."""
        return self.status == GoalStatus.STATUS_SUCCEEDED


@dataclasses.dataclass
class _Goal:
    handle: ClientGoalHandle | None = None
    stopped: bool = False


class LatestGoal:
    """An action client that sends goals, each in place of the one before.

    Args:
        node: the node.
        kind: type of the action.
        name: its name.
        on_end: called from the node's executor when the newest goal ends, unless it was stopped.
    """

    def __init__(
        self, node: Node, kind: type, name: str, on_end: Callable[[GoalEnd], None]
    ) -> None:
        self._client = ActionClient(node, kind, name)
        self._logger = node.get_logger()
        self._name = name
        self._on_end = on_end
        self._goal: _Goal | None = None

    def available(self) -> bool:
        """Whether a server is in the graph."""
        return bool(self._client.server_is_ready())

    def send(self, message: Any) -> None:
        """Sends a goal; the server ends a running one itself."""
        goal = _Goal()
        self._goal = goal
        future = self._client.send_goal_async(message)
        future.add_done_callback(lambda done: self._answered(goal, done.result()))

    def stop(self) -> None:
        """Cancels the newest goal, also one that is not accepted yet."""
        goal, self._goal = self._goal, None
        if goal is None:
            return
        goal.stopped = True
        if goal.handle is not None:
            self._cancel(goal.handle)

    def _answered(self, goal: _Goal, handle: ClientGoalHandle | None) -> None:
        if handle is None or not handle.accepted:
            self._end(goal, GoalEnd(accepted=False))
            return
        goal.handle = handle
        if goal.stopped:  # it was stopped while it was on its way
            self._cancel(handle)
            return
        handle.get_result_async().add_done_callback(
            lambda done: self._finished(goal, done.result())
        )

    def _finished(self, goal: _Goal, response: Any) -> None:
        if response is not None:
            self._end(goal, GoalEnd(True, response.status, response.result))

    def _end(self, goal: _Goal, end: GoalEnd) -> None:
        if goal is self._goal:
            self._goal = None
            self._on_end(end)

    def _cancel(self, handle: ClientGoalHandle) -> None:
        def answered(done: Any) -> None:
            response = done.result()
            if response is not None and not response.goals_canceling:
                self._logger.debug(f"{self._name}: nothing left to cancel")

        handle.cancel_goal_async().add_done_callback(answered)
