"""Jobs with folders: done once, after what they need; a failure stops only its dependants."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from s3k_ros.training.studies import store

Work = Callable[..., Mapping[str, Any]]


class Unfinished(Exception):
    """Raised by work that ran out of time and can go on later from what it saved."""


class Status(StrEnum):
    """How a job stands."""

    FINISHED = "finished"
    UNFINISHED = "unfinished"
    FAILED = "failed"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class Job:
    """Something to do once.

    Attributes:
        name: for people.
        folder: where it leaves ``result.json``; it names the job.
        work: called as ``work(folder, *arguments, deadline=...)``; returns the result.
        arguments: picklable.
        needs: folders of jobs that must be finished first.
        cores: processor cores it uses.
        accelerated: whether it can use a GPU.
    """

    name: str
    folder: Path
    work: Work
    arguments: tuple[Any, ...] = ()
    needs: tuple[Path, ...] = ()
    cores: int = 1
    accelerated: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        job: the job.
        status: how it stands.
        message: what went wrong, one line.
        seconds: it took this long; 0 when it had been finished before.
    """

    job: Job
    status: Status
    message: str = ""
    seconds: float = 0.0


class Executor(Protocol):
    """Runs jobs, some at a time."""

    def submit(self, job: Job, deadline: float | None) -> None:
        """Takes a job whose needs are finished."""
        ...

    def wait(self) -> Outcome:
        """Blocks until a submitted job ends."""
        ...


@dataclass
class InProcess:
    """Runs jobs one after the other in this process: for tests and debugging."""

    waiting: list[tuple[Job, float | None]] = field(default_factory=list)

    def submit(self, job: Job, deadline: float | None) -> None:
        """Takes a job."""
        self.waiting.append((job, deadline))

    def wait(self) -> Outcome:
        """Runs the oldest job."""
        return perform(*self.waiting.pop(0))


def perform(job: Job, deadline: float | None) -> Outcome:
    """Does a job unless it is done already; its prints go to ``log.txt`` in its folder.

    Args:
        job: what to do.
        deadline: seconds since the epoch; work that is not done by then stops and saves.
    """
    begun = time.monotonic()
    with store.owned(job.folder):
        if store.read_result(job.folder) is not None:
            return Outcome(job, Status.FINISHED)
        if deadline is not None and time.time() >= deadline:
            return Outcome(job, Status.UNFINISHED, "no time left")
        try:
            with _logged(job.folder / store.LOG):
                content = job.work(job.folder, *job.arguments, deadline=deadline)
            store.write_result(job.folder, content)
        except Unfinished as pause:
            return Outcome(job, Status.UNFINISHED, str(pause), time.monotonic() - begun)
        except Exception as error:
            store.write_text(job.folder / store.FAILURE, traceback.format_exc())
            message = f"{type(error).__name__}: {error}".splitlines()[0]
            return Outcome(job, Status.FAILED, message, time.monotonic() - begun)
    return Outcome(job, Status.FINISHED, "", time.monotonic() - begun)


@contextlib.contextmanager
def _logged(path: Path) -> Any:
    with (
        path.open("a", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        yield


def carry_out(
    jobs: Sequence[Job],
    executor: Executor,
    deadline: float | None = None,
    tell: Callable[[Outcome, int, int], None] = lambda outcome, done, total: None,
) -> dict[Path, Outcome]:
    """Does all jobs that can be done.

    Args:
        jobs: in any order; of two with one folder the first counts.
        executor: where they run.
        deadline: seconds since the epoch; nothing starts after it.
        tell: called with each outcome, how many jobs have ended, and how many there are to do.

    Returns:
        The outcome of every job by folder; those found finished are among them.
    """
    unique = {job.folder: job for job in reversed(jobs)}
    left = [unique[folder] for folder in dict.fromkeys(job.folder for job in jobs)]
    outcomes: dict[Path, Outcome] = {}
    for job in left:
        if store.read_result(job.folder) is not None:
            outcomes[job.folder] = Outcome(job, Status.FINISHED)
    left = [job for job in left if job.folder not in outcomes]
    found, total, running = len(outcomes), len(left), 0

    def end(outcome: Outcome) -> None:
        outcomes[outcome.job.folder] = outcome
        tell(outcome, len(outcomes) - found, total)

    while left or running:
        blocked = _blocked(left, outcomes)
        ready = [job for job in left if _ready(job, outcomes)]
        if not (blocked or ready or running):
            raise ValueError(f"{left[0].name}: needs a job that is not in the list")
        for outcome in blocked:
            end(outcome)
        for job in ready:
            executor.submit(job, deadline)
        running += len(ready)
        left = [job for job in left if job not in ready and job.folder not in outcomes]
        if running and not blocked:
            end(executor.wait())
            running -= 1
    return outcomes


def _ready(job: Job, outcomes: Mapping[Path, Outcome]) -> bool:
    return all(n in outcomes and outcomes[n].status == Status.FINISHED for n in job.needs)


def _blocked(jobs: Iterable[Job], outcomes: Mapping[Path, Outcome]) -> list[Outcome]:
    """Jobs that need one that has ended without a result."""
    found = []
    for job in jobs:
        ended = [outcomes[need] for need in job.needs if need in outcomes]
        failed = [outcome for outcome in ended if outcome.status != Status.FINISHED]
        if failed:
            why = f"{failed[0].job.name}: {failed[0].message}"
            found.append(Outcome(job, Status.BLOCKED, why))
    return found
