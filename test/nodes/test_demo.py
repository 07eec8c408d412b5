"""The demo's client as a process, against a scripted cell over DDS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from support.fake_cell import ERROR_M, FakeCell

from s3k_ros.demo.trial import draw_seeds
from s3k_ros.demo.verdict import verdict

pytestmark = pytest.mark.ros


def start(folder: Path, domain: int, **parameters: object) -> subprocess.Popen[str]:
    values = {"output_dir": folder, "trials": 1, "seed": 3, "startup_timeout_s": 20.0, **parameters}
    command = [sys.executable, "-m", "s3k_ros.demo", "--ros-args", "-p", "use_sim_time:=true"]
    for name, value in values.items():
        command += ["-p", f"{name}:={str(value).lower() if isinstance(value, bool) else value}"]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(client: subprocess.Popen[str]) -> str:
    try:
        output, _ = client.communicate(timeout=90)
    finally:
        client.kill()
    return output


def report_of(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


def test_demo_grasps_judges_and_reports(tmp_path, domain):
    with FakeCell(domain) as cell:
        client = start(tmp_path, domain, trials=2)
        output = finish(client)
    assert client.returncode == 0, output
    report = report_of(tmp_path)
    assert report["verdict"] == "passed"
    assert [t["seed"] for t in report["trials"]] == cell.seeds == draw_seeds(3, 2)
    assert {(g.object_id, g.keypoint, g.toward_keypoint) for g in cell.goals} == {
        ("plush_fox", "right_front_paw", "body")
    }
    for trial in report["trials"]:
        assert trial["grasp_error_mm"] == pytest.approx(1e3 * ERROR_M, abs=0.1)
        assert trial["keypoint_error_mm"] == pytest.approx(1e3 * ERROR_M, abs=0.1)
        assert trial["holding"] == "HOLDING"
        assert 2.0 < trial["duration_s"] < 10.0
    assert report["keypoints"]["body"]["valid_fraction"] == 1.0
    assert report["versions"]["model"] == "plush_fox"
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert (tmp_path / "demo.mp4").stat().st_size > 1_000
    for phase in ("observe", "approach", "align", "close", "lift", "verify"):
        assert phase in output


def test_demo_fails_when_the_fox_stays_on_the_table_though_the_server_claims_success(
    tmp_path, domain
):
    with FakeCell(domain, lifts=False):
        client = start(tmp_path, domain, video=False)
        output = finish(client)
    assert client.returncode == 1, output
    assert "rose by 0 mm" in report_of(tmp_path)["trials"][0]["judgement"]
    assert not verdict(tmp_path / "report.json")[0]


def test_demo_cancels_a_grasp_that_hangs_and_goes_on(tmp_path, domain):
    with FakeCell(domain, hangs=True) as cell:
        client = start(tmp_path, domain, trials=2, trial_timeout_s=2.0, video=False)
        output = finish(client)
    assert client.returncode == 1, output
    assert cell.cancelled == 2
    assert all("cancelled" in t["message"] for t in report_of(tmp_path)["trials"])


def test_demo_without_a_cell_fails_with_a_report_that_names_what_is_missing(tmp_path, domain):
    (tmp_path / "report.json").write_text('{"verdict": "passed", "reason": "an older run"}')
    client = start(tmp_path, domain, startup_timeout_s=1.0)
    output = finish(client)
    assert client.returncode == 1, output
    assert "/clock did not appear" in report_of(tmp_path)["reason"]


def test_demo_that_is_interrupted_cancels_its_goal_and_reports_failure(tmp_path, domain):
    with FakeCell(domain, hangs=True) as cell:
        client = start(tmp_path, domain)
        deadline = time.monotonic() + 60
        while not cell.goals and time.monotonic() < deadline:
            time.sleep(0.05)
        client.send_signal(signal.SIGINT)
        output = finish(client)
        assert client.returncode == 1, output
        assert cell.cancelled == 1
    report = report_of(tmp_path)
    assert "interrupted" in report["reason"]
    assert report["verdict"] == "failed"


def test_demo_refuses_a_parameter_out_of_range(tmp_path, domain):
    client = start(tmp_path, domain, trials=0)
    output = finish(client)
    assert client.returncode == 2
    assert "trials" in output
