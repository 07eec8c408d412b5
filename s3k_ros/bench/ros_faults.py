"""Hostile goals to a real grasp server over ROS: the part of `s3k bench faults --hostile`.

The server runs as a process of its own beside a robot that would move if it were told to: joint
states, wrench, robot state and keypoints of an object within reach are all there, and its action
servers count what they are asked for. Many goals are under way at a time; one that meets another
(BUSY) is sent again, so that each is judged for itself.
"""

from __future__ import annotations

import collections
import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from ament_index_python.packages import get_package_prefix
from control_msgs.action import FollowJointTrajectory, ParallelGripperCommand
from geometry_msgs.msg import Point, WrenchStamped
from rclpy.action import ActionClient, ActionServer, GoalResponse
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState

from s3k_ros.action import GraspAtKeypoint
from s3k_ros.bench.ros_hostile_goals import KINDS, hostile_goal
from s3k_ros.errors import DeviceUnavailableError
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.msg import Keypoint3D, Keypoint3DArray, KeypointModel, RobotState
from s3k_ros.params.grasp import GraspServerParameters, RobotParameters
from s3k_ros.results import Result, Target
from s3k_ros.ros import qos

# Below those of the tests and of the other benchmarks.
DOMAINS = range(40, 60)
NAMES = ("head", "left_front_paw", "right_front_paw", "body", "tail")
PLACES = {"right_front_paw": (0.60, 0.05, -0.13), "body": (0.66, 0.12, -0.11)}
# Of the gripper: there may be something between the jaws, so that places are looked at too.
HOLDING_RAD = 0.5
_UNDER_WAY = 12
_TRIES = 200
_ANSWER_S = 30.0
_START_S = 60.0
_PARAMS = {
    "tf_timeout_s": 0.0, "tick_rate_hz": 100.0, "log_folder": "''", "scene": "''",
    "input_timeout_s": 10.0,
}  # fmt: skip


class WitnessRobot(Node):
    """A robot that is well, and counts whatever it is told."""

    def __init__(self, context: rclpy.Context) -> None:
        super().__init__("witness_robot", context=context)
        names, robot = GraspServerParameters(), RobotParameters()
        self.commands: collections.Counter[str] = collections.Counter()
        self._robot = robot
        self._arm = ActionServer(
            self, FollowJointTrajectory, names.arm_action, self._execute,
            goal_callback=lambda goal: self._judge("arm"),
        )  # fmt: skip
        self._gripper = ActionServer(
            self, ParallelGripperCommand, names.gripper_action, self._execute,
            goal_callback=lambda goal: self._judge("gripper"),
        )  # fmt: skip
        self._joints = self.create_publisher(JointState, names.joint_states, 10)
        self._wrench = self.create_publisher(WrenchStamped, names.wrench, 10)
        self._state = self.create_publisher(RobotState, names.robot_state, qos.latched())
        self._keypoints = self.create_publisher(Keypoint3DArray, "keypoints", qos.keypoints())
        self._model = self.create_publisher(KeypointModel, "keypoint_model", qos.latched())
        self._model.publish(KeypointModel(object_id="plush_fox", names=list(NAMES)))
        self._rng = np.random.default_rng(0)
        self.create_timer(0.02, self._measure)
        self.create_timer(0.1, self._see)

    def _judge(self, who: str) -> GoalResponse:
        self.commands[who] += 1
        return GoalResponse.REJECT

    def _execute(self, _handle: Any) -> None:
        """Nothing is accepted."""

    def _measure(self) -> None:
        stamp = self.get_clock().now().to_msg()
        joints = JointState(name=[*self._robot.arm_joints, self._robot.gripper_joint])
        joints.header.stamp = stamp
        joints.position = [*self._robot.home_rad, HOLDING_RAD]
        self._joints.publish(joints)
        wrench = WrenchStamped()
        wrench.header.stamp = stamp
        wrench.wrench.force.z = 9.0 + float(self._rng.normal())
        self._wrench.publish(wrench)

    def _see(self) -> None:
        stamp = self.get_clock().now().to_msg()
        state = RobotState(connected=True, enabled=True)
        state.header.stamp = stamp
        self._state.publish(state)
        message = Keypoint3DArray(object_id="plush_fox")
        message.header.stamp, message.header.frame_id = stamp, "base"
        for name in NAMES:
            x, y, z = PLACES.get(name, (float("nan"),) * 3)
            status = Keypoint3D.OK if name in PLACES else Keypoint3D.TOO_FEW_VIEWS
            message.keypoints.append(
                Keypoint3D(
                    name=name,
                    status=status,
                    position=Point(x=x, y=y, z=z),
                    confidence=0.95,
                    covariance=(np.eye(3) * 0.004**2).ravel(),
                )
            )
        self._keypoints.publish(message)


