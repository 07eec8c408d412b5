"""Lists of numbers as people type them: ``0,3,5-9``."""

from __future__ import annotations

import re

from s3k_ros.errors import ConfigurationError

_PART = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?\Z")
_MOST = 10**7


def parse_ranges(text: str, what: str) -> list[int]:
    """The numbers of ``0,3,5-9``, in the order given, each once.

    Raises:
        ConfigurationError: not such a list; the message names ``what``.
    """
    numbers: dict[int, None] = {}
    for part in text.split(","):
        match = _PART.match(part.strip())
        first = int(match[1]) if match else 0
        last = int(match[2] or first) if match else -1
        if last < first or last - first > _MOST:
            raise ConfigurationError(f"{what} = {text!r} must be numbers like 0,3,5-9")
        numbers.update(dict.fromkeys(range(first, last + 1)))
    return list(numbers)


def format_ranges(numbers: list[int]) -> str:
    """Numbers as ``0,3,5-9``, sorted."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)
