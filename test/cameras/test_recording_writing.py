"""Recordings are written whole, whatever happens to the disk or to the process."""

from __future__ import annotations

import collections
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from support.camera_rigs import NAMES, recorded_sets
from support.recordings import (
    STRING,
    cdr,
    read_sets,
    record,
    same_images,
    topic,
    write_calibration,
    write_sets,
)
from support.rigs import make_rig

from s3k_ros.cameras.port import Frame, FrameSet
from s3k_ros.cameras.recording import writer as writer_module
from s3k_ros.cameras.recording.background import BackgroundWriter
from s3k_ros.cameras.recording.definitions import full_definition
from s3k_ros.cameras.recording.reader import Recording
from s3k_ros.cameras.recording.writer import COMPRESSIONS, RecordingWriter
from s3k_ros.errors import ConfigurationError, DeviceUnavailableError

# --- definitions ------------------------------------------------------------------------------


def test_definition_holds_every_type_once_depth_first() -> None:
    files = {
        ("a", "Top"): "# other/Comment x\nb/Leaf[<=3] leaves\nMid mid\nstring<=5 name 'x'\n",
        ("a", "Mid"): "uint8 OK=0\nb/Leaf leaf\nbuiltin/Time[2] times\nfloat64[] values\n",
        ("b", "Leaf"): "wstring text\n",
        ("builtin", "Time"): "int32 sec\n",
    }
    text = full_definition("a/msg/Top", lambda package, name: files[package, name])
    line = "=" * 80
    assert text.split("\n" + line + "\n")[0] == files["a", "Top"]
    headings = [part.splitlines()[0] for part in text.split(line + "\n")[1:]]
    assert headings == ["MSG: a/Mid", "MSG: b/Leaf", "MSG: builtin/Time"]


def test_definition_of_no_message_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="std_msgs/String"):
        full_definition("std_msgs/String", lambda *_: "")


# --- writing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_images_come_back_bit_for_bit(tmp_path: Path, compression: str) -> None:
    rng = np.random.default_rng(1)
    written = []
    for frames in recorded_sets(6):
        images = {n: rng.integers(0, 255, (480, 640, 3), np.uint8) for n in frames.frames}
        new = {n: Frame(n, images[n], f.stamp_ns, 1, 1) for n, f in frames.frames.items()}
        written.append(FrameSet(frames.set_id, frames.stamp_ns, 300, new))
    found = read_sets(record(tmp_path / "r.mcap", written, compression=compression))
    assert len(found) == 6
    assert all(same_images(a, b) for a, b in zip(written, found, strict=True))
    assert [s.stamp_ns for s in found] == [s.stamp_ns for s in written]
    assert all(s.complete and s.skew_ns == 300 for s in found)


def test_others_read_the_file_with_its_index(tmp_path: Path) -> None:
    """Foxglove's library, its checks on, and its decoder from the definitions in the file."""
    path = tmp_path / "r.mcap"
    writer = RecordingWriter(path)
    write_calibration(writer, make_rig())
    write_sets(writer, recorded_sets(3))
    writer.close()
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()], validate_crcs=True)
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
        assert summary is not None and summary.statistics is not None
        assert summary.statistics.message_count == 3 * 4 + 2 * 4
        assert {s.encoding for s in summary.schemas.values()} == {"ros2msg"}
        assert {"offered_qos_profiles", "topic_type_hash"} == set(summary.channels[1].metadata)
        seen = [(c.topic, m.log_time - m.publish_time, d)
                for _, c, m, d in reader.iter_decoded_messages()]  # fmt: skip
    infos = [d for name, _, d in seen if name == "/cam0/camera_info"]
    assert infos[0].k == pytest.approx(make_rig()[0].matrix.ravel())
    images = [(later, d) for name, later, d in seen if name == "/north/image_raw"]
    assert images[0][0] == 5_000_000
    assert (images[0][1].width, images[0][1].encoding) == (64, "mono8")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "r.mcap"
    path.write_text("precious")
    with pytest.raises(ConfigurationError, match="exists already"):
        RecordingWriter(path)
    assert path.read_text() == "precious"
    with pytest.raises(ConfigurationError, match=r"nowhere.* cannot be written: No such file"):
        RecordingWriter(tmp_path / "nowhere" / "r.mcap")


