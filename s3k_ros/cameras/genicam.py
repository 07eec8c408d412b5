"""A camera's features by their GenICam names, and how a rig sets them.

The names are those of Basler's documentation (docs.baslerweb.com, "Features"). Where families of
cameras differ, all names are tried: ace GigE cameras follow SFNC 1.x (ExposureTimeAbs,
GevIEEE1588), the others SFNC 2.x (ExposureTime, PtpEnable).
"""

from __future__ import annotations

from typing import Protocol

from s3k_ros.cameras.device import Role
from s3k_ros.cameras.pixels import choose_format
from s3k_ros.cameras.port import Value
from s3k_ros.errors import ConfigurationError
from s3k_ros.params.cameras import CameraSettings

# Names of one feature in different families.
FRAME_RATE = ("AcquisitionFrameRate", "AcquisitionFrameRateAbs")
EXPOSURE_US = ("ExposureTime", "ExposureTimeAbs")
BALANCE_RATIO = ("BalanceRatio", "BalanceRatioAbs")
RESULTING_RATE = ("ResultingFrameRate", "ResultingFrameRateAbs", "BslResultingAcquisitionFrameRate")
READOUT_US = ("SensorReadoutTime", "ReadoutTimeAbs")
# Signals that rise when the exposure begins, best first.
OUTPUT_SIGNALS = ("ExposureActive", "FlashWindow", "Timer1Active")
COLOURS = ("red", "green", "blue")

GIGABIT_BYTES_S = 125e6


class Features(Protocol):
    """The features of one open camera."""

    def has(self, name: str) -> bool:
        """Whether the camera has this feature now."""

    def writable(self, name: str) -> bool:
        """Whether it can be set now."""

    def get(self, name: str) -> Value:
        """Its value."""

    def set(self, name: str, value: Value) -> None:
        """Sets it.

        Raises:
            ConfigurationError: the value is not allowed; the message says what is.
        """

    def span(self, name: str) -> tuple[float, float, float | None]:
        """Least and largest value and step of a number."""

    def choices(self, name: str) -> tuple[str, ...]:
        """Allowed values of an enumeration."""

    def execute(self, name: str) -> None:
        """Executes a command."""


def first(features: Features, names: tuple[str, ...]) -> str | None:
    """The first of these features that the camera has."""
    return next((name for name in names if features.has(name)), None)


def required(features: Features, names: tuple[str, ...], purpose: str) -> str:
    """The first of these features that the camera has.

    Raises:
        ConfigurationError: it has none; the message says what for.
    """
    if (name := first(features, names)) is None:
        raise ConfigurationError(f"{purpose}: the camera has no {' or '.join(names)}")
    return name


def clip(features: Features, name: str, value: float) -> float:
    """The nearest value that a feature can take."""
    low, high, step = features.span(name)
    if step and step > 0:
        value = low + step * round((value - low) / step)
    return min(max(value, low), high)


def set_up(features: Features, settings: CameraSettings, role: Role, camera: str) -> list[str]:
    """Sets a camera up for a rig.

    Args:
        features: of the camera, which does not stream.
        settings: the values.
        role: what the camera does in the rig.
        camera: for messages.

    Returns:
        Warnings: what the camera will not achieve.

    Raises:
        ConfigurationError: the camera cannot take a value; the message says which it can.
    """
    if features.has("AcquisitionMode"):
        features.set("AcquisitionMode", "Continuous")
    _set_format(features, settings, camera)
    _set_light(features, settings)
    set_trigger(features, settings, role)
    return [*_share_link(features, settings, role), *_check_rate(features, settings)]


# --- image ------------------------------------------------------------------------------------


def _set_format(features: Features, settings: CameraSettings, camera: str) -> None:
    wanted = choose_format(settings.pixel_format, features.choices("PixelFormat"), camera)
    features.set("PixelFormat", wanted)
    set_binning(features, settings.binning)
    for axis, size, offset in (
        ("X", settings.region_width, settings.region_x),
        ("Y", settings.region_height, settings.region_y),
    ):
        length = "Width" if axis == "X" else "Height"
        if features.writable(f"Offset{axis}"):
            features.set(f"Offset{axis}", int(features.span(f"Offset{axis}")[0]))
        largest = int(features.span(length)[1])
        if features.writable(length):
            features.set(length, size or largest)
        if features.writable(f"Offset{axis}"):
            middle = (largest - int(features.get(length))) / 2
            at = offset if offset >= 0 else clip(features, f"Offset{axis}", middle)
            features.set(f"Offset{axis}", int(at))


