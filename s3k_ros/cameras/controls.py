"""Live parameters of a rig: checked against the cameras' ranges, carried out in their threads."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from s3k_ros.cameras.link import CameraLink
from s3k_ros.cameras.port import Setting, Value
from s3k_ros.errors import ConfigurationError

# Rates of a trigger where the cameras name no range.
MIN_RATE_HZ, MAX_RATE_HZ = 0.1, 1000.0
# Trigger modes in which the cameras themselves set the pace.
PACED_BY_CAMERAS = ("camera", "free_run", "ptp")


class Controls:
    """The settings of all cameras, and the rate that belongs to the rig as a whole.

    Args:
        links: the cameras.
        mode: of the trigger.
        rate_hz: of the trigger.
        on_rate: called with another rate.
    """

    def __init__(
        self,
        links: Mapping[str, CameraLink],
        mode: str,
        rate_hz: float,
        on_rate: Callable[[float], None],
    ) -> None:
        self._links, self._mode = links, mode
        self.rate_hz = rate_hz
        self._on_rate = on_rate

    def settings(self, camera: str) -> Mapping[str, Setting]:
        """See `CameraRig.settings`."""
        link = self._link(camera)
        return link.call(lambda: self._settings(link)) if link.device else {}

    def change(self, camera: str, name: str, value: Value) -> Value:
        """See `CameraRig.change`."""
        link = self._link(camera)
        made = link.call(lambda: self._change(link, name, value))
        if name == "frame_rate_hz":
            self._change_rate(float(made))
        return made

    def _link(self, camera: str) -> CameraLink:
        if camera not in self._links:
            raise ConfigurationError(f"no camera {camera!r}; the rig has {', '.join(self._links)}")
        return self._links[camera]

    def _settings(self, link: CameraLink) -> dict[str, Setting]:
        known = dict(link.required().settings())
        own = known.get("frame_rate_hz")
        if own is None or self._mode not in PACED_BY_CAMERAS:
            high = own.high if own else MAX_RATE_HZ
            known["frame_rate_hz"] = Setting("frame_rate_hz", self.rate_hz, "Hz", MIN_RATE_HZ, high)
        return known

    def _change(self, link: CameraLink, name: str, value: Value) -> Value:
        """Checks and sets one setting, in the camera's thread."""
        device, known = link.required(), self._settings(link)
        if name not in known:
            raise ConfigurationError(
                f"camera {link.name} has no setting {name!r}; it has {', '.join(known)}"
            )
        check(link.name, known[name], value)
        if name == "frame_rate_hz":
            return value
        if not known[name].pauses:
            made = device.change(name, value)
            link.keep_setting(name, made)
            return made
        made = link.paused(lambda device: device.change(name, value))
        # Binning changes the region too: keep what the camera has now, all of which fits together.
        for setting in device.settings().values():
            if setting.pauses:
                link.keep_setting(setting.name, setting.value)
        return made

    def _change_rate(self, rate_hz: float) -> None:
        """Whichever camera was asked: all follow."""
        self.rate_hz = rate_hz
        self._on_rate(rate_hz)
        for link in self._links.values():
            link.keep_setting("frame_rate_hz", rate_hz)
            paces = self._mode != "camera" or link.role.is_source
            if (device := link.device) and self._mode in PACED_BY_CAMERAS and paces:
                link.call(functools.partial(device.change, "frame_rate_hz", rate_hz))


def check(camera: str, setting: Setting, value: Value) -> None:
    """Raises ConfigurationError, with what is allowed, for a value that a setting cannot take."""
    kind = type(setting.value)
    fits = type(value) is kind or (kind is float and type(value) is int)
    if fits and isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = setting.low, setting.high
        fits = (low is None or value >= low) and (high is None or value <= high)
    if not fits or (setting.choices and value not in setting.choices):
        raise ConfigurationError(
            f"camera {camera}: {setting.name} = {value!r} is not allowed: {setting.allowed}"
        )
