"""A MuJoCo model of meshes that stand on a table: compiled once, then only moved and lit anew.

Every object, distractor and table that a scene may show is in the model with a texture of its own.
What a scene does not show lies in a group that is not drawn, so nothing is ever uploaded again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from s3k_ros.geometry.camera import Camera
from s3k_ros.simulation.layout import Placed
from s3k_ros.simulation.mesh import MeshObject
from s3k_ros.simulation.random_rig import RandomRig
from s3k_ros.simulation.tiles import picture_size

Image = NDArray[np.uint8]
Array = NDArray[np.float64]

SHOWN, HIDDEN = 0, 5
"""Geom groups; MuJoCo draws the first and not the second."""
TABLE_HALF_M = 4.0


class ObjectModel:
    """The compiled model with the handles that its user needs.

    Args:
        objects: O meshes, each a body that can be placed.
        tables: T pictures of table tops.
        tile_m: (T,) size of one repeat of each picture.
        rig: image size, focal length and names of the cameras.
        samples: of multisample antialiasing; 0: none.
    """

    def __init__(
        self,
        objects: Sequence[MeshObject],
        tables: Sequence[Image],
        tile_m: Sequence[float],
        rig: RandomRig,
        samples: int,
    ) -> None:
        spec = _settings(rig, samples)
        pictures = {}
        for i, (picture, tile) in enumerate(zip(tables, tile_m, strict=True)):
            pictures[f"table_{i}"] = picture
            _add_material(spec, f"table_{i}", picture, 1.0 / tile)
        for i, thing in enumerate(objects):
            pictures[f"object_{i}"] = thing.texture
            _add_material(spec, f"object_{i}", thing.texture)
            _add_object(spec, f"object_{i}", thing)
        spec.worldbody.add_geom(
            name="table", type=mujoco.mjtGeom.mjGEOM_PLANE, material="table_0",
            size=[TABLE_HALF_M, TABLE_HALF_M, 0.1], contype=0, conaffinity=0,
        )  # fmt: skip
        spec.worldbody.add_light(
            name="light", pos=[0, 0, 2], dir=[0, 0, -1], castshadow=False,
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, specular=[0.1, 0.1, 0.1],
        )  # fmt: skip
        for name in rig.names:
            fovy = math.degrees(2 * math.atan(rig.height / 2 / rig.focal_px))
            spec.worldbody.add_camera(name=name, fovy=fovy)
        self.model = spec.compile()
        for name, picture in pictures.items():
            start = self.model.tex_adr[self.model.texture(name).id]
            self.model.tex_data[start : start + picture.size] = picture.ravel()
        self.data = mujoco.MjData(self.model)
        self._table = self.model.geom("table").id
        self._tables = [self.model.material(f"table_{i}").id for i in range(len(tables))]
        bodies = [self.model.body(f"object_{i}") for i in range(len(objects))]
        self._mocap = np.array([int(body.mocapid[0]) for body in bodies])
        self._geoms = np.array([int(body.geomadr[0]) for body in bodies])
        self._materials = [self.model.material(f"object_{i}").id for i in range(len(objects))]

    def set_table(self, table: int, yaw_rad: float, offset_m: Array, tint: Array) -> None:
        """Chooses a table's top, turned, shifted (2,) and tinted (3,), RGB in 0..1."""
        self.model.geom_matid[self._table] = self._tables[table]
        self.model.mat_rgba[self._tables[table], :3] = tint
        self.model.geom_pos[self._table, :2] = offset_m
        self.model.geom_quat[self._table] = [math.cos(yaw_rad / 2), 0, 0, math.sin(yaw_rad / 2)]

    def set_objects(self, placed: Mapping[int, Placed], brightness: Mapping[int, float]) -> None:
        """Shows objects at their poses, with a brightness each (0..1), and hides all others."""
        self.model.geom_group[self._geoms] = HIDDEN
        for i, pose in placed.items():
            self.model.geom_group[self._geoms[i]] = SHOWN
            self.model.mat_rgba[self._materials[i], :3] = brightness[i]
            self.data.mocap_pos[self._mocap[i]] = pose.position
            mujoco.mju_mat2Quat(self.data.mocap_quat[self._mocap[i]], pose.rotation.ravel())

    def update(self) -> None:
        """Brings the state up to date after the scene was changed; cameras are set afterwards."""
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)

    def set_cameras(self, cameras: Sequence[Camera]) -> None:
        """Puts the cameras, in the rig's order, at their poses."""
        for i, camera in enumerate(cameras):
            pose = camera.base_from_camera
            self.data.cam_xpos[i] = pose.translation
            # Optical frames look along +z with y down, MuJoCo's along -z with y up.
            self.data.cam_xmat[i] = (pose.rotation * [1.0, -1.0, -1.0]).ravel()

    def hidden(self, eye: Array, point: Array, slack_m: float) -> bool:
        """Whether something stands between an eye and a point, both (3,), m.

        Surfaces within ``slack_m`` of the point do not hide it.
        """
        ray = point - eye
        length = float(np.linalg.norm(ray))
        groups = np.array([1, 0, 0, 0, 0, 0], dtype=np.uint8)
        hit = np.zeros(1, dtype=np.int32)
        share = mujoco.mj_ray(self.model, self.data, eye, ray, groups, 1, -1, hit)
        return share >= 0 and share * length < length - slack_m


def _settings(rig: RandomRig, samples: int) -> mujoco.MjSpec:
    spec = mujoco.MjSpec()
    spec.stat.extent = 1.0
    spec.visual.map.znear, spec.visual.map.zfar = 0.05, 10.0
    spec.visual.quality.offsamples = samples
    size = picture_size(rig.count, rig.width, rig.height)
    spec.visual.global_.offwidth, spec.visual.global_.offheight = size
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    return spec


def _add_material(spec: mujoco.MjSpec, name: str, picture: Image, per_m: float = 0.0) -> None:
    """A material with a picture; repeated so often a metre, or laid out by the mesh."""
    height, width = picture.shape[:2]
    spec.add_texture(
        name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=width, height=height,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT, nchannel=3,
    )  # fmt: skip
    material = spec.add_material(name=name, specular=0.1, shininess=0.1)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    if per_m:
        material.texuniform = True
        material.texrepeat = [per_m, per_m]


def _add_object(spec: mujoco.MjSpec, name: str, thing: MeshObject) -> None:
    # MuJoCo's v counts from the texture's first row, ours from its last.
    texcoord = np.stack([thing.uv[:, 0], 1.0 - thing.uv[:, 1]], axis=1)
    mesh = spec.add_mesh(name=name)
    mesh.uservert = thing.vertices.ravel()
    mesh.userface = thing.faces.ravel()
    mesh.usertexcoord = texcoord.ravel()
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL  # open surfaces have no volume
    body = spec.worldbody.add_body(name=name, mocap=True)
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, material=name, group=HIDDEN,
        contype=0, conaffinity=0,
    )  # fmt: skip
