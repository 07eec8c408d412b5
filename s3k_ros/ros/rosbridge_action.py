"""An action of ROS 1 over its five topics (actionlib), goals, cancels and results by rosbridge.

roslibpy's `ActionClient` speaks ROS 2 actions alone since version 2, so the protocol of actionlib
is here: goal, cancel, status, feedback and result are plain topics.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import uuid
from collections.abc import Callable
from typing import Any

# Goals with this in their id are ours, also those of a gateway that died.
_OURS = "s3k_sawyer_gateway"
_ZERO_TIME = {"secs": 0, "nsecs": 0}
# A goal that the server has named must be in its list of goals, which it keeps for 5 s after the
# end. A list or two may have been on their way when it was named.
_LISTS_WITHOUT = 4
# A goal that the list calls ended waits this many lists (5 a second) for its result.
_LISTS_WITHOUT_RESULT = 5


class Status(enum.IntEnum):
    """actionlib_msgs/GoalStatus."""

    PENDING = 0
    ACTIVE = 1
    PREEMPTED = 2
    SUCCEEDED = 3
    ABORTED = 4
    REJECTED = 5
    PREEMPTING = 6
    RECALLING = 7
    RECALLED = 8
    LOST = 9


RUNNING = (Status.PENDING, Status.ACTIVE, Status.PREEMPTING, Status.RECALLING)


@dataclasses.dataclass(eq=False)
class RemoteGoal:
    """A goal that was sent.

    Attributes:
        id: its name.
        seen: the server has named it.
        status: the newest; of a goal that is over the last.
        over: nothing more will come of it.
        text: why it ended, as actionlib says.
        result: as it was read; None without one.
        feedback: the newest, as it was read.
    """

    id: str
    seen: bool = False
    status: Status = Status.PENDING
    over: bool = False
    text: str = ""
    result: Any = None
    feedback: Any = None
    missed_lists: int = 0
    ended_lists: int = 0


class Ros1Action:
    """A client of one action server of ROS 1.

    Args:
        name: of the action, such as /robot/limb/right/follow_joint_trajectory.
        kind: without its suffixes, such as control_msgs/FollowJointTrajectory.
        publish: sends a message on a topic; False when it could not.
        read_result, read_feedback: make what `RemoteGoal` holds of a JSON object, or raise.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        publish: Callable[[str, dict[str, Any]], bool],
        read_result: Callable[[dict[str, Any]], Any] = dict,
        read_feedback: Callable[[dict[str, Any]], Any] = dict,
    ) -> None:
        self._read_result, self._read_feedback = read_result, read_feedback
        self._name = name
        self._publish = publish
        self._goals: dict[str, RemoteGoal] = {}
        self._numbers = itertools.count()
        self._session = uuid.uuid4().hex[:8]
        self.advertised = {
            f"{name}/goal": f"{kind}ActionGoal",
            f"{name}/cancel": "actionlib_msgs/GoalID",
        }
        self.status_topic = f"{name}/status"
        self.topics = {
            self.status_topic: "actionlib_msgs/GoalStatusArray",
            f"{name}/feedback": f"{kind}ActionFeedback",
            f"{name}/result": f"{kind}ActionResult",
        }

    @property
    def goals(self) -> tuple[RemoteGoal, ...]:
        """What was sent and is not over."""
        return tuple(self._goals.values())

    def send(self, goal: dict[str, Any]) -> RemoteGoal | None:
        """Sends a goal; None without a connection."""
        sent = RemoteGoal(f"{_OURS}-{self._session}-{next(self._numbers)}")
        # A zero stamp: the server takes its own clock, ours may differ. The header's it fills in.
        message = {"goal_id": {"stamp": _ZERO_TIME, "id": sent.id}, "goal": goal}
        if not self._publish(f"{self._name}/goal", message):
            return None
        self._goals[sent.id] = sent
        return sent

    def cancel(self, goal: RemoteGoal) -> None:
        """Asks for its end, unless it is over; may be repeated."""
        if not goal.over:
            self._cancel(goal.id)

    def cancel_all(self) -> None:
        """Asks for the end of each goal that is not over."""
        for goal in self._goals.values():
            self._cancel(goal.id)

    def give_up(self, goal: RemoteGoal) -> None:
        """Nobody waits for it any more: cancelled whenever the server still names it."""
        self._goals.pop(goal.id, None)
        self._cancel(goal.id)

    def take(self, topic: str, message: dict[str, Any]) -> None:
        """A message of one of `topics`.

        Raises:
            Exception: whatever comes of a message that is not what its topic's type says.
        """
        if topic == self.status_topic:
            self._take_list(message["status_list"])
            return
        goal = self._goals.get(message["status"]["goal_id"]["id"])
        if goal is None:
            return
        goal.seen = True
        if topic.endswith("/feedback"):
            goal.feedback = self._read_feedback(message["feedback"])
            return
        result = self._read_result(message["result"])
        self._end(goal, Status(message["status"]["status"]), message["status"]["text"], result)

    def _take_list(self, entries: list[dict[str, Any]]) -> None:
        named = {e["goal_id"]["id"]: (Status(e["status"]), str(e["text"])) for e in entries}
        for name, (status, _) in named.items():
            ours = name.startswith(_OURS) and name not in self._goals
            if ours and status in (Status.PENDING, Status.ACTIVE):
                self._cancel(name)  # of an earlier connection or gateway: nobody watches it
        for goal in list(self._goals.values()):
            if goal.id in named:
                self._take_status(goal, *named[goal.id])
            elif goal.seen:
                goal.missed_lists += 1
                if goal.missed_lists >= _LISTS_WITHOUT:
                    self._end(goal, Status.LOST, "the action server has forgotten the goal", None)

    def _take_status(self, goal: RemoteGoal, status: Status, text: str) -> None:
        goal.seen, goal.missed_lists, goal.status = True, 0, status
        if status not in RUNNING:
            goal.ended_lists += 1
            if goal.ended_lists >= _LISTS_WITHOUT_RESULT:
                self._end(goal, status, text, None)

    def _end(self, goal: RemoteGoal, status: Status, text: str, result: Any) -> None:
        goal.status, goal.text, goal.result, goal.over = status, str(text), result, True
        self._goals.pop(goal.id, None)

    def _cancel(self, name: str) -> None:
        self._publish(f"{self._name}/cancel", {"stamp": _ZERO_TIME, "id": name})
