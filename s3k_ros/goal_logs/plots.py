"""Plots of one goal over time and in space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from s3k_ros.geometry.se3 import Transform
from s3k_ros.goal_logs.drawing import INK, STYLE, new_figure, svg
from s3k_ros.goal_logs.measures import (
    force_changes,
    force_limits,
    jaw_widths,
    measured_speeds,
    planned_at,
)
from s3k_ros.goal_logs.reader import GoalLog, LoggedKeypoint

Array = NDArray[np.float64]

PLANNED, MEASURED, WARNING = "#d55e00", "#2384c6", "#b84a00"
_PHASES = {
    "observe": "#8f8f8f", "transfer": "#2384c6", "approach": "#2384c6", "align": "#009e73",
    "lower": "#009e73", "close": "#d55e00", "release": "#d55e00", "lift": "#8e5bb5",
    "retreat": "#8e5bb5", "verify": "#c9a400", "stopping": "#c62828",
}  # fmt: skip
_AXES = ("#d55e00", "#009e73", "#2384c6")
# Share of a normal distribution within 1.96 standard deviations: 95 %, of one axis.
_SIGMAS = 1.96
# Radius of a 95 % ellipse of two axes, in standard deviations: sqrt of chi-squared with 2.
_SIGMAS_2D = 2.448


@mpl.rc_context(STYLE)
def timeline(log: GoalLog) -> str:
    """Bands of the phases, jaws, force at the wrist, over the same time."""
    figure = new_figure(11.0, 5.4)
    bands, jaws, force = figure.subplots(3, 1, sharex=True, height_ratios=(0.5, 1.0, 1.2))
    _bands(bands, log)
    times, widths = jaw_widths(log)
    jaws.plot(times, 1e3 * widths, c=MEASURED)
    for time, command in log.commands:
        if command["command"] == "MoveJaws":
            jaws.annotate(
                f"to {1e3 * (command['width'] or 0.0):.0f} mm, {command['force'] or 0.0:.0f} N",
                (time, 0.02), xycoords=("data", "axes fraction"), fontsize=8,
                xytext=(3, 0), textcoords="offset points",
            )  # fmt: skip
            jaws.axvline(time, color=INK, lw=0.8, ls=":")
    jaws.set(ylabel="jaws (mm)", ylim=(0, max(95.0, 1.1e3 * float(np.max(widths, initial=0.0)))))
    _forces(force, log)
    force.set(xlabel="time since the goal came (s)")
    _phase_marks((jaws, force), log)
    return svg(figure)


@mpl.rc_context(STYLE)
def joints(log: GoalLog) -> str:
    """Positions and speeds of each joint: as planned, and as measured."""
    count = len(log.joint_names)
    if not count or not len(log.joint_times):
        return ""
    height = 1.15 * count + 0.9
    # By hand: for so many axes arranging takes longer than all the rest.
    figure = new_figure(11.0, height, arranged=False)
    figure.subplots_adjust(
        left=0.1, right=0.99, bottom=0.5 / height, top=1 - 0.5 / height, wspace=0.14, hspace=0.18
    )
    grid = figure.subplots(count, 2, sharex=True, squeeze=False)
    times, speeds = measured_speeds(log)
    planned, planned_speeds = planned_at(log, log.joint_times)
    for index, (position, speed) in enumerate(grid):
        position.plot(log.joint_times, log.joints[:, index], c=MEASURED, label="measured")
        position.plot(log.joint_times, planned[:, index], c=PLANNED, ls="--", label="planned")
        speed.plot(times, speeds[:, index], c=MEASURED, lw=1.1)
        speed.plot(log.joint_times, planned_speeds[:, index], c=PLANNED, ls="--")
        position.set_ylabel(log.joint_names[index], rotation=0, ha="right", va="center")
        for axes in (position, speed):
            axes.margins(y=0.15)
        _phase_marks((position, speed), log)
    grid[0, 0].set_title("position (rad)")
    grid[0, 1].set_title("speed (rad/s)")
    for axes in grid[-1]:
        axes.set_xlabel("time since the goal came (s)")
    handles = grid[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="upper right", ncols=2)
    return svg(figure)


@mpl.rc_context(STYLE)
def keypoint(log: GoalLog, name: str) -> str:
    """A keypoint's way from its first position with 95 % bands, its confidence, corrections."""
    found = log.keypoints.get(name)
    if found is None:
        return ""
    figure = new_figure(11.0, 3.9)
    place, trust = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1.0))
    valid = np.isfinite(found.positions).all(axis=1)
    if valid.any():
        origin = np.median(found.positions[valid][:3], axis=0)
        for axis, (label, shade) in enumerate(zip("xyz", _AXES, strict=True)):
            way = 1e3 * (found.positions[:, axis] - origin[axis])
            band = 1e3 * _SIGMAS * np.sqrt(np.maximum(found.covariances[:, axis, axis], 0.0))
            place.plot(found.times, way, ".-", c=shade, ms=3, label=label)
            place.fill_between(found.times, way - band, way + band, color=shade, alpha=0.13, lw=0)
    refused = found.times[~valid]
    if len(refused):
        place.plot(refused, np.zeros(len(refused)), "|", c=WARNING, ms=9, label="refused")
    for number, (time, _) in enumerate(log.plans):
        style = {"color": INK, "lw": 1.0, "ls": "-." if number else "-"}
        place.axvline(time, label=("corrected", "planned")[number == 0] if number < 2 else None,
                      **style)  # fmt: skip
    place.set(ylabel="from its first position (mm)")
    place.margins(y=0.2)
    place.legend(loc="upper left", ncols=6)
    trust.plot(found.times, found.confidences, ".-", c=MEASURED, ms=3)
    least = log.request.get("min_confidence")
    if isinstance(least, float) and least > 0.0:
        trust.axhline(least, color=WARNING, ls="--", lw=1.0, label=f"least {least:g}")
        trust.legend(loc="lower left")
    trust.set(ylabel="confidence", xlabel="time since the goal came (s)", ylim=(0.0, 1.05))
    _phase_marks((place, trust), log)
    return svg(figure)


