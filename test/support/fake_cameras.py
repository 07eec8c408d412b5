"""Publishes what the cameras of a rig see of coloured blobs: images, camera_info and static TF."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from tf2_ros import StaticTransformBroadcaster

from s3k_ros.geometry.camera import Camera
from s3k_ros.ros import conversions, qos
from support.synthetic_model import paint_views


class FakeCameras:
    """Cameras called as in the rig, with optical frames ``<name>_optical``."""

    def __init__(self, node: Any, cameras: Sequence[Camera], base_frame: str = "base") -> None:
        self.cameras = cameras
        self._images = {
            c.name: node.create_publisher(Image, f"{c.name}/image_raw", qos.images())
            for c in cameras
        }
        self._infos = {
            c.name: node.create_publisher(CameraInfo, f"{c.name}/camera_info", qos.images())
            for c in cameras
        }
        self._broadcaster = StaticTransformBroadcaster(node)
        header = conversions.header(time.time_ns(), base_frame)
        self._broadcaster.sendTransform(
            [
                conversions.transform_stamped(c.base_from_camera, header, f"{c.name}_optical")
                for c in cameras
            ]
        )

    def connected(self) -> bool:
        """True when somebody listens to every camera."""
        return all(p.get_subscription_count() > 0 for p in self._images.values())

    def publish(
        self,
        points: NDArray[np.float64],
        silent: Collection[str] = (),
        broken: Collection[str] = (),
        stamp_ns: int | None = None,
        jitter_ns: int = 100_000,
        region: tuple[int, int, int, int] | None = None,
    ) -> int:
        """One set of images of points (K, 3) in the base frame; returns its first stamp.

        Args:
            points: one blob each.
            silent: cameras that send nothing.
            broken: cameras whose message lacks half of its data.
            stamp_ns: exposure of the first camera, now by default.
            jitter_ns: how much later each next camera exposes.
            region: x, y, width, height of the part of the sensor that all cameras show, px.
        """
        stamp_ns = time.time_ns() if stamp_ns is None else stamp_ns
        for i, (camera, image) in enumerate(
            zip(self.cameras, paint_views(self.cameras, points), strict=True)
        ):
            if camera.name in silent:
                continue
            header = conversions.header(stamp_ns + i * jitter_ns, f"{camera.name}_optical")
            info = conversions.camera_info(camera, header)
            if region is not None:
                x, y, width, height = region
                image = np.ascontiguousarray(image[y : y + height, x : x + width])
                info.roi = RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height)
            self._infos[camera.name].publish(info)
            message = conversions.image_to_message(image, header)
            if camera.name in broken:
                message.data = message.data[: len(message.data) // 2]
            self._images[camera.name].publish(message)
        return stamp_ns
