"""A tiny stand-in for the simulator: a toy of discs seen by four cameras, drawn in milliseconds.

Left and right paw look the same, so only context (head before body) tells them apart.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from s3k_ros.geometry.camera import Camera, look_at
from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.dataset.reader import DatasetWriter, Image

KEYPOINTS = ["head", "left_paw", "right_paw", "body"]
CAMERAS = ["a", "b", "c", "d"]
TINY = TrainingParameters(
    input_height=48, input_width=64, stem=4, widths=(8, 12, 16), blocks=(0, 1, 1), threads=1,
    accelerator="cpu", precision="fp32", steps=30, warmup_steps=10, ramp_steps=5,
    labelled_samples=1, unlabelled_samples=2, teacher_turns=1, mirror=True, guard_samples=4,
)  # fmt: skip
"""A network and a run of seconds."""
_SHAPE = np.array([[0.11, 0.0, 0.07], [0.07, 0.07, 0.02], [0.07, -0.07, 0.02], [0.0, 0.0, 0.05]])
# Keypoint discs and trims: position, radius (m), colour (BGR).
_PARTS = [
    (_SHAPE[3], 0.055, (40, 110, 210)),
    (np.array([-0.09, 0.0, 0.04]), 0.03, (235, 235, 240)),
    (_SHAPE[0], 0.04, (60, 190, 230)),
    (np.array([0.145, 0.0, 0.07]), 0.015, (20, 20, 20)),
    (_SHAPE[1], 0.022, (30, 40, 70)),
    (_SHAPE[2], 0.022, (30, 40, 70)),
]

Array = npt.NDArray[np.float64]


def rig(width: int, height: int) -> list[Camera]:
    """Four cameras about a metre from the origin, looking down at it."""
    matrix = np.array([[0.9 * width, 0, (width - 1) / 2], [0, 0.9 * width, (height - 1) / 2]])
    cameras = []
    for name, azimuth in zip(CAMERAS, (0.7, -0.7, 2.2, -2.3), strict=True):
        eye = np.array([0.62 * np.cos(azimuth), 0.62 * np.sin(azimuth), 0.75])
        cameras.append(
            Camera(
                name=name,
                width=width,
                height=height,
                matrix=np.vstack([matrix, [0, 0, 1]]),
                distortion_model="plumb_bob",
                distortion=np.zeros(5),
                base_from_camera=look_at(eye, np.zeros(3)),
            )
        )
    return cameras


def scene(rng: np.random.Generator) -> tuple[Array, list[tuple[Array, float, tuple[int, ...]]]]:
    """Keypoints (K, 3) and all balls of a random scene, base frame, m."""
    yaw = rng.uniform(-np.pi, np.pi)
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    shift = np.array([*rng.uniform(-0.12, 0.12, 2), 0.0])
    balls = [(turn @ p + shift, r, c) for p, r, c in _PARTS]
    for _ in range(4):
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        at = np.array([*rng.uniform(-0.35, 0.35, 2), 0.03])
        if np.linalg.norm(at[:2] - shift[:2]) > 0.2:
            balls.append((at, float(rng.uniform(0.02, 0.05)), colour))
    return _SHAPE @ turn.T + shift, balls


def draw(
    camera: Camera,
    balls: list[tuple[Array, float, tuple[int, ...]]],
    floor: tuple[int, ...],
    rng: np.random.Generator,
) -> Image:
    """One view, uint8 BGR."""
    image = np.full((camera.height, camera.width, 3), floor, np.uint8)
    for point, radius, colour in sorted(balls, key=lambda ball: -camera.depth(ball[0][None])[0]):
        pixel = camera.project(point[None])[0]
        size = radius * camera.matrix[0, 0] / camera.depth(point[None])[0]
        centre = tuple(int(v) for v in np.round(pixel * 16))
        cv2.circle(image, centre, int(size * 16), colour, -1, cv2.LINE_AA, 4)
    noise = rng.normal(0, 3, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def write_dataset(
    folder: Path, labelled: int, unlabelled: int, seed: int = 0, size: tuple[int, int] = (160, 120)
) -> Path:
    """A dataset with the first samples clicked (1 px noise, one view in five missing)."""
    cameras = rig(*size)
    with DatasetWriter(folder, "toy", KEYPOINTS, CAMERAS, {"seed": seed}) as writer:
        for sample in range(labelled + unlabelled):
            rng = np.random.default_rng((seed, sample))
            points, balls = scene(rng)
            floor = tuple(int(v) for v in rng.integers(90, 200, 3))
            images = {camera.name: draw(camera, balls, floor, rng) for camera in cameras}
            labels = {}
            for camera in cameras if sample < labelled else []:
                for name, pixel in zip(KEYPOINTS, camera.project(points), strict=True):
                    if rng.random() < 0.8:
                        u, v = pixel + rng.normal(0, 1.0 * size[0] / 640, 2)
                        labels[camera.name, name] = (float(u), float(v))
            writer.add(images, cameras, labels, points, seed=sample)
    return folder
