"""Samples from renderer to disk, with planning and encoding beside the rendering.

Reading an image back from the renderer takes most of the time and lets other threads run. One
thread draws the next scenes meanwhile, another encodes and writes the last ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

from s3k_ros.simulation.sample import Sample
from s3k_ros.training.dataset_writer import DatasetWriter

Item = TypeVar("Item")
Value = TypeVar("Value")

# Samples that may wait to be encoded: more would only fill memory when the disk is slow.
_WAITING = 16
_AHEAD = 8
SMALL_IMAGE_PX = 256
# The renderer asks for Python's lock many times a sample; by default another thread keeps it for up
# to 5 ms, which is longer than a small image takes.
_SWITCH_S = 2e-4


@dataclasses.dataclass(frozen=True)
class Shot:
    """A sample on its way into a dataset: whether its clicks count, its seed and segment."""

    sample: Sample
    labelled: bool
    seed: int
    segment: int


def ahead(function: Callable[[Item], Value], items: Iterable[Item]) -> Iterator[Value]:
    """``map``, computed a few items ahead in a thread of its own."""
    source = iter(items)
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(function, item) for item in itertools.islice(source, _AHEAD))
        while waiting:
            value = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in itertools.islice(source, 1))
            yield value


def write_shots(
    shots: Iterable[Shot], writer: DatasetWriter, total: int | None, by_object: bool = False
) -> None:
    """Writes samples while the next ones are rendered.

    ``total`` is the number of samples that the dataset shall have, for the progress bar, None for
    no bar; ``by_object`` keeps which object each sample shows.
    """
    waiting: deque[Future[int]] = deque()
    bar = tqdm(
        shots, total=total, initial=len(writer), unit="sample", disable=total is None, mininterval=1
    )
    with writer, _eager_threads(), ThreadPoolExecutor(1) as pool:
        for shot in bar:
            waiting.append(pool.submit(_add, writer, shot, by_object))
            while len(waiting) > _WAITING or (waiting and waiting[0].done()):
                waiting.popleft().result()
        for written in waiting:
            written.result()


def spare_threads(width: int) -> None:
    """Makes Mesa's software renderer draw small images in the thread that asks, without helpers.

    They cost more than they bring below some hundred pixels, and planning and encoding need the
    cores. To be called before the first renderer is made; a GPU does not care.
    """
    if width <= SMALL_IMAGE_PX:
        os.environ.setdefault("LP_NUM_THREADS", "0")


def _add(writer: DatasetWriter, shot: Shot, by_object: bool) -> int:
    sample = shot.sample
    return writer.add(
        sample.images,
        sample.cameras,
        sample.clicks if shot.labelled else None,
        sample.keypoints,
        seed=shot.seed,
        segment=shot.segment,
        object_name=sample.object_name if by_object else None,
    )


@contextlib.contextmanager
def _eager_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SWITCH_S))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
