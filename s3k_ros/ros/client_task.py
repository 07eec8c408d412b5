"""A task of the grasp server as its client sees it: its progress, its end, and how to end it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from s3k_ros.errors import DeviceUnavailableError
from s3k_ros.ros import client_messages as messages
from s3k_ros.ros.client_messages import Progress, TaskResult
from s3k_ros.ros.goal_call import GoalCall
from s3k_ros.ros.waiting import LoopEndedError

OnProgress = Callable[[Progress], None]

# Wall time for ending a cancelled task: the arm stops within 0.3 s, perhaps of a slow simulation.
_CANCEL_TIMEOUT_S = 10.0
# A server that the graph does not show for this long has gone.
_VANISHED_S = 3.0


class Connection(Protocol):
    """What a task needs of the cell that it was sent to."""

    @property
    def lives(self) -> bool:
        """Whether its ROS context does."""

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Waits until a condition holds; False when the (wall) time is over before."""

    def serves(self, name: str) -> bool:
        """Whether the action's server is there."""

    def revive(self, task: Task) -> bool:
        """A new context where rclpy's handler of Ctrl-C has ended all; False without any."""


class NoServerError(DeviceUnavailableError):
    """What is to be asked is not there."""


class NoAnswerError(DeviceUnavailableError):
    """No answer in time, or who should answer has gone: how the task ended is not known."""


class Task:
    """A task that runs: iterate over it for its progress, ask `result` for its end.

    Leaving it alone does not end it, as with every ROS action: `cancel` does.
    """

    def __init__(self, cell: Connection, name: str, call: GoalCall, *, dry_run: bool) -> None:
        self._cell, self.name, self.call = cell, name, call
        self._dry_run = dry_run
        self._interrupted = False

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.call.done

    def __iter__(self) -> Iterator[Progress]:
        """Progress as it comes, until the end.

        Raises:
            NoAnswerError: the server vanishes.
        """
        while True:
            self.wait(lambda: bool(self.call.feedback), float("inf"))
            while self.call.feedback:
                yield messages.progress_from_message(self.call.feedback.popleft())
            if self.done:
                return

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Waits until a condition holds or the task has ended; False when time is over before.

        On Ctrl-C the task is cancelled first.

        Raises:
            NoAnswerError: the server vanishes.
        """
        present = time.monotonic()

        def gone() -> bool:
            nonlocal present
            now = time.monotonic()
            if self._cell.serves(self.name):
                present = now
            return now - present > _VANISHED_S

        with self._cancelled_on_interrupt():
            ended = self._cell.wait(lambda: self.done or condition() or gone(), timeout_s)
        if ended and gone():
            raise NoAnswerError(
                f"the server of {self.name} has gone in the middle of a task: whether the arm "
                "stands still is not known"
            )
        return ended

    def result(
        self,
        timeout_s: float = 300.0,
        on_progress: OnProgress | None = None,
    ) -> TaskResult:
        """Waits for the end.

        Args:
            timeout_s: wall time after which the task is cancelled.
            on_progress: called with all progress, in this thread.

        Raises:
            NoAnswerError: no end in time, or the server vanishes.
        """
        if not self.follow(timeout_s, on_progress):
            self.cancel()
            raise NoAnswerError(f"{self.name}: no end within {timeout_s:g} s, so cancelled")
        if self.call.result is None:
            raise NoAnswerError(f"the server of {self.name} rejected the goal without a reason")
        return messages.result_from_message(self.call.result, dry_run=self._dry_run)

    def follow(
        self,
        timeout_s: float,
        on_progress: OnProgress | None = None,
        give_up: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Hands on progress until the task has ended; False when time is over before.

        Args:
            timeout_s: wall time.
            on_progress: called in this thread.
            give_up: whether time is over for another reason.

        Raises:
            NoAnswerError: the server vanishes.
        """
        end = time.monotonic() + timeout_s
        with self._cancelled_on_interrupt():
            while not self.done:
                left = max(end - time.monotonic(), 0.0)
                in_time = self.wait(lambda: bool(self.call.feedback) or give_up(), left)
                self._tell(on_progress)
                if not self.done and (not in_time or give_up()):
                    return False
            self._tell(on_progress)
        return True

    def cancel(self, timeout_s: float = _CANCEL_TIMEOUT_S) -> bool:
        """Ends the task and waits until the arm stands still; False when that takes too long."""
        end = time.monotonic() + timeout_s
        while not self.done and time.monotonic() < end and self._cell.revive(self):
            # The context may end at any time: rclpy's handler of Ctrl-C does that from a thread.
            with contextlib.suppress(LoopEndedError):
                self.call.cancel()
                left = end - time.monotonic()
                self._cell.wait(lambda: self.done or not self._cell.lives, left)
        return self.done

    @contextlib.contextmanager
    def _cancelled_on_interrupt(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            if not self._interrupted:
                self._interrupted = True
                self.cancel()
            raise

    def _tell(self, on_progress: OnProgress | None) -> None:
        while self.call.feedback:
            feedback = self.call.feedback.popleft()
            if on_progress is not None:
                on_progress(messages.progress_from_message(feedback))
