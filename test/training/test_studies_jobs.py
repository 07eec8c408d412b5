from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from s3k_ros.training.studies import store
from s3k_ros.training.studies.jobs import (
    InProcess,
    Job,
    Outcome,
    Status,
    Unfinished,
    carry_out,
    perform,
)


def note(folder: Path, diary: Path, *, deadline: float | None) -> dict[str, Any]:
    """Writes down that it ran."""
    with diary.open("a") as file:
        file.write(folder.name + "\n")
    print("said by", folder.name)
    return {"deadline": deadline}


def fail(folder: Path, *, deadline: float | None) -> dict[str, Any]:
    raise ValueError(f"{folder.name} is broken")


def halves(folder: Path, *, deadline: float | None) -> dict[str, Any]:
    """Needs two calls, like a training that ran out of time."""
    half = folder / "half"
    if half.exists():
        return {"done": True}
    half.touch()
    raise Unfinished("half done")


def entries(diary: Path) -> list[str]:
    return diary.read_text().split() if diary.exists() else []


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    return tmp_path / "diary"


def job(folder: Path, diary: Path, *needs: Path) -> Job:
    return Job(folder.name, folder, note, (diary,), needs)


def test_jobs_run_after_what_they_need(tmp_path: Path, diary: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    carry_out([job(c, diary, a, b), job(b, diary, a), job(a, diary)], InProcess())
    assert entries(diary) == ["a", "b", "c"]


def test_a_finished_job_never_runs_again(tmp_path: Path, diary: Path) -> None:
    jobs = [job(tmp_path / "a", diary)]
    carry_out(jobs, InProcess())
    outcomes = carry_out(jobs, InProcess())
    assert entries(diary) == ["a"]
    assert outcomes[tmp_path / "a"].status == Status.FINISHED


def test_one_folder_named_twice_is_one_job(tmp_path: Path, diary: Path) -> None:
    carry_out([job(tmp_path / "a", diary), job(tmp_path / "a", diary)], InProcess())
    assert entries(diary) == ["a"]


def test_a_job_that_another_process_finished_meanwhile_is_not_repeated(
    tmp_path: Path, diary: Path
) -> None:
    perform(job(tmp_path / "a", diary), None)
    assert perform(job(tmp_path / "a", diary), None).status == Status.FINISHED
    assert entries(diary) == ["a"]


def test_a_failing_job_is_named_and_the_rest_goes_on(tmp_path: Path, diary: Path) -> None:
    bad, after, other = (tmp_path / name for name in ("bad", "after", "other"))
    jobs = [Job("bad one", bad, fail), job(after, diary, bad), job(other, diary)]
    outcomes = carry_out(jobs, InProcess())
    assert outcomes[bad].status == Status.FAILED
    assert outcomes[bad].message == "ValueError: bad is broken"
    assert outcomes[after].status == Status.BLOCKED
    assert "bad one" in outcomes[after].message
    assert outcomes[other].status == Status.FINISHED
    assert "bad is broken" in (store.read_failure(bad) or "")


def test_what_needs_a_blocked_job_is_blocked_too(tmp_path: Path, diary: Path) -> None:
    bad, after, last = (tmp_path / name for name in ("bad", "after", "last"))
    jobs = [job(last, diary, after), Job("bad", bad, fail), job(after, diary, bad)]
    assert carry_out(jobs, InProcess())[last].status == Status.BLOCKED


def test_a_need_that_is_no_job_is_refused(tmp_path: Path, diary: Path) -> None:
    with pytest.raises(ValueError, match="needs a job that is not in the list"):
        carry_out([job(tmp_path / "a", diary, tmp_path / "b")], InProcess())


def test_a_failed_job_is_tried_again_by_the_next_call(tmp_path: Path, diary: Path) -> None:
    folder = tmp_path / "a"
    carry_out([Job("a", folder, fail)], InProcess())
    carry_out([job(folder, diary)], InProcess())
    assert store.read_result(folder) is not None
    assert store.read_failure(folder) is None


def test_a_killed_study_goes_on_where_it_was(tmp_path: Path, diary: Path) -> None:
    class Killed(InProcess):
        def wait(self) -> Outcome:
            if entries(diary) == ["a", "b"]:
                raise KeyboardInterrupt
            return super().wait()

    jobs = [job(tmp_path / name, diary) for name in "abcd"]
    with pytest.raises(KeyboardInterrupt):
        carry_out(jobs, Killed())
    carry_out(jobs, InProcess())
    assert entries(diary) == ["a", "b", "c", "d"]


def test_work_that_ran_out_of_time_goes_on_with_the_next_call(tmp_path: Path) -> None:
    jobs = [Job("long", tmp_path / "long", halves)]
    assert carry_out(jobs, InProcess())[tmp_path / "long"].status == Status.UNFINISHED
    assert carry_out(jobs, InProcess())[tmp_path / "long"].status == Status.FINISHED


def test_nothing_starts_after_the_deadline(tmp_path: Path, diary: Path) -> None:
    outcomes = carry_out([job(tmp_path / "a", diary)], InProcess(), deadline=time.time() - 1)
    assert outcomes[tmp_path / "a"].status == Status.UNFINISHED
    assert not entries(diary)


def test_a_half_written_result_does_not_count(tmp_path: Path, diary: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "result.json.17.partial").write_text('{"half": ')
    carry_out([job(folder, diary)], InProcess())
    assert entries(diary) == ["a"]


def test_what_a_job_prints_goes_to_its_log(
    tmp_path: Path, diary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    carry_out([job(tmp_path / "a", diary)], InProcess())
    assert capsys.readouterr().out == ""
    assert (tmp_path / "a" / "log.txt").read_text() == "said by a\n"


def test_progress_counts_what_is_left(tmp_path: Path, diary: Path) -> None:
    carry_out([job(tmp_path / "a", diary)], InProcess())
    seen: list[tuple[str, int, int]] = []
    jobs = [job(tmp_path / name, diary) for name in "abc"]
    carry_out(
        jobs,
        InProcess(),
        tell=lambda outcome, done, total: seen.append((outcome.job.name, done, total)),
    )
    assert seen == [("b", 1, 2), ("c", 2, 2)]


@pytest.mark.slow
def test_ray_runs_jobs_names_the_failed_and_survives_a_dead_worker(tmp_path: Path) -> None:
    from s3k_ros.training.studies.cluster import ray_tasks

    # Defined here, so that Ray sends them by value: its workers cannot import this file.
    def good(folder: Path, *, deadline: float | None) -> dict[str, Any]:
        import os

        return {"process": os.getpid()}

    def bad(folder: Path, *, deadline: float | None) -> dict[str, Any]:
        raise ValueError("broken")

    def dead(folder: Path, *, deadline: float | None) -> dict[str, Any]:
        import os

        os._exit(3)

    works = {"good": good, "bad": bad, "dead": dead}
    jobs = [Job(name, tmp_path / name, work) for name, work in works.items()]
    with ray_tasks(jobs=2) as tasks:
        outcomes = carry_out(jobs, tasks)
    found = {folder.name: outcome.status for folder, outcome in outcomes.items()}
    assert found == {"good": Status.FINISHED, "bad": Status.FAILED, "dead": Status.FAILED}
    assert outcomes[tmp_path / "bad"].message == "ValueError: broken"
