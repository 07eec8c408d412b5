from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.rigs import make_rig
from support.synthetic_model import KEYPOINTS, description, paint, paint_views, write_model

from s3k_ros.errors import ConfigurationError
from s3k_ros.perception.detector import (
    KeypointDetector,
    ViewKeypoints,
    ViewStatus,
    image_status,
)
from s3k_ros.perception.model_file import KeypointModel
from s3k_ros.perception.object_crop import object_region
from s3k_ros.perception.regions import Region
from s3k_ros.perception.triangulator import KeypointTriangulator, Status

PIXELS = [(300.0, 200.0), (340.5, 222.25), (271.0, 260.75), (310.0, 290.5), (365.0, 275.0)]
# A heatmap cell is 4 px wide; discs with hard edges are located to an eighth of a cell.
TOLERANCE_PX = 0.5


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "blobs.onnx"
    write_model(path)
    return path


@pytest.fixture(scope="module")
def detector(path: Path) -> KeypointDetector:
    return KeypointDetector.load(str(path), keypoints=KEYPOINTS)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> KeypointDetector:
    path = tmp_path_factory.mktemp("model") / "single.onnx"
    write_model(path, crop=False)
    return KeypointDetector.load(str(path), keypoints=KEYPOINTS)


def found(view: ViewKeypoints | None) -> ViewKeypoints:
    assert view is not None
    return view


@pytest.mark.parametrize(("width", "height"), [(640, 480), (1280, 960), (800, 480), (320, 240)])
def test_blobs_are_found_in_images_of_any_size(
    detector: KeypointDetector, width: int, height: int
) -> None:
    scale = width / 640
    pixels = (np.array(PIXELS) + 0.5) * scale - 0.5
    view = found(detector.detect([paint(width, height, pixels, 8.0 * scale)])[0])
    assert np.abs(view.pixels - pixels).max() < TOLERANCE_PX * max(scale, 1.0)
    assert (view.confidences > 0.9).all()
    assert np.allclose(view.covariances[:, 0, 0], 0.25 * scale**2, rtol=0.5)


@pytest.mark.parametrize(("x", "y", "width", "height"), [(230, 160, 200, 170), (200, 0, 440, 480)])
def test_part_of_the_sensor_is_seen_as_in_the_whole_image(
    detector: KeypointDetector, x: int, y: int, width: int, height: int
) -> None:
    """The same crop at the same scale, so the same keypoints and covariances."""
    image = paint(640, 480, PIXELS)
    whole = found(detector.detect([image])[0])
    part = np.ascontiguousarray(image[y : y + height, x : x + width])
    view = found(detector.detect([part], [Region(-x, -y, 640, 480)])[0])
    assert np.abs(view.pixels + np.array([x, y]) - whole.pixels).max() < TOLERANCE_PX
    np.testing.assert_allclose(view.covariances, whole.covariances, rtol=0.1)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (800, 480), (320, 240)])
def test_model_of_one_stage_finds_the_blobs_in_the_whole_view(
    single: KeypointDetector, width: int, height: int
) -> None:
    scale = np.array([width / 640, height / 480])
    pixels = (np.array(PIXELS) + 0.5) * scale - 0.5
    view = found(single.detect([paint(width, height, pixels, 8.0 * scale.min())])[0])
    assert np.abs(view.pixels - pixels).max() < TOLERANCE_PX * max(*scale, 1.0)
    assert (view.confidences > 0.9).all()
    peaks = single.detect_peaks([paint(width, height, pixels)])[0]
    assert peaks is not None
    assert (peaks.region.x, peaks.region.width, peaks.region.height) == (0, width, height)
    assert single.timings.crop_s == 0.0
    assert single.timings.coarse_s > 0.0


def test_object_near_the_images_edge_is_found(detector: KeypointDetector) -> None:
    pixels = np.array(PIXELS) - [255.0, 185.0]
    view = found(detector.detect([paint(640, 480, pixels)])[0])
    assert np.abs(view.pixels - pixels).max() < TOLERANCE_PX


def test_hidden_keypoint_is_unsure_and_does_not_disturb_the_others(
    detector: KeypointDetector,
) -> None:
    view = found(detector.detect([paint(640, 480, [*PIXELS[:2], None, *PIXELS[3:]])])[0])
    assert view.confidences[2] < 0.2
    others = [0, 1, 3, 4]
    assert np.abs(view.pixels - PIXELS)[others].max() < TOLERANCE_PX
    assert (view.confidences[others] > 0.9).all()


def test_image_without_the_object_gives_no_confidence(detector: KeypointDetector) -> None:
    view = found(detector.detect([paint(640, 480, [])])[0])
    assert (view.confidences < 0.2).all()


BAD: dict[str, Callable[[], object]] = {
    "text": lambda: "image",
    "grey": lambda: np.zeros((480, 640), np.uint8),
    "alpha": lambda: np.zeros((480, 640, 4), np.uint8),
    "float": lambda: np.zeros((480, 640, 3), np.float32),
    "sixteen bit": lambda: np.zeros((480, 640, 3), np.uint16),
    "empty": lambda: np.zeros((0, 640, 3), np.uint8),
    "tiny": lambda: np.zeros((8, 8, 3), np.uint8),
}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_bad_image_is_refused_and_the_other_views_go_on(
    detector: KeypointDetector, kind: str
) -> None:
    bad = BAD[kind]()
    assert image_status(bad) == ViewStatus.BAD_IMAGE
    views = detector.detect([bad, paint(640, 480, PIXELS), None])  # type: ignore[list-item]
    assert views[0] is None
    assert views[2] is None
    assert np.abs(found(views[1]).pixels - PIXELS).max() < TOLERANCE_PX


