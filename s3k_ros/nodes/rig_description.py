"""`rig_description`: the calibration of the rig file as static TF and, on request, camera_info."""

from __future__ import annotations

from sensor_msgs.msg import CameraInfo
from tf2_ros import StaticTransformBroadcaster

from s3k_ros.calibration.rig_file import load_rig
from s3k_ros.params.nodes import RigDescriptionParameters
from s3k_ros.ros import conversions, qos
from s3k_ros.ros.diagnostics import Report
from s3k_ros.ros.node import S3kNode, run_node
from s3k_ros.ros.resources import find_file


class RigDescriptionNode(S3kNode):
    def __init__(self) -> None:
        super().__init__("rig_description")
        self._params = self.declare(RigDescriptionParameters)
        self._path = find_file(self._params.rig)
        self._rig = load_rig(self._path)
        self._base_frame = self._params.base_frame or self._rig.base_frame
        self.diagnostics.add("rig", self._report)
        self._broadcaster = StaticTransformBroadcaster(self)
        self._broadcast()
        if self._params.publish_camera_info:
            self._infos = [
                self.advertise(CameraInfo, f"{c.name}/camera_info", qos.latched(), exclusive=True)
                for c in self._rig.cameras
            ]
            self._publish_infos()
            self.create_timer(1.0 / self._params.camera_info_rate_hz, self._publish_infos)

    def _broadcast(self) -> None:
        header = conversions.header(self._now_ns(), self._base_frame)
        self._broadcaster.sendTransform(
            [
                conversions.transform_stamped(camera.base_from_camera, header, frame)
                for camera, frame in zip(self._rig.cameras, self._rig.frames, strict=True)
            ]
        )

    def _publish_infos(self) -> None:
        for publisher, camera, frame in zip(
            self._infos, self._rig.cameras, self._rig.frames, strict=True
        ):
            header = conversions.header(self._now_ns(), frame)
            publisher.publish(conversions.camera_info(camera, header))

    def _report(self) -> Report:
        cameras = ", ".join(camera.name for camera in self._rig.cameras)
        values = {"file": self._path, "cameras": cameras, "base_frame": self._base_frame}
        return Report(message=f"{len(self._rig.cameras)} cameras", values=values)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def main() -> int:
    return run_node(RigDescriptionNode)
