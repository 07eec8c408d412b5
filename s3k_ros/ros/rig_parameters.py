"""Live parameters of single cameras, `<camera>.<setting>`, with the ranges that the camera reports.

They exist once the camera does. A value from a parameter file is set when the camera is first seen;
a camera that comes back has what it was set to last (`CameraRig` sees to that).
"""

from __future__ import annotations

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.parameter import Parameter

from s3k_ros.cameras.port import SETTINGS, CameraRig, Setting, Value
from s3k_ros.errors import S3kError
from s3k_ros.ros.node import S3kNode


class LiveSettings:
    """Declares the settings of the cameras that are there and follows their changes.

    Args:
        node: the node.
        rig: need not be open yet.
    """

    def __init__(self, node: S3kNode, rig: CameraRig) -> None:
        self._node = node
        self._rig = rig
        # Parameter -> camera and setting, of those that are declared.
        self._names: dict[str, tuple[str, str]] = {}
        self._own = False  # whether the change at hand is ours, after the camera's
        node.allow_parameters(f"{camera}.{name}" for camera in rig.cameras for name in SETTINGS)
        node.add_on_set_parameters_callback(self._change)
        node.add_post_set_parameters_callback(self._after_change)

    def declare(self) -> None:
        """Declares what the cameras of the rig, now open, have; what is declared follows them.

        Raises:
            ConfigurationError: a value from a parameter file that the camera cannot take.
        """
        try:
            self._own = True
            for camera in self._rig.cameras:
                self._declare(camera)
        finally:
            self._own = False

    def refresh(self, camera: str) -> None:
        """Reads a camera's settings again: it has come back, or one of them has changed."""
        try:
            self._own = True
            self._declare(camera)
        except S3kError as error:
            self._node.get_logger().error(str(error))
        finally:
            self._own = False

    def _declare(self, camera: str) -> None:
        for name, setting in self._rig.settings(camera).items():
            parameter = f"{camera}.{name}"
            if parameter in self._names:
                self._follow_camera(parameter, setting)
                continue
            value: Value = setting.value
            if self._node.has_parameter(parameter):  # from a file or the command line
                value = self._rig.change(camera, name, self._node.get_parameter(parameter).value)
                self._node.undeclare_parameter(parameter)
            descriptor = _descriptor(setting)
            self._node.declare_parameter(parameter, value, descriptor, ignore_override=True)
            self._names[parameter] = (camera, name)

    def _follow_camera(self, parameter: str, setting: Setting) -> None:
        """The range that the camera has now, and the value: one setting may change another."""
        new = Parameter(parameter, value=setting.value)
        alternative = new.get_parameter_value()
        self._node.set_descriptor(parameter, _descriptor(setting), alternative)
        if self._node.get_parameter(parameter).value != setting.value:
            self._node.set_parameters([new])

    def _change(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if self._own or parameter.name not in self._names:
                continue
            camera, name = self._names[parameter.name]
            try:
                made = self._rig.change(camera, name, parameter.value)
            except S3kError as error:
                return SetParametersResult(successful=False, reason=str(error))
            if made != parameter.value:
                self._node.get_logger().info(f"{parameter.name}: the camera made {made} of it")
        return SetParametersResult(successful=True)

    def _after_change(self, parameters: list[Parameter]) -> None:
        if self._own or not any(parameter.name in self._names for parameter in parameters):
            return
        for camera in self._rig.cameras:  # the frame rate belongs to all of them
            self.refresh(camera)


def _descriptor(setting: Setting) -> ParameterDescriptor:
    unit = f" [{setting.unit}]" if setting.unit else ""
    pause = "; a change interrupts the camera for a moment" if setting.pauses else ""
    kind = Parameter.Type.from_parameter_value(setting.value).value
    descriptor = ParameterDescriptor(type=kind, description=f"{setting.name}{unit}{pause}")
    descriptor.additional_constraints = setting.allowed
    if setting.low is None or setting.high is None or isinstance(setting.value, (bool, str)):
        return descriptor
    if isinstance(setting.value, int):
        low, high, step = int(setting.low), int(setting.high), int(setting.step or 1)
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=step)]
    else:
        low_high = {"from_value": float(setting.low), "to_value": float(setting.high)}
        descriptor.floating_point_range = [FloatingPointRange(**low_high)]
    return descriptor
