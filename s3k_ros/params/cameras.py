"""Parameters of the camera rig."""

from __future__ import annotations

import dataclasses

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.base import Parameters, param


@dataclasses.dataclass(frozen=True)
class CameraSettings(Parameters):
    """What every camera of the rig is set to when it is connected. Most can change live."""

    frame_rate_hz: float = param(
        20.0, "Rate of the trigger; for an external line its highest rate.",
        unit="Hz", low=0.1, high=1000.0,
    )  # fmt: skip
    pixel_format: str = param(
        "auto",
        "GenICam name, such as BayerRG8 or Mono8; auto: 8 bit Bayer, else Mono8.",
    )
    exposure_auto: bool = param(False, "The camera chooses the exposure; false: exposure_s.")
    exposure_s: float = param(0.005, "Exposure time.", unit="s", low=1e-6, high=10.0)
    gain_auto: bool = param(False, "The camera chooses the gain; false: gain_db.")
    gain_db: float = param(0.0, "Gain.", unit="dB", low=0.0, high=60.0)
    white_balance_auto: bool = param(
        False, "The camera follows the light's colour; false: the ratios below."
    )
    white_balance_red: float = param(
        0.0, "Ratio of red; 0: as the camera has it.", low=0.0, high=16.0
    )
    white_balance_green: float = param(
        0.0, "Ratio of green; 0: as the camera has it.", low=0.0, high=16.0
    )
    white_balance_blue: float = param(
        0.0, "Ratio of blue; 0: as the camera has it.", low=0.0, high=16.0
    )
    binning: int = param(1, "Pixels joined to one, each way.", unit="px", low=1, high=4)
    region_width: int = param(
        0, "Width of the image; 0: the largest.", unit="px", low=0, high=65535
    )
    region_height: int = param(
        0, "Height of the image; 0: the largest.", unit="px", low=0, high=65535
    )
    region_x: int = param(
        -1, "Left edge of the image on the sensor; -1: centred.", unit="px", low=-1, high=65535
    )
    region_y: int = param(
        -1, "Upper edge of the image on the sensor; -1: centred.", unit="px", low=-1, high=65535
    )
    link_limit_mb_s: float = param(
        360.0, "What all cameras of the rig together may send, shared out evenly: "
        "DeviceLinkThroughputLimit on USB, packet delay on GigE (110 suits 1 Gbit/s); "
        "0: not limited.",
        unit="MB/s", low=0.0, high=10_000.0,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class TriggerParameters(Parameters):
    """What makes the cameras expose at the same time."""

    mode: str = param(
        "software",
        "software: one burst of commands; camera: one camera's output drives the others; line: an "
        "external signal drives all; free_run: nobody does; action: one broadcast to all (GigE); "
        "ptp: synchronous free run on a common clock (GigE).",
        choices=("software", "camera", "line", "free_run", "action", "ptp"),
        read_only=True,
    )
    source_camera: str = param(
        "", "Mode camera: the one that drives the others; empty: the first.", read_only=True
    )
    input_line: str = param("Line1", "Line on which the trigger comes in.", read_only=True)
    output_line: str = param(
        "Line2", "Mode camera: line on which the driving camera sends it out.", read_only=True
    )
    activation: str = param(
        "RisingEdge", "Edge of the input that starts an exposure.",
        choices=("RisingEdge", "FallingEdge"), read_only=True,
    )  # fmt: skip
    invert_output: bool = param(
        False, "Mode camera: invert the output, for wiring that inverts it.", read_only=True
    )
    action_device_key: int = param(
        0x5333, "Mode action: key that the cameras must know.", low=0, high=2**32 - 1,
        read_only=True,
    )  # fmt: skip
    action_group_key: int = param(
        1, "Mode action: key of this rig's group.", low=1, high=2**32 - 1, read_only=True
    )
    action_broadcast: str = param(
        "255.255.255.255", "Mode action: address that reaches all cameras.", read_only=True
    )


@dataclasses.dataclass(frozen=True)
class ReplayParameters(Parameters):
    """A recording in the place of cameras."""

    recording: str = param(
        "", "MCAP file of s3k record or of ros2 bag record, or a bag's folder.", read_only=True
    )
    speed: float = param(
        1.0, "Against the recorded time; 0: every set as soon as it can be taken.",
        low=0.0, high=100.0, read_only=True,
    )  # fmt: skip
    loop: bool = param(
        False, "Begin again at the end; the stamps begin again too, unless restamp.",
        read_only=True,
    )  # fmt: skip
    restamp: bool = param(
        False, "Stamp each set with the time at which it is shown; false: as recorded.",
        read_only=True,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class CameraRigParameters(Parameters):
    """Which cameras, and when their images make a set."""

    cameras: tuple[str, ...] = param(
        ("front_left", "front_right", "rear_left", "rear_right"),
        "Names of the cameras.", read_only=True,
    )  # fmt: skip
    devices: tuple[str, ...] = param(
        (), "Serial number or user id of each, in the same order; empty: the names are user ids.",
        read_only=True,
    )  # fmt: skip
    min_cameras: int = param(
        1, "Cameras that must be there at the start.", low=1, high=64, read_only=True
    )
    min_views: int = param(1, "Sets with fewer images are refused.", low=1, high=64, read_only=True)
    max_skew_s: float = param(
        0.005, "Sets whose exposures lie further apart are refused.",
        unit="s", low=1e-6, high=1.0, read_only=True,
    )  # fmt: skip
    set_timeout_s: float = param(
        0.2, "How long a set waits for cameras that are alive.",
        unit="s", low=0.001, high=10.0, read_only=True,
    )  # fmt: skip
    silence_s: float = param(
        0.5, "A camera that sends nothing for this long is not waited for; all of them: the "
        "trigger has stopped.", unit="s", low=0.05, high=60.0, read_only=True,
    )  # fmt: skip
    restart_silent_s: float = param(
        5.0, "A camera that stays silent for this long while others send (without a line: in any "
        "case) has its stream begun anew, and again each time; 0: never.",
        unit="s", low=0.0, high=3600.0, read_only=True,
    )  # fmt: skip
    reconnect_s: float = param(
        1.0, "Time between two attempts to find a camera that is missing.",
        unit="s", low=0.05, high=60.0, read_only=True,
    )  # fmt: skip
    clock_period_s: float = param(
        1.0, "Time between two readings of each camera's clock.",
        unit="s", low=0.01, high=60.0, read_only=True,
    )  # fmt: skip
    queue_sets: int = param(
        2, "Sets that wait for the consumer; further ones push out the oldest.",
        low=1, high=1000, read_only=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.cameras or len(set(self.cameras)) != len(self.cameras) or "" in self.cameras:
            raise ConfigurationError(
                f"CameraRigParameters.cameras = {self.cameras!r} must be different names"
            )
        if self.devices and len(self.devices) != len(self.cameras):
            raise ConfigurationError(
                f"CameraRigParameters.devices has {len(self.devices)} entries, cameras "
                f"{len(self.cameras)}: one device a camera"
            )
        if len(set(self.devices)) != len(self.devices):
            raise ConfigurationError(
                f"CameraRigParameters.devices = {self.devices!r} names one device twice"
            )

    @property
    def identities(self) -> dict[str, str]:
        """Serial number or user id by camera."""
        return dict(zip(self.cameras, self.devices or self.cameras, strict=True))
