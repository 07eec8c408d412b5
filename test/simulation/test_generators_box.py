"""The game box: its size, its corners, and that nothing about it is symmetrical."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from s3k_ros import cli
from s3k_ros.errors import ConfigurationError
from s3k_ros.simulation import dataset_options
from s3k_ros.simulation.generators import box, files, parts, textures
from s3k_ros.simulation.mesh import MeshObject


@pytest.fixture(scope="module")
def made() -> MeshObject:
    return box.make_box()


def _faces() -> dict[str, np.ndarray]:
    """The image on each face of the box, cut from its texture."""
    made = box.make_box()
    height, width = made.texture.shape[:2]
    pixels = np.stack([made.uv[:, 0] * width, (1 - made.uv[:, 1]) * height], axis=1) - 0.5
    images = {}
    for name, (right, up) in parts.CUBOID_FACES.items():
        outward = np.cross(right, up)
        corners = made.vertices[made.faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        mine = np.unique(made.faces[normals @ outward > 0.99 * np.linalg.norm(normals, axis=1)])
        low, high = pixels[mine].min(0).round().astype(int), pixels[mine].max(0).round().astype(int)
        images[name] = made.texture[low[1] : high[1] + 1, low[0] : high[0] + 1]
    return images


def test_the_box_has_the_papers_size_about_its_middle(made: MeshObject) -> None:
    np.testing.assert_allclose(np.ptp(made.vertices, axis=0), [0.199, 0.017, 0.105])
    np.testing.assert_allclose(made.vertices.min(axis=0), -made.vertices.max(axis=0))


def test_every_call_gives_the_same_box(made: MeshObject) -> None:
    again = box.make_box()
    for field in ("vertices", "faces", "uv", "texture"):
        np.testing.assert_array_equal(getattr(made, field), getattr(again, field))


def test_keypoints_are_three_corners_of_the_cover(made: MeshObject) -> None:
    assert tuple(made.keypoints) == ("corner_a", "corner_b", "corner_c")
    for point in made.keypoints.values():
        assert np.linalg.norm(made.vertices - point, axis=1).min() < 1e-9
        np.testing.assert_allclose(np.abs(point), np.array(box.SIZE_M) / 2)
        assert point[1] < 0


def test_faces_point_outward_and_close_the_surface(made: MeshObject) -> None:
    corners = made.vertices[made.faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    volume = np.einsum("fi,fi->f", corners[:, 0], cross).sum() / 6
    assert volume == pytest.approx(np.prod(box.SIZE_M))
    assert np.abs(cross.sum(axis=0)).max() < 1e-12


def test_texture_coordinates_stay_inside_the_texture(made: MeshObject) -> None:
    assert made.uv.min() > 0.0 and made.uv.max() < 1.0
    assert made.texture.dtype == np.uint8 and np.ptp(made.texture) > 200


def test_no_face_looks_like_another_or_like_its_own_mirror_image() -> None:
    def small(image: np.ndarray) -> np.ndarray:
        rows = (np.arange(12) * image.shape[0] / 12).astype(int)
        columns = (np.arange(12) * image.shape[1] / 12).astype(int)
        return image[np.ix_(rows, columns)].astype(float)

    looks = {name: small(image) for name, image in _faces().items()}
    for look in looks.values():
        for other in (look[:, ::-1], look[::-1], look[::-1, ::-1]):
            assert np.abs(look - other).mean() > 10
    for a, b in itertools.combinations(looks.values(), 2):
        for other in (b, b[:, ::-1], b[::-1], b[::-1, ::-1]):
            assert np.abs(a - other).mean() > 10


def test_corners_of_the_cover_differ_in_colour() -> None:
    cover = _faces()["front"].astype(float)
    patches = [
        cover[y, x].mean((0, 1))
        for y in (np.s_[:40], np.s_[-60:])
        for x in (np.s_[:40], np.s_[-60:])
    ]
    for a, b in itertools.combinations(patches, 2):
        assert np.linalg.norm(a - b) > 40


def test_the_cover_reads_from_left_to_right() -> None:
    # The sun's disc is yellow and in the left third; the cliff at the right is brown.
    cover = _faces()["front"].astype(float)
    height, width = cover.shape[:2]
    sun = cover[int(0.47 * height), int(0.16 * width)]
    cliff = cover[int(0.8 * height), int(0.85 * width)]
    assert sun[0] > 200 and sun[1] > 150 and cliff.max() < 140


def test_files_of_an_object_are_read_back(made: MeshObject, tmp_path: Path) -> None:
    mesh_path, keypoints_path = files.write_files(made, tmp_path / "new")
    assert keypoints_path is not None
    again = MeshObject.from_files(mesh_path, keypoints_path)
    assert again.name == made.name
    np.testing.assert_array_equal(again.texture, made.texture)
    corners, uv = again.vertices[again.faces], again.uv[again.faces]
    np.testing.assert_allclose(corners, made.vertices[made.faces], atol=2e-6)
    np.testing.assert_allclose(uv, made.uv[made.faces], atol=2e-6)
    assert set(again.keypoints) == set(made.keypoints)
    for name, point in made.keypoints.items():
        np.testing.assert_allclose(again.keypoints[name], point, atol=2e-6)


def test_the_command_writes_what_the_renderer_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["object", "box", "shoe:2", "--family", "test", "--out", str(tmp_path)]) == 0
    words = capsys.readouterr().out.split()
    read = dataset_options.load_objects(words[1::4], [Path(word) for word in words[3::4]])
    assert [mesh.name for mesh in read] == ["box", "shoe_test_2"]
    assert set(read[1].keypoints) == {"front", "tongue", "heel"}


def test_files_into_a_folder_that_cannot_be_made_are_refused(
    made: MeshObject, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        files.write_files(made, tmp_path / "file")


def test_text_fits_its_rectangle() -> None:
    image = textures.plain(300, 120, (0, 0, 0))
    textures.write(image, "WIDE WORDS", (50, 40, 200, 40), (255, 255, 255), bold=1.5)
    rows, columns = np.nonzero(image[..., 0] > 128)
    assert rows.min() >= 36 and rows.max() <= 84 and columns.min() >= 46 and columns.max() <= 254
    assert np.ptp(columns) > 120
