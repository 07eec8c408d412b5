"""A rig of single cameras on a bus: the instrument that Basler and fake cameras make together.

Every camera has a thread (`link.py`) that stamps its frames; here they are paired (`pairing.py`),
counted and queued (`outbox.py`). Bayer images are interpolated in `next_set`, in the consumer's
thread.
"""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Iterable, Mapping

from s3k_ros.cameras.clock import HostTime
from s3k_ros.cameras.common_clock import CommonClock
from s3k_ros.cameras.controls import Controls
from s3k_ros.cameras.device import CameraBus, CameraDevice, RawFrame, Role
from s3k_ros.cameras.host import Claims, HostClock, SystemClock
from s3k_ros.cameras.link import CameraLink
from s3k_ros.cameras.outbox import Outbox, Outcome
from s3k_ros.cameras.pairing import Arrival, Pairing
from s3k_ros.cameras.port import (
    CameraState,
    CameraStatistics,
    ClockState,
    Event,
    EventKind,
    FrameSet,
    Reason,
    RigStatistics,
    Setting,
    Value,
)
from s3k_ros.cameras.watch import Keeper, Trigger, Watch
from s3k_ros.errors import ConfigurationError, DeviceUnavailableError
from s3k_ros.params.cameras import CameraRigParameters, CameraSettings, TriggerParameters

# Events that wait for the consumer.
KEPT_EVENTS = 1000


