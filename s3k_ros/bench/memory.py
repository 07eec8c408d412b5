"""Memory, threads and files of this process over time, for benchmarks that run long."""

from __future__ import annotations

import collections
import dataclasses
import os
import statistics
import threading
from pathlib import Path
from typing import Any

MIB = 2**20


@dataclasses.dataclass
class Memory:
    """Resident memory, threads and files of this process, sampled once a second.

    The images under way come and go by tens of MiB: medians over a minute show what stays.

    Attributes:
        warm_up_s: after this time the level is taken.
        samples: (time in s, MiB).
        threads_and_files: since the warm-up.
    """

    warm_up_s: float
    samples: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    threads_and_files: list[list[int]] = dataclasses.field(default_factory=list)

    def sample(self, now_s: float) -> None:
        """Looks, when a second has gone by."""
        if self.samples and now_s < self.samples[-1][0] + 1.0:
            return
        self.samples.append((now_s, resident_mib()))
        if now_s >= self.warm_up_s:
            files = len(os.listdir("/proc/self/fd"))
            self.threads_and_files.append([threading.active_count(), files])

    @property
    def levels_mib(self) -> list[float]:
        """Medians over each minute (of a short run: each eighth of it) since the warm-up."""
        if not self.threads_and_files:
            return []
        window_s = min(60.0, (self.samples[-1][0] - self.warm_up_s) / 8.0) or 1.0
        windows: dict[int, list[float]] = collections.defaultdict(list)
        for now_s, mib in self.samples:
            if now_s >= self.warm_up_s:
                windows[int((now_s - self.warm_up_s) / window_s)].append(mib)
        return [statistics.median(found) for _, found in sorted(windows.items())]

    @property
    def growth_mib(self) -> float:
        """Highest level less the first one; NaN before the warm-up has ended."""
        levels = self.levels_mib or [float("nan")]
        return max(levels) - levels[0]

    def figures(self) -> dict[str, Any]:
        """For the result."""
        return {
            "levels": self.levels_mib,
            "peak": max((mib for _, mib in self.samples), default=float("nan")),
            "threads_and_files_then": self.threads_and_files[:1],
            "threads_and_files_at_the_end": self.threads_and_files[-1:],
        }


def resident_mib() -> float:
    """Resident memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB
