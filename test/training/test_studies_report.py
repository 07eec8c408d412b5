from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s3k_ros.results import Result
from s3k_ros.training.studies import cli, plan, store
from s3k_ros.training.studies.catalogue import STUDIES
from s3k_ros.training.studies.checks import (
    Claim,
    Verdict,
    all_of,
    at_least,
    at_most,
    given,
    undecided,
)
from s3k_ros.training.studies.jobs import Status
from s3k_ros.training.studies.plan import Works, jobs_of
from s3k_ros.training.studies.records import Record, over_seeds, ratios, select, spread
from s3k_ros.training.studies.report import file_stem, write_report
from s3k_ros.training.studies.scales import SCALES
from s3k_ros.training.studies.specs import Run, RunSpec

CLAIM = Claim("a claim", "The paper says so.", "It holds.")
FOX_NAMES = ("head", "body", "left_front_paw", "right_front_paw", "tail")
Errors = Callable[[dict[str, Any]], float]


def figures(error: float, names: tuple[str, ...] = FOX_NAMES) -> dict[str, Any]:
    """What a run leaves, all of it in proportion to one error in mm; inf: refused."""
    known = error if math.isfinite(error) else None
    one = {"median_mm": known, "p95_mm": known, "rms_px": 0.4 * min(error, 99), "valid": 1.0}
    whole = {
        **one, "median_valid_mm": known, "valid_worst": 0.99, "swaps": 0.01, "size_ratio": 0.9,
        "paws_confused": 0.02,
        "length_fraction": None if known is None else known / 270,
        "keypoints": {name: {**one, "swaps": 0.0} for name in names},
    }  # fmt: skip
    return {
        "tests": {"test": whole, "train": whole},
        "train_seconds": 10.0,
        "machine": "a machine",
        "commit": "abc",
    }


def records(study: str, scale: str, error: Errors) -> list[Record]:
    runs = STUDIES[study].runs(SCALES[scale])
    return [
        Record(dict(run.cell), Status.FINISHED, figures(error(dict(run.cell))), "", "k")
        for run in runs
    ]


def verdicts(study: str, error: Errors, scale: str = "small") -> dict[str, Verdict]:
    checks = STUDIES[study].analyse(SCALES[scale], records(study, scale, error)).checks
    return {check.claim.name: check.verdict for check in checks}


# The rules.


def test_a_finding_holds_when_every_seed_says_so() -> None:
    assert at_least(CLAIM, [2.0, 2.5, 3.0], 2.0).verdict == Verdict.REPRODUCED
    assert at_least(CLAIM, [1.0, 1.5, 1.9], 2.0).verdict == Verdict.NOT_REPRODUCED
    assert at_most(CLAIM, [1.0, 1.5, 2.0], 2.0).verdict == Verdict.REPRODUCED
    assert at_most(CLAIM, [2.1, 2.5, math.inf], 2.0).verdict == Verdict.NOT_REPRODUCED


def test_seeds_that_disagree_judge_nothing() -> None:
    check = at_least(CLAIM, [1.0, 2.5, 3.0], 2.0)
    assert check.verdict == Verdict.UNDECIDED
    assert "disagree" in check.evidence


def test_fewer_than_three_seeds_judge_nothing() -> None:
    for known in ([], [9.0], [9.0, 9.0], [9.0, 9.0, math.nan]):
        assert at_least(CLAIM, known, 2.0).verdict == Verdict.UNDECIDED


def test_nothing_is_held_against_a_training_that_has_not_learned() -> None:
    for check in (at_least(CLAIM, [1.0] * 3, 2.0), at_most(CLAIM, [1.0] * 3, 2.0)):
        assert given(check, [10.0, 20.0, 28.0]) == check
        found = given(check, [10.0, 20.0, math.inf])
        assert found.verdict == Verdict.UNDECIDED
        assert "has not learned" in found.evidence


def test_equal_failures_do_not_pass_for_success() -> None:
    lost = verdicts("lambda", lambda cell: 118.0)
    assert lost["with enough labels a wide range of lambda works"] == Verdict.NOT_REPRODUCED
    assert lost["with enough labels a large lambda is best"] == Verdict.UNDECIDED
    lost = verdicts("labels", lambda cell: 118.0)
    assert lost["ten labelled samples suffice"] == Verdict.UNDECIDED
    assert lost["past the threshold all data are worth the same"] == Verdict.UNDECIDED


def test_parts_of_a_finding_are_judged_together() -> None:
    good, bad = at_least(CLAIM, [3.0] * 3, 2.0), at_least(CLAIM, [1.0] * 3, 2.0)
    open_ = undecided(CLAIM, "too few")
    assert all_of(CLAIM, [good, good]).verdict == Verdict.REPRODUCED
    assert all_of(CLAIM, [good, open_]).verdict == Verdict.UNDECIDED
    assert all_of(CLAIM, [good, open_, bad]).verdict == Verdict.NOT_REPRODUCED


def test_refused_keypoints_count_as_infinitely_wrong() -> None:
    found = spread([4.0, math.inf, math.inf, math.nan])
    assert math.isinf(found.median)
    assert found.count == 3
    assert found.text() == "refused (4.0..refused)"


