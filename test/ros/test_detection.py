"""What the detection stage of the nodes does when the model's device fails between two sets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from support.synthetic_model import KEYPOINTS, description, paint, write_model

from s3k_ros.errors import DeviceUnavailableError
from s3k_ros.perception.detector import KeypointDetector, ViewStatus
from s3k_ros.perception.model_file import KeypointModel
from s3k_ros.perception.model_slot import ModelSlot
from s3k_ros.ros import conversions
from s3k_ros.ros.detection import DetectionStage, View, ViewSet
from s3k_ros.ros.diagnostics import Level, Report, Stream
from s3k_ros.ros.node import S3kNode

pytestmark = pytest.mark.ros

CAMERAS = ("left", "right")
PIXELS = [(300.0, 240.0), (350.0, 200.0), (360.0, 270.0), (270.0, 290.0), (255.0, 200.0)]


class FakeNode:
    """What the stage needs of a node; keeps what it says."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.sent: list[Any] = []
        self.reports: dict[str, Any] = {}
        self.diagnostics = SimpleNamespace(
            stream=lambda name, timeout_s: Stream(timeout_s), add=self.reports.__setitem__
        )

    def advertise(self, kind: type, topic: str, profile: Any, *, exclusive: bool) -> Any:
        return SimpleNamespace(publish=self.sent.append, get_subscription_count=lambda: 0)

    def get_logger(self) -> Any:
        return SimpleNamespace(warning=self.warnings.append)

    def now_ns(self) -> int:
        return 2_000_000_000


class Gpu:
    """A stage on a device that fails when it is told to."""

    def __init__(self, network: Any) -> None:
        self.network, self.broken = network, False

    def __call__(self, images: Any) -> Any:
        if self.broken:
            raise DeviceUnavailableError("CUDAExecutionProvider failed: launch failure")
        return self.network(images)


@pytest.fixture
def gpu_model(tmp_path: Path) -> KeypointModel:
    write_model(tmp_path / "fox.onnx")
    plain = KeypointModel.load(tmp_path / "fox.onnx")
    return KeypointModel(
        description(), Gpu(plain.coarse), plain.crop, "fox",
        provider="CUDAExecutionProvider", reference=plain,
    )  # fmt: skip


def a_set(number: int) -> ViewSet:
    image = paint(640, 480, PIXELS)
    header = conversions.header(1_000_000_000 + number)
    views = [View(name, header, image, ViewStatus.OK) for name in CAMERAS]
    return ViewSet(number, 1_000_000_000 + number, 0, views)


def test_device_that_fails_costs_a_warning_and_no_set(gpu_model: KeypointModel) -> None:
    node = FakeNode()
    slot = ModelSlot(lambda path: KeypointDetector(gpu_model), Path("fox.onnx"), len(CAMERAS))
    stage = DetectionStage(cast(S3kNode, node), CAMERAS, slot, 1.0)
    messages = [stage.process(a_set(1))]
    assert not node.warnings
    cast(Gpu, gpu_model.coarse).broken = True
    messages += [stage.process(a_set(number)) for number in (2, 3)]
    text = "it runs on the CPU: CUDAExecutionProvider failed: launch failure"
    assert node.warnings == [f"model fox: {text}"]  # once
    for number, message in enumerate(messages, start=1):
        assert (message.set_id, message.model) == (number, "fox")
        for view in message.views:
            found = np.array([[k.u, k.v] for k in view.keypoints])
            assert [k.name for k in view.keypoints] == list(KEYPOINTS)
            assert np.abs(found - PIXELS).max() < 1.0
    report: Report = node.reports["model"]()
    assert report.level is Level.WARN
    assert text in report.message
    assert report.values["provider"] == "CPUExecutionProvider"


def test_view_without_an_image_keeps_its_place(gpu_model: KeypointModel) -> None:
    slot = ModelSlot(lambda path: KeypointDetector(gpu_model), Path("fox.onnx"), len(CAMERAS))
    stage = DetectionStage(cast(S3kNode, FakeNode()), CAMERAS, slot, 1.0)
    whole = a_set(1)
    lost = View("left", whole.views[0].header, None, ViewStatus.NO_IMAGE)
    message = stage.process(dataclasses.replace(whole, views=[lost, whole.views[1]]))
    assert [view.status for view in message.views] == [ViewStatus.NO_IMAGE, ViewStatus.OK]
    assert [len(view.keypoints) for view in message.views] == [0, len(KEYPOINTS)]
