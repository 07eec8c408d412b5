"""Basler cameras through pypylon: USB, GigE, and pylon's camera emulator.

`PYLON_CAMEMU=4` in the environment makes pylon offer four emulated cameras. pypylon is imported
here alone, and late: the rest of the package does without it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from s3k_ros.cameras import genicam, genicam_settings, genicam_trigger
from s3k_ros.cameras.device import CameraDevice, ClockReading, DeviceInfo, RawFrame, Role
from s3k_ros.cameras.genicam import Features
from s3k_ros.cameras.host import HostClock, SystemClock
from s3k_ros.cameras.port import Setting, Value
from s3k_ros.errors import ConfigurationError, DeviceUnavailableError
from s3k_ros.params.cameras import CameraSettings, TriggerParameters

TRANSPORTS = {"BaslerUsb": "usb", "BaslerGigE": "gige", "BaslerCamEmu": "emulated"}
EMULATED = "PYLON_CAMEMU"
"""Environment variable: how many cameras pylon emulates."""
# Frames that pylon may hold before the oldest is overwritten by none: it stops instead.
BUFFERS = 10
# GigE Vision counts frames from 1 to 65535 and again from 1 (docs.baslerweb.com, BlockID).
GIGE_COUNTERS = 65535
NO_BLOCK_ID = 2**64 - 1
LATCHES = (
    ("TimestampLatch", "TimestampLatchValue"),
    ("GevTimestampControlLatch", "GevTimestampValue"),
)


def pylon() -> Any:
    """The pypylon module.

    Raises:
        ConfigurationError: pypylon is not installed.
    """
    try:
        from pypylon import pylon as module
    except ImportError as error:
        raise ConfigurationError(
            f"Basler cameras need pypylon ({error}): pip install -r requirements/cameras.in"
        ) from None
    return module


def _survive_alarms() -> None:
    """Ignores SIGALRM until pylon takes it.

    Its emulated cameras expose by timers that send that signal, and one that fires before their
    handler is in place would end the process, as it does by default.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # Python sets signals there alone
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    if not int(caught.split()[1], 16) >> (signal.SIGALRM - 1) & 1:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)


class PylonBus:
    """All Basler cameras that pylon sees.

    Args:
        trigger: the rig's trigger, for the keys of action commands.
        clock: the host's clocks.
    """

    def __init__(self, trigger: TriggerParameters, clock: HostClock | None = None) -> None:
        self._pylon = pylon()
        if os.environ.get(EMULATED):
            _survive_alarms()
        self._factory = self._pylon.TlFactory.GetInstance()
        self._clock = clock or SystemClock()
        self._trigger = trigger
        self._action: Any = None

    def devices(self) -> list[DeviceInfo]:
        """See `CameraBus`."""
        try:
            return [_describe(info) for info in self._factory.EnumerateDevices()]
        except self._pylon.GenericException as error:
            raise DeviceUnavailableError(f"pylon cannot list cameras: {_line(error)}") from None

    def open(self, info: DeviceInfo) -> CameraDevice:
        """See `CameraBus`."""
        for found in self._factory.EnumerateDevices():
            if found.GetSerialNumber() == info.serial:
                return PylonDevice(self._pylon, self._open(found, info), info, self._clock)
        raise DeviceUnavailableError(f"camera {info} is gone")

    def _open(self, found: Any, info: DeviceInfo) -> Any:
        try:
            camera = self._pylon.InstantCamera(self._factory.CreateDevice(found))
            camera.Open()
        except self._pylon.GenericException as error:
            raise DeviceUnavailableError(
                f"camera {info} cannot be opened: {_line(error)}"
            ) from None
        return camera

    def trigger_all(
        self, devices: Mapping[str, CameraDevice], sending: Callable[[str], None]
    ) -> set[str]:
        """See `CameraBus`."""
        if self._trigger.mode == "action":
            for name in devices:
                sending(name)
            return set() if self._send_action() else set(devices)
        deaf = set()
        for name, device in devices.items():
            assert isinstance(device, PylonDevice)
            sending(name)
            if not device.software_trigger():
                deaf.add(name)
        return deaf

    def _send_action(self) -> bool:
        """One broadcast (pypylon's samples/gige_action_command.py); nobody's answer is awaited."""
        try:
            if self._action is None:
                layer = self._factory.CreateTl("BaslerGigE")
                self._action = layer.ActionCommand(
                    self._trigger.action_device_key,
                    self._trigger.action_group_key,
                    self._pylon.AllGroupMask,
                    self._trigger.action_broadcast,
                )
            return bool(self._action.IssueNoWait())
        except self._pylon.GenericException:
            return False  # the cable is out: the watch tells that the trigger has stopped


