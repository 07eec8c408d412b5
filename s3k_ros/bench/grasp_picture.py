"""The picture of `s3k bench grasp`: success by condition, and times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from s3k_ros.bench.grasp_trials import Tried

_COLOURS = {"fox": "#c1622d", "box": "#2f6f9f", "boot": "#6b8f3c"}
_LEAST_PERCENT, _MOST_SECONDS = 95, 8


def draw(tried: Sequence[Tried], path: Path) -> None:
    """Draws success by condition (Wilson's 95 % intervals) and the times' histogram into a file."""
    figure, (shares, times) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    conditions = list(dict.fromkeys(t.trial.condition for t in tried))
    objects = list(dict.fromkeys(t.trial.what for t in tried))
    width = 0.8 / len(objects)
    for i, what in enumerate(objects):
        mine = [[t.lifted for t in tried if (t.trial.what, t.trial.condition) == (what, c)]
                for c in conditions]  # fmt: skip
        height = np.array([100 * np.mean(lifted) for lifted in mine])
        spans = np.array([_wilson(sum(lifted), len(lifted)) for lifted in mine]).T
        place = np.arange(len(conditions)) + (i - (len(objects) - 1) / 2) * width
        error = np.abs(spans - height)
        shares.bar(place, height, width, yerr=error, color=_COLOURS[what], label=what, capsize=3)
        times.hist(
            [t.seconds for t in tried if t.trial.what == what], bins=np.arange(0, 20.25, 0.5),
            color=_COLOURS[what], alpha=0.7, label=what,
        )  # fmt: skip
    shares.axhline(_LEAST_PERCENT, color="black", linewidth=0.8, linestyle="--")
    shares.set(ylabel="held and lifted, %", ylim=(0, 105), title="Success by condition")
    shares.set_xticks(range(len(conditions)), [c.replace("_", " ") for c in conditions])
    shares.legend(loc="lower left")
    times.axvline(_MOST_SECONDS, color="black", linewidth=0.8, linestyle="--")
    times.set(xlabel="simulated time from goal to result, s", ylabel="grasps", title="Time")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _wilson(successes: int, count: int) -> tuple[float, float]:
    """95 % interval of a share, in percent (Wilson 1927)."""
    z, share = 1.96, successes / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count**2)) / (1 + z * z / count)
    return 100 * (middle - half), 100 * (middle + half)
