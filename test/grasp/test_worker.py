"""Planning in a thread: a defect ends a grasp with a code, never in silence."""

from __future__ import annotations

import time
from types import SimpleNamespace

from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.planning.worker import ThreadedPlanner
from s3k_ros.grasp.tasks.events import NotPlanned


def test_a_defect_of_the_planner_ends_as_internal_and_names_it() -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("no such posture")

    planner = ThreadedPlanner(SimpleNamespace(plan=fails, correct=fails))
    planner.submit(None, None, None, correction=False)
    end = time.monotonic() + 30.0
    while (found := planner.poll()) is None and time.monotonic() < end:
        time.sleep(0.01)
    planner.close()
    assert isinstance(found, NotPlanned)
    assert found.refusal.code is GraspCode.INTERNAL
    assert "no such posture" in found.refusal.message
