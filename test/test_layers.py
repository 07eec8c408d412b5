"""Imports point inward, and ROS stays outside."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "s3k_ros"
INNER = {"errors", "params", "geometry", "results"}
MIDDLE = {"perception", "cameras", "grasp", "calibration", "control"}
# Files of what grasps saw and did: on the middle layers, without ROS, so that the simulation in one
# process writes them too.
LOGS = {"goal_logs"}
HEAVY = {"simulation", "training", "rl", "labelling"}
# Benchmarks measure every layer, and nothing imports them. Their ROS parts are files of their own,
# which the others import late or start as processes: `s3k bench NAME --help` needs no ROS.
BENCH = {"bench"}
BENCH_ROS = "bench/ros_"
# Layers that may speak ROS.
OUTER = {"ros", "nodes", "demo", "client"}
ROS = {
    "rclpy", "message_filters", "tf2_ros", "tf2_msgs", "cv_bridge", "sensor_msgs_py",
    "tf_transformations", "control_msgs", "std_msgs", "geometry_msgs", "sensor_msgs",
    "trajectory_msgs", "diagnostic_msgs", "visualization_msgs", "builtin_interfaces",
    "rosgraph_msgs", "action_msgs", "std_srvs", "rosidl_runtime_py", "launch", "launch_ros",
    "lifecycle_msgs", "moveit_msgs", "shape_msgs", "unique_identifier_msgs",
}  # fmt: skip
INTERFACES = {"msg", "srv", "action"}
HEAVY_LIBRARIES = {"torch", "mujoco", "dm_control", "dm_robotics", "lightning", "ray"}
# The simulated cell is the one node that is made of a heavy layer; these are its parts.
SIMULATED_CELL = ("nodes/sim_cell.py", "ros/sim_")

FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py") if path.parent != ROOT)
FILES += [Path(name) for name in ("client.py", "errors.py", "results.py")]


def imports(path: Path, *, late: bool = True) -> Iterator[str]:
    """Dotted names of what a file imports; without ``late`` only at module level."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    for node in ast.walk(tree) if late else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layer"
            module = node.module or ""
            if module == "s3k_ros":
                yield from (f"s3k_ros.{alias.name}" for alias in node.names)
            else:
                yield module


def layer_of(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def layers_used(path: Path, *, late: bool = True) -> set[str]:
    names = (name.split(".") for name in imports(path, late=late))
    return {name[1] for name in names if name[0] == "s3k_ros" and len(name) > 1}


def libraries_used(path: Path, *, late: bool = True) -> set[str]:
    return {name.split(".")[0] for name in imports(path, late=late)}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_point_inward(path: Path) -> None:
    layer = layer_of(path)
    if layer in INNER:
        allowed = INNER
    elif layer in MIDDLE:
        allowed = INNER | {layer}
    elif layer in LOGS:
        allowed = INNER | MIDDLE | LOGS
    elif layer in HEAVY:
        allowed = INNER | MIDDLE | LOGS | HEAVY
    elif layer in BENCH and not str(path).startswith(BENCH_ROS):
        allowed = INNER | MIDDLE | LOGS | HEAVY | BENCH
    else:
        return
    assert layers_used(path) <= allowed


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_the_outer_layers_speak_ros(path: Path) -> None:
    if layer_of(path) in OUTER or str(path).startswith(BENCH_ROS):
        return
    assert not libraries_used(path) & ROS
    assert not layers_used(path) & INTERFACES


@pytest.mark.parametrize("path", FILES, ids=str)
def test_heavy_libraries_stay_in_the_heavy_layers(path: Path) -> None:
    if layer_of(path) in HEAVY | BENCH or str(path).startswith(SIMULATED_CELL):
        return
    assert not libraries_used(path, late=False) & HEAVY_LIBRARIES
    assert not layers_used(path, late=False) & HEAVY


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_the_simulated_cell_uses_its_parts(path: Path) -> None:
    if not str(path).startswith(SIMULATED_CELL):
        assert not any(name.startswith("s3k_ros.ros.sim_") for name in imports(path))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_nothing_imports_a_benchmark(path: Path) -> None:
    assert layer_of(path) in BENCH or not layers_used(path) & BENCH


@pytest.mark.parametrize("path", FILES, ids=str)
def test_benchmarks_import_their_ros_parts_late(path: Path) -> None:
    if layer_of(path) in BENCH and not str(path).startswith(BENCH_ROS):
        early = imports(path, late=False)
        assert not any(name.startswith("s3k_ros.bench.ros_") for name in early)


def test_package_root_is_empty() -> None:
    assert not (ROOT / "__init__.py").read_text(encoding="utf-8").strip()
