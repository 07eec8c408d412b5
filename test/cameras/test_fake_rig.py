"""A rig of fake cameras: pairing with real threads, faults, clocks, identities, limits."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.camera_rigs import NAMES, FakeBench, await_event, take

from s3k_ros.cameras.fake import GREYS, FakeBus, FakeCamera
from s3k_ros.cameras.host import Claims, SystemClock
from s3k_ros.cameras.port import CameraState, EventKind, FrameSet, Reason
from s3k_ros.cameras.rig import DeviceRig
from s3k_ros.errors import ConfigurationError, DeviceUnavailableError
from s3k_ros.params.cameras import CameraRigParameters, CameraSettings, TriggerParameters


def greys(found: FrameSet) -> set[int]:
    """The triggers, modulo GREYS, that the frames of a set say they are of."""
    return {int(frame.image.flat[0]) for frame in found.frames.values()}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[FakeBench]:
    made = FakeBench(tmp_path, "line", reconnect_s=0.05, silence_s=0.3, queue_sets=1000)
    yield made
    made.rig.close()


def run(bench: FakeBench) -> Any:
    bench.rig.open()
    bench.rig.start()
    return bench.rig


def test_random_faults_never_mispair_a_set_and_every_frame_is_accounted_for(
    bench: FakeBench,
) -> None:
    random = np.random.default_rng(11)
    for camera in bench.bus.cameras:
        camera.loss, camera.clock_outliers = 0.02, 0.1
    rig = run(bench)
    sets, complete = 0, 0
    until = time.monotonic() + 8.0
    while time.monotonic() < until:
        found = rig.next_set(1.0)
        camera = bench.bus.cameras[int(random.integers(4))]
        action = int(random.integers(40))
        if action == 0:
            camera.lose += 2
        elif action == 1:
            camera.fail += 1
        elif action == 2:
            camera.miss += 1
        elif action == 3:
            camera.connected = False
        elif action < 10:
            for other in bench.bus.cameras:
                if not other.connected:
                    other.power_cycle()
                    other.connected = True
        if found is not None:
            sets, complete = sets + 1, complete + found.complete
            assert len(greys(found)) == 1, found
    rig.stop()
    assert sets > 50 and complete > 5
    for camera in rig.statistics().cameras.values():
        assert camera.received == camera.delivered + sum(camera.dropped.values())


def test_drifting_clocks_and_offsets_leave_only_the_errors_that_are_stated(
    bench: FakeBench,
) -> None:
    rig = run(bench)
    for _ in range(20):
        found = take(rig, lambda s: s.complete)
        frames = [found.frames[name] for name in NAMES]
        for i, frame in enumerate(frames):
            # camera i exposes i x 0.1 ms after the pulse, on a clock that runs 30 i - 45 ppm fast
            offset_ns = frame.stamp_ns - frames[0].stamp_ns - 100_000 * i
            assert abs(offset_ns) <= frame.error_ns + frames[0].error_ns
    counts = rig.statistics()
    assert 0 < counts.skew_median_ns < 5_000_000
    assert all(c.clock.samples > 0 for c in counts.cameras.values())


def test_cameras_in_ptp_are_dated_by_one_fit(tmp_path: Path) -> None:
    bench = FakeBench(tmp_path, "ptp")
    for camera in bench.bus.cameras:  # one clock, read badly
        camera.drift_ppm, camera.clock_latency_s = 20.0, 0.003
    rig = run(bench)
    for _ in range(10):
        frames = take(rig, lambda s: s.complete).frames
        for i, name in enumerate(NAMES):  # camera i exposes i x 0.1 ms after the first
            offset_ns = frames[name].stamp_ns - frames[NAMES[0]].stamp_ns
            # a change of the fit in use may fall into a set
            assert abs(offset_ns - 100_000 * i) < 1_000_000
    assert abs(rig.statistics().skew_median_ns - 300_000) < 1_000
    assert all(c.clock.offset_ns is not None for c in rig.statistics().cameras.values())
    rig.close()


def test_a_camera_without_ptp_among_others_is_told(tmp_path: Path) -> None:
    bench = FakeBench(tmp_path, "ptp")
    for camera in bench.bus.cameras:
        camera.drift_ppm = 20.0
    bench.bus.cameras[-1].power_on_ns -= 7_000_000_000
    rig = run(bench)
    event = await_event(rig, EventKind.CLOCK_APART)
    assert event.camera == bench.victim
    assert "7000." in event.text
    assert len(greys(take(rig, lambda s: s.complete))) == 1  # by its own fit
    rig.close()


@pytest.mark.parametrize("mode", ["software", "line"])
def test_cameras_whose_clock_cannot_be_read_are_paired_by_arrival(
    tmp_path: Path, mode: str
) -> None:
    bench = FakeBench(tmp_path, mode, frame_rate_hz=10.0, max_skew_s=0.05)
    for camera in bench.bus.cameras:
        camera.clock_latency_s = None
    rig = run(bench)
    for _ in range(10):
        assert len(greys(take(rig, lambda s: s.complete))) == 1
    rig.close()


def test_cameras_without_any_clock_are_dated_by_their_trigger(tmp_path: Path) -> None:
    bench = FakeBench(tmp_path, "software", frame_rate_hz=20.0)
    for camera in bench.bus.cameras:
        camera.has_ticks = False
    rig = run(bench)
    for _ in range(20):
        assert len(greys(take(rig, lambda s: len(s.frames) > 1))) == 1
    rig.close()


def test_a_silent_camera_is_not_waited_for(bench: FakeBench) -> None:
    rig = run(bench)
    bench.bus.cameras[-1].deaf = True
    assert await_event(rig, EventKind.CAMERA_SILENT).camera == bench.victim
    assert rig.statistics().cameras[bench.victim].state is CameraState.SILENT
    late = take(rig, lambda s: s.missing == {bench.victim: Reason.SILENT})
    assert time.time_ns() - late.stamp_ns < 20_000_000_000
    bench.bus.cameras[-1].deaf = False
    assert await_event(rig, EventKind.CAMERA_HEARD).camera == bench.victim
    take(rig, lambda s: s.complete)


def test_a_camera_that_is_stuck_has_its_stream_begun_anew(tmp_path: Path) -> None:
    bench = FakeBench(tmp_path, "line", silence_s=0.3, restart_silent_s=0.5)
    rig = run(bench)
    take(rig, lambda s: s.complete)
    bench.bus.cameras[-1].stuck = True
    assert await_event(rig, EventKind.CAMERA_HEARD).camera == bench.victim
    assert len(greys(take(rig, lambda s: s.complete))) == 1
    counts = rig.statistics().cameras
    assert [counts[name].restarts > 0 for name in NAMES] == [False, False, False, True]
    assert counts[bench.victim].connections == 1
    rig.close()


def test_restarts_of_a_camera_without_trigger_go_on_and_delay_nobody(tmp_path: Path) -> None:
    bench = FakeBench(tmp_path, "line", silence_s=0.3, restart_silent_s=0.2)
    rig = run(bench)
    bench.bus.cameras[-1].deaf = True
    await_event(rig, EventKind.CAMERA_SILENT)
    take(rig, lambda s: s.missing == {bench.victim: Reason.SILENT})
    rig.take_events()
    deadline = time.monotonic() + 20.0
    while rig.statistics().cameras[bench.victim].restarts < 3:
        assert time.monotonic() < deadline
        found = rig.next_set(1.0)
        assert found is None or found.missing.get(bench.victim) is Reason.SILENT
    kinds = {event.kind for event in rig.take_events()}
    assert EventKind.CAMERA_HEARD not in kinds
    rig.close()


def test_cameras_that_are_all_stuck_are_restarted_when_the_host_triggers(tmp_path: Path) -> None:
    bench = FakeBench(tmp_path, "software", silence_s=0.3, restart_silent_s=0.4)
    rig = run(bench)
    take(rig, lambda s: s.complete)
    for camera in bench.bus.cameras:
        camera.stuck = True
    await_event(rig, EventKind.TRIGGER_RESUMED)
    take(rig, lambda s: s.complete)
    assert all(c.restarts for c in rig.statistics().cameras.values())
    rig.close()


def test_a_stopped_line_is_no_reason_to_restart_anybody(tmp_path: Path) -> None:
    bench = FakeBench(tmp_path, "line", silence_s=0.2, restart_silent_s=0.2)
    rig = run(bench)
    take(rig, lambda s: s.complete)
    bench.set_line(False)
    await_event(rig, EventKind.TRIGGER_STOPPED)
    while rig.next_set(0.8) is not None:
        pass
    restarts = [c.restarts for c in rig.statistics().cameras.values()]
    assert rig.next_set(0.8) is None
    assert [c.restarts for c in rig.statistics().cameras.values()] == restarts
    bench.set_line(True)
    take(rig, lambda s: s.complete)
    rig.close()


def test_a_stuck_camera_that_drives_the_others_is_restarted(tmp_path: Path) -> None:
    bench = FakeBench(tmp_path, "camera", silence_s=0.3, restart_silent_s=0.4)
    rig = run(bench)
    take(rig, lambda s: s.complete)
    for camera in bench.bus.cameras:  # its output drives them: all fall silent
        camera.stuck = True
    assert await_event(rig, EventKind.STREAM_RESTARTED).camera == NAMES[0]
    rig.close()


def test_a_power_cycle_without_removal_restarts_the_clock(bench: FakeBench) -> None:
    rig = run(bench)
    take(rig, lambda s: s.complete)
    bench.bus.cameras[0].power_cycle()
    deadline = time.monotonic() + 20.0
    while not rig.statistics().cameras[NAMES[0]].clock.restarts:
        assert time.monotonic() < deadline
        found = rig.next_set(1.0)
        assert found is None or len(greys(found)) == 1
    for _ in range(5):
        assert len(greys(take(rig, lambda s: s.complete))) == 1


def test_sets_above_the_skew_limit_are_refused_and_counted(tmp_path: Path) -> None:
    bench = FakeBench(tmp_path, "line", max_skew_s=0.006)
    bench.bus.cameras[2].skew_s = 0.015
    rig = run(bench)
    assert rig.next_set(1.5) is None
    counts = rig.statistics()
    assert counts.refused[Reason.SKEW] > 5
    assert counts.skew_median_ns == pytest.approx(15_000_000, abs=3_000_000)
    bench.bus.cameras[2].skew_s = 0.0
    take(rig, lambda s: s.complete)
    rig.close()


def test_too_few_views_are_refused(tmp_path: Path) -> None:
    bench = FakeBench(tmp_path, "line", min_views=4)
    rig = run(bench)
    take(rig)
    bench.unplug()
    await_event(rig, EventKind.CAMERA_LOST)
    while rig.next_set(0.5) is not None:
        pass
    assert rig.statistics().refused[Reason.TOO_FEW] > 0
    rig.close()


def test_a_slow_consumer_gets_the_newest_sets(tmp_path: Path) -> None:
    bench = FakeBench(tmp_path, "line", queue_sets=2)
    rig = run(bench)
    first = take(rig)
    time.sleep(1.0)
    second = take(rig)
    assert second.set_id > first.set_id + 5
    assert rig.statistics().refused[Reason.OVERFLOW] > 5
    rig.close()


def test_stamps_follow_a_step_of_the_system_clock_and_pairing_does_not_care(
    tmp_path: Path,
) -> None:
    class Stepping(SystemClock):
        step_ns = 0

        def system_ns(self) -> int:
            return super().system_ns() + self.step_ns

    clock = Stepping()
    cameras = [FakeCamera(f"S{i}") for i in range(2)]
    rig = DeviceRig(
        CameraRigParameters(cameras=("a", "b"), devices=("S0", "S1")),
        CameraSettings(frame_rate_hz=25.0),
        TriggerParameters(mode="line"),
        FakeBus(cameras),
        clock=clock,
        claims=Claims(tmp_path),
    )
    rig.open()
    rig.start()
    take(rig, lambda s: s.complete)
    clock.step_ns = 3_600_000_000_000
    found = take(rig, lambda s: s.complete and s.stamp_ns > time.time_ns() + 3_000_000_000_000)
    assert len(greys(found)) == 1
    assert all(c.clock.restarts == 0 for c in rig.statistics().cameras.values())
    rig.close()


@pytest.mark.parametrize("count", [1, 2, 8])
def test_one_to_eight_cameras(tmp_path: Path, count: int) -> None:
    names = tuple(f"cam{i}" for i in range(count))
    rig = DeviceRig(
        CameraRigParameters(cameras=names, max_skew_s=0.02, set_timeout_s=1.0),
        CameraSettings(frame_rate_hz=20.0),
        TriggerParameters(mode="camera"),
        FakeBus([FakeCamera(f"S{i}", user_id=f"cam{i}") for i in range(count)]),
        claims=Claims(tmp_path),
    )
    rig.open()
    rig.start()
    found = take(rig, lambda s: s.complete)
    assert tuple(found.frames) == names
    assert len(greys(found)) == 1
    assert max(greys(found)) < GREYS
    rig.close()


# --- identities and claims --------------------------------------------------------------------


def make(tmp_path: Path, bus: FakeBus, *devices: str, **trigger: Any) -> DeviceRig:
    names = tuple(f"cam{i}" for i in range(len(devices)))
    return DeviceRig(
        CameraRigParameters(cameras=names, devices=devices),
        CameraSettings(),
        TriggerParameters(**trigger),
        bus,
        claims=Claims(tmp_path),
    )


def test_cameras_are_chosen_by_serial_number_or_user_id(tmp_path: Path) -> None:
    bus = FakeBus([FakeCamera("A", user_id="left"), FakeCamera("B", user_id="right")])
    rig = make(tmp_path, bus, "right", "A")
    rig.open()
    counts = rig.statistics().cameras
    assert counts["cam0"].device == "B 'right' (fake, fake)"
    assert counts["cam1"].device == "A 'left' (fake, fake)"
    rig.close()


def test_a_user_id_of_two_devices_is_refused(tmp_path: Path) -> None:
    bus = FakeBus([FakeCamera("A", user_id="x"), FakeCamera("B", user_id="x")])
    with pytest.raises(ConfigurationError, match="2 devices have the user id 'x': use serial"):
        make(tmp_path, bus, "x").open()


def test_one_device_under_two_names_is_refused(tmp_path: Path) -> None:
    bus = FakeBus([FakeCamera("A", user_id="x")])
    with pytest.raises(ConfigurationError, match="are the one device A"):
        make(tmp_path, bus, "x", "A").open()


def test_a_trigger_source_that_is_no_camera_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'zenith' is none of cam0"):
        make(tmp_path, FakeBus([]), "A", mode="camera", source_camera="zenith")


def test_a_claim_holds_across_processes_and_ends_with_them(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from s3k_ros.cameras.host import Claims; "
        f"c = Claims(pathlib.Path({str(tmp_path)!r})); c.take('A'); print('ok', flush=True); "
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == b"ok\n"
        with pytest.raises(DeviceUnavailableError, match=f"A is in use .* process {holder.pid}"):
            Claims(tmp_path).take("A")
        holder.kill()
    claims = Claims(tmp_path)
    claims.take("A")
    claims.take("A")
    claims.release("A")
    Claims(tmp_path).take("A")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cameras": ("a", "a")}, "must be different names"),
        ({"cameras": ()}, "must be different names"),
        ({"cameras": ("a", "b"), "devices": ("1",)}, "one device a camera"),
        ({"cameras": ("a", "b"), "devices": ("1", "1")}, "names one device twice"),
    ],
)
def test_parameters_that_contradict_themselves_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        CameraRigParameters(**options)
