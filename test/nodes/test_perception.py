"""The detector and the triangulator as processes, fed with images of coloured blobs."""

from __future__ import annotations

import itertools
import time
from types import SimpleNamespace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import Image, PointCloud2
from sensor_msgs_py import point_cloud2
from support.fake_cameras import FakeCameras
from support.rigs import make_rig
from support.synthetic_model import KEYPOINTS, write_model
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from s3k_ros.msg import (
    Keypoint2DArray,
    Keypoint3D,
    Keypoint3DArray,
    KeypointModel,
    MultiViewKeypoints,
)
from s3k_ros.ros import qos
from s3k_ros.ros.conversions import nanoseconds

pytestmark = pytest.mark.ros

CAMERAS = make_rig("plumb_bob")
NAMES = [camera.name for camera in CAMERAS]
# Far enough apart that no disc (2 cm) hides another one from any camera.
POINTS = np.array(
    [[0.6, 0.0, 0.0], [0.7, 0.1, 0.02], [0.7, -0.1, 0.02], [0.5, 0.1, 0.03], [0.5, -0.1, 0.0]]
)


@pytest.fixture(scope="module")
def stack(ros, start_node, tmp_path_factory):
    """Both nodes, the cameras, and lists of what comes out."""
    model = tmp_path_factory.mktemp("model") / "blobs.onnx"
    write_model(model)
    shared = {"cameras": NAMES, "model": model}
    timeouts = {"set_timeout_s": 0.15, "camera_timeout_s": 0.6, "input_timeout_s": 1.0}
    detector = start_node("keypoint_detector", {**shared, **timeouts})
    triangulator = start_node("triangulator", {**shared, "publish_tf": True})
    cameras = FakeCameras(ros.node, CAMERAS)
    views = ros.collect(MultiViewKeypoints, "keypoints_2d", qos.keypoints())
    keypoints = ros.collect(Keypoint3DArray, "keypoints", qos.keypoints())
    diagnostics = ros.collect(DiagnosticArray, "/diagnostics")

    def feed(done, timeout_s=60.0, what="", period_s=0.1, **options):
        """Publishes sets until something is true, and returns it."""
        last = 0.0

        def publish_and_look():
            nonlocal last
            if time.monotonic() - last > period_s:
                last = time.monotonic()
                cameras.publish(POINTS, **options)
            return done()

        return ros.spin_until(publish_and_look, timeout_s, what)

    ros.spin_until(cameras.connected, what="subscription of the detector")
    feed(
        lambda: keypoints and all(k.status == 0 for k in keypoints[-1].keypoints), what="keypoints"
    )
    parts = {"ros": ros, "feed": feed, "cameras": cameras, "model": model}
    parts |= {"views": views, "keypoints": keypoints, "diagnostics": diagnostics}
    yield SimpleNamespace(**parts, detector=detector, triangulator=triangulator)
    assert detector.stop() == 0, detector.output
    assert triangulator.stop() == 0, triangulator.output


def good(stack, used=0b1111):
    """The newest message in which every keypoint has a position from just these views."""
    return next(
        (
            message
            for message in reversed(stack.keypoints)
            if all(k.status == Keypoint3D.OK and k.views_used == used for k in message.keypoints)
        ),
        None,
    )


def status_of(stack, node, task):
    """The newest diagnostic status of a task, None if there is none yet."""
    name = f"{node}: {task}"
    found = [s for array in stack.diagnostics for s in array.status if s.name == name]
    return found[-1] if found else None


def test_keypoints_lie_where_the_blobs_are(stack):
    stack.keypoints.clear()
    message = stack.feed(lambda: good(stack), what="keypoints")
    assert message.header.frame_id == "base"
    assert (message.model, message.object_id) == ("blobs", "plush_fox")
    assert list(message.cameras) == NAMES
    assert [k.name for k in message.keypoints] == list(KEYPOINTS)
    found = np.array([[k.position.x, k.position.y, k.position.z] for k in message.keypoints])
    # Discs of 8 px seen from 1 m at f = 393.5 px; a tenth of a pixel is 0.25 mm.
    assert np.abs(found - POINTS).max() < 0.003
    for keypoint in message.keypoints:
        covariance = np.array(keypoint.covariance).reshape(3, 3)
        assert (np.linalg.eigvalsh(covariance) > 0).all()
        assert 0 < nanoseconds(keypoint.age) < 60e9


def test_stamps_are_those_of_the_exposure(stack):
    time.sleep(0.1)  # later than the set before it, although it lies in the past
    stamp = time.time_ns() - 50_000_000
    stack.cameras.publish(POINTS, stamp_ns=stamp, jitter_ns=1_000_000)

    def of_this_set(messages):
        return [m for m in messages if abs(nanoseconds(m.header.stamp) - stamp) < 10_000_000]

    stack.ros.spin_until(
        lambda: of_this_set(stack.views) and of_this_set(stack.keypoints), what="this set"
    )
    [views], [keypoints] = of_this_set(stack.views), of_this_set(stack.keypoints)
    stamps = [nanoseconds(view.header.stamp) for view in views.views]
    assert stamps == [stamp + i * 1_000_000 for i in range(4)]
    assert nanoseconds(views.header.stamp) == stamp + 1_000_000  # the lower median
    assert views.header.frame_id == ""
    assert keypoints.header.stamp == views.header.stamp
    assert keypoints.set_id == views.set_id
    assert [view.header.frame_id for view in views.views] == [f"{n}_optical" for n in NAMES]


