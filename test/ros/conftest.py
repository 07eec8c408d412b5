"""Tests of the doors to ROS need its packages, but no running graph."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("rclpy") else ["test_*.py"]
