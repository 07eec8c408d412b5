"""What `sawyer_gateway` adds in time, and what it costs: against the fake Sawyer of the tests.

The robot (`test/support/intera.py`, 100 Hz) and the rosbridge server run in this process, the
gateway in its own, over a real websocket on this machine; a network adds its own time. Prints
medians and the worst in ms, from the robot's flag or the client's call on; the robot's own loop
(10 ms) and rosbridge's throttle (`stream_rate_hz`) are in it. Give it a ROS_DOMAIN_ID of its own::

    ROS_DOMAIN_ID=61 .venv/bin/s3k-env python benchmarks/gateway_latency.py --count 50
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "test"))

import rclpy
from ament_index_python.packages import get_package_prefix
from builtin_interfaces.msg import Duration
from control_msgs.action import FollowJointTrajectory
from rclpy.action import ActionClient
from support.intera import ACTION, JOINTS, Intera
from support.rosbridge_server import RosbridgeServer
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from s3k_ros.msg import RobotState
from s3k_ros.ros import qos

PATIENCE_S = 60.0
POINTS = 100


class Bench:
    """The gateway's process, its robot, and a client."""

    def __init__(self) -> None:
        self.bridge = RosbridgeServer()
        self.robot = Intera(self.bridge)
        program = Path(get_package_prefix("s3k_ros")) / "lib/s3k_ros/sawyer_gateway"
        command = [program, "--ros-args", "-p", f"rosbridge_port:={self.bridge.port}"]
        self.gateway = subprocess.Popen(list(map(str, command)))
        rclpy.init()
        self.node = rclpy.create_node("bench")
        self.state = RobotState()
        self.node.create_subscription(RobotState, "/robot/state", self._on_state, qos.latched())
        self.client = ActionClient(self.node, FollowJointTrajectory, ACTION)
        self.until(lambda: self.client.server_is_ready() and self.ready())

    def close(self) -> None:
        """Ends the gateway and the robot."""
        self.gateway.terminate()
        self.gateway.wait(10.0)
        self.robot.close()
        self.bridge.close()

    def _on_state(self, message: RobotState) -> None:
        self.state = message

    def ready(self) -> bool:
        """Whether the robot may move."""
        return bool(self.state.connected and not self.state.reason)

    def until(self, done: Callable[[], bool]) -> float:
        """Milliseconds until ``done()``."""
        begun = time.perf_counter()
        while not done():
            rclpy.spin_once(self.node, timeout_sec=0.001)
            if time.perf_counter() - begun > PATIENCE_S:
                raise TimeoutError(done)
        return 1e3 * (time.perf_counter() - begun)

    def collision(self) -> float:
        """From the robot's collision to its state on this side."""
        self.robot.collision = True
        took = self.until(lambda: self.state.collision)
        self.robot.collision = False
        self.until(self.ready)
        return took

    def goal_and_cancel(self) -> tuple[float, float, float]:
        """To the robot's taking a goal; from a cancel to its stop; and to the client's result."""
        here, points = self.robot.position, []
        for index in range(POINTS):
            stamp = Duration(sec=index // 10, nanosec=index % 10 * 100_000_000)
            positions = (here + 1e-4 * index).tolist()
            points.append(JointTrajectoryPoint(positions=positions, time_from_start=stamp))
        trajectory = JointTrajectory(joint_names=list(JOINTS), points=points)
        sent = len(self.robot.sent)
        future = self.client.send_goal_async(FollowJointTrajectory.Goal(trajectory=trajectory))
        to_robot = self.until(lambda: len(self.robot.sent) > sent)
        self.until(lambda: future.done() and self.robot.moving)
        result = future.result().get_result_async()
        future.result().cancel_goal_async()
        to_stop = self.until(lambda: not self.robot.moving)
        return to_robot, to_stop, to_stop + self.until(result.done)

    def cpu_s(self) -> float:
        """Processor time of the gateway so far."""
        fields = Path(f"/proc/{self.gateway.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--cpu-seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    bench = Bench()
    try:
        before, begun = bench.cpu_s(), time.monotonic()
        end = begun + arguments.cpu_seconds
        bench.until(lambda: time.monotonic() > end)
        share = 100.0 * (bench.cpu_s() - before) / (time.monotonic() - begun)
        collisions = [bench.collision() for _ in range(arguments.count)]
        rows = list(zip(*(bench.goal_and_cancel() for _ in range(arguments.count)), strict=True))
    finally:
        bench.close()
    names = [f"goal of {POINTS} points to the robot", "cancel to the stop", "cancel to the result"]
    table = {"collision to /robot/state": collisions, **dict(zip(names, rows, strict=True))}
    for name, values in table.items():
        print(f"{name:36} median {statistics.median(values):6.1f} ms, worst {max(values):6.1f} ms")
    print(f"{'processor time at 50 Hz, no motion':36} {share:.1f} % of a core")


if __name__ == "__main__":
    main()
