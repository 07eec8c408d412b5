"""Plots of the report as SVG that takes its text colours from the page, light or dark."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s3k_ros.demo.measurement import ErrorSample
from s3k_ros.demo.overlay import colour
from s3k_ros.demo.recording import Array, Recording
from s3k_ros.goal_logs.drawing import INK, STYLE, new_figure, svg

TCP_COLOUR = "#2384c6"
PAW_COLOUR = "#d55e00"


@mpl.rc_context(STYLE)
def error_distribution(samples: Sequence[ErrorSample]) -> str:
    """Share of valid keypoints below an error, one curve a keypoint, logarithmic in mm."""
    figure, (axes,) = _figure(5.2, 3.2, 1)
    for index, name in enumerate(_names(samples)):
        errors = [1e3 * s.error_m for s in samples if s.name == name and s.valid]
        errors = sorted(e for e in errors if np.isfinite(e))
        if errors:
            share = np.arange(1, len(errors) + 1) / len(errors)
            axes.step(np.maximum(errors, 0.1), share, where="post", c=colour(index), label=name)
    axes.set(xscale="log", xlabel="3D error (mm)", ylabel="share of valid keypoints", ylim=(0, 1.0))
    axes.set_title("Keypoint errors against ground truth, all phases")
    largest = max((1e3 * s.error_m for s in samples if s.valid and s.error_m > 0), default=0.0)
    axes.set_xlim(0.5, max(1.2 * largest, 50.0))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    _legend(axes)
    return svg(figure)


@mpl.rc_context(STYLE)
def latency_histogram(latencies_ms: Sequence[float]) -> str:
    """Histogram of the time from exposure to receipt of the 3D keypoints, wall ms."""
    figure, (axes,) = _figure(5.2, 3.2, 1)
    if latencies_ms:
        top = float(np.percentile(latencies_ms, 99.5)) * 1.1
        shown = np.clip(latencies_ms, 0.0, top)
        axes.hist(shown, bins=np.linspace(0.0, top, 41), color=TCP_COLOUR, alpha=0.85)
        for q, style in ((50, "-"), (99, "--")):
            value = float(np.percentile(latencies_ms, q))
            axes.axvline(value, color=INK, lw=1, ls=style, label=f"p{q}: {value:.0f} ms")
    axes.set(xlabel="from exposure to keypoint message (ms of wall time)", ylabel="messages")
    axes.set_title("Latency")
    _legend(axes)
    return svg(figure)


@mpl.rc_context(STYLE)
def paths(recording: Recording, keypoint: str) -> str:
    """Paths of the TCP and of the true keypoint, from above and from the side, base frame, m."""
    figure, (above, side) = _figure(5.6, 2.9, 2)
    tcp, paw = _path(recording.tcp), keypoint_path(recording, keypoint)
    grip = recording.phase_start("close")
    for axes, (first, second) in ((above, (0, 1)), (side, (0, 2))):
        for path, shade, label in ((tcp, TCP_COLOUR, "TCP"), (paw, PAW_COLOUR, keypoint)):
            if len(path):
                axes.plot(path[:, 1 + first], path[:, 1 + second], c=shade, label=label)
                axes.plot(*path[0, [1 + first, 1 + second]], "o", c=shade, ms=4)
        if grip is not None and np.isfinite(position := recording.tcp_at(grip)).all():
            axes.plot(position[first], position[second], "x", c=INK, ms=8, mew=1.5, label="close")
        _widen(axes)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xlabel("x (m)")
    above.set(ylabel="y (m)", title="From above (dots: start)")
    side.set(ylabel="z (m)", title="From the side")
    figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return svg(figure)


@mpl.rc_context(STYLE)
def timeline(recording: Recording, samples: Sequence[ErrorSample], keypoint: str) -> str:
    """Heights of TCP and keypoint, and the keypoint's error with what was claimed, over time."""
    figure, (height, error) = _figure(5.6, 3.9, 2, rows=True)
    start = recording.clock[0][0] if recording.clock else 0.0
    tcp, paw = _path(recording.tcp), keypoint_path(recording, keypoint)
    for path, shade, label in ((tcp, TCP_COLOUR, "TCP"), (paw, PAW_COLOUR, keypoint)):
        if len(path):
            height.plot(path[:, 0] - start, path[:, 3], c=shade, label=label)
    mine = [s for s in samples if s.name == keypoint]
    valid = [s for s in mine if s.valid and np.isfinite(s.error_m)]
    times = np.array([s.stamp_s - start for s in valid])
    claimed = np.array([1e3 * s.sigma_m for s in valid])
    error.fill_between(times, 0, claimed, color=TCP_COLOUR, alpha=0.18, lw=0, label="claimed RMS")
    error.plot(times, [1e3 * s.error_m for s in valid], ".-", c=PAW_COLOUR, ms=4, label="error")
    refused = [s.stamp_s - start for s in mine if not s.valid]
    error.plot(refused, np.zeros(len(refused)), "|", c=INK, ms=8, label="refused")
    height.set(ylabel="z (m)", title="Height")
    height.tick_params(labelbottom=False)
    error.set(xlabel="time since the reset (s, simulated)", ylabel="error (mm)")
    error.set_title(f"Error of {keypoint}")
    _limit(error, [1e3 * s.error_m for s in valid], claimed)
    _phases((height, error), recording, start)
    height.set_ylim(top=height.get_ylim()[1] * 1.25)
    for axes, columns in ((height, 2), (error, 3)):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=columns)
    return svg(figure)


