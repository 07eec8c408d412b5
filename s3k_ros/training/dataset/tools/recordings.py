"""`s3k dataset import`: the sets of images in recordings become an unlabelled dataset."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from s3k_ros import results
from s3k_ros.calibration.rig_file import load_rig
from s3k_ros.cameras.port import Frame, FrameSet
from s3k_ros.cameras.recording.calibration import recorded_cameras
from s3k_ros.cameras.recording.reader import Recording
from s3k_ros.cameras.recording.sets import SLOP_S, RecordedSets
from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.camera import Camera
from s3k_ros.training.dataset.image_files import IMAGE_FORMATS, Image
from s3k_ros.training.dataset.writer import DatasetWriter

MODEL = "s3k_ros/msg/KeypointModel"


@dataclasses.dataclass(frozen=True)
class Options:
    """What becomes of a recording.

    Attributes:
        cameras: names, in the dataset's order; None: all that the first recording has.
        rig: rig file with the calibration; None: as recorded.
        base_frame: of the recorded calibration.
        every: one complete set in so many is taken, from the first on.
        slop_s: largest difference of the exposures of a set.
        pause_s: a pause of the sets as long as this begins a new segment.
    """

    cameras: tuple[str, ...] | None = None
    rig: Path | None = None
    base_frame: str = "base"
    every: int = 1
    slop_s: float = SLOP_S
    pause_s: float = 5.0

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigurationError(f"every = {self.every} must be at least 1")
        if not (self.slop_s > 0 and self.pause_s > 0):
            raise ConfigurationError("slop and pause must be positive times in seconds")


@dataclasses.dataclass
class Imported:
    """What became of one recording.

    Attributes:
        path: its file.
        taken: samples.
        incomplete: sets that lack a camera; no sample can.
        skipped: complete sets that were not wanted.
        segments: how many.
    """

    path: Path
    taken: int = 0
    incomplete: int = 0
    skipped: int = 0
    segments: int = 0


class RecordingImport:
    """Writes a dataset of recordings, one after the other.

    Args:
        paths: the recordings; all must have the same cameras.
        options: for all of them.

    Raises:
        ConfigurationError: a recording that is none, or lacks a camera or its calibration, or has
            that of images of another size.
        DataError: a recording that is damaged at its beginning.
    """

    def __init__(self, paths: Sequence[Path], options: Options) -> None:
        self.options = options
        first = RecordedSets(Recording(paths[0]), options.cameras)
        self.names = first.cameras
        self.sources = [RecordedSets(Recording(path), self.names, options.slop_s) for path in paths]
        self.cameras = [self._calibration(source) for source in self.sources]
        for source, cameras in zip(self.sources, self.cameras, strict=True):
            _check_size(source, cameras)

    def write(self, writer: DatasetWriter, *, progress: bool = True) -> Iterator[Imported]:
        """Adds all samples; tells of each recording when it is done.

        Raises:
            DataError: a damaged recording, or images of another size than calibrated.
        """
        segment = -1
        for source, cameras in zip(self.sources, self.cameras, strict=True):
            outcome = Imported(source.recording.path)
            total = source.recording.count(next(iter(source.topics.values())))
            last_ns: int | None = None
            sets = tqdm(
                source(), desc=outcome.path.name, total=total, unit="set",
                dynamic_ncols=True, disable=None if progress else True,
            )  # fmt: skip
            for found in sets:
                wanted = self._wanted(found, outcome)
                if not wanted:
                    continue
                if last_ns is None or not 0 < found.stamp_ns - last_ns < 1e9 * self.options.pause_s:
                    segment += 1
                    outcome.segments += 1
                last_ns = found.stamp_ns
                images = {name: _colour(frame) for name, frame in found.frames.items()}
                writer.add(images, cameras, None, None, found.stamp_ns, segment)
                outcome.taken += 1
            yield outcome

    def _wanted(self, found: FrameSet, outcome: Imported) -> bool:
        if not found.complete:
            outcome.incomplete += 1
            return False
        if (outcome.taken + outcome.skipped) % self.options.every:
            outcome.skipped += 1
            return False
        return True

    def _calibration(self, source: RecordedSets) -> list[Camera]:
        """The cameras of a recording, in the dataset's order."""
        if self.options.rig is None:
            return recorded_cameras(source.recording, source.topics, self.options.base_frame)
        known = {camera.name: camera for camera in load_rig(self.options.rig).cameras}
        for name in self.names:
            if name not in known:
                raise ConfigurationError(
                    f"rig file {self.options.rig} has no camera {name!r}; it has {', '.join(known)}"
                )
        return [known[name] for name in self.names]


