"""Textured meshes: what the renderer shows, from a generator or from a file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import trimesh
import yaml

from s3k_ros.errors import ConfigurationError

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]

# Objects on a table; a mesh in millimetres falls out of this range and is told so.
SIZE_M = (0.005, 2.0)
MAX_FACES = 200_000
MAX_TEXTURE_PX = 8192
_NAME = re.compile(r"[a-z0-9][a-z0-9_]*\Z")
_KEYPOINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")
_BLOCK_PX = 2  # texels across that a face of one colour gets, so that filtering stays inside


@dataclasses.dataclass(frozen=True, eq=False)
class MeshObject:
    """A triangle mesh with one texture, and keypoints fixed to it.

    Attributes:
        name: small letters, digits and ``_``.
        vertices: (V, 3) float64, m, object frame: origin in the middle of the bounding box, z up in
            the pose in which the object stands naturally.
        faces: (F, 3) int32, anticlockwise seen from outside.
        uv: (V, 2) float32 texture coordinates, v up: (0, 0) is the texture's lower left corner.
            Values beyond 0..1 repeat the texture.
        texture: (H, W, 3) uint8 RGB, first row on top.
        keypoints: position (3,) by name, m, object frame; empty for a distractor. They may lie
            inside the object or beside it.

    Raises:
        ConfigurationError: a wrong shape, type or range; the message names the object and field.
    """

    name: str
    vertices: Array
    faces: npt.NDArray[np.int32]
    uv: npt.NDArray[np.float32]
    texture: Image
    keypoints: Mapping[str, Array] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ConfigurationError(f"name = {self.name!r} must be small letters, digits and '_'")
        self._keep("vertices", self.vertices, np.float64, (None, 3))
        self._keep("faces", self.faces, np.int32, (None, 3))
        self._keep("uv", self.uv, np.float32, (len(self.vertices), 2))
        self._keep("texture", self.texture, np.uint8, (None, None, 3))
        points = {}
        for name, point in self.keypoints.items():
            if not _KEYPOINT.match(name):
                raise ConfigurationError(f"{self.name}: {name!r} is not a keypoint's name")
            points[name] = _frozen(f"{self.name}: keypoint {name}", point, np.float64, (3,))
        object.__setattr__(self, "keypoints", MappingProxyType(points))
        self._check()

    def _keep(self, field: str, value: Any, dtype: Any, shape: tuple[int | None, ...]) -> None:
        array = _frozen(f"{self.name}: {field}", value, dtype, shape)
        object.__setattr__(self, field, array)

    def _check(self) -> None:
        if not 1 <= len(self.faces) <= MAX_FACES:
            raise ConfigurationError(
                f"{self.name}: {len(self.faces)} faces, allowed 1..{MAX_FACES}"
            )
        if self.faces.min() < 0 or self.faces.max() >= len(self.vertices):
            raise ConfigurationError(
                f"{self.name}: faces name vertices beyond {len(self.vertices)}"
            )
        if max(self.texture.shape) > MAX_TEXTURE_PX:
            raise ConfigurationError(
                f"{self.name}: texture {self.texture.shape}, allowed up to {MAX_TEXTURE_PX} px"
            )
        if not SIZE_M[0] <= self.size.max() <= SIZE_M[1]:
            raise ConfigurationError(
                f"{self.name}: size {np.round(self.size, 4).tolist()} m must be within {SIZE_M} m;"
                " is the mesh in metres?"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """For work in other processes: a read-only view of a dict does not travel by itself."""
        values = [getattr(self, field.name) for field in dataclasses.fields(self)[:-1]]
        return type(self), (*values, dict(self.keypoints))

    @property
    def size(self) -> Array:
        """(3,) extents of the bounding box, m."""
        extents: Array = np.ptp(self.vertices, axis=0)
        return extents

    @classmethod
    def from_files(
        cls, mesh_path: Path | str, keypoints_path: Path | str | None = None, scale: float = 1.0
    ) -> MeshObject:
        """Reads a mesh with its texture: OBJ with MTL and picture, PLY or GLB.

        A mesh without a picture takes its vertices' or its material's colours. Mesh and keypoints
        are moved together, so that the middle of the bounding box becomes the origin; nothing is
        turned: z must be up in the file.

        Args:
            mesh_path: the mesh, z up.
            keypoints_path: YAML, ``name: [x, y, z]`` in the mesh's frame and unit; None: no
                keypoints.
            scale: metres per unit of both files.

        Raises:
            ConfigurationError: a file that is missing or not as described.
        """
        path = Path(mesh_path)
        mesh = _read_mesh(path)
        vertices, faces, uv, texture = _surface(mesh)
        points = {} if keypoints_path is None else read_keypoints(Path(keypoints_path))
        middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        name = re.sub(r"[^a-z0-9_]+", "_", path.stem.lower()).strip("_") or "object"
        keypoints = {key: (point - middle) * scale for key, point in points.items()}
        return cls(name, (vertices - middle) * scale, faces, uv, texture, keypoints)


def read_keypoints(path: Path) -> dict[str, Array]:
    """Keypoints (3,) by name from a YAML file of lines ``name: [x, y, z]``.

    Raises:
        ConfigurationError: a file that is missing or not as described; the message names the entry.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    if not isinstance(values, dict) or not values:
        raise ConfigurationError(f"{path}: must hold lines 'name: [x, y, z]'")
    return {
        str(name): _frozen(f"{path}: {name}", value, np.float64, (3,))
        for name, value in values.items()
    }


