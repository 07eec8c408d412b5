"""Grasping from scripts and notebooks: no node, no callbacks, no executor.

    from s3k_ros.client import Cell

    with Cell() as cell:
        result = cell.grasp("right_front_paw", toward="body")
        if result.held:
            cell.place([0.55, -0.35, 0.05])

or, in a notebook, `from s3k_ros.client import grasp, place, release, keypoints`.

What a robot may well answer (nothing seen, out of reach, slipped) is a `TaskResult` with a code.
Exceptions are for what should not be: a server that is not there (`NoServerError`), one that
vanishes or is silent (`NoAnswerError`), arguments that are none (`ConfigurationError`).

A `Cell` has a ROS context and a thread of its own: it works beside other uses of rclpy in the same
process, whether their executor runs or not, and also inside their callbacks, which then last as
long as the task. Progress is handed out in the caller's thread. On Ctrl-C the task is cancelled,
and KeyboardInterrupt goes on when the arm stands still.
"""

from __future__ import annotations

import atexit
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack

import rclpy
from rclpy.action import ActionClient
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from s3k_ros.action import GraspAtKeypoint, PlaceAt, Release
from s3k_ros.errors import ConfigurationError
from s3k_ros.grasp.codes import GraspCode, Holding, KeypointStatus
from s3k_ros.msg import Keypoint3DArray
from s3k_ros.ros import client_messages as messages
from s3k_ros.ros import qos
from s3k_ros.ros.client_messages import (
    GraspOptions,
    Keypoint,
    PlaceOptions,
    Pose,
    Progress,
    ReleaseOptions,
    TaskResult,
    Vector,
)
from s3k_ros.ros.client_task import NoAnswerError, NoServerError, OnProgress, Task
from s3k_ros.ros.goal_call import GoalCall
from s3k_ros.ros.waiting import BackgroundLoop, ForegroundLoop, Loop
from s3k_ros.srv import LoadModel

__all__ = [
    "Cell", "GraspCode", "GraspOptions", "Holding", "Keypoint", "KeypointStatus", "NoAnswerError",
    "NoServerError", "PlaceOptions", "Pose", "Progress", "ReleaseOptions", "Task", "TaskResult",
    "grasp", "keypoints", "place", "release",
]  # fmt: skip

_numbers = itertools.count()


