"""`s3k dataset split`: one dataset into disjoint parts that share no segment."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from s3k_ros import results
from s3k_ros.errors import ConfigurationError
from s3k_ros.training.dataset.format import check_name
from s3k_ros.training.dataset.reader import Dataset, DatasetWriter
from s3k_ros.training.dataset.tools.ranges import format_ranges, parse_ranges

REST = "rest"


def by_fraction(
    dataset: Dataset, fractions: Mapping[str, float], seed: int
) -> dict[str, list[int]]:
    """Samples of each part, drawn at random by whole segments.

    Segments with clicks and those without are dealt out apart, so every part gets its share of the
    labels too.

    Args:
        dataset: what is split.
        fractions: share of the samples by part; their sum is at most 1, the rest is left out.
        seed: of the draw.

    Returns:
        Ascending indices by part. A segment is never in two parts, so sizes are as near to the
        fractions as its segments allow.

    Raises:
        ConfigurationError: a fraction outside 0..1, a sum above 1, or a part that stays empty.
    """
    for name, fraction in fractions.items():
        if not 0 < fraction <= 1:
            raise ConfigurationError(f"{name} = {fraction} must be above 0 and at most 1")
    if (total := math.fsum(fractions.values())) > 1 + 1e-9:
        raise ConfigurationError(f"the fractions add up to {total:g}, at most 1")
    members: dict[int, list[int]] = {}
    for sample, segment in enumerate(dataset.segments):
        members.setdefault(segment, []).append(sample)
    shares = {**fractions, "": max(0.0, 1 - total)}
    parts: dict[str, list[int]] = {name: [] for name in shares}
    rng = np.random.default_rng(seed)
    for labelled in (True, False):
        group = [s for s in sorted(members) if dataset.labelled[members[s]].any() == labelled]
        _deal([members[group[i]] for i in rng.permutation(len(group))], shares, parts)
    del parts[""]
    for name, samples in parts.items():
        if not samples:
            raise ConfigurationError(
                f"{name} = {fractions[name]} of {len(members)} segments leaves it empty; segments "
                "are never divided"
            )
    return {name: sorted(samples) for name, samples in parts.items()}


def _deal(
    segments: Sequence[list[int]], shares: Mapping[str, float], parts: dict[str, list[int]]
) -> None:
    """Gives each segment to the part that lacks most of its share of these segments."""
    total = sum(map(len, segments))
    given = dict.fromkeys(shares, 0)
    for segment in segments:
        name = max(shares, key=lambda part: shares[part] * total - given[part])
        parts[name] += segment
        given[name] += len(segment)


def by_segment(dataset: Dataset, segments: Mapping[str, str]) -> dict[str, list[int]]:
    """Samples of each part, by the numbers of its segments.

    Args:
        dataset: what is split.
        segments: ``0,3,5-9`` by part; ``rest`` for one of them: all that the others do not name.

    Raises:
        ConfigurationError: no such segment, a segment in two parts, two rests, or an empty part.
    """
    known, owner = set(dataset.segments), {}
    rests = [name for name, text in segments.items() if text == REST]
    if len(rests) > 1:
        raise ConfigurationError(f"only one part can be the rest, got {rests}")
    for name, text in segments.items():
        for segment in [] if text == REST else parse_ranges(text, name):
            if segment not in known:
                raise ConfigurationError(
                    f"{name}: no segment {segment}; there are {format_ranges(list(known))}"
                )
            if segment in owner:
                raise ConfigurationError(f"segment {segment} is in {owner[segment]} and in {name}")
            owner[segment] = name
    for name in rests:
        owner.update(dict.fromkeys(known - set(owner), name))
    parts: dict[str, list[int]] = {name: [] for name in segments}
    for sample, segment in enumerate(dataset.segments):
        if segment in owner:
            parts[owner[segment]].append(sample)
    for name in rests:
        if not parts[name]:
            raise ConfigurationError(f"{name}: no segment is left for the rest")
    return parts


def write_parts(dataset: Dataset, parts: Mapping[str, Sequence[int]], out: Path) -> list[Path]:
    """Writes each part as a dataset ``out/<name>``; samples are numbered anew, segments stay.

    Raises:
        ConfigurationError: one of the folders is not empty; nothing is written.
    """
    folders = [out / check_name("part", name) for name in parts]
    for folder in folders:
        if folder.exists() and any(folder.iterdir()):
            raise ConfigurationError(f"{folder} is not empty")
    for folder, (name, samples) in zip(folders, parts.items(), strict=True):
        info = {"command": results.command_line(), "part": name, "split_from": dataset.info}
        with DatasetWriter.like(dataset, folder, info) as writer:
            for sample in samples:
                writer.copy(dataset, sample)
    return folders


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k dataset split`."""
    parser.add_argument("dataset", type=Path, help="folder of the dataset")
    parser.add_argument(
        "parts", nargs="+", metavar="NAME=SHARE", help="for instance train=0.8 test=0.2"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the parts' folders")
    parser.add_argument("--seed", type=int, default=0, help="of the random draw")
    parser.add_argument(
        "--segments",
        action="store_true",
        help="parts are NAME=SEGMENTS instead: test=0,3,5-9 train=rest",
    )


def run(args: argparse.Namespace) -> int:
    """Splits and says what came out."""
    given = dict(part.partition("=")[::2] for part in args.parts)
    if len(given) != len(args.parts) or not all(given.values()):
        raise ConfigurationError(f"parts = {args.parts} must be different names with NAME=VALUE")
    for name in given:
        check_name("part", name)
    dataset = Dataset(args.dataset)
    if args.segments:
        parts = by_segment(dataset, given)
    else:
        parts = by_fraction(
            dataset, {name: _share(name, v) for name, v in given.items()}, args.seed
        )
    for folder, samples in zip(write_parts(dataset, parts, args.out), parts.values(), strict=True):
        segments = len({dataset.segments[sample] for sample in samples})
        labelled = int(dataset.labelled[list(samples)].sum())
        print(f"{folder}: {len(samples)} samples, {labelled} labelled, {segments} segments")
    if left := len(dataset) - sum(map(len, parts.values())):
        print(f"left out: {left} samples")
    return 0


def _share(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigurationError(f"{name} = {text!r} must be a share between 0 and 1") from error
