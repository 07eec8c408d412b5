"""Plots as SVG that take their text colours from the page that holds them, light or dark."""

from __future__ import annotations

import io
import re
from importlib import resources
from typing import Any

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, FAINT = "#010203", "#040506"
"""Stand-ins for the page's text and grid colours: CSS variables are written in their place."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "s3k_ros",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
}


def style_sheet() -> str:
    """The style of our pages, light and dark."""
    return resources.files("s3k_ros.goal_logs").joinpath("templates/page.css").read_text("utf-8")


def new_figure(width: float, height: float, *, arranged: bool = True) -> Figure:
    """An empty figure of a size in inches, whose axes are arranged by themselves or by hand."""
    figure = Figure(figsize=(width, height), layout="constrained" if arranged else None)
    FigureCanvasSVG(figure)
    return figure


def svg(figure: Figure) -> str:
    """Writes a figure as an SVG element without metadata and with the page's colours."""
    nothing = {"Creator": None, "Date": None, "Format": None, "Type": None}
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace(INK, "currentColor").replace(FAINT, "var(--grid)")
