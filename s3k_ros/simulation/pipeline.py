"""Samples from a renderer into a dataset."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from tqdm import tqdm

from s3k_ros.simulation.object_scene import ObjectSceneRenderer
from s3k_ros.simulation.sample import Sample
from s3k_ros.training.dataset.writer import DatasetWriter

# Samples that may wait to be written: more would only fill memory when the disk is slow.
_WAITING = 16
_TURN_S = 2e-4


@dataclasses.dataclass(frozen=True)
class Shot:
    """A sample on its way into a dataset: whether its clicks count, its seed and segment."""

    sample: Sample
    labelled: bool
    seed: int
    segment: int


def object_shots(
    renderer: ObjectSceneRenderer, seeds: range, clicked: Callable[[int], bool], first: int
) -> Iterator[Shot]:
    """The samples of seeds; ``clicked`` tells which, counted from seed ``first``, have clicks.

    While a sample is drawn, the next one is planned and whoever takes the last one works with it:
    drawing goes on in the background, on the GPU or in threads of its own.
    """
    plans = map(renderer.planner.plan, seeds)
    current = next(plans, None)
    if current is not None:
        renderer.begin(current, clicked(current.seed - first))
    while current is not None:
        following = next(plans, None)
        sample = renderer.finish()
        if following is not None:
            renderer.begin(following, clicked(following.seed - first))
        i = current.seed - first
        yield Shot(sample, clicked(i), current.seed, i)
        current = following


def write_shots(
    shots: Iterable[Shot], writer: DatasetWriter, total: int | None, by_object: bool = False
) -> None:
    """Writes samples in a thread of its own and closes the dataset.

    ``total`` is the number of samples that the dataset shall have, for the progress bar, None for
    no bar; ``by_object`` keeps which object each sample shows.
    """
    waiting: deque[Future[int]] = deque()
    bar = tqdm(
        shots, total=total, initial=len(writer), unit="sample", disable=total is None, mininterval=1
    )
    with writer, _quick_turns(), ThreadPoolExecutor(1) as pool:
        for shot in bar:
            waiting.append(pool.submit(_add, writer, shot, by_object))
            while len(waiting) > _WAITING or (waiting and waiting[0].done()):
                waiting.popleft().result()
        for written in waiting:
            written.result()


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
def _quick_turns() -> Iterator[None]:
    """Lets threads take turns more often while a dataset is rendered.

    A thread may keep Python's lock for 5 ms by default; the renderer takes it several times a
    sample, and a sample of small images is done in less.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _TURN_S))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
