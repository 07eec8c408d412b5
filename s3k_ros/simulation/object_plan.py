"""What the scene of a seed looks like, as plain values: drawn apart from the model and renderer.

Plans can be drawn ahead in another thread while an earlier scene is being rendered.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.camera import Camera
from s3k_ros.simulation import layout, surroundings
from s3k_ros.simulation.layout import Placed
from s3k_ros.simulation.object_spec import ObjectSceneSpec
from s3k_ros.simulation.surroundings import Light

Array = NDArray[np.float64]

# The random streams of a scene: what changes in one leaves the others alone.
_LAYOUT, _LOOK, _RIG, _CLICKS, _POOL = range(5)
# Where an object must be shown and has no room, its reach grows by these factors.
_WIDEN = (1.0, 1.5, 2.5, 4.0)


@dataclasses.dataclass(frozen=True)
class TableLook:
    """One of the model's tables: turned, shifted (2,) in m and tinted (3,), RGB in 0..1."""

    index: int
    yaw_rad: float
    offset_m: Array
    tint: Array


@dataclasses.dataclass(frozen=True)
class ScenePlan:
    """The scene of a seed.

    Attributes:
        seed: it was drawn from.
        cameras: of its sample.
        targets: indices of the objects that carry the keypoints.
        placed: pose by index of everything shown.
        brightness: 0..1 by index of everything shown.
        keypoints: (K, 3) true positions, base frame, m.
        table: what it stands on.
        light: that falls on it.
    """

    seed: int
    cameras: tuple[Camera, ...]
    targets: tuple[int, ...]
    placed: Mapping[int, Placed]
    brightness: Mapping[int, float]
    keypoints: Array
    table: TableLook
    light: Light


class ScenePlanner:
    """Draws the scenes of a spec.

    Args:
        spec: what the scenes show.
        outlines: (N, 3) vertices of each mesh, m: the spec's objects, then the distractors.
    """

    def __init__(self, spec: ObjectSceneSpec, outlines: list[Array]) -> None:
        self._spec = spec
        self._outlines = outlines
        self._family = surroundings.family_index(spec.family)
        self._fixed = spec.rig.draw(np.random.default_rng([spec.rig_seed, _RIG]))
        self._keypoints = [np.array(list(thing.keypoints.values())) for thing in spec.objects]

    def plan(self, seed: int) -> ScenePlan:
        """The scene of a seed: same seed, same scene.

        Raises:
            ConfigurationError: there is no room for the objects that must be shown.
        """
        targets, placed = self._arrange(self._stream(seed, _LAYOUT))
        rng = self._stream(seed, _LOOK)
        table = TableLook(
            int(rng.integers(self._spec.table_pool)),
            rng.uniform(-np.pi, np.pi),
            rng.uniform(-1, 1, 2),
            rng.uniform(0.7, 1.0) * rng.uniform(0.9, 1.0, 3),
        )
        brightness = {i: rng.uniform(0.85, 1.0) for i in placed}
        light = surroundings.draw_light(rng, self._spec.family)
        points = [self._keypoints[i] @ placed[i].rotation.T + placed[i].position for i in targets]
        return ScenePlan(
            seed,
            self._fixed if self._spec.fixed_cameras else self._rig(seed),
            tuple(targets),
            placed,
            brightness,
            np.concatenate(points),
            table,
            light,
        )

    def click_stream(self, seed: int) -> np.random.Generator:
        """The random stream of a seed's clicks."""
        return self._stream(seed, _CLICKS)

    def tables(self) -> tuple[list[NDArray[np.uint8]], Array]:
        """Pictures of the tables to choose from, and the size of one repeat of each, m."""
        rng, spec = np.random.default_rng([self._family, _POOL]), self._spec
        pictures = [surroundings.table_texture(rng, spec.family) for _ in range(spec.table_pool)]
        return pictures, rng.uniform(0.25, 0.7, spec.table_pool)

    def _rig(self, seed: int) -> tuple[Camera, ...]:
        return self._spec.rig.draw(self._stream(seed, _RIG))

    def _arrange(self, rng: np.random.Generator) -> tuple[list[int], dict[int, Placed]]:
        spec = self._spec
        count = len(spec.objects)
        targets = list(range(count)) if spec.together else [int(rng.integers(count))]
        placed: dict[int, Placed] = {}
        for i in targets:
            tilt = rng.uniform(-spec.tilt_rad, spec.tilt_rad, 2)
            self._place(rng, i, spec.reach_m, (tilt[0], tilt[1]), placed, must=True)
        others = rng.permutation(np.arange(count, len(self._outlines)))
        for i in others[: spec.distractors]:
            tilt = rng.choice([0.0, np.pi / 2])  # upright, or lying on its side
            self._place(rng, int(i), spec.clutter_m, (0.0, float(tilt)), placed)
        return targets, placed

    def _place(
        self, rng: np.random.Generator, i: int, reach_m: tuple[float, float],
        tilt: tuple[float, float], placed: dict[int, Placed], must: bool = False,
    ) -> None:  # fmt: skip
        taken = list(placed.values())
        for factor in _WIDEN if must else _WIDEN[:1]:
            reach = (reach_m[0] * factor, reach_m[1] * factor)
            gap = self._spec.gap_m
            found = layout.find_place(rng, self._outlines[i], reach, tilt, taken, gap)
            if found is not None:
                placed[i] = found
                return
        if must:
            raise ConfigurationError(
                f"object {self._spec.objects[i].name}: no room within reach_m = {reach_m};"
                " raise it or show fewer objects"
            )

    def _stream(self, seed: int, stream: int) -> np.random.Generator:
        return np.random.default_rng([seed, self._family, stream])
