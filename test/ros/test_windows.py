"""Regions of interest and binning in camera_info: the same points in space, whatever is cut out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from support.rigs import LENSES, make_rig
from support.synthetic_model import BACKGROUND, description, paint_views, write_model
from tf2_msgs.msg import TFMessage

from s3k_ros.calibration.rig_file import rig_text
from s3k_ros.cameras.port import Frame, FrameSet
from s3k_ros.cameras.window import Window
from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.perception.detector import KeypointDetector, ViewKeypoints
from s3k_ros.perception.regions import Region
from s3k_ros.perception.triangulator import KeypointTriangulator, Status
from s3k_ros.ros import conversions, rig_images
from s3k_ros.ros.calibration import CameraCalibrations

POINT = np.array([[0.612, 0.017, 0.043]])
# Another part of the sensor in each camera; all of them show the point.
WINDOWS = [
    Window(0, 0, 1, 640, 480),
    Window(64, 32, 2, 640, 480),
    Window(101, 53, 3, 640, 480),
    Window(250, 160, 1, 640, 480),
]
SIZES = [(640, 480), (256, 200), (150, 120), (200, 180)]


def windowed_info(camera: Camera, window: Window, size: tuple[int, int]) -> CameraInfo:
    info = conversions.camera_info(camera, conversions.header(0, f"{camera.name}_optical"))
    rig_images._set_window(info, window, *size)
    return info


def cut(image: np.ndarray, window: Window, size: tuple[int, int]) -> np.ndarray:
    """What the sensor hands out: a region, then blocks of pixels averaged."""
    width, height = size
    b = window.binning
    part = image[window.y : window.y + b * height, window.x : window.x + b * width]
    return part.reshape(height, b, width, b, -1).mean(axis=(1, 3))


def centroid(image: np.ndarray) -> np.ndarray:
    """Centre of the one disc, px."""
    weights = np.abs(image.astype(np.float64) - BACKGROUND).sum(axis=-1)
    moments = cv2.moments(weights)
    return np.array([moments["m10"], moments["m01"]]) / moments["m00"]


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize(("window", "size"), list(zip(WINDOWS, SIZES, strict=True)))
def test_every_pixel_looks_along_the_ray_of_the_pixels_it_was_made_of(
    lens: str, window: Window, size: tuple[int, int]
) -> None:
    camera = make_rig(lens)[1]
    # Each pixel of this image holds its own coordinates, so a block's mean is the block's centre.
    v, u = np.mgrid[: camera.height, : camera.width].astype(np.float64)
    made_of = cut(np.stack([u, v], axis=-1), window, size)[5::40, 7::40].reshape(-1, 2)
    info = windowed_info(camera, window, size)
    part = conversions.camera_from_messages("cam1", info, camera.base_from_camera)
    assert (part.width, part.height) == size
    own_v, own_u = np.mgrid[5 : size[1] : 40, 7 : size[0] : 40]
    own = np.stack([own_u.ravel(), own_v.ravel()], axis=-1)
    np.testing.assert_allclose(part.rays(own), camera.rays(made_of), atol=1e-9)


def triangulated(
    cameras: list[Camera], pixels: list[np.ndarray], binning: tuple[int, ...] = (1, 1, 1, 1)
) -> np.ndarray:
    """The point of four views, each as sure as it is on the sensor: 1 px there."""
    views = [
        ViewKeypoints(p[np.newaxis], np.eye(2)[np.newaxis] / b**2, np.array([0.95]))
        for p, b in zip(pixels, binning, strict=True)
    ]
    model = description(("tip",))
    [estimate] = KeypointTriangulator.from_description(model).estimate(cameras, views)
    assert estimate.status == Status.OK
    return estimate.position


def test_images_of_regions_and_binned_ones_give_the_same_point_as_whole_ones() -> None:
    cameras = make_rig("plumb_bob")
    images = [image.astype(np.float64) for image in paint_views(cameras, POINT)]
    whole = triangulated(cameras, [centroid(image) for image in images])
    parts, pixels = [], []
    for camera, image, window, size in zip(cameras, images, WINDOWS, SIZES, strict=True):
        pixels.append(centroid(cut(image, window, size)))
        info = windowed_info(camera, window, size)
        parts.append(conversions.camera_from_messages("c", info, camera.base_from_camera))
    binning = tuple(window.binning for window in WINDOWS)
    found = triangulated(parts, pixels, binning)
    # Without the halves of a pixel in the rule it would be off by 1.3 mm.
    assert np.abs(found - whole).max() < 0.02e-3
    assert np.abs(whole - POINT[0]).max() < 0.3e-3


@pytest.mark.parametrize(
    ("roi", "binning"),
    [
        (RegionOfInterest(), 0),  # all zero means the whole image
        (RegionOfInterest(width=640, height=480), 1),
        (RegionOfInterest(), 2),
    ],
)
def test_empty_region_means_the_whole_image(roi: RegionOfInterest, binning: int) -> None:
    camera = make_rig()[0]
    info = conversions.camera_info(camera, conversions.header(0))
    info.roi, info.binning_x, info.binning_y = roi, binning, binning
    found = conversions.camera_from_messages("cam0", info, camera.base_from_camera)
    scale = max(binning, 1)
    assert (found.width, found.height) == (640 // scale, 480 // scale)


@pytest.mark.parametrize(
    "change",
    [
        {"roi": RegionOfInterest(x_offset=600, width=64, height=64)},
        {"roi": RegionOfInterest(x_offset=8)},  # an offset without a size says nothing
        {"roi": RegionOfInterest(width=64)},
        {"binning_x": 700},
    ],
)
def test_region_that_is_no_part_of_the_image_is_refused(change: dict[str, Any]) -> None:
    camera = make_rig()[0]
    info = conversions.camera_info(camera, conversions.header(0))
    for key, value in change.items():
        setattr(info, key, value)
    with pytest.raises(ConfigurationError, match="is no part of its 640 x 480 px"):
        conversions.camera_from_messages("cam0", info, camera.base_from_camera)


@pytest.mark.parametrize(
    ("window", "size", "whole"),
    [
        (WINDOWS[0], SIZES[0], None),
        (WINDOWS[1], SIZES[1], Region(-32, -16, 320, 240)),
        (WINDOWS[2], SIZES[2], Region(-34, -18, 213, 160)),
        (WINDOWS[3], SIZES[3], Region(-250, -160, 640, 480)),
        (WINDOWS[3], (100, 100), None),  # of another image
    ],
)
def test_whole_image_is_told_in_pixels_of_the_part(
    window: Window, size: tuple[int, int], whole: Region | None
) -> None:
    info = windowed_info(make_rig()[0], window, SIZES[WINDOWS.index(window)])
    assert conversions.whole_image(info, *size) == whole
    assert conversions.whole_image(None, *size) is None


class Node:
    """As much of a node as `CameraCalibrations` and `RigImages` need."""

    def __init__(self) -> None:
        self.diagnostics = SimpleNamespace(add=lambda name, check: None)

    def advertise(self, *args: Any, **kwargs: Any) -> None:
        return None

    def create_subscription(self, kind: type, topic: str, callback: Callable, profile: Any) -> None:
        self.hear = callback


@pytest.fixture
def calibrations() -> CameraCalibrations:
    node = Node()
    made = CameraCalibrations(node, ["cam0"], "base", moving=False)  # type: ignore[arg-type]
    node.hear(TFMessage(transforms=[static_pose(make_rig()[0])]))
    return made


def static_pose(camera: Camera) -> TransformStamped:
    header = conversions.header(0, "base")
    return conversions.transform_stamped(camera.base_from_camera, header, f"{camera.name}_optical")


def stamped(info: CameraInfo, seconds: int) -> CameraInfo:
    info.header.stamp = Time(sec=seconds)
    return info


def widths_at(calibrations: CameraCalibrations, *times: int) -> list[int | None]:
    """Width of the image at times in s; None where the calibration is refused."""
    found: list[int | None] = []
    for seconds in times:
        try:
            camera = calibrations.camera("cam0", "cam0_optical", Time(sec=seconds))
            found.append(camera.width)
        except DataError:
            found.append(None)
    return found


def learn(calibrations: CameraCalibrations, *learned: tuple[int, int]) -> None:
    """Hands on camera_info: time in s and which of `WINDOWS`."""
    for seconds, i in learned:
        info = windowed_info(make_rig()[0], WINDOWS[i], SIZES[i])
        calibrations.learn("cam0", stamped(info, seconds))


def test_region_that_changes_holds_for_the_images_that_it_came_with(
    calibrations: CameraCalibrations,
) -> None:
    learn(calibrations, (10, 0), (11, 0), (12, 0), (13, 1), (14, 1), (15, 3))
    # The last one is of a set that comes late.
    assert widths_at(calibrations, 5, 10, 12, 13, 14, 15, 99, 11) == [
        640, 640, 640, 256, 256, 200, 200, 640,
    ]  # fmt: skip


def test_image_between_two_regions_has_no_calibration(calibrations: CameraCalibrations) -> None:
    """Its own camera_info was lost: either may hold, and a wrong one would give a wrong point."""
    learn(calibrations, (10, 0), (14, 1), (15, 1))
    assert widths_at(calibrations, 10, 12, 14) == [640, None, 256]


def test_rare_camera_info_holds_until_another_one_comes(calibrations: CameraCalibrations) -> None:
    learn(calibrations, (10, 0))
    assert widths_at(calibrations, 9, 10, 11, 500) == [640] * 4
    learn(calibrations, (600, 0))
    assert widths_at(calibrations, 300, 700) == [640] * 2


def test_driver_without_stamps_is_believed_in_its_newest_words(
    calibrations: CameraCalibrations,
) -> None:
    learn(calibrations, (0, 0), (0, 1))
    assert widths_at(calibrations, 0, 1000) == [256, 256]


def test_clock_that_is_set_back_forgets_what_was_known(calibrations: CameraCalibrations) -> None:
    learn(calibrations, (100, 0), (110, 1), (3, 3))
    assert widths_at(calibrations, 2, 150) == [200, 200]


# --- end to end ---------------------------------------------------------------------------------

POINTS = np.array(
    [[0.6, 0.0, 0.0], [0.68, 0.06, 0.02], [0.68, -0.06, 0.02], [0.53, 0.06, 0.03], [0.53, -0.06, 0]]
)
# What the cameras of a rig are set to while images go on coming, in turn.
LIVE = [
    (Window(0, 0, 1, 640, 480), (640, 480)),
    (Window(0, 0, 2, 640, 480), (320, 240)),
    (Window(64, 48, 1, 640, 480), (512, 384)),
    (Window(96, 30, 1, 640, 480), (512, 400)),
    (Window(40, 40, 2, 640, 480), (280, 200)),
]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> KeypointDetector:
    path = tmp_path_factory.mktemp("model") / "blobs.onnx"
    write_model(path)
    return KeypointDetector.load(str(path))


def test_keypoints_stay_where_they_are_while_regions_and_binning_change(
    detector: KeypointDetector, tmp_path: Path
) -> None:
    """Images of a sensor -> camera_info of the rig -> detector -> calibration -> triangulator."""
    cameras = make_rig("plumb_bob")
    (tmp_path / "rig.yaml").write_text(rig_text(cameras, "base"))
    node = Node()
    names = [camera.name for camera in cameras]
    images = rig_images.RigImages(node, SimpleNamespace(cameras=names), tmp_path / "rig.yaml")
    known = CameraCalibrations(node, names, "base", moving=False)
    node.hear(TFMessage(transforms=[static_pose(camera) for camera in cameras]))
    triangulator = KeypointTriangulator.from_description(detector.model.description)
    sensors = [image.astype(np.float64) for image in paint_views(cameras, POINTS)]
    sets = []
    for seconds, (window, size) in enumerate(LIVE * 2, 1):
        frames = [
            Frame(name, cut(sensor, window, size).astype(np.uint8), 10**9 * seconds, 1, 1, window)
            for name, sensor in zip(names, sensors, strict=True)
        ]
        for frame in frames:
            known.learn(frame.camera, images.info(frame))
        together = FrameSet(seconds, 0, 0, {frame.camera: frame for frame in frames})
        views = [images.view(name, together) for name in names]
        assert (views[0].whole is None) == (window.x == 0)  # binning alone cuts nothing off
        found = detector.detect([view.image for view in views], [view.whole for view in views])
        sets.append((seconds, found))
    # As over DDS: the keypoints of a set come after the camera_info of later ones.
    for seconds, views in sets[-5:]:
        found = triangulator.estimate(
            [known.camera(name, f"{name}_optical", Time(sec=seconds)) for name in names], views
        )
        assert [estimate.status for estimate in found] == [Status.OK] * len(POINTS)
        errors = np.linalg.norm([e.position for e in found] - POINTS, axis=1)
        assert errors.max() < 2e-3, (seconds, errors)  # half a pixel of the binned image
