"""One rendered sample, and the clicks that a person would set in its images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from s3k_ros.geometry.camera import Camera

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
Clicks = dict[tuple[str, str], tuple[float, float]]

# A person clicks a keypoint with this scatter in an image of REFERENCE_WIDTH_PX, and does not see
# it in every view. In a smaller image of the same view the scatter shrinks with it.
CLICK_NOISE_PX = (1.0, 2.0)
REFERENCE_WIDTH_PX = 640
CLICK_MISSING = 0.25


@dataclasses.dataclass(frozen=True)
class Sample:
    """One rendered scene.

    Attributes:
        images: uint8 BGR (H, W, 3) by camera.
        keypoints: (K, 3) true positions, base frame, m.
        clicks: (u, v), px, by camera and keypoint.
        cameras: the cameras of this sample, in the dataset's order.
        object_name: which of the dataset's objects is shown; None: all of them, or the only one.
    """

    images: dict[str, Image]
    keypoints: Array
    clicks: Clicks
    cameras: tuple[Camera, ...] = ()
    object_name: str | None = None


def draw_clicks(
    names: Sequence[str],
    keypoints: Array,
    cameras: Sequence[Camera],
    visible: Callable[[Camera, int], bool],
    rng: np.random.Generator,
) -> Clicks:
    """Clicks on keypoints (K, 3), base frame, m: noisy, and missing in some views.

    ``visible`` tells whether a camera sees a keypoint, given by its index. A keypoint that two
    cameras or more see is clicked in at least two.
    """
    clicks: Clicks = {}
    for k, name in enumerate(names):
        seen = [camera for camera in cameras if visible(camera, k)]
        drawn = [camera for camera in seen if rng.random() >= CLICK_MISSING]
        for camera in drawn if len(drawn) >= 2 else seen:
            scatter = rng.uniform(*CLICK_NOISE_PX) * camera.width / REFERENCE_WIDTH_PX
            u, v = camera.project(keypoints[k]) + rng.normal(0.0, scatter, 2)
            clicks[camera.name, name] = (float(u), float(v))
    return clicks


def in_image(camera: Camera, point: Array) -> bool:
    """Whether a point (3,), base frame, m, projects into a camera's image."""
    u, v = camera.project(point)
    return bool(0 <= u < camera.width and 0 <= v < camera.height)
