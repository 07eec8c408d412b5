"""A camera's features by their GenICam names, and how a rig sets them.

The names are those of Basler's documentation (docs.baslerweb.com, "Features"). Where families of
cameras differ, all names are tried: ace GigE cameras follow SFNC 1.x (ExposureTimeAbs,
GevIEEE1588), the others SFNC 2.x (ExposureTime, PtpEnable).
"""

from __future__ import annotations

from typing import Protocol

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


def set_image(features: Features, settings: CameraSettings, camera: str) -> None:
    """Sets what the images are like; the camera must not stream.

    Raises:
        ConfigurationError: the camera cannot take a value; the message says which it can.
    """
    if features.has("AcquisitionMode"):
        features.set("AcquisitionMode", "Continuous")
    _set_format(features, settings, camera)
    _set_light(features, settings)


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


# --- link -------------------------------------------------------------------------------------


def share_link(features: Features, settings: CameraSettings, cameras: int) -> list[str]:
    """Gives the camera its share of the link; warns of what it will not achieve."""
    warnings = _check_rate(features, settings)
    if not settings.link_limit_mb_s:
        return warnings
    share = 1e6 * settings.link_limit_mb_s / cameras
    if features.has("DeviceLinkThroughputLimit"):
        if features.has("DeviceLinkThroughputLimitMode"):
            features.set("DeviceLinkThroughputLimitMode", "On")
        limit = int(clip(features, "DeviceLinkThroughputLimit", share))
        features.set("DeviceLinkThroughputLimit", limit)
    elif features.has("GevSCPD"):
        _space_packets(features, share)
    need = float(features.get("PayloadSize")) * settings.frame_rate_hz
    if need <= share:
        return warnings
    return [
        *warnings,
        f"its images need {need / 1e6:.0f} MB/s at {settings.frame_rate_hz:g} Hz, its share of the "
        f"link is {share / 1e6:.0f} MB/s: lower the rate, bin, or choose a Bayer format",
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
