"""Writes the tables of README.md and of pages in docs/ from the files that define their content.

Topics, services and actions come from docs/topics.yaml (test/test_readme.py compares it with the
code), messages and result codes from the interface files, parameters from `s3k_ros.params`,
arguments from the launch files. Each table stands between two markers:

    <!-- table: NAME -->
    <!-- end -->

Usage: .venv/bin/s3k-env python tools/readme_tables.py [--check]
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

from s3k_ros.grasp.advice import ADVICE
from s3k_ros.params.base import Parameters
from s3k_ros.params.table import cells, parameter_classes

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/reference.md", "docs/grasping.md")
TOPICS = ROOT / "docs" / "topics.yaml"
COMMAND = "python tools/readme_tables.py"
LAUNCH_FILES = ("cell", "perception", "grasp", "admittance", "demo", "clear_toys")
# What a user of a cell needs first; the simulated cell has the hardware's names.
CELL_NODES = (
    *("camera_rig", "keypoint_detector", "triangulator", "perception"),
    *("rig_description", "grasp_server"),
)

_BLOCK = re.compile(r"(<!-- table: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_CONSTANT = re.compile(r"^uint8 ([A-Z_]+)=(\d+)\s*(?:#\s*(.*))?$")


class TableError(Exception):
    """A source of the tables does not fit the others."""


# --- sources ------------------------------------------------------------------------------------


def topics() -> dict[str, dict[str, list[dict[str, str]]]]:
    """docs/topics.yaml: node -> "publishes" and so on -> rows; names of parameters resolved."""
    nodes: dict[str, Any] = yaml.safe_load(TOPICS.read_text(encoding="utf-8"))
    for row in (row for kinds in nodes.values() for rows in kinds.values() for row in rows):
        if row["name"].startswith("$"):
            row["parameter"] = row["name"][1:]
            row["name"] = _default(row["parameter"])
    return nodes


def _default(parameter: str) -> str:
    kind, _, field = parameter.partition(".")
    for info in parameter_classes()[kind].describe():
        if info.name == field:
            return str(info.default)
    raise TableError(f"{TOPICS.name}: there is no parameter {parameter}")


@dataclasses.dataclass(frozen=True)
class Group:
    """A parameter class as one node declares it.

    Attributes:
        kind: the class.
        prefix: put before each name, with its dot; empty for none.
        live: whether the node follows changes of those that may change.
    """

    kind: type[Parameters]
    prefix: str
    live: bool

    @property
    def summary(self) -> str:
        """The first line of the class's docstring."""
        return (self.kind.__doc__ or "").strip().splitlines()[0]


def declared(path: Path) -> Iterator[Group]:
    """The parameters that a node's file declares."""
    classes = parameter_classes()
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        names = [a.id for a in call.args[:1] if isinstance(a, ast.Name)]
        if call.func.attr != "declare" or not names or names[0] not in classes:
            continue
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        given = [*call.args[1:2], *filter(None, [keywords.get("prefix")])]
        prefixes = [f"{a.value}." for a in given if isinstance(a, ast.Constant)]
        yield Group(classes[names[0]], "".join(prefixes[:1]), "on_change" in keywords)


def groups_of_nodes() -> dict[str, list[Group]]:
    """Node -> its parameters."""
    files = {path.stem: path for path in (ROOT / "s3k_ros" / "nodes").glob("[a-z]*.py")}
    files["demo"] = ROOT / "s3k_ros" / "demo" / "__main__.py"
    order = [*CELL_NODES, *sorted(set(files) - set(CELL_NODES), reverse=True)]
    return {name: sorted(declared(files[name]), key=lambda g: g.prefix) for name in order}


def result_codes() -> Iterator[tuple[str, int, str, str]]:
    """Name, value, meaning and group of each result code of GraspAtKeypoint."""
    text = (ROOT / "action" / "GraspAtKeypoint.action").read_text(encoding="utf-8")
    result = text.split("\n---\n")[1]
    group = ""
    for line in result.split("\nuint8 code\n")[0].splitlines():
        if line.startswith("# "):
            group = line[2:]
        elif found := _CONSTANT.match(line):
            name, value, meaning = found.groups()
            yield name, int(value), meaning or "", group