class DeviceRig:
    """`CameraRig` of the cameras on a bus.

    Args:
        parameters: which cameras, and when their images make a set.
        settings: what every camera is set to.
        trigger: what makes them expose.
        bus: where the cameras are found.
        clock: the host's clocks.
        claims: who uses which camera.

    Raises:
        ConfigurationError: the trigger's source is none of the cameras.
    """

    def __init__(
        self,
        parameters: CameraRigParameters,
        settings: CameraSettings,
        trigger: TriggerParameters,
        bus: CameraBus,
        *,
        clock: HostClock | None = None,
        claims: Claims | None = None,
    ) -> None:
        names = parameters.cameras
        source = trigger.source_camera or names[0]
        if trigger.mode == "camera" and source not in names:
            raise ConfigurationError(
                f"TriggerParameters.source_camera = {source!r} is none of {', '.join(names)}"
            )
        self._parameters, self._trigger_parameters = parameters, trigger
        self._bus = bus
        self._clock = clock or SystemClock()
        self._lock = threading.Condition()
        self._events: collections.deque[Event] = collections.deque(maxlen=KEPT_EVENTS)
        claimed = claims or Claims()
        self._links = {
            name: CameraLink(
                name,
                identity,
                bus=bus,
                role=Role(trigger, trigger.mode == "camera" and name == source, len(names)),
                settings=settings,
                claims=claimed,
                clock=self._clock,
                owner=self,
                reconnect_s=parameters.reconnect_s,
                clock_period_s=parameters.clock_period_s,
            )
            for name, identity in parameters.identities.items()
        }
        rate_hz = settings.frame_rate_hz
        self._controls = Controls(self._links, trigger.mode, rate_hz, self._on_rate)
        # With an external line nobody knows whether there is a trigger at all.
        drivers = {"camera": (source,), "line": ()}.get(trigger.mode, names)
        self._common = CommonClock() if trigger.mode == "ptp" else None
        self._watch = Watch(parameters.silence_s, rate_hz, parameters.restart_silent_s, drivers)
        self._pairing = self._make_pairing()
        self._outbox = Outbox(parameters.queue_sets)
        self._threads: list[Trigger | Keeper] = []
        self._opened = self._active = False

    def _make_pairing(self) -> Pairing[RawFrame]:
        return Pairing(
            self.cameras,
            period_ns=round(1e9 / self._controls.rate_hz),
            max_skew_ns=round(1e9 * self._parameters.max_skew_s),
            timeout_ns=round(1e9 * self._parameters.set_timeout_s),
            min_cameras=self._parameters.min_views,
        )

    # --- life cycle -----------------------------------------------------------------------------

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, in the order of every set."""
        return self._parameters.cameras

    def open(self) -> None:
        """See `CameraRig.open`."""
        if self._opened:
            return
        self._pairing = self._make_pairing()
        self._outbox = Outbox(self._parameters.queue_sets)
        devices = self._bus.devices()
        complaints = []
        try:
            for link in self._links.values():
                try:
                    link.connect(devices)
                except DeviceUnavailableError as error:
                    complaints.append(str(error))
                    self.on_event(EventKind.CAMERA_MISSING, link.name, str(error))
            serials = [link.device.info.serial for link in self._links.values() if link.device]
            if len(serials) < self._parameters.min_cameras:
                raise DeviceUnavailableError(
                    f"{len(serials)} of {len(self.cameras)} cameras are there, "
                    f"{self._parameters.min_cameras} must be: {' | '.join(complaints)}"
                )
            if twice := [s for s, n in collections.Counter(serials).items() if n > 1]:
                raise ConfigurationError(f"two cameras of the rig are the one device {twice[0]}")
        except Exception:
            self._shut_links()
            raise
        for link in self._links.values():
            link.run()
        self._opened = True

    def start(self) -> None:
        """See `CameraRig.start`."""
        if not self._opened:
            raise DeviceUnavailableError("the rig is not open")
        if self._active:
            return
        with self._lock:
            self._active = True
            self._watch.start(self._clock.monotonic_ns())
        self._want(True)
        self._threads = [Keeper(self._keep)]
        if self._trigger_parameters.mode in ("software", "action"):
            self._threads.append(Trigger(self._fire, self._clock, lambda: self._controls.rate_hz))

    def stop(self) -> None:
        """See `CameraRig.stop`."""
        if not self._active:
            return
        for thread in self._threads:
            thread.end()
        self._threads = []
        self._want(False)
        with self._lock:
            self._active = False
            self._take(self._pairing.flush())
            self._outbox.clear()
            self._lock.notify_all()

    def close(self) -> None:
        """See `CameraRig.close`."""
        self.stop()
        self._shut_links()
        self._opened = False

    def _shut_links(self) -> None:
        for link in self._links.values():
            link.shut()

    def _want(self, streaming: bool) -> None:
        """Starts or stops all cameras; the source of the trigger is the last to start."""
        links = sorted(self._links.values(), key=lambda link: link.role.is_source)
        for link in links if streaming else reversed(links):
            link.want(streaming)
            if link.role.is_source:
                link.settle()
        for link in links:
            link.settle()

    # --- sets -----------------------------------------------------------------------------------

    def next_set(self, timeout_s: float) -> FrameSet | None:
        """See `CameraRig.next_set`."""
        with self._lock:
            self._lock.wait_for(lambda: len(self._outbox) or not self._active, timeout_s)
            parcel = self._outbox.take()
        return parcel.frame_set() if parcel else None

    def _take(self, outcomes: Iterable[Outcome]) -> None:
        """Takes over what the pairing decided; the lock is held."""
        self._outbox.add(outcomes, self._clock.system_ns() - self._clock.monotonic_ns())
        if len(self._outbox):
            self._lock.notify_all()

    # --- what the links and threads report ------------------------------------------------------

    def on_frame(self, link: CameraLink, raw: RawFrame, received_ns: int) -> None:
        """A frame has come: stamp it and pair it."""
        with self._lock:
            if not link.streaming:
                return
            self._watch.heard(link.name, received_ns)
            if not raw.intact:
                link.answered()
                self._pairing.failed(link.name, link.epoch, raw.counter, link.stream)
                if self._watch.failure_is_news(link.name, received_ns):
                    text = "frames arrive damaged: link, cable or bandwidth"
                    self.on_event(EventKind.FRAMES_FAILED, link.name, text)
                return
            self._outbox.tally.received[link.name] += 1
            time = self._stamp(link, raw, received_ns)
            if time is None or raw.counter is None:
                if raw.counter is not None:
                    self._pairing.undated(link.name, link.epoch, raw.counter, link.stream)
                self._outbox.tally.dropped(link.name, Reason.CLOCK)
                return
            device_ns = None if raw.tick is None else round(raw.tick * link.ticks.tick_ns)
            arrival = Arrival(
                link.name, link.epoch, raw.counter, time.ns, time.error_ns, device_ns,
                received_ns, raw, link.stream,
            )  # fmt: skip
            self._revive(received_ns)
            self._take(self._pairing.add(arrival))

    def _stamp(self, link: CameraLink, raw: RawFrame, received_ns: int) -> HostTime | None:
        own = link.stamp(raw, received_ns)
        if self._common is None or own is None or raw.tick is None:
            return own
        clocks = {
            n: other.ticks for n, other in self._links.items() if other.device or other is link
        }
        time = self._common.stamp(link.name, raw.tick, clocks)
        for news in self._common.take_news():
            self.on_event(*news)
        return time

    def on_streaming(self, link: CameraLink, streaming: bool) -> None:
        """A camera began or ceased to stream: sets wait for it, or no longer."""
        with self._lock:
            self._watch.streaming(link.name, streaming, self._clock.monotonic_ns())
            self._pairing.set_alive(link.name, streaming)
            if self._common and not streaming:
                self._common.forget(link.name)

    def on_event(self, kind: EventKind, camera: str, text: str) -> None:
        """Remembers an event for `take_events`."""
        with self._lock:
            self._events.append(Event(kind, camera, text, self._clock.system_ns()))

    def _keep(self) -> None:
        """What has to happen without a frame: sets time out, cameras fall silent."""
        with self._lock:
            now = self._clock.monotonic_ns()
            self._revive(now)
            self._take(self._pairing.poll(now))

    def _revive(self, now_ns: int) -> None:
        """Waits for cameras that are heard again, and no longer for those that are silent."""
        for kind, camera, text in self._watch.look(now_ns):
            self.on_event(kind, camera, text)
            if kind in (EventKind.CAMERA_SILENT, EventKind.CAMERA_HEARD):
                heard = kind is EventKind.CAMERA_HEARD
                self._pairing.set_alive(camera, heard, Reason.SILENT)
        for camera, is_first in self._watch.due_for_restart(now_ns):
            self._links[camera].restart_stream()
            if is_first:
                text = f"silent for {self._parameters.restart_silent_s:g} s: its stream begins anew"
                self.on_event(EventKind.STREAM_RESTARTED, camera, text)

    def _fire(self) -> None:
        """One software trigger for all cameras that are ready for it."""
        now = self._clock.monotonic_ns()
        devices: dict[str, CameraDevice] = {}
        for name, link in self._links.items():
            device = link.device
            if device and link.streaming and not link.awaits_frame(now):
                devices[name] = device
        for name in self._bus.trigger_all(devices, lambda name: self._links[name].triggered()):
            self._links[name].answered()

    # --- settings and statistics ----------------------------------------------------------------

    def settings(self, camera: str) -> Mapping[str, Setting]:
        """See `CameraRig.settings`."""
        return self._controls.settings(camera)

    def change(self, camera: str, name: str, value: Value) -> Value:
        """See `CameraRig.change`."""
        return self._controls.change(camera, name, value)

    def _on_rate(self, rate_hz: float) -> None:
        """The rate has changed."""
        with self._lock:
            self._watch.set_rate(rate_hz)
            self._pairing.set_period(round(1e9 / rate_hz))

    def statistics(self) -> RigStatistics:
        """See `CameraRig.statistics`."""
        with self._lock:
            return self._outbox.tally.statistics(
                {name: self._camera_statistics(link) for name, link in self._links.items()}
            )

    def take_events(self) -> list[Event]:
        """See `CameraRig.take_events`."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
            return events

    def _camera_statistics(self, link: CameraLink) -> CameraStatistics:
        state = CameraState.ABSENT
        device = link.device
        if device:
            state = CameraState.STREAMING if link.streaming else CameraState.READY
            if link.streaming and self._watch.is_silent(link.name):
                state = CameraState.SILENT
        return CameraStatistics(
            state=state,
            device=str(device.info) if device else "",
            **self._outbox.tally.of_camera(link.name, self._pairing.missed),
            connections=link.connections,
            restarts=link.restarts,
            note=link.note if device else "",
            clock=self._clock_state(link) if device else ClockState(),
        )

    def _clock_state(self, link: CameraLink) -> ClockState:
        offsets_ns = self._common.offsets_ns if self._common else {}
        return dataclasses.replace(link.ticks.state(), offset_ns=offsets_ns.get(link.name))