@mpl.rc_context(STYLE)
def space(log: GoalLog, measured: Array | None) -> str:
    """Ways of the tool and poses, from above and from the side, base frame.

    Args:
        log: the goal.
        measured: (N, 3) m, the tool's way by the joint states; None when not known.
    """
    figure = new_figure(11.0, 4.8)
    above, side = figure.subplots(1, 2)
    for axes, (first, second) in ((above, (0, 1)), (side, (0, 2))):
        for number, path in enumerate(log.paths):
            axes.plot(path[:, first], path[:, second], c=PLANNED, ls="--",
                      label="planned" if number == 0 else None)  # fmt: skip
        if measured is not None and len(measured):
            axes.plot(measured[:, first], measured[:, second], c=MEASURED, lw=2.2, alpha=0.75,
                      label="measured")  # fmt: skip
        for number, (name, found) in enumerate(log.keypoints.items()):
            _keypoint_in_space(axes, name, found, first, second, _AXES[number % len(_AXES)])
        if log.plans:
            for name, pose in _poses(log.plans[-1][1]).items():
                _pose(axes, name, pose, first, second)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xlabel("x (m)")
    above.set(ylabel="y (m)", title="From above (bars: the line along which the jaws close)")
    side.set(ylabel="z (m)", title="From the side")
    handles = above.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5)
    return svg(figure)


def _bands(axes: Axes, log: GoalLog) -> None:
    for name, begin, end in log.phases:
        shade = _PHASES.get(name, "#888888")
        axes.broken_barh(
            [(begin, max(end - begin, 0.01))], (0.1, 0.8), facecolors=shade, alpha=0.85
        )
        if end - begin > 0.04 * max(log.ended, 0.1):
            axes.text((begin + end) / 2, 0.5, f"{name}\n{end - begin:.1f} s", ha="center",
                      va="center", color="white", fontsize=8)  # fmt: skip
    axes.set(ylim=(0, 1), yticks=[], xlim=(0.0, max(log.ended, 0.1)))
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)


def _forces(axes: Axes, log: GoalLog) -> None:
    times, changes = force_changes(log)
    limit_times, limits = force_limits(log)
    if len(times):
        axes.plot(
            times, changes, c=MEASURED, lw=1.0, label="change of the force since it was tared"
        )
    if len(limits):
        axes.step(limit_times, limits, where="post", c=WARNING, ls="--", lw=1.2, label="limit")
    top = max(float(np.nanmax(changes, initial=0.0)), float(np.nanmin(limits, initial=50.0)))
    axes.set(ylabel="force (N)", ylim=(0, 1.3 * max(top, 1.0)))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", ncols=2)


def _phase_marks(axes: Sequence[Axes], log: GoalLog) -> None:
    """Tints the phases, and lets the plots begin and end with the goal."""
    for name, begin, end in log.phases:
        for one in axes:
            one.axvspan(begin, end, color=_PHASES.get(name, "#888888"), alpha=0.07, lw=0)
    for one in axes:
        one.set_xlim(0.0, max(log.ended, 0.1))


def _poses(plan: dict[str, Any]) -> dict[str, Transform]:
    """The poses of a plan by their names."""
    return {
        name: Transform.from_quaternion(value["quaternion"], value["position"])
        for name, value in plan.items()
        if isinstance(value, dict) and {"position", "quaternion"} <= set(value)
    }


def _pose(axes: Axes, name: str, pose: Transform, first: int, second: int) -> None:
    centre = pose.translation
    half = 0.0425 * pose.rotation[:, 1]
    ends = np.stack([centre - half, centre + half])
    axes.plot(ends[:, first], ends[:, second], c=INK, lw=1.6)
    axes.plot(centre[first], centre[second], "o", c=INK, ms=3.5)
    if second == 2:  # from above, grasp and pregrasp are one point
        axes.annotate(name, (centre[first], centre[second]), xytext=(5, 4), fontsize=8,
                      textcoords="offset points")  # fmt: skip


def _keypoint_in_space(
    axes: Axes, name: str, found: LoggedKeypoint, first: int, second: int, shade: str
) -> None:
    valid = np.isfinite(found.positions).all(axis=1)
    if not valid.any():
        return
    positions = found.positions[valid][:, (first, second)]
    axes.plot(*positions.T, ".", c=shade, ms=3, alpha=0.5, label=name)
    covariance = found.covariances[valid][-1][np.ix_((first, second), (first, second))]
    values, vectors = np.linalg.eigh(covariance)
    angle = np.linspace(0.0, 2.0 * np.pi, 61)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    ring = vectors @ (_SIGMAS_2D * np.sqrt(np.maximum(values, 0.0))[:, None] * circle)
    axes.plot(*(positions[-1][:, None] + ring), c=shade, lw=1.0)
