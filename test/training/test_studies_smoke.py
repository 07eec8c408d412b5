"""The smoke scale for real: rendering, training, export and evaluation, in tiny."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from s3k_ros.results import Result
from s3k_ros.training.studies import cli
from s3k_ros.training.studies.catalogue import STUDIES

pytest.importorskip("mujoco")
pytest.importorskip("torch")
pytestmark = [pytest.mark.sim, pytest.mark.torch]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all studies: what two of them share is done once."""
    return tmp_path_factory.mktemp("studies")


def call(out: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args([*words, "--scale", "smoke", "--out", str(out)]))


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs_from_end_to_end(name: str, out: Path) -> None:
    assert call(out, name, "--in-process") == 0
    result = Result.read(out / "docs" / f"{name}.json")
    assert result.figures["complete"] is True
    assert {check["verdict"] for check in result.figures["checks"]} == {
        "cannot be judged at this scale"
    }
    assert not result.targets
    for run in result.figures["runs"]:
        assert run["tests"]["test"]["scenes"] >= 2
        assert run["tests"]["test"]["rms_px"] > 0
    assert (out / "docs" / f"{name}.md").exists()
