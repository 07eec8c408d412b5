"""What makes a camera expose, set by GenICam names: software, lines, action commands, PTP."""

from __future__ import annotations

from s3k_ros.cameras import genicam
from s3k_ros.cameras.device import Role
from s3k_ros.cameras.genicam import Features
from s3k_ros.errors import ConfigurationError
from s3k_ros.params.cameras import CameraSettings

# Signals that rise when the exposure begins, best first.
OUTPUT_SIGNALS = ("ExposureActive", "FlashWindow", "Timer1Active")


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
    if mode == "action":
        _accept_action(features, role)
    sources = {"software": "Software", "action": "Action1", "ptp": "PeriodicSignal1"}
    if mode in sources:
        features.set("TriggerSource", sources[mode])
    else:
        _listen_to_line(features, role)
    features.set("TriggerMode", "On")


def set_rate(features: Features, rate_hz: float | None) -> None:
    """Limits the rate of a camera that runs freely; None: as fast as its trigger."""
    if features.has("AcquisitionFrameRateEnable"):
        features.set("AcquisitionFrameRateEnable", rate_hz is not None)
    if rate_hz is not None:
        features.set(genicam.required(features, genicam.FRAME_RATE, "frame_rate_hz"), rate_hz)


def change_rate(features: Features, rate_hz: float, role: Role) -> None:
    """Another rate, live, for a camera that sets the pace itself."""
    if role.trigger.mode == "ptp":
        _synchronous_free_run(features, rate_hz)
    else:
        set_rate(features, rate_hz)


def _listen_to_line(features: Features, role: Role) -> None:
    line = role.trigger.input_line
    features.set("LineSelector", line)
    if features.has("LineMode") and features.writable("LineMode"):
        features.set("LineMode", "Input")
    features.set("TriggerSource", line)
    features.set("TriggerActivation", role.trigger.activation)


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
    genicam.required(features, ("ActionDeviceKey",), "trigger mode action needs a GigE camera")
    if features.has("ActionSelector"):
        features.set("ActionSelector", 1)
    features.set("ActionDeviceKey", role.trigger.action_device_key)
    features.set("ActionGroupKey", role.trigger.action_group_key)
    features.set("ActionGroupMask", 0xFFFFFFFF)


def _synchronous_free_run(features: Features, rate_hz: float) -> None:
    """All cameras expose at multiples of the period on the common clock.

    ace GigE: docs.baslerweb.com/synchronous-free-run; the others: .../periodic-signal.
    """
    enable = ("PtpEnable", "GevIEEE1588")
    features.set(genicam.required(features, enable, "trigger mode ptp needs a GigE camera"), True)
    if features.has("SyncFreeRunTimerEnable"):
        features.set("SyncFreeRunTimerEnable", False)
        features.set("SyncFreeRunTimerStartTimeLow", 0)
        features.set("SyncFreeRunTimerStartTimeHigh", 0)
        features.set("SyncFreeRunTimerTriggerRateAbs", rate_hz)
        features.execute("SyncFreeRunTimerUpdate")
        features.set("SyncFreeRunTimerEnable", True)
        return
    period = genicam.required(features, ("BslPeriodicSignalPeriod",), "trigger mode ptp")
    if features.has("BslPeriodicSignalSelector"):
        features.set("BslPeriodicSignalSelector", "PeriodicSignal1")
    features.set(period, 1e6 / rate_hz)
    features.set("BslPeriodicSignalDelay", 0.0)


def ptp_state(features: Features) -> str | None:
    """How its clock stands in PTP, such as "Slave, 40 ns from the master"; None without PTP."""
    for latch, status, offset in (
        ("PtpDataSetLatch", "PtpStatus", "PtpOffsetFromMaster"),
        ("GevIEEE1588DataSetLatch", "GevIEEE1588StatusLatched", "GevIEEE1588OffsetFromMaster"),
    ):
        if features.has(status):
            features.execute(latch)
            state = str(features.get(status))
            if state == "Slave" and features.has(offset):
                state += f", {features.get(offset)} ns from the master"
            return state
    return None
