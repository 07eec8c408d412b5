"""A perfect robot behind real ROS interfaces: action servers, joint states, wrench, keypoints.

It keeps simulated time and publishes `/clock`; `speed` is its real-time factor. It runs in a thread
of the test's process with a context of its own, so that tests set its attributes directly.
"""

from __future__ import annotations

import threading
import time

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from control_msgs.action import FollowJointTrajectory, GripperCommand, ParallelGripperCommand
from geometry_msgs.msg import Point, WrenchStamped
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from s3k_ros.msg import Keypoint3D, Keypoint3DArray, KeypointModel, RobotState
from s3k_ros.params.grasp import RobotParameters

ROBOT = RobotParameters()
ARM_ACTION = "/robot/limb/right/follow_joint_trajectory"
GRIPPER_ACTION = "/robotiq_gripper_controller/gripper_cmd"
NAMES = ("head", "left_front_paw", "right_front_paw", "body", "tail")
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
STEP_S = 0.01
STOP_TIME_S = 0.1
JAW_SPEED_RAD_S = 1.5
STALL_TIME_S = 0.2


class FakeRobot:
    """Arm, gripper, sensor and perception.

    Attributes:
        toy_rad: knuckle angle at which the jaws stall; the closed angle for nothing between them.
        keypoints: name -> position (3,) in `frame`; `hidden` ones are TOO_FEW_VIEWS.
        joint_states_alive, keypoints_alive, wrench_alive, state_alive: whether these are published.
        state: what the robot says of itself; `say` publishes it at once.
        braked_at: when it was last told to stop, s on its clock.
        aborts: the next motion of the arm ends with PATH_TOLERANCE_VIOLATED after 0.2 s.
        rejects: goals of the arm are rejected.
    """

    def __init__(self, domain: int, gripper_type: str = "ParallelGripperCommand") -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, args=[], domain_id=domain)
        self.node = rclpy.create_node("fake_robot", context=self.context)
        self.gripper_type = gripper_type
        self.now, self.speed = 10.0, 2.0
        self.peak_speed, self.motion_log = 0.0, []
        self._arm_server = self._gripper_server = None
        self.reset()
        self._publishers()
        self.start_arm()
        self.start_gripper()
        self._lock = threading.Lock()
        self._running = True
        self._threads = [threading.Thread(target=f, daemon=True) for f in (self._spin, self._step)]
        for thread in self._threads:
            thread.start()

    # -- for tests -----------------------------------------------------------------------------

    def reset(self) -> None:
        self.position = np.array(ROBOT.home_rad)
        self.arm_speed = 0.0
        self.knuckle, self.toy_rad = 0.0, 0.5
        self.keypoints = {
            "right_front_paw": np.array([0.60, 0.05, -0.13]),
            "body": np.array([0.66, 0.12, -0.11]),
        }
        self.frame, self.hidden, self.confidence = "base", set(), 0.95
        self.joint_states_alive = self.keypoints_alive = True
        self.wrench_alive = self.state_alive = True
        self.state = RobotState(connected=True, enabled=True)
        self.aborts = self.rejects = False
        self.braked_at = -1.0
        self.force = np.array([0.0, 0.0, 9.0])
        self.arm_goals, self.gripper_goals = [], []
        self._arm = self._jaws = None

    def heard(self) -> bool:
        """Whether someone listens to what perception and robot publish."""
        publishers = (self._clock, self._joint_states, self._keypoints, self._model)
        return all(publisher.get_subscription_count() for publisher in publishers)

    def say(self, **changes: object) -> None:
        """The robot's state changes: published at once."""
        for name, value in changes.items():
            setattr(self.state, name, value)
        self._state.publish(self.state)

    def start_arm(self) -> None:
        self._arm_lives = True
        self._arm_server = ActionServer(
            self.node, FollowJointTrajectory, ARM_ACTION, lambda handle: None,
            goal_callback=self._judge_arm, handle_accepted_callback=self._take_arm,
            cancel_callback=self._cancel_arm,
        )  # fmt: skip

    def stop_arm(self) -> None:
        """The arm's controller dies: its server goes, the motion ends where it is."""
        with self._lock:
            self._arm, self._arm_lives = None, False
            self._arm_server.destroy()

    def start_gripper(self) -> None:
        self._gripper_lives = True
        parallel = self.gripper_type == "ParallelGripperCommand"
        self._gripper_server = ActionServer(
            self.node, ParallelGripperCommand if parallel else GripperCommand, GRIPPER_ACTION,
            lambda handle: None, handle_accepted_callback=self._take_jaws,
            cancel_callback=self._cancel_jaws,
        )  # fmt: skip

    def stop_gripper(self) -> None:
        with self._lock:
            self._jaws, self._gripper_lives = None, False
            self._gripper_server.destroy()

    def close(self) -> None:
        self._running = False
        for thread in self._threads:
            thread.join(5.0)
        self.node.destroy_node()
        self.context.try_shutdown()

    # -- threads -------------------------------------------------------------------------------

    def _spin(self) -> None:
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(self.node)
        while self._running:
            executor.spin_once(timeout_sec=0.1)
        executor.shutdown()

    def _step(self) -> None:
        due, count = time.monotonic(), 0
        while self._running:
            due = max(due + STEP_S / self.speed, time.monotonic() - 0.05)
            time.sleep(max(due - time.monotonic(), 0.0))
            with self._lock:
                self.now += STEP_S
                self._step_arm()
                self._step_jaws()
                self._publish(count)
                count += 1

    # -- arm -----------------------------------------------------------------------------------

    def _judge_arm(self, goal: FollowJointTrajectory.Goal) -> GoalResponse:
        return GoalResponse.REJECT if self.rejects else GoalResponse.ACCEPT

    def _take_arm(self, handle) -> None:
        trajectory = handle.request.trajectory
        times = [
            p.time_from_start.sec + 1e-9 * p.time_from_start.nanosec for p in trajectory.points
        ]
        stamp = trajectory.header.stamp.sec + 1e-9 * trajectory.header.stamp.nanosec
        with self._lock:
            if not self._arm_lives:  # it died between accepting and starting
                return
            self.arm_goals.append(handle.request)
            old, self._arm = self._arm, {
                "handle": handle, "times": np.array(times), "begin": stamp or self.now,
                "points": np.array([p.positions for p in trajectory.points]),
                "progress": self.now - (stamp or self.now), "rate": 1.0, "stopping": False,
            }  # fmt: skip
        if old is not None:
            self._end_arm(old["handle"], "abort", FollowJointTrajectory.Result.INVALID_GOAL)

    def _cancel_arm(self, handle) -> CancelResponse:
        if self._arm is not None and self._arm["handle"] == handle:
            self._arm["stopping"], self.braked_at = True, self.now
        return CancelResponse.ACCEPT

    def _step_arm(self) -> None:
        self.arm_speed, arm = 0.0, self._arm
        if arm is None:
            return
        if arm["stopping"]:
            arm["rate"] = max(arm["rate"] - STEP_S / STOP_TIME_S, 0.0)
        arm["progress"] += arm["rate"] * STEP_S
        before = self.position
        self.position = np.array(
            [np.interp(arm["progress"], arm["times"], column) for column in arm["points"].T]
        )
        self.arm_speed = float(np.abs(self.position - before).max() / STEP_S)
        code = FollowJointTrajectory.Result
        if arm["stopping"] and arm["rate"] == 0.0:
            self._arm = None
            self._end_arm(arm["handle"], "canceled", code.SUCCESSFUL)
        elif self.aborts and arm["progress"] > 0.2:
            self._arm, self.aborts = None, False
            self._end_arm(arm["handle"], "abort", code.PATH_TOLERANCE_VIOLATED)
        elif arm["progress"] >= arm["times"][-1]:
            self._arm = None
            self._end_arm(arm["handle"], "succeed", code.SUCCESSFUL)

    def _end_arm(self, handle, how: str, code: int) -> None:
        def execute(handle) -> FollowJointTrajectory.Result:
            getattr(handle, how)()
            return FollowJointTrajectory.Result(error_code=code)

        handle.execute(execute)

    # -- gripper -------------------------------------------------------------------------------

    def _take_jaws(self, handle) -> None:
        command = handle.request.command
        parallel = self.gripper_type == "ParallelGripperCommand"
        target = command.position[0] if parallel else command.position
        with self._lock:
            if not self._gripper_lives:
                return
            self.gripper_goals.append(handle.request)
            old, self._jaws = self._jaws, {"handle": handle, "target": target, "stood": 0.0}
        if old is not None:
            self._end_jaws(old["handle"], "abort", False, False)

    def _cancel_jaws(self, handle) -> CancelResponse:
        if self._jaws is not None and self._jaws["handle"] == handle:
            self._jaws["target"] = None
        return CancelResponse.ACCEPT

    def _step_jaws(self) -> None:
        jaws = self._jaws
        if jaws is None:
            if self.gripper_goals and self.knuckle > 0.1:
                self.knuckle = min(max(self.knuckle, self.toy_rad), ROBOT.gripper_closed_rad)
            return
        if jaws["target"] is None:
            self._jaws = None
            self._end_jaws(jaws["handle"], "canceled", False, False)
            return
        limit = max(self.toy_rad, self.knuckle) if jaws["target"] > self.knuckle else 0.0
        goal = min(jaws["target"], limit) if jaws["target"] > self.knuckle else jaws["target"]
        step = np.clip(goal - self.knuckle, -JAW_SPEED_RAD_S * STEP_S, JAW_SPEED_RAD_S * STEP_S)
        self.knuckle += float(step)
        if abs(self.knuckle - jaws["target"]) < 1e-3:
            self._jaws = None
            self._end_jaws(jaws["handle"], "succeed", False, True)
        elif abs(step) < 1e-6:
            jaws["stood"] += STEP_S
            if jaws["stood"] > STALL_TIME_S:  # like a driver that is not told to allow a stall
                self._jaws = None
                self._end_jaws(jaws["handle"], "abort", True, False)

    def _end_jaws(self, handle, how: str, stalled: bool, reached: bool) -> None:
        if self.gripper_type == "ParallelGripperCommand":
            state = JointState(name=[ROBOT.gripper_joint], position=[self.knuckle])
            result = ParallelGripperCommand.Result(
                state=state, stalled=stalled, reached_goal=reached
            )
        else:
            result = GripperCommand.Result(
                position=self.knuckle, stalled=stalled, reached_goal=reached
            )

        def execute(handle):
            getattr(handle, how)()
            return result

        handle.execute(execute)

    # -- topics --------------------------------------------------------------------------------

    def _publishers(self) -> None:
        make = self.node.create_publisher
        self._clock = make(Clock, "/clock", 10)
        self._joint_states = make(JointState, "/robot/joint_states", 10)
        self._wrench = make(WrenchStamped, "/robotiq_force_torque_sensor_broadcaster/wrench", 10)
        self._keypoints = make(Keypoint3DArray, "keypoints", 5)
        self._state = make(RobotState, "/robot/state", LATCHED)
        self._model = make(KeypointModel, "keypoint_model", LATCHED)
        self._model.publish(KeypointModel(object_id="plush_fox", names=list(NAMES)))

    def _publish(self, count: int) -> None:
        stamp = Time(sec=int(self.now), nanosec=int(self.now % 1.0 * 1e9))
        self._clock.publish(Clock(clock=stamp))
        header = Header(stamp=stamp)
        if self.joint_states_alive:
            self._joint_states.publish(
                JointState(
                    header=header,
                    name=[*ROBOT.arm_joints, ROBOT.gripper_joint],
                    position=[*self.position.tolist(), self.knuckle],
                )
            )
        wrench = WrenchStamped(header=header)
        f = wrench.wrench.force
        # The last digit of a real sensor is never still.
        f.x, f.y, f.z = (float(value) for value in self.force + 1e-3 * (count % 7))
        if self.wrench_alive:
            self._wrench.publish(wrench)
        if self.state_alive and count % 10 == 0:
            self.state.header.stamp = stamp
            self._state.publish(self.state)
        if self.keypoints_alive and count % 10 == 0:
            self._keypoints.publish(self._set(Header(stamp=stamp, frame_id=self.frame)))

    def _set(self, header: Header) -> Keypoint3DArray:
        message = Keypoint3DArray(header=header, object_id="plush_fox")
        for name in NAMES:
            seen = name in self.keypoints and name not in self.hidden
            x, y, z = self.keypoints[name].tolist() if seen else (float("nan"),) * 3
            message.keypoints.append(
                Keypoint3D(
                    name=name,
                    status=Keypoint3D.OK if seen else Keypoint3D.TOO_FEW_VIEWS,
                    position=Point(x=x, y=y, z=z),
                    covariance=(np.eye(3) * 0.004**2).ravel() if seen else np.full(9, np.nan),
                    confidence=self.confidence,
                )
            )
        return message