def _colour(frame: Frame) -> Image:
    if frame.image.ndim == 3:
        return frame.image
    return np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_GRAY2BGR), np.uint8)


def _check_size(source: RecordedSets, cameras: Sequence[Camera]) -> None:
    """Compares the first images with the calibration, before anything is written."""
    first = next(source(), None)
    if first is None:
        raise ConfigurationError(f"{source.recording.path} holds no images")
    for camera in cameras:
        frame = first.frames.get(camera.name)
        if frame is not None and frame.image.shape[:2] != (camera.height, camera.width):
            height, width = frame.image.shape[:2]
            raise ConfigurationError(
                f"{source.recording.path}: images of {camera.name!r} have {width} x {height} px, "
                f"its calibration is for {camera.width} x {camera.height}"
            )


def recorded_object(recording: Recording) -> tuple[str, list[str]] | None:
    """Object and keypoints of the model that ran while this was recorded; None: there was none."""
    topics = {topic for topic, kind in recording.topics().items() if kind == MODEL}
    for message in recording.messages(topics.__contains__):
        model = recording.decode(message)
        return str(model.object_id), list(model.names)
    return None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k dataset import`."""
    parser.add_argument(
        "recordings", type=Path, nargs="+", metavar="RECORDING",
        help="MCAP files of s3k record or ros2 bag record, or a bag's folder",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="new folder of the dataset")
    parser.add_argument("--object", help="the object (default: the recorded model's)")
    parser.add_argument(
        "--keypoints", nargs="+", metavar="NAME",
        help="that will be clicked (default: the recorded model's)",
    )  # fmt: skip
    parser.add_argument(
        "--cameras", nargs="+", metavar="NAME", help="default: all of the first recording"
    )
    add_calibration_argument(parser)
    parser.add_argument("--rig", type=Path, help="rig file, in place of the recorded calibration")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="take one complete set in N"
    )
    parser.add_argument(
        "--slop", type=float, default=SLOP_S, metavar="SECONDS",
        help="largest difference of the exposures of a set (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--pause", type=float, default=Options.pause_s, metavar="SECONDS",
        help="a pause as long as this begins a new segment (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--image-format", choices=IMAGE_FORMATS, default="jpg",
        help="png is lossless and larger (default: %(default)s)",
    )  # fmt: skip


def add_calibration_argument(parser: argparse.ArgumentParser) -> None:
    """The frame that recorded poses are given in."""
    parser.add_argument(
        "--base-frame", default="base", help="of the recorded TF (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Imports and says what came of each recording; returns 1 when that is nothing."""
    options = Options(
        tuple(args.cameras) if args.cameras else None, args.rig, args.base_frame, args.every,
        args.slop, args.pause,
    )  # fmt: skip
    work = RecordingImport(args.recordings, options)
    object_id, keypoints = args.object, args.keypoints
    if not (object_id and keypoints):
        known = recorded_object(work.sources[0].recording)
        if known is None:
            raise ConfigurationError(
                f"{args.recordings[0]} has no keypoint_model: name --object and --keypoints"
            )
        object_id, keypoints = object_id or known[0], keypoints or known[1]
    info = {
        "command": results.command_line(),
        "recordings": [source.recording.path.name for source in work.sources],
        "calibration": str(args.rig) if args.rig else "as recorded",
    }
    with DatasetWriter(
        args.out, object_id, keypoints, work.names, info,
        image_format=args.image_format,
    ) as writer:  # fmt: skip
        for source, outcome in zip(work.sources, work.write(writer), strict=True):
            _tell(source, outcome)
        count = len(writer)
    print(f"{args.out}: {count} samples of {len(work.sources)} recordings")
    return 0 if count else 1


def _tell(source: RecordedSets, outcome: Imported) -> None:
    notes = [f"{outcome.taken} samples in {outcome.segments} segments"]
    notes += [f"{outcome.skipped} sets skipped"] * bool(outcome.skipped)
    notes += [f"{outcome.incomplete} sets lack a camera"] * bool(outcome.incomplete)
    notes += [f"{n} images of {name} cannot be read" for name, n in source.refused.items()]
    notes += [f"{source.late} images came too late for their set"] * bool(source.late)
    notes += ["it was never finished and ends where it is cut"] * (not source.recording.finished)
    print(
        f"{outcome.path}: {', '.join(notes)}", file=sys.stderr if not outcome.taken else sys.stdout
    )
