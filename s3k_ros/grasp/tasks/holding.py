"""Whether the jaws hold something: by stall, final width and wrench."""

from __future__ import annotations

import dataclasses

from s3k_ros.grasp.codes import Holding
from s3k_ros.params.grasp import GraspParameters


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What speaks for or against a held object after the lift.

    Attributes:
        stalled: the jaws stopped short of closed when they gripped.
        grip_width: m between the jaws when they had gripped.
        width: m now; None when not known.
        load: N, weight that the wrist took over since before the grip; None when not known.
        creeping: the jaws still close: what they hold is on its way out.
    """

    stalled: bool
    grip_width: float
    width: float | None
    load: float | None
    creeping: bool = False


def closed_on_nothing(width: float, params: GraspParameters) -> bool:
    """Whether jaws at this gap can have nothing between them."""
    return width <= params.min_width_m


def judge(evidence: Evidence, params: GraspParameters) -> tuple[Holding, str]:
    """The verdict after the lift, and the reason in words.

    Width decides: jaws that the grip force could not close further have something between them.
    The wrench is soft evidence (a light toy is near the sensor's noise): it can turn HOLDING into
    UNKNOWN, and only when ``min_load_n`` asks for it.
    """
    width = evidence.grip_width if evidence.width is None else evidence.width
    gap = f"jaws at {1e3 * width:.1f} mm"
    if closed_on_nothing(width, params):
        return Holding.NOT_HOLDING, f"{gap}, closed"
    if not evidence.stalled:
        return Holding.UNKNOWN, f"{gap}, but they never stalled"
    if evidence.creeping:
        return Holding.UNKNOWN, f"{gap} and still closing"
    load = "" if evidence.load is None else f", load {evidence.load:.1f} N"
    if params.min_load_n > 0.0 and evidence.load is not None and evidence.load < params.min_load_n:
        return Holding.UNKNOWN, f"{gap}{load}, less than {params.min_load_n:g} N"
    return Holding.HOLDING, f"{gap}{load}"
