"""The rig of image topics: sets, faults, counts."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest

from s3k_ros.cameras.port import CameraState, FrameSet, Reason
from s3k_ros.errors import ConfigurationError, DeviceUnavailableError
from s3k_ros.params.cameras import CameraRigParameters
from s3k_ros.perception.detector import ViewStatus
from s3k_ros.ros import conversions, qos
from s3k_ros.ros.node import S3kNode
from s3k_ros.ros.topic_rig import TopicImages, TopicRig

pytestmark = pytest.mark.ros

NAMES = ("a", "b", "c")
PATIENCE_S = 60.0


class Cell:
    """A rig in a node that spins, and the topics that it listens to."""

    def __init__(self, domain: int) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, args=[], domain_id=domain)
        self.node = S3kNode("topics", alone=False, context=self.context)
        parameters = CameraRigParameters(cameras=NAMES, set_timeout_s=0.2, queue_sets=3)
        self.rig = TopicRig(self.node, parameters)
        self.images = TopicImages(self.node, self.rig)
        make = self.node.create_publisher
        self.publishers = {n: make(Image, f"{n}/image_raw", qos.images()) for n in NAMES}
        self.infos = {n: make(CameraInfo, f"{n}/camera_info", qos.images()) for n in NAMES}
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def send(self, *names: str, **changed: Any) -> int:
        """Publishes one image a camera; their stamp."""
        stamp = time.time_ns()
        for name in names:
            image = np.zeros((36, 48, 3), np.uint8)
            image[::2] = ord(name)
            message = conversions.image_to_message(
                image, conversions.header(stamp, f"{name}_frame")
            )
            for field, value in changed.items():
                setattr(message, field, value)
            self.publishers[name].publish(message)
        return stamp

    def take(
        self, send: Callable[[], Any], wanted: Callable[[FrameSet], bool] = lambda _: True
    ) -> FrameSet:
        """Sends until a set comes for which ``wanted`` holds."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            send()
            found = self.rig.next_set(0.5)
            if found is not None and wanted(found):
                return found
        raise AssertionError(f"no such set: {self.rig.statistics()}")

    def close(self) -> None:
        self.rig.close()
        self.context.try_shutdown()
        self._thread.join(10.0)


@pytest.fixture
def cell(domain: int) -> Iterator[Cell]:
    made = Cell(domain)
    yield made
    made.close()


def test_images_of_one_stamp_make_a_set(cell: Cell) -> None:
    with pytest.raises(DeviceUnavailableError, match="not open"):
        cell.rig.start()
    cell.rig.open()
    assert cell.rig.next_set(0.0) is None
    cell.rig.start()
    found = cell.take(lambda: cell.send(*NAMES), lambda s: s.complete)
    assert tuple(found.frames) == NAMES
    assert found.skew_ns == 0
    for name, frame in found.frames.items():
        assert (frame.stamp_ns, frame.image.max()) == (found.stamp_ns, ord(name))
        assert not frame.image.flags.writeable
        view = cell.images.view(name, found)
        assert view.status == ViewStatus.OK
        assert view.header.frame_id == f"{name}_frame"
    again = cell.take(lambda: cell.send(*NAMES), lambda s: s.complete)
    assert again.set_id > found.set_id and again.stamp_ns > found.stamp_ns
    assert {c.state for c in cell.rig.statistics().cameras.values()} == {CameraState.STREAMING}
    cell.rig.stop()
    assert cell.rig.next_set(0.0) is None


def test_a_silent_camera_and_a_bad_image_cost_their_views(cell: Cell) -> None:
    cell.rig.open()
    cell.rig.start()
    cell.take(lambda: cell.send(*NAMES), lambda s: s.complete)
    found = cell.take(lambda: cell.send("a", "b"), lambda s: len(s.frames) == 2)
    assert found.missing == {"c": Reason.LOST}
    assert cell.images.view("c", found).status == ViewStatus.NO_IMAGE

    def send_bad() -> None:
        cell.send("a", "b")
        cell.send("c", encoding="jpeg")

    bad = cell.take(send_bad, lambda s: s.missing.get("c") is Reason.FAILED)
    assert cell.images.view("c", bad).status == ViewStatus.BAD_IMAGE
    assert cell.rig.statistics().cameras["c"].missed[Reason.FAILED] >= 1


def test_calibration_and_region_are_what_was_published(cell: Cell) -> None:
    cell.rig.open()
    cell.rig.start()
    found = cell.take(lambda: cell.send(*NAMES), lambda s: "b" in s.frames)
    assert cell.images.info(found.frames["b"]) is None
    end = time.monotonic() + PATIENCE_S
    while (info := cell.images.info(found.frames["b"])) is None and time.monotonic() < end:
        # A quarter of the sensor.
        region = RegionOfInterest(x_offset=48, y_offset=36, width=48, height=36)
        cell.infos["b"].publish(CameraInfo(width=96, height=72, roi=region))
        time.sleep(0.02)
    assert info is not None and (info.width, info.height) == (96, 72)
    view = cell.images.view("b", found)
    assert view.whole is not None
    assert (view.whole.width, view.whole.height) == (96, 72)
    assert cell.images.view("a", found).whole is None


def test_a_slow_consumer_gets_the_newest_sets(cell: Cell) -> None:
    cell.rig.open()
    cell.rig.start()
    cell.take(lambda: cell.send(*NAMES), lambda s: s.complete)
    end = time.monotonic() + PATIENCE_S
    while not cell.rig.statistics().refused.get(Reason.OVERFLOW) and time.monotonic() < end:
        cell.send(*NAMES)
        time.sleep(0.02)
    assert cell.rig.statistics().refused[Reason.OVERFLOW]
    with pytest.raises(ConfigurationError, match="a, b, c"):
        cell.rig.settings("zenith")
    with pytest.raises(ConfigurationError, match="its driver has them"):
        cell.rig.change("a", "gain_db", 1.0)