def set_binning(features: Features, binning: int) -> None:
    """Joins pixels in both directions.

    Raises:
        ConfigurationError: the camera cannot.
    """
    for name in ("BinningHorizontal", "BinningVertical"):
        if features.has(name):
            features.set(name, binning)
        elif binning != 1:
            raise ConfigurationError(f"binning = {binning}: the camera has no {name}")


def _set_light(features: Features, settings: CameraSettings) -> None:
    set_auto(features, "ExposureAuto", settings.exposure_auto)
    if not settings.exposure_auto:
        name = required(features, EXPOSURE_US, "exposure_s")
        features.set(name, 1e6 * settings.exposure_s)
    set_auto(features, "GainAuto", settings.gain_auto)
    if not settings.gain_auto and features.has("Gain"):
        features.set("Gain", settings.gain_db)
    set_auto(features, "BalanceWhiteAuto", settings.white_balance_auto)
    for colour in COLOURS:
        ratio = getattr(settings, f"white_balance_{colour}")
        if ratio and not settings.white_balance_auto:
            set_balance(features, colour, ratio)


def set_auto(features: Features, name: str, on: bool) -> None:
    """Switches an automatic function.

    Raises:
        ConfigurationError: it is to be on and the camera has none.
    """
    if features.has(name):
        features.set(name, "Continuous" if on else "Off")
    elif on:
        raise ConfigurationError(f"the camera has no {name}")


def set_balance(features: Features, colour: str, ratio: float) -> None:
    """Sets the ratio of one colour: "red", "green" or "blue"."""
    name = required(features, BALANCE_RATIO, f"white_balance_{colour}")
    features.set("BalanceRatioSelector", colour.capitalize())
    features.set(name, ratio)


# --- trigger ----------------------------------------------------------------------------------


def set_trigger(features: Features, settings: CameraSettings, role: Role) -> None:
    """Sets what makes the camera expose.

    Raises:
        ConfigurationError: the camera lacks what the mode needs.
    """
    for selector in features.choices("TriggerSelector"):
        features.set("TriggerSelector", selector)
        features.set("TriggerMode", "Off")
    mode = role.trigger.mode
    free = mode == "free_run" or role.is_source
    set_rate(features, settings.frame_rate_hz if free else None)
    if mode == "ptp":
        _synchronous_free_run(features, settings.frame_rate_hz)
    if role.is_source:
        _drive_line(features, role)
    if free or (mode == "ptp" and features.has("SyncFreeRunTimerEnable")):
        return
    features.set("TriggerSelector", "FrameStart")
    source = {"software": "Software", "action": "Action1", "ptp": "PeriodicSignal1"}.get(mode)
    if source is None:
        source = role.trigger.input_line
        _listen_to_line(features, source)
        features.set("TriggerSource", source)
        features.set("TriggerActivation", role.trigger.activation)
    else:
        features.set("TriggerSource", source)
    if mode == "action":
        _accept_action(features, role)
    features.set("TriggerMode", "On")


def set_rate(features: Features, rate_hz: float | None) -> None:
    """Limits the rate of a camera that runs freely; None: as fast as its trigger."""
    if features.has("AcquisitionFrameRateEnable"):
        features.set("AcquisitionFrameRateEnable", rate_hz is not None)
    if rate_hz is not None:
        features.set(required(features, FRAME_RATE, "frame_rate_hz"), rate_hz)


def change_rate(features: Features, rate_hz: float, role: Role) -> None:
    """Another rate, live, for a camera that sets the pace itself."""
    if role.trigger.mode == "ptp":
        _synchronous_free_run(features, rate_hz)
    else:
        set_rate(features, rate_hz)


def _listen_to_line(features: Features, line: str) -> None:
    features.set("LineSelector", line)
    if features.has("LineMode") and features.writable("LineMode"):
        features.set("LineMode", "Input")


def _drive_line(features: Features, role: Role) -> None:
    """The driving camera's output is high while it exposes: the edge starts the others."""
    features.set("LineSelector", role.trigger.output_line)
    if features.has("LineMode") and features.writable("LineMode"):
        features.set("LineMode", "Output")
    offered = features.choices("LineSource")
    signal = next((name for name in OUTPUT_SIGNALS if name in offered), None)
    if signal is None:
        raise ConfigurationError(
            f"{role.trigger.output_line} can show none of {', '.join(OUTPUT_SIGNALS)}, only "
            f"{', '.join(offered)}: use trigger mode line"
        )
    features.set("LineSource", signal)
    if features.has("LineInverter"):
        features.set("LineInverter", role.trigger.invert_output)
    elif role.trigger.invert_output:
        raise ConfigurationError(f"{role.trigger.output_line} cannot be inverted")


