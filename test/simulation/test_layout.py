"""Objects on a table stand on it and not in each other; cameras look from where they should."""

from __future__ import annotations

import numpy as np
import pytest

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.camera import look_at
from s3k_ros.simulation import layout, surroundings
from s3k_ros.simulation.random_rig import RandomRig

BOX = np.array([[x, y, z] for x in (-0.1, 0.1) for y in (-0.01, 0.01) for z in (-0.05, 0.05)])


def _put(seed: int, tilt: tuple[float, float]) -> layout.Placed:
    rng = np.random.default_rng(seed)
    placed = layout.find_place(rng, BOX, (0.3, 0.2), tilt, [], 0.0)
    assert placed is not None
    return placed


def test_tilted_object_touches_the_table_with_its_lowest_point() -> None:
    for seed in range(20):
        placed = _put(seed, (0.1 * seed - 1, 0.7 - 0.1 * seed))
        seen = BOX @ placed.rotation.T + placed.position
        assert seen[:, 2].min() == pytest.approx(0.0, abs=1e-12)
        np.testing.assert_allclose(placed.rotation @ placed.rotation.T, np.eye(3), atol=1e-12)


def test_yaw_turns_about_the_upright_after_the_tilt() -> None:
    rotation = layout.turned(0.4, 0.3, -0.2)
    np.testing.assert_allclose(
        rotation, layout.turned(0.4, 0, 0) @ layout.turned(0, 0.3, 0) @ layout.turned(0, 0, -0.2)
    )
    np.testing.assert_allclose(layout.turned(np.pi / 2, 0, 0) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_rectangle_around_an_object_holds_all_of_it() -> None:
    placed = _put(1, (0.3, -0.2))
    seen = (BOX @ placed.rotation.T + placed.position)[:, :2]
    corners = placed.footprint.corners
    sides = corners[[1, 3]] - corners[0]
    share = (seen - corners[0]) @ (sides / (sides**2).sum(axis=1, keepdims=True)).T
    assert share.min() == pytest.approx(0, abs=1e-9)
    assert share.max() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("x", "y", "yaw", "gap", "apart"),
    [
        (2.1, 0.0, 0.0, 0.05, True),
        (2.1, 0.0, 0.0, 0.15, False),
        (0.0, 1.1, 0.0, 0.05, True),
        (0.0, 1.6, np.pi / 2, 0.05, True),
        (0.0, 1.4, np.pi / 2, 0.05, False),
        (1.8, 1.3, np.pi / 4, 0.05, True),
        (1.2, 0.8, np.pi / 4, 0.05, False),
    ],
)
def test_rectangles_are_apart_when_a_line_parts_them(
    x: float, y: float, yaw: float, gap: float, apart: bool
) -> None:
    """Two of 2 x 1, one of them in the middle."""
    one, other = layout.Footprint(0, 0, 1.0, 0.5, 0), layout.Footprint(x, y, 1.0, 0.5, yaw)
    assert one.apart(other, gap) == other.apart(one, gap) == apart


def test_no_vertex_of_an_object_lies_within_another() -> None:
    rng = np.random.default_rng(1)
    taken: list[layout.Placed] = []
    for _ in range(12):
        placed = layout.find_place(rng, BOX, (0.25, 0.25), (0.0, 0.0), taken, 0.01)
        if placed is not None:
            taken.append(placed)
    assert len(taken) > 5
    for one in taken:
        for other in taken:
            if one is not other:
                inside = (one.footprint.corners - other.position[:2]) @ other.rotation[:2, :2]
                assert not (np.abs(inside) < [0.1, 0.01]).all(axis=1).any()


def test_no_room_is_told_by_none() -> None:
    rng = np.random.default_rng(2)
    first = layout.find_place(rng, BOX, (0.0, 0.0), (0.0, 0.0), [], 0.0)
    assert first is not None
    assert layout.find_place(rng, BOX, (0.01, 0.01), (0.0, 0.0), [first], 0.05) is None


