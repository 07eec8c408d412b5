"""What the simulated hardware publishes, from messages that are filled anew each time.

The physics thread calls this 100 times a second: building messages from nothing would cost more
than sending them.
"""

from __future__ import annotations

import array
from collections.abc import Sequence

import mujoco
import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped, WrenchStamped
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from tf2_msgs.msg import TFMessage

from s3k_ros.msg import Keypoint3D, Keypoint3DArray
from s3k_ros.params.simulation import SimCellParameters
from s3k_ros.ros import qos
from s3k_ros.ros.node import S3kNode
from s3k_ros.simulation.cell import ARM_JOINTS, GRIPPER_JOINT
from s3k_ros.simulation.frames import SENSOR, RobotFrames
from s3k_ros.simulation.scene import ToyScene
from s3k_ros.simulation.simulator import CONTROL_PERIOD_S, CellState

_NS_PER_S = 1_000_000_000


class StatePublisher:
    """Publishes clock, joint states, wrench, TF and ground truth: a listener of the simulator.

    Args:
        node: publishes; from the physics thread, which rclpy allows.
        params: names and rates.
        frames: the robot's frames.
        scene: knows the ground truth: of its first object for `sim/ground_truth`, of each other
            one for `sim/ground_truth/<object_id>`.
    """

    def __init__(
        self,
        node: S3kNode,
        params: SimCellParameters,
        frames: RobotFrames,
        scene: ToyScene,
    ) -> None:
        self._scene, self._frames = scene, frames
        self._stamp = Time()
        self._clock_every = _cycles(params.clock_rate_hz)
        self._tf_every = _cycles(params.tf_rate_hz)
        self._truth_every = _cycles(params.ground_truth_rate_hz)
        self._clock_out = node.advertise(Clock, "/clock", QoSProfile(depth=1), exclusive=True)
        self._joints_out = node.advertise(JointState, params.joint_states_topic, _hardware())
        self._wrench_out = node.advertise(WrenchStamped, params.wrench_topic, _hardware())
        first = node.advertise(Keypoint3DArray, "sim/ground_truth", qos.keypoints())
        others = [
            node.advertise(Keypoint3DArray, _further_truth(object_id), qos.keypoints())
            for object_id in list(scene.object_ids.values())[1:]
        ]
        self._truths = [
            (publisher, _truth(params.base_frame, object_id, scene.names_of(object_id)))
            for publisher, object_id in zip(
                [first, *others], scene.object_ids.values(), strict=True
            )
        ]
        self._tf_out = node.create_publisher(TFMessage, "/tf", QoSProfile(depth=100))
        self._clock = Clock()
        self._joints = JointState(name=[*ARM_JOINTS, GRIPPER_JOINT])
        self._wrench = WrenchStamped()
        self._wrench.header.frame_id = SENSOR
        self._tf = TFMessage(transforms=[_link(*pair) for pair in frames.chain])

    def __call__(self, state: CellState, data: mujoco.MjData) -> None:
        """Publishes what is due in this cycle."""
        stamp = self._stamp
        stamp.sec, stamp.nanosec = divmod(round(state.stamp * _NS_PER_S), _NS_PER_S)
        if state.cycle % self._clock_every == 0:
            self._clock.clock = stamp
            self._clock_out.publish(self._clock)
        self._publish_joints(state, stamp)
        self._publish_wrench(state, stamp)
        if state.cycle % self._tf_every == 0:
            self._publish_tf(state, stamp)
        if self._truth_every and state.cycle % self._truth_every == 0:
            self._publish_truth(data, stamp)

    def _publish_joints(self, state: CellState, stamp: Time) -> None:
        message = self._joints
        message.header.stamp = stamp
        message.position = _doubles(state.position, state.knuckle)
        message.velocity = _doubles(state.velocity, state.knuckle_velocity)
        message.effort = _doubles(state.effort, state.grip_effort)
        self._joints_out.publish(message)

    def _publish_wrench(self, state: CellState, stamp: Time) -> None:
        message = self._wrench
        message.header.stamp = stamp
        force, torque = message.wrench.force, message.wrench.torque
        force.x, force.y, force.z, torque.x, torque.y, torque.z = state.wrench.tolist()
        self._wrench_out.publish(message)

    def _publish_tf(self, state: CellState, stamp: Time) -> None:
        positions, quaternions = self._frames.links(state.position)
        rows = zip(self._tf.transforms, positions.tolist(), quaternions.tolist(), strict=True)
        for message, position, quaternion in rows:
            message.header.stamp = stamp
            p, r = message.transform.translation, message.transform.rotation
            p.x, p.y, p.z = position
            r.x, r.y, r.z, r.w = quaternion
        self._tf_out.publish(self._tf)

    def _publish_truth(self, data: mujoco.MjData, stamp: Time) -> None:
        for publisher, message in self._truths:
            message.header.stamp = stamp
            points = self._scene.keypoints_of(data, message.object_id).tolist()
            for keypoint, (x, y, z) in zip(message.keypoints, points, strict=True):
                keypoint.position.x, keypoint.position.y, keypoint.position.z = x, y, z
            publisher.publish(message)


def _hardware() -> QoSProfile:
    """Reliable, as ros2_control's broadcasters publish: fits subscribers of either kind."""
    return QoSProfile(depth=10)


def _cycles(rate_hz: float) -> int:
    """Control cycles between two messages; 0 for never."""
    return max(1, round(1.0 / (rate_hz * CONTROL_PERIOD_S))) if rate_hz > 0 else 0


def _doubles(values: np.ndarray, last: float) -> array.array:
    filled = array.array("d", values.tobytes())
    filled.append(last)
    return filled


def _link(parent: str, child: str) -> TransformStamped:
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    return message


def _further_truth(object_id: str) -> str:
    return f"sim/ground_truth/{object_id}"


def _truth(frame: str, object_id: str, names: Sequence[str]) -> Keypoint3DArray:
    message = Keypoint3DArray(model="ground_truth", object_id=object_id)
    message.header.frame_id = frame
    message.keypoints = [
        Keypoint3D(name=name, status=Keypoint3D.OK, confidence=1.0) for name in names
    ]
    return message