def test_late_subscriber_learns_the_model(stack):
    messages = stack.ros.collect(KeypointModel, "keypoint_model", qos.latched())
    stack.ros.spin_until(lambda: messages, what="keypoint_model")
    model = messages[0]
    assert (model.model, model.object_id) == ("blobs", "plush_fox")
    assert list(model.names) == list(KEYPOINTS)
    assert list(model.input_size) == [120, 160, 128, 128]
    assert len(model.skeleton) == 2 * 4


def test_overlay_image_comes_once_someone_listens(stack):
    images = stack.ros.collect(Image, "cam1/keypoint_image", qos.images())
    stack.feed(lambda: images, what="overlay")
    assert (images[0].width, images[0].height, images[0].encoding) == (640, 480, "bgr8")
    assert images[0].header.frame_id == "cam1_optical"


def test_markers_cloud_and_tf_show_the_keypoints(stack):
    markers = stack.ros.collect(MarkerArray, "keypoint_markers", qos.keypoints())
    clouds = stack.ros.collect(PointCloud2, "keypoint_cloud", qos.keypoints())
    transforms = stack.ros.collect(TFMessage, "/tf")

    def all_shown():
        ellipsoids = markers and [m for m in markers[-1].markers if m.type == Marker.SPHERE]
        shown = ellipsoids and all(m.action == Marker.ADD for m in ellipsoids)
        return shown and clouds and clouds[-1].width == len(KEYPOINTS) and transforms

    stack.feed(all_shown, what="markers, cloud and TF of all keypoints")
    assert all(0.001 < m.scale.x < 0.05 for m in markers[-1].markers if m.type == Marker.SPHERE)
    points = point_cloud2.read_points(clouds[-1], field_names=("x", "y", "z"))
    rows = np.stack([points["x"], points["y"], points["z"]], axis=-1)
    assert np.abs(rows.reshape(-1, 3) - POINTS).max() < 0.003
    names = {t.child_frame_id for message in transforms for t in message.transforms}
    assert names == {f"keypoint/{name}" for name in KEYPOINTS}


def test_broken_image_costs_only_its_view(stack):
    stack.views.clear(), stack.keypoints.clear()
    stack.feed(lambda: good(stack, 0b1011), what="keypoints of three views", broken=["cam2"])
    assert Keypoint2DArray.BAD_IMAGE in {message.views[2].status for message in stack.views}


@pytest.mark.parametrize("silent", [["cam3"], ["cam1", "cam2"]])
def test_silent_cameras_cost_their_views_but_not_the_keypoints(stack, silent):
    used = sum(1 << i for i, name in enumerate(NAMES) if name not in silent)
    stack.keypoints.clear()

    def views_of_good():
        message = good(stack, used)
        return message and next((v for v in stack.views if v.set_id == message.set_id), None)

    views = stack.feed(views_of_good, what="the other cameras", silent=silent)
    statuses = {view.camera: view.status for view in views.views}
    assert all(statuses[name] == Keypoint2DArray.NO_IMAGE for name in silent)


def test_single_camera_gives_too_few_views_and_no_position(stack):
    def too_few():
        return stack.keypoints and all(
            k.status == Keypoint3D.TOO_FEW_VIEWS for k in stack.keypoints[-1].keypoints
        )

    stack.feed(too_few, what="TOO_FEW_VIEWS", silent=["cam1", "cam2", "cam3"])
    for keypoint in stack.keypoints[-1].keypoints:
        assert np.isnan([keypoint.position.x, *keypoint.covariance]).all()


def test_diagnostics_name_the_camera_that_stopped(stack):
    def stale():
        status = status_of(stack, "keypoint_detector", "cam3")
        return status and status.level == DiagnosticStatus.ERROR and status

    stack.diagnostics.clear()
    stack.feed(stale, what="an error of cam3", silent=["cam3"])
    assert "no message" in stale().message
    assert status_of(stack, "keypoint_detector", "cam0").level == DiagnosticStatus.OK
    values = {v.key: v.value for v in status_of(stack, "keypoint_detector", "sets").values}
    assert {"rate_hz", "dropped", "latency_ms_median", "skew_ms_max"} <= set(values)


def test_diagnostics_name_the_camera_of_another_rate(stack):
    def warned():
        status = status_of(stack, "keypoint_detector", "synchronisation")
        return status and "cam1" in status.message and status

    stack.diagnostics.clear()
    rounds = itertools.count()

    def slow_cam1():
        stack.cameras.publish(POINTS, silent=["cam1"] if next(rounds) % 2 else [])
        stack.ros.spin(0.15)
        return warned()

    status = stack.ros.spin_until(slow_cam1, what="a warning of the rates")
    assert status.level != DiagnosticStatus.OK
    assert "cam1 takes" in status.message or "of the images of cam1 are lost" in status.message


def test_second_detector_on_the_domain_is_refused(stack, start_node):
    twin = start_node("keypoint_detector", {"cameras": NAMES, "model": stack.model})
    assert twin.wait() == 2
    assert "another /keypoint_detector already runs" in twin.output
    assert "ROS_DOMAIN_ID" in twin.output
    assert stack.detector.returncode is None, "the older one stays"


def test_other_node_that_would_publish_the_same_topic_is_refused(stack, start_node):
    other = start_node(
        "triangulator",
        {"cameras": NAMES, "model": stack.model},
        arguments=["-r", "__node:=second_triangulator"],
    )
    assert other.wait() == 2
    assert "/triangulator already publishes /keypoints" in other.output
    assert stack.triangulator.returncode is None


def test_second_stack_on_another_domain_runs(stack, start_node, module_domain):
    twin = start_node(
        "triangulator", {"cameras": NAMES, "model": stack.model}, domain=module_domain + 1
    )
    twin.wait_until_ready()
    assert twin.stop() == 0, twin.output
