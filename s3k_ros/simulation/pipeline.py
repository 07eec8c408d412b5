"""Scenes into a dataset, rendered in this process or in several beside it.

A software renderer fills all cores with one process alone, but only while it draws pictures; and
one process of Python cannot keep a GPU busy. So a large dataset is rendered by as many processes as
there are cores. Each does all the work on a scene, down to the image files, one thing after the
other; this process puts the samples in order.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Protocol

from tqdm import tqdm

from s3k_ros.errors import DeviceUnavailableError
from s3k_ros.simulation.sample import Sample
from s3k_ros.training.dataset.sample_files import Entry, SampleFiles
from s3k_ros.training.dataset.writer import DatasetWriter

# Scenes given to a process: one in hand, one to go on with. A kill loses no more of each.
AHEAD = 2
# Each process takes about 0.8 GB.
_MOST_PROCESSES = 8


@dataclasses.dataclass(frozen=True)
class Shot:
    """A rendered sample on its way into a dataset.

    Attributes:
        sample: what was rendered.
        labelled: whether its clicks count.
        seed: of its scene.
        segment: number of the arrangement that it belongs to.
    """

    sample: Sample
    labelled: bool
    seed: int
    segment: int


class Renderer(Protocol):
    """Whatever renders scenes. It belongs to one process and thread."""

    def close(self) -> None:
        """Frees the GL context."""


class Scenes(Protocol):
    """The scenes of a dataset, by number. Plain values: sent to the processes that render."""

    @property
    def samples_each(self) -> int:
        """How many samples a scene gives."""

    @property
    def worth_a_process(self) -> int:
        """So many scenes take as long as it takes to start a renderer."""

    def renderer(self) -> Any:
        """A `Renderer` of them."""

    def shots(self, renderer: Any, scene: int) -> Iterable[Shot]:
        """The samples of a scene; nothing but its number decides what they are."""


def most_processes() -> int:
    """How many processes render a large dataset: one a core, within limits of memory."""
    return min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)


Render = Callable[[SampleFiles, range, int], Iterator[Entry]]
"""From files of a dataset, the scenes and the first sample to write, to the samples in order."""


def write_scenes(
    scenes: Scenes, writer: DatasetWriter, count: int, processes: int | None, progress: bool = True
) -> None:
    """Renders scenes 0 to ``count``, from where the writer stands, and closes the dataset.

    ``processes`` is how many render, None for as many as make it fastest.
    """
    numbers = range(len(writer) // scenes.samples_each, count)
    if processes is None:
        processes = 1 if len(numbers) < 2 * scenes.worth_a_process else most_processes()
    bar = tqdm(
        total=count * scenes.samples_each, initial=len(writer), unit="sample", mininterval=1,
        disable=not progress,
    )  # fmt: skip
    with bar, studio(scenes, processes) as render:
        write(render, writer, numbers, bar.update)


def write(
    render: Render,
    writer: DatasetWriter,
    numbers: range,
    added: Callable[[], object] = lambda: None,
) -> None:
    """Writes the samples of scenes that the writer does not have and closes the dataset.

    ``added`` is called after each.
    """
    with writer:
        for entry in render(writer.samples, numbers, len(writer)):
            writer.append(entry)
            added()


@contextlib.contextmanager
def studio(scenes: Scenes, processes: int) -> Iterator[Render]:
    """Something that renders these scenes, in this process or in several others."""
    if processes == 1:
        with contextlib.closing(_Studio(scenes)) as alone:
            yield alone
        return
    context = multiprocessing.get_context("spawn")  # a GL context does not survive a fork
    with contextlib.ExitStack() as stack:
        pipes = []
        for _ in range(processes):
            pipe, far_end = context.Pipe()
            process = context.Process(target=_serve, args=(scenes, processes, far_end))
            process.start()
            far_end.close()
            stack.callback(process.join)
            pipes.append(pipe)
        for pipe in pipes:
            stack.callback(pipe.close)  # its process ends by that, and by a kill of this one
        yield functools.partial(_in_turn, pipes)


def _in_turn(
    pipes: Sequence[Connection[Any, Any]], files: SampleFiles, numbers: range, begin: int
) -> Iterator[Entry]:
    """Gives the scenes to the processes in turn, a few ahead, and takes their samples in order.

    Raises:
        DeviceUnavailableError: a process died.
    """
    given, taken = (zip(numbers, itertools.cycle(pipes), strict=False) for _ in range(2))
    try:
        for number, pipe in itertools.islice(given, AHEAD * len(pipes)):
            pipe.send((files, number, begin))
        for _, pipe in taken:
            for answer in iter(pipe.recv, None):
                if isinstance(answer, Exception):
                    raise answer
                yield answer
            for number, following in itertools.islice(given, 1):
                following.send((files, number, begin))
    except (EOFError, ConnectionError) as error:
        raise DeviceUnavailableError("a rendering process died: out of memory?") from error


def _serve(scenes: Scenes, processes: int, pipe: Connection[Any, Any]) -> None:
    """Renders what is asked for until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The processes share the cores: Mesa's software renderer needs no more threads than are left.
    threads = len(os.sched_getaffinity(0)) // processes
    os.environ.setdefault("LP_NUM_THREADS", str(threads if threads > 1 else 0))
    with contextlib.ExitStack() as stack, contextlib.suppress(EOFError, ConnectionError):
        own: _Studio | None = None
        while True:
            files, number, begin = pipe.recv()
            try:
                own = own or stack.enter_context(contextlib.closing(_Studio(scenes)))
                for entry in own(files, range(number, number + 1), begin):
                    pipe.send(entry)
            except Exception as error:
                error.add_note("".join(traceback.format_exception(error)))
                pipe.send(error)
            pipe.send(None)


class _Studio:
    """Renders scenes and writes their images."""

    def __init__(self, scenes: Scenes) -> None:
        self._scenes = scenes
        self._renderer = scenes.renderer()

    def __call__(self, files: SampleFiles, numbers: range, begin: int) -> Iterator[Entry]:
        """The samples of scenes, without those before sample ``begin``, which are there."""
        for number in numbers:
            shots = self._scenes.shots(self._renderer, number)
            for sample, shot in enumerate(shots, number * self._scenes.samples_each):
                if sample >= begin:
                    yield _write(files, sample, shot)

    def close(self) -> None:
        self._renderer.close()


def _write(files: SampleFiles, sample: int, shot: Shot) -> Entry:
    shown = shot.sample
    return files.write(
        sample,
        shown.images,
        shown.cameras,
        shown.clicks if shot.labelled else None,
        shown.keypoints,
        shot.seed,
        shot.segment,
        shown.object_name,
    )