def test_a_disk_that_runs_full_ends_the_recording_in_good_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.mcap"
    writer = RecordingWriter(path)
    write_sets(writer, recorded_sets(3))
    free = collections.namedtuple("free", "free")
    monkeypatch.setattr(writer_module.shutil, "disk_usage", lambda _: free(10**6))
    monkeypatch.setattr(writer_module, "_LOOK_EVERY", 10_000)
    with pytest.raises(DeviceUnavailableError, match=r"full: 1 MB are free"):
        write_sets(writer, recorded_sets(10))
    writer.close()
    recording = Recording(path)
    assert recording.finished
    assert len(read_sets(path)) >= 3
    with pytest.raises(DeviceUnavailableError, match="full"):
        RecordingWriter(tmp_path / "other.mcap")


def test_a_write_that_fails_leaves_what_was_written_before(tmp_path: Path) -> None:
    """The kernel's limit on a file's size stands for a disk that is full at once."""
    program = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from support.camera_rigs import recorded_sets
from support.recordings import write_sets
from s3k_ros.cameras.recording.writer import RecordingWriter
writer = RecordingWriter(Path(sys.argv[1]), "none")
write_sets(writer, recorded_sets(20))
writer.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    write_sets(writer, recorded_sets(500))
    writer.close()
except Exception as error:
    print(type(error).__name__, error)
"""
    path = tmp_path / "r.mcap"
    command = [sys.executable, "-c", program, str(path), str(Path(__file__).parents[1])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "DeviceUnavailableError" in done.stdout, done
    assert "File too large; it holds the first" in done.stdout
    assert not Recording(path).finished
    assert len(read_sets(path)) == 20


def test_a_killed_recorder_loses_only_what_was_not_flushed(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from support.camera_rigs import recorded_sets
from support.recordings import write_sets
from s3k_ros.cameras.recording.writer import RecordingWriter
writer = RecordingWriter(Path(sys.argv[1]))
write_sets(writer, recorded_sets(30))
writer.flush()
print("flushed", flush=True)
time.sleep(60)
"""
    path = tmp_path / "r.mcap"
    command = [sys.executable, "-c", program, str(path), str(Path(__file__).parents[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "flushed\n"
        process.send_signal(signal.SIGKILL)
    recording = Recording(path)
    assert not recording.finished
    assert set(recording.topics()) == {f"/{name}/image_raw" for name in NAMES}
    assert len(read_sets(path)) == 30


def test_background_writer_writes_all_and_counts_what_does_not_fit(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    writer = RecordingWriter(tmp_path / "r.mcap")
    background = BackgroundWriter(writer, failures.append, queue_bytes=1000)
    words = topic("/words", STRING)
    for number in range(50):
        background.put(words, cdr(STRING, {"data": str(number)}), number, number)
        time.sleep(0.001)
    background.put(words, bytes(2000), 0, 0)
    background.close()
    background.put(words, b"after", 0, 0)
    assert not failures
    recording = Recording(tmp_path / "r.mcap")
    found = [recording.decode(m).data for m in recording.messages(lambda _: True)]
    assert len(found) + background.dropped == 52
    assert background.dropped >= 2
    assert found == sorted(found, key=int)


def test_background_writer_tells_of_a_failure_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[BaseException] = []
    writer = RecordingWriter(tmp_path / "r.mcap")
    monkeypatch.setattr(writer, "write", lambda *_: 1 / 0)
    background = BackgroundWriter(writer, failures.append)
    background.put(topic("/words", STRING), b"", 0, 0)
    background.close()
    assert [type(error) for error in failures] == [ZeroDivisionError]
    assert Recording(tmp_path / "r.mcap").finished
