"""Images and diagnostics of a rig, without ROS running."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.rigs import make_rig

from s3k_ros.calibration.rig_file import rig_text
from s3k_ros.cameras.port import (
    CameraState,
    CameraStatistics,
    Frame,
    FrameSet,
    Reason,
    RigStatistics,
)
from s3k_ros.cameras.window import Window
from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.se3 import Transform
from s3k_ros.perception.detector import ViewStatus
from s3k_ros.ros import conversions, rig_images
from s3k_ros.ros.diagnostics import Level, Report
from s3k_ros.ros.rig_images import RigImages
from s3k_ros.ros.rig_report import RigReport

NAMES = ("cam0", "cam1")


class Publisher:
    def __init__(self) -> None:
        self.listeners = 0
        self.sent: list = []

    def get_subscription_count(self) -> int:
        return self.listeners

    def publish(self, message: object) -> None:
        self.sent.append(message)


class Node:
    """As much of a node as these need; its own diagnostics."""

    def __init__(self) -> None:
        self.topics: dict[str, Publisher] = {}
        self.checks: dict[str, Callable[[], Report]] = {}
        self.diagnostics = self

    def advertise(self, kind: type, topic: str, profile: object, *, exclusive: bool) -> Publisher:
        return self.topics.setdefault(topic, Publisher())

    def add(self, name: str, check: Callable[[], Report]) -> None:
        self.checks[name] = check


class Rig:
    cameras = NAMES

    def __init__(self) -> None:
        self.counts = RigStatistics()

    def statistics(self) -> RigStatistics:
        return self.counts


def frame_set(shape: tuple[int, ...] = (480, 640, 3), without: tuple[str, ...] = ()) -> FrameSet:
    image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    frames = {n: Frame(n, image, 7_000, 10, 1) for n in NAMES if n not in without}
    return FrameSet(3, 7_000, 0, frames, dict.fromkeys(without, Reason.LOST))


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def images(node: Node, tmp_path: Path) -> RigImages:
    (tmp_path / "rig.yaml").write_text(rig_text(make_rig()[:1], "base"))
    return RigImages(node, Rig(), tmp_path / "rig.yaml")  # type: ignore[arg-type]


def test_nothing_is_published_while_nobody_listens(node: Node, images: RigImages) -> None:
    images.publish(frame_set())
    assert not any(topic.sent for topic in node.topics.values())
    node.topics["cam1/image_raw"].listeners = 1
    images.publish(frame_set())
    assert [name for name, topic in node.topics.items() if topic.sent] == ["cam1/image_raw"]


def test_camera_without_calibration_has_images_and_a_warning(node: Node, images: RigImages) -> None:
    assert "cam0/camera_info" in node.topics
    assert "cam1/camera_info" not in node.topics
    report = node.checks["camera_info"]()
    assert (report.level, report.message) == (Level.WARN, "the rig file has no cam1")


def test_grey_image_becomes_the_colour_image_that_the_detector_would_read(
    node: Node, images: RigImages
) -> None:
    frames = frame_set((480, 640))
    node.topics["cam0/image_raw"].listeners = 1
    images.publish(frames)
    [message] = node.topics["cam0/image_raw"].sent
    assert message.encoding == "mono8"
    view = images.view("cam0", frames)
    assert np.array_equal(view.image, conversions.image_from_message(message))
    assert view.header == message.header


def test_camera_without_an_image_says_so(images: RigImages) -> None:
    view = images.view("cam1", frame_set(without=("cam1",)))
    assert (view.status, view.image) == (ViewStatus.NO_IMAGE, None)
    assert view.header.frame_id == "cam1_optical"


def frame(width: int, height: int, window: Window | None) -> Frame:
    return Frame("cam0", np.zeros((height, width, 3), np.uint8), 7_000, 10, 1, window)


def test_part_of_the_sensor_is_given_in_the_whole_sensors_pixels(images: RigImages) -> None:
    info = images.info(frame(160, 120, Window(20, 40, 2, 640, 480)))
    assert info is not None
    assert (info.width, info.height, info.binning_x, info.binning_y) == (640, 480, 2, 2)
    assert (info.roi.x_offset, info.roi.y_offset) == (20, 40)
    assert (info.roi.width, info.roi.height) == (320, 240)
    assert images.info(frame(640, 480, Window(0, 0, 1, 640, 480))).roi.width == 0


def test_region_that_moves_while_images_come_is_followed(images: RigImages) -> None:
    found = [images.info(frame(320, 240, Window(x, 0, 1, 640, 480))) for x in (0, 64, 320)]
    assert [info.roi.x_offset for info in found] == [0, 64, 320]


def test_sensor_that_binning_does_not_divide_is_still_the_calibrated_one(node: Node) -> None:
    assert rig_images._is_sensor((642, 482), Window(0, 0, 4, 640, 480))
    assert not rig_images._is_sensor((644, 480), Window(0, 0, 4, 640, 480))


def test_calibration_of_a_part_of_the_sensor_holds_for_no_other_part(
    node: Node, images: RigImages
) -> None:
    assert any(images.info(frame(640, 480, Window(100, 0, 1, 1280, 960))).k)
    assert node.checks["camera_info"]().level is Level.WARN  # of cam1 alone
    for other in (frame(640, 480, Window(104, 0, 1, 1280, 960)), frame(320, 240, None)):
        info = images.info(other)
        assert not any(info.k)  # not calibrated, as CameraInfo says it
        with pytest.raises(ConfigurationError, match="not calibrated"):
            conversions.camera_from_messages("cam0", info, Transform.identity())
        report = node.checks["camera_info"]()
        assert report.level is Level.ERROR
        assert "cam0: the calibration is for 640 x 480 px" in report.message
    assert any(images.info(frame(640, 480, Window(100, 0, 1, 1280, 960))).k)


def counts(
    sets: int = 20, refused: int = 0, missed: int = 0, **states: CameraState
) -> RigStatistics:
    cameras = {
        name: CameraStatistics(
            states.get(name, CameraState.STREAMING), received=sets, missed={Reason.FAILED: missed}
        )
        for name in NAMES
    }
    return RigStatistics(sets, sets, {Reason.SKEW: refused}, 100_000, 90_000, 200_000, cameras)


@pytest.mark.parametrize(
    ("before", "now", "level", "text"),
    [
        (counts(10), counts(30), Level.OK, "20 sets in the last second"),
        (counts(10), counts(10), Level.ERROR, "no set since a second"),
        (counts(10), counts(10, refused=9), Level.ERROR, "9 x the exposures of the set lie too"),
        (counts(10), counts(30, refused=2), Level.WARN, "sets refused: 2 x the exposures"),
        (counts(10), counts(30, cam1=CameraState.ABSENT), Level.WARN, "sets without cam1"),
        (counts(10, refused=5), counts(30, refused=5), Level.OK, "20 sets"),
    ],
)
def test_rig_reports_what_became_of_its_sets(
    node: Node, before: RigStatistics, now: RigStatistics, level: Level, text: str
) -> None:
    rig = Rig()
    report = RigReport(node, rig)  # type: ignore[arg-type]
    report.is_open = report.active = True
    rig.counts = before
    node.checks["rig"]()
    rig.counts = now
    found = node.checks["rig"]()
    assert found.level is level
    assert text in found.message
    assert found.values["skew_ms"] == pytest.approx(0.1)


def test_stopped_rig_is_no_fault(node: Node) -> None:
    report = RigReport(node, Rig())  # type: ignore[arg-type]
    found = node.checks["rig"](), node.checks["camera cam0"]()
    assert {(r.level, r.message) for r in found} == {(Level.OK, "not configured")}
    report.is_open = True
    assert node.checks["rig"]() == Report(Level.OK, "stopped", node.checks["rig"]().values)


@pytest.mark.parametrize(
    ("now", "level", "text"),
    [
        (counts(30), Level.OK, "streaming"),
        (counts(30, missed=3), Level.WARN, "3 x the frame arrived damaged"),
        (counts(30, cam0=CameraState.ABSENT), Level.ERROR, "not connected"),
        (counts(30, cam0=CameraState.SILENT), Level.ERROR, "connected, but sends nothing"),
    ],
)
def test_camera_reports_its_state_and_its_losses(
    node: Node, now: RigStatistics, level: Level, text: str
) -> None:
    rig = Rig()
    RigReport(node, rig).is_open = True  # type: ignore[arg-type]
    rig.counts = counts(10)
    node.checks["camera cam0"]()
    rig.counts = now
    found = node.checks["camera cam0"]()
    assert found.level is level
    assert text in found.message
