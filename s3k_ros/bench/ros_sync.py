"""The ROS part of `s3k bench sync`: message_filters on messages that are handed to it at once."""

from __future__ import annotations

import time
from collections.abc import Sequence

import message_filters
from builtin_interfaces.msg import Time
from message_filters import ApproximateTimeSynchronizer, SimpleFilter
from sensor_msgs.msg import Image

# Messages that it keeps of each camera: the 10 of most examples.
QUEUE = 10

# Camera's number, stamp in ns, number of the trigger.
Stamped = tuple[int, int, int]


def implementation() -> str:
    """Whose message_filters it is: upstream's, or our stand-in where ROS comes from wheels."""
    stands_in = (message_filters.__doc__ or "").startswith("Stand-in")
    return "stand-in of underlay/" if stands_in else "upstream"


def match(cameras: int, frames: Sequence[Stamped], slop_s: float) -> tuple[list[set[int]], float]:
    """What ApproximateTimeSynchronizer makes of frames in order of receipt.

    Args:
        cameras: how many.
        frames: without images: it looks at stamps alone.
        slop_s: largest difference of the stamps within a set.

    Returns:
        The triggers of each set (one, unless it is mispaired), and the seconds of processor time.
    """
    inputs = [SimpleFilter() for _ in range(cameras)]
    sets: list[set[int]] = []
    matcher = ApproximateTimeSynchronizer(inputs, QUEUE, slop_s)
    matcher.registerCallback(lambda *images: sets.append({image.step for image in images}))
    messages = [(inputs[camera], _message(stamp, trigger)) for camera, stamp, trigger in frames]
    begun = time.thread_time()
    for source, message in messages:
        source.signalMessage(message)
    return sets, time.thread_time() - begun


def _message(stamp_ns: int, trigger: int) -> Image:
    """An image that carries its trigger's number in a field that nobody reads."""
    message = Image(step=trigger)
    message.header.stamp = Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return message
