"""Writing in a thread, so that whoever receives messages never waits for the disk."""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from collections.abc import Callable

from s3k_ros.cameras.recording.writer import RecordingWriter, Topic

# What may wait for the disk: 1.7 s of four cameras with 1280 x 960 BGR images at 20 Hz.
QUEUE_BYTES = 2**29
# After this long everything received has reached the operating system.
FLUSH_S = 1.0


@dataclasses.dataclass(frozen=True)
class _Entry:
    topic: Topic
    data: bytes
    log_ns: int
    publish_ns: int


class BackgroundWriter:
    """Writes messages in its own thread; what the disk cannot take in time is dropped and counted.

    Args:
        writer: where to; the thread alone uses it, and closes it.
        failed: called once, from the thread, when it cannot write any more.
        queue_bytes: of messages that may wait.

    Attributes:
        dropped: messages that found the queue full.
    """

    def __init__(
        self,
        writer: RecordingWriter,
        failed: Callable[[BaseException], None],
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        self.dropped = 0
        self._writer, self._failed, self._limit = writer, failed, queue_bytes
        self._waiting: collections.deque[_Entry] = collections.deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._ended = False
        # No daemon: also after a second Ctrl-C the file is finished before the process ends.
        self._thread = threading.Thread(target=self._run, name="recording")
        self._thread.start()

    def put(self, topic: Topic, data: bytes, log_ns: int, publish_ns: int) -> None:
        """Hands a message over; returns at once."""
        with self._changed:
            if self._ended or self._bytes + len(data) > self._limit:
                self.dropped += 1
                return
            self._bytes += len(data)
            self._waiting.append(_Entry(topic, data, log_ns, publish_ns))
            self._changed.notify()

    def close(self) -> None:
        """Writes what waits, finishes the file and ends the thread."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            try:
                self._write_all()
            finally:
                self._writer.close()
        except BaseException as error:
            with self._changed:
                self._ended = True
            self._failed(error)

    def _write_all(self) -> None:
        flushed = time.monotonic()
        while (entry := self._next()) or not self._ended:
            if entry:
                channel = self._writer.add_topic(entry.topic)
                self._writer.write(channel, entry.data, entry.log_ns, entry.publish_ns)
            if time.monotonic() - flushed >= FLUSH_S:
                self._writer.flush()
                flushed = time.monotonic()

    def _next(self) -> _Entry | None:
        """The oldest message; None after a while without one, and at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended, FLUSH_S)
            if not self._waiting:
                return None
            entry = self._waiting.popleft()
            self._bytes -= len(entry.data)
            return entry
