"""Samples from a renderer into a dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

from tqdm import tqdm

from s3k_ros.simulation.object_scene import ObjectSceneRenderer
from s3k_ros.simulation.sample import Sample
from s3k_ros.training.dataset_writer import DatasetWriter


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

    While the renderer draws a sample, the next one is planned and the last one is written by
    whoever takes them: drawing goes on in the background, on the GPU or in threads of its own.
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
    """Writes samples and closes the dataset.

    ``total`` is the number of samples that the dataset shall have, for the progress bar, None for
    no bar; ``by_object`` keeps which object each sample shows.
    """
    bar = tqdm(
        shots, total=total, initial=len(writer), unit="sample", disable=total is None, mininterval=1
    )
    with writer:
        for shot in bar:
            sample = shot.sample
            writer.add(
                sample.images,
                sample.cameras,
                sample.clicks if shot.labelled else None,
                sample.keypoints,
                seed=shot.seed,
                segment=shot.segment,
                object_name=sample.object_name if by_object else None,
            )
