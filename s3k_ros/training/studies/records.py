"""Results of runs, side by side: selected by cell, put together over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from s3k_ros.training.studies.jobs import Status
from s3k_ros.training.studies.specs import plain

SEED = "seed"
MAIN = "test"
"""The test that a study is about; runs may have others, for instance "train"."""


@dataclass(frozen=True)
class Record:
    """A run of a study and what is known of it.

    Attributes:
        cell: names and values that tell it from the others.
        status: how it stands.
        figures: as ``work.train_and_test`` gives them; empty when it is not finished.
        message: what went wrong.
        key: name of its folder.
    """

    cell: Mapping[str, Any]
    status: Status
    figures: Mapping[str, Any]
    message: str = ""
    key: str = ""

    def value(self, figure: str, test: str = MAIN) -> float:
        """One figure, infinite where more than that quantile was refused, NaN when not measured."""
        if self.status != Status.FINISHED:
            return math.nan
        found: Any = self.figures["tests"].get(test, {})
        for name in figure.split("."):
            if name not in found:
                return math.nan
            found = found[name]
        return math.inf if found is None else float(found)

    @property
    def name(self) -> str:
        """``labels=10 seed=1``."""
        return " ".join(f"{k}={plain(v)}" for k, v in self.cell.items())


@dataclass(frozen=True)
class Spread:
    """A figure over seeds: median, least and largest, and how many."""

    median: float
    low: float
    high: float
    count: int

    def text(self, digits: int = 1) -> str:
        """``4.1 (3.9..4.8)``; "-" when nothing was measured, "refused" for infinity."""
        if not self.count:
            return "-"
        middle = number(self.median, digits)
        if self.count == 1 or self.low == self.high:
            return middle
        return f"{middle} ({number(self.low, digits)}..{number(self.high, digits)})"


def number(value: float, digits: int = 1) -> str:
    """A figure as text."""
    if math.isnan(value):
        return "-"
    return "refused" if math.isinf(value) else f"{value:.{digits}f}"


def spread(values: Sequence[float]) -> Spread:
    """Of the values that were measured; infinite ones count."""
    known = sorted(value for value in values if not math.isnan(value))
    if not known:
        return Spread(math.nan, math.nan, math.nan, 0)
    # The upper of the two middle values: no mean of a number and infinity.
    return Spread(known[len(known) // 2], known[0], known[-1], len(known))


def select(records: Sequence[Record], **cell: Any) -> list[Record]:
    """The records whose cell has these values."""
    return [
        record
        for record in records
        if all(k in record.cell and record.cell[k] == v for k, v in cell.items())
    ]


def values(records: Sequence[Record], figure: str, test: str = MAIN) -> list[float]:
    """A figure of each record."""
    return [record.value(figure, test) for record in records]


def over_seeds(records: Sequence[Record], figure: str, test: str = MAIN, **cell: Any) -> Spread:
    """A figure of one cell over its seeds."""
    return spread(values(select(records, **cell), figure, test))


def cells(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The different cells without their seeds, in order."""
    found: list[dict[str, Any]] = []
    for record in records:
        cell = {k: v for k, v in record.cell.items() if k != SEED}
        if cell not in found:
            found.append(cell)
    return found


def ratios(
    records: Sequence[Record],
    figure: str,
    above: Mapping[str, Any],
    below: Mapping[str, Any],
    test: str = MAIN,
) -> list[float]:
    """Figure of one cell over that of another, seed by seed; both infinite: NaN."""
    found = []
    for seed in sorted({r.cell[SEED] for r in records if SEED in r.cell}):
        pair = [over_seeds(records, figure, test, **cell, seed=seed) for cell in (above, below)]
        if all(p.count for p in pair):
            with np.errstate(all="ignore"):
                found.append(float(np.divide(pair[0].median, pair[1].median)))
    return found
