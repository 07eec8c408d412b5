"""What the grasp server listens to: keypoints, joint states and wrench.

Joint states and wrench come a hundred times a second and are looked at only while a grasp runs, so
they are kept as bytes until then: reading them all would cost more than the grasp. Whoever must act
on a message at once gives a function that is called when one came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import WrenchStamped
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

from s3k_ros.grasp.codes import KeypointStatus
from s3k_ros.grasp.jaws import width_from_joint
from s3k_ros.grasp.ports import JointReading, RobotReading, WrenchReading
from s3k_ros.grasp.tasks.gates import KeypointReading
from s3k_ros.msg import Keypoint3DArray, KeypointModel, RobotState
from s3k_ros.params.grasp import RobotParameters
from s3k_ros.ros import qos
from s3k_ros.ros.conversions import nanoseconds
from s3k_ros.ros.node import S3kNode

# As much as the judgements on the wrench look back, at 100 Hz.
_WRENCHES = 40
_JOINT_STATES = 4

Heard = Callable[[], None]


def _nobody() -> None:
    """Nobody must act at once."""


class NodeClock:
    """The node's clock in seconds: ROS time, simulated or not."""

    def __init__(self, node: S3kNode) -> None:
        self._clock = node.get_clock()

    def now(self) -> float:
        """Seconds."""
        return float(1e-9 * self._clock.now().nanoseconds)


class KeypointTopic:
    """The newest set of `keypoints`, and the names from the latched `keypoint_model`.

    Sets in another frame than the base are refused: the diagnostics say so.
    """

    def __init__(self, node: S3kNode, clock: NodeClock, base_frame: str, timeout_s: float) -> None:
        self._clock = clock
        self._base_frame = base_frame
        self._model: KeypointModel | None = None
        self._newest: Keypoint3DArray | None = None
        self._received_at = 0.0
        self.sets = 0
        self._stream = node.diagnostics.stream("keypoints", timeout_s)
        node.listen(Keypoint3DArray, "keypoints", self._on_keypoints, qos.keypoints())
        node.listen(KeypointModel, "keypoint_model", self._on_model, qos.latched())

    @property
    def object_id(self) -> str:
        """The running model's object; empty while not known."""
        source = self._model or self._newest
        return "" if source is None else str(source.object_id)

    @property
    def names(self) -> tuple[str, ...]:
        """The model's keypoints; empty while not known."""
        if self._model is not None:
            return tuple(self._model.names)
        if self._newest is not None:
            return tuple(keypoint.name for keypoint in self._newest.keypoints)
        return ()

    def latest(self, name: str) -> KeypointReading | None:
        """The newest reading of a keypoint."""
        for keypoint in () if self._newest is None else self._newest.keypoints:
            if keypoint.name == name:
                p = keypoint.position
                return KeypointReading(
                    name=name,
                    status=KeypointStatus(keypoint.status),
                    position=np.array([p.x, p.y, p.z]),
                    covariance=np.array(keypoint.covariance).reshape(3, 3),
                    confidence=float(keypoint.confidence),
                    received_at=self._received_at,
                    source=keypoint,
                )
        return None

    def _on_keypoints(self, message: Keypoint3DArray) -> None:
        now = self._clock.now()
        if message.header.frame_id != self._base_frame:
            self._stream.refuse(
                f"keypoints are in frame {message.header.frame_id!r}, not in the base frame "
                f"{self._base_frame!r}"
            )
            return
        self._stream.tick(latency_s=now - 1e-9 * nanoseconds(message.header.stamp))
        self._newest, self._received_at = message, now
        self.sets += 1

    def _on_model(self, message: KeypointModel) -> None:
        self._model = message


