"""The launch files: their arguments, and the cell against the simulated hardware."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from ament_index_python.packages import get_package_share_directory

from s3k_ros.msg import Keypoint3D, Keypoint3DArray
from s3k_ros.params.cameras import ReplayParameters
from s3k_ros.params.nodes import CameraRigNodeParameters
from s3k_ros.ros import qos

pytestmark = pytest.mark.ros

ARGUMENTS = {
    "perception.launch.xml": [
        *("namespace", "base_frame", "model", "params", "use_sim_time"),
        *("fused", "start_cameras", "source", "rig", "recording", "replay_speed", "replay_loop"),
    ],
    "grasp.launch.xml": [
        *("namespace", "base_frame", "robot", "params", "drivers", "tool_load", "use_sim_time"),
    ],
    "admittance.launch.xml": [
        *("namespace", "base_frame", "robot", "params", "tool_load", "use_sim_time"),
    ],
    "cell.launch.xml": [
        *("namespace", "base_frame", "rig", "model", "robot", "params", "sim", "source"),
        *("recording", "drivers", "tool_load", "gateway", "rosbridge_host", "rosbridge_port"),
    ],
    "demo.launch.xml": ["seed", "trials", "output_dir", "video", "model"],
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_launch_file_tells_its_arguments(name):
    command = ["ros2", "launch", "s3k_ros", name, "--show-args"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for argument in ARGUMENTS[name]:
        assert f"'{argument}'" in done.stdout


def fused_parameters(**arguments: str) -> dict[str, object]:
    """What cell.launch.xml sets for the node `perception`."""
    launch_file = pytest.importorskip("ros2cli.launch_file")
    path = Path(get_package_share_directory("s3k_ros")) / "launch" / "cell.launch.xml"
    processes = launch_file.read_processes(str(path), {"fused": "true", **arguments})
    [command] = [process.command for process in processes if process.name == "perception"]
    found: dict[str, object] = {}
    for before, word in itertools.pairwise(command):
        if before == "--params-file":
            for node, content in yaml.safe_load(Path(word).read_text()).items():
                if node in ("/**", "/**/perception"):
                    found |= content["ros__parameters"]
    return found


def test_fused_perception_of_the_simulated_cell_takes_its_images_from_topics():
    assert fused_parameters(sim="true")["source"] == "topics"
    assert fused_parameters()["source"] == "basler"
    assert fused_parameters(sim="true", source="fake")["source"] == "fake"
    replay = fused_parameters(source="replay", recording="12", replay_speed="2", replay_loop="true")
    assert replay["replay.recording"] == "12"  # a text, whatever it looks like
    assert (replay["replay.speed"], replay["replay.loop"]) == (2.0, True)
    for parameters in (replay, fused_parameters()):
        for kind, prefix in ((CameraRigNodeParameters, ""), (ReplayParameters, "replay.")):
            names = [info.name for info in kind.describe() if prefix + info.name in parameters]
            kind.from_mapping({name: parameters[prefix + name] for name in names})


def test_gateway_and_other_drivers_are_arguments_of_the_cell():
    """The gateway starts on request; names of drivers come before the file of the cell."""
    launch_file = pytest.importorskip("ros2cli.launch_file")
    share = Path(get_package_share_directory("s3k_ros"))
    drivers = str(share / "config" / "ros2_control.yaml")
    path = str(share / "launch" / "cell.launch.xml")
    usual = {process.name for process in launch_file.read_processes(path, {})}
    assert "grasp_server" in usual and "sawyer_gateway" not in usual
    arguments = {"gateway": "true", "rosbridge_host": "sawyer.local", "drivers": drivers}
    processes = {p.name: p.command for p in launch_file.read_processes(path, arguments)}
    files = [
        word
        for before, word in itertools.pairwise(processes["grasp_server"])
        if before == "--params-file"
    ]
    assert files.index(drivers) < files.index(str(share / "config" / "cell.yaml"))
    written = [
        yaml.safe_load(Path(word).read_text())
        for before, word in itertools.pairwise(processes["sawyer_gateway"])
        if before == "--params-file" and word != str(share / "config" / "cell.yaml")
    ]
    found = {
        key: value
        for content in written
        for node in content.values()
        for key, value in node["ros__parameters"].items()
    }
    assert (found["rosbridge_host"], found["rosbridge_port"]) == ("sawyer.local", 9090)


@pytest.mark.sim
@pytest.mark.slow
def test_cell_runs_against_the_simulated_hardware(ros, module_domain, tmp_path):
    """The rig file's calibration and the simulator's images make 3D keypoints; Ctrl-C ends all."""
    keypoints = ros.collect(Keypoint3DArray, "/work_cell/keypoints", qos.keypoints())
    log = (tmp_path / "launch.log").open("w+")
    launch = subprocess.Popen(
        ["ros2", "launch", "s3k_ros", "cell.launch.xml", "sim:=true", "namespace:=/work_cell"],
        env={**os.environ, "ROS_DOMAIN_ID": str(module_domain)},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        ros.spin_until(
            lambda: any(k.status == Keypoint3D.OK for m in keypoints for k in m.keypoints),
            what="a keypoint",
        )
    finally:
        os.killpg(launch.pid, signal.SIGINT)
        launch.wait(60)
        log.seek(0)
        output = log.read()
    assert keypoints[-1].header.frame_id == "base"
    for node in (
        "sim_cell",
        "rig_description",
        "keypoint_detector",
        "triangulator",
        "grasp_server",
    ):
        assert f"[{node}" in output
    assert "process has died" not in output, output
