"""No two nodes of the same full name on one domain.

Two stacks on one ROS_DOMAIN_ID would mix their images and answer each other's actions, so the
second one refuses to start. A node that was killed stays in the graph for Fast DDS's lease (20 s):
only a twin that still publishes `/diagnostics` counts.
"""

from __future__ import annotations

import time

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from s3k_ros.errors import ConfigurationError
from s3k_ros.ros import diagnostics
from s3k_ros.ros.diagnostics import Diagnostics

# Nodes on one machine find each other within 0.2 s; under load it takes longer.
DISCOVERY_S = 1.0
# A twin publishes its diagnostics once in PERIOD_S.
LISTEN_S = 3.0 * diagnostics.PERIOD_S
_POLL_S = 0.05


def refuse_twin(node: Node, own: Diagnostics) -> None:
    """Waits for discovery and looks for a living node of the same full name.

    Args:
        node: the node, which nobody spins yet.
        own: its diagnostics, which say who is who.

    Raises:
        ConfigurationError: there is one; the message names the remedies.
    """
    name = node.get_fully_qualified_name()
    end = time.monotonic() + DISCOVERY_S
    while not _in_graph_twice(node, name):
        if time.monotonic() > end:
            return
        time.sleep(_POLL_S)
    if _twin_lives(node, own):
        raise ConfigurationError(
            f"another {name} already runs on this ROS_DOMAIN_ID: a second stack on the same "
            "domain would mix with the first; set another ROS_DOMAIN_ID (0 to 101) or another "
            "namespace"
        )
    node.get_logger().warning(f"another {name} is in the graph but silent; it was probably killed")


def _in_graph_twice(node: Node, name: str) -> bool:
    found = [f"{ns.rstrip('/')}/{n}" for n, ns in node.get_node_names_and_namespaces()]
    return found.count(name) > 1


def _twin_lives(node: Node, own: Diagnostics) -> bool:
    seen = False

    def look(array: DiagnosticArray) -> None:
        nonlocal seen
        seen = seen or any(own.is_other_instance(status) for status in array.status)

    subscription = node.create_subscription(DiagnosticArray, diagnostics.TOPIC, look, 10)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    own.publish()  # so that a twin which starts at this moment sees us too
    end = time.monotonic() + LISTEN_S
    while not seen and time.monotonic() < end:
        executor.spin_once(timeout_sec=_POLL_S)
    own.publish()
    executor.remove_node(node)
    node.destroy_subscription(subscription)
    return seen
