"""A cell for the demo's client: the public interfaces with scripted content and a fast clock."""

from __future__ import annotations

import array
import contextlib
import threading
import time

import numpy as np
import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64
from tf2_msgs.msg import TFMessage

from s3k_ros.action import GraspAtKeypoint
from s3k_ros.msg import (
    Keypoint2D,
    Keypoint2DArray,
    Keypoint3D,
    Keypoint3DArray,
    KeypointModel,
    MultiViewKeypoints,
)
from s3k_ros.ros import qos
from s3k_ros.srv import ResetScene

NAMES = ("head", "left_front_paw", "right_front_paw", "body", "tail")
CAMERAS = ("front_left", "front_right", "rear_left", "rear_right")
REST = np.array(
    [[0.62, 0.0, 0.05], [0.6, 0.06, 0.03], [0.58, -0.05, 0.03], [0.7, 0, 0.05], [0.8, 0, 0.04]]
)
ERROR_M = 0.005
"""Every published keypoint is wrong by this much along x."""
RISE_M = 0.12
TICK_S = 0.01
PHASES = ("observe", "approach", "align", "close", "lift", "verify")
PHASE_S = 0.4


class FakeCell:
    """Simulator, perception and grasp server in one.

    Args:
        domain: ROS_DOMAIN_ID.
        lifts: whether the fox follows the hand; the server claims success either way.
        hangs: whether the action never ends by itself.
        speed: simulated over wall time.
    """

    def __init__(
        self, domain: int, *, lifts: bool = True, hangs: bool = False, speed: float = 2.0
    ) -> None:
        self.lifts, self.hangs, self.speed = lifts, hangs, speed
        self.seeds: list[int] = []
        self.goals: list[GraspAtKeypoint.Goal] = []
        self.cancelled = 0
        self._ticks = 0
        self._set_id = 0
        self._height = 0.0
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self._node = rclpy.create_node("fake_cell", context=self._context)
        self._executor = MultiThreadedExecutor(num_threads=3, context=self._context)
        self._executor.add_node(self._node)
        self._group = ReentrantCallbackGroup()
        self._advertise()
        self._thread = threading.Thread(target=self._spin, daemon=True)

    def __enter__(self) -> FakeCell:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._context.try_shutdown()
        self._thread.join(timeout=10)
        # A failed test keeps this object alive in its traceback: without this, its publishers too.
        self._node.destroy_node()

    def _advertise(self) -> None:
        node, group = self._node, self._group
        self._clock = node.create_publisher(Clock, "/clock", 10)
        self._joints = node.create_publisher(JointState, "/robot/joint_states", 10)
        self._tf = node.create_publisher(TFMessage, "/tf", 100)
        self._truth = node.create_publisher(Keypoint3DArray, "sim/ground_truth", 10)
        self._factor = node.create_publisher(Float64, "sim/real_time_factor", 10)
        self._views = node.create_publisher(MultiViewKeypoints, "keypoints_2d", qos.keypoints())
        self._found = node.create_publisher(Keypoint3DArray, "keypoints", qos.keypoints())
        self._model = node.create_publisher(KeypointModel, "keypoint_model", qos.latched())
        self._model.publish(KeypointModel(model="plush_fox", object_id="plush_fox", names=NAMES))
        self._images = {
            camera: node.create_publisher(Image, f"{camera}/image_raw", qos_profile_sensor_data)
            for camera in (*CAMERAS, "scene")
        }
        node.create_service(ResetScene, "sim/reset", self._on_reset, callback_group=group)
        self._server = ActionServer(
            node,
            GraspAtKeypoint,
            "grasp_at_keypoint",
            self._on_goal,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=group,
        )
        node.create_timer(TICK_S / self.speed, self._tick, callback_group=group)

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    @property
    def now_s(self) -> float:
        return self._ticks * TICK_S

    def _stamp(self):
        return rclpy.time.Time(nanoseconds=round(self.now_s * 1e9)).to_msg()

    def _tick(self) -> None:
        self._ticks += 1
        self._clock.publish(Clock(clock=self._stamp()))
        self._joints.publish(JointState())
        if self._ticks % 5 == 0:
            self._truth.publish(self._keypoints(0.0))
            self._tf.publish(TFMessage(transforms=[self._tcp()]))
        if self._ticks % 20 == 0:
            self._publish_set()
        if self._ticks % 100 == 0:
            self._factor.publish(Float64(data=self.speed))

    def _publish_set(self) -> None:
        self._set_id += 1
        image = Image(height=48, width=64, encoding="bgr8", step=192)
        image.header.stamp = self._stamp()
        image.data = array.array("B", bytes(48 * 192))
        for publisher in self._images.values():
            publisher.publish(image)
        views = MultiViewKeypoints(set_id=self._set_id)
        views.header.stamp = self._stamp()
        views.views = [self._view(camera) for camera in CAMERAS]
        self._views.publish(views)
        self._found.publish(self._keypoints(ERROR_M))

    def _view(self, camera: str) -> Keypoint2DArray:
        points = [
            Keypoint2D(name=name, u=10.0 + 8 * i, v=20.0, covariance=[1.0, 0, 0, 1], confidence=0.9)
            for i, name in enumerate(NAMES)
        ]
        view = Keypoint2DArray(camera=camera, status=Keypoint2DArray.OK, keypoints=points)
        view.header.stamp = self._stamp()
        return view

    def _keypoints(self, error_m: float) -> Keypoint3DArray:
        message = Keypoint3DArray(set_id=self._set_id, cameras=CAMERAS, object_id="plush_fox")
        message.header.stamp = self._stamp()
        message.header.frame_id = "base"
        rise = self._height if self.lifts else 0.0
        for name, at in zip(NAMES, REST, strict=True):
            point = Keypoint3D(name=name, status=Keypoint3D.OK, confidence=0.95)
            point.position.x, point.position.y = float(at[0]) + error_m, float(at[1])
            point.position.z = float(at[2]) + rise
            point.covariance = (np.eye(3) * 25e-6).ravel()
            message.keypoints.append(point)
        return message

    def _tcp(self) -> TransformStamped:
        transform = TransformStamped(child_frame_id="grasp_tcp")
        transform.header.frame_id = "base"
        transform.header.stamp = self._stamp()
        at = transform.transform.translation
        at.x, at.y, at.z = (float(v) for v in REST[2] + np.array([0, 0, self._height]))
        transform.transform.rotation.w = 1.0
        return transform

    def _on_reset(self, request: ResetScene.Request, response: ResetScene.Response):
        self.seeds.append(request.seed)
        self._height = 0.0
        response.success = True
        return response

    def _on_goal(self, handle) -> GraspAtKeypoint.Result:
        self.goals.append(handle.request)
        for index, phase in enumerate(PHASES):
            feedback = GraspAtKeypoint.Feedback(phase=phase, progress=index / len(PHASES))
            handle.publish_feedback(feedback)
            end_s = self.now_s + (1e9 if self.hangs else PHASE_S)
            start = self.now_s
            while self.now_s < end_s and self._context.ok():
                if handle.is_cancel_requested:
                    self.cancelled += 1
                    handle.canceled()
                    return GraspAtKeypoint.Result(code=GraspAtKeypoint.Result.CANCELED, phase=phase)
                if phase == "lift":
                    self._height = RISE_M * min((self.now_s - start) / PHASE_S, 1.0)
                time.sleep(0.005)
            if phase == "lift":
                self._height = RISE_M
        handle.succeed()
        result = GraspAtKeypoint.Result(code=GraspAtKeypoint.Result.SUCCESS, phase="verify")
        result.holding = GraspAtKeypoint.Result.HOLDING
        result.message, result.width = "held", 0.03
        result.grasp_pose.header.frame_id = "base"
        at = result.grasp_pose.pose.position
        at.x, at.y, at.z = float(REST[2][0]) + ERROR_M, float(REST[2][1]), float(REST[2][2])
        return result
