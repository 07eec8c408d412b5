"""Where the processor's time goes in rclpy: processes with images, TF and 100 Hz joint states.

Starts a publisher (four cameras of 640 x 480 at 5 Hz with camera_info; joint states, /tf and /clock
at 100 Hz), `keypoint_detector`, `triangulator` and listeners that only receive, and prints the
processor time of each from /proc. It is CPU time, not wall time: other load on the machine changes
it little, but makes messages late. Run it on a ROS_DOMAIN_ID of its own::

    .venv/bin/s3k-env python benchmarks/ros_cpu.py --seconds 20
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

RATE_HZ = 100.0
IMAGE_RATE_HZ = 5.0
SETTLE_S = 5.0
START_S = 120.0
LISTENERS = {
    "joints at 100 Hz, SingleThreadedExecutor": ["joints", "single"],
    "joints at 100 Hz, MultiThreadedExecutor": ["joints", "multi"],
    "joints at 100 Hz, EventsExecutor": ["joints", "events"],
    "keypoints_2d, from the detector": ["views", "single"],
    "nothing, SingleThreadedExecutor": ["nothing", "single"],
    "/clock at 100 Hz (use_sim_time)": ["clock", "single"],
    "/tf at 100 Hz, 9 transforms": ["tf", "single"],
    "4 x 640 x 480 at 5 Hz": ["images", "single"],
}


def publish() -> None:
    """The cell's topics, with random images."""
    import numpy as np
    import rclpy
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import CameraInfo, Image, JointState
    from tf2_msgs.msg import TFMessage
    from tf2_ros import StaticTransformBroadcaster

    from s3k_ros.ros import conversions, qos
    from s3k_ros.simulation.rig import demo_rig

    rclpy.init()
    node = rclpy.create_node("publisher")
    cameras = demo_rig(640)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (480, 640, 3), np.uint8) for _ in cameras]
    images = [node.create_publisher(Image, f"{c.name}/image_raw", qos.images()) for c in cameras]
    infos = [
        node.create_publisher(CameraInfo, f"{c.name}/camera_info", qos.images()) for c in cameras
    ]
    joints = node.create_publisher(JointState, "/robot/joint_states", 10)
    clock = node.create_publisher(Clock, "/clock", 10)
    tf = node.create_publisher(TFMessage, "/tf", 100)
    static = StaticTransformBroadcaster(node)
    base = conversions.header(time.time_ns(), "base")
    poses = [c.base_from_camera for c in cameras]
    stamped = conversions.transform_stamped
    static.sendTransform(
        [stamped(p, base, f"{c.name}_optical") for c, p in zip(cameras, poses, strict=True)]
    )
    names = [f"right_j{i}" for i in range(7)] + ["robotiq_85_left_knuckle_joint"]
    state = JointState(name=names, position=[0.1] * 8, velocity=[0.0] * 8, effort=[0.0] * 8)
    chain = TFMessage(transforms=[stamped(poses[0], base, f"link_{i}") for i in range(9)])

    def step(tick: int) -> None:
        now = conversions.header(time.time_ns())
        state.header = now
        for transform in chain.transforms:
            transform.header.stamp = now.stamp
        clock.publish(Clock(clock=now.stamp))
        joints.publish(state)
        tf.publish(chain)
        if tick % round(RATE_HZ / IMAGE_RATE_HZ) == 0:
            exposed = time.time_ns()
            for camera, image, info, picture in zip(cameras, images, infos, pictures, strict=True):
                header = conversions.header(exposed, f"{camera.name}_optical")
                info.publish(conversions.camera_info(camera, header))
                image.publish(conversions.image_to_message(picture, header))

    _at_rate(step)


def _at_rate(step: Callable[[int], None]) -> None:
    start = time.monotonic()
    for tick in range(10**9):
        step(tick)
        time.sleep(max(0.0, start + (tick + 1) / RATE_HZ - time.monotonic()))


