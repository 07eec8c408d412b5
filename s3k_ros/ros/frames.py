"""Where frames stand in the base frame: asked of TF only while somebody needs it."""

from __future__ import annotations

from collections.abc import Mapping

from rclpy.node import Node
from rclpy.time import Time
from tf2_ros import Buffer, TransformException, TransformListener

from s3k_ros.geometry.se3 import Transform
from s3k_ros.ros import conversions


class FrameLookup:
    """Listens to TF until every frame of a goal is known; `close` ends the listening.

    Args:
        node: the node.
        base: the frame in which they are wanted.
        frames: name of the frame for each field of the goal that is in another one.
    """

    def __init__(self, node: Node, base: str, frames: Mapping[str, str]) -> None:
        self._base, self._frames = base, frames
        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, node)
        self.problem = ""

    def poll(self) -> dict[str, Transform] | None:
        """``base_from_frame`` by field; None while one is missing: `problem` says which."""
        found = {}
        for field, frame in self._frames.items():
            try:
                message = self._buffer.lookup_transform(self._base, frame, Time())
            except TransformException as error:
                self.problem = f"{field} is in frame {frame!r}: {error}"
                return None
            found[field] = conversions.transform_from_message(message.transform)
        return found

    def close(self) -> None:
        """Listens no more."""
        self._listener.unregister()
