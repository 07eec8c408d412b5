"""One camera of a rig: the thread that connects it, streams from it and takes it back."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

from s3k_ros.cameras.clock import HostTime, TickClock
from s3k_ros.cameras.device import CameraBus, CameraDevice, DeviceInfo, RawFrame, Role, find
from s3k_ros.cameras.host import Claims, HostClock
from s3k_ros.cameras.port import EventKind, Value
from s3k_ros.cameras.window import Window
from s3k_ros.errors import ConfigurationError, DeviceUnavailableError
from s3k_ros.params.cameras import CameraSettings

R = TypeVar("R")

# Longest wait for a frame before the thread looks after other things.
GRAB_S = 0.05
# Readings of the clock when a camera is connected: the narrowest count most.
FIRST_READINGS = 8
# As long as the error of the stamps is larger, the clock is read more often.
GOOD_ERROR_NS = 500_000
SOON_NS = 100_000_000
# A frame without any clock is stamped by its arrival, with this bound of the error.
ARRIVAL_ERROR_NS = 2_000_000
# A frame that comes later than this after its trigger is not taken for the answer.
ANSWER_NS = 500_000_000
# Longest wait for the thread to carry out a request.
REQUEST_S = 10.0


class LinkOwner(Protocol):
    """The rig, as its links see it."""

    def on_frame(self, link: CameraLink, raw: RawFrame, received_ns: int) -> None:
        """A frame has come."""

    def on_streaming(self, link: CameraLink, streaming: bool) -> None:
        """The camera began or ceased to stream."""

    def on_event(self, kind: EventKind, camera: str, text: str) -> None:
        """Something worth telling."""


class CameraLink:
    """Keeps one camera connected, and streaming while it is wanted.

    All work on the device happens in one thread; only ``trigger`` commands come from elsewhere.

    Args:
        name: the camera's name in the rig.
        identity: its serial number or user id.
        role: what it does in the rig.
        settings: what it is set to when it is connected; live changes are kept here.
    """

    def __init__(
        self,
        name: str,
        identity: str,
        *,
        bus: CameraBus,
        role: Role,
        settings: CameraSettings,
        claims: Claims,
        clock: HostClock,
        owner: LinkOwner,
        reconnect_s: float,
        clock_period_s: float,
    ) -> None:
        self.name = name
        self.identity = identity
        self.role = role
        self.settings = settings
        self.ticks = TickClock()
        # They change with every stream; the epoch also when the clock is found to have jumped.
        self.epoch = self.stream = 0
        self.connections = self.restarts = 0
        self.device: CameraDevice | None = None
        self.streaming = False
        self.note = ""
        self._bus, self._claims, self._clock, self._owner = bus, claims, clock, owner
        self._reconnect_s, self._clock_period_ns = reconnect_s, round(1e9 * clock_period_s)
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wanted = False
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._last_tick = -1
        self._next_reading_ns = 0
        self._readable = True
        self._trigger_ns: int | None = None
        self._complaint = ""
        self._window: Window | None = None

    # --- called by the rig ----------------------------------------------------------------------

    def connect(self, devices: list[DeviceInfo]) -> None:
        """Opens and configures the camera if it is among ``devices``.

        Raises:
            ConfigurationError: the identity fits several, or the camera cannot take a setting.
            DeviceUnavailableError: it is not there, or somebody else has it.
        """
        info = find(self.identity, devices, self.name)
        self._claims.take(info.serial)
        try:
            device = self._bus.open(info)
            try:
                for warning in device.configure(self.settings, self.role):
                    self._owner.on_event(EventKind.BANDWIDTH, self.name, warning)
            except Exception:
                device.close()
                raise
        except Exception:
            self._claims.release(info.serial)
            raise
        self.ticks.restart()
        self.ticks = TickClock(tick_ns=device.tick_ns, restarts=self.ticks.restarts)
        self._readable, self._complaint = True, ""
        self.device = device
        self.connections += 1
        for _ in range(FIRST_READINGS):
            self._read_clock(device)

    def run(self) -> None:
        """Starts the thread."""
        self._closing.clear()
        self._thread = threading.Thread(target=self._run, name=f"camera {self.name}", daemon=True)
        self._thread.start()

    def want(self, streaming: bool) -> None:
        """Begins or ends to stream as soon as possible; ``settle`` waits for it."""
        self._wanted = streaming

    def settle(self) -> None:
        """Waits until what was wanted before this call is done, or the camera is lost."""
        with contextlib.suppress(DeviceUnavailableError):
            self.call(self._follow)

    def call(self, work: Callable[[], R]) -> R:
        """Does something in the camera's thread and returns its result or raises its error."""
        if self._thread is None or threading.current_thread() is self._thread:
            return work()
        future: Future[R] = Future()

        def task() -> None:
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)
                if isinstance(error, DeviceUnavailableError):
                    raise  # the thread drops the camera

        self._requests.put(task)
        try:
            return future.result(REQUEST_S)
        except TimeoutError:
            raise DeviceUnavailableError(f"camera {self.name} does not answer") from None

    def paused(self, work: Callable[[CameraDevice], R]) -> R:
        """Does something with the device while it does not stream; in the camera's thread."""
        device = self.required()
        was_streaming = self.streaming
        self._stop_stream()
        try:
            return work(device)
        finally:
            if was_streaming:
                self._start_stream(device)

    def restart_stream(self) -> None:
        """Begins the stream anew as soon as possible: the camera sends nothing though it should.

        For everybody else it goes on, so that nobody waits for the camera before it is heard.
        """
        self._requests.put(self._restart_stream)

    def required(self) -> CameraDevice:
        """The device.

        Raises:
            DeviceUnavailableError: it is not connected.
        """
        if self.device is None:
            raise DeviceUnavailableError(f"camera {self.name} ({self.identity}) is not connected")
        return self.device

    def keep_setting(self, name: str, value: Value) -> None:
        """Remembers a live change, for when the camera is connected anew."""
        values = {**dataclasses.asdict(self.settings), name: value}
        self.settings = CameraSettings.from_mapping(values)

    def triggered(self) -> None:
        """A software trigger is about to be sent."""
        self._trigger_ns = self._clock.monotonic_ns()

    def answered(self) -> None:
        """The trigger makes no frame that needs a stamp."""
        self._trigger_ns = None

    def awaits_frame(self, now_ns: int) -> bool:
        """Whether a trigger is unanswered by a camera whose frames only the trigger dates."""
        if self._trigger_ns is None or self._last_tick >= 0:
            return False
        if now_ns - self._trigger_ns > ANSWER_NS:
            self._trigger_ns = None
        return self._trigger_ns is not None

    def shut(self) -> None:
        """Ends the thread and lets go of the camera."""
        self._closing.set()
        if self._thread:
            self._thread.join(REQUEST_S)
        self._thread = None
        self._drop()

    # --- stamps ---------------------------------------------------------------------------------

    def stamp(self, raw: RawFrame, received_ns: int) -> HostTime | None:
        """Start of the exposure on the monotonic clock; None while the clock is unknown."""
        trigger_ns, self._trigger_ns = self._trigger_ns, None
        if raw.tick is None:
            if trigger_ns is not None:
                return HostTime(trigger_ns, ARRIVAL_ERROR_NS // 4)
            delay_ns = self.device.delay_ns if self.device else 0
            return HostTime(received_ns - delay_ns, ARRIVAL_ERROR_NS)
        if raw.tick <= self._last_tick:
            self.ticks.restart()
            self.epoch += 1
            self.stream += 1
        self._last_tick = raw.tick
        if not self._readable and self.device:
            self.ticks.add_arrival(raw.tick, received_ns - self.device.delay_ns)
        return self.ticks.to_host(raw.tick)

    def _read_clock(self, device: CameraDevice) -> None:
        if not self._readable:
            return
        restarts = self.ticks.restarts
        reading = device.read_clock()
        now = self._clock.monotonic_ns()
        error_ns = self.ticks.state().error_ns
        soon = error_ns is None or error_ns > GOOD_ERROR_NS
        self._next_reading_ns = now + (SOON_NS if soon else self._clock_period_ns)
        self.note = device.note()
        if reading is None:
            self._readable = False
            return
        middle = (reading.before_ns + reading.after_ns) // 2
        self.ticks.add(reading.tick, middle, (reading.after_ns - reading.before_ns) // 2 + 1)
        if self.ticks.restarts != restarts:
            self.epoch += 1
            text = "its clock jumped: lost power, or was reset"
            self._owner.on_event(EventKind.CLOCK_RESTARTED, self.name, text)

    # --- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._step()
            except DeviceUnavailableError as error:
                self._lose(str(error))
            except Exception as error:  # a thread that dies would take the camera with it
                self._lose(f"{type(error).__name__}: {error}")
        if self.device:
            self._end_stream_quietly()

    def _step(self) -> None:
        if self.device is None:
            self._try_to_connect()
        self._follow()
        self._serve()
        device = self.device
        if device is None:
            self._pause(self._reconnect_s)
            return
        if self._clock.monotonic_ns() >= self._next_reading_ns:
            self._read_clock(device)
        if not self.streaming:
            self._pause(GRAB_S)
        elif raw := device.grab(GRAB_S):
            raw = dataclasses.replace(raw, window=self._window)
            self._owner.on_frame(self, raw, self._clock.monotonic_ns())

    def _follow(self) -> None:
        """Starts or stops to stream, as wanted."""
        if self.device and self._wanted and not self.streaming:
            self._start_stream(self.device)
        elif self.streaming and not self._wanted:
            self._stop_stream()

    def _serve(self) -> None:
        while not self._requests.empty():
            self._requests.get()()

    def _pause(self, seconds: float) -> None:
        """Waits, but not longer than until the next request or change."""
        try:
            self._requests.get(timeout=min(seconds, GRAB_S))()
        except queue.Empty:
            return

    def _try_to_connect(self) -> None:
        now = self._clock.monotonic_ns()
        if now < self._next_reading_ns:
            return
        self._next_reading_ns = now + round(1e9 * self._reconnect_s)
        try:
            self.connect(self._bus.devices())
        except (DeviceUnavailableError, ConfigurationError) as error:
            if str(error) != self._complaint:  # say it once, not with every attempt
                self._complaint = str(error)
                refused = isinstance(error, ConfigurationError)
                kind = EventKind.SETTING_REFUSED if refused else EventKind.CAMERA_MISSING
                self._owner.on_event(kind, self.name, str(error))
            return
        text = f"connected: {self.required().info}"
        self._owner.on_event(EventKind.CAMERA_CONNECTED, self.name, text)

    def _start_stream(self, device: CameraDevice) -> None:
        # It cannot change while the camera streams.
        self._window = Window.of_settings(device.settings())
        self._begin(device)
        self.streaming = True
        self._owner.on_streaming(self, True)

    def _restart_stream(self) -> None:
        if self.device and self.streaming:
            self.restarts += 1
            self.device.stop()
            self._begin(self.device)

    def _begin(self, device: CameraDevice) -> None:
        device.start()
        self.epoch += 1
        self.stream += 1
        self._last_tick, self._trigger_ns = -1, None

    def _stop_stream(self) -> None:
        if self.streaming:
            self.streaming = False
            self._owner.on_streaming(self, False)
            self.required().stop()

    def _end_stream_quietly(self) -> None:
        with contextlib.suppress(DeviceUnavailableError):
            self._stop_stream()

    def _lose(self, text: str) -> None:
        if self.device is None:
            return  # somebody asked for a camera that is not there
        self._owner.on_event(EventKind.CAMERA_LOST, self.name, text)
        self._drop()
        self._next_reading_ns = 0

    def _drop(self) -> None:
        device, self.device = self.device, None
        if self.streaming:
            self.streaming = False
            self._owner.on_streaming(self, False)
        if device:
            device.close()
            self._claims.release(device.info.serial)
