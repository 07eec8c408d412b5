"""Tracking and the change of models in separate nodes, which are fed with images of blobs."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from support.fake_cameras import FakeCameras
from support.rigs import make_rig
from support.synthetic_model import write_model

from s3k_ros.msg import Keypoint3D, Keypoint3DArray
from s3k_ros.ros import qos
from s3k_ros.ros.conversions import nanoseconds
from s3k_ros.srv import LoadModel

pytestmark = pytest.mark.ros

CAMERAS = make_rig("plumb_bob")
NAMES = [camera.name for camera in CAMERAS]
POINTS = np.array(
    [[0.6, 0.0, 0.0], [0.7, 0.1, 0.02], [0.7, -0.1, 0.02], [0.5, 0.1, 0.03], [0.5, -0.1, 0.0]]
)
# Out of all images: the other keypoints stay.
GONE = np.where(np.arange(5)[:, np.newaxis] == 1, np.nan, POINTS)


@pytest.fixture(scope="module")
def stack(ros, start_node, tmp_path_factory):
    """Detector on a provider that is not there, triangulator with tracking, cameras."""
    folder = tmp_path_factory.mktemp("model")
    write_model(folder / "blobs.onnx")
    shared = {"cameras": NAMES, "model": folder / "blobs.onnx"}
    provider = {"detector.provider": "CoreMLExecutionProvider"}
    detector = start_node("keypoint_detector", {**shared, **provider})
    tracking = {"tracking.enabled": True, "tracking.max_age_s": 5.0}
    triangulator = start_node("triangulator", {**shared, **tracking})
    cameras = FakeCameras(ros.node, CAMERAS)
    keypoints = ros.collect(Keypoint3DArray, "keypoints", qos.keypoints())
    raw = ros.collect(Keypoint3DArray, "keypoints_raw", qos.keypoints())
    diagnostics = ros.collect(DiagnosticArray, "/diagnostics")
    ros.spin_until(cameras.connected, what="subscription of the detector")

    def feed(done, what, points=POINTS):
        last = 0.0

        def publish_and_look():
            nonlocal last
            if time.monotonic() - last > 0.15:
                last = time.monotonic()
                cameras.publish(points)
            return done()

        return ros.spin_until(publish_and_look, what=what)

    feed(lambda: keypoints and raw and all_ok(keypoints[-1]), "keypoints")
    yield SimpleNamespace(
        ros=ros, feed=feed, keypoints=keypoints, raw=raw, folder=folder, diagnostics=diagnostics,
        triangulator=triangulator,
    )  # fmt: skip
    assert detector.stop() == 0, detector.output
    assert triangulator.stop() == 0, triangulator.output


def all_ok(message):
    return all(k.status == Keypoint3D.OK for k in message.keypoints)


def in_step(stack):
    """The newest set of which both messages have come."""
    raw = {m.set_id: m for m in stack.raw}
    both = [(m, raw[m.set_id]) for m in stack.keypoints if m.set_id in raw]
    return both[-1] if both else None


def test_missing_keypoint_is_predicted_with_its_age_while_the_raw_one_is_refused(stack):
    stack.feed(lambda: all_ok(stack.keypoints[-1]), "keypoints")
    stack.keypoints.clear(), stack.raw.clear()

    def predicted():
        pair = in_step(stack)
        return pair and pair[0].keypoints[1].status == Keypoint3D.PREDICTED and pair

    tracked, raw = stack.feed(predicted, "a predicted keypoint", GONE)
    assert raw.keypoints[1].status not in (Keypoint3D.OK, Keypoint3D.PREDICTED)
    assert np.isnan(raw.keypoints[1].position.x)
    found, seen = tracked.keypoints[1], tracked.keypoints[0]
    assert seen.status == Keypoint3D.OK
    # It rests on an earlier set than the others.
    assert nanoseconds(found.age) > nanoseconds(seen.age)
    position = [found.position.x, found.position.y, found.position.z]
    assert np.abs(np.array(position) - POINTS[1]).max() < 0.02
    assert np.trace(np.reshape(found.covariance, (3, 3))) > np.trace(
        np.reshape(seen.covariance, (3, 3))
    )


def test_seen_keypoints_have_less_uncertainty_than_raw_ones(stack):
    stack.feed(lambda: all_ok(stack.keypoints[-1]), "keypoints")
    stack.keypoints.clear(), stack.raw.clear()
    stack.feed(lambda: len(stack.keypoints) > 8 and in_step(stack), "sets in a row")
    tracked, raw = in_step(stack)
    for t, r in zip(tracked.keypoints, raw.keypoints, strict=True):
        assert np.trace(np.reshape(t.covariance, (3, 3))) < np.trace(
            np.reshape(r.covariance, (3, 3))
        )


def test_model_runs_on_the_cpu_with_a_warning_where_its_provider_is_missing(stack):
    def warned():
        name = "keypoint_detector: model"
        found = [s for a in stack.diagnostics for s in a.status if s.name == name]
        return found and found[-1]

    status = stack.ros.spin_until(warned, what="the model's diagnostics")
    assert "it runs on the CPU: CoreMLExecutionProvider is not in this" in status.message
    assert {v.key: v.value for v in status.values}["provider"] == "CPUExecutionProvider"


def load_model(stack, path):
    """Asks for a model while the cameras go on."""
    client = stack.ros.node.create_client(LoadModel, "load_model")
    stack.ros.spin_until(client.service_is_ready, what="load_model")
    future = client.call_async(LoadModel.Request(path=str(path)))
    stack.feed(future.done, "an answer")
    return future.result()


def test_new_model_goes_through_detector_and_triangulator(stack):
    other = stack.folder / "other.onnx"
    write_model(other, object_id="plush_bear")
    stack.keypoints.clear()
    answer = load_model(stack, other)
    assert answer.success, answer.message
    stack.feed(lambda: stack.keypoints[-1].model == answer.model, "keypoints of the new model")
    stack.feed(lambda: all_ok(stack.keypoints[-1]), "good keypoints of the new model")
    ids = [m.set_id for m in stack.keypoints]
    assert ids == sorted(set(ids))
    assert {m.object_id for m in stack.keypoints} == {"plush_fox", "plush_bear"}
    assert "the detector runs model" not in stack.triangulator.output  # none was refused


def test_bad_model_is_refused_and_the_old_one_goes_on(stack):
    running = stack.keypoints[-1].model
    answer = load_model(stack, stack.folder / "none.onnx")
    assert not answer.success
    assert "none.onnx" in answer.message
    stack.keypoints.clear()
    stack.feed(lambda: stack.keypoints and all_ok(stack.keypoints[-1]), "keypoints")
    assert stack.keypoints[-1].model == running
