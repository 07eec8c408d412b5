"""A node map that speaks GenICam feature names, for what pylon's emulator does not have.

The lists of features follow Basler's documentation: ace GigE cameras (SFNC 1.x names,
docs.baslerweb.com/action-commands, /precision-time-protocol, /synchronous-free-run), ace 2 GigE
(SFNC 2.x) and dart USB.
"""

from __future__ import annotations

from typing import Any

from s3k_ros.cameras.port import Value
from s3k_ros.errors import ConfigurationError

Span = tuple[float, float, float | None]


class FeatureDouble:
    """`Features` in memory.

    Args:
        values: every feature with its value; the type decides its kind.
        spans: least, largest and step of numbers; others take anything.
        choices: of enumerations.
        commands: that can be executed.

    Attributes:
        log: everything that was set or executed, in order.
    """

    def __init__(
        self,
        values: dict[str, Value],
        spans: dict[str, Span] | None = None,
        choices: dict[str, tuple[str, ...]] | None = None,
        commands: tuple[str, ...] = (),
    ) -> None:
        self.values = dict(values)
        self.spans = spans or {}
        self.enumerations = choices or {}
        self.commands = commands
        self.log: list[tuple[str, Any]] = []

    def has(self, name: str) -> bool:
        return name in self.values or name in self.commands

    def writable(self, name: str) -> bool:
        return self.has(name)

    def get(self, name: str) -> Value:
        return self.values[name]

    def set(self, name: str, value: Value) -> None:
        assert name in self.values, f"the camera has no {name}"
        low, high, _ = self.span(name)
        kind = type(self.values[name])
        if kind in (int, float):
            assert isinstance(value, int | float) and not isinstance(value, bool), (name, value)
            if not low <= value <= high:
                raise ConfigurationError(f"{name} = {value!r}: must be {low} to {high}")
        if name in self.enumerations and value not in self.enumerations[name]:
            raise ConfigurationError(f"{name} = {value!r}: one of {self.enumerations[name]}")
        self.values[name] = kind(value)
        self.log.append((name, value))

    def span(self, name: str) -> Span:
        return self.spans.get(name, (float("-inf"), float("inf"), None))

    def choices(self, name: str) -> tuple[str, ...]:
        return self.enumerations.get(name, ())

    def execute(self, name: str) -> None:
        assert name in self.commands, f"the camera has no command {name}"
        self.log.append((name, None))

    def settings_of(self, *names: str) -> list[tuple[str, Any]]:
        """What happened to these features, in order."""
        return [entry for entry in self.log if entry[0] in names]


_COMMON: dict[str, Value] = {
    "AcquisitionMode": "SingleFrame",
    "PixelFormat": "Mono8",
    "Width": 640,
    "Height": 480,
    "OffsetX": 0,
    "OffsetY": 0,
    "TriggerSelector": "FrameStart",
    "TriggerMode": "Off",
    "TriggerSource": "Software",
    "TriggerActivation": "FallingEdge",
    "LineSelector": "Line1",
    "LineMode": "Input",
    "LineSource": "Off",
    "LineInverter": False,
    "ExposureAuto": "Off",
    "GainAuto": "Off",
    "BalanceWhiteAuto": "Off",
    "BalanceRatioSelector": "Red",
    "AcquisitionFrameRateEnable": False,
    "PayloadSize": 1280 * 960,
}
_CHOICES = {
    "PixelFormat": ("Mono8", "BayerBG8", "YCbCr422_8"),
    "TriggerSelector": ("FrameBurstStart", "FrameStart"),
    "LineSource": ("Off", "ExposureActive", "UserOutput1"),
}
_SPANS: dict[str, Span] = {
    "Width": (16, 1280, 16),
    "Height": (16, 960, 2),
    "OffsetX": (0, 1264, 2),
    "OffsetY": (0, 944, 2),
}