def test_ratios_are_taken_seed_by_seed() -> None:
    table = [
        Record({"n": n, "seed": seed}, Status.FINISHED, figures(float(n * seed)))
        for n in (1, 3)
        for seed in (1, 2)
    ]
    assert ratios(table, "median_mm", {"n": 3}, {"n": 1}) == [3.0, 3.0]
    assert over_seeds(table, "median_mm", n=3).high == 6.0
    assert ratios(select(table, seed=1), "median_mm", {"n": 3}, {"n": 2}) == []


# The paper's findings, both ways.


def test_three_labels_and_ten() -> None:
    def like_the_paper(cell: dict[str, Any]) -> float:
        enough = cell["labelled"] >= 10
        return 5.0 if enough and cell["unlabelled"] else 60.0 if not enough else 20.0

    found = verdicts("labels", like_the_paper)
    assert set(found.values()) == {Verdict.REPRODUCED}
    found = verdicts("labels", lambda cell: 5.0)
    assert found["three labelled samples do not suffice: best"] == Verdict.NOT_REPRODUCED
    assert found["unlabelled data help"] == Verdict.NOT_REPRODUCED
    assert found["ten labelled samples suffice"] == Verdict.REPRODUCED
    found = verdicts("labels", lambda cell: 5.0 if cell["method"] == "full labels" else 20.0)
    assert found["ten labelled samples suffice"] == Verdict.NOT_REPRODUCED
    assert found["past the threshold all data are worth the same"] == Verdict.NOT_REPRODUCED


def test_unlabelled_data_narrow_the_gap_or_do_not() -> None:
    def like_the_paper(cell: dict[str, Any]) -> float:
        if cell["labels"] == "start":
            return 30.0 if cell["unlabelled"] < 1000 else 10.5
        return 10.0 if cell["labels"] == "full" else 5.0

    assert set(verdicts("domain-shift", like_the_paper).values()) == {Verdict.REPRODUCED}

    def stubborn(cell: dict[str, Any]) -> float:
        return 30.0 if cell["labels"] == "start" else 10.0

    found = verdicts("domain-shift", stubborn)
    assert found["unlabelled data narrow the gap"] == Verdict.NOT_REPRODUCED
    assert found["unlabelled data close the gap"] == Verdict.NOT_REPRODUCED


def test_more_shoes_help_or_do_not() -> None:
    falling = verdicts("category", lambda cell: 40.0 / cell["shoes"])
    assert falling["more shoes, smaller errors on unseen ones"] == Verdict.REPRODUCED
    assert falling["two shoes already generalise"] == Verdict.REPRODUCED
    flat = verdicts("category", lambda cell: 20.0)
    assert flat["more shoes, smaller errors on unseen ones"] == Verdict.NOT_REPRODUCED
    assert flat["a large gap remains between seen and unseen shoes"] == Verdict.NOT_REPRODUCED


def test_a_large_lambda_hurts_with_few_labels_or_does_not() -> None:
    def like_the_paper(cell: dict[str, Any]) -> float:
        return 10.0 * cell["lambda"] if cell["labelled"] == 3 else 10.0

    found = verdicts("lambda", like_the_paper)
    assert found["with few labels a smaller lambda is better"] == Verdict.REPRODUCED
    assert found["with enough labels a wide range of lambda works"] == Verdict.REPRODUCED
    found = verdicts("lambda", lambda cell: 10.0 * cell["lambda"])
    assert found["with enough labels a wide range of lambda works"] == Verdict.NOT_REPRODUCED
    assert found["with enough labels a large lambda is best"] == Verdict.NOT_REPRODUCED
    # The made-up estimates are 0.9 of the true size: no collapse.
    assert found["with few labels a large lambda collapses"] == Verdict.NOT_REPRODUCED


def test_fox_and_ablation_are_judged() -> None:
    found = verdicts("fox", lambda cell: 4.0)
    assert found["all keypoints but the tail are tracked in arrangements never seen"] == (
        Verdict.REPRODUCED
    )
    assert found["the tail is worse than the rest"] == Verdict.NOT_REPRODUCED
    found = verdicts("ablation", lambda cell: 5.0 if cell["method"] == "best" else 6.0)
    assert set(found.values()) == {Verdict.REPRODUCED}


@pytest.mark.parametrize("study", STUDIES)
def test_smoke_judges_nothing(study: str) -> None:
    assert set(verdicts(study, lambda cell: 1.0, "smoke").values()) <= {Verdict.UNDECIDED}


# The report.


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("error", [5.0, math.inf], ids=["measured", "refused"])
def test_a_report_has_tables_pictures_and_json(study: str, error: float, tmp_path: Path) -> None:
    known = records(study, "small", lambda cell: error)
    write_report(STUDIES[study], SCALES["small"], known, tmp_path, f"s3k study {study}")
    text = (tmp_path / f"{study}.md").read_text()
    result = Result.read(tmp_path / f"{study}.json")
    assert f"`s3k study {study}`" in text
    assert "Scale `small`" in text
    assert len(result.figures["runs"]) == len(known)
    for check in result.figures["checks"]:
        assert f"| {check['name']} | **{check['verdict']}** |" in text
    for target in result.targets:
        assert f"| {target.name} |" in text
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert pictures
    assert all(f"({name})" in text for name in pictures)
    assert "nan" not in text.lower().replace("finance", "")


