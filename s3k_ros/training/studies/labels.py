"""`labels`: what labelled and unlabelled samples are worth (Figs. 6 and 7)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from s3k_ros.results import Target
from s3k_ros.training.studies import scenes
from s3k_ros.training.studies.checks import (
    Check,
    Claim,
    all_of,
    at_least,
    at_most,
    given,
    undecided,
)
from s3k_ros.training.studies.records import Record, over_seeds, ratios, select, values
from s3k_ros.training.studies.scales import GRIDS, RIGID, S3K, S3K_AUGMENTED, Scale, stage
from s3k_ros.training.studies.specs import Choice, Run, RunSpec
from s3k_ros.training.studies.study import Analysis, Plot, Study
from s3k_ros.training.studies.tables import curves, logarithmic_x, logarithmic_y, nothing, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW, ENOUGH = 3, 10
CROP = "best with crop"
_OWN = ("best", "full labels")
_DRAWS = 5
"""Draws of three labelled samples, with the most unlabelled ones."""

PLAIN = {"s3k": S3K, "s3k augmented": S3K_AUGMENTED}
THREE = tuple(
    Claim(
        f"three labelled samples do not suffice: {method}",
        "With 3 labelled samples the model cannot successfully learn.",
        f"With the most unlabelled data, the median error of `{method}` with 3 labelled samples is "
        "more than twice that with 10, for every seed.",
    )
    for method in (*PLAIN, "best")
)
TEN = Claim(
    "ten labelled samples suffice",
    "10 labelled samples (40 images) suffice for a good model if given enough unlabelled data.",
    "With the most unlabelled data, the median error with 10 labelled samples is at most 1.5 times "
    "that of the same network trained on all of them with labels.",
)
MORE = Claim(
    "unlabelled data help",
    "Steady improvement as unlabelled data increase, especially where labels are few.",
    "With 10 labelled samples, the most unlabelled data bring the median error to at most 0.8 "
    "times that of labels alone.",
)
ALIKE = Claim(
    "past the threshold all data are worth the same",
    "Beyond a small threshold, labelled and unlabelled data are equally valuable.",
    "Of two trainings with totals within 1.35 of each other and at least 10 labels, the one with "
    "at least three times fewer labels has at most 1.5 times the median error, for every pair.",
)


def runs(scale: Scale) -> list[Run]:
    """Labelled x unlabelled, the fully labelled reference, and the plain method beside it."""
    grid = GRIDS["labels"][scale.name]
    most = max(grid["unlabelled"])
    found = []
    for labelled, unlabelled in itertools.product(grid["labelled"], grid["unlabelled"]):
        seeds = scale.seeds
        if labelled == FEW and unlabelled == most and len(seeds) > 1:
            seeds = tuple(range(1, _DRAWS + 1))
        found += [_run(scale, "best", labelled, unlabelled, seed) for seed in seeds]
    reference = ENOUGH if ENOUGH in grid["labelled"] else grid["labelled"][0]
    found += [_run(scale, "full labels", reference, most, seed) for seed in scale.seeds]
    for labelled, unlabelled in itertools.product(grid["labelled"], grid["s3k"]):
        for method in PLAIN:
            found += [_run(scale, method, labelled, unlabelled, seed) for seed in scale.seeds]
    if "crop" in grid:
        found += [_run(scale, CROP, reference, most, seed) for seed in scale.seeds]
    return found


def _run(scale: Scale, method: str, labelled: int, unlabelled: int, seed: int) -> Run:
    cell = {"method": method, "labelled": labelled, "unlabelled": unlabelled, "seed": seed}
    grid = GRIDS["labels"][scale.name]
    stages = [("coarse", stage(scale, seed, PLAIN.get(method, RIGID)))]
    if method == CROP:
        stages.append(("crop", stage(scale, seed, RIGID, grid["crop"], {"stage": "crop"})))
    image_px = grid["crop_image_px"] if method == CROP else None
    spec = RunSpec(
        data=scenes.box(scale, image_px),
        labelled=Choice(labelled),
        unlabelled=Choice(unlabelled),
        stages=tuple(stages),
        tests=scenes.box_test(scale, image_px),
        seed=seed,
        fully_labelled=method == "full labels",
    )
    return Run(tuple(cell.items()), spec)


def analyse(scale: Scale, records: Sequence[Record]) -> Analysis:
    """Figs. 6 and 7 and the findings on them."""
    grid = GRIDS["labels"][scale.name]
    most = max(grid["unlabelled"])
    unlabelled = [
        (f"{n} unlabelled", {"method": "best", "unlabelled": n}) for n in grid["unlabelled"]
    ]
    plain = [
        (f"{method}, {n} unlabelled", {"method": method, "unlabelled": n})
        for method in PLAIN
        for n in grid["s3k"]
    ]
    labels_axis = "labelled samples"
    plots = (
        Plot(
            "labelled",
            "Median error over labelled samples, a line for each number of unlabelled ones (the "
            "paper's Fig. 6). Dots are seeds.",
            curves(records, "labelled", unlabelled + plain, x_label=labels_axis),
        ),
        Plot(
            "rms",
            "The paper's own measure, RMS px, over labelled samples.",
            curves(
                records, "labelled", unlabelled + plain, "rms_px",
                x_label=labels_axis, y_label="RMS error (px at 128 px)",
            ),
        ),
        Plot(
            "total",
            "Median error over all samples; the colour is the labelled part (the paper's Fig. 7).",
            _by_total(records),
        ),
    )  # fmt: skip
    return Analysis(
        tables=(table("Errors on held-out scenes", records),),
        plots=plots,
        checks=_checks(records, most),
        targets=_targets(records, most),
    )


def _checks(records: Sequence[Record], most: int) -> tuple[Check, ...]:
    def errors(above: dict[str, Any], below: dict[str, Any]) -> list[float]:
        return ratios(records, "median_mm", above, below)

    def of(cell: dict[str, Any]) -> list[float]:
        return values(select(records, **cell), "median_mm")

    ten = {"method": "best", "labelled": ENOUGH, "unlabelled": most}
    full = {**ten, "method": "full labels"}
    few = []
    for claim, method in zip(THREE, (*PLAIN, "best"), strict=True):
        enough = {**ten, "method": method}
        found = at_least(claim, errors({**enough, "labelled": FEW}, enough), 2.0)
        few.append(given(found, of(enough)))
    return (
        *few,
        given(at_most(TEN, errors(ten, full), 1.5), of(full)),
        at_most(MORE, errors(ten, {**ten, "unlabelled": 0}), 0.8),
        given(_alike(records), of(full)),
    )


def _alike(records: Sequence[Record]) -> Check:
    """All pairs of cells of nearly one size that differ much in labels."""
    found = []
    groups = {(labels, total): cell for cell in _cells(records) for labels, total in [_sizes(cell)]}
    for (labels, total), cell in groups.items():
        for (other_labels, other_total), other in groups.items():
            near = max(total, other_total) <= 1.35 * min(total, other_total)
            if near and labels >= ENOUGH and 3 * labels <= other_labels:
                found.append(at_most(ALIKE, ratios(records, "median_mm", cell, other), 1.5))
    return all_of(ALIKE, found) if found else undecided(ALIKE, "no two such trainings")


def _cells(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Cells of the best configuration and its reference."""
    names = ("method", "labelled", "unlabelled")
    kept = {tuple(r.cell[n] for n in names) for r in records if r.cell["method"] in _OWN}
    return [dict(zip(names, cell, strict=True)) for cell in sorted(kept)]


