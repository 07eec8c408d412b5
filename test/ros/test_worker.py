from __future__ import annotations

import threading

from s3k_ros.ros.worker import LatestWorker

PATIENCE_S = 10.0


def test_worker_skips_to_the_newest_item():
    entered, leave, done = threading.Event(), threading.Event(), threading.Event()
    worked, dropped = [], []

    def work(item):
        worked.append(item)
        entered.set()
        leave.wait(PATIENCE_S)
        if item == 4:
            done.set()

    worker = LatestWorker(work, lambda: dropped.append(1), lambda error: None)
    worker.put(1)
    assert entered.wait(PATIENCE_S)
    for item in (2, 3, 4):
        worker.put(item)
    leave.set()
    assert done.wait(PATIENCE_S)
    worker.close()
    assert worked == [1, 4]
    assert len(dropped) == 2


def test_worker_hands_its_error_over():
    failed = threading.Event()
    errors = []

    def fail(error):
        errors.append(error)
        failed.set()

    worker = LatestWorker(lambda item: 1 / item, lambda: None, fail)
    worker.put(0)
    assert failed.wait(PATIENCE_S)
    assert isinstance(errors[0], ZeroDivisionError)
    worker.close()
