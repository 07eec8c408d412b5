"""Ending a run early without losing it: SIGTERM, Ctrl-C and a limit of time."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Says when a run shall end at the next step.

    Args:
        minutes: from now; None: no limit.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self.received: signal.Signals | None = None
        self._until = None if minutes is None else time.monotonic() + 60.0 * minutes

    @property
    def asked(self) -> bool:
        """Whether a signal came or the time is up."""
        return self.received is not None or self.late

    @property
    def late(self) -> bool:
        """Whether the time is up."""
        return self._until is not None and time.monotonic() >= self._until

    @property
    def minutes_left(self) -> float | None:
        """None without a limit."""
        return None if self._until is None else max(0.0, (self._until - time.monotonic()) / 60)

    @contextlib.contextmanager
    def listening(self, *, pass_on: bool = True) -> Iterator[None]:
        """Catches the signals; only the main thread can, elsewhere this does nothing.

        A second signal ends at once, with a KeyboardInterrupt.

        Args:
            pass_on: on leaving, a signal that came is sent again, so that the program ends as it
                would have ended, and its caller is told.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # What is ignored stays so: a shell starts background jobs deaf to Ctrl-C.
        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._take) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if pass_on and self.received is not None:
            os.kill(os.getpid(), self.received)

    def _take(self, number: int, _: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        # Processes of a run on several devices hear of it from their parent.
        for child in multiprocessing.active_children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid or 0, number)
