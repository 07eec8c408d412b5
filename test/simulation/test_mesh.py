"""Meshes with a texture and keypoints: from files, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from s3k_ros.errors import ConfigurationError
from s3k_ros.simulation.mesh import MeshObject

SIZE = (0.10, 0.02, 0.06)


def _textured() -> trimesh.Trimesh:
    rng = np.random.default_rng(0)
    box = trimesh.creation.box(SIZE)
    picture = Image.fromarray(rng.integers(0, 255, (16, 32, 3), dtype=np.uint8))
    box.visual = trimesh.visual.TextureVisuals(uv=rng.random((8, 2)), image=picture)
    box.vertices += [1.0, 2.0, 3.0]
    return box


def _keypoints(folder: Path, text: str) -> Path:
    path = folder / "keypoints.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("suffix", ["obj", "glb"])
def test_file_keeps_its_picture_and_the_place_of_it(tmp_path: Path, suffix: str) -> None:
    box = _textured()
    box.export(tmp_path / f"my Box.{suffix}")
    found = MeshObject.from_files(tmp_path / f"my Box.{suffix}")
    assert found.name == "my_box"
    np.testing.assert_allclose(found.size, SIZE, atol=1e-6)
    np.testing.assert_allclose(
        found.vertices[found.faces], (box.vertices - [1, 2, 3])[box.faces], atol=1e-6
    )
    np.testing.assert_allclose(found.uv[found.faces], box.visual.uv[box.faces], atol=1e-5)
    np.testing.assert_array_equal(found.texture, np.asarray(box.visual.material.image))


def test_keypoints_move_with_the_mesh_into_the_middle(tmp_path: Path) -> None:
    _textured().export(tmp_path / "box.obj")
    path = _keypoints(tmp_path, "corner: [1.05, 2.01, 3.03]\ncentre: [1, 2, 3]\n")
    found = MeshObject.from_files(tmp_path / "box.obj", path)
    assert list(found.keypoints) == ["corner", "centre"]
    np.testing.assert_allclose(found.keypoints["corner"], [0.05, 0.01, 0.03], atol=1e-9)
    np.testing.assert_allclose(found.keypoints["centre"], 0.0, atol=1e-9)


def test_scale_is_that_of_mesh_and_keypoints(tmp_path: Path) -> None:
    box = trimesh.creation.box(1000 * np.array(SIZE))
    box.export(tmp_path / "box.ply")
    path = _keypoints(tmp_path, "corner: [50, 10, 30]\n")
    found = MeshObject.from_files(tmp_path / "box.ply", path, scale=0.001)
    np.testing.assert_allclose(found.size, SIZE)
    np.testing.assert_allclose(found.keypoints["corner"], [0.05, 0.01, 0.03])


def test_faces_of_a_coloured_mesh_keep_their_colours(tmp_path: Path) -> None:
    box = trimesh.creation.box(SIZE)
    box.visual.face_colors = np.arange(12)[:, None] * [20, 5, 1, 0] + [10, 20, 30, 255]
    box.export(tmp_path / "box.glb")
    colours = np.asarray(box.visual.face_colors)[:, :3]
    found = MeshObject.from_files(tmp_path / "box.glb")
    height, width = found.texture.shape[:2]
    u, v = (found.uv[found.faces].mean(axis=1) * [width, -height] + [0, height]).T
    shown = found.texture[v.astype(int), u.astype(int)]
    # The file keeps colours a vertex, so a face's is the mean of what it had and its neighbours'.
    assert len(np.unique(shown, axis=0)) > 3
    assert np.abs(shown.mean(axis=0) - colours.mean(axis=0)).max() < 3


def test_object_travels_to_other_processes() -> None:
    box = MeshObject(
        "box", np.eye(3), np.array([[0, 1, 2]]), np.zeros((3, 2)), np.zeros((4, 4, 3), np.uint8),
        {"corner": np.ones(3)},
    )  # fmt: skip
    found = pickle.loads(pickle.dumps(box))
    np.testing.assert_array_equal(found.vertices, box.vertices)
    np.testing.assert_array_equal(found.keypoints["corner"], box.keypoints["corner"])
    assert not found.vertices.flags.writeable


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("corner: [0, 0]\n", "corner has shape"),
        ("corner: [0, 0, .nan]\n", "corner must be finite"),
        ("corner: [a, b, c]\n", "corner must be an array of numbers"),
        ("../corner: [0, 0, 0]\n", "'../corner' is not a keypoint's name"),
        ("[]\n", "must hold lines"),
        ("a: [", "cannot be read"),
    ],
)
def test_wrong_keypoints_are_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    _textured().export(tmp_path / "box.obj")
    with pytest.raises(ConfigurationError, match=named):
        MeshObject.from_files(tmp_path / "box.obj", _keypoints(tmp_path, text))


def test_mesh_in_millimetres_is_refused_with_a_hint(tmp_path: Path) -> None:
    trimesh.creation.box(1000 * np.array(SIZE)).export(tmp_path / "box.ply")
    with pytest.raises(ConfigurationError, match="is the mesh in metres"):
        MeshObject.from_files(tmp_path / "box.ply")


@pytest.mark.parametrize("text", [None, "", "not a mesh", "v 0 0 0\nv 1 0 0\n"])
def test_file_that_is_no_mesh_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "thing.obj"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"thing\.obj"):
        MeshObject.from_files(path)
