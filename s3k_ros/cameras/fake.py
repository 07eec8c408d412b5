"""Cameras that exist in memory, with scripted clocks and faults, for tests and for trying out.

Every image has one grey value, the number of its trigger modulo `GREYS`, so that a set tells
whether its frames belong together.
"""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Mapping

import numpy as np

from s3k_ros.cameras.device import CameraDevice, ClockReading, DeviceInfo, RawFrame, Role
from s3k_ros.cameras.host import HostClock, SystemClock
from s3k_ros.cameras.pixels import SUPPORTED, choose_format
from s3k_ros.cameras.port import SETTINGS, Setting, Value
from s3k_ros.errors import ConfigurationError, DeviceUnavailableError
from s3k_ros.params.cameras import CameraSettings

GREYS = 251
FORMATS = ("BayerRG8", "Mono8", "BGR8", "Mono12")
# How often a camera looks at its script while no trigger comes: four that look at every millisecond
# take a tenth of a core from whatever is measured with them.
_LOOK_NS = 20_000_000
PAUSING = ("region_x", "region_y", "region_width", "region_height", "binning", "pixel_format")


@dataclasses.dataclass
class FakeTally:
    """What really became of a camera's frames, for those who check a rig's counts.

    Attributes:
        sent, damaged: frames that arrived, intact or not.
        lost: that did not, between two of a stream that did: a gap in the counter shows them.
        cut: that did not at either end of a stream: nobody can know of them.
    """

    sent: int = 0
    damaged: int = 0
    lost: int = 0
    cut: int = 0


@dataclasses.dataclass
class FakeCamera:
    """One camera and its script; attributes may be changed at any time.

    Attributes:
        serial, user_id: who it is.
        drift_ppm: rate of its clock against the host's.
        delay_s, jitter_s: from exposure to arrival, and the scatter on top.
        skew_s: how much later than the trigger it exposes.
        clock_latency_s: time that a reading of its clock takes; None: it cannot be read.
        clock_outliers: share of the readings that are wrong by up to 20 ms.
        has_ticks: False for a camera whose frames carry no time.
        connected: False while it is unplugged.
        deaf: it ignores triggers.
        stuck: it sends nothing until its stream begins anew.
        lose, fail, miss: so many of its next frames are lost, arrive damaged, are not taken.
        loss: share of the frames lost at random.
        formats: pixel formats that it offers.
        width, height: of its sensor, px.
        power_on_ns: when its clock stood at zero, on the host's monotonic clock.
        tally: what really became of its frames.
    """

    serial: str
    user_id: str = ""
    drift_ppm: float = 0.0
    delay_s: float = 0.004
    jitter_s: float = 0.002
    skew_s: float = 0.0
    clock_latency_s: float | None = 0.0003
    clock_outliers: float = 0.0
    has_ticks: bool = True
    connected: bool = True
    deaf: bool = False
    stuck: bool = False
    lose: int = 0
    fail: int = 0
    miss: int = 0
    loss: float = 0.0
    formats: tuple[str, ...] = FORMATS
    width: int = 64
    height: int = 48
    power_on_ns: int = -3_600_000_000_000
    tally: FakeTally = dataclasses.field(default_factory=lambda: FakeTally())

    def power_cycle(self) -> None:
        """Its clock begins at zero, a moment from now."""
        self.power_on_ns = SystemClock().monotonic_ns()


class FakeBus:
    """Fake cameras on one trigger line.

    Args:
        cameras: what is connected.
        clock: the host's clocks.
        seed: of all that is random.

    Attributes:
        line_running: False stops the trigger of all modes but software.
    """

    def __init__(
        self, cameras: list[FakeCamera], *, clock: HostClock | None = None, seed: int = 0
    ) -> None:
        self.cameras = cameras
        self.clock = clock or SystemClock()
        self.line_running = True
        self.random = np.random.default_rng(seed)
        self.origin_ns = self.clock.monotonic_ns()
        self._triggers = 0

    def devices(self) -> list[DeviceInfo]:
        """See `CameraBus`."""
        return [_info(camera) for camera in self.cameras if camera.connected]

    def open(self, info: DeviceInfo) -> CameraDevice:
        """See `CameraBus`."""
        for camera in self.cameras:
            if camera.serial == info.serial and camera.connected:
                return FakeDevice(camera, self)
        raise DeviceUnavailableError(f"camera {info.serial} is gone")

    def trigger_all(
        self, devices: Mapping[str, CameraDevice], sending: Callable[[str], None]
    ) -> set[str]:
        """See `CameraBus`."""
        self._triggers += 1
        deaf = set()
        for name, device in devices.items():
            assert isinstance(device, FakeDevice)
            sending(name)
            if not device.expose(self._triggers, self.clock.monotonic_ns()):
                deaf.add(name)
        return deaf