def _sizes(cell: dict[str, Any]) -> tuple[int, int]:
    """Labelled samples and all samples of a cell."""
    total = int(cell["labelled"] + cell["unlabelled"])
    return (total if cell["method"] == "full labels" else int(cell["labelled"])), total


def _targets(records: Sequence[Record], most: int) -> tuple[Target, ...]:
    ten = {"method": "best", "labelled": ENOUGH, "unlabelled": most}
    if not select(records, **ten):
        return ()
    setting = f"box, {ENOUGH} labelled, {most} unlabelled"

    def of(figure: str, cell: dict[str, Any] = ten) -> float:
        return over_seeds(records, figure, **cell).median

    full = of("median_mm", {**ten, "method": "full labels"})
    found = [
        Target.at_most(f"{setting}: median", of("median_mm"), 2.5, "mm"),
        Target.at_most(f"{setting}: 95th percentile", of("p95_mm"), 8.0, "mm"),
        Target.at_least(f"{setting}: valid, worst keypoint", 100 * of("valid_worst"), 98.0, "%"),
        Target.at_most(
            f"{setting}: median over that of all labelled", of("median_mm") / full, 1.5, "ratio"
        ),
    ]
    crop = {**ten, "method": CROP}
    if select(records, **crop):
        name = f"{setting}, with the crop"
        found += [
            Target.at_most(f"{name}: median", of("median_mm", crop), 1.0, "mm"),
            Target.at_most(f"{name}: 95th percentile", of("p95_mm", crop), 3.0, "mm"),
        ]
    three = {**ten, "labelled": FEW}
    if select(records, **three):
        name = f"box, {FEW} labelled, {most} unlabelled: median over {_DRAWS} draws"
        found.append(Target.at_most(name, of("median_mm", three), 5.0, "mm"))
    return tuple(found)


def _by_total(records: Sequence[Record]) -> Any:
    def draw(axes: Axes) -> None:
        points = []
        for cell in _cells(records):
            error = over_seeds(records, "median_mm", **cell).median
            labels, total = _sizes(cell)
            if np.isfinite(error):
                points.append((total, error, labels / total))
        if not points:
            nothing(axes)
            return
        total, error, part = zip(*points, strict=True)
        shown = axes.scatter(total, error, c=part, cmap="viridis", s=60, vmin=0, vmax=1)
        axes.figure.colorbar(shown, ax=axes, label="labelled part")
        logarithmic_x(axes)
        logarithmic_y(axes)
        axes.set_xlabel("labelled and unlabelled samples")
        axes.set_ylabel("median error (mm)")

    return draw


STUDY = Study(
    name="labels",
    title="What labelled and unlabelled samples are worth",
    about="The game box alone on the table, four cameras with directions of their own in every "
    "sample. Number of labelled samples against number of unlabelled ones; `best` is the best "
    "configuration, `s3k` the plain method, `s3k augmented` its losses with augmentation and "
    "labels alone in the first steps, `full labels` the same network, steps and augmentation with "
    "the unlabelled samples labelled too. Every seed draws its own labelled samples.",
    paper=(
        "3 labelled samples do not suffice, 10 (40 images) do, given enough unlabelled ones (Fig. "
        "6).",
        "The error falls steadily as unlabelled data grow, most where labels are few.",
        "Past the threshold, labelled and unlabelled samples are worth the same (Fig. 7).",
        "The text gives no number of the figures; its measure is RMS px, 1 px about 2.8 mm.",
    ),
    runs=runs,
    analyse=analyse,
)
