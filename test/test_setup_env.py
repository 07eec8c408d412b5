"""The set-up script: what it keeps out, when it works again, what it asks for."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def setup_env():
    spec = importlib.util.spec_from_file_location("setup_env", ROOT / "tools" / "setup_env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def repository(tmp_path, setup_env, monkeypatch):
    """A repository with one of everything that counts."""
    for name in ("msg/A.msg", "CMakeLists.txt", "package.xml", "s3k_ros/a.py", "underlay/b/b.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old")
    monkeypatch.setattr(setup_env, "ROOT", tmp_path)
    return tmp_path


def test_a_sourced_ros_does_not_get_in(setup_env, monkeypatch):
    sourced = {
        "AMENT_PREFIX_PATH": "/opt/ros/humble",
        "CMAKE_PREFIX_PATH": "/opt/ros/humble",
        "COLCON_PREFIX_PATH": "/home/me/ws/install",
        "PYTHONPATH": "/opt/ros/humble/lib/python3.10/site-packages",
        "LD_LIBRARY_PATH": "/opt/ros/humble/lib",
        "ROS_DISTRO": "humble",
        "RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp",
        "PATH": "/opt/ros/humble/bin:/usr/bin",
    }
    for name, value in sourced.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    clean = setup_env.base_environment()
    assert not set(sourced) - {"PATH"} & set(clean)
    assert clean["PATH"] == "/usr/bin"
    assert clean["ROS_DOMAIN_ID"] == "7"


def test_the_launcher_replaces_what_a_sourced_ros_set():
    command = [str(ROOT / ".venv/bin/s3k-env"), "env"]
    sourced = {"PATH": "/usr/bin:/bin", "PYTHONPATH": "/opt/ros/x", "LD_LIBRARY_PATH": "/opt/ros/x"}
    shown = subprocess.run(command, env=sourced, capture_output=True, text=True, check=True).stdout
    assert "/opt/ros" not in shown
    assert re.search(r"^AMENT_PREFIX_PATH=.*/\.venv$", shown, re.MULTILINE)


def test_an_edit_of_python_needs_no_build_but_a_new_file_does(setup_env, repository):
    before = setup_env.package_digest()
    (repository / "s3k_ros/a.py").write_text("new")
    assert setup_env.package_digest() == before
    (repository / "s3k_ros/b.py").write_text("new")
    assert setup_env.package_digest() != before


@pytest.mark.parametrize("name", ["msg/A.msg", "CMakeLists.txt", "package.xml"])
def test_an_edit_of_what_is_compiled_needs_a_build(setup_env, repository, name):
    before = setup_env.package_digest()
    (repository / name).write_text("new")
    assert setup_env.package_digest() != before


def test_the_underlay_is_built_apart(setup_env, repository):
    package, underlay = setup_env.package_digest(), setup_env.underlay_digest()
    (repository / "underlay/b/package.xml").write_text("new")
    assert setup_env.package_digest() == package
    assert setup_env.underlay_digest() != underlay


def test_without_root_the_exact_command_is_printed_and_nothing_happens(setup_env, monkeypatch):
    monkeypatch.setattr(setup_env, "missing_debian_packages", lambda python: ["libegl1", "cmake"])
    monkeypatch.setattr(setup_env.os, "geteuid", lambda: 1000)
    with pytest.raises(setup_env.SetupError, match=r"sudo apt-get install .* libegl1 cmake"):
        setup_env.ensure_debian_packages()


def test_nothing_of_debian_is_missing_here(setup_env):
    assert setup_env.missing_debian_packages(setup_env.find_python()) == []


def test_every_locked_file_has_a_hash_and_no_host_is_named():
    for name in ("lock.txt", "build-lock.txt", "bench-lock.txt"):
        text = (ROOT / "requirements" / name).read_text()
        assert "://" not in text and "index-url" not in text
        blocks = re.split(r"\n(?=\S)", text.strip())
        assert all("==" in block and "--hash=sha256:" in block for block in blocks)


def test_the_locked_environment_holds_no_torch():
    assert "torch" not in (ROOT / "requirements" / "lock.txt").read_text()
