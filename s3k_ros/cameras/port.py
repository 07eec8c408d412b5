"""What the rest of the package sees of the cameras: one rig that hands out sets of images.

Basler cameras, fakes, recordings and the simulated cell implement `CameraRig`. All times are
nanoseconds of the host's clock (the system clock, or simulated time for simulated sources).
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from s3k_ros.cameras.window import Window

Value = bool | int | float | str


class Reason(enum.Enum):
    """Why a frame is missing in a set, or why a set or frame was refused."""

    ABSENT = "the camera is not connected"
    SILENT = "the camera is connected but sends nothing"
    LOST = "the camera took the frame, but it did not arrive"
    FAILED = "the frame arrived damaged"
    MISSED_TRIGGER = "the camera did not react to the trigger"
    TIMEOUT = "the frame did not come in time"
    LATE = "the frame came after its set was closed"
    CLOCK = "the camera's clock is not yet known"
    AMBIGUOUS = "the frame could belong to several sets"
    SKEW = "the exposures of the set lie too far apart"
    TOO_FEW = "too few cameras contributed to the set"
    OVERFLOW = "the consumer did not take the set in time"
    STOPPED = "the rig stopped before the set was closed"


class EventKind(enum.Enum):
    """Things that happen to a rig, for diagnostics and logs."""

    CAMERA_MISSING = "camera missing"
    CAMERA_CONNECTED = "camera connected"
    CAMERA_LOST = "camera lost"
    CAMERA_SILENT = "camera silent"
    CAMERA_HEARD = "camera heard again"
    STREAM_RESTARTED = "stream begun anew"
    CAMERA_CLAIMED = "camera in use by another rig"
    TRIGGER_STOPPED = "trigger stopped"
    TRIGGER_RESUMED = "trigger resumed"
    CLOCK_RESTARTED = "clock restarted"
    CLOCK_APART = "clock apart from the others"
    CLOCK_TOGETHER = "clock together with the others"
    FRAMES_FAILED = "frames failed"
    SETTING_REFUSED = "setting refused"
    BANDWIDTH = "bandwidth short"


class CameraState(enum.Enum):
    """Where one camera of a rig stands."""

    ABSENT = "absent"
    READY = "ready"
    STREAMING = "streaming"
    SILENT = "silent"


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        kind: what.
        camera: which camera, empty for the rig as a whole.
        text: one sentence for the user.
        time_ns: when, on the host's clock.
    """

    kind: EventKind
    camera: str
    text: str
    time_ns: int


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """One image of one camera.

    Attributes:
        camera: name in the rig.
        image: (height, width) mono8 or (height, width, 3) bgr8, uint8, read-only.
        stamp_ns: start of the exposure.
        error_ns: bound of the stamp's error.
        counter: the camera's own frame counter since it started to stream.
        window: which part of the sensor it shows; None when the source does not know.
    """

    camera: str
    image: NDArray[np.uint8]
    stamp_ns: int
    error_ns: int
    counter: int
    window: Window | None = None

    @property
    def encoding(self) -> str:
        """ROS name of the pixel format: mono8 or bgr8."""
        return "mono8" if self.image.ndim == 2 else "bgr8"


@dataclasses.dataclass(frozen=True, eq=False)
class FrameSet:
    """The images of one trigger.

    Attributes:
        set_id: counts the sets of the rig, from 1; a gap means that the consumer came too late.
        stamp_ns: reference time of the trigger, the lower median of the frames' stamps.
        skew_ns: latest minus earliest stamp.
        frames: by camera, in the rig's order; a camera without a valid frame is absent.
        missing: why, for every camera of the rig that is absent.
    """

    set_id: int
    stamp_ns: int
    skew_ns: int
    frames: Mapping[str, Frame]
    missing: Mapping[str, Reason] = dataclasses.field(default_factory=lambda: MappingProxyType({}))

    @property
    def complete(self) -> bool:
        """Whether every camera of the rig contributed."""
        return not self.missing


@dataclasses.dataclass(frozen=True)
class Setting:
    """One live parameter of a camera, with its range as the camera reports it now.

    Attributes:
        name: one of `SETTINGS`.
        value: the present value.
        unit: SI unit or "px"; empty when dimensionless.
        low, high, step: range of numbers; None where there is none.
        choices: allowed values, when they are few.
        pauses: True when a change interrupts the camera's stream for a moment.
    """

    name: str
    value: Value
    unit: str = ""
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    pauses: bool = False

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.low is None or self.high is None:
            return "true or false" if isinstance(self.value, bool) else "anything"
        return f"{self.low:g} to {self.high:g}" + (f" {self.unit}" if self.unit else "")


