"""A few threads that share the views of one set."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """Runs a function on several items side by side, in the caller's thread and in helpers.

    It pays where the function lets go of Python's lock, as OpenCV, ONNX Runtime and large NumPy
    arrays do.

    Args:
        threads: in all, the caller's among them.
    """

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        # Threads of a pool start with the first task that finds none idle.
        self._pool = ThreadPoolExecutor(max(threads - 1, 1), thread_name_prefix="views")

    def map(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """``work`` of every item, in the items' order; whoever is free takes the next one."""
        results: dict[int, R] = {}
        numbers = iter(range(len(items)))  # two threads never get the same one

        def take() -> None:
            for number in numbers:
                results[number] = work(items[number])

        helping: list[Future[None]] = []
        with contextlib.suppress(RuntimeError):  # the program ends, and a pool with it
            for _ in range(min(self.threads, len(items)) - 1):
                helping.append(self._pool.submit(take))
        take()
        for helper in helping:
            # On a busy machine a helper may not even have begun when all is done.
            if not helper.cancel():
                helper.result()
        return [results[number] for number in range(len(items))]
