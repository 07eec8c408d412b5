"""`s3k dataset view`: a contact sheet of a dataset with the clicks drawn, as PNG or HTML."""

from __future__ import annotations

import argparse
import base64
import colorsys
import html
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from s3k_ros.errors import ConfigurationError
from s3k_ros.training.dataset.image_files import Image
from s3k_ros.training.dataset.reader import Dataset
from s3k_ros.training.dataset.tools.points import Array, triangulated
from s3k_ros.training.dataset.tools.ranges import parse_ranges

_GREY = (60, 60, 60)
_HEADER_PX = 22
_FONT_SCALE = 0.45
_MAX_SHEET_PX = 2**26


def colours(count: int) -> list[tuple[int, int, int]]:
    """BGR colours that differ well, one a keypoint."""
    rgb = [colorsys.hsv_to_rgb(i / count, 1.0 - 0.25 * (i % 2), 1.0) for i in range(count)]
    return [(round(255 * b), round(255 * g), round(255 * r)) for r, g, b in rgb]


def tile(dataset: Dataset, sample: int, camera: int, width: int, *, truth: bool) -> Image:
    """One view, ``width`` px wide, with its clicks (crosses), their 3D points (rings) and truth.

    A ring is where the 3D point that all clicks of the keypoint agree on appears: this is what
    training aims at, also in views without a click. True keypoints are dots.
    """
    calibrated = dataset.cameras(sample)
    view = calibrated[camera]
    image = dataset.image(sample, view.name)
    scale = width / view.width
    small = cv2.resize(
        image, (width, max(1, round(view.height * scale))), interpolation=cv2.INTER_AREA
    )
    clicks = dataset.labels(sample)
    points = [(triangulated(calibrated, clicks), _ring)]
    if truth:
        points.append((dataset.truth(sample), _dot))
    shades = colours(len(dataset.keypoint_names))
    for positions, draw in points:
        for place, colour in zip(view.project(positions), shades, strict=True):
            _mark(small, place, scale, draw, colour)
    for place, colour in zip(clicks[camera], shades, strict=True):
        _mark(small, place, scale, _cross, colour)
    return np.asarray(small, np.uint8)


def _mark(image: Image, place: Array, scale: float, draw: object, colour: tuple[int, ...]) -> None:
    if np.isfinite(place).all():
        u, v = (place + 0.5) * scale - 0.5
        if 0 <= u < image.shape[1] and 0 <= v < image.shape[0]:
            at = (round(float(u)), round(float(v)))
            draw(image, at, (0, 0, 0), 3)  # type: ignore[operator]
            draw(image, at, colour, 1)  # type: ignore[operator]


def _cross(image: Image, at: tuple[int, int], colour: tuple[int, ...], thickness: int) -> None:
    cv2.drawMarker(image, at, colour, cv2.MARKER_CROSS, 9, thickness)


def _ring(image: Image, at: tuple[int, int], colour: tuple[int, ...], thickness: int) -> None:
    cv2.circle(image, at, 7, colour, thickness, cv2.LINE_AA)


def _dot(image: Image, at: tuple[int, int], colour: tuple[int, ...], thickness: int) -> None:
    cv2.circle(image, at, 1 + thickness // 3, colour, -1, cv2.LINE_AA)


def caption(dataset: Dataset, sample: int) -> str:
    """What stands over a sample's row."""
    words = [f"sample {sample}", f"segment {dataset.segments[sample]}", dataset.objects[sample]]
    clicks = len(dataset.clicks(sample))
    return ", ".join([*words, f"seed {dataset.seeds[sample]}", f"{clicks} clicks"])


def sheet(dataset: Dataset, samples: Sequence[int], width: int, *, truth: bool) -> Image:
    """All samples as one image: a row each, a column a camera, a legend at the top."""
    rows = [_legend(dataset, width * len(dataset.camera_names))]
    for sample in samples:
        views = [
            tile(dataset, sample, c, width, truth=truth) for c in range(len(dataset.camera_names))
        ]
        height = max(view.shape[0] for view in views)
        for view, name in zip(views, dataset.camera_names, strict=True):
            _write(view, name, (6, view.shape[0] - 8), (255, 255, 255))
        padded = [cv2.copyMakeBorder(v, 0, height - v.shape[0], 0, 0, 0) for v in views]
        rows += [_header(caption(dataset, sample), width * len(views)), np.hstack(padded)]
    return np.vstack(rows)


def _header(text: str, width: int) -> Image:
    strip = np.full((_HEADER_PX, width, 3), _GREY, np.uint8)
    _write(strip, text, (6, 15), (255, 255, 255))
    return strip


def _write(image: Image, text: str, at: tuple[int, int], colour: tuple[int, ...]) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, _FONT_SCALE, colour, 1, cv2.LINE_AA)