class Cell:
    """The grasp server and the perception of one cell.

    Args:
        namespace: of the cell's nodes.
        domain_id: None for ROS_DOMAIN_ID's.
        timeout_s: wall time granted for finding servers and for their first answers.
        node, executor: of a program that has its own and serves callbacks only while it waits:
            every wait here spins `executor`, so none may be called from its callbacks.
    """

    def __init__(
        self,
        namespace: str = "/",
        *,
        domain_id: int | None = None,
        timeout_s: float = 10.0,
        node: Node | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._namespace, self._domain = namespace, domain_id
        self.timeout_s = timeout_s
        self._own = node is None or executor is None
        self._newest: Keypoint3DArray | None = None
        self._sets = 0
        self._listens = False
        self._clients: dict[str, ActionClient] = {}
        self._loop: Loop
        if node is not None and executor is not None:
            self._node, self._loop = node, ForegroundLoop(executor)
        else:
            self._open()

    # -- tasks ---------------------------------------------------------------------------------

    def grasp(
        self,
        keypoint: str,
        toward: str = "",
        *,
        on_progress: OnProgress | None = None,
        timeout_s: float = 300.0,
        **options: Unpack[GraspOptions],
    ) -> TaskResult:
        """Grasps at a keypoint, lifts, and tells whether something is held.

        Args:
            keypoint: its name.
            toward: name of another one; the jaws close across the line between them. Empty: the
                server chooses the yaw.
            on_progress: called with the progress, in this thread.
            timeout_s: wall time after which the task is cancelled.
            **options: see `GraspOptions`.

        Raises:
            NoServerError, NoAnswerError: see the module.
        """
        return self.start_grasp(keypoint, toward, **options).result(timeout_s, on_progress)

    def place(
        self,
        at: str | Vector | Pose,
        toward: str = "",
        *,
        on_progress: OnProgress | None = None,
        timeout_s: float = 300.0,
        **options: Unpack[PlaceOptions],
    ) -> TaskResult:
        """Puts down what is held, lets go and draws the hand back.

        Args:
            at: where the tool centre point stands when the jaws open: a keypoint, a position (m,
                base frame) or a `Pose`, whose orientation then counts too.
            toward: as in `grasp`, with a keypoint.
            on_progress: as in `grasp`.
            timeout_s: as in `grasp`.
            **options: see `PlaceOptions`.

        Raises:
            NoServerError, NoAnswerError: see the module.
        """
        return self.start_place(at, toward, **options).result(timeout_s, on_progress)

    def release(
        self,
        *,
        on_progress: OnProgress | None = None,
        timeout_s: float = 60.0,
        **options: Unpack[ReleaseOptions],
    ) -> TaskResult:
        """Opens the jaws where the hand is, and draws it back.

        Args:
            on_progress: as in `grasp`.
            timeout_s: as in `grasp`.
            **options: see `ReleaseOptions`.

        Raises:
            NoServerError, NoAnswerError: see the module.
        """
        return self.start_release(**options).result(timeout_s, on_progress)

    def start_grasp(self, keypoint: str, toward: str = "", **options: Unpack[GraspOptions]) -> Task:
        """As `grasp`, but returns when the server has the goal."""
        goal = messages.grasp_goal(keypoint, toward, options)
        return self._start(GraspAtKeypoint, "grasp_at_keypoint", goal, dry_run=goal.dry_run)

    def start_place(
        self, at: str | Vector | Pose, toward: str = "", **options: Unpack[PlaceOptions]
    ) -> Task:
        """As `place`, but returns when the server has the goal."""
        goal = messages.place_goal(at, toward, options)
        return self._start(PlaceAt, "place_at", goal, dry_run=goal.dry_run)

    def start_release(self, **options: Unpack[ReleaseOptions]) -> Task:
        """As `release`, but returns when the server has the goal."""
        return self._start(Release, "release", messages.release_goal(options))

    def keypoints(self, timeout_s: float | None = None) -> dict[str, Keypoint]:
        """The next set of keypoints that arrives, by name; also those that are not seen.

        Raises:
            NoAnswerError: none arrives in time.
        """
        if not self._listens:
            self._listens = True
            self._loop.ask(self._listen)
        seen, limit_s = self._sets, self.timeout_s if timeout_s is None else timeout_s
        if not self.wait(lambda: self._sets > seen, limit_s) or self._newest is None:
            raise NoAnswerError(
                f"no keypoints within {limit_s:g} s on {self._topic('keypoints')}: does the "
                f"perception run, with images, {self._where()}?"
            )
        return messages.keypoints_from_message(self._newest)

    def load_model(self, path: str | Path, timeout_s: float = 120.0) -> str:
        """Lets the perception look for another object, and waits until it does.

        Args:
            path: of the model file on the perception's machine; a relative one may start at the
                package's share folder.
            timeout_s: wall time for all.

        Returns:
            The model's name in messages.

        Raises:
            ConfigurationError: the file is refused; the old model goes on.
            NoServerError, NoAnswerError: no perception, or no keypoints of the new model in time.
        """
        end = time.monotonic() + timeout_s
        client = self._loop.ask(lambda: self._node.create_client(LoadModel, "load_model"))
        try:
            if not self.wait(client.service_is_ready, self.timeout_s):
                raise NoServerError(
                    f"no service {self._topic('load_model')} within {self.timeout_s:g} s: does the "
                    f"perception run, {self._where()}?"
                )
            request = LoadModel.Request(path=str(path))
            future = self._loop.ask(lambda: client.call_async(request))
            if not self.wait(future.done, end - time.monotonic()):
                raise NoAnswerError(f"load_model: no answer within {timeout_s:g} s")
        finally:
            self._loop.ask(lambda: self._node.destroy_client(client))
        reply = future.result()
        if not reply.success:
            raise ConfigurationError(f"{path} is refused: {reply.message}")
        while self._newest is None or self._newest.model != reply.model:
            self.keypoints(max(end - time.monotonic(), 0.0))
        return str(reply.model)

    # -- around them ---------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether the grasp server is there; the first looks may be too early to see it."""
        return bool(self._client(GraspAtKeypoint, "grasp_at_keypoint").server_is_ready())

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Waits until a condition holds; False when the (wall) time is over before."""
        return self._loop.wait(condition, timeout_s)

    def close(self) -> None:
        """Ends thread and node; a task that runs goes on without a listener."""
        if self._own:
            self._loop.close()
            if self.lives:
                self._node.destroy_node()
                self._node.context.try_shutdown()

    def __enter__(self) -> Cell:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> None:
        context = rclpy.Context()
        rclpy.init(
            args=[], context=context, domain_id=self._domain,
            signal_handler_options=SignalHandlerOptions.NO,
        )  # fmt: skip
        name = f"s3k_client_{os.getpid()}_{next(_numbers)}"
        self._node = rclpy.create_node(name, namespace=self._namespace, context=context)
        self._loop = BackgroundLoop(self._node)
        self._clients = {}
        self._listens = False

    def _start(self, kind: Any, name: str, goal: Any, *, dry_run: bool = False) -> Task:
        if self._own and not self.lives:
            self._open()
        client = self._client(kind, name)
        if not self.wait(client.server_is_ready, self.timeout_s):
            raise NoServerError(
                f"no action server {self._topic(name)} within {self.timeout_s:g} s: does the "
                f"grasp server run, {self._where()}?"
            )
        call = GoalCall(self._loop, client, goal)
        task = Task(self, name, call, dry_run=dry_run)
        if not task.wait(lambda: call.accepted is not None, self.timeout_s):
            task.cancel()
            raise NoAnswerError(f"{name}: no answer to the goal within {self.timeout_s:g} s")
        return task

    def _client(self, kind: Any, name: str) -> ActionClient:
        if name not in self._clients:
            self._clients[name] = self._loop.ask(lambda: ActionClient(self._node, kind, name))
        return self._clients[name]

    def serves(self, name: str) -> bool:
        """Whether the server of an action that was used is there."""
        return self.lives and bool(self._clients[name].server_is_ready())

    @property
    def lives(self) -> bool:
        """Whether its ROS context does: rclpy's handler of Ctrl-C ends all of a process."""
        return bool(self._node.context.ok())

    def revive(self, task: Task) -> bool:
        """A new context where rclpy's handler of Ctrl-C has ended all; False without any."""
        if self._own and not self.lives:
            kind = self._clients[task.name]._action_type
            self._loop.close()
            self._open()
            client = self._client(kind, task.name)
            self.wait(client.server_is_ready, self.timeout_s)
            task.call.move(self._loop, client)
        return self.lives

    def _listen(self) -> None:
        self._node.create_subscription(
            Keypoint3DArray, "keypoints", self._on_keypoints, qos.keypoints()
        )

    def _on_keypoints(self, message: Keypoint3DArray) -> None:
        self._newest = message
        self._sets += 1

    def _topic(self, name: str) -> str:
        return str(self._node.resolve_topic_name(name))

    def _where(self) -> str:
        domain = self._node.context.get_domain_id()
        return f"in namespace {self._namespace!r} and on ROS_DOMAIN_ID {domain}"


# -- for notebooks -----------------------------------------------------------------------------

_cell: Cell | None = None


def _default() -> Cell:
    global _cell
    if _cell is None:
        _cell = Cell()
        atexit.register(_cell.close)
    return _cell


def grasp(keypoint: str, toward: str = "", **options: Any) -> TaskResult:
    """`Cell.grasp` of the cell in the root namespace, on ROS_DOMAIN_ID."""
    return _default().grasp(keypoint, toward, **options)


def place(at: str | Vector | Pose, **options: Any) -> TaskResult:
    """`Cell.place` of the same cell."""
    return _default().place(at, **options)


def release(**options: Any) -> TaskResult:
    """`Cell.release` of the same cell."""
    return _default().release(**options)


def keypoints(timeout_s: float | None = None) -> dict[str, Keypoint]:
    """`Cell.keypoints` of the same cell."""
    return _default().keypoints(timeout_s)
