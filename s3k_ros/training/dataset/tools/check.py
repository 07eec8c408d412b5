"""`s3k dataset check`: every fault of a dataset, with the sample and the field."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.training.dataset import tables
from s3k_ros.training.dataset.format import HEAD, Fault, Head, read_head
from s3k_ros.training.dataset.image_files import read_image
from s3k_ros.training.dataset.reader import image_path
from s3k_ros.training.dataset.tables import Array
from s3k_ros.training.dataset.tools.points import contradictions

# A click outside the image by more than this share of the width is no slip of the hand.
OUTSIDE_SHARE = 0.02
# Clicks of one keypoint that miss their common point by this share of the width: one is elsewhere.
DISAGREE_SHARE = 0.03


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Attributes:
        faults: all of them, in the order of the folder's files.
        samples: how many samples were looked at.
        images: how many images were decoded.
    """

    faults: tuple[Fault, ...]
    samples: int
    images: int


def check(folder: Path | str, *, images: bool = True, agreement: float = DISAGREE_SHARE) -> Checked:
    """Looks at everything in a dataset folder.

    Args:
        folder: the dataset.
        images: also decode every image.
        agreement: largest distance of a click from the point that all clicks of the keypoint
            agree on, as a share of the image's width.
    """
    root = Path(folder).resolve()
    faults: list[Fault] = []
    try:
        head = read_head(root)
    except ConfigurationError as error:
        return Checked((Fault(HEAD, str(error)),), 0, 0)
    samples = tables.read_samples(root, head, faults.append)
    if samples is None:
        return Checked(tuple(faults), 0, 0)
    count = len(samples["sample"])
    if not count:
        faults.append(Fault("samples", "there are none"))
    cameras = tables.read_cameras(root, head, count, faults.append)
    labels = tables.read_points(root, head, count, "labels", faults.append)
    tables.check_labelled(np.array(samples["labelled"], bool), labels, faults.append)
    if (root / "truth.parquet").exists():
        tables.read_points(root, head, count, "truth", faults.append)
    faults += _click_faults(head, cameras, labels, agreement)
    decoded = 0
    if images:
        for (sample, _), camera in cameras.items():
            faults += _image_faults(root, head, sample, camera)
            decoded += 1
    faults += _strays(root, head, count)
    return Checked(tuple(faults), count, decoded)


def _click_faults(
    head: Head, cameras: dict[tuple[int, str], Camera], labels: Array, agreement: float
) -> Iterator[Fault]:
    """Clicks outside their image, and clicks that contradict those of the other views."""
    for sample in np.nonzero(np.isfinite(labels).any(axis=(1, 2, 3)))[0].tolist():
        rig = [cameras.get((sample, name)) for name in head.cameras]
        if any(camera is None for camera in rig):
            continue  # reported already
        complete = [camera for camera in rig if camera is not None]
        wrong = contradictions(complete, labels[sample], agreement)
        for c, camera in enumerate(complete):
            for k, keypoint in enumerate(head.keypoints):
                what = f"{keypoint!r} in {camera.name!r}"
                if message := _outside(camera, labels[sample, c, k]):
                    yield Fault("labels", f"{what} {message}", sample)
                elif np.isfinite(wrong[c, k]):
                    message = f"is {wrong[c, k]:.0f} px from where the other views place it"
                    yield Fault("labels", f"{what} {message}", sample)
                elif np.isinf(wrong[c, k]):
                    yield Fault("labels", f"{what} meets the other views nowhere", sample)


def _outside(camera: Camera, click: Array) -> str:
    """What is wrong with the place of a click (2,) px; empty when nothing is, or there is none."""
    size, slack = np.array([camera.width, camera.height]), OUTSIDE_SHARE * camera.width
    if not ((click < -0.5 - slack) | (click > size - 0.5 + slack)).any():
        return ""
    place = f"({click[0]:.1f}, {click[1]:.1f})"
    return f"at {place} lies outside {camera.width} x {camera.height} px"


def _image_faults(root: Path, head: Head, sample: int, camera: Camera) -> Iterator[Fault]:
    path = image_path(root, sample, camera.name, head.image_format)
    try:
        read_image(root, path, camera.width, camera.height)
    except DataError as error:
        yield Fault(f"image {camera.name}", str(error), sample)


def _strays(root: Path, head: Head, count: int) -> Iterator[Fault]:
    """Files among the images that belong to no sample."""
    known = {
        image_path(root, sample, name, head.image_format).name
        for sample in range(count)
        for name in head.cameras
    }
    folder = root / "images"
    if not folder.is_dir():
        yield Fault("images", "the folder is missing")
        return
    for path in sorted(folder.iterdir()):
        if path.name not in known:
            yield Fault("images", f"{path.name!r} belongs to no sample")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k dataset check`."""
    parser.add_argument("datasets", type=Path, nargs="+", metavar="DATASET", help="folders")
    parser.add_argument("--no-images", action="store_true", help="the tables alone: takes seconds")
    parser.add_argument(
        "--agreement",
        type=float,
        default=DISAGREE_SHARE,
        metavar="SHARE",
        help="largest distance of a click from where the clicks of all views meet, as a share of "
        "the image's width (default: %(default)s)",
    )
    parser.add_argument(
        "--most", type=int, default=100, metavar="N", help="print at most N faults a dataset"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the faults of each dataset; returns 1 when there are any."""
    failed = False
    for folder in args.datasets:
        found = check(folder, images=not args.no_images, agreement=args.agreement)
        for fault in found.faults[: args.most]:
            print(f"{folder}: {fault}")
        if len(found.faults) > args.most:
            print(f"{folder}: and {len(found.faults) - args.most} more")
        verdict = {0: "no faults", 1: "1 fault"}.get(
            len(found.faults), f"{len(found.faults)} faults"
        )
        print(f"{folder}: {found.samples} samples, {found.images} images: {verdict}")
        failed = failed or bool(found.faults)
    return 1 if failed else 0
