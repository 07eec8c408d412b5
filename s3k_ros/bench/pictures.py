"""Pictures of the objects of the shipped models, for benchmarks that need real work to do."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
from numpy.typing import NDArray

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.camera import Camera
from s3k_ros.simulation import dataset_options
from s3k_ros.simulation.cell_samples import CellRenderer
from s3k_ros.simulation.object_scene import ObjectSceneRenderer, ObjectSceneSpec, RandomRig

FOX, BOX = "plush_fox", "box"


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
    """Scenes as the same cameras see them.

    Attributes:
        cameras: N of them, calibrated.
        images: (S, N, H, W, 3) uint8 BGR.
        keypoints: (S, K, 3) true positions, m.
    """

    cameras: tuple[Camera, ...]
    images: NDArray[np.uint8]
    keypoints: NDArray[np.float64]


def draw(object_id: str, scenes: int, width: int, seed: int) -> Pictures:
    """Renders scenes of the family that no model was trained on; four cameras, 4:3.

    Args:
        object_id: of a shipped model.
        scenes: how many.
        width: of the images, px.
        seed: of the first scene; the others count up from it.

    Raises:
        ConfigurationError: there is no scene of this object.
    """
    if object_id == FOX:
        renderer: CellRenderer | ObjectSceneRenderer = CellRenderer("test", width)
    elif object_id == BOX:
        objects = tuple(dataset_options.load_objects([BOX], []))
        renderer = ObjectSceneRenderer(
            ObjectSceneSpec(
                objects, family="test", distractors=0, rig=RandomRig(width, width * 3 // 4),
                fixed_cameras=True, rig_seed=seed,
            )
        )  # fmt: skip
    else:
        raise ConfigurationError(f"no scenes of {object_id!r}: models of {FOX} or {BOX} only")
    with contextlib.closing(renderer):
        samples = [renderer.sample(seed + i) for i in range(scenes)]
    cameras = tuple(samples[0].cameras)
    images = [[sample.images[camera.name] for camera in cameras] for sample in samples]
    return Pictures(cameras, np.array(images), np.array([s.keypoints for s in samples]))
