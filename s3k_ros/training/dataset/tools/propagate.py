"""`s3k dataset propagate`: the clicks of one frame become those of its whole static segment.

The images decide whether a segment is static: every clicked keypoint is watched in all views,
around the place where its 3D point appears (motion.py). The arm may move elsewhere and even hide
keypoints: a keypoint gets its clicks in a frame only where two views show it unchanged, one of them
clicked. A shift in two views of a keypoint, or a frame without any unchanged keypoint, is motion
and refuses the segment.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3k_ros import results
from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.camera import Camera
from s3k_ros.training.dataset.reader import Clicks, Dataset, DatasetWriter
from s3k_ros.training.dataset.tools import motion
from s3k_ros.training.dataset.tools.motion import DEFAULTS, Seen, Settings
from s3k_ros.training.dataset.tools.points import Array, contradictions, triangulated

# Views that must show a keypoint unchanged, and views whose shifts make a motion.
_AGREE = 2
# Two calibrations closer than this are one: rounding, not motion.
_SAME_POSE = 1e-4
_SAME_INTRINSICS_PX = 1e-2


@dataclass(frozen=True)
class Outcome:
    """What became of a segment.

    Attributes:
        segment: its number.
        clicks: new clicks by sample; empty when refused.
        hidden: (sample, keypoint) that no two views showed unchanged: no clicks for it there.
        refusal: why it is not static; empty when it is.
    """

    segment: int
    clicks: dict[int, Clicks]
    hidden: tuple[tuple[int, str], ...] = ()
    refusal: str = ""


@dataclass(frozen=True)
class _Reference:
    """A labelled frame: its images in grey, its clicks, and the places (C, K, 2) px to watch."""

    sample: int
    images: tuple[motion.Grey, ...]
    clicks: Clicks
    places: Array
    clicked: np.ndarray


class _Moved(Exception):
    """The segment is not static; the text says why."""


def examine(dataset: Dataset, segment: int, settings: Settings = DEFAULTS) -> Outcome:
    """Decides about one segment and gives its frames clicks.

    Each frame takes the clicks of the labelled frame nearest in order. Labelled frames keep theirs.
    """
    samples = [i for i, number in enumerate(dataset.segments) if number == segment]
    labelled = [i for i in samples if dataset.labelled[i]]
    if not labelled:
        return Outcome(segment, {})
    clicks: dict[int, Clicks] = {}
    hidden: list[tuple[int, str]] = []
    reference: _Reference | None = None
    try:
        for sample in (i for i in samples if not dataset.labelled[i]):
            nearest = min(labelled, key=lambda i: abs(i - sample))
            if reference is None or reference.sample != nearest:
                reference = _reference(dataset, nearest)
            seen = _confirmed(dataset, reference, sample, settings)
            clicks[sample] = {key: uv for key, uv in reference.clicks.items() if key[1] in seen}
            taught = {name for _, name in reference.clicks}
            hidden += [(sample, name) for name in dataset.keypoint_names if name in taught - seen]
    except _Moved as moved:
        return Outcome(segment, {}, refusal=str(moved))
    return Outcome(segment, clicks, tuple(hidden))


def _reference(dataset: Dataset, sample: int) -> _Reference:
    cameras, clicks = dataset.cameras(sample), dataset.labels(sample)
    points = triangulated(cameras, clicks)
    places = np.array([camera.project(points) for camera in cameras])
    clicked = np.isfinite(clicks).all(axis=-1)
    # A keypoint with one click has no 3D point: it is watched where it was clicked.
    places = np.where(np.isfinite(places), places, clicks)
    images = tuple(motion.grey(image) for image in dataset.images(sample))
    return _Reference(sample, images, dataset.clicks(sample), places, clicked)


def _confirmed(
    dataset: Dataset, reference: _Reference, sample: int, settings: Settings
) -> set[str]:
    """Names of the keypoints that a frame shows where the reference has them.

    Raises:
        _Moved: something moved, or nothing is unchanged.
    """
    for a, b in zip(dataset.cameras(reference.sample), dataset.cameras(sample), strict=True):
        if not _same_camera(a, b):
            raise _Moved(f"sample {sample}: camera {a.name!r} moved")
    images = [motion.grey(image) for image in dataset.images(sample)]
    levels = [motion.noise(a, b) for a, b in zip(reference.images, images, strict=True)]
    confirmed = set()
    for k in np.nonzero(reference.clicked.any(axis=0))[0].tolist():
        name, found = dataset.keypoint_names[k], {}
        for c in np.nonzero(np.isfinite(reference.places[:, k]).all(axis=-1))[0].tolist():
            before, place = reference.images[c], reference.places[c, k]
            found[c] = motion.locate(before, images[c], place, levels[c], settings)
        moved = [c for c, (seen, _) in found.items() if seen is Seen.MOVED]
        same = [c for c, (seen, _) in found.items() if seen is Seen.SAME]
        # What two views show unchanged has not moved: no motion runs along the rays of both. What
        # the others seem to show is then something alike, where the arm hides the keypoint.
        if len(same) >= min(_AGREE, len(found)) and len(same) >= len(moved):
            if reference.clicked[same, k].any():
                confirmed.add(name)
        elif _one_motion(dataset.cameras(sample), reference.places[:, k], found, moved, settings):
            shift = max(float(np.linalg.norm(found[c][1])) for c in moved)
            views = " and ".join(dataset.camera_names[c] for c in moved)
            raise _Moved(f"sample {sample}: {name!r} moved by {shift:.0f} px in {views}")
    if not confirmed:
        raise _Moved(f"sample {sample}: no keypoint can be seen unchanged")
    return confirmed


def _one_motion(
    cameras: list[Camera],
    places: Array,
    found: dict[int, tuple[Seen, Array]],
    moved: list[int],
    settings: Settings,
) -> bool:
    """Whether the shifts of some views of a keypoint are those of one point in space.

    Args:
        cameras: C cameras.
        places: (C, 2) px, where the keypoint was.
        found: what each view shows, and by how much it shifted.
        moved: the views that show a shift. One view alone could be deceived, unless it is alone.
        settings: as for the comparison.
    """
    if len(moved) < _AGREE:
        return len(moved) == len(found) > 0
    now = np.full((len(cameras), 1, 2), np.nan)
    for c in moved:
        now[c, 0] = places[c] + found[c][1]
    width = min(camera.width for camera in cameras)
    wrong = contradictions(cameras, now, 2 * settings.tolerance_px(width) / width)
    return int(np.isnan(wrong[moved]).sum()) >= _AGREE


def _same_camera(a: Camera, b: Camera) -> bool:
    return a is b or (
        (a.width, a.height, a.distortion_model) == (b.width, b.height, b.distortion_model)
        and np.allclose(a.matrix, b.matrix, rtol=0, atol=_SAME_INTRINSICS_PX)
        and np.allclose(a.distortion, b.distortion)
        and np.allclose(
            a.base_from_camera.matrix, b.base_from_camera.matrix, rtol=0, atol=_SAME_POSE
        )
    )


def propagate(
    dataset: Dataset, out: Path | str, settings: Settings = DEFAULTS
) -> tuple[Outcome, ...]:
    """Writes a dataset whose static segments are labelled throughout; returns what became of each.

    A refused segment keeps the clicks that it had. Images and truth are copied as they are.

    Raises:
        ConfigurationError: ``out`` is not empty, or no sample has clicks.
        DataError: an image that cannot be read.
    """
    if not dataset.labelled.any():
        raise ConfigurationError(f"{dataset.folder}: no sample has clicks to propagate")
    outcomes = tuple(
        examine(dataset, segment, settings) for segment in dict.fromkeys(dataset.segments)
    )
    clicks = {sample: c for outcome in outcomes for sample, c in outcome.clicks.items()}
    info = {
        "command": results.command_line(),
        "propagated": {
            "samples": sum(bool(c) for c in clicks.values()),
            "clicks": sum(map(len, clicks.values())),
            "settings": dataclasses.asdict(settings),
            "refused": {str(o.segment): o.refusal for o in outcomes if o.refusal},
            "from": dataset.info,
        },
    }
    with DatasetWriter.like(dataset, out, info) as writer:
        for sample in range(len(dataset)):
            writer.copy(dataset, sample, labels=clicks.get(sample))
    return outcomes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k dataset propagate`."""
    parser.add_argument("dataset", type=Path, help="folder of the dataset")
    parser.add_argument("--out", type=Path, required=True, help="new folder of the dataset")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=DEFAULTS.tolerance,
        metavar="SHARE",
        help="largest shift that is no motion, as a share of the image's width, at least "
        f"{DEFAULTS.min_tolerance_px} px (default: %(default)s)",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="also list keypoints that were hidden, by frame"
    )


def run(args: argparse.Namespace) -> int:
    """Propagates; prints what became of the segments. Returns 1 when all were refused."""
    if not 0 < args.tolerance < 0.1:
        raise ConfigurationError(f"tolerance = {args.tolerance} must be between 0 and 0.1")
    dataset = Dataset(args.dataset)
    settings = dataclasses.replace(DEFAULTS, tolerance=args.tolerance)
    outcomes = propagate(dataset, args.out, settings)
    refused = [outcome for outcome in outcomes if outcome.refusal]
    for outcome in refused:
        print(f"segment {outcome.segment}: refused: {outcome.refusal}", file=sys.stderr)
    for outcome in outcomes if args.verbose else ():
        for sample, name in outcome.hidden:
            print(f"segment {outcome.segment}: sample {sample}: {name!r} is hidden: not labelled")
    static = [outcome for outcome in outcomes if outcome.clicks]
    samples = sum(bool(clicks) for outcome in static for clicks in outcome.clicks.values())
    print(f"{args.out}: {_count(samples, 'sample')} labelled in {_count(len(static), 'segment')}, "
          f"{_count(len(refused), 'segment')} refused")  # fmt: skip
    return 1 if refused and not static else 0


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")