def listen(what: str, executor_name: str) -> None:
    """Receives one kind of message; prints how many came, once a second."""
    import rclpy
    from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
    from rclpy.experimental import EventsExecutor
    from sensor_msgs.msg import Image, JointState
    from tf2_ros import Buffer, TransformListener

    from s3k_ros.msg import MultiViewKeypoints
    from s3k_ros.params.nodes import CAMERAS
    from s3k_ros.ros import qos

    kinds = {"single": SingleThreadedExecutor, "multi": MultiThreadedExecutor}
    arguments = ["--ros-args", "-p", "use_sim_time:=true"] if what == "clock" else []
    rclpy.init(args=arguments)
    node = rclpy.create_node(f"listener_{os.getpid()}")
    count = 0

    def receive(_: object) -> None:
        nonlocal count
        count += 1
        print(count, flush=True)

    if what == "joints":
        node.create_subscription(JointState, "/robot/joint_states", receive, qos.sensors())
    elif what == "views":
        node.create_subscription(MultiViewKeypoints, "keypoints_2d", receive, qos.keypoints())
    elif what == "images":
        for name in CAMERAS:
            node.create_subscription(Image, f"{name}/image_raw", receive, qos.images())
    elif what == "tf":
        listener = TransformListener(Buffer(), node)  # noqa: F841
    executor = kinds[executor_name]() if executor_name in kinds else EventsExecutor()
    executor.add_node(node)
    executor.spin()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(folder: Path, model: str) -> dict[str, subprocess.Popen[bytes]]:
    """All processes; their output goes to files in the folder."""
    from ament_index_python.packages import get_package_prefix

    from s3k_ros.params.nodes import CAMERAS

    binaries = Path(get_package_prefix("s3k_ros")) / "lib" / "s3k_ros"
    this = [sys.executable, __file__]
    ros = ["--ros-args", "-p", f"model:={model}"]

    def variant(namespace: str) -> list[str]:
        topics = ["keypoints_2d", *(f"{name}/camera_info" for name in CAMERAS)]
        remaps = [word for topic in topics for word in ("-r", f"{topic}:=/{topic}")]
        return ["-r", f"__ns:=/{namespace}", *remaps]

    commands = {
        "publisher": [*this, "--role", "publish"],
        "keypoint_detector": [str(binaries / "keypoint_detector"), *ros],
        "triangulator": [str(binaries / "triangulator"), *ros],
        "triangulator, use_sim_time": [
            str(binaries / "triangulator"), *ros, "-p", "use_sim_time:=true", *variant("sim"),
        ],
        "triangulator, moving_cameras (follows /tf)": [
            str(binaries / "triangulator"), *ros, "-p", "moving_cameras:=true", *variant("moving"),
        ],
    }  # fmt: skip
    for claim, (what, executor) in LISTENERS.items():
        commands[claim] = [*this, "--role", "listen", "--listen", what, "--executor", executor]
    processes = {}
    for number, (name, command) in enumerate(commands.items()):
        log = (folder / f"{number}.log").open("wb")
        processes[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    return processes


def measure(seconds: float, model: str) -> dict[str, dict[str, float]]:
    """CPU per process in percent of one core, and messages a second of the listeners."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        processes = start(folder, model)
        try:
            wait_for_messages(folder, list(processes))
            before = [(cpu_seconds(p.pid), received(folder, i)) for i, p in numbered(processes)]
            begin = time.monotonic()
            time.sleep(seconds)
            wall = time.monotonic() - begin
            after = [(cpu_seconds(p.pid), received(folder, i)) for i, p in numbered(processes)]
        finally:
            for process in processes.values():
                process.kill()
    return {
        claim: {
            "cpu_percent": 100.0 * (b[0] - a[0]) / wall,
            "callbacks_hz": (b[1] - a[1]) / wall,
        }
        for claim, a, b in zip(processes, before, after, strict=True)
    }


def wait_for_messages(folder: Path, names: list[str]) -> None:
    """Waits until keypoints come out at the far end, and a little longer."""
    number = names.index("keypoints_2d, from the detector")
    end = time.monotonic() + START_S
    while not received(folder, number) and time.monotonic() < end:
        time.sleep(0.5)
    time.sleep(SETTLE_S)


def numbered(
    processes: dict[str, subprocess.Popen[bytes]],
) -> list[tuple[int, subprocess.Popen[bytes]]]:
    """The processes with the numbers of their log files."""
    return list(enumerate(processes.values()))


def received(folder: Path, number: int) -> int:
    """The last number that a listener printed; 0 when it prints none."""
    lines = (folder / f"{number}.log").read_text(errors="replace").split()
    return int(lines[-1]) if lines and lines[-1].isdigit() else 0


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--role", choices=("publish", "listen"))
    parser.add_argument("--listen", default="nothing")
    parser.add_argument("--executor", default="single")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--model", default="models/plush_fox.onnx")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.role == "publish":
        return publish()
    if options.role == "listen":
        return listen(options.listen, options.executor)
    figures = measure(options.seconds, str(Path(options.model).resolve()))
    print("| process | CPU, % of a core | messages/s | CPU, ms a message |")
    print("| --- | --- | --- | --- |")
    for claim, values in figures.items():
        cpu, rate = values["cpu_percent"], values["callbacks_hz"]
        cost = f"{10.0 * cpu / rate:.2f}" if rate else ""
        print(f"| {claim} | {cpu:.1f} | {f'{rate:.0f}' if rate else ''} | {cost} |")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return None


if __name__ == "__main__":
    main()
