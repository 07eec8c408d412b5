from __future__ import annotations

import pytest
import rclpy
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from std_msgs.msg import String

from s3k_ros.errors import ConfigurationError
from s3k_ros.ros import node as node_module
from s3k_ros.ros import qos
from s3k_ros.ros.node import S3kNode


@pytest.fixture
def make_node():
    """Makes nodes with values as from the command line."""
    context = rclpy.Context()
    rclpy.init(context=context, args=[], domain_id=101)
    nodes = []

    def make(**values):
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        nodes.append(S3kNode("node", alone=False, context=context, parameter_overrides=overrides))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown(context=context)


@pytest.mark.parametrize(
    ("profile", "reliability", "durability", "depth"),
    [
        (qos.images, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE, 4),
        (qos.keypoints, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 5),
        (qos.latched, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL, 1),
    ],
)
def test_topics_have_the_qos_of_the_design(make_node, profile, reliability, durability, depth):
    found = make_node().listen(String, "topic", lambda m: None, profile()).qos_profile
    assert (found.reliability, found.durability, found.depth) == (reliability, durability, depth)


def test_qos_can_be_overridden_by_parameters(make_node):
    node = make_node(
        **{
            "qos_overrides./topic.subscription.reliability": "best_effort",
            "qos_overrides./topic.publisher.depth": 9,
        }
    )
    listener = node.listen(String, "topic", lambda m: None, qos.keypoints())
    publisher = node.advertise(String, "topic", qos.keypoints())
    assert listener.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    assert publisher.qos_profile.depth == 9
    node.refuse_unknown_parameters()


def test_override_of_a_topic_that_does_not_exist_is_refused(make_node):
    node = make_node(**{"qos_overrides./topik.subscription.reliability": "best_effort"})
    node.listen(String, "topic", lambda m: None, qos.keypoints())
    with pytest.raises(ConfigurationError, match="topik"):
        node.refuse_unknown_parameters()


def test_refusal_is_one_line_and_exit_code_2(capsys):
    def refuse():
        raise ConfigurationError("the lens cap is on")

    assert node_module.run_node(refuse, args=[]) == 2
    assert capsys.readouterr().err.strip().endswith(": the lens cap is on")


def test_unexpected_error_shows_its_traceback_and_exit_code_1(capsys):
    assert node_module.run_node(lambda: 1 / 0, args=[]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_error_of_a_thread_ends_the_node_but_not_after_a_signal(make_node):
    node = make_node()
    node.fail(ConfigurationError("the first"))
    node.fail(ConfigurationError("what the end brought about"))
    assert str(node.failure) == "the first"
    assert not node.context.ok()
