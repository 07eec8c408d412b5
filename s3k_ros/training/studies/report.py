"""A study's report: Markdown with tables and pictures, and the JSON behind it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s3k_ros.results import Result, Target, machine_description, source_commit
from s3k_ros.training.studies.checks import Check
from s3k_ros.training.studies.jobs import Status
from s3k_ros.training.studies.plots import write_plots
from s3k_ros.training.studies.records import Record, number
from s3k_ros.training.studies.scales import SCALES, Scale
from s3k_ros.training.studies.store import write_text
from s3k_ros.training.studies.study import Analysis, Plot, Study, Table


def write_report(
    study: Study, scale: Scale, records: Sequence[Record], folder: Path, command: str
) -> Result:
    """Writes ``NAME.md``, ``NAME.json`` and pictures; a larger scale's report is not overwritten.

    Args:
        study: the study.
        scale: of the runs.
        records: its runs, finished or not.
        folder: where to.
        command: the line that repeats it.

    Returns:
        The result, as written.
    """
    analysis = study.analyse(scale, records)
    stem = file_stem(folder, study.name, scale)
    result = _result(study, scale, records, analysis, command)
    pictures = write_plots(analysis.plots, folder, stem)
    text = _markdown(study, scale, records, analysis, pictures, result, stem)
    result.write(folder / f"{stem}.json")
    write_text(folder / f"{stem}.md", text)
    return result


def file_stem(folder: Path, name: str, scale: Scale) -> str:
    """``NAME``, or ``NAME-SCALE`` where ``NAME`` is a larger scale's report."""
    order = list(SCALES)
    try:
        there = json.loads((folder / f"{name}.json").read_text())["figures"]["scale"]
        larger = order.index(there) > order.index(scale.name)
    except (OSError, ValueError, KeyError, TypeError):
        larger = False
    return f"{name}-{scale.name}" if larger else name


def _result(
    study: Study, scale: Scale, records: Sequence[Record], analysis: Analysis, command: str
) -> Result:
    figures: dict[str, Any] = {
        "scale": scale.name,
        "complete": all(record.status == Status.FINISHED for record in records),
        "seeds": sorted({record.cell["seed"] for record in records}),
        "checks": [
            {
                "name": check.claim.name,
                "paper": check.claim.paper,
                "rule": check.claim.rule,
                "verdict": str(check.verdict),
                "evidence": check.evidence,
            }
            for check in analysis.checks
        ],
        "runs": [
            {
                "cell": dict(record.cell),
                "key": record.key,
                "status": str(record.status),
                **({"message": record.message} if record.message else {}),
                **record.figures,
            }
            for record in records
        ],
    }
    targets = analysis.targets if scale.targets else ()
    machines = dict.fromkeys(r.figures["machine"] for r in records if "machine" in r.figures)
    commits = dict.fromkeys(r.figures["commit"] for r in records if "commit" in r.figures)
    return Result(
        name=f"study {study.name}",
        command=command,
        seed=min(figures["seeds"]),
        commit=", ".join(commits) or source_commit(),
        machine="; ".join(machines) or machine_description(),
        figures=figures,
        targets=tuple(targets),
    )


def _markdown(
    study: Study,
    scale: Scale,
    records: Sequence[Record],
    analysis: Analysis,
    pictures: Sequence[tuple[str, Plot]],
    result: Result,
    stem: str,
) -> str:
    lines = [
        f"# {study.title}",
        "",
        f"Written by `{result.command}`; the figures lie in [{stem}.json]({stem}.json).",
        "",
        f"**Scale `{scale.name}`.** {scale.says}",
        "",
        study.about,
        "",
        "## The paper's findings, and ours",
        "",
        *_checks(analysis.checks, scale),
        "## What the paper reports",
        "",
        *(f"- {finding}" for finding in study.paper),
        "",
        "## Figures",
        "",
    ]
    for table in analysis.tables:
        lines += _table(table)
    for name, plot in pictures:
        lines += [f"![{plot.caption}]({name})", "", plot.caption, ""]
    if result.targets:
        lines += ["## Figures to reach", "", *_targets(result.targets, scale)]
    lines += _conditions(scale, records, analysis, result)
    return "\n".join(lines).rstrip() + "\n"


def _checks(checks: Sequence[Check], scale: Scale) -> list[str]:
    lines = [
        f"| finding | verdict at `{scale.name}` | our figures, by seed |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {c.claim.name} | **{c.verdict}** | {c.evidence} |" for c in checks]
    lines += ["", "What each rests on:", ""]
    for check in checks:
        lines.append(f"- *{check.claim.name}*. {check.claim.paper} Rule: {check.claim.rule}")
    return [*lines, ""]


def _table(table: Table) -> list[str]:
    lines = [f"### {table.title}", "", f"| {' | '.join(table.head)} |"]
    lines.append(f"| {' | '.join('---' for _ in table.head)} |")
    lines += [f"| {' | '.join(row)} |" for row in table.rows]
    return [*lines, "", *([table.note, ""] if table.note else [])]


def _targets(targets: Sequence[Target], scale: Scale) -> list[str]:
    lines = [f"| figure at `{scale.name}` | measured | limit | |", "| --- | --- | --- | --- |"]
    for target in targets:
        measured, limit = number(target.measured, 2), number(target.limit, 1)
        verdict = "met" if target.passed else "**missed**"
        lines.append(
            f"| {target.name} | {measured} {target.unit} | {limit} {target.unit} | {verdict} |"
        )
    return [*lines, ""]


def _conditions(
    scale: Scale, records: Sequence[Record], analysis: Analysis, result: Result
) -> list[str]:
    """How the figures came about, and what is missing."""
    training = ", ".join(f"`{key}` {_short(value)}" for key, value in scale.training.items())
    notes = [
        *analysis.notes,
        "Errors are those of the runtime's chain (detector and triangulator) on the exported "
        "model, in scenes whose seeds come from the model file's hash. A refused keypoint counts "
        "as infinitely wrong; RMS px is over single views, refused or not.",
        f"At least {scale.test_scenes} scenes a run unless the JSON says otherwise; seeds "
        f"{', '.join(map(str, result.figures['seeds']))} redraw the labelled samples too.",
        f"Training, beside the defaults of `s3k train`: {training}.",
        f"Machine: {result.machine}. Source: {result.commit}.",
    ]
    lines = ["## How", "", *(f"- {note}" for note in notes), ""]
    left = [record for record in records if record.status != Status.FINISHED]
    if left:
        lines += [f"## Not finished: {len(left)} of {len(records)} runs", ""]
        lines += [
            f"- {record.name}: {record.status}" + (f", {record.message}" if record.message else "")
            for record in left
        ]
    return lines


def _short(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
