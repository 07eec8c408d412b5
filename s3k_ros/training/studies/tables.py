"""Tables and curves that several studies share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from s3k_ros.training.studies.records import (
    MAIN,
    Record,
    cells,
    over_seeds,
    select,
    spread,
    values,
)
from s3k_ros.training.studies.specs import plain
from s3k_ros.training.studies.study import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#1b6ca8", "#d1495b", "#3c7a3f", "#8a5fb5", "#c77b1f", "#4a4a4a")
_MARKERS = "osD^vP"
Column = tuple[str, Callable[[Sequence[Record]], str]]

SEEDS_NOTE = "Median over seeds, and in brackets the least and the largest; mm in 3D unless said."


def column(
    title: str,
    figure: str | Callable[[Record], float],
    digits: int = 1,
    scale: float = 1.0,
    test: str = MAIN,
) -> Column:
    """A column with a figure over the seeds of a row."""

    def text(records: Sequence[Record]) -> str:
        found = map(figure, records) if callable(figure) else values(records, figure, test)
        return spread([scale * value for value in found]).text(digits)

    return title, text


def usual_columns(test: str = MAIN) -> tuple[Column, ...]:
    """The protocol's figures: median, 95th percentile, RMS px, valid, swaps, seeds."""

    def count(records: Sequence[Record]) -> str:
        done = sum(bool(record.figures) for record in records)
        return str(done) if done == len(records) else f"{done} of {len(records)}"

    return (
        column("median", "median_mm", test=test),
        column("95th", "p95_mm", test=test),
        column("median of valid", "median_valid_mm", test=test),
        column("RMS px", "rms_px", 2, test=test),
        column("valid %, worst", "valid_worst", scale=100, test=test),
        column("swaps %", "swaps", scale=100, test=test),
        ("seeds", count),
    )


def table(
    title: str,
    records: Sequence[Record],
    columns: Sequence[Column] | None = None,
    note: str = SEEDS_NOTE,
) -> Table:
    """One row a cell, seeds put together."""
    shown = usual_columns() if columns is None else tuple(columns)
    rows = []
    for cell in cells(records):
        own = [r for r in select(records, **cell) if len(r.cell) - ("seed" in r.cell) == len(cell)]
        rows.append((*map(plain, cell.values()), *(text(own) for _, text in shown)))
    names = tuple(cells(records)[0]) if records else ()
    return Table(title, (*names, *(name for name, _ in shown)), tuple(rows), note)


def curves(
    records: Sequence[Record],
    x: str,
    lines: Sequence[tuple[str, Mapping[str, Any]]],
    figure: str = "median_mm",
    *,
    y_label: str = "median error (mm)",
    x_label: str | None = None,
    test: str = MAIN,
    logarithmic: bool = True,
) -> Callable[[Axes], None]:
    """A line a selection over the values of one cell entry; dots are seeds, the line their median.

    Args:
        records: of the study.
        x: cell entry along the axis; 0 is drawn at a tenth of the least other value.
        lines: label and cell of each line.
        figure: what is drawn.
        y_label: with its unit.
        x_label: default: the entry's name.
        test: which test.
        logarithmic: both axes.
    """

    def draw(axes: Axes) -> None:
        places = sorted({r.cell[x] for r in records if x in r.cell})
        if not np.isfinite(values(records, figure, test)).any():
            nothing(axes)
            return
        shown = positions(places) if logarithmic else {p: float(p) for p in places}
        for i, (label, cell) in enumerate(lines):
            style = {"color": _COLOURS[i % len(_COLOURS)], "marker": _MARKERS[i % len(_MARKERS)]}
            own = select(records, **cell)
            middle = [(p, over_seeds(own, figure, test, **{x: p}).median) for p in places]
            drawn = [(shown[p], m) for p, m in middle if np.isfinite(m)]
            axes.plot([place for place, _ in drawn], [y for _, y in drawn], label=label, **style)
            dots = [(shown[r.cell[x]], r.value(figure, test)) for r in own if x in r.cell]
            dots = [dot for dot in dots if np.isfinite(dot[1])]
            if dots:
                axes.scatter(*zip(*dots, strict=True), s=12, alpha=0.5, color=style["color"])
        if logarithmic:
            axes.set_xscale("log")
            logarithmic_y(axes)
        axes.set_xticks([shown[p] for p in places], [f"{p:g}" for p in places])
        axes.minorticks_off()
        axes.set_xlabel(x_label or x)
        axes.set_ylabel(y_label)
        axes.legend(frameon=False)

    return draw


def logarithmic_y(axes: Axes) -> None:
    """A logarithmic axis with plain numbers, 1, 2, 5 and so on."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def logarithmic_x(axes: Axes) -> None:
    """The same along the other axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def nothing(axes: Axes) -> None:
    """Says that there is nothing to draw."""
    axes.text(0.5, 0.5, "nothing measured", ha="center", transform=axes.transAxes)
    axes.set_axis_off()


def positions(places: Sequence[float]) -> dict[float, float]:
    """Where values lie on a logarithmic axis; 0 at a third of the least other one."""
    least = min((p for p in places if p > 0), default=1)
    return {p: float(p) if p > 0 else least / 3 for p in places}
