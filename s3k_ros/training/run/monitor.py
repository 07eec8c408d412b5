"""What a run shows: a progress bar or lines, and TensorBoard."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from s3k_ros.training.method.objective import Losses
from s3k_ros.training.run.watch import Look

Say = Callable[[str], None]


class Monitor:
    """Follows a run.

    Args:
        name: of the stage.
        folder: of TensorBoard's files; None: none are written.
        first: step that the run starts or goes on at.
        last: step at which it ends.
        interval_s: time between lines.
        bar: a progress bar where standard error is a terminal, otherwise lines.
        say: where lines go.
    """

    def __init__(
        self,
        name: str,
        folder: Path | None,
        first: int,
        last: int,
        interval_s: float,
        bar: bool,
        say: Say,
    ) -> None:
        self._name, self._last, self._interval = name, last, interval_s
        self._bar = tqdm(
            total=last,
            initial=first,
            desc=name,
            unit="step",
            mininterval=0.5,
            dynamic_ncols=True,
            disable=not (bar and sys.stderr.isatty()),
        )
        self._say = (lambda line: self._bar.write(line)) if not self._bar.disable else say
        self._writer = _writer(folder, first)
        self._seen: list[Losses] = []
        self._shown = time.monotonic()

    def step(self, step: int, losses: Losses, rate: float, strength: float) -> None:
        """Takes note of a finished step; nothing is copied from the device until it is shown."""
        self._seen.append(Losses(losses.total.detach(), *list(vars(losses).values())[1:]))
        self._bar.update(1)
        now = time.monotonic()
        if now - self._shown < self._interval and step < self._last:
            return
        figures = _means(self._seen)
        speed = len(self._seen) / max(now - self._shown, 1e-9)
        left = (self._last - step) / speed
        text = (
            f"labels {figures['supervised']:.3f}  self {figures['self_supervised']:.3f}  "
            f"accepted {100 * figures['accepted']:.0f} %"
        )
        self._bar.set_postfix_str(text)
        if self._bar.disable:
            self._say(
                f"{self._name}: step {step}/{self._last}  {text}  {speed:.2f} steps/s  "
                f"{left / 60:.1f} min left"
            )
        self.scalars(step, {f"loss/{k}": v for k, v in figures.items()})
        self.scalars(
            step, {"run/learning_rate": rate, "run/lambda": strength, "run/steps_per_s": speed}
        )
        self._seen, self._shown = [], now

    def look(self, step: int, look: Look) -> None:
        """Reports what the guards found."""
        report = look.report
        self._say(f"{self._name}: step {step}  guards' score {report.score:.2f}")
        for finding in report.findings:
            self._say(f"{self._name}: step {step}  {finding}")
        if self._writer is None:
            return
        self.scalars(step, {"guards/score": report.score})
        for figure, value in report.figures.items():
            self.scalars(step, {f"guards/{figure}/{k}": v for k, v in value.items()})
        for name, picture in look.pictures.items():
            self._writer.add_image(name, picture, step, dataformats="HWC")
        for finding in report.findings:
            self._writer.add_text(f"findings/{finding.kind}", str(finding), step)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes figures for TensorBoard."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Ends the bar and writes what is buffered."""
        self._bar.close()
        if self._writer is not None:
            self._writer.close()


def _writer(folder: Path | None, first: int) -> Any:
    if folder is None:
        return None
    from torch.utils.tensorboard import SummaryWriter  # late: takes a second to import

    return SummaryWriter(str(folder), purge_step=first)


def _means(losses: list[Losses]) -> dict[str, float]:
    """Means over steps, with one copy from the device."""
    names = ("total", "supervised", "self_supervised", "accepted")
    table = torch.stack([torch.stack([getattr(x, n).float() for n in names]) for x in losses])
    return dict(zip(names, table.mean(0).tolist(), strict=True))
