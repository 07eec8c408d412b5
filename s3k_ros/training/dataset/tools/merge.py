"""`s3k dataset merge`: several datasets of one object into one."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

from s3k_ros import results
from s3k_ros.errors import ConfigurationError
from s3k_ros.training.dataset.reader import Dataset, DatasetWriter

# What has to be the same in all, and the attribute that holds it.
_SHARED = {
    "object_id": "object_id",
    "keypoints": "keypoint_names",
    "cameras": "camera_names",
    "image_format": "image_format",
}


def merge(folders: Sequence[Path], out: Path) -> Path:
    """Writes all samples of some datasets, in order, into a new one.

    Samples are numbered anew. Segments too, so that those of different datasets stay apart; within
    one dataset they stay together. Images are copied byte by byte.

    Raises:
        ConfigurationError: fewer than two datasets, or some that do not fit together: another
            object, keypoints, cameras or image format, or the same sample twice.
        DataError: a dataset that cannot be read.
    """
    if len(folders) < 2:
        raise ConfigurationError(f"merge needs two datasets or more, got {len(folders)}")
    datasets = [Dataset(folder) for folder in folders]
    first = datasets[0]
    for other in datasets[1:]:
        for name, attribute in _SHARED.items():
            if (a := getattr(first, attribute)) != (b := getattr(other, attribute)):
                raise ConfigurationError(
                    f"{name} differs: {a!r} in {first.folder}, {b!r} in {other.folder}"
                )
    _check_different(datasets)
    info = {
        "command": results.command_line(),
        "merged": [{"samples": len(dataset), "info": dataset.info} for dataset in datasets],
    }
    with DatasetWriter.like(first, out, info) as writer:
        numbers: dict[tuple[int, int], int] = {}
        for d, dataset in enumerate(datasets):
            for sample, segment in enumerate(dataset.segments):
                number = numbers.setdefault((d, segment), len(numbers))
                writer.copy(dataset, sample, segment=number)
    return out


def _check_different(datasets: Sequence[Dataset]) -> None:
    """Refuses a sample that lies in two datasets: it would count double, or be tested on twice."""
    seen: dict[bytes, tuple[int, int]] = {}
    for d, dataset in enumerate(datasets):
        for sample in range(len(dataset)):
            digest = hashlib.sha256()
            for name in dataset.camera_names:
                digest.update(dataset.image_bytes(sample, name))
            before = seen.setdefault(digest.digest(), (d, sample))
            if before[0] != d:
                raise ConfigurationError(
                    f"sample {sample} of {dataset.folder} is sample {before[1]} of "
                    f"{datasets[before[0]].folder}: all their images are the same"
                )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k dataset merge`."""
    parser.add_argument("datasets", type=Path, nargs="+", metavar="DATASET", help="two or more")
    parser.add_argument("--out", type=Path, required=True, help="new folder of the dataset")


def run(args: argparse.Namespace) -> int:
    """Merges and says what came out."""
    merge(args.datasets, args.out)
    print(f"{args.out}: {len(Dataset(args.out))} samples of {len(args.datasets)} datasets")
    return 0
