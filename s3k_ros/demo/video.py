"""``demo.mp4``: the four views with keypoints beside a view of the whole cell."""

from __future__ import annotations

import itertools
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np

from s3k_ros.demo.overlay import Image, bgr, colour, decode, draw_view
from s3k_ros.demo.recording import Recording
from s3k_ros.demo.trial import Trial

SIZE = (1280, 640)
"""Width and height of the video, px; both even, as H.264 wants."""

VIEW = (400, 300)
GAP = 2
"""Dark pixels between neighbouring views."""

SCENE = (464, 348)
TOP = 40
"""Height of the title line, px: four views fill the rest of the height at the left."""

BACK = bgr("#14171a")
INK = bgr("#e8e6e1")
SOFT = bgr("#a0a7ae")
GOOD, BAD = bgr("#5fd3ae"), bgr("#ff9a5c")
FONT = cv2.FONT_HERSHEY_SIMPLEX
OUTCOME_S = 1.5
"""For how long the outcome is shown at the end of a trial."""


def write_video(
    path: Path,
    trials: Sequence[Trial],
    recordings: Sequence[Recording],
    cameras: Sequence[str],
    keypoint: str,
    rate_hz: float,
) -> int:
    """Encodes all trials one after the other at the speed of the simulated clock.

    Args:
        path: the file to write, H.264 in MP4, which browsers play.
        trials: outcomes.
        recordings: one for each trial.
        cameras: up to four names: upper left, upper right, lower left, lower right.
        keypoint: whose error is shown.
        rate_hz: image sets a second that were kept.

    Returns:
        Number of frames; without any frame no file is written.
    """
    frames = _all_frames(trials, recordings, cameras, keypoint, rate_hz)
    first = next(frames, None)
    if first is None:
        return 0
    temporary = path.with_suffix(".part.mp4")
    writer = imageio_ffmpeg.write_frames(
        str(temporary),
        SIZE,
        pix_fmt_in="bgr24",
        fps=rate_hz,
        codec="libx264",
        pix_fmt_out="yuv420p",
        macro_block_size=2,
        ffmpeg_log_level="error",
        output_params=["-preset", "veryfast", "-crf", "24", "-movflags", "+faststart"],
    )
    writer.send(None)
    writer.send(first.tobytes())
    count = 1
    for frame in frames:
        writer.send(frame.tobytes())
        count += 1
    writer.close()
    os.replace(temporary, path)
    return count


def _all_frames(
    trials: Sequence[Trial],
    recordings: Sequence[Recording],
    cameras: Sequence[str],
    keypoint: str,
    rate_hz: float,
) -> Iterator[Image]:
    for index, (trial, recording) in enumerate(zip(trials, recordings, strict=True)):
        title = f"trial {index + 1} of {len(trials)}   seed {trial.seed}"
        still = None
        frames = trial_frames(recording, cameras, keypoint, title)
        for still, repeats in zip(
            frames, repetitions(sorted(recording.frames), rate_hz), strict=True
        ):
            for _ in range(repeats):
                yield still
        if still is not None:
            _outcome(still, trial)
            for _ in range(max(1, round(OUTCOME_S * rate_hz))):
                yield still


def repetitions(stamps: Sequence[float], rate_hz: float) -> list[int]:
    """How often each set is shown, so that lost sets do not make the video run faster.

    Args:
        stamps: ascending exposure times, s.
        rate_hz: frames a second.
    """
    if not stamps:
        return []
    starts = [round((stamp - stamps[0]) * rate_hz) for stamp in stamps]
    return [max(1, end - start) for start, end in itertools.pairwise([*starts, starts[-1] + 1])]


def trial_frames(
    recording: Recording, cameras: Sequence[str], keypoint: str, title: str
) -> Iterator[Image]:
    """Composes one frame for each image set of a trial.

    Yields:
        (640, 1280, 3) uint8 BGR.
    """
    scenes = sorted(recording.scene_frames, key=lambda item: item[0])
    scene_stamps = [stamp for stamp, _ in scenes]
    start = recording.clock[0][0] if recording.clock else 0.0
    for stamp in sorted(recording.frames):
        canvas = np.full((SIZE[1], SIZE[0], 3), BACK, np.uint8)
        _text(canvas, title, (12, 27), INK, 0.6)
        for place, camera in enumerate(cameras[:4]):
            _place_view(canvas, recording, stamp, camera, place)
        latest = bisect_right(scene_stamps, stamp + 0.1) - 1
        _place_scene(canvas, scenes[latest][1] if latest >= 0 else None)
        _legend(canvas, recording)
        _status(canvas, recording, stamp, keypoint, start)
        yield canvas


