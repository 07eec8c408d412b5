"""The images of a rig as topics, while someone listens, with their camera_info."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Header

from s3k_ros.calibration.rig_file import load_rig
from s3k_ros.cameras.port import CameraRig, Frame, FrameSet
from s3k_ros.cameras.window import Window
from s3k_ros.geometry.camera import Camera
from s3k_ros.perception.detector import ViewStatus, image_status
from s3k_ros.ros import conversions, qos
from s3k_ros.ros.detection import View
from s3k_ros.ros.diagnostics import Level, Report
from s3k_ros.ros.node import S3kNode


class RigImages:
    """Publishes `<camera>/image_raw` and `<camera>/camera_info`.

    Args:
        node: the node.
        rig: where the images come from.
        rig_file: the cameras' calibration and the names of their optical frames; a camera that it
            lacks has the frame ``<camera>_optical`` and no camera_info. None: there is no file.

    Raises:
        ConfigurationError: as `load_rig`.
    """

    def __init__(self, node: S3kNode, rig: CameraRig, rig_file: Path | None) -> None:
        self._rig = rig
        self._calibrated: Mapping[str, Camera] = {}
        self._frames = {name: f"{name}_optical" for name in rig.cameras}
        if rig_file is not None:
            file = load_rig(rig_file)
            self._calibrated = {camera.name: camera for camera in file.cameras}
            named = {c.name: f for c, f in zip(file.cameras, file.frames, strict=True)}
            self._frames |= {name: named[name] for name in rig.cameras if name in named}
        make = partial(node.advertise, exclusive=True)
        self._images = {
            name: make(Image, f"{name}/image_raw", qos.images()) for name in rig.cameras
        }
        self._infos = {
            name: make(CameraInfo, f"{name}/camera_info", qos.images())
            for name in rig.cameras
            if name in self._calibrated
        }
        # A calibration that is not the sensor's holds for this part of it; and why others fail.
        self._first: dict[str, Window | None] = {}
        self._faults: dict[str, str] = {}
        node.diagnostics.add("camera_info", self._report)

    def view(self, camera: str, frames: FrameSet) -> View:
        """A camera's part in a set, as the detector would make it of the topic's image."""
        frame = frames.frames.get(camera)
        if frame is None:
            return View(camera, self._header(camera, frames.stamp_ns), None, ViewStatus.NO_IMAGE)
        image = frame.image
        if image.ndim == 2:
            image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
        header, whole = self._header(camera, frame.stamp_ns), None
        height, width = image.shape[:2]
        if frame.window is not None and not frame.window.is_whole(width, height):
            whole = conversions.whole_image(self.info(frame), width, height)
        return View(camera, header, image, image_status(image), whole)

    def _header(self, camera: str, stamp_ns: int) -> Header:
        return conversions.header(stamp_ns, self._frames[camera])

    def publish(self, frames: FrameSet) -> None:
        """One set: images for those who listen, and camera_info."""
        for name, frame in frames.frames.items():
            if name in self._infos and self._infos[name].get_subscription_count():
                self._infos[name].publish(self.info(frame))
            if self._images[name].get_subscription_count():
                header = self._header(name, frame.stamp_ns)
                self._images[name].publish(conversions.image_to_message(frame.image, header))

    def info(self, frame: Frame) -> CameraInfo | None:
        """The camera_info of an image; None for a camera that the rig file lacks.

        Where the rig file holds the whole sensor's calibration, region of interest and binning say
        which part the image shows (REP-104). A file of another size holds for the part of the
        sensor that the camera showed first, if that has the file's size, and for no other: then the
        message has no intrinsics, which means not calibrated.
        """
        camera = self._calibrated.get(frame.camera)
        if camera is None:
            return None
        info = conversions.camera_info(camera, self._header(frame.camera, frame.stamp_ns))
        fault = self._fit(camera, frame, info)
        self._faults[frame.camera] = fault
        if fault:
            info.k, info.p = np.zeros(9), np.zeros(12)
        return info

    def _fit(self, camera: Camera, frame: Frame, info: CameraInfo) -> str:
        """Completes ``info``; what is wrong if the calibration does not hold for the image."""
        height, width = frame.image.shape[:2]
        window, calibrated = frame.window, (camera.width, camera.height)
        if window is not None and _is_sensor(calibrated, window):
            if not window.is_whole(width, height):
                _set_window(info, window, width, height)
            return ""
        fits = (width, height) == calibrated
        if fits and window == self._first.setdefault(frame.camera, window):
            return ""
        part = f" of the sensor: {window}" if window else ""
        return (
            f"{frame.camera}: the calibration is for {camera.width} x {camera.height} px, "
            f"the image has {width} x {height}{part}"
        )

    def _report(self) -> Report:
        if faults := [fault for fault in self._faults.values() if fault]:
            return Report(Level.ERROR, "; ".join(faults))
        unknown = [name for name in self._rig.cameras if name not in self._calibrated]
        if unknown:
            return Report(Level.WARN, f"the rig file has no {', '.join(unknown)}")
        return Report()


def _is_sensor(size: tuple[int, int], window: Window) -> bool:
    """Whether a calibration of this size is that of the whole sensor."""
    lacks = size[0] - window.sensor_width, size[1] - window.sensor_height
    return all(0 <= pixels < window.binning for pixels in lacks)


def _set_window(info: CameraInfo, window: Window, width: int, height: int) -> None:
    """Says which part of the sensor an image of this size shows."""
    info.binning_x = info.binning_y = window.binning
    info.roi = RegionOfInterest(
        x_offset=window.x,
        y_offset=window.y,
        width=window.binning * width,
        height=window.binning * height,
        do_rectify=True,
    )
