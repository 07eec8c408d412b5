"""The recorder of `s3k record`: serialized messages from the wire into an MCAP file.

Nothing is deserialised. Topics are looked for all the time, so that the order in which nodes start
does not matter; each is subscribed with the QoS that its publishers offer, as rosbag2 does.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.topic_endpoint_info import TopicEndpointInfo

from s3k_ros.cameras.recording.background import BackgroundWriter
from s3k_ros.cameras.recording.definitions import full_definition
from s3k_ros.cameras.recording.writer import RecordingWriter, Topic
from s3k_ros.errors import ConfigurationError
from s3k_ros.ros.diagnostics import Level, Report
from s3k_ros.ros.node import S3kNode

# What a rig and its perception publish, in any namespace.
DEFAULT_TOPICS = (
    "*/image_raw",
    "*/camera_info",
    "*/keypoints_2d",
    "*/keypoints",
    "*/keypoint_model",
    "/tf",
    "/tf_static",
    "/diagnostics",
)
# The simulated cell's view for people is no camera of the rig, and rendering it takes time.
DEFAULT_EXCLUDED = ("*/scene/*",)
# Messages of a topic that may wait in DDS while others are taken.
_DEPTH = 100
# Images are large and wait in shared memory that the publisher shares out.
_IMAGE_DEPTH = 30
_LOOK_S = 0.5
_IMAGE = "sensor_msgs/msg/Image"


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which topics to record: patterns of the shell's kind on whole names."""

    topics: tuple[str, ...] = DEFAULT_TOPICS
    excluded: tuple[str, ...] = DEFAULT_EXCLUDED

    def wants(self, topic: str) -> bool:
        """Whether a topic is to be recorded."""
        return _matches(topic, self.topics) and not _matches(topic, self.excluded)


def _matches(topic: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(topic, pattern) for pattern in patterns)


class RecorderNode(S3kNode):
    """Records the selected topics until it is closed.

    Args:
        writer: a new file.
        selection: which topics.

    Attributes:
        writer: for its counts.
    """

    def __init__(self, writer: RecordingWriter, selection: Selection) -> None:
        super().__init__(f"recorder_{time.time_ns()}", alone=False)
        self.writer, self._selection = writer, selection
        self._background = BackgroundWriter(writer, self.fail)
        self._lost: dict[str, int] = {}
        self._known: dict[str, str] = {}
        self.diagnostics.add("recording", self._report)
        self.create_timer(_LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._look()

    @property
    def drops(self) -> str:
        """How many messages did not reach the file, and why."""
        lost, slow = sum(self._lost.values()), self._background.dropped
        if not lost + slow:
            return "0 dropped"
        return f"{lost + slow} dropped ({lost} on the way, {slow} because the disk is too slow)"

    @property
    def topics(self) -> tuple[str, ...]:
        """What is being recorded."""
        return tuple(sorted(self._known))

    def close(self) -> None:
        """Finishes the file."""
        if hasattr(self, "_background"):
            self._background.close()

    def _look(self) -> None:
        """Subscribes to topics that are new and have a publisher."""
        for name, kinds in self.get_topic_names_and_types():
            if name in self._known or not self._selection.wants(name):
                continue
            offers = self.get_publishers_info_by_topic(name)
            if offers:
                self._known[name] = kinds[0]
                self._subscribe(name, kinds, offers)

    def _subscribe(self, name: str, kinds: list[str], offers: list[TopicEndpointInfo]) -> None:
        try:
            if len(kinds) > 1:
                raise ConfigurationError(f"it has several types: {', '.join(kinds)}")
            kind, definition = _message_class(kinds[0]), full_definition(kinds[0], _definition)
        except ConfigurationError as error:
            self.get_logger().warning(f"{name} is not recorded: {error}")
            return
        qos = [offer.qos_profile for offer in offers]
        topic = Topic(name, kinds[0], definition, qos_text(qos), _type_hash(offers[0]))
        profile = request(qos, _IMAGE_DEPTH if kinds[0] == _IMAGE else _DEPTH)
        events = SubscriptionEventCallbacks(
            message_lost=partial(self._on_lost, name),
            incompatible_qos=self._mismatch(name, "publisher"),
        )
        # Its two free arguments tell rclpy that it wants a message's info too.
        take = partial(self._on_message, topic)
        self.create_subscription(kind, name, take, profile, raw=True, event_callbacks=events)
        self.get_logger().info(f"records {name}")

    def _on_message(self, topic: Topic, data: bytes, info: dict[str, int]) -> None:
        received = info.get("received_timestamp") or time.time_ns()
        self._background.put(topic, data, received, info.get("source_timestamp") or received)

    def _on_lost(self, topic: str, event: Any) -> None:
        self._lost[topic] = event.total_count

    def _report(self) -> Report:
        writer = self.writer
        values = {"messages": writer.messages, "megabytes": 1e-6 * writer.bytes}
        values |= {f"lost {topic}": count for topic, count in self._lost.items() if count}
        values["too slow to write"] = self._background.dropped
        if any(self._lost.values()) or self._background.dropped:
            return Report(Level.WARN, f"messages: {self.drops}", values)
        return Report(Level.OK, f"{writer.messages} messages", values)


def request(offers: Sequence[QoSProfile], depth: int) -> QoSProfile:
    """A profile that fits all publishers, as rosbag2 chooses it: the strictest that all offer."""
    reliable = all(offer.reliability == ReliabilityPolicy.RELIABLE for offer in offers)
    latched = all(offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def qos_text(offers: Sequence[QoSProfile]) -> str:
    """The publishers' profiles as the channel metadata ``offered_qos_profiles``.

    With numbers for the policies, as rosbag2 wrote them before Jazzy: Jazzy and later read these
    too, while older ones do not read names.
    """
    return str(yaml.safe_dump([_plain(offer) for offer in offers], sort_keys=False))


def _plain(offer: QoSProfile) -> dict[str, object]:
    return {
        "history": int(offer.history),
        "depth": offer.depth,
        "reliability": int(offer.reliability),
        "durability": int(offer.durability),
        "deadline": _duration(offer.deadline),
        "lifespan": _duration(offer.lifespan),
        "liveliness": int(offer.liveliness),
        "liveliness_lease_duration": _duration(offer.liveliness_lease_duration),
        "avoid_ros_namespace_conventions": bool(offer.avoid_ros_namespace_conventions),
    }


def _duration(duration: Duration) -> dict[str, int]:
    sec, nsec = divmod(int(duration.nanoseconds), 1_000_000_000)
    return {"sec": sec, "nsec": nsec}


def _message_class(kind: str) -> type:
    package, _, name = kind.partition("/msg/")
    try:
        found: type = getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError):
        raise ConfigurationError(f"its type {kind} is not installed here") from None
    return found


def _definition(package: str, name: str) -> str:
    try:
        folder = get_package_share_directory(package)
        with open(f"{folder}/msg/{name}.msg", encoding="utf-8") as file:
            return file.read()
    except (PackageNotFoundError, OSError) as error:
        raise ConfigurationError(f"no definition of {package}/{name}: {error}") from None


def _type_hash(offer: TopicEndpointInfo) -> str:
    known = offer.topic_type_hash
    value = bytes(known.value)
    return f"RIHS{known.version:02d}_{value.hex()}" if any(value) else ""
