"""One thread for slow work, which always takes the newest item."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestWorker(Generic[T]):
    """Runs a function on items in a thread; an item that waits is replaced by a newer one.

    Callbacks of a node stay short, and a node that is slower than its input skips instead of
    falling behind.

    Args:
        work: the function; what it raises ends the process through ``fail``.
        dropped: called for every item that was replaced before its turn.
        fail: called once, from the thread, with the exception of ``work``.
    """

    def __init__(
        self,
        work: Callable[[T], None],
        dropped: Callable[[], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._work = work
        self._dropped = dropped
        self._fail = fail
        self._changed = threading.Condition()
        self._item: T | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Hands an item over; returns at once."""
        with self._changed:
            replaced = self._item is not None
            self._item = item
            self._changed.notify()
        if replaced:
            self._dropped()

    def close(self, timeout_s: float = 2.0) -> None:
        """Ends the thread after the item it is at."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._item is not None)
                if self._ended:
                    return
                item, self._item = self._item, None
            try:
                self._work(item)  # type: ignore[arg-type]
            except BaseException as error:
                self._fail(error)
                return
