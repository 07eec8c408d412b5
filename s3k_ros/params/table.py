"""The reference table of all parameters: `s3k params`."""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil

import s3k_ros.params
from s3k_ros.params.base import ParameterInfo, Parameters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k params`."""
    parser.add_argument(
        "names", nargs="*", metavar="CLASS", help="only these, such as DemoParameters"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the tables; 1 when a class does not exist."""
    classes = parameter_classes()
    unknown = sorted(set(arguments.names) - set(classes))
    if unknown:
        print(f"unknown: {', '.join(unknown)}; known: {', '.join(classes)}")
        return 1
    print("\n".join(markdown(classes[name]) for name in arguments.names or classes))
    return 0


def parameter_classes() -> dict[str, type[Parameters]]:
    """Every parameter class of `s3k_ros.params`, by name."""
    found: dict[str, type[Parameters]] = {}
    for module_info in pkgutil.iter_modules(s3k_ros.params.__path__):
        module = importlib.import_module(f"s3k_ros.params.{module_info.name}")
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, Parameters) and kind.__module__ == module.__name__:
                found[name] = kind
    found.pop("Parameters", None)
    return found


def markdown(kind: type[Parameters]) -> str:
    """One class as a heading and a table."""
    summary = (inspect.getdoc(kind) or "").splitlines()[0]
    lines = [f"### {kind.__name__}", "", summary, ""]
    lines += [
        "| parameter | default | unit | allowed | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [_row(info) for info in kind.describe()]
    return "\n".join([*lines, ""])


def cells(info: ParameterInfo) -> list[str]:
    """Name, default, unit, allowed values and meaning of one parameter."""
    default = list(info.default) if isinstance(info.default, tuple) else info.default
    meaning = info.text[0].upper() + info.text[1:].removesuffix(".") + "."
    return [info.name, repr(default), info.unit, info.allowed, meaning]


def _row(info: ParameterInfo) -> str:
    name, default, unit, allowed, meaning = (cell.replace("|", "\\|") for cell in cells(info))
    fixed = " Fixed while the node runs." if info.read_only else ""
    return f"| `{name}` | `{default}` | {unit} | {allowed} | {meaning}{fixed} |"
