"""What the scenes of a dataset of objects show."""

from __future__ import annotations

import dataclasses
import math

from s3k_ros.errors import ConfigurationError
from s3k_ros.simulation import surroundings
from s3k_ros.simulation.mesh import MeshObject
from s3k_ros.simulation.random_rig import RandomRig


@dataclasses.dataclass(frozen=True)
class ObjectSceneSpec:
    """What a dataset of scenes shows. Same spec and seed: same sample.

    Attributes:
        objects: what the keypoints belong to. One scene shows one of them, or all.
        together: every scene shows all objects; the keypoints are then named
            ``<object>_<keypoint>``. Otherwise all objects have the same keypoints' names.
        family: "train", "dev" or "test": tables and light.
        distractors: how many a scene shows, where there is room.
        distractor_family: of the generated distractors; None: ``family``.
        distractor_meshes: shown instead of generated ones.
        distractor_pool: how many different distractors are generated for the scenes to choose from.
        table_pool: how many different tables there are; each scene turns, shifts and tints one.
        rig: cameras and image size.
        fixed_cameras: one rig for all samples, drawn from ``rig_seed``; else a new rig each.
        rig_seed: of fixed cameras.
        reach_m: the middle of an object lies within +- this of the workspace's middle, along x, y.
        clutter_m: the same for distractors.
        gap_m: kept free between two objects, seen from above.
        tilt_rad: pitch and roll of an object are uniform within +- this.
        antialiasing: samples a pixel, 0 or 2..16.

    Raises:
        ConfigurationError: a value out of range, or objects that do not fit together.
    """

    objects: tuple[MeshObject, ...]
    together: bool = False
    family: str = "train"
    distractors: int = 3
    distractor_family: str | None = None
    distractor_meshes: tuple[MeshObject, ...] = ()
    distractor_pool: int = 48
    table_pool: int = 32
    rig: RandomRig = dataclasses.field(default_factory=RandomRig)
    fixed_cameras: bool = False
    rig_seed: int = 0
    reach_m: tuple[float, float] = (0.04, 0.04)
    clutter_m: tuple[float, float] = (0.22, 0.22)
    gap_m: float = 0.02
    tilt_rad: float = math.radians(20.0)
    antialiasing: int = 4

    def __post_init__(self) -> None:
        surroundings.family_index(self.family)
        for name, low, high in (
            ("distractors", 0, 30), ("distractor_pool", 1, 400), ("table_pool", 1, 400),
            ("gap_m", 0, 1), ("tilt_rad", 0, 1.6), ("antialiasing", 0, 16), ("rig_seed", 0, 2**63),
        ):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                value = getattr(self, name)
                raise ConfigurationError(f"{name} = {value} must be within {low}..{high}")
        if not self.objects:
            raise ConfigurationError("objects: at least one is needed")
        for thing in self.objects:
            if not thing.keypoints:
                raise ConfigurationError(f"object {thing.name}: has no keypoints")
        names = [thing.name for thing in self.objects]
        if len(set(names)) != len(names):
            raise ConfigurationError(f"objects: names must differ, got {names}")
        first = self.objects[0]
        for thing in self.objects[1:]:
            if not self.together and list(thing.keypoints) != list(first.keypoints):
                raise ConfigurationError(
                    f"object {thing.name}: keypoints {list(thing.keypoints)} must be those of"
                    f" {first.name}: {list(first.keypoints)}"
                )

    @property
    def object_id(self) -> str:
        """Name of what the keypoints belong to."""
        names = [thing.name for thing in self.objects]
        return names[0] if len(names) == 1 else "_".join(sorted({n.split("_")[0] for n in names}))

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the keypoints, in the order of a sample's."""
        if not self.together or len(self.objects) == 1:
            return tuple(self.objects[0].keypoints)
        return tuple(f"{thing.name}_{key}" for thing in self.objects for key in thing.keypoints)
