"""Scenes of noise, rendered without a renderer. Importable, so that other processes have them."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator

import numpy as np

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.camera import Camera
from s3k_ros.geometry.se3 import Transform
from s3k_ros.simulation.pipeline import Shot
from s3k_ros.simulation.sample import Sample

MATRIX = np.array([[50.0, 0, 8], [0, 50.0, 8], [0, 0, 1]])
CAMERA = Camera("a", 16, 16, MATRIX, "plumb_bob", np.zeros(5), Transform.identity())


class Nothing:
    """In a renderer's place."""

    def close(self) -> None:
        """Nothing to free."""


@dataclasses.dataclass(frozen=True)
class Noise:
    """Scenes of noise; some take longer than others, and one may not go well.

    Attributes:
        refused: number of a scene that cannot be laid out; -1: none.
        fatal: number of a scene that kills the process that renders it; -1: none.
    """

    refused: int = -1
    fatal: int = -1
    samples_each: int = 2
    worth_a_process: int = 1

    def renderer(self) -> Nothing:
        return Nothing()

    def shots(self, renderer: Nothing, scene: int) -> Iterator[Shot]:
        if scene == self.refused:
            raise ConfigurationError(f"no room in scene {scene}")
        if scene == self.fatal:
            os._exit(9)
        rng = np.random.default_rng(scene)
        time.sleep(rng.uniform(0, 0.02))
        for _ in range(self.samples_each):
            image = rng.integers(0, 256, (16, 16, 3), np.uint8)
            sample = Sample({"a": image}, rng.normal(0, 1, (1, 3)), {}, (CAMERA,))
            yield Shot(sample, False, scene, scene)
