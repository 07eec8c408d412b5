"""What every camera rig does: fakes, emulated Basler cameras, recordings, the simulated cell."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.camera_rigs import (
    NAMES,
    BaslerBench,
    Bench,
    FakeBench,
    await_event,
    recording_bench,
    replay_bench,
    simulated_bench,
    take,
)

from s3k_ros.cameras.port import CameraState, EventKind, Reason
from s3k_ros.errors import ConfigurationError, DeviceUnavailableError

# pylon's emulated cameras expose by timers that send SIGALRM, which pytest-timeout would take.
pytestmark = [
    pytest.mark.timeout(300, method="thread"),
    pytest.mark.filterwarnings("ignore:builtin type .* has no __module__:DeprecationWarning"),
]

LIVE = ("fake", "fake-line", "fake-camera", "basler")
ALL = (
    *(*LIVE, "replay", "replay-unpaced", "recording"),
    pytest.param("simulated", marks=pytest.mark.sim),
)


def make_bench(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Bench:
    name, _, mode = kind.partition("-")
    if name == "fake":
        return FakeBench(folder, mode or "software", **options)
    if name == "basler":
        return BaslerBench(folder, monkeypatch.setenv, mode or "software", **options)
    if name == "recording":
        return recording_bench(folder)
    if name == "simulated":
        return simulated_bench()
    return replay_bench(0.0 if mode else 1.0)


@pytest.fixture(params=ALL)
def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    made = make_bench(request.param, tmp_path, monkeypatch)
    yield made
    made.rig.close()


@pytest.fixture(params=LIVE)
def live(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    made = make_bench(request.param, tmp_path, monkeypatch)
    yield made
    made.rig.close()


def run(bench: Bench) -> Any:
    bench.rig.open()
    bench.rig.start()
    return bench.rig


# --- all rigs ---------------------------------------------------------------------------------


def test_sets_are_complete_and_in_order(bench: Bench) -> None:
    rig = run(bench)
    sets = [take(rig, lambda s: s.complete) for _ in range(10)]
    assert rig.cameras == NAMES
    for before, after in itertools.pairwise(sets):
        assert after.set_id > before.set_id
        assert after.stamp_ns > before.stamp_ns
        assert all(after.frames[n].counter > before.frames[n].counter for n in NAMES)


def test_a_set_holds_read_only_images_and_one_reference_time(bench: Bench) -> None:
    rig = run(bench)
    found = take(rig, lambda s: s.complete)
    assert tuple(found.frames) == NAMES
    stamps = sorted(frame.stamp_ns for frame in found.frames.values())
    assert found.stamp_ns == stamps[1]  # the lower median of four
    assert found.skew_ns == stamps[-1] - stamps[0]
    for name, frame in found.frames.items():
        assert frame.camera == name
        assert frame.image.dtype == "uint8"
        assert not frame.image.flags.writeable
        assert frame.encoding in ("mono8", "bgr8")
        assert frame.error_ns > 0


def test_no_set_comes_before_start_and_after_stop(bench: Bench) -> None:
    bench.rig.open()
    assert bench.rig.next_set(0.05) is None
    bench.rig.start()
    take(bench.rig)
    bench.rig.stop()
    assert bench.rig.next_set(0.05) is None


def test_stop_and_start_keep_the_devices(bench: Bench) -> None:
    rig = run(bench)
    first = take(rig, lambda s: s.complete)
    rig.stop()
    states = {c.state for c in rig.statistics().cameras.values()}
    assert states == {CameraState.READY}
    rig.start()
    rig.start()  # once is enough
    second = take(rig, lambda s: s.complete)
    assert second.set_id > first.set_id
    assert all(c.connections == 1 for c in rig.statistics().cameras.values())


def test_close_is_final_and_may_be_repeated(bench: Bench) -> None:
    rig = run(bench)
    take(rig)
    rig.close()
    rig.close()
    assert rig.next_set(0.01) is None
    with pytest.raises(DeviceUnavailableError, match="not open"):
        rig.start()
    rig.open()
    rig.start()
    assert take(rig).set_id >= 1


def test_stop_wakes_a_waiting_consumer(bench: Bench) -> None:
    rig = run(bench)
    taken: list[Any] = []

    def consume() -> None:
        while taken[-1:] != [None]:
            taken.append(rig.next_set(60.0))

    thread = threading.Thread(target=consume)
    thread.start()
    while len(taken) < 3:
        time.sleep(0.01)
    rig.stop()
    thread.join(10.0)
    assert taken[-1] is None


def test_counts_add_up(bench: Bench) -> None:
    rig = run(bench)
    taken = [take(rig) for _ in range(10)]
    rig.stop()
    counts = rig.statistics()
    assert counts.sets == len(taken)
    assert counts.complete == sum(s.complete for s in taken)
    for name, camera in counts.cameras.items():
        assert camera.delivered == sum(name in s.frames for s in taken)
        assert camera.received == camera.delivered + sum(camera.dropped.values())


def test_unknown_cameras_and_settings_are_refused(bench: Bench) -> None:
    rig = run(bench)
    with pytest.raises(ConfigurationError, match="north, east, south, west"):
        rig.settings("zenith")
    with pytest.raises(ConfigurationError, match="no setting 'colour'"):
        rig.change("north", "colour", 3)


# --- rigs with devices: settings --------------------------------------------------------------


def test_stamps_are_on_the_host_clock(live: Bench) -> None:
    rig = run(live)
    found = take(rig, lambda s: s.complete)
    assert 0 <= time.time_ns() - found.stamp_ns < 5_000_000_000


def test_settings_carry_the_cameras_ranges(live: Bench) -> None:
    rig = run(live)
    settings = rig.settings("east")
    exposure = settings["exposure_s"]
    assert exposure.unit == "s"
    assert exposure.low is not None and exposure.high is not None
    assert exposure.low <= exposure.value <= exposure.high
    assert "Mono8" in settings["pixel_format"].choices
    assert "Mono12" not in settings["pixel_format"].choices
    with pytest.raises(
        ConfigurationError, match=r"exposure_s = 1000000000.0 is not allowed: .* to .* s"
    ):
        rig.change("east", "exposure_s", 1e9)
    with pytest.raises(ConfigurationError, match="pixel_format = 'Mono12' is not allowed: one of"):
        rig.change("east", "pixel_format", "Mono12")
    with pytest.raises(ConfigurationError, match="gain_auto = 1 is not allowed: true or false"):
        rig.change("east", "gain_auto", 1)


def test_exposure_and_gain_change_while_streaming(live: Bench) -> None:
    rig = run(live)
    take(rig)
    assert rig.change("east", "exposure_s", 0.002) == pytest.approx(0.002, rel=1e-3)
    assert rig.change("east", "gain_db", 3.0) == pytest.approx(3.0, abs=0.1)
    assert rig.settings("east")["exposure_s"].value == pytest.approx(0.002, rel=1e-3)
    assert rig.settings("west")["exposure_s"].value == pytest.approx(0.005, rel=1e-3)
    take(rig, lambda s: s.complete)
    assert rig.statistics().cameras["east"].connections == 1


def test_pixel_format_and_region_change_while_streaming(live: Bench) -> None:
    rig = run(live)
    take(rig)
    rig.change("south", "pixel_format", "Mono8")
    take(rig, lambda s: s.complete and s.frames["south"].image.ndim == 2)
    rig.change("south", "region_width", 40)
    rig.change("south", "region_height", 32)
    found = take(rig, lambda s: s.complete and s.frames["south"].image.shape == (32, 40))
    assert found.frames["north"].image.shape != (32, 40)


def test_frames_say_which_part_of_the_sensor_they_show_while_it_changes(live: Bench) -> None:
    rig = run(live)
    whole = take(rig, lambda s: s.complete).frames["south"].window
    assert whole is not None
    rig.change("south", "region_width", 24)
    rig.change("south", "region_x", 16)
    moved = take(rig, lambda s: s.complete and s.frames["south"].window.x == 16).frames["south"]
    assert moved.image.shape[1] == 24
    assert moved.window == dataclasses.replace(whole, x=16)
    rig.change("south", "binning", 2)
    rig.change("south", "region_width", 16)
    rig.change("south", "region_x", 8)  # it counts in joined pixels
    binned = take(
        rig, lambda s: s.complete and s.frames["south"].window.binning == 2
        and s.frames["south"].window.x == 16,
    ).frames["south"]  # fmt: skip
    assert binned.image.shape[1] == 16
    if isinstance(live, FakeBench):  # pylon's emulator names the same largest width when it bins
        assert binned.window.sensor_width == whole.sensor_width


def test_frame_rate_changes_for_the_whole_rig(live: Bench) -> None:
    rig = run(live)
    take(rig)
    assert rig.change("south", "frame_rate_hz", 5.0) == 5.0
    assert rig.settings("north")["frame_rate_hz"].value == 5.0
    if rig._trigger_parameters.mode == "line":
        return  # its pace is not ours: this was only its highest rate
    rig.stop()  # what waits is of the old rate
    rig.start()
    stamps = [take(rig, lambda s: s.complete).stamp_ns for _ in range(4)]
    gaps = [b - a for a, b in itertools.pairwise(stamps[1:])]
    assert min(gaps) > 0.15e9  # 25 Hz would be 0.04


# --- rigs with devices: faults ----------------------------------------------------------------


def test_the_rig_goes_on_without_a_camera_and_takes_it_back(live: Bench) -> None:
    rig = run(live)
    take(rig, lambda s: s.complete)
    live.unplug()
    assert await_event(rig, EventKind.CAMERA_LOST).camera == live.victim
    short = take(rig, lambda s: s.missing == {live.victim: Reason.ABSENT})
    assert len(short.frames) == 3
    assert rig.statistics().cameras[live.victim].state is CameraState.ABSENT
    assert rig.settings(live.victim) == {}
    with pytest.raises(DeviceUnavailableError, match="not connected"):
        rig.change(live.victim, "gain_db", 1.0)
    live.plug()
    assert await_event(rig, EventKind.CAMERA_CONNECTED).camera == live.victim
    take(rig, lambda s: s.complete)
    assert rig.statistics().cameras[live.victim].connections == 2


def test_a_camera_that_comes_back_has_the_changed_settings(live: Bench) -> None:
    rig = run(live)
    changes = {"exposure_s": 0.003, "region_width": 64, "binning": 2, "region_height": 16}
    for name, value in changes.items():
        rig.change(live.victim, name, value)
    before = {name: setting.value for name, setting in rig.settings(live.victim).items()}
    live.unplug()
    await_event(rig, EventKind.CAMERA_LOST)
    live.plug()
    await_event(rig, EventKind.CAMERA_CONNECTED)
    after = {name: setting.value for name, setting in rig.settings(live.victim).items()}
    assert after == pytest.approx(before)
    assert after["exposure_s"] == pytest.approx(0.003, rel=1e-3)
    shape = (16, after["region_width"])
    take(rig, lambda s: s.complete and s.frames[live.victim].image.shape[:2] == shape)


def test_damaged_frames_cost_their_view_and_are_told(live: Bench) -> None:
    rig = run(live)
    take(rig, lambda s: s.complete)
    live.damage(3)
    assert await_event(rig, EventKind.FRAMES_FAILED).camera == live.victim
    take(rig, lambda s: s.complete)
    rig.stop()
    counts = rig.statistics().cameras
    assert counts[live.victim].missed[Reason.FAILED] == 3
    assert not counts["north"].missed.get(Reason.FAILED)


def test_a_camera_missing_at_the_start_is_taken_in_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("fake", "basler"):
        bench = make_bench(kind, tmp_path, monkeypatch)
        if isinstance(bench, FakeBench):
            bench.unplug()
        else:
            monkeypatch.setenv("PYLON_CAMEMU", "3")
        rig = run(bench)
        event = rig.take_events()[0]
        assert (event.kind, event.camera) == (EventKind.CAMERA_MISSING, bench.victim)
        assert "Connected: " in event.text
        take(rig, lambda s: len(s.frames) == 3)
        bench.plug()
        take(rig, lambda s: s.complete)
        rig.close()


@pytest.mark.parametrize("kind", ["fake-line", "basler-line"])
def test_a_stopped_trigger_is_told_and_so_is_its_return(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(kind, tmp_path, monkeypatch, max_skew_s=0.04)
    rig = run(bench)
    bench.set_line(False)
    assert await_event(rig, EventKind.TRIGGER_STOPPED).camera == ""
    assert {c.state for c in rig.statistics().cameras.values()} == {CameraState.SILENT}
    assert rig.next_set(0.1) is None
    bench.set_line(True)
    await_event(rig, EventKind.TRIGGER_RESUMED)
    take(rig)
    rig.close()


# --- rigs with devices: claims and configuration ------------------------------------------------


def test_two_rigs_cannot_have_one_camera(live: Bench) -> None:
    rig = run(live)
    second = live.again()
    with pytest.raises(DeviceUnavailableError, match="in use by another rig, process"):
        second.open()
    take(rig)
    rig.close()
    second.open()
    second.start()
    take(second)
    second.close()


def test_a_wrong_serial_number_lists_what_is_there(live: Bench) -> None:
    rig = live.again(devices=("nobody", "none", "nil", "null"))
    with pytest.raises(DeviceUnavailableError) as refused:
        rig.open()
    text = str(refused.value)
    assert "0 of 4 cameras" in text and "'nobody'" in text
    assert "S0 'user0'" in text or "0815-0000" in text


def test_too_few_cameras_end_the_start_and_release_the_others(live: Bench) -> None:
    known = tuple(live.rig._parameters.devices)
    rig = live.again(devices=(*known[:3], "nobody"), min_cameras=4)
    with pytest.raises(DeviceUnavailableError, match="3 of 4 cameras are there, 4 must be"):
        rig.open()
    take(run(live))


def test_an_unsupported_pixel_format_names_the_ones_that_work(live: Bench) -> None:
    rig = live.again(pixel_format="Mono12")
    with pytest.raises(ConfigurationError, match=r"'Mono12' cannot be used: .*Mono8"):
        rig.open()
    take(run(live))


def test_bayer_images_arrive_as_bgr(live: Bench) -> None:
    rig = live.again(pixel_format="BayerRG8")
    rig.open()
    rig.start()
    assert {f.encoding for f in take(rig).frames.values()} == {"bgr8"}
    rig.close()