def dart_usb(**more: Value) -> FeatureDouble:
    """A daA1280-54uc as its documentation describes it."""
    values = {
        **_COMMON,
        "ExposureTime": 1000.0,
        "SensorReadoutTime": 18000.0,
        "Gain": 0.0,
        "AcquisitionFrameRate": 10.0,
        "ResultingFrameRate": 54.6,
        "BalanceRatio": 1.0,
        "DeviceLinkThroughputLimitMode": "Off",
        "DeviceLinkThroughputLimit": 360_000_000,
        "TimestampLatchValue": 0,
        **more,
    }
    spans: dict[str, Span] = {
        **_SPANS,
        "ExposureTime": (10.0, 850_000.0, None),
        "DeviceLinkThroughputLimit": (1_000_000, 400_000_000, 1000),
    }
    choices = {**_CHOICES, "TriggerSource": ("Software", "Line1", "Line2")}
    return FeatureDouble(values, spans, choices, ("TriggerSoftware", "TimestampLatch"))


def ace_gige(**more: Value) -> FeatureDouble:
    """An ace GigE: SFNC 1.x names, 125 MHz ticks, PTP as IEEE 1588, synchronous free run."""
    values = {
        **_COMMON,
        "ExposureTimeAbs": 1000.0,
        "ReadoutTimeAbs": 9000.0,
        "AcquisitionFrameRateAbs": 10.0,
        "ResultingFrameRateAbs": 60.0,
        "BalanceRatioAbs": 1.0,
        "GevTimestampTickFrequency": 125_000_000,
        "GevTimestampValue": 0,
        "GevSCPSPacketSize": 1500,
        "GevSCPD": 0,
        "GevIEEE1588": False,
        "GevIEEE1588StatusLatched": "Slave",
        "ActionSelector": 0,
        "ActionDeviceKey": 0,
        "ActionGroupKey": 0,
        "ActionGroupMask": 0,
        "SyncFreeRunTimerEnable": False,
        "SyncFreeRunTimerStartTimeLow": 7,
        "SyncFreeRunTimerStartTimeHigh": 7,
        "SyncFreeRunTimerTriggerRateAbs": 1.0,
        **more,
    }
    choices = {**_CHOICES, "TriggerSource": ("Software", "Line1", "Action1")}
    commands = (
        "TriggerSoftware",
        "GevTimestampControlLatch",
        "GevIEEE1588DataSetLatch",
        "SyncFreeRunTimerUpdate",
    )
    return _AceGige(values, _SPANS, choices, commands)


class _AceGige(FeatureDouble):
    """Its clock counts nanoseconds with PTP, at 125 MHz without: an assumption, for the worst.

    docs.baslerweb.com/timestamp only says that GevTimestampTickFrequency is the current one.
    """

    def set(self, name: str, value: Value) -> None:
        super().set(name, value)
        if name == "GevIEEE1588":
            self.values["GevTimestampTickFrequency"] = 1_000_000_000 if value else 125_000_000


def ace2_gige(**more: Value) -> FeatureDouble:
    """An ace 2 GigE: SFNC 2.x names, PTP, periodic signal."""
    values = {
        **_COMMON,
        "ExposureTime": 1000.0,
        "Gain": 0.0,
        "AcquisitionFrameRate": 10.0,
        "BslResultingAcquisitionFrameRate": 60.0,
        "BalanceRatio": 1.0,
        "DeviceLinkThroughputLimit": 125_000_000,
        "PtpEnable": False,
        "PtpStatus": "Master",
        "BslPeriodicSignalSelector": "PeriodicSignal2",
        "BslPeriodicSignalPeriod": 1.0,
        "BslPeriodicSignalDelay": 5.0,
        "TimestampLatchValue": 0,
        **more,
    }
    choices = {**_CHOICES, "TriggerSource": ("Software", "Line1", "PeriodicSignal1")}
    commands = ("TriggerSoftware", "TimestampLatch", "PtpDataSetLatch")
    return FeatureDouble(values, _SPANS, choices, commands)
