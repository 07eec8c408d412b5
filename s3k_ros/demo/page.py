"""``report.html``: one page that holds everything, with no reference to anything outside it."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Sequence
from importlib import resources
from typing import Any

import cv2
import jinja2
import numpy as np

from s3k_ros.demo import figures
from s3k_ros.demo.measurement import ErrorSample, error_samples, latencies_ms
from s3k_ros.demo.overlay import bgr, colour, crop_around, decode, draw_view, encode
from s3k_ros.demo.recording import Recording, View
from s3k_ros.demo.trial import Trial
from s3k_ros.goal_logs.drawing import style_sheet

DETAILED_TRIALS = 12
"""Trials shown in full: more would make the page too big to open with ease."""

VIEW_SIZE = (480, 360)
"""Width and height in px of each image on the page."""


@dataclasses.dataclass(frozen=True)
class ViewPicture:
    """One camera's view as the page shows it: data URIs of the whole image and an enlargement."""

    camera: str
    whole: str
    crop: str


@dataclasses.dataclass(frozen=True)
class TrialSection:
    """What the page shows of one trial."""

    number: int
    trial: Trial
    paths: str
    timeline: str
    views: list[ViewPicture]


def render(
    report: dict[str, Any],
    trials: Sequence[Trial],
    recordings: Sequence[Recording],
    cameras: Sequence[str],
) -> str:
    """Renders the page.

    Args:
        report: the content of ``report.json``.
        trials: outcomes.
        recordings: one for each trial.
        cameras: names in the order in which the views are shown.

    Returns:
        HTML text.
    """
    samples = error_samples(recordings)
    keypoint = str(report["keypoint"])
    shown = list(zip(trials, recordings, strict=True))[:DETAILED_TRIALS]
    sections = [
        TrialSection(
            number=index + 1,
            trial=trial,
            paths=figures.paths(recording, keypoint),
            timeline=figures.timeline(
                recording, [s for s in samples if s.trial == index], keypoint
            ),
            views=view_pictures(recording, cameras),
        )
        for index, (trial, recording) in enumerate(shown)
    ]
    names = list(report["keypoints"])
    return _template().render(
        css=style_sheet(),
        report=report,
        trials=trials,
        sections=sections,
        colours={name: colour(index) for index, name in enumerate(names)},
        error_distribution=figures.error_distribution(samples),
        latency=figures.latency_histogram(latencies_ms(recordings)),
        tracked=_tracked(samples, keypoint),
    )


def view_pictures(recording: Recording, cameras: Sequence[str]) -> list[ViewPicture]:
    """The views on which the grasp was planned, with keypoints and 95 % ellipses drawn in."""
    stamp = planning_stamp(recording)
    if stamp is None:
        return []
    frames, views = recording.frames[stamp], recording.views[stamp]
    present = [camera for camera in cameras if camera in frames and camera in views]
    return [_view_picture(camera, frames[camera], views[camera]) for camera in present]


def planning_stamp(recording: Recording) -> float | None:
    """Stamp of the last full set exposed before the arm set off, else of the first full set."""
    sets = sorted(s for s in recording.frames if s in recording.views)
    most = max((len(recording.frames[s]) for s in sets), default=0)
    sets = [s for s in sets if len(recording.frames[s]) == most]
    limit = recording.phase_start("approach")
    before = [s for s in sets if limit is None or s <= limit]
    return before[-1] if before else next(iter(sets), None)


def _view_picture(camera: str, jpeg: bytes, view: View) -> ViewPicture:
    image = decode(jpeg)
    height, width = image.shape[:2]
    scale = VIEW_SIZE[0] / width
    whole = cv2.resize(image, VIEW_SIZE, interpolation=cv2.INTER_AREA)
    draw_view(np.asarray(whole, np.uint8), view, scale)
    box = crop_around(view, (width, height), VIEW_SIZE[0] / VIEW_SIZE[1])
    if box is None:
        return ViewPicture(camera, data_uri(encode(whole)), "")
    left, top, box_width, box_height = box
    part = image[top : top + box_height, left : left + box_width]
    crop = cv2.resize(part, VIEW_SIZE, interpolation=cv2.INTER_CUBIC)
    draw_view(np.asarray(crop, np.uint8), view, VIEW_SIZE[0] / box_width, (left, top))
    corner = (int(scale * left), int(scale * top))
    far = (int(scale * (left + box_width)), int(scale * (top + box_height)))
    cv2.rectangle(whole, corner, far, bgr("#ffffff"), 1, lineType=cv2.LINE_AA)
    return ViewPicture(camera, data_uri(encode(whole)), data_uri(encode(crop)))


def data_uri(jpeg: bytes) -> str:
    """A JPEG as a URI that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _tracked(samples: Sequence[ErrorSample], keypoint: str) -> dict[str, Any]:
    """How many messages the page's errors rest on."""
    mine = [sample for sample in samples if sample.name == keypoint]
    return {"messages": len(mine), "valid": sum(sample.valid for sample in mine)}


def _template() -> jinja2.Template:
    source = resources.files("s3k_ros.demo").joinpath("templates/report.html.j2")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["figure"] = _number
    return environment.from_string(source.read_text(encoding="utf-8"))


def _number(value: float | None, digits: int = 1, unit: str = "") -> str:
    """A number for people: an en dash where there is none, a thin space before the unit."""
    if value is None:
        return "–"
    return f"{value:.{digits}f}" + (f"\u202f{unit}" if unit else "")