class PylonFeatures:
    """`Features` of an open pylon camera, for any thread.

    One call at a time, and none once it is closed: pylon frees a camera's nodes with its device,
    and a trigger or a setting that comes in that moment would end the process.

    Raises:
        DeviceUnavailableError: from every call once it is closed.
    """

    def __init__(self, module: Any, camera: Any) -> None:
        self._pylon, self._camera = module, camera
        self._nodes = camera.GetNodeMap()
        self._lock, self._closed = threading.RLock(), False

    def close(self) -> None:
        """Waits for a call that runs, and lets in no more."""
        with self._lock:
            self._closed = True

    @contextlib.contextmanager
    def _node(self, name: str) -> Iterator[Any]:
        with self._lock:
            if self._closed:
                raise DeviceUnavailableError(f"{name}: the camera has been closed")
            yield self._nodes.GetNode(name)

    def has(self, name: str) -> bool:
        """See `Features`."""
        with self._node(name) as node:
            return bool(node.IsValid() and (node.IsReadable() or node.IsWritable()))

    def writable(self, name: str) -> bool:
        """See `Features`."""
        with self._node(name) as node:
            return bool(node.IsValid() and node.IsWritable())

    def get(self, name: str) -> Value:
        """See `Features`."""
        with self._node(name) as node:
            value: Value = node.GetValue()
            return value

    def set(self, name: str, value: Value) -> None:
        """See `Features`."""
        with self._node(name) as node:
            try:
                node.SetValue(value)
            except self._pylon.GenericException as error:
                if self._camera.IsCameraDeviceRemoved():
                    raise
                raise ConfigurationError(f"{name} = {value!r}: {_line(error)}") from None

    def span(self, name: str) -> tuple[float, float, float | None]:
        """See `Features`."""
        with self._node(name) as node:
            step = node.GetInc() if not hasattr(node, "HasInc") or node.HasInc() else None
            return node.GetMin(), node.GetMax(), step

    def choices(self, name: str) -> tuple[str, ...]:
        """See `Features`."""
        with self._node(name) as node:
            return tuple(node.GetSettableValues()) if node.IsValid() else ()

    def execute(self, name: str) -> None:
        """See `Features`."""
        with self._node(name) as node:
            node.Execute()


