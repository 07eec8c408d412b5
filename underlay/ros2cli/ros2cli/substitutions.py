r"""The `$(name argument ...)` of launch files.

Arguments are separated by blanks; quotes hold an argument together, and substitutions nest in both.
A backslash takes the meaning from the character after it.
"""

import math
import os

from ament_index_python.packages import get_package_prefix, get_package_share_directory

from .packages import find_executable

TRUE, FALSE = ("true", "1"), ("false", "0")


def to_bool(text):
    """True or false as launch files spell it."""
    word = text.strip().lower()
    if word not in TRUE + FALSE:
        raise ValueError(f"expected one of {[*TRUE, *FALSE]}, got '{text}'")
    return word in TRUE


def expand(text, context):
    """The text with all its substitutions done."""
    result, end = _template(text, 0, "", context)
    assert end == len(text)
    return result


def _template(text, start, stops, context):
    """Text and substitutions up to one of the stop characters or the end."""
    parts, i = [], start
    while i < len(text) and text[i] not in stops:
        if text.startswith("$(", i):
            part, i = _substitution(text, i + 2, context)
            parts.append(part)
            continue
        if text[i] == "\\" and i + 1 < len(text):
            i += 1
        parts.append(text[i])
        i += 1
    return "".join(parts), i


def _substitution(text, start, context):
    """One substitution whose name begins at `start`; its value and the place after it."""
    arguments, i = [], start
    while True:
        while text[i : i + 1] == " ":
            i += 1
        if i >= len(text):
            raise ValueError(f"missing ')' in '{text}'")
        if text[i] == ")":
            break
        if text[i] in "'\"":
            value, i = _template(text, i + 1, text[i], context)
            if i >= len(text):
                raise ValueError(f"missing closing quote in '{text}'")
            i += 1
        else:
            value, i = _template(text, i, " )", context)
        arguments.append(value)
    if not arguments or arguments[0] not in SUBSTITUTIONS:
        raise ValueError(f"unknown substitution in '{text}'; known: {sorted(SUBSTITUTIONS)}")
    try:
        return SUBSTITUTIONS[arguments[0]](context, *arguments[1:]), i + 1
    except TypeError as error:
        raise ValueError(f"wrong number of arguments in '{text}': {error}") from error


def _var(context, name, *default):
    if name in context.configurations:
        return context.configurations[name]
    if default:
        return default[0]
    raise LookupError(f"launch configuration '{name}' does not exist")


def _env(context, name, *default):
    if name in context.environment:
        return context.environment[name]
    if default:
        return default[0]
    raise LookupError(f"environment variable '{name}' does not exist")


def _eval(context, *words):
    names = {name: getattr(math, name) for name in dir(math) if not name.startswith("__")}
    # What launch files are allowed to do upstream: expressions with the names of `math`.
    return str(eval("".join(words), {}, names))


SUBSTITUTIONS = {
    "var": _var,
    "env": _env,
    "eval": _eval,
    "find-pkg-share": lambda context, package: get_package_share_directory(package),
    "find-pkg-prefix": lambda context, package: get_package_prefix(package),
    "exec-in-pkg": lambda context, name, package: find_executable(package, name),
    "dirname": lambda context: os.path.dirname(context.file),
    "filename": lambda context: context.file,
    "not": lambda context, a: str(not to_bool(a)).lower(),
    "and": lambda context, a, b: str(to_bool(a) and to_bool(b)).lower(),
    "or": lambda context, a, b: str(to_bool(a) or to_bool(b)).lower(),
    "equals": lambda context, a, b: str(a == b).lower(),
    "not-equals": lambda context, a, b: str(a != b).lower(),
}
