"""Basler cameras: what the rig sets in pylon's emulated cameras, and what those cannot show.

Ticks, counters that wrap, and action commands are beyond the emulator: a stand-in for pylon's
camera object, and the node-map double of test_genicam.py, take its place there, and say so.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.camera_rigs import NAMES, BaslerBench, await_event, take
from support.genicam_double import ace_gige, dart_usb

from s3k_ros.cameras import basler
from s3k_ros.cameras.basler import BlockIds, PylonBus, PylonDevice
from s3k_ros.cameras.device import DeviceInfo, Role
from s3k_ros.cameras.host import SystemClock
from s3k_ros.cameras.port import CameraState, EventKind
from s3k_ros.errors import ConfigurationError, DeviceUnavailableError
from s3k_ros.params.cameras import CameraSettings, TriggerParameters

# See test_rig_contract.py.
pytestmark = [
    pytest.mark.timeout(300, method="thread"),
    pytest.mark.filterwarnings("ignore:builtin type .* has no __module__:DeprecationWarning"),
]

# --- emulated cameras, real pylon code --------------------------------------------------------


@pytest.fixture
def emulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    benches = []

    def make(mode: str = "software", **options: Any) -> BaslerBench:
        benches.append(BaslerBench(tmp_path, monkeypatch.setenv, mode, **options))
        benches[-1].rig.open()
        return benches[-1]

    yield make
    for bench in benches:
        bench.rig.close()


def test_the_link_is_shared_out_among_emulated_cameras(emulated: Any) -> None:
    bench = emulated(link_limit_mb_s=100.0)
    for name in NAMES:
        features = bench.features(name)
        assert features.get("DeviceLinkThroughputLimitMode") == "On"
        assert features.get("DeviceLinkThroughputLimit") == 25_000_000
    assert bench.rig.take_events() == []


def test_images_that_exceed_the_link_are_told_at_the_start(emulated: Any) -> None:
    bench = emulated(link_limit_mb_s=4.0)
    texts = [event.text for event in bench.rig.take_events()]
    assert len(texts) == 4
    assert all("need 2 MB/s at 25 Hz, its share of the link is 1 MB/s" in text for text in texts)


def test_an_emulated_camera_that_ceased_to_acquire_has_its_stream_begun_anew(
    emulated: Any,
) -> None:
    bench = emulated(silence_s=0.5, restart_silent_s=0.5)
    bench.rig.start()
    take(bench.rig, lambda s: s.complete)
    bench.features(bench.victim).execute("AcquisitionStop")  # behind pylon's back
    assert await_event(bench.rig, EventKind.CAMERA_HEARD).camera == bench.victim
    take(bench.rig, lambda s: s.complete)
    counts = bench.rig.statistics().cameras[bench.victim]
    assert (counts.restarts > 0, counts.connections) == (True, 1)


def test_one_emulated_camera_drives_the_line_of_the_others(emulated: Any) -> None:
    bench = emulated("camera", source_camera="east")
    source, follower = bench.features("east"), bench.features("north")
    source.set("LineSelector", "Line2")
    assert (source.get("LineMode"), source.get("LineSource")) == ("Output", "ExposureActive")
    assert source.get("AcquisitionFrameRate") == pytest.approx(25.0)
    follower.set("LineSelector", "Line1")
    assert follower.get("LineMode") == "Input"
    assert follower.get("TriggerSource") == "Line1"
    # The emulator has no line: only the source sends frames, and the rig goes on with it.
    bench.rig.start()
    assert set(take(bench.rig).frames) == {"east"}
    assert take(bench.rig, lambda s: s.set_id > 40).missing
    states = {n: c.state for n, c in bench.rig.statistics().cameras.items()}
    assert states["north"] is CameraState.SILENT
    assert states["east"] is CameraState.STREAMING


def test_emulated_cameras_bin_and_keep_their_region_centred(emulated: Any) -> None:
    bench = emulated()
    bench.rig.start()
    take(bench.rig)
    features = bench.features("north")
    width = features.span("Width")[1]
    assert features.get("OffsetX") == (width - 320) / 2
    assert bench.rig.change("north", "binning", 2) == 2
    assert features.get("BinningVertical") == 2
    take(bench.rig, lambda s: s.complete)


def test_action_commands_are_refused_by_emulated_cameras(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = BaslerBench(tmp_path, monkeypatch.setenv, "action")
    with pytest.raises(ConfigurationError, match="needs a GigE camera"):
        bench.rig.open()


def test_a_camera_that_went_away_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYLON_CAMEMU", "1")
    bus = PylonBus(TriggerParameters())
    with pytest.raises(DeviceUnavailableError, match=r"0815-0009 .* is gone"):
        bus.open(DeviceInfo("0815-0009", "", "Emulation", "emulated"))


_CLOSED_WHILE_USED = """
import threading
from s3k_ros.cameras.basler import PylonBus
from s3k_ros.errors import DeviceUnavailableError
from s3k_ros.params.cameras import TriggerParameters

