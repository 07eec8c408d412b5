"""The journal of a grasp server: each goal into a file of its own, written by a thread.

Whoever records waits for nothing, and nothing that happens here reaches it: a disk that is full, a
folder that cannot be written, an entry of an unknown kind cost log entries and one warning.
"""

from __future__ import annotations

import collections
import datetime
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from s3k_ros.goal_logs.folder import LogFolder
from s3k_ros.goal_logs.log_writer import GoalLogWriter
from s3k_ros.grasp.goal import Goal
from s3k_ros.grasp.tasks.events import Outcome
from s3k_ros.params.grasp import RobotParameters

# Entries that may wait: a minute of all inputs. More than that means a disk that hangs.
_MOST_WAITING = 20_000
# So often what was recorded reaches the operating system, where a kill loses nothing of it. A goal
# that ended and then said nothing for as long has no more to say.
_LOOK_S = 0.5


class GoalJournal:
    """Writes what is recorded; a `Journal` as `s3k_ros.grasp.ports` means it.

    Args:
        folder: where to, and how much of it stays.
        robot: names of joints and frames.
        parameters: all that the goals rest on, by name; written into every file.
        warn: takes a line for people, from the thread; once until a goal is written whole again.

    Attributes:
        newest: the file of the newest goal; None before the first.
        dropped: entries that found the queue full.
    """

    def __init__(
        self,
        folder: LogFolder,
        robot: RobotParameters,
        parameters: Mapping[str, Any],
        warn: Callable[[str], None],
    ) -> None:
        self.newest: Path | None = None
        self.dropped = 0
        self._folder, self._robot, self._parameters, self._warn = folder, robot, parameters, warn
        self._warned = False
        self._waiting: collections.deque[tuple[float, object]] = collections.deque()
        self._writer: GoalLogWriter | None = None
        self._ended = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="goal_log")
        self._thread.start()

    def record(self, time: float, entry: object) -> None:
        """Takes an entry; returns at once."""
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append((time, entry))
        else:
            self.dropped += 1

    def close(self) -> None:
        """Writes what waits and ends the thread."""
        self._closed.set()
        self._thread.join()

    # -- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        closed = False
        while not closed:
            # By time and not woken by entries: two looks a second cost nothing.
            closed = self._closed.wait(_LOOK_S)
            over = self._ended and not self._waiting
            while self._waiting:
                self._take(*self._waiting.popleft())
            if over or closed:
                self._finish()
            else:
                self._try(GoalLogWriter.flush)

    def _take(self, stamp: float, entry: object) -> None:
        if isinstance(entry, get_args(Goal)):
            self._finish()
            self._begin(entry)
        self._try(lambda writer: writer.write(stamp, entry))
        if isinstance(entry, Outcome) or getattr(entry, "outcome", None) is not None:
            self._ended = True

    def _begin(self, goal: object) -> None:
        try:
            path = self._folder.new(_title(goal))
            self._writer = GoalLogWriter(path, self._robot, self._parameters)
        except Exception as error:
            self._tell(error)
        else:
            self.newest = path

    def _finish(self) -> None:
        """Finishes the goal's file; the folder keeps its bounds."""
        self._try(GoalLogWriter.close)
        if self._writer is not None:
            self._warned = False
            self._try(lambda _: self._folder.tidy())
        self._writer, self._ended = None, False

    def _try(self, work: Callable[[GoalLogWriter], None]) -> None:
        """Works on the file; a failure ends this goal's log and nothing else."""
        if self._writer is None:
            return
        try:
            work(self._writer)
        except Exception as error:
            self._tell(error)
            self._writer.abandon()
            self._writer = None

    def _tell(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            text = str(error) or type(error).__name__
            self._warn(f"this goal has no whole log, nor have others while this lasts: {text}")


def _title(goal: object) -> str:
    """Of a file: when by the wall clock, which kind of goal, and what it aimed at."""
    kind = re.sub(r"Goal$", "", type(goal).__name__).lower()
    now = datetime.datetime.now()
    aim = re.sub(r"\W+", "-", str(getattr(goal, "keypoint", "") or ""))[:40]
    parts = (f"{now:%Y-%m-%d_%H-%M-%S}.{now.microsecond // 1000:03}", kind, aim)
    return "_".join(filter(None, parts))
