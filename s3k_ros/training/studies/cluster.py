"""Jobs as Ray tasks: on this machine by default, on a cluster by address."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from s3k_ros.training.studies.jobs import Job, Outcome, Status, perform

_OBJECT_STORE_BYTES = 80 * 2**20
"""Results are files; only descriptions travel through Ray. This is about Ray's least."""
_RETRIES = 1
"""Ray starts a task again whose process vanished, for instance killed for memory."""


class RayTasks:
    """Runs jobs as Ray tasks.

    Args:
        gpus: part of a GPU that an accelerated job takes; 0: none.
    """

    def __init__(self, gpus: float = 0.0) -> None:
        import ray

        self._ray = ray
        self._gpus = gpus
        self._task = ray.remote(perform)
        self._running: dict[Any, Job] = {}

    def submit(self, job: Job, deadline: float | None) -> None:
        """Hands a job to Ray, which starts it when there is room."""
        options = {
            "name": job.name,
            "num_cpus": job.cores,
            "num_gpus": self._gpus if job.accelerated else 0,
            "max_retries": _RETRIES,
        }
        self._running[self._task.options(**options).remote(job, deadline)] = job

    def wait(self) -> Outcome:
        """Blocks until a job ends; a worker that died is a failed job."""
        ready, _ = self._ray.wait(list(self._running), num_returns=1)
        job = self._running.pop(ready[0])
        try:
            return self._ray.get(ready[0])
        except self._ray.exceptions.RayError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            return Outcome(job, Status.FAILED, f"{type(error).__name__}: {lines[-1].strip()}")


@contextmanager
def ray_tasks(
    address: str | None = None, jobs: int | None = None, gpus: float | None = None
) -> Iterator[RayTasks]:
    """Connects to a cluster, or starts Ray on this machine and ends it afterwards.

    Args:
        address: of a cluster, as ``ray://host:10001`` or "auto"; None: this machine. The folder of
            the study must be the same shared one everywhere, and s3k_ros installed everywhere.
        jobs: jobs at a time on this machine; None: one a core.
        gpus: part of a GPU for a job; None: a quarter where there is one.
    """
    # Neither telemetry nor a dashboard: a study is a command, not a service.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A job that asked for no GPU sees none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    os.environ.setdefault("MUJOCO_GL", "egl")
    import ray

    if address is None:
        ray.init(
            num_cpus=jobs or len(os.sched_getaffinity(0)),
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            log_to_driver=False,
            configure_logging=False,
        )
    else:
        environment = {"env_vars": {"MUJOCO_GL": os.environ["MUJOCO_GL"]}}
        ray.init(
            address=address, runtime_env=environment, log_to_driver=False, configure_logging=False
        )
    try:
        if gpus is None:
            gpus = 0.25 if ray.cluster_resources().get("GPU") else 0.0
        yield RayTasks(gpus)
    finally:
        ray.shutdown()
