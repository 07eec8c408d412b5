"""`s3k dataset info`: what a dataset holds."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from s3k_ros.training.dataset.reader import Dataset


def summary(dataset: Dataset) -> dict[str, Any]:
    """Facts about a dataset, ready for JSON."""
    count = len(dataset)
    labelled = np.nonzero(dataset.labelled)[0].tolist()
    clicked = (
        np.array([np.isfinite(dataset.labels(i)).all(axis=-1) for i in labelled])
        if labelled
        else np.zeros((0, len(dataset.camera_names), len(dataset.keypoint_names)), bool)
    )
    return {
        "folder": str(dataset.folder),
        "format": dataset.format,
        "object_id": dataset.object_id,
        "objects": dict(Counter(dataset.objects)),
        "samples": count,
        "labelled": len(labelled),
        "segments": len(set(dataset.segments)),
        "cameras": {name: _camera(dataset, name) for name in dataset.camera_names},
        "keypoints": {
            name: {
                "clicks": int(clicked[:, :, k].sum()),
                "samples_with_two_views": int((clicked[:, :, k].sum(axis=1) >= 2).sum()),
            }
            for k, name in enumerate(dataset.keypoint_names)
        },
        "truth": dataset.has_truth,
        "image_format": dataset.image_format,
        "bytes": sum(path.stat().st_size for path in dataset.folder.rglob("*") if path.is_file()),
        "info": dataset.info,
    }


def _camera(dataset: Dataset, name: str) -> dict[str, Any]:
    index = dataset.camera_names.index(name)
    cameras = [dataset.cameras(sample)[index] for sample in range(len(dataset))]
    poses = {camera.base_from_camera.matrix.tobytes() for camera in cameras}
    sizes = sorted({(camera.width, camera.height) for camera in cameras})
    return {"sizes": [f"{w} x {h}" for w, h in sizes], "poses": len(poses)}


def text(facts: dict[str, Any]) -> str:
    """A summary as people read it."""
    objects = facts["objects"]
    lines = [
        f"{facts['folder']}: {facts['object_id']}, format {facts['format']}",
        f"  samples    {facts['samples']}, {facts['labelled']} labelled, "
        f"in {facts['segments']} segments",
    ]
    if list(objects) != [facts["object_id"]] and objects:
        lines.append("  objects    " + ", ".join(f"{n} ({c})" for n, c in objects.items()))
    for name, camera in facts["cameras"].items():
        moves = "fixed" if camera["poses"] <= 1 else f"{camera['poses']} poses"
        lines.append(f"  camera     {name}: {', '.join(camera['sizes'])} px, {moves}")
    for name, keypoint in facts["keypoints"].items():
        clicks, samples = keypoint["clicks"], keypoint["samples_with_two_views"]
        lines.append(f"  keypoint   {name}: {clicks} clicks, in 3D in {samples} samples")
    megabytes = facts["bytes"] / 1e6
    truth = "with truth" if facts["truth"] else "without truth"
    lines.append(f"  on disk    {megabytes:.1f} MB, {facts['image_format']} images, {truth}")
    lines += [f"  {_short(key):10} {_short(value)}" for key, value in facts["info"].items()]
    return "\n".join(lines)


def _short(value: Any) -> str:
    shown = value if isinstance(value, str) else json.dumps(value)
    printable = "".join(c if c.isprintable() else "?" for c in shown)
    return printable if len(printable) <= 200 else printable[:197] + "..."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k dataset info`."""
    parser.add_argument("datasets", type=Path, nargs="+", metavar="DATASET", help="folders")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")


def run(args: argparse.Namespace) -> int:
    """Prints what each dataset holds."""
    for folder in args.datasets:
        facts = summary(Dataset(folder))
        print(json.dumps(facts) if args.json else text(facts))
    return 0
