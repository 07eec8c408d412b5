"""Planning beside the caller, in one thread of its own."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import Refusal
from s3k_ros.grasp.planning.place_planner import Plan
from s3k_ros.grasp.planning.planner import ArmState, Target
from s3k_ros.grasp.planning.task_planner import PlanGoal, TaskPlanner
from s3k_ros.grasp.tasks.events import NotPlanned, Planned


class ThreadedPlanner:
    """A ``PlannerPort`` over a ``TaskPlanner``, which only its thread uses."""

    def __init__(self, planner: TaskPlanner) -> None:
        self._planner = planner
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="grasp_planner")
        self._request: Future[Plan | Refusal] | None = None

    def submit(
        self, goal: PlanGoal, target: Target | None, start: ArmState, correction: bool
    ) -> None:
        """Begins to plan; an earlier request is forgotten."""
        if self._request is not None:
            self._request.cancel()
        work = self._planner.correct if correction else self._planner.plan
        self._request = self._pool.submit(work, goal, target, start)

    def poll(self) -> Planned | NotPlanned | None:
        """The result of the newest request, once; a defect of the planner ends as INTERNAL."""
        if self._request is None or not self._request.done():
            return None
        request, self._request = self._request, None
        error = request.exception()
        if error is not None:
            return NotPlanned(Refusal(GraspCode.INTERNAL, f"planner: {error!r}"))
        result = request.result()
        return NotPlanned(result) if isinstance(result, Refusal) else Planned(result)

    def close(self) -> None:
        """Lets the thread end."""
        self._pool.shutdown(wait=False, cancel_futures=True)
