"""Message definitions as MCAP's "ros2msg" schemas want them: with all that they are made of.

The text is what rosbag2 writes (rosbag2_cpp, LocalMessageDefinitionSource): the type's .msg file,
then every type it needs behind a line of 80 equals signs and its name, depth first.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from s3k_ros.errors import ConfigurationError

# The .msg file of a package's type.
ReadDefinition = Callable[[str, str], str]

_PRIMITIVES = {"bool", "byte", "char", "float32", "float64", "string", "wstring"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
# A field or constant: its type, without the bounds of strings and arrays.
_FIELD = re.compile(r"^\s*([A-Za-z][A-Za-z0-9_/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+\w", re.MULTILINE)
_DELIMITER = "=" * 80


def full_definition(kind: str, read: ReadDefinition) -> str:
    """The definition of a type and of all types in it.

    Args:
        kind: such as "sensor_msgs/msg/Image".
        read: gives the .msg file of a package and a type.

    Raises:
        ConfigurationError: a name that is none.
    """
    seen: set[str] = set()

    def text_of(name: str) -> str:
        package, _, short = name.partition("/")
        text = read(package, short.removeprefix("msg/"))
        parts = [text]
        for needed in sorted(_needed(text, package)):
            if needed not in seen:
                seen.add(needed)
                parts.append(f"{_DELIMITER}\nMSG: {needed}\n{text_of(needed)}")
        return "\n".join(parts)

    if not re.fullmatch(r"\w+/msg/\w+", kind):
        raise ConfigurationError(f"{kind!r} is not a message type such as 'std_msgs/msg/String'")
    return text_of(kind)


def _needed(text: str, package: str) -> set[str]:
    """Other types that a definition names, as ``package/Type``."""
    found = {name for name in _FIELD.findall(text) if name not in _PRIMITIVES}
    return {name if "/" in name else f"{package}/{name}" for name in found}