class Attack:
    """Sends goals, many at a time, and keeps what became of them.

    Args:
        node: sends; its executor is spun by `send`.
        executor: of that node.
    """

    def __init__(self, node: Node, executor: SingleThreadedExecutor) -> None:
        self._executor = executor
        self.clients = {name: ActionClient(node, kind, name) for name, kind in KINDS.items()}
        self.codes: collections.Counter[str] = collections.Counter()
        self.passed: list[str] = []
        self.unanswered: list[str] = []

    def ready(self) -> list[str]:
        """Actions that are served."""
        return [name for name, client in self.clients.items() if client.server_is_ready()]

    def send(self, goals: list[tuple[str, Any]], patience_s: float = _ANSWER_S) -> None:
        """Sends all goals (action and message) and waits for their ends."""
        waiting, running = collections.deque((*goal, 0) for goal in goals), {}
        heard = time.monotonic()
        while waiting or running:
            while waiting and len(running) < _UNDER_WAY:
                name, goal, tries = waiting.popleft()
                future = self.clients[name].send_goal_async(goal)
                running[id(future)] = (name, goal, tries, future, None)
            self._executor.spin_once(timeout_sec=0.05)
            for key, entry in list(running.items()):
                step = self._advance(*entry)
                if step is None:
                    continue
                del running[key]
                heard = time.monotonic()
                if step[0] == "again":
                    waiting.append(step[1])
                elif step[0] == "result":
                    running[id(step[1][3])] = step[1]
            if time.monotonic() - heard > patience_s:
                lost = [entry[:2] for entry in (*running.values(), *waiting)]
                self.unanswered += [f"{name}: {str(goal)[:300]}" for name, goal in lost]
                return

    def _advance(self, name: str, goal: Any, tries: int, future: Any, _: Any) -> Any:
        """What follows from an answer that has come: ask for the result, send again, or nothing."""
        if not future.done():
            return None
        answer = future.result()
        if hasattr(answer, "accepted"):
            if not answer.accepted:
                self.codes["rejected"] += 1
                return ("done", None)
            return ("result", (name, goal, tries, answer.get_result_async(), None))
        code = GraspCode(answer.result.code)
        if code == GraspCode.BUSY and tries < _TRIES:
            return ("again", (name, goal, tries + 1))
        self.codes[f"{name}.{code.name}"] += 1
        if code == GraspCode.SUCCESS:
            self.passed.append(f"{name}: {str(goal)[:300]}")
        return ("done", None)


def run(count: int, seed: int) -> Result:
    """Sends so many hostile goals, evenly over the actions.

    Raises:
        DeviceUnavailableError: the server does not start.
    """
    domain = DOMAINS[os.getpid() % len(DOMAINS)]
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        witness, attack = stack.enter_context(_robot_and_client(domain))
        server = stack.enter_context(_server(domain))
        _wait_for(attack, server)
        rng = np.random.default_rng(seed)
        actions = attack.ready()
        goals = [(actions[i % len(actions)], hostile_goal(actions[i % len(actions)], rng))
                 for i in range(count)]  # fmt: skip
        attack.send(goals)
        lives = server.poll() is None and _still_plans(attack)
        commands = dict(witness.commands)
    codes = dict(sorted(attack.codes.items()))
    ended = sum(attack.codes.values())
    figures = {
        "goals": count, "actions": actions, "codes": codes, "commands_to_the_robot": commands,
        "passed": attack.passed[:10], "unanswered": attack.unanswered[:10],
        "wall_s": time.monotonic() - began,
    }  # fmt: skip
    targets = (
        Target.at_least("goals that end with a code", 100.0 * ended / count, 100, "%"),
        Target.at_most("goals that succeed", len(attack.passed), 0, "goals"),
        Target.at_most("commands to arm and gripper", sum(commands.values()), 0, "commands"),
        Target.at_least("the server lives and plans afterwards", float(lives), 1, "yes"),
        Target.at_least("actions that were tried", len(actions), len(KINDS), "actions"),
    )
    return Result.of_this_run("faults_hostile", seed, figures, targets)


def _still_plans(attack: Attack, patience_s: float = _ANSWER_S) -> bool:
    """Whether a good goal succeeds, as a dry run; what the attack counted stays as it was."""
    kept = attack.codes, attack.passed, attack.unanswered
    attack.codes, attack.passed, attack.unanswered = collections.Counter(), [], []
    goal = GraspAtKeypoint.Goal(keypoint="right_front_paw", toward_keypoint="body", dry_run=True)
    attack.send([("grasp_at_keypoint", goal)], patience_s)
    found = bool(attack.passed)
    attack.codes, attack.passed, attack.unanswered = kept
    return found


@contextlib.contextmanager
def _robot_and_client(domain: int) -> Iterator[tuple[WitnessRobot, Attack]]:
    contexts = [rclpy.Context(), rclpy.Context()]
    for context in contexts:
        rclpy.init(context=context, args=[], domain_id=domain)
    robot = WitnessRobot(contexts[0])
    executor = SingleThreadedExecutor(context=contexts[0])
    executor.add_node(robot)
    running = threading.Event()

    def spin() -> None:
        while not running.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    client = rclpy.create_node("attacker", context=contexts[1])
    mine = SingleThreadedExecutor(context=contexts[1])
    mine.add_node(client)
    try:
        yield robot, Attack(client, mine)
    finally:
        running.set()
        thread.join(5.0)
        for one in (executor, mine):
            one.shutdown()
        for node in (robot, client):
            node.destroy_node()
        for context in contexts:
            context.try_shutdown()


@contextlib.contextmanager
def _server(domain: int) -> Iterator[subprocess.Popen[bytes]]:
    binary = Path(get_package_prefix("s3k_ros")) / "lib" / "s3k_ros" / "grasp_server"
    command = [str(binary), "--ros-args"]
    for name, value in _PARAMS.items():
        command += ["-p", f"{name}:={value}"]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(attack: Attack, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_S
    while "grasp_at_keypoint" not in attack.ready():
        attack._executor.spin_once(timeout_sec=0.1)
        if server.poll() is not None or time.monotonic() > end:
            raise DeviceUnavailableError(f"grasp_server does not serve within {_START_S:g} s")
    # DDS may lose answers until the two have found each other in both directions.
    for _ in range(10):
        if _still_plans(attack, 3.0):
            return
    raise DeviceUnavailableError("grasp_server does not even plan a good goal")
