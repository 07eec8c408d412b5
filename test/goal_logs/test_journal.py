"""Goal logs of grasps on the kinematic cell: what is in them, and that they never disturb."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
from support.executor_runs import GOAL, in_phase, moved
from support.logged_cell import LoggedCell

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.goal_logs import reader
from s3k_ros.goal_logs.folder import LogFolder, resolved
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import GraspGoal


@pytest.fixture
def bench(tmp_path):
    made = LoggedCell(tmp_path / "logs")
    yield made
    made.journal.close()


def test_a_log_holds_inputs_plan_phases_and_outcome(bench):
    outcome = bench.grasp()
    log = bench.log()
    assert log.finished and log.request["kind"] == "GraspGoal"
    assert log.request["keypoint"] == "right_front_paw"
    assert log.parameters["grasp"]["verify_time_s"] == bench.executor.grasp.verify_time_s
    names = [name for name, _, _ in log.phases]
    assert names == ["observe", "approach", "align", "close", "lift", "verify"]
    assert all(begin <= end for _, begin, end in log.phases)
    assert log.outcome["code"] == "SUCCESS" and log.outcome["holding"] == "HOLDING"
    assert log.outcome["message"] == outcome.message
    assert len(log.joint_times) > 100 and log.joints.shape[1] == 7
    assert log.joints[-1] == pytest.approx(bench.cell.arm.position, abs=1e-3)
    assert log.forces.shape == (len(log.wrench_times), 3) and log.forces[0, 2] == 9.0
    assert np.allclose(
        log.keypoints["right_front_paw"].positions[0],
        bench.cell.keypoints.positions["right_front_paw"],
    )
    assert len(log.motions) == 3 and log.plans[0][1]["plan"] == "GraspPlan"
    assert log.plans[0][1]["grasp"]["position"] == pytest.approx(
        outcome.grasp_pose.translation, abs=1e-6
    )


def test_motions_are_where_the_arm_was(bench):
    bench.grasp(until=in_phase("approach", 0.2))
    bench.cell.keypoints.positions["right_front_paw"] = moved([0.02, -0.01, 0.0])
    bench.cell.run()
    log = bench.log()
    assert len(log.motions) >= 4  # a corrected one replaces the rest of the one before
    for motion, after in zip(log.motions, [*log.motions[1:], None], strict=True):
        end = log.ended if after is None else after.start
        inside = (log.joint_times >= motion.start + 0.05) & (log.joint_times <= end - 0.05)
        times = log.joint_times[inside] - motion.start
        planned = [np.interp(times, motion.times, column) for column in motion.positions.T]
        assert inside.any()
        assert np.abs(log.joints[inside] - np.transpose(planned)).max() < 0.02


def test_a_goal_that_is_refused_at_once_has_a_log_too(bench):
    bench.grasp(GraspGoal("head", lift_height_m=float("nan")))
    log = bench.log()
    assert log.outcome["code"] == "INVALID_GOAL" and log.request["lift_height_m"] is None


def test_a_fault_shows_when_the_arm_began_to_stop(bench):
    bench.grasp(until=in_phase("lift", 0.3))
    bench.executor.end(GraspCode.EMERGENCY_STOP, "test")
    bench.cell.run()
    log = bench.log()
    assert log.outcome["code"] == "EMERGENCY_STOP"
    assert log.phases[-1][0] == "stopping"
    assert any(values["event"] == "Fault" for _, values in log.events)
    assert any(values["command"] == "StopArm" for _, values in log.commands)


def test_a_grasp_takes_little_room(bench):
    bench.grasp()
    bench.journal.close()
    assert bench.journal.newest.stat().st_size < 300_000
    assert bench.journal.dropped == 0


def test_the_folder_keeps_the_newest_and_nothing_but_logs_is_removed(tmp_path):
    bench = LoggedCell(tmp_path, most_files=2)
    (tmp_path / "2026-01-01_notes.mcap").touch()
    for _ in range(4):
        bench.grasp(GraspGoal("head", lift_height_m=float("nan")))
    bench.journal.close()
    assert len(bench.folder.logs()) == 2 and bench.folder.logs()[-1] == bench.journal.newest
    assert (tmp_path / "2026-01-01_notes.mcap").exists()


def test_the_folder_keeps_a_total_size(tmp_path):
    folder = LogFolder(tmp_path, most_bytes=250)
    for day in (1, 2, 3):
        (tmp_path / f"2026-01-0{day}_10-00-00.000_grasp_paw.mcap").write_bytes(bytes(100))
    folder.tidy()
    assert [path.name[9] for path in folder.logs()] == ["2", "3"]


def test_a_folder_that_cannot_be_written_warns_once_and_disturbs_nothing(tmp_path):
    (tmp_path / "a file").touch()  # not even root makes a folder below it
    bench = LoggedCell(tmp_path / "a file" / "logs")
    for _ in range(2):
        assert bench.grasp().code == GraspCode.SUCCESS
    bench.journal.close()
    assert len(bench.warnings) == 1 and "no whole log" in bench.warnings[0]


def test_a_full_disk_warns_once_and_disturbs_nothing(bench, monkeypatch):
    monkeypatch.setattr("s3k_ros.cameras.recording.writer.RESERVE_BYTES", 2**62)
    for _ in range(2):
        assert bench.grasp().code == GraspCode.SUCCESS
    bench.journal.close()
    assert len(bench.warnings) == 1 and "is full" in bench.warnings[0]


def test_an_entry_of_an_unknown_kind_is_written_as_it_is(bench):
    @dataclasses.dataclass
    class Novelty:
        value: float

    assert bench.executor.start(GOAL) is None
    bench.journal.record(101.0, Novelty(3.5))
    log = bench.log()
    assert log.events[-1][1] == {"event": "Novelty", "value": 3.5} and log.outcome is None


def test_what_a_kill_leaves_can_be_read(bench, tmp_path):
    bench.grasp(until=in_phase("close"))
    end = time.monotonic() + 20.0
    while bench.journal.newest is None or bench.journal.newest.stat().st_size < 10_000:
        assert time.monotonic() < end, "nothing was flushed"
        time.sleep(0.05)
    torn = tmp_path / "torn.mcap"
    torn.write_bytes(bench.journal.newest.read_bytes()[:-10])
    log = reader.read(torn)
    assert not log.finished and log.request["keypoint"] == "right_front_paw"
    assert log.outcome is None and "approach" in [name for name, _, _ in log.phases]


def test_files_that_are_no_goal_logs_are_named(tmp_path):
    with pytest.raises(ConfigurationError, match="does not exist"):
        reader.read(tmp_path / "none.mcap")
    (tmp_path / "text.mcap").write_text("nothing of the kind")
    with pytest.raises(ConfigurationError, match="is no MCAP file"):
        reader.read(tmp_path / "text.mcap")
    from s3k_ros.cameras.recording.writer import RecordingWriter

    RecordingWriter(tmp_path / "other.mcap").close()
    with pytest.raises(DataError, match="no goal log"):
        reader.read(tmp_path / "other.mcap")


def test_relative_folders_lie_in_ros_home(monkeypatch):
    monkeypatch.setenv("ROS_HOME", "/somewhere")
    assert resolved("logs") == Path("/somewhere/logs") and resolved("/a") == Path("/a")
    assert resolved("") is None
