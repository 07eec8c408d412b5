"""Pictures of a report: drawn without a display, one axes each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from s3k_ros.training.studies.study import Plot

_STYLE = {
    "figure.figsize": (6.4, 4.2),
    "figure.dpi": 110,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.fontsize": 8,
}


def write_plots(plots: Sequence[Plot], folder: Path, stem: str) -> list[tuple[str, Plot]]:
    """Writes ``<stem>_<plot>.png`` files and returns their names with the plots."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for plot in plots:
        with pyplot.rc_context(_STYLE):
            figure, axes = pyplot.subplots(layout="constrained")
            plot.draw(axes)
            name = f"{stem}_{plot.name}.png"
            # Without the software's name and version the file depends on the figures alone.
            figure.savefig(folder / name, metadata={"Software": None})
            pyplot.close(figure)
        written.append((name, plot))
    return written
