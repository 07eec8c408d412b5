"""Shoes: reproducible, of real sizes, keypoints on them, and families with nothing in common."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from s3k_ros.errors import ConfigurationError
from s3k_ros.simulation.generators import shoe, shoe_look, shoe_shape
from s3k_ros.simulation.mesh import MeshObject

MADE = (("train", 0), ("train", 1), ("train", 2), ("test", 3), ("test", 4), ("test", 5))


@pytest.fixture(scope="module")
def made() -> list[MeshObject]:
    """Three shoes a family, all six styles."""
    return [shoe.make_shoe(seed, family) for family, seed in MADE]


def _cross(mesh: MeshObject) -> np.ndarray:
    corners = mesh.vertices[mesh.faces]
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def test_same_seed_gives_the_same_shoe_and_another_seed_another(made: list[MeshObject]) -> None:
    again = shoe.make_shoe(1, "train")
    for field in ("vertices", "faces", "uv", "texture"):
        np.testing.assert_array_equal(getattr(again, field), getattr(made[1], field))
    assert len({tuple(mesh.size) for mesh in made}) == len(made)


def test_lengths_are_those_of_real_shoes_and_fill_the_range() -> None:
    lengths = [shoe.shoe_shape(s, "test").length_m for s in range(40)]
    lengths += [shoe.shoe_shape(s, "train").length_m for s in range(12)]
    assert min(lengths) >= 0.25 and max(lengths) <= 0.30
    assert np.ptp(lengths) > 0.03


def test_meshes_are_as_long_as_their_measures_say(made: list[MeshObject]) -> None:
    for mesh, (family, seed) in zip(made, MADE, strict=True):
        assert shoe.shoe_length(mesh) == pytest.approx(shoe.shoe_shape(seed, family).length_m)
        assert 0.3 < mesh.size[1] / mesh.size[0] < 0.42
        assert 0.095 < mesh.size[2] < 0.2


def test_keypoints_lie_on_the_shoe_where_their_names_say(made: list[MeshObject]) -> None:
    for mesh in made:
        front, tongue, heel = (mesh.keypoints[name] for name in shoe.KEYPOINTS)
        for point in (front, tongue, heel):
            assert np.linalg.norm(mesh.vertices - point, axis=1).min() < 1e-9
        length, low = mesh.size[0], mesh.vertices[:, 2].min()
        assert front[0] > 0.49 * length and front[2] - low < 0.2 * length
        assert heel[0] < -0.43 * length and heel[2] > front[2] + 0.1 * length
        assert heel[0] < tongue[0] < front[0]
        assert tongue[2] > 0.9 * mesh.vertices[:, 2].max()
        assert abs(heel[1]) < 0.02 * length and abs(tongue[1]) < 0.03 * length


def test_left_and_right_shoes_bend_towards_the_other_foot() -> None:
    for seed in (0, 1, 2):
        shape, mesh = shoe.shoe_shape(seed), shoe.make_shoe(seed)
        inward = -1.0 if shape.left else 1.0
        assert inward * mesh.keypoints["front"][1] > 0.003
    assert len({shoe.shoe_shape(seed).left for seed in range(4)}) == 2


def test_a_shoe_is_not_its_own_mirror_image(made: list[MeshObject]) -> None:
    for mesh in made:
        ball = mesh.vertices[np.abs(mesh.vertices[:, 0] - 0.2 * mesh.size[0]) < 0.02]
        waist = mesh.vertices[np.abs(mesh.vertices[:, 0] + 0.08 * mesh.size[0]) < 0.02]
        middles = [0.5 * (part[:, 1].max() + part[:, 1].min()) for part in (ball, waist)]
        front = mesh.keypoints["front"][1]
        assert max(abs(front - middle) for middle in middles) > 0.005


def test_faces_point_outward(made: list[MeshObject]) -> None:
    for mesh in made:
        cross = _cross(mesh)
        middles = mesh.vertices[mesh.faces].mean(axis=1)
        low = middles[:, 2] < mesh.vertices[:, 2].min() + 0.001
        assert low.sum() > 20 and (cross[low, 2] < 0).mean() > 0.95
        # Among the faces at the sides of the sole nearly all look away from the middle line.
        side = np.abs(middles[:, 1]) > 0.45 * mesh.size[1]
        assert (cross[side, 1] * middles[side, 1] > 0).mean() > 0.9


def test_the_surface_has_no_hole_to_see_through(made: list[MeshObject]) -> None:
    # A closed surface's face normals, weighted by area, sum to zero.
    for mesh in made:
        cross = _cross(mesh)
        assert np.abs(cross.sum(axis=0)).max() < 0.02 * np.linalg.norm(cross, axis=1).sum()


def test_meshes_are_light_and_textures_fit(made: list[MeshObject]) -> None:
    for mesh in made:
        assert 2000 <= len(mesh.faces) <= 6000
        assert mesh.uv.min() >= 0.0 and mesh.uv.max() <= 1.0
        assert max(mesh.texture.shape) <= 2048
        assert np.ptp(mesh.texture.astype(float)) > 60


def test_families_share_no_measure() -> None:
    for family, seed in itertools.product(shoe_shape.FAMILIES, range(30)):
        shape = shoe.shoe_shape(seed, family)
        assert shoe_shape.band_of(shape.length_m, *shoe_shape.LENGTH_M) == family
        for name, (least, most) in shoe_shape.ranges(shape.style).items():
            assert least <= shape[name] <= most
            assert shoe_shape.band_of(shape[name], least, most) == family, (seed, name)


def test_bands_of_the_families_do_not_touch() -> None:
    values = np.linspace(0, 1, 2001)
    owners = [shoe_shape.band_of(v, 0.0, 1.0) for v in values]
    changes = [(a, b) for a, b in itertools.pairwise(owners) if a != b]
    assert all(None in pair for pair in changes) and set(owners) == {None, "train", "test"}


def test_families_share_no_hue_material_or_emblem() -> None:
    train, test = (set(shoe_look.family_hues(f)) for f in shoe_shape.FAMILIES)
    assert not train & test
    for kinds in (shoe_look.MATERIALS, shoe_look.EMBLEMS):
        assert not set(kinds["train"]) & set(kinds["test"])
        assert not set(kinds["train"].values()) & set(kinds["test"].values())


def test_six_seeds_in_a_row_are_of_six_styles() -> None:
    assert {shoe.shoe_shape(s).style for s in range(3, 9)} == set(shoe_shape.STYLES)


@pytest.mark.parametrize("family", ["dev", "", "Train"])
def test_unknown_families_are_refused_by_name(family: str) -> None:
    with pytest.raises(ConfigurationError, match="family = "):
        shoe.make_shoe(0, family)


def test_negative_seeds_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="seed = -3"):
        shoe.make_shoe(-3)
