"""One goal of an action, from the side of who asks for it."""

from __future__ import annotations

import collections
import uuid
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.task import Future
from unique_identifier_msgs.msg import UUID

from s3k_ros.ros.waiting import Loop

# More feedback than this waits for nobody: 10 Hz over a minute and a half.
_MOST_FEEDBACK = 1000


class GoalCall:
    """Sends a goal and follows it. Nothing here waits: `loop` does.

    Args:
        loop: serves the client's node.
        client: of the action; its server is there.
        goal: to send.

    Attributes:
        feedback: what came and nobody took yet, oldest first.
        accepted: None while the server has not answered.
    """

    def __init__(self, loop: Loop, client: ActionClient, goal: Any) -> None:
        self.feedback: collections.deque[Any] = collections.deque(maxlen=_MOST_FEEDBACK)
        self.accepted: bool | None = None
        self._goal_id = UUID(uuid=list(uuid.uuid4().bytes))
        self._client = client
        self._handle: Any = None
        self._reply: Any = None
        self._cancel_wanted = False
        self._loop = loop
        loop.ask(lambda: self._send(goal))

    @property
    def done(self) -> bool:
        """Whether it was refused or has ended."""
        return self.accepted is False or self._reply is not None

    @property
    def result(self) -> Any:
        """The action's result; None while it runs, and when it was refused."""
        return None if self._reply is None else self._reply.result

    @property
    def status(self) -> int:
        """How it ended, a constant of GoalStatus."""
        return GoalStatus.STATUS_UNKNOWN if self._reply is None else int(self._reply.status)

    def cancel(self) -> None:
        """Asks the server to end it; `done` comes when the arm stands still."""
        self._cancel_wanted = True
        self._loop.ask(self._send_cancel)

    def move(self, loop: Loop, client: ActionClient) -> None:
        """Goes on with another client of the action, after the first one's context is gone."""
        self._loop, self._client = loop, client
        self._handle = None
        answer = client._action_type.Impl.SendGoalService.Response(accepted=True)
        loop.ask(lambda: self._follow(ClientGoalHandle(client, self._goal_id, answer)))

    def _send(self, goal: Any) -> None:
        sent = self._client.send_goal_async(
            goal, lambda message: self.feedback.append(message.feedback), self._goal_id
        )
        sent.add_done_callback(self._on_answer)

    def _on_answer(self, sent: Future) -> None:
        handle = sent.result()
        if handle.accepted:
            self._follow(handle)
        self.accepted = bool(handle.accepted)

    def _follow(self, handle: ClientGoalHandle) -> None:
        self._handle = handle
        handle.get_result_async().add_done_callback(self._on_result)
        if self._cancel_wanted:
            self._send_cancel()

    def _on_result(self, future: Future) -> None:
        self._reply = future.result()

    def _send_cancel(self) -> None:
        if self._handle is not None and not self.done:
            self._handle.cancel_goal_async()
