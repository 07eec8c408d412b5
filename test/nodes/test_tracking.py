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
from s3k_ros.ros.conversions import nanoseconds, stamp_message
from s3k_ros.srv import LoadModel, PredictKeypoints

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

    def feed(done, what, points=POINTS, region=None):
        last = 0.0

        def publish_and_look():
            nonlocal last
            if time.monotonic() - last > 0.15:
                last = time.monotonic()
                cameras.publish(points, region=region)
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


def test_keypoints_stay_where_they_are_when_the_cameras_go_over_to_a_region(stack):
    """Detector and triangulator follow camera_info from set to set, here and back."""
    for region in (None, (150, 90, 360, 300), (140, 80, 380, 310), None):
        stack.raw.clear()
        stack.feed(lambda: len(stack.raw) >= 3, "sets in a row", region=region)
        stack.ros.spin(0.5)
        for message in stack.raw:
            assert all_ok(message), (region, [k.status for k in message.keypoints])
            found = [[k.position.x, k.position.y, k.position.z] for k in message.keypoints]
            assert np.linalg.norm(np.array(found) - POINTS, axis=1).max() < 3e-3, region


def predict(stack, stamp_ns):
    """What the triangulator says of a time, while no images come."""
    client = stack.ros.node.create_client(PredictKeypoints, "predict_keypoints")
    stack.ros.spin_until(client.service_is_ready, what="predict_keypoints")
    future = client.call_async(PredictKeypoints.Request(stamp=stamp_message(stamp_ns)))
    stack.ros.spin_until(future.done, what="an answer")
    return future.result()


def test_keypoints_at_a_requested_time_are_predicted_with_their_age_and_a_wider_covariance(stack):
    stack.feed(lambda: all_ok(stack.keypoints[-1]), "keypoints")
    stack.ros.spin(1.0)  # what is under way arrives
    last = stack.keypoints[-1]
    stamp = nanoseconds(last.header.stamp)
    answer = predict(stack, stamp + 200_000_000)
    assert answer.success, answer.message
    assert nanoseconds(answer.keypoints.header.stamp) == stamp + 200_000_000
    assert answer.keypoints.header.frame_id == "base"
    assert (answer.keypoints.set_id, answer.keypoints.model) == (last.set_id, last.model)
    later = predict(stack, stamp + 400_000_000).keypoints
    for now, soon, then in zip(
        last.keypoints, answer.keypoints.keypoints, later.keypoints, strict=True
    ):
        assert soon.status == then.status == Keypoint3D.PREDICTED
        # Measured in the last set, or one before it where that left the keypoint out.
        assert nanoseconds(soon.age) >= 200_000_000
        assert nanoseconds(then.age) - nanoseconds(soon.age) == 200_000_000
        assert abs(soon.position.x - now.position.x) < 0.1
        assert now.covariance[0] < soon.covariance[0] < then.covariance[0]
    same = predict(stack, stamp).keypoints
    assert [k.position for k in same.keypoints] == [k.position for k in last.keypoints]


def test_requested_time_that_cannot_be_answered_is_refused_with_a_reason(stack):
    stamp = nanoseconds(stack.keypoints[-1].header.stamp)
    past = predict(stack, stamp - 1_000_000_000)
    assert not past.success
    assert "before the last set" in past.message
    far = predict(stack, stamp + 60_000_000_000).keypoints  # beyond tracking.max_age_s
    assert all(np.isnan(k.position.x) for k in far.keypoints)
    assert {k.status for k in far.keypoints} == {Keypoint3D.TOO_FEW_VIEWS}


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
