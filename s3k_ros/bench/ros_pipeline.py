"""The processes of `s3k bench pipeline`: nodes on cameras that show pictures, and who listens.

``python -m s3k_ros.bench.ros_pipeline NODE PICTURES --ros-args ...`` runs a node. Those with
cameras have four fake ones in place of real ones, with all of the rig's threads, pairing and
debayering. ``python -m s3k_ros.bench.ros_pipeline listen JOB`` receives the keypoints and prints a
line of JSON.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor

from s3k_ros.cameras.device import CameraDevice, DeviceInfo, RawFrame
from s3k_ros.cameras.fake import FakeBus, FakeCamera, FakeDevice
from s3k_ros.cameras.port import CameraRig
from s3k_ros.cameras.rig import DeviceRig
from s3k_ros.msg import Keypoint3D, Keypoint3DArray
from s3k_ros.nodes.camera_rig import CameraRigNode
from s3k_ros.nodes.keypoint_detector import KeypointDetectorNode
from s3k_ros.nodes.perception import PerceptionNode
from s3k_ros.nodes.rig_description import RigDescriptionNode
from s3k_ros.nodes.triangulator import TriangulatorNode
from s3k_ros.ros import conversions, qos
from s3k_ros.ros.node import S3kNode, run_node
from s3k_ros.ros.resources import find_file
from s3k_ros.ros.rig_source import RigConfiguration

# Longest wait for the first keypoint: the nodes start, load their models and find each other.
START_S = 60.0

Image = NDArray[np.uint8]


class PictureDevice(FakeDevice):
    """A fake camera whose images are pictures, in Bayer's pattern; all cameras show one scene."""

    def __init__(self, camera: FakeCamera, bus: FakeBus, pictures: Image) -> None:
        super().__init__(camera, bus)
        self._pictures = pictures

    def grab(self, timeout_s: float) -> RawFrame | None:
        """See `CameraDevice`."""
        frame = super().grab(timeout_s)
        if frame is None:
            return None
        trigger = int(frame.data[0, 0])  # what a fake camera's images show
        return dataclasses.replace(frame, data=self._pictures[trigger % len(self._pictures)])


class PictureBus(FakeBus):
    """Fake cameras with pictures.

    Args:
        pictures: (S, N, H, W) as `mosaic` makes them.
        serials: of the N cameras.
    """

    def __init__(self, pictures: Image, serials: list[str]) -> None:
        height, width = pictures.shape[2:]
        super().__init__([FakeCamera(s, width=width, height=height) for s in serials])
        self._pictures = dict(zip(serials, pictures.swapaxes(0, 1), strict=True))

    def open(self, info: DeviceInfo) -> CameraDevice:
        """See `CameraBus`."""
        [camera] = [c for c in self.cameras if c.serial == info.serial]
        return PictureDevice(camera, self, self._pictures[info.serial])


def mosaic(images: Image) -> Image:
    """What sensors with the pattern BayerRG8 see of BGR images (..., H, W, 3): (..., H, W)."""
    raw = images[..., 1].copy()
    raw[..., ::2, ::2] = images[..., ::2, ::2, 2]
    raw[..., 1::2, 1::2] = images[..., 1::2, 1::2, 0]
    return raw


def picture_rig(path: Path) -> Callable[[RigConfiguration], CameraRig]:
    """Makes a rig of cameras that show the pictures of a file."""

    def make(c: RigConfiguration) -> CameraRig:
        bus = PictureBus(np.load(path), list(c.parameters.identities.values()))
        return DeviceRig(c.parameters, c.settings, c.trigger, bus)

    return make


def node_factory(name: str, pictures: Path) -> Callable[[], S3kNode]:
    """How to make a node by its name."""
    with_cameras = {"perception": PerceptionNode, "camera_rig": CameraRigNode}
    others: dict[str, Callable[[], S3kNode]] = {
        "keypoint_detector": KeypointDetectorNode,
        "triangulator": TriangulatorNode,
        "rig_description": RigDescriptionNode,
    }
    if name in others:
        return others[name]
    return lambda: with_cameras[name](picture_rig(pictures))


@dataclasses.dataclass(frozen=True)
class Job:
    """What is listened to.

    Attributes:
        seconds: that are measured.
        settle_s: before that, after the first keypoints.
        pids: processes by name, whose processor time counts.
    """

    seconds: float
    settle_s: float
    pids: dict[str, int]


class Listener:
    """Receives keypoints and diagnostics, from the first good keypoint on."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.node = S3kNode("bench_listener", alone=False)
        self.begin: float | None = None
        self._used: dict[str, float] = {}
        # set_id, latency in ms, receipt in s, keypoints with a position.
        self.sets: list[tuple[int, float, float, int]] = []
        self.values: dict[str, list[float]] = collections.defaultdict(list)
        self.node.listen(Keypoint3DArray, "keypoints", self._take, qos.keypoints())
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._learn, 10)

    def _take(self, message: Keypoint3DArray) -> None:
        now = time.time_ns()
        latency_ms = 1e-6 * (now - conversions.nanoseconds(message.header.stamp))
        good = sum(k.status == Keypoint3D.OK for k in message.keypoints)
        if self.begin is None:
            if good:
                self.begin = 1e-9 * now + self.job.settle_s
            return
        if 1e-9 * now >= self.begin:
            self._used = self._used or self.processor_s()
            self.sets.append((message.set_id, latency_ms, 1e-9 * now, good))

    def _learn(self, message: DiagnosticArray) -> None:
        if not self.sets:
            return
        for status in message.status:
            for value in status.values:
                if value.key.endswith("_ms") or value.key in ("latency_ms_median", "dropped"):
                    self.values[f"{status.name}: {value.key}"].append(float(value.value))

    def processor_s(self) -> dict[str, float]:
        """User and system time of each process with all its threads."""
        ticks = os.sysconf("SC_CLK_TCK")
        used = {}
        for name, pid in self.job.pids.items():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used[name] = (int(fields[11]) + int(fields[12])) / ticks
        return used

    def run(self) -> dict[str, Any]:
        """Listens for the job's time; what was received."""
        executor = SingleThreadedExecutor()
        executor.add_node(self.node)
        limit = time.time() + START_S
        while time.time() < (limit if self.begin is None else self.begin + self.job.seconds):
            executor.spin_once(0.1)
        if not self.sets:
            raise TimeoutError("no keypoint with a position came")
        end = self.processor_s()
        return {
            "sets": self.sets,
            "processor_s": {name: end[name] - self._used[name] for name in end},
            "diagnostics": {name: float(np.median(v)) for name, v in self.values.items()},
        }


def profile() -> str:
    """Path of the transport profile that comes with the package."""
    return str(find_file("config/fastdds.xml"))


def main() -> int:
    """Runs a node, or listens."""
    if sys.argv[1] == "listen":
        rclpy.init(args=[])
        print(json.dumps(Listener(Job(**json.loads(sys.argv[2]))).run()), flush=True)
        rclpy.try_shutdown()
        return 0
    name, pictures = sys.argv.pop(1), Path(sys.argv.pop(1))
    return run_node(node_factory(name, pictures))


if __name__ == "__main__":
    sys.exit(main())