class PylonDevice:
    """`CameraDevice` of an open pylon camera.

    Args:
        module: pypylon's pylon module.
        camera: pylon's InstantCamera, open.
        info: which camera.
        clock: the host's clocks.
        features: in place of the camera's own, for tests.
    """

    def __init__(
        self,
        module: Any,
        camera: Any,
        info: DeviceInfo,
        clock: HostClock,
        features: Features | None = None,
    ) -> None:
        self._pylon, self._camera, self._info, self._clock = module, camera, info, clock
        self.features: Features = features or PylonFeatures(module, camera)
        self._block_ids = BlockIds(wraps=info.transport == "gige")
        self._pixel_format = ""
        self._role: Role | None = None
        with self._errors():
            self._tick_ns = 1e9 / genicam.tick_rate(self.features)
            self._latch = next((n for n in LATCHES if self.features.has(n[1])), None)
            self._delay_ns = 0

    @property
    def info(self) -> DeviceInfo:
        """See `CameraDevice`."""
        return self._info

    @property
    def tick_ns(self) -> float:
        """See `CameraDevice`."""
        return self._tick_ns

    @property
    def delay_ns(self) -> int:
        """See `CameraDevice`."""
        return self._delay_ns

    def configure(self, settings: CameraSettings, role: Role) -> list[str]:
        """See `CameraDevice`."""
        with self._errors():
            self._camera.MaxNumBuffer.SetValue(BUFFERS)
            self._role = role
            genicam.set_image(self.features, settings, str(self._info))
            genicam_trigger.set_trigger(self.features, settings, role)
            # PTP may have changed it: what the camera says is its current frequency.
            self._tick_ns = 1e9 / genicam.tick_rate(self.features)
            return genicam.share_link(self.features, settings, role.cameras)

    def start(self) -> None:
        """See `CameraDevice`."""
        with self._errors():
            self._pixel_format = str(self.features.get("PixelFormat"))
            self._delay_ns = round(1e9 * genicam.delay_s(self.features))
            self._block_ids.restart()
            self._camera.StartGrabbing(self._pylon.GrabStrategy_OneByOne)

    def stop(self) -> None:
        """See `CameraDevice`."""
        with self._errors():
            self._camera.StopGrabbing()

    def grab(self, timeout_s: float) -> RawFrame | None:
        """See `CameraDevice`."""
        with self._errors():
            if self._camera.IsCameraDeviceRemoved():
                raise DeviceUnavailableError(f"camera {self._info} has been removed")
            timeout_ms = max(1, round(1e3 * timeout_s))
            handling = self._pylon.TimeoutHandling_Return
            result = self._camera.RetrieveResult(timeout_ms, handling)
            if not result.IsValid():
                return None
            try:
                return self._frame(result)
            finally:
                result.Release()

    def _frame(self, result: Any) -> RawFrame:
        counter = self._block_ids.unwrap(result.GetBlockID())
        intact = bool(result.GrabSucceeded())
        # An emulated camera has no clock: its time is always zero.
        tick = result.GetTimeStamp() or None
        data = result.GetArray() if intact else np.zeros((0, 0), np.uint8)
        return RawFrame(data, self._pixel_format, counter, tick, intact)

    def software_trigger(self) -> bool:
        """Sends a software trigger, from another thread; False when the camera is gone."""
        try:
            self.features.execute("TriggerSoftware")
        except (self._pylon.GenericException, DeviceUnavailableError):
            return False
        return True

    def read_clock(self) -> ClockReading | None:
        """See `CameraDevice`."""
        if self._latch is None:
            return None
        with self._errors():
            before_ns = self._clock.monotonic_ns()
            self.features.execute(self._latch[0])
            after_ns = self._clock.monotonic_ns()
            return ClockReading(int(self.features.get(self._latch[1])), before_ns, after_ns)

    def note(self) -> str:
        """See `CameraDevice`: its state in PTP, where the rig uses that."""
        if self._role is None or self._role.trigger.mode != "ptp":
            return ""
        with self._errors():
            return f"PTP {genicam_trigger.ptp_state(self.features)}"

    def settings(self) -> Mapping[str, Setting]:
        """See `CameraDevice`."""
        with self._errors():
            return genicam_settings.read(self.features)

    def change(self, name: str, value: Value) -> Value:
        """See `CameraDevice`."""
        with self._errors():
            if name == "frame_rate_hz" and self._role:
                genicam_trigger.change_rate(self.features, float(value), self._role)
                return value
            made = genicam_settings.change(self.features, name, value)
            if name in ("exposure_s", "region_height", "binning"):
                self._delay_ns = round(1e9 * genicam.delay_s(self.features))
            return made

    def close(self) -> None:
        """See `CameraDevice`."""
        if isinstance(self.features, PylonFeatures):
            self.features.close()
        for end in (self._camera.StopGrabbing, self._camera.Close, self._camera.DestroyDevice):
            with contextlib.suppress(self._pylon.GenericException):
                end()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Pylon's errors as ours: mostly the camera is gone."""
        try:
            yield
        except self._pylon.GenericException as error:
            raise DeviceUnavailableError(f"camera {self._info}: {_line(error)}") from None


class BlockIds:
    """Makes pylon's frame counters endless.

    Args:
        wraps: GigE: the counter runs from 1 to 65535 and again from 1.
    """

    def __init__(self, *, wraps: bool) -> None:
        self._wraps = wraps
        self.restart()

    def restart(self) -> None:
        """The camera starts to stream anew."""
        self._turns, self._last = 0, -1

    def unwrap(self, block_id: int) -> int | None:
        """The counter without its turns; None when the frame has none."""
        if block_id == NO_BLOCK_ID or (self._wraps and block_id == 0):
            return None
        if self._wraps and self._last - block_id > GIGE_COUNTERS // 2:
            self._turns += 1
        self._last = block_id
        return block_id + self._turns * GIGE_COUNTERS


def _describe(info: Any) -> DeviceInfo:
    transport = TRANSPORTS.get(info.GetDeviceClass(), info.GetDeviceClass())
    serial, user_id = info.GetSerialNumber(), info.GetUserDefinedName()
    return DeviceInfo(serial, user_id, info.GetModelName(), transport)


def _line(error: Exception) -> str:
    """Pylon's message without the place in its source."""
    return str(error).split(" : ")[0].strip().rstrip(".")
