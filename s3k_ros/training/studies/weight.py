"""`lambda`: the weight of the self-supervised loss (Fig. 13)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from s3k_ros.training.studies.checks import LEARNED_MM, Check, Claim, all_of, at_most, given
from s3k_ros.training.studies.domain_shift import shifting
from s3k_ros.training.studies.records import SEED, Record, over_seeds, select
from s3k_ros.training.studies.scales import GRIDS, S3K_AUGMENTED, Scale
from s3k_ros.training.studies.specs import Run
from s3k_ros.training.studies.study import Analysis, Plot, Study
from s3k_ros.training.studies.tables import column, curves, table, usual_columns

WIDE = Claim(
    "with enough labels a wide range of lambda works",
    "With enough labelled data the model performs well with a wide range of lambda.",
    "With the most labels, the median errors of all lambdas between a tenth and ten times the "
    "normal one lie within a factor of 2 and below 28 mm, for every seed.",
)
LARGE = Claim(
    "with enough labels a large lambda is best",
    "With enough labelled data a large weight on the unlabelled data works best.",
    "With the most labels, the largest lambda's median error is at most 1.1 times that of the best "
    "one, for every seed.",
)
COLLAPSE = Claim(
    "with few labels a large lambda collapses",
    "With too few labels the model collapses to a trivial, consistent solution such as the box's "
    "centre.",
    "With the least labels and the largest lambda, the keypoints' spread about their middle is at "
    "most 0.8 of the true one, for every seed; judged where the most labels learn with some "
    "lambda.",
)
STABLE = Claim(
    "with few labels a smaller lambda is better",
    "With small amounts of labelled data decreasing lambda helps to stabilise the training.",
    "With the least labels, the best smaller lambda has at most 0.8 times the median error of the "
    "largest, for every seed.",
)


def runs(scale: Scale) -> list[Run]:
    """Lambda x labelled samples, for the paper's losses."""
    grid = GRIDS["lambda"][scale.name]
    found = []
    for labelled, weight in itertools.product(grid["labelled"], grid["weights"]):
        for seed in scale.seeds:
            cell = {"labelled": labelled, "lambda": weight, SEED: seed}
            spec = shifting(
                scale,
                "full",
                labelled,
                grid["unlabelled"],
                seed,
                **S3K_AUGMENTED,
                self_weight=weight,
            )
            found.append(Run(tuple(cell.items()), spec))
    return found


def analyse(scale: Scale, records: Sequence[Record]) -> Analysis:
    """Fig. 13."""
    grid = GRIDS["lambda"][scale.name]
    lines = [(f"{count} labelled", {"labelled": count}) for count in grid["labelled"]]
    columns = (*usual_columns(), column("size of the estimate", "size_ratio", 2))
    size = "spread of the keypoints, estimated over true"
    return Analysis(
        tables=(table("Errors by lambda", records, columns),),
        plots=(
            Plot(
                "error",
                "Median error over lambda (the paper's Fig. 13). Dots are seeds.",
                curves(records, "lambda", lines, x_label="lambda"),
            ),
            Plot(
                "size",
                "Collapse shows as estimates that lie too near each other: 1 is right, 0 a point.",
                curves(records, "lambda", lines, "size_ratio", x_label="lambda", y_label=size),
            ),
        ),
        checks=_checks(scale, records),
        notes=(
            f"{grid['unlabelled']} unlabelled samples, full annotation. The safeguards of the "
            "best configuration would hide what lambda does.",
        ),
    )


def _checks(scale: Scale, records: Sequence[Record]) -> tuple[Check, ...]:
    grid = GRIDS["lambda"][scale.name]
    few, many = min(grid["labelled"]), max(grid["labelled"])
    weights = sorted(grid["weights"])
    wide = [w for w in weights if 0.1 <= w <= 10.0]
    seeds = sorted({record.cell[SEED] for record in records})

    def error(labelled: int, weight: float, seed: int) -> float:
        cell = {"labelled": labelled, "lambda": weight, SEED: seed}
        return over_seeds(records, "median_mm", **cell).median

    def over(first: Sequence[float], second: Sequence[float], labelled: int) -> list[float]:
        """Per seed: the least error of the first weights over the least of the second."""
        return [
            _least(error(labelled, w, seed) for w in first)
            / _least(error(labelled, w, seed) for w in second)
            for seed in seeds
        ]

    worst = [-_least(-error(many, w, seed) for w in wide) for seed in seeds]
    best = [_least(error(many, w, seed) for w in weights) for seed in seeds]
    spans = [a / b for a, b in zip(worst, best, strict=True)]
    collapsed = select(records, **{"labelled": few, "lambda": weights[-1]})
    sizes = [record.value("size_ratio") for record in collapsed]
    smaller = over(weights[:-1], weights[-1:], few) if len(weights) > 1 else []
    return (
        all_of(WIDE, [at_most(WIDE, spans, 2.0), at_most(WIDE, worst, LEARNED_MM, "mm")]),
        given(at_most(LARGE, over(weights[-1:], weights, many), 1.1), best),
        given(at_most(COLLAPSE, sizes, 0.8), best),
        at_most(STABLE, smaller, 0.8),
    )


def _least(numbers: Iterable[float]) -> float:
    """NaN when one of them was not measured."""
    known = list(numbers)
    return math.nan if any(map(math.isnan, known)) else min(known)


STUDY = Study(
    name="lambda",
    title="The weight of the self-supervised loss",
    about="The domain-shift scenes with full annotation; lambda against the number of labelled "
    "samples, with the paper's losses as they stand: no gate, no shape, no teacher; labels alone "
    "in the first steps, and augmentation. Lambda weighs the self-supervised loss; both "
    "losses are sums over views and keypoints and means over samples, each batch apart.",
    paper=(
        "With too few labels the model collapses to a trivial solution and cannot use the "
        "unlabelled data.",
        "With enough labels a wide range of lambda works, a large one best (Fig. 13).",
        "With few labels a smaller lambda stabilises the training.",
        "The best lambda falls with the amount of unlabelled data.",
    ),
    runs=runs,
    analyse=analyse,
)
