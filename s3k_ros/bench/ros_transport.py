"""The two processes of `s3k bench transport`: `camera_rig`'s images out, and who receives them.

``python -m s3k_ros.bench.ros_transport publish|subscribe JSON`` with the fields of ``Job``. Each
prints one line of JSON when it is done; the subscriber ends when its standard input closes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import resource
import sys
import threading
import time
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from sensor_msgs.msg import Image

from s3k_ros.cameras.port import CameraRig, Frame, FrameSet
from s3k_ros.params.cameras import CameraRigParameters
from s3k_ros.ros import conversions, qos
from s3k_ros.ros.node import S3kNode
from s3k_ros.ros.resources import find_file
from s3k_ros.ros.rig_images import RigImages

# Longest wait for the other process.
DISCOVERY_S = 30.0
# Sets before the measured ones: DDS matches its endpoints and maps its segments.
WARM_UP_S = 1.0
# Sets that wait in the rig while another one is published.
QUEUE_SETS = CameraRigParameters().queue_sets
# Time for the last images to arrive.
LINGER_S = 0.5


@dataclasses.dataclass(frozen=True)
class Job:
    """What is sent.

    Attributes:
        cameras: how many images a set.
        width, height: px, bgr8.
        rate_hz: sets a second.
        seconds: that are measured.
    """

    cameras: int
    width: int
    height: int
    rate_hz: float
    seconds: float

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cameras."""
        return tuple(f"camera{i}" for i in range(self.cameras))

    @property
    def sets(self) -> int:
        """Sets that are measured."""
        return round(self.seconds * self.rate_hz)


def shipped_profile() -> str:
    """Path of the transport profile that comes with the package."""
    return str(find_file("config/fastdds.xml"))


def publish(job: Job) -> dict[str, Any]:
    """Publishes sets at a steady pace: stamps of the measured ones, processor seconds."""
    node = S3kNode("bench_publisher", alone=False)
    images = RigImages(node, cast(CameraRig, SimpleNamespace(cameras=job.names)), None)
    random = np.random.default_rng(0)
    size = (job.height, job.width, 3)
    pictures = [random.integers(0, 256, size, np.uint8) for _ in job.names]
    _await(lambda: all(node.count_subscribers(f"{n}/image_raw") for n in job.names))
    warm_up = round(WARM_UP_S * job.rate_hz)
    stamps: list[int] = []
    begun, used = time.monotonic(), 0.0
    for beat in range(warm_up + job.sets):
        if beat == warm_up:
            used = _processor_s()
        due = begun + beat / job.rate_hz
        late = time.monotonic() - due
        if late > QUEUE_SETS / job.rate_hz:
            continue  # cameras do not wait: the rig would have pushed out this set
        time.sleep(max(0.0, -late))
        stamp = time.time_ns()
        frames = {n: Frame(n, p, stamp, 0, beat) for n, p in zip(job.names, pictures, strict=True)}
        images.publish(FrameSet(beat + 1, stamp, 0, frames))
        if beat >= warm_up:
            stamps.append(stamp)
    used = _processor_s() - used
    time.sleep(LINGER_S)
    node.destroy_node()
    return {"stamps": stamps, "processor_s": used}


def subscribe(job: Job) -> dict[str, Any]:
    """Receives until standard input closes: by stamp, cameras heard and when the last one was."""
    node = S3kNode("bench_subscriber", alone=False)
    arrived: dict[int, dict[str, int]] = {}

    def take(name: str, message: Image) -> None:
        now = time.time_ns()
        if len(message.data) == 3 * job.width * job.height:
            stamp = conversions.nanoseconds(message.header.stamp)
            arrived.setdefault(stamp, {})[name] = now

    for name in job.names:
        node.listen(Image, f"{name}/image_raw", partial(take, name), qos.images())
    threading.Thread(target=_end_with_input, args=(node,), daemon=True).start()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    used = _processor_s()
    with contextlib.suppress(ExternalShutdownException):
        executor.spin()
    used = _processor_s() - used
    sets = {
        stamp: [len(by_camera), max(by_camera.values())] for stamp, by_camera in arrived.items()
    }
    return {"sets": sets, "processor_s": used}


def _end_with_input(node: S3kNode) -> None:
    sys.stdin.read()
    node.context.try_shutdown()


def _await(condition: Any) -> None:
    deadline = time.monotonic() + DISCOVERY_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the other process was not found")
        time.sleep(0.05)
    time.sleep(0.2)


def _processor_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    """Runs one of the two."""
    role, job = sys.argv[1], Job(**json.loads(sys.argv[2]))
    rclpy.init(args=[])
    print(json.dumps({"publish": publish, "subscribe": subscribe}[role](job)), flush=True)
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
