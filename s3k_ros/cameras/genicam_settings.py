"""Live parameters of a camera by their GenICam features, with the ranges that it reports now."""

from __future__ import annotations

import dataclasses

from s3k_ros.cameras import genicam
from s3k_ros.cameras.genicam import Features
from s3k_ros.cameras.pixels import SUPPORTED, choose_format
from s3k_ros.cameras.port import SETTINGS, Setting, Value
from s3k_ros.errors import ConfigurationError


@dataclasses.dataclass(frozen=True)
class _Entry:
    """How one setting maps to features.

    Attributes:
        names: the feature, in the families' spellings.
        scale: setting = scale x feature.
        pauses: the stream must stop for a change.
        colour: of the white balance, which a selector chooses.
    """

    names: tuple[str, ...]
    scale: float = 1.0
    pauses: bool = False
    colour: str = ""


_ENTRIES = {
    "frame_rate_hz": _Entry(genicam.FRAME_RATE),
    "exposure_s": _Entry(genicam.EXPOSURE_US, scale=1e-6),
    "exposure_auto": _Entry(("ExposureAuto",)),
    "gain_db": _Entry(("Gain",)),
    "gain_auto": _Entry(("GainAuto",)),
    "white_balance_auto": _Entry(("BalanceWhiteAuto",)),
    "white_balance_red": _Entry(genicam.BALANCE_RATIO, colour="red"),
    "white_balance_green": _Entry(genicam.BALANCE_RATIO, colour="green"),
    "white_balance_blue": _Entry(genicam.BALANCE_RATIO, colour="blue"),
    "region_x": _Entry(("OffsetX",), pauses=True),
    "region_y": _Entry(("OffsetY",), pauses=True),
    "region_width": _Entry(("Width",), pauses=True),
    "region_height": _Entry(("Height",), pauses=True),
    "binning": _Entry(("BinningHorizontal",), pauses=True),
    "pixel_format": _Entry(("PixelFormat",), pauses=True),
}
_AUTO = ("exposure_auto", "gain_auto", "white_balance_auto")
_INTEGERS = ("region_x", "region_y", "region_width", "region_height", "binning")


def read(features: Features) -> dict[str, Setting]:
    """All settings that the camera has now."""
    found = {}
    for name, entry in _ENTRIES.items():
        if feature := genicam.first(features, entry.names):
            found[name] = _read(features, name, entry, feature)
    return found


def _read(features: Features, name: str, entry: _Entry, feature: str) -> Setting:
    if entry.colour:
        features.set("BalanceRatioSelector", entry.colour.capitalize())
    value = features.get(feature)
    if name in _AUTO:
        return Setting(name, value != "Off")
    if name == "pixel_format":
        usable = tuple(f for f in features.choices(feature) if f in SUPPORTED)
        return Setting(name, value, choices=usable, pauses=True)
    low, high, step = features.span(feature)
    if name in _INTEGERS:
        numbers: tuple[Value, float, float, float | None] = (int(value), low, high, step)
    else:
        scale = entry.scale
        steps = None if step is None else scale * step
        numbers = (scale * float(value), scale * low, scale * high, steps)
    value, low, high, step = numbers
    return Setting(name, value, SETTINGS[name], low, high, step, pauses=entry.pauses)


def change(features: Features, name: str, value: Value) -> Value:
    """Sets one and returns what the camera made of it.

    Raises:
        ConfigurationError: the camera does not have it, or cannot take the value.
    """
    entry = _ENTRIES[name]
    feature = genicam.required(features, entry.names, name)
    if name in _AUTO:
        genicam.set_auto(features, feature, bool(value))
    elif name == "pixel_format":
        offered = features.choices(feature)
        features.set(feature, choose_format(str(value), offered, "in the rig"))
    elif name == "binning":
        genicam.set_binning(features, int(value))
    elif entry.colour:
        genicam.set_balance(features, entry.colour, float(value))
    elif name in _INTEGERS:
        features.set(feature, int(genicam.clip(features, feature, float(value))))
    else:
        _require_manual(features, name)
        features.set(feature, float(value) / entry.scale)
    return _read(features, name, entry, feature).value


def _require_manual(features: Features, name: str) -> None:
    """An exposure or gain that the camera chooses itself cannot be set."""
    auto = {"exposure_s": "ExposureAuto", "gain_db": "GainAuto"}.get(name)
    if auto and features.has(auto) and features.get(auto) != "Off":
        raise ConfigurationError(f"{name} cannot be set while {auto} is on")
