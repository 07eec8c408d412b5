"""Scenes of any textured meshes on a table, rendered from random directions.

Nothing falls or rolls: poses are drawn, not simulated. The base frame has its origin on the table
in the middle of the workspace, z up.
"""

from __future__ import annotations

import numpy as np
import trimesh
from numpy.typing import NDArray

from s3k_ros.geometry.camera import Camera
from s3k_ros.simulation.generators import distractors as generator
from s3k_ros.simulation.mesh import MeshObject
from s3k_ros.simulation.object_model import ObjectModel
from s3k_ros.simulation.object_plan import ScenePlan, ScenePlanner
from s3k_ros.simulation.object_spec import ObjectSceneSpec
from s3k_ros.simulation.random_rig import RandomRig
from s3k_ros.simulation.sample import Clicks, Sample, draw_clicks, in_image
from s3k_ros.simulation.tiles import TiledRenderer

__all__ = ["ObjectSceneRenderer", "ObjectSceneSpec", "RandomRig"]

Array = NDArray[np.float64]

# A surface this near to a keypoint belongs to it: it does not hide it from a person.
HIDDEN_SLACK_M = 0.004


class ObjectSceneRenderer:
    """Renders the scenes of a spec. To be made and used in one thread, which owns the GL context.

    Args:
        spec: what the scenes show.

    Attributes:
        planner: draws the scenes.
        scene: the model that shows them.
    """

    def __init__(self, spec: ObjectSceneSpec) -> None:
        self.spec = spec
        self.names = spec.keypoint_names
        self.object_id = spec.object_id
        self.camera_names = spec.rig.names
        things = (*spec.objects, *_distractors(spec))
        self.planner = ScenePlanner(spec, [thing.vertices for thing in things])
        self._slack = _slack(spec.objects)
        tables, tiles = self.planner.tables()
        self.scene = ObjectModel(things, tables, tiles, spec.rig, spec.antialiasing)
        rig = spec.rig
        self._tiles = TiledRenderer(self.scene.model, rig.count, rig.width, rig.height)

    def sample(self, seed: int) -> Sample:
        """The sample of a seed, with clicks. Same seed, same sample."""
        return self.shoot(self.planner.plan(seed))

    def shoot(self, plan: ScenePlan, clicks: bool = True) -> Sample:
        """The sample of a planned scene: images, true keypoints, cameras, and clicks if wanted."""
        self.show(plan)
        images = dict(zip(self.camera_names, self._tiles.render(self.scene.data), strict=True))
        drawn = self._clicks(plan) if clicks else {}
        shown = None if len(plan.targets) > 1 else self.spec.objects[plan.targets[0]].name
        return Sample(images, plan.keypoints, drawn, plan.cameras, shown)

    def show(self, plan: ScenePlan) -> None:
        """Puts a planned scene and its cameras up, undrawn."""
        table = plan.table
        self.scene.set_table(table.index, table.yaw_rad, table.offset_m, table.tint)
        self.scene.set_objects(plan.placed, plan.brightness)
        plan.light.shine(self.scene.model)
        self.scene.update()
        self.scene.set_cameras(plan.cameras)

    def close(self) -> None:
        """Frees the GL context."""
        self._tiles.close()

    def _clicks(self, plan: ScenePlan) -> Clicks:
        slack = np.concatenate([self._slack[i] for i in plan.targets])

        def visible(camera: Camera, k: int) -> bool:
            point = plan.keypoints[k]
            return in_image(camera, point) and not self.scene.hidden(camera.centre, point, slack[k])

        stream = self.planner.click_stream(plan.seed)
        return draw_clicks(self.names, plan.keypoints, plan.cameras, visible, stream)


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
