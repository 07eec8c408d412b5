"""Stand-in for upstream's cv_bridge: the encodings that s3k_ros uses."""

from .core import CvBridge, CvBridgeError

__all__ = ["CvBridge", "CvBridgeError"]
