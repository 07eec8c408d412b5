"""The base of our nodes and the one way to run them."""

from __future__ import annotations

import gc
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import rclpy
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, qos_policy_name_from_kind
from rclpy.subscription import Subscription

from s3k_ros.errors import S3kError
from s3k_ros.params.base import Parameters
from s3k_ros.ros import parameters, qos
from s3k_ros.ros.diagnostics import Diagnostics, Level, Report
from s3k_ros.ros.twin import TwinGuard

P = TypeVar("P", bound=Parameters)

_SIGNAL_GRACE_S = 0.3
EXIT_REFUSED = 2

# rclpy's own parameters, which nobody here declares.
_BUILT_IN = ("use_sim_time", "start_type_description_service")


class S3kNode(Node):
    """A node with closed parameters, diagnostics, overridable QoS, and no twin on its domain.

    Args:
        name: the node's name.
        alone: refuse to start beside another node of the same full name.
        **kwargs: for `rclpy.node.Node`.

    Raises:
        ConfigurationError: another node of the same full name runs on this ROS_DOMAIN_ID.
    """

    def __init__(self, name: str, *, alone: bool = True, **kwargs: Any) -> None:
        super().__init__(name, automatically_declare_parameters_from_overrides=True, **kwargs)
        self.failure: BaseException | None = None
        self._declared = set(_BUILT_IN)
        self._qos_mismatches: dict[str, str] = {}
        self.diagnostics = Diagnostics(self)
        self.diagnostics.add("qos", self._report_qos)
        self._guard = TwinGuard(self, self.diagnostics, self.fail) if alone else None

    def declare(
        self, kind: type[P], prefix: str = "", on_change: Callable[[P], None] | None = None
    ) -> P:
        """Declares the parameters of a class, see `s3k_ros.ros.parameters.declare`."""
        start = f"{prefix}." if prefix else ""
        self._declared.update(start + info.name for info in kind.describe())
        return parameters.declare(self, kind, prefix, on_change)

    def allow_parameters(self, names: Iterable[str]) -> None:
        """Makes names known that are declared later, or perhaps never."""
        self._declared.update(names)

    def refuse_unknown_parameters(self) -> None:
        """Refuses keys that no class declares; `run_node` calls it after construction.

        Raises:
            ConfigurationError: an unknown key, named with its nearest valid ones.
        """
        parameters.refuse_unknown(self, self._declared)

    def advertise(
        self, kind: type, topic: str, profile: QoSProfile, *, exclusive: bool = False
    ) -> Publisher:
        """A publisher whose QoS can be overridden and whose QoS mismatches are reported.

        Args:
            kind: message type.
            topic: topic name, relative to the node's namespace.
            profile: from `s3k_ros.ros.qos`.
            exclusive: refuse to start when another node publishes on this topic.

        Raises:
            ConfigurationError: the topic has another publisher and shall be exclusive.
        """
        if exclusive and self._guard:
            self._guard.claim(self.resolve_topic_name(topic))
        events = PublisherEventCallbacks(incompatible_qos=self._mismatch(topic, "subscriber"))
        return self.create_publisher(
            kind, topic, profile, event_callbacks=events, qos_overriding_options=qos.OVERRIDABLE
        )

    def listen(
        self, kind: type, topic: str, callback: Callable[[Any], None], profile: QoSProfile
    ) -> Subscription:
        """A subscription whose QoS can be overridden and whose QoS mismatches are reported."""
        return self.create_subscription(
            kind, topic, callback, profile, **self.subscription_options(topic)
        )

    def subscription_options(self, topic: str) -> dict[str, Any]:
        """The keyword arguments that `listen` gives, for `message_filters.Subscriber`."""
        events = SubscriptionEventCallbacks(incompatible_qos=self._mismatch(topic, "publisher"))
        return {"event_callbacks": events, "qos_overriding_options": qos.OVERRIDABLE}

    def now_ns(self) -> int:
        """The node's time, simulated or not."""
        return int(self.get_clock().now().nanoseconds)

    def fail(self, error: BaseException) -> None:
        """Ends the node because of an error in one of its threads.

        Once the node is ending, what its threads were at may fail: that is no error.
        """
        if self.context.ok():
            self.failure = error
            self.context.try_shutdown()

    def close(self) -> None:
        """Ends threads and devices; `run_node` calls it before the node is destroyed."""

    def _mismatch(self, topic: str, other: str) -> Callable[[Any], None]:
        def report(event: Any) -> None:
            policy = qos_policy_name_from_kind(event.last_policy_kind)
            text = f"a {other} of {topic} has an incompatible {policy}: no messages pass"
            self._qos_mismatches[topic] = text
            self.get_logger().error(
                f"{text}; adapt it, or set qos_overrides.{self.resolve_topic_name(topic)}.*"
            )

        return report

    def _report_qos(self) -> Report:
        if not self._qos_mismatches:
            return Report()
        return Report(Level.ERROR, "; ".join(self._qos_mismatches.values()))


def run_node(factory: Callable[[], S3kNode], args: list[str] | None = None) -> int:
    """Runs one node until it is told to stop.

    The single-threaded executor, on purpose: rclpy 7.1.6's EventsExecutor is lighter on paper, but
    it never ran a timer here and did not end on a signal (docs/trials/03_ros_cpu.md).

    Args:
        factory: makes the node, usually its class.
        args: command line, ``sys.argv`` when None.

    Returns:
        The exit code: 0 after SIGINT or SIGTERM, 2 when the node refuses (one line says why), 1
        after an unexpected error (with its traceback).
    """
    rclpy.init(args=args)
    node: S3kNode | None = None
    try:
        node = factory()
        node.refuse_unknown_parameters()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        # What there is now stays. Otherwise each full garbage collection would walk through it all,
        # once a minute, for 50 ms in which no set of images is worked on.
        gc.collect()
        gc.freeze()
        node.get_logger().info("ready")
        executor.spin()
        return _exit_code(node.failure)
    except (KeyboardInterrupt, ExternalShutdownException):
        return _exit_code(node.failure if node else None)
    except Exception as error:
        # After a signal anything that was under way may fail: that is no error. The context is shut
        # down by a thread of its own, perhaps a moment later.
        time.sleep(_SIGNAL_GRACE_S)
        return _exit_code(error if rclpy.ok() else None)
    finally:
        _close(node)


def _exit_code(error: BaseException | None) -> int:
    if error is None:
        return 0
    if isinstance(error, S3kError):
        print(f"{sys.argv[0].rpartition('/')[2]}: {error}", file=sys.stderr, flush=True)
        return EXIT_REFUSED
    traceback.print_exception(error)
    return 1


def _close(node: S3kNode | None) -> None:
    try:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    except KeyboardInterrupt:  # a second Ctrl-C during the clean-up
        pass
