"""The paper's findings as named checks, each judged by a stated rule on our figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from s3k_ros.training.studies.records import number, spread

LEAST_SEEDS = 3
"""Fewer repetitions judge nothing."""
LEARNED_MM = 28.0
"""Above this median error, 10 px of the paper's images, a training has not learned its task."""


class Verdict(StrEnum):
    """What our figures say about a finding."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    UNDECIDED = "cannot be judged at this scale"


@dataclass(frozen=True)
class Claim:
    """A finding and how it is judged.

    Attributes:
        name: short.
        paper: what the paper says.
        rule: what our figures must show.
    """

    name: str
    paper: str
    rule: str


@dataclass(frozen=True)
class Check:
    """A judged finding.

    Attributes:
        claim: the finding.
        verdict: the judgement.
        evidence: the figures that it rests on.
    """

    claim: Claim
    verdict: Verdict
    evidence: str


def at_least(claim: Claim, per_seed: Sequence[float], limit: float, unit: str = "") -> Check:
    """Reproduced when every seed's figure is at least the limit, not when none is."""
    return _judge(claim, per_seed, lambda value: value >= limit, unit)


def at_most(claim: Claim, per_seed: Sequence[float], limit: float, unit: str = "") -> Check:
    """Reproduced when every seed's figure is at most the limit, not when none is."""
    return _judge(claim, per_seed, lambda value: value <= limit, unit)


def all_of(claim: Claim, checks: Sequence[Check]) -> Check:
    """Reproduced when all are, not when one is not, else undecided."""
    verdicts = {check.verdict for check in checks}
    if Verdict.NOT_REPRODUCED in verdicts:
        verdict = Verdict.NOT_REPRODUCED
    elif verdicts == {Verdict.REPRODUCED}:
        verdict = Verdict.REPRODUCED
    else:
        verdict = Verdict.UNDECIDED
    return Check(claim, verdict, "; ".join(check.evidence for check in checks) or "not measured")


def given(check: Check, errors_mm: Sequence[float]) -> Check:
    """The check, undecided where the training that it is held against has not learned.

    Args:
        check: a judged finding.
        errors_mm: median error of that training, for every seed.
    """
    failed = [error for error in errors_mm if error > LEARNED_MM]
    if not failed or check.verdict == Verdict.UNDECIDED:
        return check
    worst = ", ".join(number(error) for error in failed)
    why = f"what it is held against has not learned ({worst} mm, above {LEARNED_MM:g})"
    return Check(check.claim, Verdict.UNDECIDED, f"{check.evidence}; {why}")


def undecided(claim: Claim, why: str) -> Check:
    """A finding that the runs of this scale cannot show."""
    return Check(claim, Verdict.UNDECIDED, why)


def _judge(
    claim: Claim, per_seed: Sequence[float], holds: Callable[[float], bool], unit: str
) -> Check:
    known = [value for value in per_seed if not math.isnan(value)]
    text = ", ".join(number(value, 2) for value in known) + (f" {unit}" if unit else "")
    if len(known) < LEAST_SEEDS:
        few = f"{len(known)} of at least {LEAST_SEEDS} seeds"
        return Check(claim, Verdict.UNDECIDED, f"{few}: {text}" if known else few)
    if all(map(holds, known)):
        verdict = Verdict.REPRODUCED
    elif not any(map(holds, known)):
        verdict = Verdict.NOT_REPRODUCED
    else:
        verdict, text = Verdict.UNDECIDED, f"{text}: the seeds disagree"
    return Check(claim, verdict, f"{text} (median {number(spread(known).median, 2)})")