def _legend(dataset: Dataset, width: int) -> Image:
    strip = _header("", width)
    x = 6
    for name, colour in zip(
        dataset.keypoint_names, colours(len(dataset.keypoint_names)), strict=True
    ):
        _write(strip, name, (x, 15), colour)
        x += 18 + cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, _FONT_SCALE, 1)[0][0]
    return strip


def page(dataset: Dataset, samples: Sequence[int], width: int, *, truth: bool) -> str:
    """All samples as one HTML page that needs no other file and runs no script."""
    legend = " ".join(
        f'<b style="color:rgb({r},{g},{b})">{html.escape(name)}</b>'
        for name, (b, g, r) in zip(
            dataset.keypoint_names, colours(len(dataset.keypoint_names)), strict=True
        )
    )
    parts = [
        '<!doctype html><meta charset="utf-8">',
        f"<title>{html.escape(dataset.folder.name)}</title>",
        "<style>body{background:#222;color:#eee;font:14px sans-serif}figure{display:inline-block;"
        "margin:2px}h2{font-size:14px;margin:12px 2px 2px}figcaption{color:#aaa}</style>",
        f"<h1>{html.escape(dataset.folder.name)}: {html.escape(dataset.object_id)}</h1>",
        f"<p>{legend}</p><p>Crosses are clicks, rings the point that they agree on"
        + (", dots the truth" if truth else "")
        + ".</p>",
    ]
    for sample in samples:
        parts.append(f"<h2>{html.escape(caption(dataset, sample))}</h2>")
        for c, name in enumerate(dataset.camera_names):
            data = cv2.imencode(".jpg", tile(dataset, sample, c, width, truth=truth))[1]
            source = base64.b64encode(data.tobytes()).decode()
            parts.append(
                f'<figure><img src="data:image/jpeg;base64,{source}" alt="{html.escape(name)}">'
                f"<figcaption>{html.escape(name)}</figcaption></figure>"
            )
    return "\n".join(parts) + "\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k dataset view`."""
    parser.add_argument("dataset", type=Path, help="folder of the dataset")
    parser.add_argument("--out", type=Path, help="FILE.html or FILE.png (default: NAME.html here)")
    parser.add_argument("--samples", metavar="LIST", help="for instance 0,3,5-9")
    parser.add_argument("--labelled", action="store_true", help="only samples with clicks")
    parser.add_argument("--count", type=int, default=12, help="without a list: this many, spread")
    parser.add_argument("--width", type=int, default=320, help="of each view, px")
    parser.add_argument("--truth", action="store_true", help="draw the true keypoints as well")


def chosen(dataset: Dataset, listed: str | None, count: int, *, labelled: bool) -> list[int]:
    """The samples to show.

    Raises:
        ConfigurationError: none is left, or one that does not exist is listed.
    """
    samples = list(range(len(dataset))) if listed is None else parse_ranges(listed, "samples")
    if samples and max(samples) >= len(dataset):
        raise ConfigurationError(f"samples: no {max(samples)}, the dataset has {len(dataset)}")
    if labelled:
        samples = [sample for sample in samples if dataset.labelled[sample]]
    if not samples:
        raise ConfigurationError(f"{dataset.folder}: no sample to show")
    if listed is None and len(samples) > count:
        samples = [samples[i] for i in np.linspace(0, len(samples) - 1, count).round().astype(int)]
    return samples


def run(args: argparse.Namespace) -> int:
    """Writes the sheet and says where it is."""
    out = args.out or Path(f"{args.dataset.resolve().name}.html")
    if out.suffix not in (".html", ".png"):
        raise ConfigurationError(f"out = {str(out)!r} must end in .html or .png")
    if not 16 <= args.width <= 4096 or args.count < 1:
        raise ConfigurationError(
            f"width = {args.width} must be 16 to 4096 and count = {args.count} at least 1"
        )
    dataset = Dataset(args.dataset)
    samples = chosen(dataset, args.samples, args.count, labelled=args.labelled)
    if out.suffix == ".html":
        out.write_text(page(dataset, samples, args.width, truth=args.truth), encoding="utf-8")
    else:
        pixels = len(samples) * len(dataset.camera_names) * args.width**2
        if pixels > _MAX_SHEET_PX:
            raise ConfigurationError(f"{len(samples)} samples are too many for one PNG: use .html")
        data = cv2.imencode(".png", sheet(dataset, samples, args.width, truth=args.truth))[1]
        out.write_bytes(data.tobytes())
    print(f"{out}: {len(samples)} of {len(dataset)} samples")
    return 0
