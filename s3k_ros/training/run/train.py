"""``s3k train``: the stages of a training file, one after the other.

A run may be ended at any time and goes on where it was when the same command is given again: long
trainings are a chain of short ones.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import distributed
from torch.multiprocessing import ProcessRaisedException

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.training import TrainingParameters
from s3k_ros.results import command_line, source_commit
from s3k_ros.training.dataset.reader import Dataset
from s3k_ros.training.inputs.cache import FOLDER, dataset_digest
from s3k_ros.training.inputs.sources import Say, Subset, collect
from s3k_ros.training.run.checkpoint import Checkpoint
from s3k_ros.training.run.config import TrainingConfig, read_config
from s3k_ros.training.run.devices import make_fabric
from s3k_ros.training.run.loop import CHECKPOINT, MODEL, Trainer, deterministic
from s3k_ros.training.run.stopping import Stop

UNFINISHED = 75
"""Exit code when the time was up before the last step: give the same command again."""

__all__ = ["Subset", "add_arguments", "finished", "run", "train_stage"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``s3k train``."""
    parser.add_argument("config", help="YAML file: dataset, out, common, coarse and crop")
    parser.add_argument("--dataset", help="dataset folder, in place of the file's")
    parser.add_argument("--out", help="folder of the run, in place of the file's")
    parser.add_argument(
        "--minutes",
        type=float,
        help=f"end after this time and save; the exit code is {UNFINISHED} until all is done",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="[STAGE.]NAME=VALUE",
        help="override a parameter of all stages or of one",
    )
    parser.add_argument(
        "--labelled",
        type=_indices,
        metavar="I,J,...",
        help="use only the labels of these samples (by index; the others stay out)",
    )
    parser.add_argument(
        "--coarse-only",
        action="store_true",
        help="leave the crop stage out: a model of one stage, less exact and faster",
    )


def run(args: argparse.Namespace) -> int:
    """Trains and leaves ``<out>/<stage>/model.safetensors``."""
    config = read_config(args.config, args.set)
    if args.coarse_only:
        config = dataclasses.replace(config, stages={"coarse": config.stages["coarse"]})
    dataset, out = args.dataset or config.dataset, args.out or config.out
    for name, value in (("dataset", dataset), ("out", out)):
        if value is None:
            raise ConfigurationError(f"{args.config} has no {name!r}: give --{name}")
    if args.minutes is not None and not args.minutes > 0:
        raise ConfigurationError(f"--minutes {args.minutes} must be above 0")
    begun = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - begun:7.1f} s] {line}", flush=True)

    try:
        done = _train(
            config, Dataset(dataset), Path(out), Stop(args.minutes), Subset(args.labelled), say
        )
    except KeyboardInterrupt:
        say("stopped: give the same command again to go on")
        return 130
    if not done:
        say("the time is up: give the same command again to go on")
        return UNFINISHED
    say(f"done: {out}")
    return 0


def _train(
    config: TrainingConfig, dataset: Dataset, out: Path, stop: Stop, subset: Subset, say: Say
) -> bool:
    coarse = None
    for stage, params in config.stages.items():
        if stop.late:
            return False
        found = train_stage(
            dataset,
            params,
            out / stage,
            coarse,
            minutes=stop.minutes_left,
            limit=subset,
            say=say,
        )
        if not finished(out / stage):
            return False
        coarse = Checkpoint.load(found)
    return True


