"""Contracts of the ROS packages that s3k_ros uses and that have no wheel.

Every test here passes unchanged against the real packages of ROS 2 Jazzy; against the underlay it
shows that the stand-ins keep to the same contract. They use no API beyond upstream's.
"""

import os

import pytest


@pytest.fixture(scope="session")
def ros():
    """rclpy, started on a domain of this test run."""
    os.environ.setdefault("ROS_DOMAIN_ID", str(100 + os.getpid() % 100))
    import rclpy

    rclpy.init()
    yield rclpy
    rclpy.shutdown()


@pytest.fixture
def node(ros):
    node = ros.create_node("contract")
    yield node
    node.destroy_node()


@pytest.fixture
def spin(ros, node):
    """Spins the node until a condition holds; fails after some seconds."""
    import time

    def until(condition, timeout_s=10.0):
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            ros.spin_once(node, timeout_sec=0.05)

    return until
