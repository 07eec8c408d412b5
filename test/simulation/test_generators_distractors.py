"""Distractors: reproducible, of the box's size, and families that share no look."""

from __future__ import annotations

import colorsys
import itertools

import numpy as np
import pytest

from s3k_ros.errors import ConfigurationError
from s3k_ros.simulation.generators import distractors
from s3k_ros.simulation.generators.patterns import PATTERNS
from s3k_ros.simulation.mesh import MeshObject

SEEDS = range(16)


@pytest.fixture(scope="module")
def made() -> list[MeshObject]:
    return [distractors.make_distractor(seed, "train") for seed in SEEDS]


def test_same_seed_gives_the_same_object_and_another_seed_another(made: list[MeshObject]) -> None:
    for seed in (0, 5):
        again = distractors.make_distractor(seed, "train")
        np.testing.assert_array_equal(again.vertices, made[seed].vertices)
        np.testing.assert_array_equal(again.texture, made[seed].texture)
    sizes = {tuple(np.round(mesh.size, 5)) for mesh in made}
    assert len(sizes) == len(made)


def test_the_seed_means_something_else_in_each_family() -> None:
    sizes = {tuple(distractors.make_distractor(3, f).size) for f in distractors.FAMILIES}
    assert len(sizes) == len(distractors.FAMILIES)


def test_distractors_are_about_as_large_as_the_game_box(made: list[MeshObject]) -> None:
    for mesh in made:
        assert 0.05 <= mesh.size.max() <= 0.24
        np.testing.assert_allclose(mesh.vertices.min(axis=0), -mesh.vertices.max(axis=0), atol=1e-9)
        assert not mesh.keypoints


def test_surfaces_are_closed_and_face_outward(made: list[MeshObject]) -> None:
    for mesh in made:
        corners = mesh.vertices[mesh.faces]
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(cross, axis=1).sum()
        assert np.abs(cross.sum(axis=0)).max() < 0.03 * area, mesh.name
        assert np.einsum("fi,fi->", corners[:, 0], cross) > 0, mesh.name


def test_texture_coordinates_stay_inside_the_texture(made: list[MeshObject]) -> None:
    for mesh in made:
        assert mesh.uv.min() >= 0.0 and mesh.uv.max() <= 1.0


def test_boxes_and_books_are_about_half_of_all(made: list[MeshObject]) -> None:
    flat = [np.unique(np.abs(mesh.vertices).round(6), axis=0) for mesh in made]
    cuboids = sum(np.isclose(v.max(axis=0), v).any(axis=1).all() for v in flat)
    assert 5 <= cuboids <= 13


def test_main_families_share_neither_hue_nor_pattern() -> None:
    looks = [distractors.family_look(family) for family in ("train", "dev", "test")]
    for a, b in itertools.combinations(looks, 2):
        assert not set(a.hues) & set(b.hues)
        assert not set(a.patterns) & set(b.patterns)


def test_epochs_share_no_hue_with_others_and_no_look_among_themselves() -> None:
    looks = {family: distractors.family_look(family) for family in distractors.FAMILIES}
    cells = {f: set(itertools.product(x.hues, x.patterns)) for f, x in looks.items()}
    for a, b in itertools.combinations(distractors.FAMILIES, 2):
        assert not cells[a] & cells[b], (a, b)
        if a.startswith("epoch") != b.startswith("epoch"):
            assert not set(looks[a].hues) & set(looks[b].hues)
    assert len({look.stream for look in looks.values()}) == len(looks)
    assert all(set(look.patterns) <= set(PATTERNS) for look in looks.values())


@pytest.mark.parametrize("family", ["train", "test", "epoch4"])
def test_colours_keep_to_the_hues_of_their_family(family: str) -> None:
    look = distractors.family_look(family)
    for seed in SEEDS:
        printer = distractors._Printer(np.random.default_rng(seed), look)
        for colour in printer.palette:
            hue, saturation, value = colorsys.rgb_to_hsv(*(c / 255 for c in colour))
            if saturation > 0.25 and value > 0.3:
                away = np.abs((hue - np.array(look.hues) + 0.5) % 1.0 - 0.5)
                assert away.min() < 0.5 / distractors.HUE_SLOTS, (seed, colour)


@pytest.mark.parametrize("family", ["", "Train", "epoch", "epoch-1", "epoch12", "epoch1 "])
def test_unknown_families_are_refused_by_name(family: str) -> None:
    with pytest.raises(ConfigurationError, match="family = "):
        distractors.make_distractor(0, family)


def test_negative_seeds_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="seed = -1"):
        distractors.make_distractor(-1)
