"""`s3k record` on a running stack; its recording, and its topics, as the source of another one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ament_index_python.packages import get_package_prefix
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from support import scripted_rig
from support.keypoint_messages import by_stamp, content, frames
from support.scripted_rig import CAMERAS, NAMES, ScriptedRig
from support.synthetic_model import write_model
from tf2_msgs.msg import TFMessage
from tf2_ros import StaticTransformBroadcaster

from s3k_ros.calibration.rig_file import rig_text
from s3k_ros.cameras.recording.calibration import recorded_cameras
from s3k_ros.cameras.recording.reader import Recording
from s3k_ros.cameras.recording.sets import RecordedSets
from s3k_ros.msg import Keypoint3D, Keypoint3DArray, KeypointModel, MultiViewKeypoints
from s3k_ros.ros import conversions, qos
from s3k_ros.ros.conversions import nanoseconds

pytestmark = pytest.mark.ros

S3K = Path(get_package_prefix("s3k_ros")) / "lib" / "s3k_ros" / "s3k"


def start_recorder(path: Path, domain: int, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(S3K), "record", "--out", str(path), "--compression", "none", *options],
        env={**os.environ, "ROS_DOMAIN_ID": str(domain)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def await_recorded(ros, recorder: subprocess.Popen[str], path: Path, images: int) -> None:
    """Waits until a recording has so many images of every camera, and what is latched."""
    wanted = [f"/live/{name}/image_raw" for name in NAMES]
    latched = ["/tf_static", "/live/keypoint_model"]

    def there():
        if recorder.poll() is not None:
            pytest.fail(f"the recorder ended: {recorder.communicate()[0]}")
        if not path.exists() or path.stat().st_size < 4 * images * 640 * 480 * 3:
            return False
        counts = Counter(m.topic for m in Recording(path).messages(lambda _: True))
        return all(counts[t] for t in latched) and all(counts[t] >= images for t in wanted)

    try:
        ros.spin_until(there, what=f"{images} images a camera recorded")
    except BaseException:
        recorder.send_signal(signal.SIGINT)
        print(recorder.communicate()[0])
        raise


@pytest.fixture(scope="module")
def stack(ros, start_node, module_domain, tmp_path_factory):
    """The fused node on a scripted rig in /live, and a recording of it that Ctrl-C ended."""
    folder = tmp_path_factory.mktemp("recorder")
    model, rig = folder / "blobs.onnx", folder / "rig.yaml"
    write_model(model)
    rig.write_text(rig_text(CAMERAS, "base"))
    broadcaster = StaticTransformBroadcaster(ros.node)
    header = conversions.header(time.time_ns(), "base")
    broadcaster.sendTransform(
        [
            conversions.transform_stamped(c.base_from_camera, header, f"{c.name}_optical")
            for c in CAMERAS
        ]
    )
    program = [sys.executable, str(Path(scripted_rig.__file__)), "perception"]
    params = {"cameras": list(NAMES), "model": model, "rig": rig}
    live = start_node("perception", params, "/live", program=program)
    keypoints = ros.collect(Keypoint3DArray, "/live/keypoints", qos.keypoints())
    views = ros.collect(MultiViewKeypoints, "/live/keypoints_2d", qos.keypoints())
    live.wait_until_ready()
    path = folder / "live.mcap"
    recorder = start_recorder(path, module_domain)
    await_recorded(ros, recorder, path, 15)
    recorder.send_signal(signal.SIGINT)
    output, _ = recorder.communicate(timeout=60)
    yield SimpleNamespace(
        folder=folder, params=params, path=path, keypoints=keypoints, views=views, live=live,
        output=output, code=recorder.returncode, broadcaster=broadcaster,
    )  # fmt: skip
    assert live.stop() == 0, live.output


def recorded(stack, topic, kind):
    found = Recording(stack.path).messages(lambda name: name == topic)
    return [deserialize_message(message.data, kind) for message in found]


def test_ctrl_c_finishes_the_file(stack):
    assert stack.code == 0, stack.output
    assert Recording(stack.path).finished
    assert " topics, " in stack.output and " dropped" in stack.output, stack.output


def test_messages_are_recorded_as_they_were_sent(stack):
    live = by_stamp(stack.keypoints)
    found = recorded(stack, "/live/keypoints", Keypoint3DArray)
    assert len(found) >= 5
    common = [message for message in found if nanoseconds(message.header.stamp) in live]
    assert common
    for message in common:
        other = live[nanoseconds(message.header.stamp)]
        np.testing.assert_equal(content(message), content(other))
        assert message.header == other.header


def test_what_was_said_once_before_is_recorded_too(stack):
    transforms = recorded(stack, "/tf_static", TFMessage)[0].transforms
    assert {t.child_frame_id for t in transforms} == {f"{name}_optical" for name in NAMES}
    assert recorded(stack, "/live/keypoint_model", KeypointModel)[0].object_id == "plush_fox"


def test_images_are_recorded_bit_for_bit_with_their_stamps(stack):
    painted = ScriptedRig()._images
    images = recorded(stack, "/live/cam1/image_raw", Image)
    assert len(images) >= 5
    for image in images:
        found = conversions.image_from_message(image)
        assert any(np.array_equal(found, views[1]) for views in painted)
    messages = list(Recording(stack.path).messages(lambda name: name == "/live/cam1/image_raw"))
    for message, image in zip(messages, images, strict=True):
        assert nanoseconds(image.header.stamp) <= message.publish_ns <= message.log_ns
        assert message.log_ns - nanoseconds(image.header.stamp) < 60e9


def test_recorded_frames_make_the_sets_that_the_rig_took(stack):
    sets = list(RecordedSets(Recording(stack.path), NAMES)())
    assert sum(s.complete for s in sets) >= 3
    for found in sets:
        numbers = {(f.stamp_ns - found.frames[n].stamp_ns) for n, f in found.frames.items()}
        assert numbers == {0}
        assert found.skew_ns <= 300_000  # 0.1 ms from camera to camera: one trigger
    cameras = recorded_cameras(
        Recording(stack.path), {n: f"/live/{n}/image_raw" for n in NAMES}, "base"
    )
    assert np.allclose(cameras[2].matrix, CAMERAS[2].matrix)


def same_results(stack, ros, place):
    """Waits for sets that two stacks made of the same images, and compares what they say."""
    keypoints = ros.collect(Keypoint3DArray, f"/{place}/keypoints", qos.keypoints())
    views = ros.collect(MultiViewKeypoints, f"/{place}/keypoints_2d", qos.keypoints())

    def good():
        return any(k.status == Keypoint3D.OK for m in keypoints for k in m.keypoints)

    ros.spin_until(good, what=f"the first keypoints of {place}")
    keypoints.clear()  # those before the cameras' TF was known

    def common():
        a, b = by_stamp(stack.keypoints), by_stamp(keypoints)
        seen = [by_stamp(stack.views), by_stamp(views)]
        stamps = set(a) & set(b) & set(seen[0]) & set(seen[1])
        stamps = {t for t in stamps if frames(seen[0][t]) == frames(seen[1][t])}
        good = [t for t in stamps if any(k.status == Keypoint3D.OK for k in a[t].keypoints)]
        return len(good) >= 4 and [(a[t], b[t]) for t in stamps]

    for live, other in ros.spin_until(common, what=f"sets of {place} as live"):
        assert live.header == other.header
        np.testing.assert_equal(content(live), content(other))


def test_replayed_keypoints_equal_the_live_ones(stack, ros, start_node):
    replay = {"source": "replay", "replay.recording": stack.path, "replay.loop": True}
    node = start_node("perception", {**stack.params, **replay}, "/replayed")
    node.wait_until_ready()
    same_results(stack, ros, "replayed")
    assert node.stop() == 0, node.output


def test_keypoints_of_image_topics_equal_those_of_the_rig(stack, ros, start_node):
    remaps = [
        word
        for name in NAMES
        for topic in ("image_raw", "camera_info")
        for word in ("-r", f"{name}/{topic}:=/live/{name}/{topic}")
    ]
    node = start_node("perception", {**stack.params, "source": "topics"}, "/topics", remaps)
    node.wait_until_ready()
    same_results(stack, ros, "topics")
    assert node.stop() == 0, node.output


def test_replay_of_camera_rig_has_the_recorded_images(stack, ros, start_node):
    images = ros.collect(Image, "/again/cam1/image_raw", qos.images())
    replay = {"source": "replay", "replay.recording": stack.path, "replay.speed": 2.0}
    params = {"cameras": list(NAMES), "rig": stack.params["rig"], **replay, "replay.loop": True}
    node = start_node("camera_rig", params, "/again")
    ros.spin_until(lambda: len(images) > 3, what="replayed images")
    originals = by_stamp(recorded(stack, "/live/cam1/image_raw", Image))
    for image in images:
        assert image.data == originals[nanoseconds(image.header.stamp)].data
    assert node.stop() == 0, node.output


def test_a_killed_recorder_leaves_a_file_that_can_be_replayed(stack, ros, module_domain):
    path = stack.folder / "killed.mcap"
    topics = ["--topics", "/live/*", "/tf_static"]  # those of other tests may linger
    recorder = start_recorder(path, module_domain, *topics)
    await_recorded(ros, recorder, path, 5)
    recorder.kill()
    recorder.communicate(timeout=60)
    assert not Recording(path).finished
    assert sum(s.complete for s in RecordedSets(Recording(path), NAMES)()) >= 1


def test_recorder_ends_by_itself_and_says_when_nothing_came(tmp_path, module_domain):
    recorder = start_recorder(
        tmp_path / "r.mcap", module_domain, "--seconds", "1", "--topics", "/nobody/*"
    )
    output, _ = recorder.communicate(timeout=60)
    assert recorder.returncode == 0
    assert "no messages: is the rig running" in output


def test_recorder_refuses_what_it_cannot_do(tmp_path, module_domain):
    path = tmp_path / "r.mcap"
    path.write_text("precious")
    for options, message in (
        (["--out", str(path)], "exists already: nothing is overwritten"),
        (["--out", "r.bag"], "must end in .mcap"),
        (["--seconds", "-1"], "must be positive"),
    ):
        recorder = start_recorder(path, module_domain, *options)
        output, _ = recorder.communicate(timeout=60)
        assert recorder.returncode in (1, 2), output
        assert message in output


def test_camera_rig_refuses_to_publish_what_it_gets_from_topics(start_node):
    process = start_node("camera_rig", {"source": "topics"}, "/refused")
    assert process.wait() == 2
    assert "source 'topics' is for perception" in process.output
