"""`ablation`: the best configuration with each idea taken away, and time to a given accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from s3k_ros.training.studies import scenes
from s3k_ros.training.studies.checks import Check, Claim, at_least, given
from s3k_ros.training.studies.records import (
    SEED,
    Record,
    Spread,
    number,
    over_seeds,
    ratios,
    select,
    spread,
    values,
)
from s3k_ros.training.studies.scales import GRIDS, RIGID, S3K, S3K_AUGMENTED, Scale, stage
from s3k_ros.training.studies.specs import Choice, Run, RunSpec
from s3k_ros.training.studies.study import Analysis, Plot, Study, Table
from s3k_ros.training.studies.tables import column, logarithmic_y, nothing, table, usual_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEST, PLAIN, AUGMENTED = "best", "s3k", "s3k augmented"
# What is taken away from the best configuration, one at a time.
WITHOUT: Mapping[str, Mapping[str, Any]] = {
    "teacher": {"teacher": False},
    "gate": {"gate": False},
    "shape": {"shape": "none"},
    "rigid fit (distances instead)": {"shape": "distances"},
    "augmentation": {"augment": False},
    "photometric": {"photometric": 0.0},
    "cutout": {"cutout": 0.0},
    "lambda ramp": {"ramp_steps": 0},
}
_USEFUL = 1.05

HELPS = "Beyond the paper."


def runs(scale: Scale) -> list[Run]:
    """The best configuration less one idea, and three methods with several numbers of steps."""
    grid = GRIDS["ablation"][scale.name]
    methods: dict[str, Mapping[str, Any]] = {BEST: RIGID, PLAIN: S3K, AUGMENTED: S3K_AUGMENTED}
    methods |= {f"without {name}": {**RIGID, **WITHOUT[name]} for name in grid["without"]}
    found = []
    for name, changes in methods.items():
        found += [_run(scale, name, 1.0, changes, seed) for seed in scale.seeds]
    for budget in grid["budgets"]:
        for name in (BEST, AUGMENTED):
            if budget != 1.0:
                found += [_run(scale, name, budget, methods[name], s) for s in scale.seeds]
    return found


def _run(scale: Scale, name: str, budget: float, changes: Mapping[str, Any], seed: int) -> Run:
    grid = GRIDS["ablation"][scale.name]
    shorter = {
        key: max(1, round(budget * scale.training[key]))
        for key in ("steps", "warmup_steps", "ramp_steps")
        if key in scale.training and changes.get(key) != 0
    }
    spec = RunSpec(
        data=scenes.box(scale),
        labelled=Choice(grid["labelled"]),
        unlabelled=Choice(grid["unlabelled"]),
        stages=(("coarse", stage(scale, seed, changes, shorter)),),
        tests=scenes.box_test(scale),
        seed=seed,
    )
    cell = {"method": name, "steps": shorter["steps"], SEED: seed}
    return Run(tuple(cell.items()), spec)


def analyse(scale: Scale, records: Sequence[Record]) -> Analysis:
    """What each idea is worth, and how fast an accuracy is reached."""
    grid = GRIDS["ablation"][scale.name]
    steps = max(record.cell["steps"] for record in records)
    longest = select(records, steps=steps)
    columns = (
        *usual_columns(),
        column("size of the estimate", "size_ratio", 2),
        ("training s", lambda own: _seconds(own).text(0)),
    )
    return Analysis(
        tables=(
            table("The best configuration less one idea", longest, columns),
            _time_table(records, grid["accuracy_mm"]),
        ),
        plots=(
            Plot(
                "without",
                "Median error without each idea; the line is the best one's. Dots are seeds.",
                _bars(longest),
            ),
            Plot(
                "time", "Median error over time of training. Dots are seeds.", _over_time(records)
            ),
        ),
        checks=_checks(longest, steps),
        targets=(),
        notes=(
            "Times were taken while other trainings ran on the same machine: compare them with "
            "each other only.",
        ),
    )


def _checks(longest: Sequence[Record], steps: int) -> tuple[Check, ...]:
    best = {"method": BEST, "steps": steps}
    found = []
    names = [r.cell["method"] for r in longest if r.cell["method"] != BEST]
    for name in dict.fromkeys(names):
        other = {"method": name, "steps": steps}
        what = f"{name} is worse"
        rule = (
            f"Its median error is at least {_USEFUL:g} times the best configuration's, for every "
        )
        claim = Claim(what, HELPS, f"{rule}seed.")
        check = at_least(claim, ratios(longest, "median_mm", other, best), _USEFUL)
        found.append(given(check, values(select(longest, **best), "median_mm")))
    return tuple(found)


def _seconds(records: Sequence[Record]) -> Spread:
    return spread([r.figures.get("train_seconds", math.nan) for r in records])


def _time_table(records: Sequence[Record], accuracy_mm: float) -> Table:
    rows = []
    for method in (BEST, AUGMENTED):
        own = select(records, method=method)
        reached = math.nan
        for steps in sorted({r.cell["steps"] for r in own}):
            cell = select(own, steps=steps)
            error = over_seeds(cell, "median_mm").median
            rows.append((method, str(steps), _seconds(cell).text(0), number(error)))
            if math.isnan(reached) and error <= accuracy_mm:
                reached = _seconds(cell).median
        told = "not reached" if math.isnan(reached) else f"{reached:.0f}"
        rows.append((method, f"to {accuracy_mm:g} mm", told, ""))
    head = ("method", "steps", "training s", "median mm")
    note = "Each row is a training of its own, with its own schedule of the learning rate."
    return Table("Time to a given accuracy", head, tuple(rows), note)


def _bars(records: Sequence[Record]) -> Any:
    def draw(axes: Axes) -> None:
        names = list(dict.fromkeys(r.cell["method"] for r in records))
        for i, name in enumerate(names):
            own = select(records, method=name)
            middle = over_seeds(own, "median_mm").median
            if np.isfinite(middle):
                axes.barh(i, middle, color="#1b6ca8", alpha=0.7)
            known = [v for v in (r.value("median_mm") for r in own) if np.isfinite(v)]
            axes.scatter(known, [i] * len(known), s=14, color="#0b2a40", zorder=3)
        best = over_seeds(records, "median_mm", method=BEST).median
        if np.isfinite(best):
            axes.axvline(best, color="#d1495b", linestyle=":")
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlabel("median error (mm)")

    return draw


def _over_time(records: Sequence[Record]) -> Any:
    def draw(axes: Axes) -> None:
        if not np.isfinite(values(records, "median_mm")).any():
            nothing(axes)
            return
        for name, colour in ((BEST, "#1b6ca8"), (AUGMENTED, "#d1495b")):
            own = [r for r in select(records, method=name) if np.isfinite(r.value("median_mm"))]
            if own:
                times = [r.figures["train_seconds"] for r in own]
                axes.scatter(times, [r.value("median_mm") for r in own], color=colour, label=name)
        logarithmic_y(axes)
        axes.set_xlabel("training (s)")
        axes.set_ylabel("median error (mm)")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)

    return draw


STUDY = Study(
    name="ablation",
    title="What each idea is worth",
    about="The game box alone, few labels, many unlabelled samples: the best configuration, the "
    "same less one idea, and the plain method of the paper, all with equal steps. `s3k augmented` "
    "is the plain losses with labels alone in the first steps and augmentation.",
    paper=(
        "The paper has no ablation; it says that a large lambda with few labels collapses, and "
        "that more channels did not help.",
    ),
    runs=runs,
    analyse=analyse,
)