def _place_view(canvas: Image, recording: Recording, stamp: float, camera: str, place: int) -> None:
    left, top = (place % 2) * VIEW[0], TOP + (place // 2) * VIEW[1]
    jpeg = recording.frames[stamp].get(camera)
    if jpeg is not None:
        image = decode(jpeg)
        tile = np.asarray(cv2.resize(image, VIEW, interpolation=cv2.INTER_AREA), np.uint8)
        view = recording.views.get(stamp, {}).get(camera)
        if view is not None:
            draw_view(tile, view, VIEW[0] / image.shape[1])
        canvas[top : top + VIEW[1] - GAP, left : left + VIEW[0] - GAP] = tile[:-GAP, :-GAP]
    _text(canvas, camera, (left + 8, top + VIEW[1] - 10), INK, 0.45, shadow=True)


def _place_scene(canvas: Image, jpeg: bytes | None) -> None:
    left = 2 * VIEW[0] + (SIZE[0] - 2 * VIEW[0] - SCENE[0]) // 2
    if jpeg is None:
        _text(canvas, "no view of the scene", (left + 12, TOP + 40), SOFT, 0.5)
        return
    tile = cv2.resize(decode(jpeg), SCENE, interpolation=cv2.INTER_AREA)
    canvas[TOP : TOP + SCENE[1], left : left + SCENE[0]] = tile


def _legend(canvas: Image, recording: Recording) -> None:
    names = next((found.names for found in recording.keypoints), ())
    left = 2 * VIEW[0] + 20
    for index, name in enumerate(names):
        at = (left + 230 * (index % 2), TOP + SCENE[1] + 180 + 24 * (index // 2))
        cv2.circle(canvas, (at[0], at[1] - 4), 5, bgr(colour(index)), -1, cv2.LINE_AA)
        _text(canvas, name, (at[0] + 12, at[1]), SOFT, 0.45)


def _status(canvas: Image, recording: Recording, stamp: float, keypoint: str, start: float) -> None:
    left, top = 2 * VIEW[0] + 16, TOP + SCENE[1]
    _text(canvas, recording.phase_at(stamp) or "waiting", (left, top + 46), INK, 1.0, width=2)
    _text(canvas, f"{stamp - start:5.1f} s", (SIZE[0] - 120, top + 46), SOFT, 0.7)
    known = [found for found in recording.keypoints if found.stamp_s <= stamp]
    found = max(known, key=lambda item: item.stamp_s, default=None)
    lines = ["no keypoints yet"]
    if found is not None and keypoint in found.names:
        index = found.names.index(keypoint)
        error = np.linalg.norm(found.positions[index] - recording.truth_at(keypoint, found.stamp_s))
        state = f"error {1e3 * error:.1f} mm" if found.valid[index] else "refused"
        lines = [f"{keypoint}: {state}", f"confidence {found.confidences[index]:.2f}"]
    for row, line in enumerate(lines):
        _text(canvas, line, (left, top + 86 + 28 * row), INK, 0.6)


def _outcome(canvas: Image, trial: Trial) -> None:
    shade = GOOD if trial.success else BAD
    text = "held" if trial.success else f"failed: {trial.code_name}"
    cv2.rectangle(canvas, (400, 4), (800, TOP - 4), BACK, -1)
    _text(canvas, text, (420, 28), shade, 0.75, width=2)


def _text(
    canvas: Image,
    text: str,
    at: tuple[int, int],
    shade: tuple[int, int, int],
    size: float,
    *,
    width: int = 1,
    shadow: bool = False,
) -> None:
    if shadow:
        cv2.putText(canvas, text, (at[0] + 1, at[1] + 1), FONT, size, (0, 0, 0), width, cv2.LINE_AA)
    cv2.putText(canvas, text, at, FONT, size, shade, width, cv2.LINE_AA)
