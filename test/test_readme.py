"""README.md and docs/: the tables are current, and what they show exists."""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from s3k_ros import cli
from s3k_ros.results import Result

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# The files that make up each node.
SOURCES = {
    "every node": ["ros/diagnostics.py", "ros/twin.py"],
    "keypoint_detector": ["nodes/keypoint_detector.py", "ros/detection.py"],
    "triangulator": ["nodes/triangulator.py", "ros/triangulation.py", "ros/calibration.py"],
    "camera_rig": ["nodes/camera_rig.py", "ros/rig.py", "ros/rig_images.py"],
    "perception": [
        *("nodes/perception.py", "ros/detection.py", "ros/triangulation.py", "ros/calibration.py"),
        *("ros/rig.py", "ros/rig_images.py", "ros/topic_rig.py"),
    ],
    "rig_description": ["nodes/rig_description.py"],
    "grasp_server": [
        *("nodes/grasp_server.py", "ros/grasp_inputs.py", "ros/grasp_messages.py"),
        *("ros/task_server.py", "ros/frames.py"),
    ],
    "admittance_controller": ["nodes/admittance_controller.py", "ros/admittance_inputs.py"],
    "sawyer_gateway": ["nodes/sawyer_gateway.py", "ros/sawyer_arm.py"],
    "sim_cell": [
        *("nodes/sim_cell.py", "ros/sim_publishers.py", "ros/sim_renderer.py", "ros/sim_robot.py"),
    ],
}
# Calls that open a door to ROS, with the type before the name. `make` is a partial `advertise`.
DOORS = {
    "advertise": "publishes", "make": "publishes", "create_publisher": "publishes",
    "listen": "subscribes", "create_subscription": "subscribes", "Subscriber": "subscribes",
    "create_service": "serves services", "ActionServer": "serves actions",
}  # fmt: skip
# Our own classes that open one, with the name alone.
WRAPPERS = {
    "JointStateTopic": ("subscribes", "JointState"),
    "WrenchTopic": ("subscribes", "WrenchStamped"),
    "RobotStateTopic": ("subscribes", "RobotState"),
    "TrajectoryArm": ("uses actions", "FollowJointTrajectory"),
    "ActionGripper": ("uses actions", "ParallelGripperCommand"),
    "ArmServer": ("serves actions", "FollowJointTrajectory"),
    "GripperServer": ("serves actions", "ParallelGripperCommand"),
    "ModelService": ("serves services", "LoadModel"),
}
BROADCASTERS = {"TransformBroadcaster": "/tf", "StaticTransformBroadcaster": "/tf_static"}
LISTENER = "/tf and /tf_static"


def tool(name: str) -> ModuleType:
    """A program in tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    return tool("readme_tables")


def doors(path: Path) -> Iterator[tuple[str, str, str]]:
    """Kind, type and name of what a file opens; a name from a parameter is "$field"."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = {
        target.id: text(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):  # names and types of actions that are served in a loop
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Dict):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if [getattr(target, "id", "") for target in targets] == ["ACTIONS"]:
                for key, kind in zip(node.value.keys, node.value.values, strict=True):
                    yield "serves actions", ast.unparse(kind), ast.literal_eval(key)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        if name in BROADCASTERS:
            yield "publishes", "TFMessage", BROADCASTERS[name]
        elif name == "TransformListener" and path.stem != "calibration":  # there on request alone
            yield "subscribes", "TFMessage", LISTENER
        elif name in WRAPPERS:
            kind, message = WRAPPERS[name]
            yield kind, message, next(filter(None, map(text, call.args[1:])))
        elif name in DOORS:
            types = [
                i for i, a in enumerate(call.args) if isinstance(a, ast.Name) and a.id[0].isupper()
            ]
            if types and len(call.args) > types[0] + 1:
                topic = call.args[types[0] + 1]
                found = text(topic) or texts.get(getattr(topic, "id", ""), "")
                yield DOORS[name], call.args[types[0]].id, found


