"""No two nodes of the same full name on one domain.

Two stacks on one ROS_DOMAIN_ID would mix their images and answer each other's actions, so the
second one refuses; of two that start together the older one stays. A node that was killed stays in
the graph for Fast DDS's lease (20 s): only a twin that still publishes `/diagnostics` counts.
Discovery usually takes 0.3 s, but one announcement lost costs 3 s: so a node looks before it does
anything, and again over its first seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from s3k_ros.errors import ConfigurationError
from s3k_ros.ros import diagnostics
from s3k_ros.ros.diagnostics import Diagnostics

DISCOVERY_S = 1.0
# A twin publishes its diagnostics once in PERIOD_S.
LISTEN_S = 3.0 * diagnostics.PERIOD_S
# Long enough for a second round of discovery and a second diagnostics message.
WATCH_S = 6.0
_POLL_S = 0.05
_UNKNOWN = "_NODE_NAME_UNKNOWN_"


class TwinGuard:
    """Keeps a node from running beside another one of its name, or one that publishes the same.

    Args:
        node: the node, which nobody spins yet.
        own: its diagnostics, which say who is who.
        fail: ends the node, once it runs.

    Raises:
        ConfigurationError: a twin lives; the message names the remedies.
    """

    def __init__(
        self, node: Node, own: Diagnostics, fail: Callable[[ConfigurationError], None]
    ) -> None:
        self._node = node
        self._own = own
        self._fail = fail
        self._exclusive: list[str] = []
        self._instances: dict[str, str] = {}  # of other nodes, by full name
        self._heard_twin = False
        self._twin = False  # an older one
        self._subscription = node.create_subscription(
            DiagnosticArray, diagnostics.TOPIC, self._look, 10
        )
        self._wait_for_discovery()
        self._end: float | None = None  # counts from the first spin: some nodes take long to build
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(0.5, self._watch, clock=steady)

    def claim(self, topic: str) -> None:
        """Makes a topic the node's own.

        Args:
            topic: its full name.

        Raises:
            ConfigurationError: another node publishes it.
        """
        self._exclusive.append(topic)
        if error := self._other_publisher():
            raise error

    def _wait_for_discovery(self) -> None:
        end = time.monotonic() + DISCOVERY_S
        while not self._in_graph_twice():
            if time.monotonic() > end:
                return
            time.sleep(_POLL_S)
        self._listen()
        if self._twin:
            raise self._twin_error()
        if self._heard_twin:
            return
        self._node.get_logger().warning(
            f"another {self._node.get_fully_qualified_name()} is in the graph but silent; it was "
            "probably killed"
        )

    def _listen(self) -> None:
        executor = SingleThreadedExecutor(context=self._node.context)
        executor.add_node(self._node)
        self._own.publish()  # so that a twin which starts at this moment sees us too
        end = time.monotonic() + LISTEN_S
        while not self._twin and time.monotonic() < end:
            executor.spin_once(timeout_sec=_POLL_S)
        self._own.publish()
        executor.remove_node(self._node)

    def _watch(self) -> None:
        if self._end is None:
            self._end = time.monotonic() + WATCH_S
        over = time.monotonic() > self._end
        error = self._twin_error() if self._twin else None
        if over and error is None:  # by now a younger publisher has refused, or told its age
            error = self._other_publisher()
        if error:
            self._fail(error)
        elif over:
            self._node.destroy_timer(self._timer)
            self._node.destroy_subscription(self._subscription)

    def _look(self, array: DiagnosticArray) -> None:
        for status in array.status:
            instance = diagnostics.instance_of(status)
            if instance is None:
                continue
            if self._own.is_other_instance(status):
                self._heard_twin = True
                self._twin = self._twin or instance < self._own.instance
            else:
                self._instances[status.hardware_id] = instance

    def _in_graph_twice(self) -> bool:
        found = self._node.get_node_names_and_namespaces()
        return found.count((self._node.get_name(), self._node.get_namespace())) > 1

    def _twin_error(self) -> ConfigurationError:
        return ConfigurationError(
            f"another {self._node.get_fully_qualified_name()} already runs on this ROS_DOMAIN_ID: "
            "a second stack on the same domain would mix with the first; set another "
            "ROS_DOMAIN_ID (0 to 101) or another namespace"
        )

    def _other_publisher(self) -> ConfigurationError | None:
        name = self._node.get_fully_qualified_name()
        for topic in self._exclusive:
            for info in self._node.get_publishers_info_by_topic(topic):
                other = f"{info.node_namespace.rstrip('/')}/{info.node_name}"
                younger = self._instances.get(other, "") > self._own.instance
                if info.node_name == _UNKNOWN or other == name or younger:
                    continue
                return ConfigurationError(
                    f"{other} already publishes {topic} on this ROS_DOMAIN_ID; set another "
                    f"ROS_DOMAIN_ID, another namespace or a remap for {name}"
                )
        return None
