"""Transforms onto the topics /tf and /tf_static."""

from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage


def _as_list(transform):
    return list(transform) if hasattr(transform, "__iter__") else [transform]


class TransformBroadcaster:
    """Publishes transforms that change."""

    def __init__(self, node, qos=None):
        qos = QoSProfile(depth=100) if qos is None else qos
        self.pub_tf = node.create_publisher(TFMessage, "/tf", qos)

    def sendTransform(self, transform):
        """Publishes one TransformStamped or several in one message."""
        self.pub_tf.publish(TFMessage(transforms=_as_list(transform)))


class StaticTransformBroadcaster:
    """Publishes transforms that hold for good: each message carries all that were ever sent.

    As upstream in Jazzy, the first transform of a child frame stays and later ones are ignored.
    """

    def __init__(self, node, qos=None):
        if qos is None:
            qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.pub_tf = node.create_publisher(TFMessage, "/tf_static", qos)
        self._sent = {}

    def sendTransform(self, transform):
        """Adds one TransformStamped or several, and publishes all."""
        for item in _as_list(transform):
            self._sent.setdefault(item.child_frame_id, item)
        self.pub_tf.publish(TFMessage(transforms=list(self._sent.values())))
