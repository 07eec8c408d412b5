"""Stand-in for upstream's message_filters: what s3k_ros uses, with the same matching result."""

import itertools
import threading

from rclpy.clock import ROSClock
from rclpy.duration import Duration
from rclpy.logging import get_logger
from rclpy.time import Time

__all__ = ["ApproximateTimeSynchronizer", "SimpleFilter", "Subscriber", "TimeSynchronizer"]


class SimpleFilter:
    """Something that hands messages on to callbacks."""

    def __init__(self):
        self.callbacks = {}

    def registerCallback(self, cb, *args):
        """Calls `cb(*messages, *args)` for everything that comes out; returns a number for it."""
        connection = len(self.callbacks)
        self.callbacks[connection] = (cb, args)
        return connection

    def signalMessage(self, *msg):
        for callback, args in list(self.callbacks.values()):
            callback(*msg, *args)


class Subscriber(SimpleFilter):
    """A subscription as the source of a chain: Subscriber(node, type, topic, **options)."""

    def __init__(self, node, msg_type, topic, qos_profile=10, **kwargs):
        super().__init__()
        self.node = node
        self.topic = topic
        self.sub = node.create_subscription(msg_type, topic, self.callback, qos_profile, **kwargs)

    def callback(self, msg):
        self.signalMessage(msg)

    def getTopic(self):
        return self.topic

    def __getattr__(self, key):
        # Upstream's subscriber answers for its subscription as well.
        if key == "sub":
            raise AttributeError(key)
        return getattr(self.sub, key)


class TimeSynchronizer(SimpleFilter):
    """Hands on one message of every input once their stamps are equal.

    Each input keeps its `queue_size` messages with the newest stamps.
    """

    def __init__(self, fs, queue_size):
        super().__init__()
        self.queue_size = queue_size
        self.lock = threading.Lock()
        self.connectInput(fs)

    def connectInput(self, fs):
        self.queues = [{} for _ in fs]
        self.input_connections = [
            source.registerCallback(self.add, queue, index)
            for index, (source, queue) in enumerate(zip(fs, self.queues, strict=True))
        ]

    def add(self, msg, my_queue, my_queue_index=None):
        with self.lock:
            self._keep(msg, my_queue, Time.from_msg(msg.header.stamp).nanoseconds)
            for stamp in sorted(set.intersection(*map(set, self.queues))):
                self._hand_on([stamp] * len(self.queues))

    def _keep(self, msg, queue, stamp):
        queue[stamp] = msg
        while len(queue) > self.queue_size:
            del queue[min(queue)]

    def _hand_on(self, stamps):
        """Signals the set with these stamps, one for each queue, and forgets it."""
        matched = list(zip(self.queues, stamps, strict=True))
        self.signalMessage(*(queue[stamp] for queue, stamp in matched))
        for queue, stamp in matched:
            del queue[stamp]


class ApproximateTimeSynchronizer(TimeSynchronizer):
    """Hands on one message of every input once their stamps lie less than `slop` seconds apart.

    A new message looks for partners: in every other queue those within the slop, nearest first.
    The first combination in that order whose whole spread is below the slop goes out.
    """

    def __init__(self, fs, queue_size, slop, allow_headerless=False):
        super().__init__(fs, queue_size)
        self.slop = Duration(seconds=slop)
        self.allow_headerless = allow_headerless

    def add(self, msg, my_queue, my_queue_index=None):
        if hasattr(msg, "header") and hasattr(msg.header, "stamp"):
            new = Time.from_msg(msg.header.stamp).nanoseconds
        elif self.allow_headerless:
            new = ROSClock().now().nanoseconds
        else:
            get_logger("message_filters_approx").warning(
                "dropped a message without header.stamp: allow_headerless is off"
            )
            return
        slop = self.slop.nanoseconds
        with self.lock:
            self._keep(msg, my_queue, new)
            candidates = []
            for index, queue in enumerate(self.queues):
                if index == my_queue_index:
                    candidates.append([new])
                    continue
                near = [stamp for stamp in queue if abs(stamp - new) <= slop]
                if not near:
                    return
                candidates.append(sorted(near, key=lambda stamp: abs(stamp - new)))
            for stamps in itertools.product(*candidates):
                # The new message is gone already when its queue was full of newer ones.
                present = all(s in q for q, s in zip(self.queues, stamps, strict=True))
                if present and max(stamps) - min(stamps) < slop:
                    self._hand_on(stamps)
                    return
