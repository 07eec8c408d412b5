"""The demo's client: resets the scene, sends goals, follows them and notes how they end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.task import Future

from s3k_ros.client import Cell, Progress, TaskResult
from s3k_ros.demo.display import Display
from s3k_ros.demo.recorder import Recorder
from s3k_ros.demo.recording import Feedback, Recording
from s3k_ros.demo.trial import (
    Trial,
    grasp_error_mm,
    judge,
    keypoint_error_at_grasp,
    to_mm,
)
from s3k_ros.errors import DataError, DeviceUnavailableError
from s3k_ros.params.demo import DemoParameters
from s3k_ros.srv import ResetScene


class DemoClient:
    """Runs trials one after the other from one thread, which also serves the callbacks.

    Args:
        node: the client's node.
        executor: has the node; spun by the waits.
        recorder: fed by the node's subscriptions.
        display: told of phases and outcomes.
        params: what to grasp and how long to wait.
    """

    def __init__(
        self,
        node: Node,
        executor: Executor,
        recorder: Recorder,
        display: Display,
        params: DemoParameters,
    ) -> None:
        self._recorder = recorder
        self._display = display
        self._params = params
        self._reset = node.create_client(ResetScene, "sim/reset")
        self._cell = Cell(node=node, executor=executor, timeout_s=params.startup_timeout_s)

    def wait_for_nodes(self) -> None:
        """Waits until the cell, the perception and the grasp server are there.

        Raises:
            DeviceUnavailableError: one of them does not appear; the message names it.
        """
        checks: dict[str, Callable[[], bool]] = {
            "/clock": lambda: bool(self._recorder.recording.clock),
            "service sim/reset": self._reset.service_is_ready,
            "action grasp_at_keypoint": self._cell.ready,
            "topic sim/ground_truth": lambda: bool(self._recorder.recording.truth),
            "topic keypoints": lambda: bool(self._recorder.recording.keypoints),
        }
        started = time.monotonic()
        limit_s = self._params.startup_timeout_s
        for name, there in checks.items():
            self._display.line(f"waiting for {name}")
            if not self._wait(there, wall_s=max(started + limit_s - time.monotonic(), 0.1)):
                raise DeviceUnavailableError(f"{name} did not appear within {limit_s:g} s")
        self._display.line(f"everything is there after {time.monotonic() - started:.1f} s")

    def run_trial(self, index: int, seed: int) -> tuple[Trial, Recording]:
        """Resets the scene, grasps once and judges.

        Args:
            index: number of the trial from 0, for the display.
            seed: of the scene.

        Raises:
            DeviceUnavailableError: the cell does not answer the reset.
            DataError: the cell refuses the reset.
        """
        self._display.trial(index, seed)
        self._reset_scene(seed)
        recording = self._recorder.start()
        self._await_keypoint(recording)
        trial = Trial(seed=seed)
        started_s, started_wall = self._recorder.now_s, time.monotonic()
        result = self._send_and_follow(trial, recording, started_s)
        ended_s = self._recorder.now_s
        trial.duration_s = round(ended_s - started_s, 3)
        trial.wall_duration_s = round(time.monotonic() - started_wall, 3)
        if result is not None:
            _fill_in(trial, result)
        # Watch the hold before anything is judged: a slow slip shows only now.
        self._wait(
            lambda: self._recorder.now_s >= ended_s + self._params.hold_time_s,
            wall_s=10.0 + 3.0 * self._params.hold_time_s,
        )
        self._measure(trial, recording, result, ended_s)
        self._display.outcome(trial)
        return trial, recording

    def _reset_scene(self, seed: int) -> None:
        reply = self._call(self._reset.call_async(ResetScene.Request(seed=seed)), "sim/reset")
        if not reply.success:
            raise DataError(f"sim/reset refused seed {seed}: {reply.message}")

    def _await_keypoint(self, recording: Recording) -> bool:
        """Waits for the keypoint in an image exposed after the reset.

        Without it the goal is sent all the same: the server knows why it cannot serve it.
        """
        reset_s, name = self._recorder.now_s, self._params.keypoint

        def seen() -> bool:
            return any(
                found.stamp_s > reset_s
                and name in found.names
                and found.valid[found.names.index(name)]
                for found in recording.keypoints
            )

        limit_s = self._params.perception_timeout_s
        return self._wait(seen, sim_s=limit_s, wall_s=3.0 * limit_s + 5.0)

    def _send_and_follow(
        self, trial: Trial, recording: Recording, started_s: float
    ) -> TaskResult | None:
        p = self._params
        task = self._cell.start_grasp(p.keypoint, p.toward_keypoint, object_id=p.object_id)
        limit_s = self._recorder.now_s + p.trial_timeout_s
        if not task.follow(
            p.wall_timeout_s,
            lambda progress: self._on_progress(recording, progress, started_s),
            give_up=lambda: self._recorder.now_s >= limit_s,
        ):
            task.cancel()
            trial.message = f"no result after {self._recorder.now_s - started_s:.1f} s: cancelled"
            return None
        return task.result()

    def _on_progress(self, recording: Recording, progress: Progress, started_s: float) -> None:
        now_s, before = self._recorder.now_s, recording.feedback
        changed = not before or before[-1].phase != progress.phase
        before.append(Feedback(now_s, progress.phase, progress.fraction))
        if changed:
            error, confidence = keypoint_error_at_grasp(recording, self._params.keypoint, now_s)
            self._display.phase(now_s - started_s, progress.phase, error, confidence)

    def _measure(
        self,
        trial: Trial,
        recording: Recording,
        result: TaskResult | None,
        ended_s: float,
    ) -> None:
        name = self._params.keypoint
        error, confidence = keypoint_error_at_grasp(recording, name, ended_s)
        trial.keypoint_error_mm, trial.keypoint_confidence = error, confidence
        pose = None if result is None else result.pose
        if pose is not None and pose.frame == self._params.base_frame:
            position = np.array(pose.position)
            trial.grasp_error_mm = grasp_error_mm(recording, name, position, ended_s)
        trial.success, trial.judgement = judge(trial, recording, ended_s, self._params)

    def _call(self, future: Future, what: str) -> Any:
        if not self._wait(future.done, wall_s=self._params.startup_timeout_s):
            raise DeviceUnavailableError(
                f"{what}: no answer within {self._params.startup_timeout_s:g} s"
            )
        return future.result()

    def _wait(self, condition: Callable[[], bool], *, wall_s: float, sim_s: float = np.inf) -> bool:
        """Serves callbacks until a condition holds; False when the time is over before."""
        sim_limit = self._recorder.now_s + sim_s
        self._cell.wait(lambda: condition() or self._recorder.now_s >= sim_limit, wall_s)
        return condition()


def _fill_in(trial: Trial, result: TaskResult) -> None:
    trial.code, trial.code_name = int(result.code), result.code.name
    trial.holding = result.holding.name
    trial.phase = result.phase
    trial.message = result.message or trial.message
    trial.width_mm = to_mm(result.width_m)
