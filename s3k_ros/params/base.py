"""Parameters as frozen dataclasses: one place for type, default, unit, range and text.

ROS parameter descriptors, configuration checks and the tables of docs/reference.md derive from
these classes, so a fact about a parameter is written once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Self, get_type_hints

from s3k_ros.errors import ConfigurationError

_SCALARS: dict[Any, Any] = {
    bool: (bool,),
    int: (int,),
    float: (int, float),
    str: (str,),
}


@dataclasses.dataclass(frozen=True)
class ParameterInfo:
    """What a user needs to know about one parameter."""

    name: str
    type: Any
    default: Any
    text: str
    unit: str
    low: float | None
    high: float | None
    choices: tuple[Any, ...]
    read_only: bool

    @property
    def allowed(self) -> str:
        """The allowed values in words, empty when anything of the type goes."""
        if self.choices:
            return "one of " + ", ".join(map(repr, self.choices))
        if self.low is None and self.high is None:
            return ""
        low = "-inf" if self.low is None else f"{self.low:g}"
        high = "inf" if self.high is None else f"{self.high:g}"
        return f"{low} to {high}" + (f" {self.unit}" if self.unit else "")


def param(
    default: Any,
    text: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] = (),
    read_only: bool = False,
) -> Any:
    """A dataclass field with everything that describes a parameter.

    Args:
        default: default value; a tuple for list parameters.
        text: one sentence for the user.
        unit: SI unit or "px", empty when dimensionless.
        low: least value allowed; applies to each element of a list.
        high: largest value allowed.
        choices: the allowed values, when they are few.
        read_only: True when the value cannot change while a node runs.
    """
    info = {"text": text, "unit": unit, "low": low, "high": high, "choices": choices}
    return dataclasses.field(default=default, metadata={**info, "read_only": read_only})


@dataclasses.dataclass(frozen=True)
class Parameters:
    """Base of all parameter classes: construction checks types, finiteness and ranges.

    Fields are bool, int, float, str or a homogeneous ``tuple[T, ...]`` of those.

    Raises:
        ConfigurationError: a value of the wrong type, not finite or out of range.
    """

    def __post_init__(self) -> None:
        for info in self.describe():
            value = getattr(self, info.name)
            object.__setattr__(self, info.name, _checked(type(self).__name__, info, value))

    @classmethod
    def describe(cls) -> list[ParameterInfo]:
        """Every parameter of the class, in order of definition."""
        hints = get_type_hints(cls)
        return [
            ParameterInfo(field.name, hints[field.name], field.default, **field.metadata)
            for field in dataclasses.fields(cls)
        ]

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Builds the parameters from a mapping, for instance a YAML section.

        Raises:
            ConfigurationError: an unknown key (the message lists the valid ones) or a bad value.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigurationError(
                f"{cls.__name__}: unknown parameter {unknown[0]!r}; valid: {', '.join(known)}"
            )
        return cls(**values)


def _checked(owner: str, info: ParameterInfo, value: Any) -> Any:
    element = _element_type(info.type)
    if element is None:
        return _checked_scalar(f"{owner}.{info.name}", info, info.type, value)
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise ConfigurationError(f"{owner}.{info.name} = {value!r} must be a list")
    return tuple(
        _checked_scalar(f"{owner}.{info.name}[{i}]", info, element, item)
        for i, item in enumerate(value)
    )


def _element_type(hint: Any) -> Any:
    args: Any = getattr(hint, "__args__", ())
    return args[0] if getattr(hint, "__origin__", None) is tuple else None


def _checked_scalar(key: str, info: ParameterInfo, kind: Any, value: Any) -> Any:
    wrong_bool = isinstance(value, bool) and kind is not bool
    if wrong_bool or not isinstance(value, _SCALARS[kind]):
        raise ConfigurationError(f"{key} = {value!r} must be of type {kind.__name__}")
    if kind is float:
        value = float(value)
        if not math.isfinite(value):
            raise ConfigurationError(f"{key} = {value!r} must be finite")
    below = info.low is not None and kind in (int, float) and value < info.low
    above = info.high is not None and kind in (int, float) and value > info.high
    if below or above or (info.choices and value not in info.choices):
        raise ConfigurationError(f"{key} = {value!r} is not allowed: {info.allowed}")
    return value
