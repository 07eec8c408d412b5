"""The buffer that nodes use: waiting, and clearing when the clock jumps back."""

import threading
import time as wall

from rclpy.clock import Clock, JumpThreshold
from rclpy.duration import Duration
from rclpy.logging import get_logger
from rclpy.task import Future

from .buffer_core import BufferCore

POLL_S = 0.02


class Buffer(BufferCore):
    """Transforms of the last `cache_time` (10 s). Upstream's service `tf2_frames` is left out."""

    def __init__(self, cache_time=None, node=None):
        super().__init__(cache_time)
        self._waiting = []
        self._waiting_lock = threading.RLock()
        self.clock = Clock() if node is None else node.get_clock()
        threshold = JumpThreshold(
            min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=True
        )
        self.jump_handle = self.clock.create_jump_callback(
            threshold, post_callback=self.time_jump_callback
        )

    def time_jump_callback(self, time_jump):
        get_logger("tf2_buffer").warning("the clock jumped back: clearing the buffer")
        self.clear()

    def set_transform(self, transform, authority):
        super().set_transform(transform, authority)
        self._serve_waiting()

    def set_transform_static(self, transform, authority):
        super().set_transform_static(transform, authority)
        self._serve_waiting()

    # Upstream's default arguments are Duration() too; it is immutable.
    def lookup_transform(self, target_frame, source_frame, time, timeout=Duration()):  # noqa: B008
        """The transform from source to target; blocks its thread up to `timeout`."""
        self.can_transform(target_frame, source_frame, time, timeout)
        return self.lookup_transform_core(target_frame, source_frame, time)

    def can_transform(
        self,
        target_frame,
        source_frame,
        time,
        timeout=Duration(),  # noqa: B008
        return_debug_tuple=False,
    ):
        """Whether a look-up would succeed within `timeout` of wall time."""
        deadline = wall.monotonic() + timeout.nanoseconds / 1e9
        result = self.can_transform_core(target_frame, source_frame, time)
        while not result[0] and wall.monotonic() < deadline:
            wall.sleep(POLL_S)
            result = self.can_transform_core(target_frame, source_frame, time)
        return result if return_debug_tuple else result[0]

    async def lookup_transform_async(self, target_frame, source_frame, time):
        """As lookup_transform, awaited instead of blocking."""
        await self.wait_for_transform_async(target_frame, source_frame, time)
        return self.lookup_transform_core(target_frame, source_frame, time)

    def wait_for_transform_async(self, target_frame, source_frame, time):
        """A future that holds the transform as soon as there is one."""
        future = Future()
        with self._waiting_lock:
            self._waiting.append((future, (target_frame, source_frame, time)))
            self._serve_waiting()
        return future

    def _serve_waiting(self):
        with self._waiting_lock:
            for future, request in self._waiting:
                if not future.done() and self.can_transform_core(*request)[0]:
                    future.set_result(self.lookup_transform_core(*request))
            self._waiting = [item for item in self._waiting if not item[0].done()]
