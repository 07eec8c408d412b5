"""The format that benchmarks and studies share."""

from __future__ import annotations

import json
import math
import platform
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3k_ros import results
from s3k_ros.errors import ConfigurationError
from s3k_ros.results import Result, Target


def result(**changes) -> Result:
    values = {
        "name": "toy",
        "command": "s3k bench toy",
        "seed": 3,
        "commit": "abc",
        "machine": "a machine",
        "figures": {"error_mm": {"head": 1.5, "tail": 2.25}, "runs": [1, 2], "note": "none"},
        "targets": (Target.at_most("error", 1.5, 2.0, "mm"),),
    }
    return Result(**{**values, **changes})


def test_what_is_written_is_read_back(tmp_path):
    result().write(tmp_path / "deep" / "r.json")
    assert Result.read(tmp_path / "deep" / "r.json") == result()
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["r.json"]


def test_the_file_holds_exactly_the_agreed_keys(tmp_path):
    result().write(tmp_path / "r.json")
    content = json.loads((tmp_path / "r.json").read_text())
    assert list(content) == ["name", "command", "seed", "commit", "machine", "figures", "targets"]
    assert list(content["targets"][0]) == ["name", "measured", "limit", "unit", "passed"]


def test_a_missed_target_makes_the_exit_code_1():
    assert result().exit_code == 0
    assert result(targets=()).exit_code == 0
    missed = Target.at_least("valid", 0.97, 0.98, "share")
    assert result(targets=(*result().targets, missed)).exit_code == 1
    assert "MISSED" in result(targets=(missed,)).table()


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_limits_include_themselves_and_point_the_right_way(measured, limit):
    assert Target.at_most("x", measured, limit, "").passed == (measured <= limit)
    assert Target.at_least("x", measured, limit, "").passed == (measured >= limit)


def test_a_figure_that_could_not_be_measured_misses_its_target_and_is_null(tmp_path):
    target = Target.at_most("error", math.nan, 2.0, "mm")
    assert not target.passed
    result(targets=(target,), figures={"spread": [math.inf, 1.0]}).write(tmp_path / "r.json")
    assert "NaN" not in (tmp_path / "r.json").read_text()
    back = Result.read(tmp_path / "r.json")
    assert math.isnan(back.targets[0].measured)
    assert back.figures == {"spread": [None, 1.0]}


def test_numpy_figures_are_written_as_plain_numbers(tmp_path):
    figures = {"a": np.float32(0.5), "b": np.arange(3), "c": np.bool_(True), "d": {1: np.int64(7)}}
    result(figures=figures).write(tmp_path / "r.json")
    read = Result.read(tmp_path / "r.json").figures
    assert read == {"a": 0.5, "b": [0, 1, 2], "c": True, "d": {"1": 7}}


def test_the_table_shows_nested_figures_and_targets():
    table = result().table()
    assert "error_mm.tail" in table and "2.25" in table and "met" in table


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 1', '{"name": "x", "colour": 1}'])
def test_another_file_is_refused_by_name(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"r\.json"):
        Result.read(tmp_path / "r.json")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    result().write(tmp_path / "r.json")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        result(seed=4).write(tmp_path / "r.json")
    assert Result.read(tmp_path / "r.json").seed == 3


def test_the_machine_is_described_without_its_name():
    described = results.machine_description()
    assert "core" in described
    assert platform.node() not in described


def test_the_commit_is_that_of_the_source():
    here = results.Path(results.__file__).resolve().parent
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True
    ).stdout.strip()
    commit = results.source_commit().removesuffix("-dirty")
    assert head.startswith(commit) if head else commit == "unknown"