def train_stage(
    dataset: Dataset | Path | str,
    params: TrainingParameters,
    out: Path | str,
    coarse: Checkpoint | None = None,
    minutes: float | None = None,
    progress: bool = True,
    info: Mapping[str, Any] | None = None,
    limit: Subset | None = None,
    say: Say = print,
) -> Path:
    """Trains one stage, or goes on with it, or does nothing if it is finished.

    Args:
        dataset: opened dataset or its folder.
        params: of the stage.
        out: folder of the stage; a run there is resumed.
        coarse: result of the coarse stage, for the crop stage.
        minutes: end early after this time, saved; ``finished`` tells.
        progress: show a bar on a terminal, and write TensorBoard's files.
        info: more facts for the record in the checkpoint.
        limit: samples to use; default: all labelled and all other samples.
        say: where lines go.

    Returns:
        ``out/model.safetensors``: the averaged weights that the guards chose, for
        ``Checkpoint.load``. It does not exist before the first report of the guards, so an early
        end can leave none.

    Raises:
        ConfigurationError: nothing to learn from, a folder with another run, a missing device.
        KeyboardInterrupt: Ctrl-C came; all is saved. After SIGTERM the process ends likewise.
    """
    out = Path(out)
    dataset = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
    stop = Stop(minutes)
    subset = (limit or Subset()).resolved(dataset)
    job = _Job(
        dataset, params, out, coarse, progress, _facts(dataset, subset, coarse, info), subset
    )
    fabric = make_fabric(params)
    with stop.listening():
        if params.devices > 1:
            _launch(fabric, job, stop)
        else:
            _train_alone(fabric, job, stop, say)
    if finished(out):
        shutil.rmtree(out / FOLDER, ignore_errors=True)
    return out / MODEL


def finished(out: Path | str) -> bool:
    """Whether all steps of the stage in this folder are done."""
    path = Path(out) / CHECKPOINT
    if not path.exists():
        return False
    checkpoint = Checkpoint.load(path)
    return checkpoint.step >= checkpoint.params.steps and (Path(out) / MODEL).exists()


@dataclasses.dataclass(frozen=True)
class _Job:
    """What a process of a run needs."""

    dataset: Dataset
    params: TrainingParameters
    out: Path
    coarse: Checkpoint | None
    progress: bool
    info: dict[str, Any]
    subset: Subset


def _launch(fabric: Fabric, job: _Job, stop: Stop) -> None:
    """Starts the processes of a run on several devices and waits for them."""
    try:
        # Not as arguments: Fabric would look into them.
        fabric.launch(functools.partial(_train_among_others, job=job, stop=stop))
    except ProcessRaisedException as error:
        kind, _, message = str(error).strip().splitlines()[-1].partition(": ")
        if kind != f"{ConfigurationError.__module__}.{ConfigurationError.__name__}":
            raise
        raise ConfigurationError(message) from None


def _train_among_others(fabric: Fabric, job: _Job, stop: Stop) -> None:
    """One of several processes; the first speaks for all."""
    try:
        with stop.listening(pass_on=False):
            _train_alone(fabric, job, stop, print if fabric.is_global_zero else _silent)
        distributed.barrier()
    finally:
        # gloo's threads, left to the end of the interpreter, now and then abort the process.
        distributed.destroy_process_group()


def _train_alone(fabric: Fabric, job: _Job, stop: Stop, say: Say) -> None:
    params, names = job.params, job.dataset.keypoint_names
    before = torch.get_num_threads()
    torch.set_num_threads(params.threads)
    try:
        with deterministic():
            sources = collect(
                job.dataset, params, job.coarse, job.out, job.subset, fabric.device, say
            )
            say(
                f"{params.stage}: {len(sources.labelled)} labelled and {len(sources.unlabelled)} "
                f"unlabelled samples, on {fabric.device}"
            )
            trainer = Trainer(fabric, sources, names, params, job.out, job.info, say, job.progress)
            trainer.run(stop=stop)
            if stop.received is not None:
                say(f"{params.stage}: {stop.received.name}: saved at step {trainer.step}")
    finally:
        torch.set_num_threads(before)


def _silent(_: str) -> None:
    """Says nothing."""


def _facts(
    dataset: Dataset, subset: Subset, coarse: Checkpoint | None, info: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The record of a run; what lies under ``data`` must be the same when it is resumed."""
    return {
        "object_id": dataset.object_id,
        "command": command_line(),
        "commit": source_commit(),
        "dataset": {**dataset.info, "samples": len(dataset)},
        **(info or {}),
        "data": {
            "digest": dataset_digest(dataset),
            "labelled": list(subset.labelled or ()),
            "unlabelled": list(subset.unlabelled or ()),
            "coarse": coarse.digest() if coarse is not None else "",
        },
    }


def _indices(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def main() -> int:
    """``python -m s3k_ros.training.run.train``."""
    parser = argparse.ArgumentParser(prog="s3k train")
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
