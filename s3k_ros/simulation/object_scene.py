"""Scenes of any textured meshes on a table, seen by cameras from random directions.

Nothing falls or rolls: poses are drawn, not simulated. The base frame has its origin on the table
in the middle of the workspace, z up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import cv2
import mujoco
import numpy as np
import trimesh
from numpy.typing import NDArray

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.camera import Camera
from s3k_ros.simulation import layout, surroundings
from s3k_ros.simulation.generators import distractors as generator
from s3k_ros.simulation.layout import Placed
from s3k_ros.simulation.mesh import MeshObject
from s3k_ros.simulation.object_model import ObjectModel
from s3k_ros.simulation.random_rig import RandomRig
from s3k_ros.simulation.sample import Image, Sample, draw_clicks, in_image

Array = NDArray[np.float64]

GAP_M = 0.02  # kept free between the footprints of two objects
# A surface this near to a keypoint belongs to it: it does not hide it from a person.
HIDDEN_SLACK_M = 0.004
# The random streams of a scene: what changes in one leaves the others alone.
_LAYOUT, _LOOK, _RIG, _CLICKS, _POOL = range(5)


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
    tilt_rad: float = np.radians(20.0)
    antialiasing: int = 4

    def __post_init__(self) -> None:
        surroundings.family_index(self.family)
        for name, low, high in (
            ("distractors", 0, 30), ("distractor_pool", 1, 400), ("table_pool", 1, 400),
            ("tilt_rad", 0, 1.6), ("antialiasing", 0, 16), ("rig_seed", 0, 2**63),
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


class ObjectSceneRenderer:
    """Renders the scenes of a spec. To be made and used in one thread, which owns the GL context.

    Args:
        spec: what the scenes show.
    """

    def __init__(self, spec: ObjectSceneSpec) -> None:
        self.spec = spec
        self.names = spec.keypoint_names
        self.object_id = spec.object_id
        self.camera_names = spec.rig.names
        self._family = surroundings.family_index(spec.family)
        self._things = (*spec.objects, *_distractors(spec))
        self._slack = _slack(spec.objects)
        rng = np.random.default_rng([self._family, _POOL])
        tables = [surroundings.table_texture(rng, spec.family) for _ in range(spec.table_pool)]
        tiles = rng.uniform(0.25, 0.7, spec.table_pool)
        self._scene = ObjectModel(self._things, tables, tiles, spec.rig, spec.antialiasing)
        self._fixed = spec.rig.draw(np.random.default_rng([spec.rig_seed, _RIG]))
        renderer = mujoco.Renderer(self._scene.model, spec.rig.height, spec.rig.width)
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._renderer = renderer

    def sample(self, seed: int) -> Sample:
        """The scene of a seed: its images, true keypoints, cameras, and clicks for it."""
        cameras = self.cameras(seed)
        targets, keypoints = self.arrange(seed)
        images = {camera.name: self.image(camera) for camera in cameras}
        slack = np.concatenate([self._slack[i] for i in targets])

        def visible(camera: Camera, k: int) -> bool:
            point = keypoints[k]
            return in_image(camera, point) and not self._scene.hidden(
                camera.centre, point, slack[k]
            )

        clicks = draw_clicks(self.names, keypoints, cameras, visible, self._stream(seed, _CLICKS))
        shown = None if len(targets) > 1 else self._things[targets[0]].name
        return Sample(images, keypoints, clicks, cameras, shown)

    def cameras(self, seed: int) -> tuple[Camera, ...]:
        """The cameras of a seed's sample."""
        if self.spec.fixed_cameras:
            return self._fixed
        return self.spec.rig.draw(self._stream(seed, _RIG))

    def arrange(self, seed: int) -> tuple[list[int], Array]:
        """Puts the scene of a seed up.

        Returns:
            The indices of the objects shown, and their true keypoints (K, 3), base frame, m.
        """
        rng, spec = self._stream(seed, _LAYOUT), self.spec
        count = len(spec.objects)
        targets = list(range(count)) if spec.together else [int(rng.integers(count))]
        placed: dict[int, Placed] = {}
        for i in targets:
            tilt = rng.uniform(-spec.tilt_rad, spec.tilt_rad, 2)
            self._place(rng, i, spec.reach_m, tuple(tilt), placed, must=True)
        others = rng.permutation(np.arange(count, len(self._things)))
        for i in others[: spec.distractors]:
            tilt = (0.0, float(rng.choice([0.0, np.pi / 2])))  # upright, or lying on its side
            self._place(rng, int(i), spec.clutter_m, tilt, placed)
        self._decorate(seed, placed)
        self._scene.update()
        return targets, np.concatenate([self._keypoints(i, placed[i]) for i in targets])

    def image(self, camera: Camera) -> Image:
        """What a camera sees of the scene that was put up last: uint8 BGR (H, W, 3)."""
        return cv2.cvtColor(self._render(camera), cv2.COLOR_RGB2BGR)

    def close(self) -> None:
        """Frees the GL context."""
        self._renderer.close()

    def _stream(self, seed: int, stream: int) -> np.random.Generator:
        return np.random.default_rng([seed, self._family, stream])

    def _place(
        self, rng: np.random.Generator, i: int, reach_m: tuple[float, float],
        tilt: tuple[float, float], placed: dict[int, Placed], must: bool = False,
    ) -> None:  # fmt: skip
        vertices, taken = self._things[i].vertices, list(placed.values())
        for widen in (1.0, 1.5, 2.5, 4.0) if must else (1.0,):
            reach = (reach_m[0] * widen, reach_m[1] * widen)
            found = layout.find_place(rng, vertices, reach, tilt, taken, GAP_M)
            if found is not None:
                placed[i] = found
                return
        if must:
            raise ConfigurationError(
                f"object {self._things[i].name}: no room within {reach_m} m; raise reach_m"
            )

    def _decorate(self, seed: int, placed: Mapping[int, Placed]) -> None:
        rng = self._stream(seed, _LOOK)
        self._scene.set_table(
            int(rng.integers(self.spec.table_pool)),
            rng.uniform(-np.pi, np.pi),
            rng.uniform(-1, 1, 2),
            rng.uniform(0.7, 1.0) * rng.uniform(0.9, 1.0, 3),
        )
        self._scene.set_objects(dict(placed), {i: rng.uniform(0.85, 1.0) for i in placed})
        surroundings.light_scene(self._scene.model, rng, self.spec.family)

    def _keypoints(self, i: int, pose: Placed) -> Array:
        points = np.array(list(self._things[i].keypoints.values()))
        world: Array = points @ pose.rotation.T + pose.position
        return world

    def _render(self, camera: Camera) -> Image:
        data, index = self._scene.data, self.camera_names.index(camera.name)
        data.cam_xpos[index] = camera.centre
        # Optical frames look along +z with y down, MuJoCo's along -z with y up.
        data.cam_xmat[index] = (camera.base_from_camera.rotation * [1.0, -1.0, -1.0]).ravel()
        self._renderer.update_scene(data, index)
        return self._renderer.render()


def _distractors(spec: ObjectSceneSpec) -> tuple[MeshObject, ...]:
    if not spec.distractors or spec.distractor_meshes:
        return spec.distractor_meshes if spec.distractors else ()
    family = spec.distractor_family or spec.family
    pool = range(max(spec.distractor_pool, spec.distractors))
    return tuple(generator.make_distractor(i, family) for i in pool)


def _slack(objects: tuple[MeshObject, ...]) -> list[Array]:
    """How near to each keypoint of each object a surface does not hide it, m.

    A keypoint inside an object is hidden by what lies before the object, not by its own skin.
    """
    found = []
    for thing in objects:
        mesh = trimesh.Trimesh(thing.vertices, thing.faces, process=False)
        points = np.array(list(thing.keypoints.values()))
        distance = trimesh.proximity.closest_point_naive(mesh, points)[1]
        found.append(HIDDEN_SLACK_M + 1.5 * distance)
    return found
