from __future__ import annotations

import threading

import pytest

from s3k_ros.perception.workers import Workers


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_results_come_in_the_order_of_the_items(threads: int, count: int) -> None:
    workers = Workers(threads)
    assert workers.map(lambda x: x * x, range(count)) == [x * x for x in range(count)]


def test_items_are_worked_on_side_by_side() -> None:
    meeting = threading.Barrier(2)
    assert len(set(Workers(2).map(lambda _: meeting.wait(10.0), range(2)))) == 2


def test_error_of_any_item_reaches_the_caller_and_the_next_call_works() -> None:
    workers = Workers(2)
    for wrong in range(4):
        with pytest.raises(ZeroDivisionError):
            workers.map(lambda x, wrong=wrong: 1 / (x - wrong), range(4))
    assert workers.map(str, range(3)) == ["0", "1", "2"]