class _RawTopic:
    """The last messages of a topic as bytes, each with its time of receipt."""

    def __init__(
        self,
        node: S3kNode,
        clock: NodeClock,
        kind: type,
        topic: str,
        keep: int,
        timeout_s: float,
        heard: Heard,
    ) -> None:
        self._clock = clock
        self._heard = heard
        self._kind = kind
        self._stream = node.diagnostics.stream(topic, timeout_s)
        self._raw: deque[tuple[bytes, float]] = deque(maxlen=keep)
        options = node.subscription_options(topic)
        node.create_subscription(kind, topic, self._take, qos.sensors(), raw=True, **options)

    def drain(self) -> list[tuple[Any, float]]:
        """Messages since the last call, at most as many as are kept, oldest first."""
        taken, self._raw = self._raw, deque(maxlen=self._raw.maxlen)
        return [(deserialize_message(raw, self._kind), received) for raw, received in taken]

    def _take(self, raw: bytes) -> None:
        self._stream.tick()
        self._raw.append((raw, self._clock.now()))
        self._heard()


class JointStateTopic:
    """The newest positions of the arm's joints and of the jaws."""

    def __init__(
        self,
        node: S3kNode,
        clock: NodeClock,
        topic: str,
        robot: RobotParameters,
        timeout_s: float,
        heard: Heard = _nobody,
    ) -> None:
        self._topic = _RawTopic(node, clock, JointState, topic, _JOINT_STATES, timeout_s, heard)
        self._robot = robot
        self._width: float | None = None
        self._reading: JointReading | None = None

    def latest(self) -> JointReading | None:
        """The newest reading; joint states that lack one of the arm's joints do not count."""
        for message, received_at in self._topic.drain():
            positions = dict(zip(message.name, message.position, strict=False))
            if self._robot.gripper_joint in positions:
                knuckle = positions[self._robot.gripper_joint]
                self._width = width_from_joint(knuckle, self._robot)
            arm = [positions.get(name, np.nan) for name in self._robot.arm_joints]
            if np.isfinite(arm).all():
                stamp = 1e-9 * nanoseconds(message.header.stamp) or None
                self._reading = JointReading(np.array(arm), self._width, received_at, stamp)
        return self._reading


class WrenchTopic:
    """The forces at the wrist of the last fraction of a second; what is not finite is a fault.

    Args:
        node: the node.
        clock: its clock.
        topic: of the sensor.
        timeout_s: of its silence, for `/diagnostics`.
        heard: called after each message.
        frame: readings in other frames count as none, and are reported; empty: any frame will do.
    """

    def __init__(
        self,
        node: S3kNode,
        clock: NodeClock,
        topic: str,
        timeout_s: float,
        heard: Heard = _nobody,
        frame: str = "",
    ) -> None:
        self._node, self._frame = node, frame
        self._topic = _RawTopic(node, clock, WrenchStamped, topic, _WRENCHES, timeout_s, heard)
        self._recent: deque[WrenchReading] = deque(maxlen=_WRENCHES)

    def recent(self) -> tuple[WrenchReading, ...]:
        """Readings, oldest first; empty without a sensor."""
        for message, received_at in self._topic.drain():
            frame = message.header.frame_id
            if self._frame and frame not in ("", self._frame):
                self._node.get_logger().error(
                    f"the wrench is in frame {frame!r}, not in robot.wrench_frame, "
                    f"{self._frame!r}: the tool's weight cannot be taken off, so it is not used",
                    throttle_duration_sec=10.0,
                )
                continue
            f = message.wrench.force
            self._recent.append(WrenchReading(np.array([f.x, f.y, f.z]), received_at))
        return tuple(self._recent)


class RobotStateTopic:
    """What the robot says of itself.

    Args:
        node: the node.
        clock: its clock.
        topic: name.
        timeout_s: silence after which diagnostics call it stale.
        heard: called at each message.
    """

    def __init__(
        self, node: S3kNode, clock: NodeClock, topic: str, timeout_s: float, heard: Heard = _nobody
    ) -> None:
        self._clock = clock
        self._heard = heard
        self._newest: RobotReading | None = None
        self._stream = node.diagnostics.stream(topic, timeout_s)
        node.listen(RobotState, topic, self._take, qos.latched())

    def latest(self) -> RobotReading | None:
        """The newest reading, None while none came."""
        return self._newest

    def _take(self, message: RobotState) -> None:
        self._stream.tick()
        self._newest = RobotReading(
            self._clock.now(),
            connected=message.connected,
            enabled=message.enabled,
            stopped=message.stopped,
            error=message.error,
            collision=message.collision,
            reason=message.reason,
        )
        self._heard()
