"""From a study's table to jobs, and from their folders back to records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from s3k_ros.errors import ConfigurationError
from s3k_ros.training.studies import store
from s3k_ros.training.studies.jobs import Job, Outcome, Status, Work
from s3k_ros.training.studies.records import Record
from s3k_ros.training.studies.scales import Scale
from s3k_ros.training.studies.specs import Run, key, plain
from s3k_ros.training.studies.study import Study


@dataclass(frozen=True)
class Works:
    """The functions that do the jobs.

    Attributes:
        render: ``render(folder, part, deadline=...)`` renders the scenes of a part.
        assemble: ``assemble(folder, data, parts, deadline=...)`` puts rendered parts together.
        train: ``train(folder, spec, data, threads, deadline=...)`` trains, exports and tests.
    """

    render: Work
    assemble: Work
    train: Work


def real_works() -> Works:
    """Rendering and training for real; imported late, so that a table can be listed quickly."""
    from s3k_ros.training.studies import work

    return Works(work.render, work.assemble, work.train_and_test)


def table_of(study: Study, scale: Scale, only: Sequence[str] = ()) -> list[Run]:
    """The runs of a scale, or those whose cells match every "NAME=VALUE" of ``only``.

    Raises:
        ConfigurationError: a filter that is not NAME=VALUE or that fits no run.
    """
    runs = study.runs(scale)
    for item in only:
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigurationError(f"--only {item!r} must be NAME=VALUE")
        names = dict.fromkeys(name for run in study.runs(scale) for name, _ in run.cell)
        if name not in names:
            raise ConfigurationError(f"--only {item!r}: no such name; valid: {', '.join(names)}")
        wanted = value.split(",")
        kept = [run for run in runs if plain(dict(run.cell).get(name)) in wanted]
        if not kept:
            there = dict.fromkeys(plain(dict(run.cell).get(name)) for run in runs)
            raise ConfigurationError(f"--only {item!r} fits no run; values: {', '.join(there)}")
        runs = kept
    return runs


def jobs_of(runs: Sequence[Run], root: Path, works: Works, threads: int = 1) -> list[Job]:
    """Jobs of the runs, of their data and of the parts of those, once each."""
    parts: dict[Path, Job] = {}
    data: dict[Path, Job] = {}
    trainings: dict[Path, Job] = {}
    for run in runs:
        training = store.folder_of(root, run.spec)
        if training in trainings:
            continue
        whole = store.folder_of(root, run.spec.data)
        trainings[training] = Job(
            run.name, training, works.train, (run.spec, whole, threads), (whole,), threads, True
        )
        if store.read_result(training) is not None or whole in data:
            continue  # data are only needed by what is left to train
        folders = [store.folder_of(root, part) for part in run.spec.data.parts]
        for part, folder in zip(run.spec.data.parts, folders, strict=True):
            name = f"{part.scenes} scenes of {part.target} {part.distractor_family}".rstrip()
            parts[folder] = Job(name, folder, works.render, (part,))
        name = f"data {key(run.spec.data)}"
        data[whole] = Job(
            name, whole, works.assemble, (run.spec.data, tuple(folders)), tuple(folders)
        )
    return [*parts.values(), *data.values(), *trainings.values()]


def records_of(
    runs: Sequence[Run], root: Path, outcomes: Mapping[Path, Outcome] | None = None
) -> list[Record]:
    """What is known of the runs: from their folders, and why the others are not finished."""
    records = []
    for run in runs:
        folder = store.folder_of(root, run.spec)
        result = store.read_result(folder)
        outcome = (outcomes or {}).get(folder)
        message = "" if outcome is None else outcome.message
        if result is not None:
            status, message = Status.FINISHED, ""
        elif outcome is not None:
            status = outcome.status
        else:
            failure = store.read_failure(folder)
            status = Status.UNFINISHED if failure is None else Status.FAILED
            message = "not begun" if failure is None else failure.strip().splitlines()[-1]
        records.append(Record(dict(run.cell), status, result or {}, message, key(run.spec)))
    return records