def test_cameras_look_down_at_the_workspace_from_directions_apart() -> None:
    rig = RandomRig(separation_rad=0.7, elevation_rad=(0.5, 1.2))
    rng = np.random.default_rng(3)
    for _ in range(30):
        cameras = rig.draw(rng)
        arms = np.array([camera.centre - rig.centre_m for camera in cameras])
        distances = np.linalg.norm(arms, axis=1)
        assert (distances >= 0.95).all() and (distances <= 1.15).all()
        towards = arms / distances[:, None]
        assert (np.arcsin(towards[:, 2]) >= 0.5 - 1e-9).all()
        assert (np.arcsin(towards[:, 2]) <= 1.2 + 1e-9).all()
        cosines = (towards @ towards.T)[~np.eye(4, dtype=bool)]
        assert np.arccos(cosines.max()) >= 0.7 - 1e-9
        for camera in cameras:
            pixel = camera.project(np.array(rig.centre_m))
            assert np.abs(pixel - 63.5).max() < 12


@pytest.mark.parametrize("width", [64, 128, 640])
def test_pixel_of_the_usual_image_is_2_8_mm_and_wider_images_show_the_same(width: int) -> None:
    rig = RandomRig(width=width, height=width, distance_m=(1.0, 1.0), aim_m=0.0)
    camera = rig.draw(np.random.default_rng(4))[0]
    across = camera.base_from_camera.rotation[:, 0]
    centre = np.array(rig.centre_m)
    length = np.linalg.norm(camera.project(centre + 0.028 * across) - camera.project(centre))
    assert length == pytest.approx(10 * width / 128, rel=1e-6)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"count": 1}, "count"),
        ({"width": 0}, "width"),
        ({"pixel_m": -1.0}, "pixel_m"),
        ({"distance_m": (2.0, 1.0)}, "distance_m"),
        ({"elevation_rad": (0.0, 1.0)}, "elevation_rad"),
        ({"count": 16, "separation_rad": 1.5}, "do not fit"),
    ],
)
def test_impossible_rigs_are_refused_by_name(values: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        RandomRig(**values)


def test_tables_of_two_families_share_no_hue() -> None:
    hues = {}
    for family in surroundings.FAMILIES:
        rng = np.random.default_rng(5)
        colours = np.array([surroundings.family_colour(rng, family) for _ in range(200)])
        high, low = colours.max(axis=1), colours.min(axis=1)
        r, g, b = colours.T
        hue = np.select(
            [high == r, high == g],
            [(g - b) / (high - low) % 6, (b - r) / (high - low) + 2],
            (r - g) / (high - low) + 4,
        )
        hues[family] = set(np.round(6 * hue).astype(int) % 36)
    assert not hues["train"] & hues["dev"]
    assert not hues["train"] & hues["test"]
    assert not hues["dev"] & hues["test"]


@pytest.mark.parametrize("family", surroundings.FAMILIES)
def test_same_stream_gives_the_same_table(family: str) -> None:
    one, two, other = (
        surroundings.table_texture(np.random.default_rng(seed), family, 64) for seed in (6, 6, 7)
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
    assert one.shape == (64, 64, 3)


def test_light_comes_from_the_familys_own_side() -> None:
    for i, family in enumerate(surroundings.FAMILIES):
        rng = np.random.default_rng(8)
        for _ in range(20):
            x, y, z = surroundings.draw_light(rng, family).direction
            assert z < 0
            assert int(np.arctan2(y, x) % (2 * np.pi) / (2 * np.pi / 3)) == i


def test_cameras_are_turned_as_by_look_at() -> None:
    rig = RandomRig(aim_m=0.0)
    for camera in rig.draw(np.random.default_rng(9)):
        expected = look_at(camera.centre, rig.centre_m)
        np.testing.assert_allclose(camera.base_from_camera.rotation, expected.rotation, atol=1e-12)
