"""One labelled frame labels its segment, unless something moved."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pyarrow")

from support.toy_training import CAMERAS, rig

from s3k_ros import cli
from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.se3 import Transform
from s3k_ros.training.dataset.reader import Dataset, DatasetWriter
from s3k_ros.training.dataset.tools import motion
from s3k_ros.training.dataset.tools.motion import Seen
from s3k_ros.training.dataset.tools.propagate import examine, propagate

SIZE = (320, 240)
RIG = rig(*SIZE)
KEYPOINTS = ["head", "tail"]
POINTS = np.array([[0.08, 0.05, 0.03], [-0.09, -0.04, 0.03]])
# At 320 px a pixel is about 3 mm on the table.
SMALL, LARGE = np.array([0.002, 0.0, 0.0]), np.array([0.05, 0.03, 0.0])

Images = dict[str, np.ndarray]


@functools.cache
def texture(seed: int, width: int, height: int, rough: float = 2.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(rng.uniform(0, 255, (height, width, 3)), (0, 0), rough) * 3 - 255


def frame(shift: np.ndarray | None = None, which: tuple[int, ...] = (0, 1)) -> Images:
    """A textured table with a textured blob at each keypoint; some of them shifted by m, base."""
    images = {}
    for c, camera in enumerate(RIG):
        image = texture(c, *SIZE, rough=4.0).copy()
        for k, point in enumerate(POINTS):
            moved = point + (shift if shift is not None and k in which else 0)
            u, v = (round(float(x)) for x in camera.project(moved))
            blob = texture(100 + k, 33, 33)
            rows, columns = np.indices(blob.shape[:2]) - 16
            inside = np.hypot(rows, columns) <= 14
            image[v - 16 : v + 17, u - 16 : u + 17][inside] = blob[inside]
        images[camera.name] = np.clip(image, 0, 255).astype(np.uint8)
    return images


def cover(images: Images, places: dict[str, list[int]]) -> Images:
    """An arm over some keypoints (indices) of some views."""
    result = {name: image.copy() for name, image in images.items()}
    for name, keypoints in places.items():
        for k in keypoints:
            u, v = (round(float(x)) for x in RIG[CAMERAS.index(name)].project(POINTS[k]))
            skin = np.clip(texture(900 + u, 81, 51, rough=3.0), 0, 255).astype(np.uint8)
            left, top = max(0, u - 40), max(0, v - 25)
            area = result[name][top : v + 26, left : u + 41]
            area[:] = skin[: area.shape[0], : area.shape[1]]
    return result


def disturbed(images: Images, seed: int) -> Images:
    """Noise of a dim camera, and another brightness and contrast."""
    rng = np.random.default_rng(seed)
    gain, offset = rng.uniform(0.75, 1.2), rng.uniform(-15, 15)
    return {
        name: np.clip(image * gain + offset + rng.normal(0, 6, image.shape), 0, 255).astype(
            np.uint8
        )
        for name, image in images.items()
    }


def clicks(missing: tuple[tuple[str, str], ...] = ()) -> dict[tuple[str, str], tuple[float, float]]:
    rng = np.random.default_rng(5)
    return {
        (camera.name, name): tuple(camera.project(point) + rng.normal(0, 0.5, 2))
        for camera in RIG
        for name, point in zip(KEYPOINTS, POINTS, strict=True)
        if (camera.name, name) not in missing
    }


def written(
    folder: Path, frames: list[Images], labelled: tuple[int, ...] = (0,), **more
) -> Dataset:
    with DatasetWriter(folder, "toy", KEYPOINTS, CAMERAS, image_format="png") as writer:
        for i, images in enumerate(frames):
            labels = clicks(**more) if i in labelled else None
            writer.add(images, RIG, labels, None, seed=i, segment=3)
    return Dataset(folder)


def test_every_frame_of_a_static_segment_gets_the_clicks(tmp_path: Path) -> None:
    dataset = written(tmp_path / "d", [frame()] * 3)
    outcomes = propagate(dataset, tmp_path / "out")
    assert [o.refusal for o in outcomes] == [""]
    labelled = Dataset(tmp_path / "out")
    assert labelled.labelled.all()
    assert labelled.clicks(1) == labelled.clicks(2) == dataset.clicks(0)
    assert labelled.info["propagated"]["samples"] == 2
    assert labelled.image_bytes(2, "c") == dataset.image_bytes(2, "c")


@pytest.mark.parametrize("seed", range(6))
def test_noise_and_flickering_light_are_no_motion(tmp_path: Path, seed: int) -> None:
    dataset = written(tmp_path / "d", [disturbed(frame(), seed), disturbed(frame(), seed + 50)])
    outcome = examine(dataset, 3)
    assert not outcome.refusal and not outcome.hidden
    assert outcome.clicks[1] == dataset.clicks(0)


@pytest.mark.parametrize("which", [(0, 1), (0,), (1,)])
@pytest.mark.parametrize("millimetres", [9, 30, 60])
def test_a_moved_object_refuses_the_segment_by_name(tmp_path, which, millimetres) -> None:
    rng = np.random.default_rng(millimetres)
    angle = rng.uniform(0, 2 * np.pi)
    shift = np.array([np.cos(angle), np.sin(angle), 0.0]) * millimetres / 1000
    moved = disturbed(frame(shift, which), 1)
    dataset = written(tmp_path / "d", [frame(), frame(), moved, frame()])
    outcome = examine(dataset, 3)
    assert not outcome.clicks
    assert "sample 2" in outcome.refusal
    assert repr(KEYPOINTS[which[0]]) in outcome.refusal


def test_less_than_a_clicks_own_error_is_no_motion(tmp_path: Path) -> None:
    outcome = examine(written(tmp_path / "d", [frame(), frame(SMALL)]), 3)
    assert not outcome.refusal


def test_an_object_that_was_taken_away_refuses_the_segment(tmp_path: Path) -> None:
    empty = {camera.name: texture(c, *SIZE, rough=4.0) for c, camera in enumerate(RIG)}
    empty = {name: np.clip(image, 0, 255).astype(np.uint8) for name, image in empty.items()}
    outcome = examine(written(tmp_path / "d", [frame(), empty]), 3)
    assert outcome.refusal.startswith("sample 1: ")


def test_a_frame_that_shows_nothing_unchanged_refuses_the_segment(tmp_path: Path) -> None:
    dark = {name: np.full_like(image, 30) for name, image in frame().items()}
    outcome = examine(written(tmp_path / "d", [frame(), dark]), 3)
    assert outcome.refusal == "sample 1: no keypoint can be seen unchanged"


def test_an_arm_elsewhere_is_no_motion(tmp_path: Path) -> None:
    images = frame()
    for name, x in zip(CAMERAS, (5, 120, 200, 260), strict=True):
        cv2.rectangle(images[name], (x, 0), (x + 40, 40), (20, 20, 160), -1)
    outcome = examine(written(tmp_path / "d", [frame(), images]), 3)
    assert not outcome.refusal and not outcome.hidden


def test_a_keypoint_hidden_in_two_of_four_views_is_still_labelled(tmp_path: Path) -> None:
    hidden = cover(frame(), {"a": [0], "c": [0]})
    outcome = examine(written(tmp_path / "d", [frame(), hidden]), 3)
    assert not outcome.refusal and not outcome.hidden
    assert ("a", "head") in outcome.clicks[1]  # it is still there, behind the arm


def test_something_alike_that_was_there_before_is_no_motion(tmp_path: Path) -> None:
    def with_twin(images: Images) -> Images:
        for camera in RIG:
            u, v = (round(float(x)) for x in camera.project(POINTS[0]))
            side = 1 if u < 160 else -1
            blob = np.clip(texture(100, 33, 33), 0, 255).astype(np.uint8)
            at = u + 34 * side
            images[camera.name][v - 16 : v + 17, at - 16 : at + 17] = blob
        return images

    hidden = with_twin(cover(frame(), {"a": [0], "b": [0], "c": [0]}))
    outcome = examine(written(tmp_path / "d", [with_twin(frame()), hidden]), 3)
    assert not outcome.refusal
    assert outcome.hidden == ((1, "head"),)


def test_a_keypoint_hidden_in_three_views_gets_no_clicks_there(tmp_path: Path) -> None:
    hidden = cover(frame(), {"a": [0], "b": [0], "c": [0]})
    dataset = written(tmp_path / "d", [frame(), hidden, frame()])
    outcome = examine(dataset, 3)
    assert outcome.hidden == ((1, "head"),)
    assert {name for _, name in outcome.clicks[1]} == {"tail"}
    assert outcome.clicks[2] == dataset.clicks(0)


def test_what_moves_behind_the_arm_is_not_labelled(tmp_path: Path) -> None:
    hidden = cover(frame(LARGE, (0,)), {"a": [0], "b": [0], "c": [0], "d": [0]})
    outcome = examine(written(tmp_path / "d", [frame(), hidden]), 3)
    assert outcome.refusal or (1, "head") in outcome.hidden


def test_views_without_a_click_are_watched_too(tmp_path: Path) -> None:
    missing = (("a", "head"), ("b", "head"))
    hidden = cover(frame(), {"c": [0]})
    outcome = examine(written(tmp_path / "d", [frame(), hidden], missing=missing), 3)
    assert not outcome.hidden
    assert set(outcome.clicks[1]) == set(clicks(missing))


def test_a_camera_that_moved_refuses_the_segment(tmp_path: Path) -> None:
    turned = Transform(np.eye(3), np.array([0.0, 0.0, 0.002]))
    moved = dataclasses.replace(RIG[2], base_from_camera=turned @ RIG[2].base_from_camera)
    with DatasetWriter(tmp_path / "d", "toy", KEYPOINTS, CAMERAS) as writer:
        writer.add(frame(), RIG, clicks(), None, seed=0, segment=3)
        writer.add(frame(), [*RIG[:2], moved, RIG[3]], None, None, seed=0, segment=3)
    assert examine(Dataset(tmp_path / "d"), 3).refusal == "sample 1: camera 'c' moved"


def test_segments_without_clicks_and_other_segments_stay_as_they_are(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "d", "toy", KEYPOINTS, CAMERAS) as writer:
        writer.add(frame(), RIG, None, None, seed=0, segment=1)
        writer.add(frame(), RIG, clicks(), None, seed=0, segment=2)
        writer.add(frame(), RIG, None, None, seed=0, segment=2)
        writer.add(frame(), RIG, None, None, seed=0, segment=1)
    propagate(Dataset(tmp_path / "d"), tmp_path / "out")
    assert Dataset(tmp_path / "out").labelled.tolist() == [False, True, True, False]


def test_each_frame_takes_the_nearest_labels_and_labelled_frames_keep_theirs(tmp_path) -> None:
    dataset = written(tmp_path / "d", [frame()] * 5, labelled=(0, 4))
    outcome = examine(dataset, 3)
    assert sorted(outcome.clicks) == [1, 2, 3]


def test_the_command_tells_what_it_refused(tmp_path: Path, capsys) -> None:
    written(tmp_path / "d", [frame(), frame(LARGE)])
    arguments = ["dataset", "propagate", str(tmp_path / "d"), "--out", str(tmp_path / "out")]
    assert cli.main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("segment 3: refused: sample 1: 'head' moved by")
    assert "1 segment refused" in printed.out
    out = Dataset(tmp_path / "out")
    assert out.labelled.tolist() == [True, False]
    assert "3" in out.info["propagated"]["refused"]


def test_a_dataset_without_clicks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no sample has clicks"):
        propagate(written(tmp_path / "d", [frame()], labelled=()), tmp_path / "out")


def grey(change: Callable[[np.ndarray], np.ndarray] = lambda image: image) -> motion.Grey:
    image = np.clip(texture(7, 160, 120, rough=3.0), 0, 255)
    return motion.grey(np.clip(change(image), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, -1), (4, 0), (-3, 5), (12, -9)])
def test_a_shift_is_measured_in_pixels(shift: tuple[int, int]) -> None:
    after = grey(lambda image: np.roll(image, shift[::-1], axis=(0, 1)))
    seen, found = motion.locate(grey(), after, np.array([80.0, 60.0]), 0.5)
    small = np.hypot(*shift) <= motion.DEFAULTS.tolerance_px(160)
    assert seen is (Seen.SAME if small else Seen.MOVED)
    assert found.tolist() == list(shift)


def test_a_place_without_texture_tells_nothing() -> None:
    flat = motion.grey(np.full((120, 160, 3), 90, np.uint8))
    assert motion.compare(flat, flat, np.array([80.0, 60.0]), 0.5) is Seen.UNKNOWN


def test_an_edge_alone_cannot_show_a_shift_along_it() -> None:
    image = np.full((120, 160, 3), 90, np.uint8)
    image[:, 80:] = 200
    edge = motion.grey(image)
    assert motion.compare(edge, edge, np.array([80.0, 60.0]), 0.5) is Seen.UNKNOWN


@pytest.mark.parametrize("place", [(0, 0), (159, 119), (-3, 60), (500, 60)])
def test_places_at_and_beyond_the_border_are_handled(place: tuple[int, int]) -> None:
    inside = 0 <= place[0] < 160
    seen = motion.compare(grey(), grey(), np.array(place, float), 0.5)
    assert seen is (Seen.SAME if inside else Seen.UNKNOWN)


@pytest.mark.parametrize("sigma", [2.0, 8.0])
def test_noise_is_measured_whatever_else_changed(sigma: float) -> None:
    rng = np.random.default_rng(0)
    noisy = [
        motion.grey(np.clip(im + rng.normal(0, sigma, im.shape), 0, 255).astype(np.uint8))
        for im in (np.full((120, 160, 3), 110.0), np.full((120, 160, 3), 140.0))
    ]
    noisy[1][20:50, 30:90] = 0
    clean = motion.grey(np.full((120, 160, 3), 110, np.uint8))
    expected = float((noisy[0] - clean).std())
    assert abs(motion.noise(*noisy) - max(0.5, expected)) < 0.25 * expected + 0.1
