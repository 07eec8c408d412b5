"""Lists the Basler cameras, or runs a rig for a while and prints what it measured.

::

    s3k-env python -m s3k_ros.cameras                       # what is connected
    s3k-env python -m s3k_ros.cameras --seconds 10 --mode camera --rate 30 21234567 21234568
    s3k-env python -m s3k_ros.cameras --seconds 10 --fake 4
"""

from __future__ import annotations

import argparse
import sys
import time

from s3k_ros.cameras.basler import PylonBus
from s3k_ros.cameras.device import CameraBus
from s3k_ros.cameras.fake import FakeBus, FakeCamera
from s3k_ros.cameras.port import CameraRig, CameraStatistics, Reason
from s3k_ros.cameras.rig import DeviceRig
from s3k_ros.errors import S3kError
from s3k_ros.params.cameras import CameraRigParameters, CameraSettings, TriggerParameters


def main() -> int:
    """Parses the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m s3k_ros.cameras", description=__doc__)
    parser.add_argument("devices", nargs="*", help="serial numbers or user ids; none: all")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long to run; 0: list only")
    parser.add_argument("--rate", type=float, default=20.0, help="of the trigger, Hz")
    parser.add_argument("--mode", default="software", help="of the trigger")
    parser.add_argument("--max-skew", type=float, default=0.005, help="seconds")
    parser.add_argument("--width", type=int, default=0, help="px; 0: the largest")
    parser.add_argument("--height", type=int, default=0, help="px; 0: the largest")
    parser.add_argument("--fake", type=int, default=0, metavar="N", help="N fake cameras instead")
    arguments = parser.parse_args()
    try:
        return run(arguments)
    except S3kError as error:
        print(error, file=sys.stderr)
        return 1


def run(arguments: argparse.Namespace) -> int:
    """Lists, or runs a rig; 0 when it delivered sets."""
    trigger = TriggerParameters(mode=arguments.mode)
    fakes = [FakeCamera(f"FAKE-{i}", skew_s=2e-5 * i) for i in range(arguments.fake)]
    bus: CameraBus = FakeBus(fakes) if fakes else PylonBus(trigger)
    connected = bus.devices()
    if not arguments.seconds:
        print("\n".join(map(str, connected)) or "no camera is connected")
        return 0
    devices = tuple(arguments.devices) or tuple(device.serial for device in connected)
    parameters = CameraRigParameters(
        cameras=tuple(f"cam{i}" for i in range(len(devices))),
        devices=devices,
        max_skew_s=arguments.max_skew,
    )
    settings = CameraSettings(
        frame_rate_hz=arguments.rate,
        region_width=arguments.width,
        region_height=arguments.height,
    )
    rig = DeviceRig(parameters, settings, trigger, bus)
    rig.open()
    try:
        rig.start()
        ends = time.monotonic() + arguments.seconds
        while time.monotonic() < ends:
            rig.next_set(0.5)
        rig.stop()
        report(rig, arguments.seconds)
        return 0 if rig.statistics().sets else 1
    finally:
        rig.close()


def report(rig: CameraRig, seconds: float) -> None:
    """Prints statistics and events."""
    counts = rig.statistics()
    print(f"{counts.sets} sets in {seconds:g} s, {counts.complete} complete")
    print(
        f"skew: median {counts.skew_median_ns / 1e3:.0f} us, max {counts.skew_max_ns / 1e3:.0f} us"
    )
    for reason, number in counts.refused.items():
        print(f"refused: {number} {reason.name}")
    for name, camera in counts.cameras.items():
        print(f"{name}: {line(camera)}")
    for event in rig.take_events():
        print(f"{event.kind.value}: {event.camera} {event.text}")


def line(camera: CameraStatistics) -> str:
    """One camera in one line."""
    gone: dict[Reason, int] = {**camera.dropped}
    for reason, number in camera.missed.items():
        gone[reason] = gone.get(reason, 0) + number
    lost = ", ".join(f"{number} {reason.name}" for reason, number in gone.items()) or "none"
    clock = camera.clock
    error = "no clock" if clock.error_ns is None else f"stamps +-{clock.error_ns / 1e3:.0f} us"
    return (
        f"{camera.device}, {camera.delivered} of {camera.received} frames delivered, lost: {lost}; "
        f"{error}, drift {clock.drift_ppm:.1f} ppm, restarts {clock.restarts} {camera.note}"
    )


if __name__ == "__main__":
    sys.exit(main())