class FakeDevice:
    """`CameraDevice` of a `FakeCamera`."""

    def __init__(self, camera: FakeCamera, bus: FakeBus) -> None:
        self._camera, self._bus, self._clock = camera, bus, bus.clock
        self._values: dict[str, Value] = {}
        self._mode = ""
        self._is_source = False
        self._streaming = False
        self._changed = threading.Condition()
        # Exposures under way: when they arrive, when they began, trigger, counter.
        self._pending: collections.deque[tuple[int, int, int, int]] = collections.deque()
        self._counter = -1
        self._beat = 0
        # Frames of this stream that were lost since the last that arrived, and whether one did.
        self._unseen, self._was_seen = 0, False

    @property
    def info(self) -> DeviceInfo:
        """See `CameraDevice`."""
        return _info(self._camera)

    @property
    def tick_ns(self) -> float:
        """See `CameraDevice`."""
        return 1.0

    @property
    def delay_ns(self) -> int:
        """See `CameraDevice`."""
        return round(1e9 * self._camera.delay_s)

    def configure(self, settings: CameraSettings, role: Role) -> list[str]:
        """See `CameraDevice`."""
        self._require()
        camera = self._camera
        chosen = choose_format(settings.pixel_format, camera.formats, camera.serial)
        values = {name: getattr(settings, name) for name in SETTINGS}
        width = settings.region_width or camera.width // settings.binning
        height = settings.region_height or camera.height // settings.binning
        self._values = {
            **values,
            "pixel_format": chosen,
            "region_width": width,
            "region_height": height,
            "region_x": max(settings.region_x, 0),
            "region_y": max(settings.region_y, 0),
            "white_balance_red": settings.white_balance_red or 1.0,
            "white_balance_green": settings.white_balance_green or 1.0,
            "white_balance_blue": settings.white_balance_blue or 1.0,
        }
        self._mode, self._is_source = role.trigger.mode, role.is_source
        share = 1e6 * settings.link_limit_mb_s / role.cameras
        if 0 < share < width * height * settings.frame_rate_hz:
            return [f"{width} x {height} at {settings.frame_rate_hz:g} Hz exceed its share"]
        return []

    def start(self) -> None:
        """See `CameraDevice`."""
        self._require()
        with self._changed:
            self._camera.stuck = False
            self._cut()
            self._counter = -1
            self._beat = self._beat_at(self._clock.monotonic_ns())
            self._streaming = True

    def stop(self) -> None:
        """See `CameraDevice`."""
        self._require()
        self._streaming = False

    def grab(self, timeout_s: float) -> RawFrame | None:
        """See `CameraDevice`."""
        deadline = self._clock.monotonic_ns() + round(1e9 * timeout_s)
        with self._changed:
            while True:
                self._require()
                self._follow_the_line()
                now = self._clock.monotonic_ns()
                if self._pending and self._pending[0][0] <= now:
                    _, exposed_ns, trigger, counter = self._pending.popleft()
                    if frame := self._frame(exposed_ns, trigger, counter):
                        return frame
                elif now >= deadline:
                    return None
                else:
                    self._changed.wait(min(deadline - now, self._rest(now)) * 1e-9)

    def _rest(self, now_ns: int) -> int:
        """How long nothing comes, ns; a trigger ends the wait, but not what the script does."""
        if self._pending:
            return max(self._pending[0][0] - now_ns, 0)
        return _LOOK_NS if self._mode in ("software", "action") else 1_000_000

    def expose(self, trigger: int, now_ns: int) -> bool:
        """Takes an image, unless the script says otherwise; False when it does not listen."""
        camera = self._camera
        if not (camera.connected and self._streaming):
            return False
        if camera.deaf or camera.stuck:
            return True
        if camera.miss > 0:
            camera.miss -= 1
            return True
        random = self._bus.random
        with self._changed:
            self._counter += 1
            exposed_ns = now_ns + round(1e9 * camera.skew_s)
            arrival_ns = exposed_ns + round(
                1e9 * (camera.delay_s + random.random() * camera.jitter_s)
            )
            if self._pending:  # the link keeps the order
                arrival_ns = max(arrival_ns, self._pending[-1][0] + 1)
            self._pending.append((arrival_ns, exposed_ns, trigger, self._counter))
            self._changed.notify()
        return True

    def read_clock(self) -> ClockReading | None:
        """See `CameraDevice`."""
        self._require()
        camera, random = self._camera, self._bus.random
        if camera.clock_latency_s is None or not camera.has_ticks:
            return None
        before = self._clock.monotonic_ns()
        time.sleep(camera.clock_latency_s)
        after = self._clock.monotonic_ns()
        at = before + round(random.random() * (after - before))
        if random.random() < camera.clock_outliers:
            at += round(random.uniform(-20e6, 20e6))
        return ClockReading(self._tick(at), before, after)

    def note(self) -> str:
        """See `CameraDevice`."""
        return ""

    def settings(self) -> Mapping[str, Setting]:
        """See `CameraDevice`."""
        self._require()
        binning = int(self._values["binning"])
        ranges: dict[str, tuple[float, float, float | None]] = {
            "frame_rate_hz": (0.1, 1000.0, None),
            "exposure_s": (1e-5, 1.0, None),
            "gain_db": (0.0, 24.0, None),
            "white_balance_red": (0.0, 16.0, None),
            "white_balance_green": (0.0, 16.0, None),
            "white_balance_blue": (0.0, 16.0, None),
            "region_x": (0, self._camera.width // binning - int(self._values["region_width"]), 1),
            "region_y": (0, self._camera.height // binning - int(self._values["region_height"]), 1),
            "region_width": (8, self._camera.width // binning, 8),
            "region_height": (8, self._camera.height // binning, 8),
            "binning": (1, 2, 1),
        }
        return {
            name: self._setting(name, unit, ranges.get(name)) for name, unit in SETTINGS.items()
        }

    def _setting(
        self, name: str, unit: str, span: tuple[float, float, float | None] | None
    ) -> Setting:
        low, high, step = span or (None, None, None)
        usable = tuple(f for f in self._camera.formats if f in SUPPORTED)
        choices = usable if name == "pixel_format" else ()
        value = self._values[name]
        return Setting(name, value, unit, low, high, step, choices, name in PAUSING)

    def change(self, name: str, value: Value) -> Value:
        """See `CameraDevice`."""
        self._require()
        if name == "pixel_format":
            value = choose_format(str(value), self._camera.formats, self._camera.serial)
        if name in PAUSING and self._streaming:
            raise ConfigurationError(f"{name} cannot change while the camera streams")
        self._values[name] = value
        if name == "frame_rate_hz":
            self._beat = self._beat_at(self._clock.monotonic_ns())
        if name == "binning":
            self._values |= {
                "region_width": self._camera.width // int(value),
                "region_height": self._camera.height // int(value),
                "region_x": 0,
                "region_y": 0,
            }
        return value

    def close(self) -> None:
        """See `CameraDevice`."""
        self._streaming = False
        with self._changed:
            self._cut()

    # --- inside ---------------------------------------------------------------------------------

    def _require(self) -> None:
        if not self._camera.connected:
            raise DeviceUnavailableError(f"camera {self._camera.serial} has been removed")

    def _tick(self, host_ns: int) -> int:
        return round((host_ns - self._camera.power_on_ns) * (1.0 + 1e-6 * self._camera.drift_ppm))

    def _beat_at(self, now_ns: int) -> int:
        return int((now_ns - self._bus.origin_ns) * 1e-9 * float(self._values["frame_rate_hz"]))

    def _follow_the_line(self) -> None:
        """Takes the images of all triggers since the last call, in the modes with a steady beat."""
        if self._mode in ("software", "action"):
            return
        now = self._clock.monotonic_ns()
        period_ns = 1e9 / float(self._values["frame_rate_hz"])
        while self._beat < self._beat_at(now):
            self._beat += 1
            if self._bus.line_running:
                self.expose(self._beat, self._bus.origin_ns + round(self._beat * period_ns))

    def _cut(self) -> None:
        """A stream ends: what is under way is gone."""
        self._camera.tally.cut += len(self._pending) + self._unseen
        self._pending.clear()
        self._unseen, self._was_seen = 0, False

    def _count(self, tally: FakeTally, intact: bool) -> None:
        tally.sent += intact
        tally.damaged += not intact
        tally.lost += self._unseen * self._was_seen
        tally.cut += self._unseen * (not self._was_seen)
        self._unseen, self._was_seen = 0, True

    def _frame(self, exposed_ns: int, trigger: int, counter: int) -> RawFrame | None:
        camera = self._camera
        forced = camera.lose > 0
        camera.lose -= forced
        if forced or self._bus.random.random() < camera.loss:
            self._unseen += 1
            return None
        intact = camera.fail <= 0
        camera.fail -= not intact
        self._count(camera.tally, intact)
        size = (int(self._values["region_height"]), int(self._values["region_width"]))
        pixel_format = str(self._values["pixel_format"])
        shape = (*size, 3) if pixel_format.startswith("BGR") else size
        data = np.full(shape, trigger % GREYS, np.uint8)
        tick = self._tick(exposed_ns) if camera.has_ticks else None
        return RawFrame(data, pixel_format, counter, tick, intact)


def _info(camera: FakeCamera) -> DeviceInfo:
    return DeviceInfo(camera.serial, camera.user_id, "fake", "fake")