def keypoint_path(recording: Recording, name: str) -> Array:
    """(N, 4) stamp and true position of a keypoint, at most 400 points; empty when not known."""
    if name not in recording.truth_names:
        return np.empty((0, 4))
    index = recording.truth_names.index(name)
    return _path([(stamp, points[index]) for stamp, points in recording.truth])


def _path(stamped: Sequence[tuple[float, Array]], most: int = 400) -> Array:
    if not stamped:
        return np.empty((0, 4))
    rows = np.array([[stamp, *point] for stamp, point in stamped])
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return rows[np.unique(np.linspace(0, len(rows) - 1, most).astype(int))]


def _phases(axes: Sequence[Axes], recording: Recording, start: float) -> None:
    seen: set[str] = set()
    for feedback in recording.feedback:
        if feedback.phase in seen:
            continue
        seen.add(feedback.phase)
        for one in axes:
            one.axvline(feedback.stamp_s - start, color=INK, lw=0.7, ls=":")
        axes[0].annotate(
            feedback.phase,
            (feedback.stamp_s - start, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(2, -2),
            textcoords="offset points",
            va="top",
            fontsize=7.5,
            rotation=90,
        )


def _widen(axes: Axes, least: float = 0.1) -> None:
    """Shows at least ``least`` metres, so that a path of a millimetre does not look like a way."""
    middle = np.array([np.mean(axes.get_xlim()), np.mean(axes.get_ylim())])
    axes.update_datalim([middle - least / 2, middle + least / 2])
    axes.autoscale_view()


def _limit(axes: Axes, errors: Sequence[float], claimed: Array) -> None:
    """Keeps one gross error from flattening the rest of the curve."""
    values = [*errors, *claimed[np.isfinite(claimed)]]
    if values:
        axes.set_ylim(0, max(1.3 * float(np.percentile(values, 95)), 5.0))


def _names(samples: Sequence[ErrorSample]) -> list[str]:
    return list(dict.fromkeys(sample.name for sample in samples))


def _figure(width: float, height: float, count: int, rows: bool = False) -> tuple[Figure, list]:
    figure = new_figure(width, height)
    shape = (count, 1) if rows else (1, count)
    grid = figure.subplots(*shape, squeeze=False, sharex=rows)
    return figure, list(grid.ravel())


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best")
