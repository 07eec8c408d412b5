"""What a grasp sees of the simulated cell: keypoints from rendered images, or from the truth.

A look at the scene takes images of one moment; its keypoints arrive later, as in the real chain of
cameras, detector and triangulator.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

from s3k_ros.geometry.camera import Camera
from s3k_ros.grasp.codes import KeypointStatus
from s3k_ros.grasp.tasks.gates import KeypointReading
from s3k_ros.params.perception import TriangulationParameters
from s3k_ros.perception.detector import KeypointDetector
from s3k_ros.perception.triangulator import KeypointTriangulator
from s3k_ros.simulation.scene import ToyScene
from s3k_ros.simulation.views import Views

Array = NDArray[np.float64]

PERIOD_S = 0.2
"""Between two sets, as `sim_cell` sends them."""
LATENCY_S = 0.25
"""From exposure to the grasp server, measured over ROS with the simulated cell on two cores."""


class Look(Protocol):
    """One look at the scene."""

    object_id: str
    names: tuple[str, ...]

    def __call__(self, data: mujoco.MjData) -> list[KeypointReading]:
        """Readings of all keypoints, of which `received_at` does not count yet."""


class KeypointFeed:
    """A `KeypointSource` that looks at the scene at a rate; the readings arrive later.

    Args:
        look: at the scene.
        period_s: between two looks.
        latency_s: from a look to the arrival of its keypoints.

    Attributes:
        sets: how many have arrived.
        alive: False while perception is dead: nothing is seen and nothing arrives.
        wanted: whether anybody needs keypoints; without need nobody looks, which saves rendering.
        looks: how often it has looked.
    """

    def __init__(
        self, look: Look, period_s: float = PERIOD_S, latency_s: float = LATENCY_S
    ) -> None:
        self.look = look
        self.sets = 0
        self.looks = 0
        self.alive = True
        self.wanted: Callable[[], bool] = lambda: True
        self._period_s, self._latency_s = period_s, latency_s
        self._due = -np.inf
        self._coming: deque[tuple[float, list[KeypointReading]]] = deque()
        self._newest: dict[str, KeypointReading] = {}

    @property
    def object_id(self) -> str:
        """The object that is looked for."""
        return self.look.object_id

    @property
    def names(self) -> tuple[str, ...]:
        """Of its keypoints."""
        return self.look.names

    def latest(self, name: str) -> KeypointReading | None:
        """The newest reading of a keypoint that has arrived."""
        return self._newest.get(name)

    def step(self, now: float, data: mujoco.MjData) -> None:
        """Looks when it is time, and lets arrive what has been on its way for long enough."""
        if not self.alive:
            self._coming.clear()
            return
        if now >= self._due - 1e-9 and self.wanted():
            self._due = now + self._period_s
            self.looks += 1
            self._coming.append((now + self._latency_s, self.look(data)))
        while self._coming and self._coming[0][0] <= now + 1e-9:
            _, readings = self._coming.popleft()
            self.sets += 1
            self._newest = {r.name: dataclasses.replace(r, received_at=now) for r in readings}


class TruthLook:
    """Perception as a stand-in: the truth with a constant error a keypoint and noise a set.

    Args:
        scene: what is seen.
        object_id: of the object; None: the scene's first.
        rng: of the errors.
        bias_m, noise_m: standard deviations per axis.

    Attributes:
        hidden: names of keypoints that no camera sees.
    """

    def __init__(
        self,
        scene: ToyScene,
        rng: np.random.Generator,
        object_id: str | None = None,
        bias_m: float = 0.004,
        noise_m: float = 0.002,
    ) -> None:
        self.object_id = object_id or scene.object_id
        self.names = scene.names_of(self.object_id)
        self.hidden: set[str] = set()
        self._scene, self._rng, self._noise_m = scene, rng, noise_m
        self._bias = rng.normal(0.0, bias_m, (len(self.names), 3))
        self._covariance = np.eye(3) * (bias_m**2 + noise_m**2)

    def __call__(self, data: mujoco.MjData) -> list[KeypointReading]:
        """Readings of all keypoints."""
        points = self._scene.keypoints_of(data, self.object_id) + self._bias
        points = points + self._rng.normal(0.0, self._noise_m, points.shape)
        return [self._reading(*pair) for pair in zip(self.names, points, strict=True)]

    def _reading(self, name: str, point: Array) -> KeypointReading:
        if name in self.hidden:
            nowhere, status = np.full(3, np.nan), KeypointStatus.TOO_FEW_VIEWS
            return KeypointReading(name, status, nowhere, self._covariance, 0.0, 0.0)
        return KeypointReading(name, KeypointStatus.OK, point, self._covariance, 0.95, 0.0)


class CameraLook:
    """Perception itself: renders the cameras, finds the keypoints and triangulates them.

    Args:
        views: renders; belongs to the calling thread.
        cameras: as they stand.
        detector: with the object's model.
        believed: the cameras as they are calibrated, which may be wrong; None: as they stand.
        dead: names of cameras that send nothing.
        thresholds: of the triangulation.
    """

    def __init__(
        self,
        views: Views,
        cameras: Sequence[Camera],
        detector: KeypointDetector,
        believed: Sequence[Camera] | None = None,
        dead: Sequence[str] = (),
        thresholds: TriangulationParameters | None = None,
    ) -> None:
        description = detector.model.description
        self.object_id = description.object_id
        self.names = tuple(description.keypoints)
        self._views, self._cameras, self._detector = views, cameras, detector
        self._believed = tuple(believed or cameras)
        self._dead = set(dead)
        self._triangulator = KeypointTriangulator.from_description(description, thresholds)

    def __call__(self, data: mujoco.MjData) -> list[KeypointReading]:
        """Readings of all keypoints."""
        images = [
            None if camera.name in self._dead else self._views.render(data, camera.name)
            for camera in self._cameras
        ]
        found = self._triangulator.estimate(self._believed, self._detector.detect(images))
        return [
            KeypointReading(
                e.name, KeypointStatus(int(e.status)), e.position, e.covariance, e.confidence, 0.0
            )
            for e in found
        ]