def _frozen(what: str, value: Any, dtype: Any, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    try:
        array = np.array(value, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{what} must be an array of numbers: {error}") from error
    fits = array.ndim == len(shape) and all(
        want in (None, have) for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits or array.size == 0:
        wanted = tuple("any" if n is None else n for n in shape)
        raise ConfigurationError(f"{what} has shape {array.shape}, expected {wanted}")
    if not np.isfinite(array).all():
        raise ConfigurationError(f"{what} must be finite")
    array.setflags(write=False)
    return array


def _read_mesh(path: Path) -> trimesh.Trimesh:
    if not path.is_file():
        raise ConfigurationError(f"{path}: no such mesh")
    try:
        mesh = trimesh.load_mesh(path, process=False)
        mesh = mesh.to_mesh() if isinstance(mesh, trimesh.Scene) else mesh
    except Exception as error:  # trimesh's readers raise whatever their formats bring
        raise ConfigurationError(f"{path}: cannot be read as a mesh: {error}") from error
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        raise ConfigurationError(f"{path}: holds no triangles")
    return mesh


def _surface(mesh: trimesh.Trimesh) -> tuple[Array, npt.NDArray[np.int64], Array, Image]:
    """Vertices, faces, uv and texture of a mesh, whatever way it is coloured."""
    uv = getattr(mesh.visual, "uv", None)
    picture = _picture(getattr(mesh.visual, "material", None))
    if uv is not None and picture is not None:
        return mesh.vertices, mesh.faces, uv, picture
    if hasattr(mesh.visual, "to_color"):
        colours = np.tile(mesh.visual.to_color().face_colors[..., :3], 1)
        colours = np.broadcast_to(colours, (len(mesh.faces), 3))
    else:
        colours = mesh.visual.face_colors[:, :3]
    return _coloured_faces(mesh.vertices, mesh.faces, np.asarray(colours, np.uint8))


def _picture(material: Any) -> Image | None:
    for field in ("baseColorTexture", "image"):
        picture = getattr(material, field, None)
        if picture is not None:
            return np.asarray(picture.convert("RGB"), np.uint8)
    return None


def _coloured_faces(
    vertices: Array, faces: npt.NDArray[np.int64], colours: Image
) -> tuple[Array, npt.NDArray[np.int64], Array, Image]:
    """A texture with a block of texels a colour, and faces that share no vertex."""
    palette, which = np.unique(colours, axis=0, return_inverse=True)
    across = int(np.ceil(np.sqrt(len(palette))))
    blocks = np.zeros((across * across, 3), np.uint8)
    blocks[: len(palette)] = palette
    picture = blocks.reshape(across, across, 3)
    texture = picture.repeat(_BLOCK_PX, axis=0).repeat(_BLOCK_PX, axis=1)
    row, column = np.divmod(which.ravel(), across)
    uv = np.stack([(column + 0.5) / across, 1.0 - (row + 0.5) / across], axis=-1)
    corners = np.arange(3 * len(faces)).reshape(-1, 3)
    return vertices[faces.ravel()], corners, uv.repeat(3, axis=0), texture
