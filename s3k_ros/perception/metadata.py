"""Reading the JSON of a model file's metadata: every fault names the key."""

from __future__ import annotations

import math
from typing import Any

from s3k_ros.errors import ConfigurationError

Matrix = tuple[tuple[float, ...], ...]


class Section:
    """A JSON object that knows its path and which of its keys were read.

    Raises:
        ConfigurationError: no object; from the methods, a key that is missing or of another type.
    """

    def __init__(self, path: str, values: Any) -> None:
        if not isinstance(values, dict):
            raise ConfigurationError(f"model metadata: {path or 'the root'} must be an object")
        self.path = path
        self.values: dict[str, Any] = values
        self._read: set[str] = set()

    def get(self, key: str) -> Any:
        """The value of a key, which must be there."""
        if key not in self.values:
            raise ConfigurationError(f"model metadata: {self.path}{key} is missing")
        self._read.add(key)
        return self.values[key]

    def section(self, key: str) -> Section:
        """The object under a key."""
        return Section(f"{self.path}{key}.", self.get(key))

    def has(self, key: str) -> bool:
        """Whether a key is there."""
        return key in self.values

    def items(self, key: str, *, optional: bool = False) -> list[Any]:
        """The list under a key; empty where an optional one is missing."""
        if optional and not self.has(key):
            return []
        value = self.get(key)
        require(isinstance(value, list), self.path + key, value, "a list")
        return list(value)

    def text(self, key: str) -> str:
        """The text under a key."""
        return as_text(self.path + key, self.get(key))

    def flag(self, key: str) -> bool:
        """The truth value under a key."""
        value = self.get(key)
        require(isinstance(value, bool), self.path + key, value, "true or false")
        return bool(value)

    def number(self, key: str, kind: type = float) -> Any:
        """The finite number under a key."""
        return as_number(self.path + key, self.get(key), kind)

    def refuse_unknown(self) -> None:
        """Refuses keys that nobody read."""
        unknown = sorted(set(self.values) - self._read)
        if unknown:
            raise ConfigurationError(
                f"model metadata: unknown key {self.path}{unknown[0]}; "
                f"known: {', '.join(sorted(self._read))}"
            )


def require(condition: bool, key: str, value: object, allowed: str) -> None:
    """Refuses a value, naming its key and what is allowed."""
    if not condition:
        raise ConfigurationError(f"model metadata: {key} = {value!r} must be {allowed}")


def as_text(key: str, value: Any) -> str:
    """A value as text."""
    require(isinstance(value, str), key, value, "a string")
    return str(value)


def as_number(key: str, value: Any, kind: type = float) -> Any:
    """A value as a finite number, or a whole one for ``kind`` int."""
    types = (int,) if kind is int else (int, float)
    good = isinstance(value, types) and not isinstance(value, bool) and math.isfinite(value)
    require(good, key, value, "a whole number" if kind is int else "a finite number")
    return kind(value)


def as_pair(key: str, value: Any) -> tuple[int, int]:
    """A value as two whole numbers."""
    require(isinstance(value, list) and len(value) == 2, key, value, "a pair of whole numbers")
    return as_number(key, value[0], int), as_number(key, value[1], int)


def as_matrix(key: str, rows: Any) -> Matrix:
    """A value as rows of numbers."""
    nested = isinstance(rows, list) and all(isinstance(row, list) for row in rows)
    require(nested, key, rows, "a list of matrices")
    return tuple(tuple(as_number(key, value) for value in row) for row in rows)
