"""What a rig needs of one camera, and of the bus it hangs on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from s3k_ros.cameras.port import Setting, Value
from s3k_ros.cameras.window import Window
from s3k_ros.errors import ConfigurationError, DeviceUnavailableError
from s3k_ros.params.cameras import CameraSettings, TriggerParameters


@dataclasses.dataclass(frozen=True)
class DeviceInfo:
    """A camera that is connected.

    Attributes:
        serial: serial number, unique.
        user_id: the name stored in the camera, may be empty.
        model: model name.
        transport: "usb", "gige", "emulated" or "fake".
    """

    serial: str
    user_id: str
    model: str
    transport: str

    def __str__(self) -> str:
        name = f" {self.user_id!r}" if self.user_id else ""
        return f"{self.serial}{name} ({self.model}, {self.transport})"


@dataclasses.dataclass(frozen=True, eq=False)
class RawFrame:
    """A frame as the camera sent it.

    Attributes:
        data: (height, width) or (height, width, 3), uint8.
        pixel_format: GenICam name of its format, such as BayerRG8.
        counter: the camera's frame counter; None when the transport lost even that.
        tick: start of the exposure in ticks of the camera's clock; None without one.
        intact: False for a damaged frame; its data must not be used.
        window: which part of the sensor it shows; the link adds that.
    """

    data: NDArray[np.uint8]
    pixel_format: str
    counter: int | None
    tick: int | None
    intact: bool = True
    window: Window | None = None


@dataclasses.dataclass(frozen=True)
class ClockReading:
    """The camera's clock, read between two readings of the host's monotonic clock."""

    tick: int
    before_ns: int
    after_ns: int


@dataclasses.dataclass(frozen=True)
class Role:
    """What one camera does in a rig.

    Attributes:
        trigger: the rig's trigger.
        is_source: True for the camera whose output drives the others.
        cameras: how many cameras the rig has, to share the link.
    """

    trigger: TriggerParameters
    is_source: bool
    cameras: int


class CameraDevice(Protocol):
    """One open camera. Every method may raise `DeviceUnavailableError` when it is gone.

    All methods are called from one thread; a bus's ``trigger_all`` comes from another.
    """

    @property
    def info(self) -> DeviceInfo:
        """Which camera."""

    @property
    def tick_ns(self) -> float:
        """Length of a tick of its clock in ns."""

    @property
    def delay_ns(self) -> int:
        """Usual time from start of exposure to arrival, as far as the camera tells."""

    def configure(self, settings: CameraSettings, role: Role) -> list[str]:
        """Sets everything up; returns warnings, one sentence each.

        Raises:
            ConfigurationError: a value that this camera cannot take; the message says which are
                allowed.
        """

    def start(self) -> None:
        """Begins to stream; the frame counter starts anew."""

    def stop(self) -> None:
        """Ends the stream."""

    def grab(self, timeout_s: float) -> RawFrame | None:
        """The next frame, intact or not, or None when there was none in time."""

    def read_clock(self) -> ClockReading | None:
        """Reads the clock, or None when the camera cannot."""

    def note(self) -> str:
        """What else there is to say of its state, such as its place in PTP; mostly empty."""

    def settings(self) -> Mapping[str, Setting]:
        """Live parameters with their present ranges."""

    def change(self, name: str, value: Value) -> Value:
        """Sets one; the stream must be stopped when the setting pauses it."""

    def close(self) -> None:
        """Lets go of the camera; also of one that is gone."""


class CameraBus(Protocol):
    """Where cameras are found."""

    def devices(self) -> list[DeviceInfo]:
        """The cameras that are connected now."""

    def open(self, info: DeviceInfo) -> CameraDevice:
        """Opens one.

        Raises:
            DeviceUnavailableError: it is gone or another program holds it.
        """

    def trigger_all(
        self, devices: Mapping[str, CameraDevice], sending: Callable[[str], None]
    ) -> set[str]:
        """One trigger burst for cameras by name.

        Args:
            devices: the cameras.
            sending: called with each name just before its trigger is sent.

        Returns:
            The names of those that could not be triggered.
        """


def find(identity: str, devices: list[DeviceInfo], camera: str) -> DeviceInfo:
    """The device with this serial number, or else with this user id.

    Raises:
        ConfigurationError: several have this user id.
        DeviceUnavailableError: there is none; the message lists those that are there.
    """
    matches = [d for d in devices if d.serial == identity]
    matches = matches or [d for d in devices if d.user_id == identity]
    if len(matches) == 1:
        return matches[0]
    listed = "; ".join(map(str, devices)) or "none at all"
    if matches:
        raise ConfigurationError(
            f"camera {camera}: {len(matches)} devices have the user id {identity!r}: "
            f"use serial numbers. Connected: {listed}"
        )
    raise DeviceUnavailableError(
        f"camera {camera}: no device has the serial number or user id {identity!r}. "
        f"Connected: {listed}"
    )
