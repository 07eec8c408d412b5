"""ROS parameters from `Parameters` classes.

A node declares each class once. Values come from the command line or a parameter file, are checked
by the class itself (NaN, ranges, choices) and are read back as one frozen object.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.base import ParameterInfo, Parameters

P = TypeVar("P", bound=Parameters)

_INT64 = 2**63 - 1
_QOS_PREFIX = "qos_overrides."


def declare(
    node: Node, kind: type[P], prefix: str = "", on_change: Callable[[P], None] | None = None
) -> P:
    """Declares every parameter of a class and returns the values that the user chose.

    The node must have been created with ``automatically_declare_parameters_from_overrides=True``
    (`s3k_ros.ros.node.S3kNode` is), so that keys which nobody declares can be named.

    Args:
        node: the node.
        kind: the class of parameters.
        prefix: put before each name, with a dot between.
        on_change: called with the new values after ``ros2 param set``. Without it every parameter
            is read-only, because nobody would follow a change.

    Raises:
        ConfigurationError: a value of the wrong type, not finite or out of range.
    """
    names = {
        info.name: f"{prefix}.{info.name}" if prefix else info.name for info in kind.describe()
    }
    given = {key: _take(node, name) for key, name in names.items() if node.has_parameter(name)}
    try:
        values = kind(**given)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"parameters of {node.get_fully_qualified_name()}: {error}"
        ) from None
    for info in kind.describe():
        descriptor = describe(info, read_only=info.read_only or on_change is None)
        value = getattr(values, info.name)
        value = list(value) if isinstance(value, tuple) else value
        node.declare_parameter(names[info.name], value, descriptor, ignore_override=True)
    if on_change is not None:
        _follow(node, values, names, on_change)
    return values


def describe(info: ParameterInfo, *, read_only: bool) -> ParameterDescriptor:
    """The ROS descriptor of one parameter: text, unit, range and whether it may change."""
    text = info.text + (f" [{info.unit}]" if info.unit else "")
    descriptor = ParameterDescriptor(description=text, read_only=read_only)
    descriptor.additional_constraints = info.allowed
    # rclpy takes an empty list for a list of bytes; the class checks the elements anyway.
    descriptor.dynamic_typing = info.default == ()
    if info.low is None and info.high is None:
        return descriptor
    if info.type is int:
        low = -_INT64 if info.low is None else int(info.low)
        high = _INT64 if info.high is None else int(min(info.high, _INT64))
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
    elif info.type is float:
        low = float("-inf") if info.low is None else float(info.low)
        high = float("inf") if info.high is None else float(info.high)
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return descriptor


def refuse_unknown(node: Node, declared: Iterable[str]) -> None:
    """Refuses values that were given for parameters which nobody declared.

    Args:
        node: the node, after all its parameters and topics exist.
        declared: names of the declared parameters.

    Raises:
        ConfigurationError: an unknown key; the message names it and the nearest valid ones.
    """
    valid = sorted(declared)
    topics = {entity.topic_name for entity in (*node.publishers, *node.subscriptions)}
    for name in sorted(node.get_parameters_by_prefix("")):
        if name in valid or _is_qos_override(name, topics):
            continue
        near = difflib.get_close_matches(name, valid, n=3) or valid
        raise ConfigurationError(
            f"parameters of {node.get_fully_qualified_name()}: unknown parameter {name!r}; "
            f"valid: {', '.join(near)}"
        )


def _is_qos_override(name: str, topics: set[str]) -> bool:
    topic, _, _ = name.removeprefix(_QOS_PREFIX).partition(".")
    return name.startswith(_QOS_PREFIX) and topic in topics


def _take(node: Node, name: str) -> Any:
    value = node.get_parameter(name).value
    node.undeclare_parameter(name)
    return value


def _follow(node: Node, values: P, names: dict[str, str], on_change: Callable[[P], None]) -> None:
    """Checks every later change with the class and hands the new values on."""
    keys = {name: key for key, name in names.items()}
    current = values

    def changed(parameters: list[Parameter]) -> P:
        return dataclasses.replace(
            current, **{keys[p.name]: p.value for p in parameters if p.name in keys}
        )

    def check(parameters: list[Parameter]) -> SetParametersResult:
        try:
            changed(parameters)
        except ConfigurationError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def apply(parameters: list[Parameter]) -> None:
        nonlocal current
        if any(p.name in keys for p in parameters):
            current = changed(parameters)
            on_change(current)

    node.add_on_set_parameters_callback(check)
    node.add_post_set_parameters_callback(apply)