def interface_files() -> list[Path]:
    """All interface files, messages first."""
    kinds = ("msg", "action", "srv")
    return [path for kind in kinds for path in sorted((ROOT / kind).glob(f"*.{kind}"))]


# --- tables -------------------------------------------------------------------------------------


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _code(name: str) -> str:
    return " and ".join(f"`{part}`" for part in name.split(" and "))


def topic_table() -> str:
    """The topics of a cell's nodes, for the README."""
    nodes = topics()
    rows = [
        (f"`{node}`", "in" if kind == "subscribes" else "out", _code(row["name"]),
         row["type"], _quoted(row["text"]))
        for node in (*CELL_NODES, "every node")
        for kind in ("subscribes", "publishes")
        for row in nodes[node].get(kind, [])
    ]  # fmt: skip
    rows = [(node.replace("`every node`", "every node"), *rest) for node, *rest in rows]
    return table(("node", "", "topic", "type", "what"), rows)


def action_table() -> str:
    """Actions and services of all nodes, for the README."""
    kinds = {"serves actions": "serves", "uses actions": "calls", "serves services": "serves"}
    rows = [
        (f"`{node}`", verb, _code(row["name"]), row["type"], _quoted(row["text"]))
        for node, found in topics().items()
        for kind, verb in kinds.items()
        for row in found.get(kind, [])
    ]
    return table(("node", "", "action or service", "type", "what"), rows)


def code_table() -> str:
    """The result codes of a grasp."""
    rows = [
        (str(value), f"`{name}`", meaning or group)
        for name, value, meaning, group in result_codes()
    ]
    return table(("code", "name", "what happened"), rows)


def advice_table() -> str:
    """The result codes with their usual causes and what to do about them."""
    rows = [
        (str(int(code)), f"`{code.name}`", advice.cause, advice.remedy)
        for code, advice in ADVICE.items()
    ]
    return table(("code", "name", "usual cause", "what to do"), rows)


def parameters_of(prefix: str) -> str:
    """The parameters of the grasp server with a prefix."""
    groups = {group.prefix: group for group in groups_of_nodes()["grasp_server"]}
    return _parameter_table(groups[prefix])


def parameter_index() -> str:
    """Which parameters each node has, with links to their tables."""
    rows = [
        (
            f"`{node}`",
            f"[`{group.prefix}*`](docs/reference.md#{_anchor(_title(node, group))})",
            str(len(group.kind.describe())),
            group.summary,
        )
        for node, groups in groups_of_nodes().items()
        for group in groups
    ]
    return table(("node", "parameters", "number", "what"), rows)


def launch_table(name: str) -> str:
    """The arguments of one launch file."""
    tree = ElementTree.parse(ROOT / "launch" / f"{name}.launch.xml")
    rows = [
        (f"`{arg.get('name')}`", _code(_short(arg.get("default", ""))), arg.get("description", ""))
        for arg in tree.getroot().findall("arg")
    ]
    return table(("argument", "default", "meaning"), rows)


def _short(default: str) -> str:
    return default.replace("$(find-pkg-share s3k_ros)/", "")


def node_reference() -> str:
    """Topics, services, actions and parameters, node by node."""
    nodes = topics()
    sections = ["### every node\n", _node_tables(nodes.pop("every node"))]
    for node, groups in groups_of_nodes().items():
        sections += [f"### {node}\n", _node_tables(nodes.get(node, {}))]
        sections += [
            f"#### {_title(node, group)}\n\n{group.summary}\n\n{_parameter_table(group)}\n"
            for group in groups
        ]
    return "\n".join(part for part in sections if part).rstrip()


def _title(node: str, group: Group) -> str:
    return f"{node} parameters" + (f" {group.prefix}*" if group.prefix else "")


def _parameter_table(group: Group, node: bool = True) -> str:
    """One class; for a node with a column that says which of them can change while it runs."""
    rows = []
    for info in group.kind.describe():
        name, default, _unit, allowed, meaning = cells(info)
        allowed = allowed or (f"in {info.unit}" if info.unit else "")
        live = ["yes" if group.live and not info.read_only else ""] if node else []
        rows.append([f"`{group.prefix}{name}`", f"`{default}`", allowed, *live, _quoted(meaning)])
    head = ["parameter", "default", "allowed", *(["live"] if node else []), "meaning"]
    return table(head, rows)


