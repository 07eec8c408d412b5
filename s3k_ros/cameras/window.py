"""Which part of the sensor an image shows: a region of it, and pixels joined to one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from s3k_ros.cameras.port import Setting


@dataclasses.dataclass(frozen=True)
class Window:
    """The part of the sensor that an image shows, all in px of the sensor.

    Attributes:
        x, y: its upper left pixel.
        binning: pixels joined to one, each way.
        sensor_width, sensor_height: size of the whole sensor, up to ``binning - 1`` too small where
            that does not divide it.
    """

    x: int
    y: int
    binning: int
    sensor_width: int
    sensor_height: int

    def is_whole(self, width: int, height: int) -> bool:
        """Whether an image of this size shows all of the sensor, pixel by pixel."""
        size = self.sensor_width, self.sensor_height
        return (self.x, self.y, self.binning) == (0, 0, 1) and size == (width, height)

    @classmethod
    def of_settings(cls, settings: Mapping[str, Setting]) -> Self | None:
        """The window of a camera's settings, which count in joined pixels; None without a size."""
        if "region_width" not in settings or "region_height" not in settings:
            return None
        binning = int(settings["binning"].value) if "binning" in settings else 1
        x, width = _axis(settings.get("region_x"), settings["region_width"])
        y, height = _axis(settings.get("region_y"), settings["region_height"])
        return cls(binning * x, binning * y, binning, binning * width, binning * height)


def _axis(offset: Setting | None, length: Setting) -> tuple[int, int]:
    """Offset and the whole sensor's length: the largest offset leaves room for just this length."""
    if offset is None or offset.high is None:
        return 0, int(length.value if length.high is None else length.high)
    return int(offset.value), int(offset.high) + int(length.value)
