"""Subscriptions that fill a recording: the only part of the demo's measuring that knows ROS."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tf2_ros
from cv_bridge import CvBridge
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64

from s3k_ros.demo.measurement import SAME_SET_S
from s3k_ros.demo.overlay import encode
from s3k_ros.demo.recording import Array, KeypointSet, Recording, View
from s3k_ros.msg import (
    Keypoint2DArray,
    Keypoint3D,
    Keypoint3DArray,
    KeypointModel,
    MultiViewKeypoints,
)
from s3k_ros.params.demo import DemoParameters
from s3k_ros.ros import qos
from s3k_ros.ros.node import S3kNode

PATH_PERIOD_S = 0.05
"""Paths of TCP and keypoints are kept at this period: plots need no more."""


class Recorder:
    """Listens to the public topics and the simulator's truth, and keeps what the report needs.

    Args:
        node: gets the subscriptions.
        params: cameras, frames and what to keep for the video.

    Attributes:
        recording: where messages go now; replace it to start a new trial.
        now_s: simulated time of the last message on /clock, 0 before the first.
        model: name of the running model, empty until its description has come.
    """

    def __init__(self, node: S3kNode, params: DemoParameters) -> None:
        self.recording = Recording()
        self.now_s = 0.0
        self.model = ""
        self._params = params
        self._bridge = CvBridge()
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)
        node.listen(Clock, "/clock", self._on_clock, qos.sensors())
        # Only counted, so not worth decoding.
        joints, count = "/robot/joint_states", self._on_joint_states
        node.create_subscription(JointState, joints, count, qos.sensors(), raw=True)
        node.listen(MultiViewKeypoints, "keypoints_2d", self._on_views, qos.keypoints())
        node.listen(Keypoint3DArray, "keypoints", self._on_keypoints, qos.keypoints())
        node.listen(KeypointModel, "keypoint_model", self._on_model, qos.latched())
        node.listen(Keypoint3DArray, "sim/ground_truth", self._on_truth, qos.sensors())
        node.listen(Float64, "sim/real_time_factor", self._on_factor, qos.sensors())
        for camera in params.cameras:
            node.listen(Image, f"{camera}/image_raw", self._image_callback(camera), qos.images())
        if params.video and params.scene_topic:
            node.listen(Image, params.scene_topic, self._on_scene, qos.images())

    def start(self) -> Recording:
        """Starts a new recording and returns it."""
        names = self.recording.truth_names
        self.recording = Recording(truth_names=names)
        return self.recording

    def _on_clock(self, message: Clock) -> None:
        self.now_s = seconds(message.clock)
        self.recording.clock.append((self.now_s, time.monotonic()))

    def _on_joint_states(self, _message: bytes) -> None:
        self.recording.joint_states += 1

    def _on_model(self, message: KeypointModel) -> None:
        self.model = message.model

    def _on_factor(self, message: Float64) -> None:
        self.recording.real_time_factors.append(float(message.data))

    def _on_views(self, message: MultiViewKeypoints) -> None:
        views = {view.camera: view_of(view) for view in message.views}
        self.recording.views[seconds(message.header.stamp)] = views

    def _on_keypoints(self, message: Keypoint3DArray) -> None:
        self.recording.keypoints.append(keypoint_set(message, time.monotonic()))

    def _on_truth(self, message: Keypoint3DArray) -> None:
        recording, stamp = self.recording, seconds(message.header.stamp)
        if recording.truth and 0.0 <= stamp - recording.truth[-1][0] < PATH_PERIOD_S:
            return
        found = keypoint_set(message, 0.0)
        recording.truth_names = found.names
        recording.truth.append((stamp, found.positions))
        self._keep_tcp(recording)

    def _keep_tcp(self, recording: Recording) -> None:
        frames = (self._params.base_frame, self._params.tcp_frame)
        try:
            transform = self._buffer.lookup_transform(*frames, Time())
        except tf2_ros.TransformException:
            return  # the first transforms have not come yet; a lasting lack fails the judgement
        at = transform.transform.translation
        recording.tcp.append((seconds(transform.header.stamp), np.array([at.x, at.y, at.z])))

    def _image_callback(self, camera: str) -> Callable[[Image], None]:
        last_kept = [-np.inf]

        def keep(message: Image) -> None:
            recording, stamp = self.recording, seconds(message.header.stamp)
            recording.image_stamps.setdefault(camera, []).append(stamp)
            if self._params.video and self._due(stamp, last_kept[0]):
                last_kept[0] = stamp
                recording.frames.setdefault(stamp, {})[camera] = self._jpeg(message)

        return keep

    def _on_scene(self, message: Image) -> None:
        frames, stamp = self.recording.scene_frames, seconds(message.header.stamp)
        if self._due(stamp, frames[-1][0] if frames else -np.inf):
            frames.append((stamp, self._jpeg(message)))

    def _due(self, stamp: float, last: float) -> bool:
        # A stamp before the last one means that the clock was set back.
        return stamp < last or stamp - last >= 1.0 / self._params.video_rate_hz - SAME_SET_S

    def _jpeg(self, message: Image) -> bytes:
        return encode(self._bridge.imgmsg_to_cv2(message, "bgr8"))


def view_of(message: Keypoint2DArray) -> View:
    """Turns one view of a MultiViewKeypoints into arrays."""
    points = message.keypoints
    return View(
        ok=message.status == Keypoint2DArray.OK,
        names=tuple(point.name for point in points),
        pixels=np.array([[p.u, p.v] for p in points]).reshape(-1, 2),
        covariances=np.array([p.covariance for p in points]).reshape(-1, 2, 2),
        confidences=np.array([p.confidence for p in points], dtype=float),
    )


def keypoint_set(message: Keypoint3DArray, wall_s: float) -> KeypointSet:
    """Turns a Keypoint3DArray into arrays."""
    points = message.keypoints
    return KeypointSet(
        stamp_s=seconds(message.header.stamp),
        wall_s=wall_s,
        names=tuple(point.name for point in points),
        valid=np.array([point.status == Keypoint3D.OK for point in points], dtype=bool),
        positions=np.array([position_of(point.position) for point in points]).reshape(-1, 3),
        covariances=np.array([point.covariance for point in points]).reshape(-1, 3, 3),
        confidences=np.array([point.confidence for point in points], dtype=float),
    )


def position_of(point: Any) -> Array:
    """A geometry_msgs Point or Vector3 as (3,)."""
    return np.array([point.x, point.y, point.z])


def seconds(stamp: Any) -> float:
    """A builtin_interfaces Time as seconds."""
    return float(stamp.sec) + 1e-9 * float(stamp.nanosec)