def _accept_action(features: Features, role: Role) -> None:
    """Action commands (docs.baslerweb.com/action-commands): the keys must match the broadcast."""
    required(features, ("ActionDeviceKey",), "trigger mode action needs a GigE camera")
    if features.has("ActionSelector"):
        features.set("ActionSelector", 1)
    features.set("ActionDeviceKey", role.trigger.action_device_key)
    features.set("ActionGroupKey", role.trigger.action_group_key)
    features.set("ActionGroupMask", 0xFFFFFFFF)


# --- PTP --------------------------------------------------------------------------------------


def _synchronous_free_run(features: Features, rate_hz: float) -> None:
    """All cameras expose at multiples of the period on the common clock.

    ace GigE: docs.baslerweb.com/synchronous-free-run; the others: .../periodic-signal.
    """
    enable = ("PtpEnable", "GevIEEE1588")
    features.set(required(features, enable, "trigger mode ptp needs a GigE camera"), True)
    if features.has("SyncFreeRunTimerEnable"):
        features.set("SyncFreeRunTimerEnable", False)
        features.set("SyncFreeRunTimerStartTimeLow", 0)
        features.set("SyncFreeRunTimerStartTimeHigh", 0)
        features.set("SyncFreeRunTimerTriggerRateAbs", rate_hz)
        features.execute("SyncFreeRunTimerUpdate")
        features.set("SyncFreeRunTimerEnable", True)
        return
    period = required(features, ("BslPeriodicSignalPeriod",), "trigger mode ptp")
    if features.has("BslPeriodicSignalSelector"):
        features.set("BslPeriodicSignalSelector", "PeriodicSignal1")
    features.set(period, 1e6 / rate_hz)
    features.set("BslPeriodicSignalDelay", 0.0)


def ptp_state(features: Features) -> str | None:
    """How the camera's clock stands in PTP, such as Slave or Master; None without PTP."""
    for latch, status in (
        ("PtpDataSetLatch", "PtpStatus"),
        ("GevIEEE1588DataSetLatch", "GevIEEE1588StatusLatched"),
    ):
        if features.has(status):
            features.execute(latch)
            return str(features.get(status))
    return None


# --- link -------------------------------------------------------------------------------------


def _share_link(features: Features, settings: CameraSettings, role: Role) -> list[str]:
    """Gives the camera its share of the link; warns when the images do not fit into it."""
    if not settings.link_limit_mb_s:
        return []
    share = 1e6 * settings.link_limit_mb_s / role.cameras
    if features.has("DeviceLinkThroughputLimit"):
        if features.has("DeviceLinkThroughputLimitMode"):
            features.set("DeviceLinkThroughputLimitMode", "On")
        limit = int(clip(features, "DeviceLinkThroughputLimit", share))
        features.set("DeviceLinkThroughputLimit", limit)
    elif features.has("GevSCPD"):
        _space_packets(features, share)
    need = float(features.get("PayloadSize")) * settings.frame_rate_hz
    if need <= share:
        return []
    return [
        f"its images need {need / 1e6:.0f} MB/s at {settings.frame_rate_hz:g} Hz, its share of the "
        f"link is {share / 1e6:.0f} MB/s: lower the rate, bin, or choose a Bayer format"
    ]


def _space_packets(features: Features, share: float) -> None:
    """GigE: a pause after each packet leaves the link to the other cameras."""
    packet = float(features.get("GevSCPSPacketSize"))
    pause_s = max(packet / share - packet / GIGABIT_BYTES_S, 0.0)
    features.set("GevSCPD", int(clip(features, "GevSCPD", pause_s * tick_rate(features))))


def _check_rate(features: Features, settings: CameraSettings) -> list[str]:
    name = first(features, RESULTING_RATE)
    if name is None:
        return []
    possible = float(features.get(name))
    # Half a percent: the camera rounds its line time.
    if possible * 1.005 >= settings.frame_rate_hz:
        return []
    return [
        f"it can take {possible:.1f} images a second, {settings.frame_rate_hz:g} are asked: lower "
        f"the rate, the exposure or the region"
    ]


# --- clock ------------------------------------------------------------------------------------


def tick_rate(features: Features) -> float:
    """Ticks a second: GigE cameras say it, those on USB count nanoseconds."""
    name = "GevTimestampTickFrequency"
    return float(features.get(name)) if features.has(name) else 1e9


def delay_s(features: Features) -> float:
    """From start of exposure to the last pixel's departure, as far as the camera tells."""
    names = (first(features, EXPOSURE_US), first(features, READOUT_US))
    return sum(1e-6 * float(features.get(name)) for name in names if name)
