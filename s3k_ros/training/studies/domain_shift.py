"""`domain-shift`: labels from the start alone against labels from all the time (Figs. 8 and 9)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from s3k_ros.results import Target
from s3k_ros.training.studies import scenes
from s3k_ros.training.studies.checks import Check, Claim, at_least, at_most, given, undecided
from s3k_ros.training.studies.records import Record, over_seeds, ratios, select, values
from s3k_ros.training.studies.scales import GRIDS, RIGID, Scale, stage
from s3k_ros.training.studies.specs import Choice, Run, RunSpec
from s3k_ros.training.studies.study import Analysis, Plot, Study
from s3k_ros.training.studies.tables import column, curves, table, usual_columns

MODES = ("start", "full")
_TARGET_UNLABELLED = 1000
_PLAIN = "no distractors"

GAP = Claim(
    "labels from all the time help when unlabelled data are few",
    "With little unlabelled data there is a big gap between start and full annotation.",
    "With the least unlabelled data, start annotation has at least 1.2 times the median error of "
    "full annotation, for every seed.",
)
NARROWS = Claim(
    "unlabelled data narrow the gap",
    "The gap consistently narrows as unlabelled data increase.",
    "The ratio of start to full median error falls from the least to the most unlabelled data (its "
    "change is at most 0.95-fold), for every seed.",
)
CLOSES = Claim(
    "unlabelled data close the gap",
    "With much more unlabelled data the gap is minimal.",
    "With the most unlabelled data, start annotation has at most 1.2 times the median error of "
    "full annotation, for every seed.",
)
HARDER = Claim(
    "more labels are needed than in the plain scene",
    "The critical number of labels is larger for this harder dataset.",
    "With the least labels and most unlabelled data, start annotation has at least 1.2 times the "
    "median error of as many samples of the plain scene, for every seed.",
)


def runs(scale: Scale) -> list[Run]:
    """Mode x labelled x unlabelled, and the plain scene beside it."""
    grid = GRIDS["domain-shift"][scale.name]
    found = []
    for mode, labelled, unlabelled in itertools.product(
        MODES, grid["labelled"], grid["unlabelled"]
    ):
        for seed in scale.seeds:
            cell = {"labels": mode, "labelled": labelled, "unlabelled": unlabelled, "seed": seed}
            found.append(
                Run(tuple(cell.items()), shifting(scale, mode, labelled, unlabelled, seed))
            )
    labelled, unlabelled = min(grid["labelled"]), _plain_unlabelled(scale)
    for seed in scale.seeds:
        cell = {"labels": _PLAIN, "labelled": labelled, "unlabelled": unlabelled, "seed": seed}
        found.append(Run(tuple(cell.items()), _plain_scene(scale, labelled, unlabelled, seed)))
    return found


def shifting(
    scale: Scale, mode: str, labelled: int, unlabelled: int, seed: int, **changes: object
) -> RunSpec:
    """A training while the distractors change; labels from the first epoch or from all."""
    data = scenes.shifting_box(scale)
    epochs = tuple(range(len(data.parts)))
    return RunSpec(
        data=data,
        labelled=Choice(labelled, epochs[:1] if mode == "start" else epochs),
        unlabelled=Choice(unlabelled, epochs),
        stages=(("coarse", stage(scale, seed, RIGID, changes)),),
        tests=scenes.shifting_box_test(scale),
        seed=seed,
    )


def _plain_unlabelled(scale: Scale) -> int:
    most = max(GRIDS["domain-shift"][scale.name]["unlabelled"])
    return min(most, max(GRIDS["labels"][scale.name]["unlabelled"]))


def _plain_scene(scale: Scale, labelled: int, unlabelled: int, seed: int) -> RunSpec:
    return RunSpec(
        data=scenes.box(scale),
        labelled=Choice(labelled),
        unlabelled=Choice(unlabelled),
        stages=(("coarse", stage(scale, seed, RIGID)),),
        tests=scenes.box_test(scale),
        seed=seed,
    )


def analyse(scale: Scale, records: Sequence[Record]) -> Analysis:
    """Start against full."""
    grid = GRIDS["domain-shift"][scale.name]
    lines = [
        (f"labels: {mode}, {count} unlabelled", {"labels": mode, "unlabelled": count})
        for count in grid["unlabelled"]
        for mode in MODES
    ]
    plots = [
        Plot(
            "unlabelled",
            "Median error on new distractors over unlabelled samples of the changing scene. Dots "
            "are seeds.",
            curves(
                records,
                "unlabelled",
                [
                    (f"labels: {mode}, {count} labelled", {"labels": mode, "labelled": count})
                    for count in grid["labelled"]
                    for mode in MODES
                ],
                x_label="unlabelled samples",
            ),
        )
    ]
    if len(grid["labelled"]) > 1:
        caption = (
            "Median error over labelled samples, a pair of lines for each number of unlabelled"
        )
        plots.append(
            Plot(
                "labelled",
                f"{caption} ones (the paper's Figs. 8 and 9).",
                curves(records, "labelled", lines, x_label="labelled samples"),
            )
        )
    columns = (*usual_columns(), column("size of the estimate", "size_ratio", 2))
    return Analysis(
        tables=(table("Errors among distractors never seen", records, columns),),
        plots=tuple(plots),
        checks=_checks(scale, records),
        targets=_targets(scale, records),
    )


def _checks(scale: Scale, records: Sequence[Record]) -> tuple[Check, ...]:
    grid = GRIDS["domain-shift"][scale.name]
    labelled, least, most = max(grid["labelled"]), min(grid["unlabelled"]), max(grid["unlabelled"])

    def gap(unlabelled: int) -> list[float]:
        cell = {"labelled": labelled, "unlabelled": unlabelled}
        return ratios(records, "median_mm", {"labels": "start", **cell}, {"labels": "full", **cell})

    before, after = gap(least), gap(most)
    if least == most or len(before) != len(after):
        narrows = undecided(NARROWS, "needs two numbers of unlabelled samples, all seeds of both")
    else:
        narrows = at_most(NARROWS, [a / b for a, b in zip(after, before, strict=True)], 0.95)
    few = min(grid["labelled"])
    harder = ratios(
        records,
        "median_mm",
        {"labels": "start", "labelled": few, "unlabelled": _plain_unlabelled(scale)},
        {"labels": _PLAIN, "labelled": few},
    )
    full = {"labels": "full", "labelled": labelled, "unlabelled": most}
    learned = values(select(records, **full), "median_mm")
    plain = values(select(records, labels=_PLAIN), "median_mm")
    return (
        at_least(GAP, before, 1.2),
        given(narrows, learned),
        given(at_most(CLOSES, after, 1.2), learned),
        given(at_least(HARDER, harder, 1.2), plain),
    )


def _targets(scale: Scale, records: Sequence[Record]) -> tuple[Target, ...]:
    found = []
    for labelled in GRIDS["domain-shift"][scale.name]["labelled"]:
        cell = {"labelled": labelled, "unlabelled": _TARGET_UNLABELLED}
        if not select(records, labels="start", **cell):
            continue
        start = over_seeds(records, "median_mm", labels="start", **cell).median
        full = over_seeds(records, "median_mm", labels="full", **cell).median
        name = f"{labelled} labelled, {_TARGET_UNLABELLED} unlabelled: start over full"
        absolute = f"start {start:.1f} mm, full {full:.1f} mm"
        found.append(Target.at_most(f"{name} ({absolute})", start / full, 1.2, "ratio"))
    return tuple(found)


STUDY = Study(
    name="domain-shift",
    title="Labels from the start alone, while the scene changes",
    about="The game box among distractors of its size and texture, which change from epoch to "
    "epoch. Labels come from the first epoch (`start`) or are spread over all (`full`); unlabelled "
    "samples come from all epochs. Tested among distractors, on tables and in lights that no "
    "epoch had.",
    paper=(
        "Labels from all the time help; the gap narrows as unlabelled data grow (Figs. 8 and 9).",
        "With little unlabelled data the gap is big and grows with the number of start labels.",
        "With much unlabelled data the gap is minimal.",
        "More labels are needed than in the plain scene (their number is lost from our copy).",
    ),
    runs=runs,
    analyse=analyse,
)