def text(node: ast.expr) -> str:
    """A name in the source: a literal, a pattern or "$field" of parameters; empty if neither."""
    match node:
        case ast.Constant(value=str() as value):
            return value
        case ast.JoinedStr(values=parts):
            return "".join(p.value if isinstance(p, ast.Constant) else "<camera>" for p in parts)
        case ast.Attribute(value=owner, attr="TOPIC") if ast.unparse(owner) == "diagnostics":
            return "/diagnostics"
        case ast.Name(id="TOPIC"):
            return "/diagnostics"
        case ast.Attribute(value=owner, attr=field) if ast.unparse(owner).split(".")[-1] in (
            "p", "params", "_params",
        ):  # fmt: skip
            return f"${field}"
    return ""


def test_the_page_of_benchmarks_is_current_and_keeps_missed_targets() -> None:
    bench_page = tool("bench_page")
    written = bench_page.PAGE.read_text(encoding="utf-8")
    assert written == bench_page.page(), "run: python tools/bench_page.py"
    results = [Result.read(path) for path in bench_page.RESULTS.glob("*.json")]
    targets = [target for result in results for target in result.targets]
    assert written.count("| **missed** |") == sum(not target.passed for target in targets)
    assert written.count("| met |") == sum(target.passed for target in targets)


@pytest.mark.parametrize("page", ["README.md", "docs/reference.md", "docs/grasping.md"])
def test_tables_are_current(tables: ModuleType, page: str) -> None:
    written = (ROOT / page).read_text(encoding="utf-8")
    assert written == tables.rendered(written), "run: python tools/readme_tables.py"


@pytest.mark.parametrize("node", SOURCES)
def test_topics_are_those_of_the_code(tables: ModuleType, node: str) -> None:
    listed = {
        (kind, row["type"].partition("/")[2], "$" + row["parameter"].partition(".")[2]
         if "parameter" in row else row["name"])
        for kind, rows in tables.topics()[node].items()
        for row in rows
    }  # fmt: skip
    found = {door for name in SOURCES[node] for door in doors(ROOT / "s3k_ros" / name)}
    assert {door for door in found if door[2]} == listed


def test_every_node_is_listed(tables: ModuleType) -> None:
    files = {path.stem for path in (ROOT / "s3k_ros" / "nodes").glob("[a-z]*.py")}
    assert files == set(tables.topics()) - {"every node"}


def test_every_result_code_is_explained(tables: ModuleType) -> None:
    assert all(meaning for _, _, meaning, _ in tables.result_codes())


def test_an_unknown_table_is_refused(tables: ModuleType) -> None:
    with pytest.raises(tables.TableError, match="codes"):
        tables.rendered("<!-- table: moons -->\n<!-- end -->\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [name for name in targets if not (page.parent / name).exists()] == []


def names_in(module: str) -> set[str]:
    """What a module offers; every word of its source where PyTorch is missing."""
    try:
        return set(dir(importlib.import_module(module)))
    except ModuleNotFoundError as error:
        assert error.name == "torch", error
        return set(re.findall(r"\w+", source_of(module)))


def options_of(command: cli.Command) -> set[str]:
    """The options of a subcommand; read from its source where PyTorch is missing."""
    parser = argparse.ArgumentParser()
    try:
        importlib.import_module(command.module).add_arguments(parser)
    except ModuleNotFoundError as error:
        assert error.name in {"torch", "lightning_fabric"}, error
        return set(re.findall(r'"(--[a-z-]+)"', source_of(command.module)))
    return {option for action in parser._actions for option in action.option_strings}


def source_of(module: str) -> str:
    return (ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_import_what_exists(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module:
                assert {alias.name for alias in node.names} <= names_in(node.module)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_the_options_that_are_shown(page: Path) -> None:
    joined = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^(?:\.venv/bin/)?s3k ((?!COMMAND).*)$", joined, re.MULTILINE):
        words = line.split()
        command = cli.find(words)
        assert command is not None, line
        assert {word for word in words if word.startswith("--")} <= options_of(command), line
