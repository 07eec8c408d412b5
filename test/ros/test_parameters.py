from __future__ import annotations

import dataclasses

import pytest
import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.base import Parameters, param
from s3k_ros.ros import parameters


@dataclasses.dataclass(frozen=True)
class Example(Parameters):
    """Parameters of every kind."""

    rate_hz: float = param(5.0, "Rate.", unit="Hz", low=0.1, high=50.0)
    count: int = param(3, "Count.", low=1)
    names: tuple[str, ...] = param((), "Names.")
    weights: tuple[float, ...] = param((1.0, 2.0), "Weights.", low=0.0)
    mode: str = param("a", "Mode.", choices=("a", "b"))
    fixed: bool = param(False, "Fixed.", read_only=True)


@pytest.fixture
def make_node():
    """Makes nodes with values as from the command line."""
    context = rclpy.Context()
    rclpy.init(context=context, args=[], domain_id=101)
    nodes = []

    def make(**values):
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        nodes.append(
            Node(
                f"node{len(nodes)}",
                context=context,
                parameter_overrides=overrides,
                automatically_declare_parameters_from_overrides=True,
                start_parameter_services=False,
            )
        )
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


def test_values_come_from_the_user_or_are_defaults(make_node):
    node = make_node(rate_hz=7.0, names=["x", "y"])
    assert parameters.declare(node, Example) == Example(rate_hz=7.0, names=("x", "y"))
    assert node.get_parameter("count").value == 3
    assert list(node.get_parameter("weights").value) == [1.0, 2.0]


def test_whole_number_serves_for_a_float(make_node):
    assert parameters.declare(make_node(rate_hz=7), Example).rate_hz == 7.0


def test_prefix_separates_groups(make_node):
    node = make_node(**{"left.count": 8})
    assert parameters.declare(node, Example, "left").count == 8
    assert parameters.declare(node, Example, "right").count == 3


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("rate_hz", float("nan"), "finite"),
        ("rate_hz", float("inf"), "finite"),
        ("rate_hz", 51.0, "0.1 to 50 Hz"),
        ("count", 0, "1 to inf"),
        ("count", 2.5, "type int"),
        ("weights", [1.0, -1.0], "weights\\[1\\]"),
        ("mode", "c", "one of 'a', 'b'"),
    ],
)
def test_bad_value_is_refused_at_the_start(make_node, name, value, reason):
    with pytest.raises(ConfigurationError, match=f"{name.split('[')[0]}.*{reason}|{reason}"):
        parameters.declare(make_node(**{name: value}), Example)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate_hz", float("nan")),
        ("rate_hz", 51.0),
        ("count", 0),
        ("weights", [-1.0]),
        ("mode", "c"),
        ("rate_hz", 7),
    ],
)
def test_bad_change_is_refused_and_changes_nothing(make_node, name, value):
    seen = []
    node = make_node()
    parameters.declare(node, Example, on_change=seen.append)
    before = node.get_parameter(name).value
    result = node.set_parameters([Parameter(name, value=value)])[0]
    assert not result.successful
    assert result.reason
    assert node.get_parameter(name).value == before
    assert not seen


def test_good_changes_reach_the_node_as_a_whole(make_node):
    seen = []
    node = make_node()
    parameters.declare(node, Example, on_change=seen.append)
    assert node.set_parameters([Parameter("rate_hz", value=9.0)])[0].successful
    assert node.set_parameters([Parameter("names", value=["z"])])[0].successful
    assert seen == [Example(rate_hz=9.0), Example(rate_hz=9.0, names=("z",))]


def test_read_only_parameters_do_not_change(make_node):
    node = make_node()
    parameters.declare(node, Example, on_change=lambda values: None)
    assert not node.set_parameters([Parameter("fixed", value=True)])[0].successful


def test_nothing_changes_when_nobody_follows(make_node):
    node = make_node()
    parameters.declare(node, Example)
    assert not node.set_parameters([Parameter("rate_hz", value=9.0)])[0].successful


def test_descriptors_tell_text_unit_and_range(make_node):
    node = make_node()
    parameters.declare(node, Example, on_change=lambda values: None)
    rate = node.describe_parameter("rate_hz")
    assert rate.description == "Rate. [Hz]"
    assert (rate.floating_point_range[0].from_value, rate.floating_point_range[0].to_value) == (
        0.1,
        50.0,
    )
    assert node.describe_parameter("count").integer_range[0].from_value == 1
    assert node.describe_parameter("mode").additional_constraints == "one of 'a', 'b'"


def test_unknown_key_is_named_with_the_nearest_valid_one(make_node):
    node = make_node(rate_hs=3.0)
    parameters.declare(node, Example)
    with pytest.raises(ConfigurationError, match=r"'rate_hs'; valid: rate_hz"):
        parameters.refuse_unknown(node, [info.name for info in Example.describe()])
