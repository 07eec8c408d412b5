"""Quality of service of our topics. Every profile can be overridden by ROS parameters.

``qos_overrides.<topic>.publisher.reliability`` and its like are declared for each topic that
`S3kNode.advertise` or `S3kNode.listen` makes. Each function returns a new profile, because rclpy
writes the overrides into it.
"""

from __future__ import annotations

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

OVERRIDABLE = QoSOverridingOptions(
    (
        QoSPolicyKind.HISTORY,
        QoSPolicyKind.DEPTH,
        QoSPolicyKind.RELIABILITY,
        QoSPolicyKind.DURABILITY,
    )
)


def images() -> QoSProfile:
    """Images and camera_info: best effort, the newest four (a reader may pause for 0.1 s)."""
    return _profile(ReliabilityPolicy.BEST_EFFORT, 4)


def sensors() -> QoSProfile:
    """Joint states, wrench and other streams in which only the newest value counts."""
    return _profile(ReliabilityPolicy.BEST_EFFORT, 5)


def keypoints() -> QoSProfile:
    """Keypoints and what is drawn from them: reliable, depth 5."""
    return _profile(ReliabilityPolicy.RELIABLE, 5)


def commands() -> QoSProfile:
    """Velocities that are obeyed at once: reliable, only the newest counts."""
    return _profile(ReliabilityPolicy.RELIABLE, 1)


def latched(depth: int = 1) -> QoSProfile:
    """Facts that late subscribers get too, such as `keypoint_model`: transient local."""
    return _profile(ReliabilityPolicy.RELIABLE, depth, DurabilityPolicy.TRANSIENT_LOCAL)


def _profile(
    reliability: ReliabilityPolicy,
    depth: int,
    durability: DurabilityPolicy = DurabilityPolicy.VOLATILE,
) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability
    )