def _quoted(text: str) -> str:
    """Marks names such as <camera>/image_raw as code: Markdown would take them for HTML."""
    return re.sub(r"(?<![`\w/])([\w/]*<\w+>[\w/]*)", r"`\1`", text)


def _anchor(title: str) -> str:
    """The anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _node_tables(kinds: dict[str, list[dict[str, str]]]) -> str:
    rows = [
        (kind, _code(row["name"]), row["type"], row.get("qos", ""),
         _quoted(row["text"]) + _named_by(row))
        for kind, found in kinds.items()
        for row in found
    ]  # fmt: skip
    return table(("", "name", "type", "QoS", "what"), rows) + "\n" if rows else ""


def _named_by(row: dict[str, str]) -> str:
    field = row.get("parameter", "").partition(".")[2]
    return f" Name: parameter `{field}`." if field else ""


def qos_list() -> str:
    """The QoS profiles by name, from the docstrings of s3k_ros.ros.qos."""
    tree = ast.parse((ROOT / "s3k_ros" / "ros" / "qos.py").read_text(encoding="utf-8"))
    functions = [f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name[0] != "_"]
    return "\n".join(f"- `{f.name}`: {ast.get_docstring(f)}" for f in functions)


def interface_reference() -> str:
    """The interface files as they stand: they explain themselves."""
    return "\n\n".join(
        f"### s3k_ros/{path.parent.name}/{path.stem}\n\n"
        f"```\n{path.read_text(encoding='utf-8').rstrip()}\n```"
        for path in interface_files()
    )


def launch_reference() -> str:
    """The arguments of all launch files."""
    return "\n\n".join(f"### {n}.launch.xml\n\n{launch_table(n)}" for n in LAUNCH_FILES)


def other_parameters() -> str:
    """Parameters that belong to no node."""
    used = {group.kind for groups in groups_of_nodes().values() for group in groups}
    rest = [Group(kind, "", False) for kind in parameter_classes().values() if kind not in used]
    return "\n\n".join(
        f"### {group.kind.__name__}\n\n{group.summary}\n\n{_parameter_table(group, node=False)}"
        for group in rest
    )


TABLES: dict[str, Callable[[], str]] = {
    "topics": topic_table,
    "actions": action_table,
    "codes": code_table,
    "advice": advice_table,
    "grasp parameters": lambda: parameters_of("grasp."),
    "robot parameters": lambda: parameters_of("robot."),
    "grasp server parameters": lambda: parameters_of(""),
    "parameter index": parameter_index,
    "cell arguments": lambda: launch_table("cell"),
    "nodes": node_reference,
    "qos": qos_list,
    "interfaces": interface_reference,
    "launch": launch_reference,
    "other parameters": other_parameters,
}


def rendered(text: str) -> str:
    """A page with every table as it should be.

    Raises:
        TableError: a marker of a table that does not exist, or one without its end.
    """

    def fill(found: re.Match[str]) -> str:
        start, name, end = found.groups()
        if name not in TABLES:
            raise TableError(f"unknown table {name!r}; valid: {', '.join(TABLES)}")
        return f"{start}\n{TABLES[name]()}\n\n{end}"

    result, count = _BLOCK.subn(fill, text)
    if count != text.count("<!-- table: "):
        raise TableError("a table's marker has no end")
    return result


def main() -> int:
    """Writes the pages, or with --check tells which are stale; returns the exit code."""
    parser = argparse.ArgumentParser(description="Tables of README.md and docs/reference.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when stale")
    check = parser.parse_args().check
    stale = []
    for name in PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        wanted = rendered(text)
        if text != wanted:
            stale.append(name)
            if not check:
                (ROOT / name).write_text(wanted, encoding="utf-8")
    if stale:
        print(f"stale: {', '.join(stale)}; run {COMMAND}" if check else f"wrote {', '.join(stale)}")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
