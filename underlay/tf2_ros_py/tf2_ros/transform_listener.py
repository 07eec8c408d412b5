"""From the topics /tf and /tf_static into a buffer."""

from threading import Thread

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

AUTHORITY = "default_authority"


class TransformListener:
    """Feeds a buffer for as long as it lives."""

    def __init__(self, buffer, node, *, spin_thread=False, qos=None, static_qos=None):
        self.buffer = buffer
        self.node = node
        # A callback of the node that waits for a transform must not keep it from coming in.
        self.group = ReentrantCallbackGroup()
        qos = QoSProfile(depth=100) if qos is None else qos
        if static_qos is None:
            static_qos = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.tf_sub = node.create_subscription(
            TFMessage, "/tf", self.callback, qos, callback_group=self.group
        )
        self.tf_static_sub = node.create_subscription(
            TFMessage, "/tf_static", self.static_callback, static_qos, callback_group=self.group
        )
        self.executor = None
        if spin_thread:
            self.executor = SingleThreadedExecutor()
            self.dedicated_listener_thread = Thread(target=self._spin, daemon=True)
            self.dedicated_listener_thread.start()

    def _spin(self):
        self.executor.add_node(self.node)
        self.executor.spin()
        self.executor.remove_node(self.node)

    def unregister(self):
        """Stops listening."""
        if self.executor is not None:
            self.executor.shutdown()
            self.dedicated_listener_thread.join()
            self.executor = None
        self.node.destroy_subscription(self.tf_sub)
        self.node.destroy_subscription(self.tf_static_sub)

    def callback(self, data):
        for transform in data.transforms:
            self.buffer.set_transform(transform, AUTHORITY)

    def static_callback(self, data):
        for transform in data.transforms:
            self.buffer.set_transform_static(transform, AUTHORITY)