def test_no_image_has_a_status_of_its_own(detector: KeypointDetector) -> None:
    assert image_status(None) == ViewStatus.NO_IMAGE
    assert image_status(paint(640, 480, [])) == ViewStatus.OK
    assert detector.detect([None, None]) == [None, None]
    assert detector.detect([]) == []
    assert detector.timings.total_s == 0.0


def test_views_of_a_batch_do_not_depend_on_each_other(detector: KeypointDetector) -> None:
    images = [paint(640, 480, np.add(PIXELS, [20.0 * i, -10.0 * i])) for i in range(4)]
    together = detector.detect(images)
    for image, view in zip(images, together, strict=True):
        alone = found(detector.detect([image])[0])
        assert np.allclose(alone.pixels, found(view).pixels, atol=1e-3)


def test_views_that_are_not_contiguous_are_read_right(detector: KeypointDetector) -> None:
    image = paint(640, 480, PIXELS)
    wide = np.zeros((480, 1280, 3), np.uint8)
    wide[:, ::2] = image
    view = found(detector.detect([wide[:, ::2]])[0])
    assert np.abs(view.pixels - PIXELS).max() < TOLERANCE_PX


def test_timings_are_taken_from_the_clock_for_every_stage(path: Path) -> None:
    ticks = iter(range(100))
    detector = KeypointDetector(KeypointModel.load(path), clock=lambda: float(next(ticks)))
    detector.detect([paint(640, 480, PIXELS)])
    timings = detector.timings
    assert (timings.prepare_s, timings.coarse_s, timings.crop_s, timings.decode_s) == (2, 1, 1, 2)
    assert timings.total_s == 6


def test_detector_refuses_a_model_of_other_keypoints(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="plug_tip"):
        KeypointDetector.load(str(path), keypoints=("plug_tip",))


def test_candidates_hold_both_blobs_of_one_colour(detector: KeypointDetector) -> None:
    image = paint(640, 480, PIXELS)
    twin = paint(640, 480, [None, None, None, None, (290.0, 235.0)])
    mask = (twin != paint(640, 480, [])).any(axis=-1)
    image[mask] = twin[mask]
    view = detector.detect_peaks([image], 3)[0]
    assert view is not None
    expected = [PIXELS[4], (290.0, 235.0)]
    for pixel in expected:
        assert np.abs(view.pixels[4, :2] - pixel).max(axis=-1).min() < TOLERANCE_PX
    assert np.allclose(view.masses[4, 0], view.masses[4, 1], rtol=0.2)
    assert view.masses[0, 0] > 5 * view.masses[0, 1]


def test_one_lost_keypoint_does_not_move_the_crop() -> None:
    pixels = np.array([[300.0, 200.0], [310.0, 210.0], [320.0, 220.0], [20.0, 460.0]])
    weights = np.array([1.0, 1.0, 1.0, 0.3])
    region = object_region(pixels, weights, 640, 480, description())
    middle = np.array([region.x, region.y]) + 0.5 * (region.width - 1)
    assert np.abs(middle - [310.0, 210.0]).max() < 8.0
    assert region.width == 256


def test_crop_without_any_keypoint_is_in_the_middle() -> None:
    region = object_region(np.full((2, 2), np.nan), np.zeros(2), 640, 480, description())
    assert (region.x, region.y) == (192, 112)
    unsure = object_region(np.full((2, 2), 100.0), np.zeros(2), 640, 480, description())
    assert (unsure.x, unsure.y) == (0, 0)


@pytest.mark.parametrize("lens", ["ideal", "plumb_bob", "rational_polynomial"])
def test_images_become_positions_in_space(detector: KeypointDetector, lens: str) -> None:
    cameras = make_rig(lens)
    points = np.array(
        [[0.60, 0.0, 0.02], [0.69, 0.05, 0.02], [0.51, 0.06, 0.03], [0.60, -0.09, 0.05],
         [0.52, -0.07, 0.08]]
    )  # fmt: skip
    views = detector.detect(paint_views(cameras, points, radius=6.0))
    estimates = KeypointTriangulator.from_description(description()).estimate(cameras, views)
    for estimate, point, name in zip(estimates, points, KEYPOINTS, strict=True):
        assert estimate.name == name
        assert estimate.status == Status.OK
        # 0.3 px at 1 m and f = 393.5 px is 0.8 mm.
        assert np.linalg.norm(estimate.position - point) < 0.0015
        assert estimate.reprojection_error < 1.0


def test_camera_that_stops_costs_a_view_and_three_cost_the_position(
    detector: KeypointDetector,
) -> None:
    cameras = make_rig()
    points = np.array([[0.60, 0.0, 0.02], [0.69, 0.05, 0.02], [0.51, 0.06, 0.03]])
    images: list[np.ndarray | None] = list(paint_views(cameras, points, radius=6.0))
    triangulator = KeypointTriangulator.from_description(description())
    for stopped, status in ((2, Status.OK), (3, Status.TOO_FEW_VIEWS)):
        left = [None if i < stopped else image for i, image in enumerate(images)]
        estimates = triangulator.estimate(cameras, detector.detect(left))
        assert [estimate.status for estimate in estimates[:3]] == [status] * 3