@pytest.mark.parametrize("study", STUDIES)
def test_a_report_of_nothing_says_what_is_missing(study: str, tmp_path: Path) -> None:
    runs = STUDIES[study].runs(SCALES["small"])
    empty = [Record(dict(run.cell), Status.FAILED, {}, "it broke") for run in runs]
    result = write_report(STUDIES[study], SCALES["small"], empty, tmp_path, "s3k study")
    assert result.figures["complete"] is False
    assert {check["verdict"] for check in result.figures["checks"]} == {Verdict.UNDECIDED}
    text = (tmp_path / f"{study}.md").read_text()
    assert f"Not finished: {len(empty)} of {len(empty)} runs" in text
    assert "it broke" in text


def test_a_missed_target_is_in_the_report_and_in_the_exit_code(tmp_path: Path) -> None:
    known = records("labels", "small", lambda cell: 30.0)
    result = write_report(STUDIES["labels"], SCALES["small"], known, tmp_path, "s3k study labels")
    assert result.exit_code == 1
    assert "**missed**" in (tmp_path / "labels.md").read_text()


def test_a_smaller_scale_never_overwrites_the_report_of_a_larger_one(tmp_path: Path) -> None:
    study = STUDIES["category"]
    for scale in ("small", "smoke"):
        known = records("category", scale, lambda cell: 1.0)
        write_report(study, SCALES[scale], known, tmp_path, scale)
    assert Result.read(tmp_path / "category.json").figures["scale"] == "small"
    assert Result.read(tmp_path / "category-smoke.json").figures["scale"] == "smoke"
    assert file_stem(tmp_path, "category", SCALES["paper"]) == "category"


def test_table_1_of_the_paper_stands_beside_ours(tmp_path: Path) -> None:
    known = records("category", "small", lambda cell: 10.0)
    write_report(STUDIES["category"], SCALES["small"], known, tmp_path, "s3k study category")
    text = (tmp_path / "category.md").read_text()
    assert "| 1 | 0.78 | 4.00 | 26.99 | 4.00 |" in text
    assert "| 12 | 1.74 | 4.00 | 10.77 | 4.00 |" in text


# The command, with made-up work.


def make(folder: Path, *_: Any, deadline: float | None) -> dict[str, Any]:
    return {}


def measure(folder: Path, spec: RunSpec, *_: Any, deadline: float | None) -> dict[str, Any]:
    if spec.unlabelled.scenes == 0:
        raise ValueError("needs unlabelled samples")
    return figures(5.0)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "real_works", lambda: Works(make, make, measure))


def call(tmp_path: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    where = ("--out", str(tmp_path / "runs"), "--in-process")
    return cli.run(parser.parse_args([*words, *where]))


def test_the_command_names_failed_runs_and_reports_the_rest(
    tmp_path: Path, made_up: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path, "labels", "--scale", "smoke") == cli.EXIT_INCOMPLETE
    out = capsys.readouterr().out
    assert "failed: method=best labelled=3 unlabelled=0 seed=1: ValueError: needs" in out
    found = json.loads((tmp_path / "runs" / "docs" / "labels.json").read_text())
    status = [run["status"] for run in found["figures"]["runs"]]
    assert sorted(status) == ["failed", "finished", "finished"]


def test_the_command_in_pieces_fills_one_table(tmp_path: Path, made_up: None) -> None:
    docs = ("--docs", str(tmp_path / "docs"))
    assert call(tmp_path, "category", "--scale", "smoke", "--only", "shoes=1", *docs) == (
        cli.EXIT_INCOMPLETE
    )
    assert call(tmp_path, "category", "--scale", "smoke", *docs) == 0
    assert Result.read(tmp_path / "docs" / "category.json").figures["complete"] is True


def test_list_and_report_run_nothing(
    tmp_path: Path, made_up: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path, "lambda", "--scale", "smoke", "--list") == 0
    assert "unfinished  labelled=3 lambda=1 seed=1  not begun" in capsys.readouterr().out
    assert call(tmp_path, "lambda", "--scale", "smoke", "--report") == cli.EXIT_INCOMPLETE
    assert not list((tmp_path / "runs").glob("runs/*/result.json"))


def test_data_are_not_rendered_again_for_finished_runs(tmp_path: Path) -> None:
    runs: list[Run] = STUDIES["labels"].runs(SCALES["smoke"])
    works = Works(make, make, measure)
    assert len(jobs_of(runs, tmp_path, works)) == len(runs) + 2
    for run in runs:
        store.write_result(store.folder_of(tmp_path, run.spec), figures(1.0))
    assert len(jobs_of(runs, tmp_path, works)) == len(runs)


def test_figures_are_what_numpy_says() -> None:
    assert np.isclose(spread([1.0, 2.0, 9.0]).median, np.median([1.0, 2.0, 9.0]))
