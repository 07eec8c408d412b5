"""Pages of goal logs: whole, self-contained, and with the advice that fits."""

from __future__ import annotations

import re

import numpy as np
import pytest
from support.executor_runs import in_phase
from support.logged_cell import LoggedCell

from s3k_ros import cli
from s3k_ros.goal_logs import measures, page, plots, reader
from s3k_ros.grasp.advice import ADVICE
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import GraspGoal


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """A log of a grasp that went well, and its cell."""
    bench = LoggedCell(tmp_path_factory.mktemp("held"))
    bench.grasp()
    return bench.log(), bench.cell


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A log of a grasp that an emergency stop ended in lift."""
    bench = LoggedCell(tmp_path_factory.mktemp("stopped"))
    bench.grasp(until=in_phase("lift", 0.3))
    bench.executor.end(GraspCode.EMERGENCY_STOP, "emergency <stop>")
    bench.cell.run()
    return bench.log()


@pytest.fixture
def no_plots(monkeypatch):
    """Pages without plots: those take seconds."""
    for name in ("timeline", "space", "keypoint", "joints"):
        monkeypatch.setattr(plots, name, lambda *_: "")


def test_the_command_writes_a_page_that_refers_to_nothing_outside_it(held, tmp_path, capsys):
    log, _ = held
    out = tmp_path / "page.html"
    assert cli.main(["grasp", "explain", str(log.path.parent), "--out", str(out)]) == 0
    assert "SUCCESS" in capsys.readouterr().out
    html = out.read_text()
    assert html.count("<svg") == 4 and "holding" in html
    assert not re.findall(r'(?:src|href)="(?!#|data:)', html)
    assert len(html) < 2_000_000


def test_a_folder_without_logs_is_named(tmp_path, capsys):
    assert cli.main(["grasp", "explain", str(tmp_path)]) == 1
    assert "there is no goal log" in capsys.readouterr().err


def test_a_failure_says_what_to_do_and_escapes_its_message(stopped, no_plots):
    html = page.render(stopped)
    assert "EMERGENCY_STOP in lift" in html and "emergency &lt;stop&gt;" in html
    assert ADVICE[GraspCode.EMERGENCY_STOP].remedy in html


def test_a_goal_that_was_refused_at_once_has_a_page(tmp_path):
    bench = LoggedCell(tmp_path)
    bench.grasp(GraspGoal("head", lift_height_m=float("nan")))
    assert "INVALID_GOAL" in page.render(bench.log())


def test_the_tools_way_ends_where_the_arm_is(held):
    log, _ = held
    way = measures.tool_way(log)
    assert way[-1] == pytest.approx(log.plans[-1][1]["lifted"]["position"], abs=2e-3)
    assert measures.tool_way(reader.read(log.path)).shape == (len(log.joints), 3)


def test_planned_and_measured_joints_agree_on_a_perfect_arm(held):
    log, _ = held
    assert np.nanmax(measures.tracking_error(log)) < 0.02
    times, speeds = measures.measured_speeds(log)
    _, planned = measures.planned_at(log, times)
    assert np.nanmax(np.abs(speeds - planned)) < 0.25 * np.nanmax(np.abs(planned))


def test_the_force_counts_from_the_last_tare(held, stopped):
    log, _ = held
    _, changes = measures.force_changes(log)
    assert changes.max() < 0.05
    times, limits = measures.force_limits(log)
    assert len(times) == len(limits) and np.nanmin(limits) == log.request["contact_force_limit_n"]
    assert np.isnan(measures.force_limits(stopped)[1][-1])  # none while it stops


def test_jaws_close_to_the_toys_width(held):
    log, cell = held
    _, widths = measures.jaw_widths(log)
    assert widths[-1] == pytest.approx(cell.gripper.toy_width, abs=1e-3) and widths.max() > 0.08