bus = PylonBus(TriggerParameters())
refused = 0


def use(device, closed):
    global refused
    while not closed.is_set():
        device.software_trigger()
        try:
            device.features.set("ForceFailedBufferCount", 2)
        except DeviceUnavailableError:
            refused += 1


for _ in range(10):
    device, closed = bus.open(bus.devices()[0]), threading.Event()
    threads = [threading.Thread(target=use, args=(device, closed)) for _ in range(3)]
    for thread in threads:
        thread.start()
    closed.wait(0.02)
    device.close()
    closed.wait(0.02)
    closed.set()
    for thread in threads:
        thread.join()
    assert not device.software_trigger()
print("refused", refused)
"""


def test_an_early_alarm_of_an_emulated_camera_does_not_end_the_process() -> None:
    """In a process of its own: by default SIGALRM would end it."""
    script = """
import signal
from s3k_ros.cameras.basler import PylonBus
from s3k_ros.params.cameras import TriggerParameters
PylonBus(TriggerParameters())
signal.raise_signal(signal.SIGALRM)
heard = []
signal.signal(signal.SIGALRM, lambda *_: heard.append(1))
PylonBus(TriggerParameters())
signal.raise_signal(signal.SIGALRM)
assert heard, "who handles it is left alone"
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYLON_CAMEMU": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_camera_that_is_closed_while_others_use_it_refuses_them() -> None:
    """In a process of its own: pylon would end it by a segmentation fault."""
    done = subprocess.run(
        [sys.executable, "-c", _CLOSED_WHILE_USED], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYLON_CAMEMU": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 10


def test_without_pypylon_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypylon", None)
    with pytest.raises(ConfigurationError, match=r"pip install -r requirements/cameras\.in"):
        PylonBus(TriggerParameters())


# --- stand-ins for what emulated cameras lack -------------------------------------------------


class PylonError(Exception):
    """In place of genicam.GenericException."""


class Camera:
    """In place of pylon's InstantCamera."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.removed = False
        self.MaxNumBuffer = SimpleNamespace(SetValue=lambda count: None)

    def IsCameraDeviceRemoved(self) -> bool:
        return self.removed

    def RetrieveResult(self, *_: Any) -> Any:
        return self.results.pop(0)

    def StartGrabbing(self, *_: Any) -> None:
        pass

    def Open(self) -> None:
        raise PylonError("The device is controlled by another application. : RuntimeException")


def result(block_id: int, ticks: int, ok: bool = True) -> Any:
    return SimpleNamespace(
        IsValid=lambda: True,
        GrabSucceeded=lambda: ok,
        GetBlockID=lambda: block_id,
        GetTimeStamp=lambda: ticks,
        GetArray=lambda: np.zeros((2, 2), np.uint8),
        Release=lambda: None,
    )


MODULE = SimpleNamespace(
    GenericException=PylonError,
    TimeoutHandling_Return=0,
    GrabStrategy_OneByOne=0,
    AllGroupMask=0xFFFFFFFF,
    InstantCamera=lambda _: Camera(),
)


def device(features: Any, transport: str = "usb") -> tuple[PylonDevice, Camera]:
    camera = Camera()
    info = DeviceInfo("1", "", "double", transport)
    return PylonDevice(MODULE, camera, info, SystemClock(), features), camera


def test_usb_clocks_are_read_by_latching_nanoseconds() -> None:
    made, _ = device(dart_usb(TimestampLatchValue=123_456))
    reading = made.read_clock()
    assert made.tick_ns == 1.0
    assert reading is not None
    assert reading.tick == 123_456
    assert 0 <= reading.after_ns - reading.before_ns < 1_000_000_000


def test_gige_clocks_are_read_in_their_ticks() -> None:
    made, _ = device(ace_gige(GevTimestampValue=77), "gige")
    assert made.tick_ns == 8.0
    reading = made.read_clock()
    assert reading is not None and reading.tick == 77
    assert made.features.log[-1] == ("GevTimestampControlLatch", None)  # type: ignore[attr-defined]


def test_a_camera_without_latch_has_no_readings() -> None:
    camera = dart_usb()
    del camera.values["TimestampLatchValue"]
    made, _ = device(camera)
    assert made.read_clock() is None


def test_gige_clocks_count_nanoseconds_once_ptp_is_on() -> None:
    made, _ = device(ace_gige(), "gige")
    assert made.tick_ns == 8.0
    made.configure(CameraSettings(), Role(TriggerParameters(mode="ptp"), False, 2))
    assert made.tick_ns == 1.0
    assert made.note() == "PTP Slave"


def test_frames_carry_ticks_counters_and_damage() -> None:
    made, camera = device(dart_usb(PixelFormat="BayerBG8", ExposureTime=4000.0))
    made.start()
    assert made.delay_ns == 22_000_000
    camera.results = [result(0, 500), result(2, 700, ok=False), result(2**64 - 1, 900, ok=False)]
    frames = [made.grab(0.01) for _ in range(3)]
    assert [(f.counter, f.tick, f.intact) for f in frames if f] == [
        (0, 500, True),
        (2, 700, False),
        (None, 900, False),
    ]
    assert frames[0] is not None and frames[0].pixel_format == "BayerBG8"


def test_a_removed_camera_is_unavailable() -> None:
    made, camera = device(dart_usb())
    camera.removed = True
    with pytest.raises(DeviceUnavailableError, match="has been removed"):
        made.grab(0.01)


def test_gige_counters_wrap_without_a_gap() -> None:
    ids = BlockIds(wraps=True)
    assert [ids.unwrap(n) for n in (65533, 65535, 1, 2, 0)] == [65533, 65535, 65536, 65537, None]
    ids.restart()
    assert ids.unwrap(1) == 1
    usb = BlockIds(wraps=False)
    assert [usb.unwrap(n) for n in (0, 65535, 65536)] == [0, 65535, 65536]


def bus_with(factory: Any, mode: str, monkeypatch: pytest.MonkeyPatch) -> PylonBus:
    module = SimpleNamespace(
        **{**vars(MODULE), "TlFactory": SimpleNamespace(GetInstance=lambda: factory)}
    )
    monkeypatch.setattr(basler, "pylon", lambda: module)
    return PylonBus(TriggerParameters(mode=mode, action_device_key=7, action_group_key=8))


def test_an_action_command_is_one_broadcast_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    layer = SimpleNamespace(
        ActionCommand=lambda *keys: SimpleNamespace(IssueNoWait=lambda: sent.append(keys) is None)
    )
    factory = SimpleNamespace(CreateTl=lambda name: layer if name == "BaslerGigE" else None)
    bus = bus_with(factory, "action", monkeypatch)
    told: list[str] = []
    devices: Any = {"a": object(), "b": object()}
    assert bus.trigger_all(devices, told.append) == set()
    bus.trigger_all(devices, told.append)
    assert sent == [(7, 8, 0xFFFFFFFF, "255.255.255.255")] * 2
    assert told == ["a", "b", "a", "b"]


def test_a_camera_of_another_program_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(
        GetSerialNumber=lambda: "1",
        GetUserDefinedName=lambda: "left",
        GetModelName=lambda: "daA1280-54uc",
        GetDeviceClass=lambda: "BaslerUsb",
    )
    factory = SimpleNamespace(EnumerateDevices=lambda: [found], CreateDevice=lambda _: None)
    bus = bus_with(factory, "software", monkeypatch)
    [info] = bus.devices()
    assert str(info) == "1 'left' (daA1280-54uc, usb)"
    with pytest.raises(DeviceUnavailableError, match=r"controlled by another application$"):
        bus.open(info)
