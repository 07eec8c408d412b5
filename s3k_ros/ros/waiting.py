"""Waiting for what callbacks bring, from a program that is no node itself.

Two ways with one face: `BackgroundLoop` serves callbacks in a thread of its own, `ForegroundLoop`
while one waits. In both, SIGINT ends a wait by KeyboardInterrupt.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from rclpy.context import Context
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from s3k_ros.errors import DeviceUnavailableError

T = TypeVar("T")

# Conditions that no callback tells of, such as time, are looked at this often.
_LOOK_S = 0.1


class LoopEndedError(DeviceUnavailableError):
    """The ROS context is gone: somebody, perhaps rclpy's handler of Ctrl-C, has shut it down."""


class Loop(Protocol):
    """Serves a node's callbacks."""

    def ask(self, work: Callable[[], T]) -> T:
        """Runs something that talks to ROS where the callbacks run, and gives what it returns."""

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Waits until a condition holds; False when the (wall) time is over before.

        Raises:
            KeyboardInterrupt: on Ctrl-C, in the main thread.
        """

    def close(self) -> None:
        """Ends it; may be repeated."""


class BackgroundLoop:
    """Callbacks run in a daemon thread, whoever waits.

    rclpy's clients are not made for two threads: an answer that arrives between a request and the
    note of its number is thrown away. So requests too are sent from this thread, see `ask`.

    Args:
        node: the only one that it serves.
    """

    def __init__(self, node: Node) -> None:
        self._context: Context = node.context
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="s3k_client", daemon=True)
        self._thread.start()

    def ask(self, work: Callable[[], T]) -> T:
        """Runs something in the thread.

        Raises:
            LoopEndedError: the thread has ended.
        """
        answers: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                answers.append(work())
            except Exception as error:
                errors.append(error)

        if threading.current_thread() is self._thread:
            return work()
        self._executor.create_task(run)
        while not (answers or errors):
            if not self._thread.is_alive():
                raise LoopEndedError("the client's ROS context has been shut down")
            self.wait(lambda: bool(answers or errors), _LOOK_S)
        if errors:
            raise errors[0]
        return answers[0]

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Waits in the caller's thread."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while not condition():
                left = end - time.monotonic()
                if left <= 0.0:
                    return False
                self._changed.wait(min(left, _LOOK_S))
        return True

    def close(self) -> None:
        """Ends the thread."""
        self._ended = True
        if threading.current_thread() is not self._thread:
            self._thread.join(1.0)

    def _run(self) -> None:
        try:
            while not self._ended and self._context.ok():
                self._executor.spin_once(timeout_sec=_LOOK_S)
                with self._changed:
                    self._changed.notify_all()
        except ExternalShutdownException:
            pass
        finally:
            with contextlib.suppress(Exception):  # its context may be gone
                self._executor.shutdown(timeout_sec=0.1)


class ForegroundLoop:
    """Callbacks run while somebody waits, in the same thread: for a program with one thread.

    Args:
        executor: has the node; whoever waits spins it, so no callback may wait.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def ask(self, work: Callable[[], T]) -> T:
        """Runs something at once: nobody else uses the node."""
        return work()

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Serves callbacks meanwhile."""
        end = time.monotonic() + timeout_s
        with _interrupts() as interrupts:
            while not condition():
                left = end - time.monotonic()
                if left <= 0.0:
                    return False
                self._executor.spin_once(timeout_sec=min(left, _LOOK_S))
                if interrupts:
                    raise KeyboardInterrupt
        return True

    def close(self) -> None:
        """The executor stays its owner's."""


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collects SIGINTs: raised inside a callback, the executor's C++ side would swallow one."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = signal.signal(signal.SIGINT, lambda number, _: caught.append(number))
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, before)
