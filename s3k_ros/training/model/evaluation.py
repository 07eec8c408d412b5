"""``s3k evaluate``: the protocol of METHOD.md on held-out scenes with ground truth.

The figures are those of the shipped chain: the model file goes through the runtime's own detector
and triangulator.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.camera import Camera
from s3k_ros.params.perception import DetectorParameters
from s3k_ros.perception.detector import KeypointDetector, ViewKeypoints
from s3k_ros.perception.triangulator import KeypointTriangulator, Status
from s3k_ros.training.dataset.reader import Dataset, Image
from s3k_ros.training.model.figures import Results, figures, table

__all__ = ["Results", "evaluate", "figures", "table"]

Array = npt.NDArray[np.float64]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``s3k evaluate``."""
    parser.add_argument("--model", required=True, help="the ONNX model file")
    parser.add_argument("--dataset", required=True, help="dataset folder with ground truth")
    parser.add_argument("--limit", type=int, help="only the first scenes")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--json", help="file for the figures")
    parser.add_argument("--raw", help="npz file for the predictions")


def run(args: argparse.Namespace) -> int:
    """Prints the table and writes the figures."""
    dataset = Dataset(args.dataset)
    results = evaluate(dataset, args.model, args.limit, args.threads)
    found = figures(results)
    print(table(found))
    found["command"] = " ".join(["s3k", *sys.argv[1:]])
    found["model_sha256"] = hashlib.sha256(Path(args.model).read_bytes()).hexdigest()
    found["dataset"] = dataset.info
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=2) + "\n")
    if args.raw:
        np.savez_compressed(
            args.raw,
            **{f.name: getattr(results, f.name) for f in dataclasses.fields(results)},
        )
    return 0


def evaluate(
    dataset: Dataset,
    model: str | Path,
    limit: int | None = None,
    threads: int = 1,
    indices: Sequence[int] | None = None,
    *,
    progress: bool = True,
) -> Results:
    """Runs the shipped chain over scenes of a dataset.

    Args:
        dataset: with ground truth.
        model: the ONNX model file.
        limit: only the first scenes.
        threads: of the network, and for decoding images.
        indices: the scenes, in this order; all of them by default.
        progress: print a line every few seconds.

    Raises:
        ConfigurationError: no scene, or a model of other keypoints than the dataset's.
    """
    samples = list(range(len(dataset)) if indices is None else indices)[:limit]
    if not samples:
        raise ConfigurationError(f"{dataset.folder}: no scene to evaluate")
    names = dataset.keypoint_names
    params = DetectorParameters(threads=threads)
    detector = KeypointDetector.load(str(model), params, keypoints=names)
    triangulator = KeypointTriangulator.from_description(detector.model.description)
    results = _empty(dataset, samples)
    begun = shown = time.monotonic()
    for i, images in enumerate(_decoded(dataset, samples, threads)):
        cameras = dataset.cameras(samples[i])
        start = time.perf_counter()
        views = detector.detect(images)
        estimates = triangulator.estimate(cameras, views)
        results.seconds[i] = time.perf_counter() - start
        _note_views(results, i, cameras, views)
        for k, estimate in enumerate(estimates):
            results.status[i, k] = estimate.status
            results.confidences[i, k] = estimate.confidence
            results.views_used[i, k] = estimate.views_used.bit_count()
            if estimate.status == Status.OK:
                results.points[i, k] = estimate.position
                results.covariances[i, k] = estimate.covariance
        if progress and time.monotonic() - shown > 5:
            shown = time.monotonic()
            rate = (i + 1) / (shown - begun)
            print(f"evaluated {i + 1} of {len(samples)}, {rate:.1f} /s", flush=True)
    return results


def _empty(dataset: Dataset, samples: Sequence[int]) -> Results:
    """Results with the truth of the samples and no predictions."""
    shape = (len(samples), len(dataset.keypoint_names))
    views = (shape[0], len(dataset.camera_names), shape[1])
    return Results(
        names=dataset.keypoint_names,
        truth=np.stack([dataset.truth(i) for i in samples]),
        points=np.full((*shape, 3), np.nan),
        covariances=np.full((*shape, 3, 3), np.nan),
        status=np.zeros(shape, int),
        confidences=np.zeros(shape),
        views_used=np.zeros(shape, int),
        pixels=np.full((*views, 2), np.nan),
        view_confidences=np.zeros(views),
        true_pixels=np.full((*views, 2), np.nan),
        widths=np.ones(views[:2]),
        seconds=np.zeros(shape[0]),
    )


def _note_views(
    results: Results, i: int, cameras: Sequence[Camera], views: Sequence[ViewKeypoints | None]
) -> None:
    """Stores what each view of scene i shows, beside the projected truth."""
    for c, (camera, view) in enumerate(zip(cameras, views, strict=True)):
        results.widths[i, c] = camera.width
        true = camera.project(results.truth[i])
        size = np.array([camera.width, camera.height])
        inside = ((true >= -0.5) & (true <= size - 0.5)).all(-1)
        results.true_pixels[i, c, inside] = true[inside]
        if view is not None:
            results.pixels[i, c] = view.pixels
            results.view_confidences[i, c] = view.confidences


def _decoded(dataset: Dataset, samples: Sequence[int], threads: int) -> Iterator[Sequence[Image]]:
    """Images of the samples in order, decoded a few samples ahead."""
    with ThreadPoolExecutor(threads) as pool:
        ahead = [pool.submit(dataset.images, i) for i in samples[:8]]
        for i in range(len(samples)):
            yield ahead[i].result()
            ahead[i] = ahead[0]  # frees the images
            if i + 8 < len(samples):
                ahead.append(pool.submit(dataset.images, samples[i + 8]))


def main() -> int:
    """``python -m s3k_ros.training.model.evaluation``."""
    parser = argparse.ArgumentParser(prog="s3k evaluate")
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
