"""The launch files: their arguments, and the cell against the simulated hardware."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from s3k_ros.msg import Keypoint3D, Keypoint3DArray
from s3k_ros.ros import qos

pytestmark = pytest.mark.ros

ARGUMENTS = {
    "perception.launch.xml": [
        *("namespace", "base_frame", "model", "params", "use_sim_time"),
        *("fused", "start_cameras", "source", "rig"),
    ],
    "grasp.launch.xml": ["namespace", "base_frame", "robot", "params", "use_sim_time"],
    "cell.launch.xml": ["namespace", "base_frame", "rig", "model", "robot", "params", "sim"],
    "demo.launch.xml": ["seed", "trials", "output_dir", "video", "model"],
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_launch_file_tells_its_arguments(name):
    command = ["ros2", "launch", "s3k_ros", name, "--show-args"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for argument in ARGUMENTS[name]:
        assert f"'{argument}'" in done.stdout


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
