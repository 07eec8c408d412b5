"""What a study is: a table of runs, and what its figures say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from s3k_ros.results import Target
from s3k_ros.training.studies.checks import Check
from s3k_ros.training.studies.records import Record
from s3k_ros.training.studies.scales import Scale
from s3k_ros.training.studies.specs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the report: text cells.

    Attributes:
        title: above it.
        head: names of the columns.
        rows: as many cells each.
        note: below it.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Plot:
    """A picture of the report.

    Attributes:
        name: ending of its file's name.
        caption: below it.
        draw: draws into axes.
    """

    name: str
    caption: str
    draw: Callable[[Axes], None]


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What the figures of a study say."""

    tables: tuple[Table, ...]
    plots: tuple[Plot, ...]
    checks: tuple[Check, ...]
    targets: tuple[Target, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Study:
    """A question to many trainings.

    Attributes:
        name: as in ``s3k study NAME``.
        title: of the report.
        about: what is varied and what is held, for the report.
        paper: what the paper reports, one line each.
        runs: the table of a scale.
        analyse: tables, plots, checks and targets from the records of a scale's runs.
    """

    name: str
    title: str
    about: str
    paper: tuple[str, ...]
    runs: Callable[[Scale], list[Run]]
    analyse: Callable[[Scale, Sequence[Record]], Analysis]
