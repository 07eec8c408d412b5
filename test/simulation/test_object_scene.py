"""Rendered scenes of meshes: what the pictures show is what the numbers say."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.camera import Camera
from s3k_ros.simulation.generators import parts
from s3k_ros.simulation.mesh import MeshObject
from s3k_ros.simulation.object_scene import ObjectSceneRenderer, ObjectSceneSpec, RandomRig
from s3k_ros.simulation.sample import Sample, in_image

pytestmark = pytest.mark.sim

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
SIZE = (0.16, 0.02, 0.10)


def plate(name: str = "plate", keypoints: bool = True, grey: bool = False) -> MeshObject:
    """An upright plate with a keypoint in the middle of each quarter of its front."""
    front = np.zeros((64, 64, 3), np.uint8)
    front[:32, :32], front[:32, 32:] = RED, GREEN
    front[32:, :32], front[32:, 32:] = BLUE, WHITE
    plain = np.full((8, 8, 3), (40, 40, 40), np.uint8)
    images = dict.fromkeys(("back", "left", "right", "top", "bottom"), plain)
    sides = parts.cuboid(SIZE, {**images, "front": plain if grey else front})
    x, y, z = SIZE[0] / 4, -SIZE[1] / 2, SIZE[2] / 4
    places = {"red": [-x, y, z], "green": [x, y, z], "blue": [-x, y, -z], "white": [x, y, -z]}
    return MeshObject(name, *parts.join(sides), places if keypoints else {})


SPEC = ObjectSceneSpec(
    (plate(),), rig=RandomRig(64, 64), table_pool=2, distractors=0, antialiasing=0
)


@pytest.fixture(scope="module")
def bare() -> Iterator[ObjectSceneRenderer]:
    renderer = ObjectSceneRenderer(SPEC)
    yield renderer
    renderer.close()


@pytest.fixture(scope="module")
def cluttered() -> Iterator[ObjectSceneRenderer]:
    spec = dataclasses.replace(SPEC, distractors=3, distractor_pool=6, clutter_m=(0.13, 0.13))
    renderer = ObjectSceneRenderer(spec)
    yield renderer
    renderer.close()


def _hue(colour: np.ndarray) -> str:
    """Which of the quarters' colours a BGR colour is."""
    b, g, r = colour.astype(float) / max(1, int(colour.max())) > 0.5
    return {(1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue", (1, 1, 1): "white"}.get(
        (int(r), int(g), int(b)), "none"
    )


def _faced(camera: Camera, keypoints: np.ndarray) -> float:
    """How squarely a camera sees the front: 1 straight on, negative from behind."""
    front = np.cross(keypoints[1] - keypoints[0], keypoints[0] - keypoints[2])
    sight = camera.centre - keypoints.mean(axis=0)
    return float(sight @ front / np.linalg.norm(sight) / np.linalg.norm(front))


def test_keypoints_project_onto_their_colours(bare: ObjectSceneRenderer) -> None:
    checked = 0
    for seed in range(8):
        sample = bare.sample(seed)
        for camera in sample.cameras:
            for k, name in enumerate(bare.names):
                seen = (camera.name, name) in sample.clicks
                if seen and _faced(camera, sample.keypoints) > 0.3:
                    u, v = np.round(camera.project(sample.keypoints[k])).astype(int)
                    assert _hue(sample.images[camera.name][v, u]) == name
                    checked += 1
    assert checked > 30


def test_projection_is_the_middle_of_what_is_painted_there() -> None:
    """To a fifth of a pixel: half a pixel off would be 1.4 mm at 128 px."""
    front = np.full((256, 256, 3), 10, np.uint8)
    cv2.circle(front, (128, 128), 40, WHITE, -1)
    plain = np.full((8, 8, 3), 10, np.uint8)
    sides = parts.cuboid(SIZE, {**dict.fromkeys(parts.CUBOID_FACES, plain), "front": front})
    target = MeshObject("marked", *parts.join(sides), {"mark": [0, -SIZE[1] / 2, 0]})
    spec = dataclasses.replace(SPEC, objects=(target,), rig=RandomRig(256, 192), antialiasing=4)
    renderer = ObjectSceneRenderer(spec)
    offsets = []
    try:
        for seed in range(12):
            sample = renderer.sample(seed)
            for camera in sample.cameras:
                if (camera.name, "mark") in sample.clicks:
                    offsets.append(_mark(sample, camera) - camera.project(sample.keypoints[0]))
    finally:
        renderer.close()
    assert len(offsets) > 15
    assert np.abs(np.median(offsets, axis=0)).max() < 0.2


def _mark(sample: Sample, camera: Camera) -> np.ndarray:
    """Middle (2,) of the white disc around the keypoint, px."""
    grey = sample.images[camera.name].min(axis=-1).astype(float)
    u, v = np.round(camera.project(sample.keypoints[0])).astype(int)
    bright = (grey > 0.6 * grey[v, u]).astype(np.uint8)
    _, labels, _, centres = cv2.connectedComponentsWithStats(bright, connectivity=4)
    return centres[labels[v, u]]


def test_plate_stands_upright_on_the_table(bare: ObjectSceneRenderer) -> None:
    for seed in range(20):
        red, green, blue, white = bare.planner.plan(seed).keypoints
        assert (np.array([red, green, blue, white])[:, 2] > 0).all()
        up = (red - blue) / np.linalg.norm(red - blue)
        assert up[2] > np.cos(2 * SPEC.tilt_rad)
        assert min(blue[2], white[2]) < 0.06


def test_clicks_lie_near_the_projections_and_need_sight(bare: ObjectSceneRenderer) -> None:
    """From behind, the keypoints on the front cannot be clicked."""
    for seed in range(10):
        sample = bare.sample(seed)
        for camera in sample.cameras:
            for k, name in enumerate(bare.names):
                click = sample.clicks.get((camera.name, name))
                if click is not None:
                    # 2 px at 640 px are 0.2 px here.
                    assert np.abs(np.array(click) - camera.project(sample.keypoints[k])).max() < 1.0
                    assert _faced(camera, sample.keypoints) > -0.01


def test_same_seed_gives_the_same_sample(cluttered: ObjectSceneRenderer) -> None:
    one, other, again = (cluttered.sample(seed) for seed in (11, 12, 11))
    for name, image in one.images.items():
        np.testing.assert_array_equal(image, again.images[name])
    np.testing.assert_array_equal(one.keypoints, again.keypoints)
    assert one.clicks == again.clicks
    assert np.abs(one.keypoints - other.keypoints).max() > 0.005


def test_wider_images_show_the_same_scene(bare: ObjectSceneRenderer) -> None:
    wide = ObjectSceneRenderer(dataclasses.replace(SPEC, rig=RandomRig(128, 128)))
    try:
        small, large = bare.sample(3), wide.sample(3)
    finally:
        wide.close()
    np.testing.assert_array_equal(small.keypoints, large.keypoints)
    assert set(small.clicks) == set(large.clicks)
    for key, (u, v) in small.clicks.items():
        np.testing.assert_allclose(
            (np.array([u, v]) + 0.5) * 2, np.array(large.clicks[key]) + 0.5, atol=1e-6
        )


def test_distractors_stand_apart_from_the_object_and_each_other(
    cluttered: ObjectSceneRenderer,
) -> None:
    counts = []
    for seed in range(10):
        placed = list(cluttered.planner.plan(seed).placed.values())
        counts.append(len(placed) - 1)
        for i, one in enumerate(placed):
            for other in placed[:i]:
                assert one.footprint.apart(other.footprint, SPEC.gap_m)
    assert 1 <= max(counts) <= 3


def test_what_hides_a_keypoint_takes_its_click() -> None:
    """Among walls, clicks are where the picture shows the keypoint's colour, but for edges."""
    walls = tuple(plate(f"wall{i}", keypoints=False, grey=True) for i in range(4))
    spec = dataclasses.replace(
        SPEC, distractors=4, gap_m=0.0, clutter_m=(0.1, 0.1), distractor_meshes=walls,
        rig=RandomRig(192, 192),
    )  # fmt: skip
    renderer = ObjectSceneRenderer(spec)
    try:
        shown = [is_it for seed in range(14) for is_it in _shown(renderer, seed)]
    finally:
        renderer.close()
    right = [is_shown for is_clicked, is_shown in shown if is_clicked]
    assert len(right) > 25 and np.mean(right) > 0.95
    assert sum(not is_clicked and not is_shown for is_clicked, is_shown in shown) > 5


def _shown(renderer: ObjectSceneRenderer, seed: int) -> Iterator[tuple[bool, bool]]:
    """Of each keypoint that a camera faces: whether it is clicked, and whether it is to be seen."""
    sample = renderer.sample(seed)
    for camera in sample.cameras:
        if _faced(camera, sample.keypoints) > 0.3:
            for k, name in enumerate(renderer.names):
                if in_image(camera, sample.keypoints[k]):
                    u, v = np.round(camera.project(sample.keypoints[k])).astype(int)
                    colour = sample.images[camera.name][v, u]
                    yield (camera.name, name) in sample.clicks, _hue(colour) == name


def test_fixed_cameras_stay_and_random_ones_move(bare: ObjectSceneRenderer) -> None:
    first, second = bare.planner.plan(0).cameras, bare.planner.plan(1).cameras
    assert np.abs(first[0].centre - second[0].centre).max() > 0.01
    fixed = ObjectSceneRenderer(dataclasses.replace(SPEC, fixed_cameras=True, rig_seed=4))
    try:
        assert fixed.planner.plan(0).cameras is fixed.planner.plan(1).cameras
        shown = [fixed.sample(seed).images["cam_0"] for seed in (0, 1)]
    finally:
        fixed.close()
    assert (shown[0] != shown[1]).any()


def test_one_of_several_objects_is_shown_and_named() -> None:
    spec = dataclasses.replace(SPEC, objects=(plate("first"), plate("second")))
    renderer = ObjectSceneRenderer(spec)
    try:
        names = {renderer.sample(seed).object_name for seed in range(8)}
    finally:
        renderer.close()
    assert names == {"first", "second"}


def test_objects_together_are_all_shown_under_their_own_names() -> None:
    spec = dataclasses.replace(
        SPEC, objects=(plate("first"), plate("second")), together=True, reach_m=(0.1, 0.1)
    )
    renderer = ObjectSceneRenderer(spec)
    try:
        sample = renderer.sample(0)
    finally:
        renderer.close()
    assert renderer.names[0] == "first_red" and renderer.names[4] == "second_red"
    assert sample.keypoints.shape == (8, 3)
    assert sample.object_name is None


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"objects": ()}, "objects"),
        ({"objects": (plate(keypoints=False),)}, "plate: has no keypoints"),
        ({"objects": (plate(), plate())}, "names must differ"),
        ({"family": "holiday"}, "holiday"),
        ({"distractors": -1}, "distractors"),
        ({"tilt_rad": 9.0}, "tilt_rad"),
        ({"antialiasing": 99}, "antialiasing"),
    ],
)
def test_wrong_specs_are_refused_by_name(values: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        dataclasses.replace(SPEC, **values)


def test_objects_with_other_keypoints_need_to_be_together() -> None:
    other = dataclasses.replace(plate("other"), keypoints={"tip": np.zeros(3)})
    with pytest.raises(ConfigurationError, match="other: keypoints"):
        dataclasses.replace(SPEC, objects=(plate(), other))
    dataclasses.replace(SPEC, objects=(plate(), other), together=True)


def test_objects_without_room_are_told_about() -> None:
    many = tuple(plate(f"plate{i}") for i in range(12))
    spec = dataclasses.replace(SPEC, objects=many, together=True, reach_m=(0.001, 0.001))
    renderer = ObjectSceneRenderer(spec)
    try:
        with pytest.raises(ConfigurationError, match="reach_m"):
            renderer.planner.plan(0)
    finally:
        renderer.close()