# Every live parameter that a rig may offer, with its unit. What a camera does not have is absent
# from its settings.
SETTINGS = {
    "frame_rate_hz": "Hz",
    "exposure_s": "s",
    "exposure_auto": "",
    "gain_db": "dB",
    "gain_auto": "",
    "white_balance_auto": "",
    "white_balance_red": "",
    "white_balance_green": "",
    "white_balance_blue": "",
    "region_x": "px",
    "region_y": "px",
    "region_width": "px",
    "region_height": "px",
    "binning": "px",
    "pixel_format": "",
}


@dataclasses.dataclass(frozen=True)
class ClockState:
    """How well a camera's clock is known.

    Attributes:
        error_ns: bound of a stamp's error now; None while the clock is unknown.
        drift_ppm: rate of the camera's clock against the host's.
        samples: samples in the fit.
        outliers: samples refused so far.
        restarts: times that the fit began anew.
        offset_ns: in trigger mode ptp, from the common clock; None otherwise.
    """

    error_ns: int | None = None
    drift_ppm: float = 0.0
    samples: int = 0
    outliers: int = 0
    restarts: int = 0
    offset_ns: int | None = None


@dataclasses.dataclass(frozen=True)
class CameraStatistics:
    """Counts of one camera since the rig was opened.

    ``connections`` and ``restarts`` are those of the device and, as it was silent, of its stream.
    ``received`` frames are either in a delivered set (``delivered``) or in ``dropped`` by reason or
    still wait; frames that never arrived intact are in ``missed`` by reason.
    """

    state: CameraState = CameraState.ABSENT
    device: str = ""
    received: int = 0
    delivered: int = 0
    dropped: Mapping[Reason, int] = dataclasses.field(default_factory=dict)
    missed: Mapping[Reason, int] = dataclasses.field(default_factory=dict)
    connections: int = 0
    restarts: int = 0
    note: str = ""
    clock: ClockState = ClockState()


@dataclasses.dataclass(frozen=True)
class RigStatistics:
    """Counts of a rig since it was opened, and the skew of its recent sets.

    Attributes:
        sets: that the consumer took.
        complete: those of them with all cameras.
        refused: sets that were not delivered, by reason.
        skew_ns: of the newest set.
        skew_median_ns, skew_max_ns: over recent sets, refused ones included.
        cameras: by name.
    """

    sets: int = 0
    complete: int = 0
    refused: Mapping[Reason, int] = dataclasses.field(default_factory=dict)
    skew_ns: int = 0
    skew_median_ns: int = 0
    skew_max_ns: int = 0
    cameras: Mapping[str, CameraStatistics] = dataclasses.field(default_factory=dict)


class CameraRig(Protocol):
    """Several cameras as one instrument.

    The life cycle is open (configure), start (activate), stop (deactivate), close (clean up); start
    and stop may alternate, and the devices stay open and claimed in between. All methods may be
    called from any thread; closing twice does no harm.
    """

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, in the order of every set."""

    def open(self) -> None:
        """Finds, claims and configures the cameras.

        Raises:
            ConfigurationError: the configuration cannot be right, whatever is connected.
            DeviceUnavailableError: fewer cameras than required are there; the message lists
                those that are.
        """

    def start(self) -> None:
        """Begins to take images; what a former run left is gone."""

    def next_set(self, timeout_s: float) -> FrameSet | None:
        """The next set, oldest first, or None when there is none within ``timeout_s``."""

    def stop(self) -> None:
        """Takes no more images; the cameras stay open. Sets not yet taken are dropped."""

    def close(self) -> None:
        """Lets go of the cameras."""

    def settings(self, camera: str) -> Mapping[str, Setting]:
        """The live parameters of a camera by name; empty while it is absent."""

    def change(self, camera: str, name: str, value: Value) -> Value:
        """Sets a live parameter and returns what the camera made of it.

        Raises:
            ConfigurationError: no such camera or setting, or a value that is not allowed; the
                message says what is.
            DeviceUnavailableError: the camera is not there.
        """

    def statistics(self) -> RigStatistics:
        """Counts so far."""

    def take_events(self) -> list[Event]:
        """What happened since the last call, oldest first."""
