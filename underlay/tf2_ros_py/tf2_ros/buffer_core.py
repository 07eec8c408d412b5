"""The tree of frames and the look-ups in it, without anything of ROS but the messages."""

import math
import threading

from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.logging import get_logger

from .cache import Edge, StaticCache, TimeCache, conjugate, multiply, rotate
from .exceptions import (
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TransformException,
)

IDENTITY = ((0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0))
MAX_DEPTH = 1000  # a longer chain is taken for a loop
QUATERNION_TOLERANCE = 0.01  # of the squared norm


class BufferCore:
    """Stores transforms and composes them."""

    def __init__(self, cache_time=None):
        cache_time = Duration(seconds=10) if cache_time is None else cache_time
        self._length = cache_time.nanoseconds
        self._caches = {}
        self._frames = set()
        self._lock = threading.RLock()

    def set_transform(self, transform, authority):
        self._store(transform, authority, is_static=False)

    def set_transform_static(self, transform, authority):
        self._store(transform, authority, is_static=True)

    def clear(self):
        """Forgets all that is not static; the frames stay known."""
        with self._lock:
            for cache in self._caches.values():
                cache.clear()

    def all_frames_as_string(self):
        with self._lock:
            return "".join(
                f"Frame {frame} exists with parent {cache.parent or 'NO_PARENT'}.\n"
                for frame, cache in self._caches.items()
            )

    def can_transform_core(self, target_frame, source_frame, time):
        """Whether a look-up would succeed, and if not why not."""
        try:
            self.lookup_transform_core(target_frame, source_frame, time)
        except TransformException as error:
            return False, str(error)
        return True, ""

    def lookup_transform_core(self, target_frame, source_frame, time):
        """The transform that takes coordinates in source_frame to target_frame."""
        stamp = _nanoseconds(time)
        with self._lock:
            if target_frame == source_frame:
                pose = IDENTITY
                if stamp == 0 and source_frame in self._caches:
                    stamp = self._caches[source_frame].latest
            else:
                self._check_frame("target_frame", target_frame)
                self._check_frame("source_frame", source_frame)
                if stamp == 0:
                    stamp = self._latest_common_time(target_frame, source_frame)
                pose = self._compose(target_frame, source_frame, stamp)
        return _message(target_frame, source_frame, stamp, *pose)

    def _store(self, message, authority, is_static):
        parent = message.header.frame_id.removeprefix("/")
        child = message.child_frame_id.removeprefix("/")
        r, t = message.transform.rotation, message.transform.translation
        edge = Edge(parent, (r.x, r.y, r.z, r.w), (t.x, t.y, t.z))
        if refusal := _refusal(child, edge):
            get_logger("tf2_buffer").error(
                f'ignoring the transform of "{child}" in "{parent}" from "{authority}": {refusal}'
            )
            return
        stamp = _nanoseconds(message.header.stamp)
        with self._lock:
            self._frames |= {parent, child}
            if is_static:
                self._caches[child] = StaticCache(edge)
                return
            if not isinstance(self._caches.get(child), TimeCache):
                self._caches[child] = TimeCache(self._length)
            if not self._caches[child].insert(stamp, edge):
                get_logger("tf2_buffer").warning(
                    f'ignoring old data for frame "{child}" at {stamp / 1e9:.6f} from "{authority}"'
                )

    def _check_frame(self, argument, frame):
        if not frame:
            raise InvalidArgumentException(f"{argument} is empty")
        if frame.startswith("/"):
            raise InvalidArgumentException(f'{argument} "{frame}" must not start with a slash')
        if frame not in self._frames:
            raise LookupException(f'"{frame}" passed as {argument} does not exist')

    def _ancestry(self, frame):
        """(frame, its latest stamp) from a frame up to its root, whose stamp is 0."""
        chain = []
        while len(chain) <= MAX_DEPTH:
            cache = self._caches.get(frame)
            if cache is None or cache.parent is None:
                return [*chain, (frame, 0)]
            chain.append((frame, cache.latest))
            frame = cache.parent
        raise LookupException("the frames form a loop:\n" + self.all_frames_as_string())

    def _latest_common_time(self, target, source):
        """Newest time that all moving frames between the two have data for; 0 if all are static."""
        up, down = self._ancestry(source), self._ancestry(target)
        ancestors = {frame for frame, _ in down}
        common = next((frame for frame, _ in up if frame in ancestors), None)
        if common is None:
            raise _unconnected(target, source)
        stamps = []
        for chain in (up, down):
            for frame, stamp in chain:
                if frame == common:
                    break
                stamps.append(stamp)
        return min((stamp for stamp in stamps if stamp), default=0)

    def _compose(self, target, source, stamp):
        """Rotation and translation of target_from_source."""
        pose, top, blocked = self._climb(source, target, stamp)
        if top == target:
            return pose
        other, end, missing = self._climb(target, top, stamp)
        if end != top:
            # Data may be missing on either side; then a path exists perhaps, but not at this time.
            error = missing or blocked
            if error is None:
                raise _unconnected(target, source)
            where = f"when looking up the transform from frame [{source}] to frame [{target}]"
            raise ExtrapolationException(f"{error}, {where}")
        rotation = conjugate(other[0])
        offset = tuple(p - q for p, q in zip(pose[1], other[1], strict=True))
        return multiply(rotation, pose[0]), rotate(rotation, offset)

    def _climb(self, frame, goal, stamp):
        """Composes from a frame up to the goal, or as high as there is data.

        Returns:
            The pose of `frame` in the frame that was reached, that frame, and the error that
            stopped it there (None at the goal and at a root).
        """
        rotation, translation = IDENTITY
        for _ in range(MAX_DEPTH):
            if frame == goal or frame not in self._caches:
                return (rotation, translation), frame, None
            try:
                edge = self._caches[frame].at(stamp)
            except ExtrapolationException as error:
                return (rotation, translation), frame, error
            moved = rotate(edge.rotation, translation)
            translation = tuple(p + q for p, q in zip(moved, edge.translation, strict=True))
            rotation = multiply(edge.rotation, rotation)
            frame = edge.parent
        raise LookupException("the frames form a loop:\n" + self.all_frames_as_string())


def _refusal(child, edge):
    if not child or not edge.parent:
        return "a frame's name is empty"
    if child == edge.parent:
        return "a frame cannot be its own parent"
    if any(math.isnan(number) for number in (*edge.rotation, *edge.translation)):
        return "it holds NaN"
    norm = sum(number * number for number in edge.rotation)
    if not abs(norm - 1.0) < QUATERNION_TOLERANCE:
        return f"its quaternion {edge.rotation} is not of unit length"
    return None


def _unconnected(target, source):
    return ConnectivityException(
        f"no connection between '{target}' and '{source}': they belong to different trees"
    )


def _nanoseconds(time):
    """From rclpy's Time or a message."""
    if hasattr(time, "nanoseconds"):
        return time.nanoseconds
    return time.sec * 10**9 + time.nanosec


def _message(target, source, stamp, rotation, translation):
    message = TransformStamped()
    message.header.frame_id = target
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
    message.child_frame_id = source
    t, r = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = translation
    r.x, r.y, r.z, r.w = rotation
    return message
