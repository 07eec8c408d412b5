"""Benchmark faults: the cases are decided beforehand, and a few of them run."""

from __future__ import annotations

import argparse
import collections

import pytest

pytest.importorskip("mujoco")

from s3k_ros.bench import fault_kinds, fault_trial, faults
from s3k_ros.bench.fault_cell import FaultCell
from s3k_ros.errors import ConfigurationError
from s3k_ros.grasp.codes import GraspCode, Phase

pytestmark = pytest.mark.sim


@pytest.fixture(scope="module")
def cell():
    return FaultCell(0)


def first(name: str, phase: Phase, placing: bool = False) -> fault_trial.Case:
    """The first case of a kind of fault in a phase."""
    for number in range(20_000):
        case = fault_trial.draw(number, 0)
        if (case.fault.name, case.phase, case.placing) == (name, phase, placing):
            return case
    raise AssertionError(f"{name} never happens in {phase}")


def test_cases_cover_every_kind_in_every_phase_of_both_tasks():
    cases = [fault_trial.draw(number, 0) for number in range(2000)]
    assert cases[:50] == [fault_trial.draw(number, 0) for number in range(50)]
    seen = collections.Counter((c.fault.name, c.placing, c.phase) for c in cases)
    for kind in fault_kinds.KINDS:
        assert all(seen[kind.name, False, phase] for phase in kind.grasp), kind.name
        assert all(seen[kind.name, True, phase] for phase in kind.place), kind.name
    phases = {phase for kind in fault_kinds.KINDS for phase in (*kind.grasp, *kind.place)}
    assert phases == {*fault_kinds.GRASP, *fault_kinds.PLACE}
    assert all(case.expected for case in cases)


@pytest.mark.parametrize(
    ("name", "phase", "placing"),
    [
        ("robot disabled", Phase.ALIGN, False),
        ("network to the robot cut", Phase.APPROACH, False),
        ("wrench spike", Phase.LIFT, False),
        ("clock goes back", Phase.APPROACH, False),
        ("object slips", Phase.TRANSFER, True),
    ],
)
def test_a_fault_ends_rightly_at_rest_and_the_next_goal_works(cell, name, phase, placing):
    case = first(name, phase, placing)
    report = fault_trial.run(case, cell)
    assert not report.problems, report
    assert report.code in report.expected and report.next_code == "SUCCESS"
    if case.fault.prompt:
        assert report.brake_s <= 0.02 and report.still_s <= faults.STOP_S


def test_an_end_that_is_not_expected_is_reported(cell, monkeypatch):
    case = first("cancel", Phase.OBSERVE)
    wrong = fault_trial.Case(**{**vars(case), "expected": (GraspCode.SLIPPED,)})
    report = fault_trial.run(wrong, cell)
    assert report.problems == ["ended CANCELED"]


def test_an_arm_that_does_not_stop_is_reported(cell, monkeypatch):
    case = first("cancel", Phase.APPROACH)
    monkeypatch.setattr(fault_trial.FaultCell, "still", property(lambda self: False))
    monkeypatch.setattr(fault_trial, "_LONGEST_TRAJECTORY_S", 0.5)
    report = fault_trial.run(case, cell)
    assert any("rest" in problem for problem in report.problems)


def test_arguments_out_of_range_are_refused():
    parser = argparse.ArgumentParser()
    faults.add_arguments(parser)
    for words in (["--trials", "0"], ["--workers", "0"], ["--hostile", "-1"]):
        with pytest.raises(ConfigurationError, match=words[0].replace("--", "--")):
            faults.run(parser.parse_args(words))
