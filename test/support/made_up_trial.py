"""A made-up trial: a fox that is seen at 5 Hz, gripped at 6 s and lifted from 8 s on."""

from __future__ import annotations

import cv2
import numpy as np

from s3k_ros.demo.overlay import encode
from s3k_ros.demo.recording import Feedback, KeypointSet, Recording, View

NAMES = ("head", "left_front_paw", "right_front_paw", "body", "tail")
CAMERAS = ("front_left", "front_right", "rear_left", "rear_right")
REST = np.array(
    [[0.62, 0.0, 0.05], [0.6, 0.06, 0.03], [0.58, -0.05, 0.03], [0.7, 0.0, 0.05], [0.8, 0, 0.04]]
)
PHASES = (
    (1.0, "observe"),
    (2.0, "approach"),
    (4.5, "align"),
    (6.0, "close"),
    (8.0, "lift"),
    (10.0, "verify"),
)
REAL_TIME_FACTOR = 0.97
LATENCY_S = 0.120


def lift_at(time_s: float) -> float:
    return float(np.clip((time_s - 8.0) / 2.0, 0.0, 1.0)) * 0.12


def make_recording(
    seed: int = 0, *, noise_m: float = 0.004, lifted: bool = True, missing_view_every: int = 0
) -> Recording:
    rng = np.random.default_rng(seed)
    recording = Recording(truth_names=NAMES)
    recording.feedback = [
        Feedback(time, phase, index / 6) for index, (time, phase) in enumerate(PHASES)
    ]
    for tick in range(1201):
        time = tick / 100
        recording.clock.append((time, 1000.0 + time / REAL_TIME_FACTOR))
        recording.joint_states += 1
        if tick % 5:
            continue
        rise = lift_at(time) if lifted else 0.0
        recording.truth.append((time, REST + np.array([0, 0, rise])))
        height = 0.4 - 0.37 * min(time / 6, 1.0) + lift_at(time)
        recording.tcp.append((time, np.array([0.5 + 0.08 * min(time / 6, 1), -0.05, height])))
    for number in range(60):
        _add_set(recording, rng, number, noise_m, missing_view_every, lifted)
    recording.real_time_factors = [0.97, 0.96]
    return recording


def _add_set(recording, rng, number, noise_m, missing_view_every, lifted):
    stamp = 0.1 + 0.2 * number
    rise = lift_at(stamp) if lifted else 0.0
    positions = REST + np.array([0, 0, rise]) + rng.normal(0, noise_m, (5, 3))
    valid = np.array([True, True, stamp < 7.0, True, True])
    recording.keypoints.append(
        KeypointSet(
            stamp_s=stamp,
            wall_s=1000.0 + stamp / REAL_TIME_FACTOR + LATENCY_S,
            names=NAMES,
            valid=valid,
            positions=np.where(valid[:, None], positions, np.nan),
            covariances=np.tile(np.eye(3) * max(noise_m, 1e-6) ** 2, (5, 1, 1)),
            confidences=np.full(5, 0.97),
        )
    )
    lacking = missing_view_every and number % missing_view_every == 0
    image = make_image(rng)
    for index, camera in enumerate(CAMERAS):
        recording.image_stamps.setdefault(camera, []).append(stamp)
        ok = not (lacking and index == 0)
        pixels = 240 + 60 * index + 500 * (positions[:, :2] - REST[0, :2]) + [0, -200 * rise]
        view = View(ok, NAMES, pixels, np.tile([[3.0, 1.0], [1.0, 2.0]], (5, 1, 1)), np.ones(5))
        recording.views.setdefault(stamp, {})[camera] = view
        recording.frames.setdefault(stamp, {})[camera] = image
    recording.scene_frames.append((stamp, image))


def make_image(rng) -> bytes:
    image = np.full((480, 640, 3), (90, 110, 120), np.uint8)
    cv2.circle(image, tuple(int(v) for v in rng.integers(200, 400, 2)), 60, (40, 90, 200), -1)
    return encode(image)
