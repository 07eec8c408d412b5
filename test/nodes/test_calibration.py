"""Calibration in TF and camera_info: what the triangulator and rig_description do about it."""

from __future__ import annotations

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from support.rigs import make_rig
from support.synthetic_model import KEYPOINTS, write_model
from tf2_msgs.msg import TFMessage
from tf2_ros import StaticTransformBroadcaster

from s3k_ros.calibration.rig_file import rig_text
from s3k_ros.msg import Keypoint3D, Keypoint3DArray, MultiViewKeypoints
from s3k_ros.perception.detector import ViewKeypoints, ViewStatus
from s3k_ros.ros import conversions, qos

pytestmark = pytest.mark.ros

CAMERAS = make_rig("rational_polynomial")
NAMES = [camera.name for camera in CAMERAS]
POINTS = np.array([[0.6, 0.02 * k, 0.01 * k] for k in range(len(KEYPOINTS))])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "blobs.onnx"
    write_model(path)
    return path


@pytest.fixture(scope="module")
def rig_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("rig") / "rig.yaml"
    path.write_text(rig_text(CAMERAS, "base"))
    return path


@pytest.fixture(scope="module")
def nodes(model, rig_file, start_node):
    """Triangulators that lack something, and one that has a rig_description."""
    params = {"model": model, "cameras": NAMES}
    start_node("triangulator", {**params, "base_frame": "nowhere"}, "/no_tf")
    start_node("triangulator", params, "/no_info")
    start_node("triangulator", {**params, "base_frame": "rig_base"}, "/good")
    description = {"rig": rig_file, "base_frame": "rig_base", "publish_camera_info": True}
    start_node("rig_description", description, "/good")
    start_node("triangulator", params, "/unreliable")


def views_message(set_id=1, model="blobs", names=KEYPOINTS):
    """Exact detections of POINTS in every camera."""
    stamp = 10**12 + set_id
    views = []
    for camera in CAMERAS:
        pixels = camera.project(POINTS)
        covariances = np.tile(0.25 * np.eye(2), (len(POINTS), 1, 1))
        view = ViewKeypoints(pixels, covariances, np.full(len(POINTS), 0.95))
        header = conversions.header(stamp, f"{camera.name}_optical")
        views.append(conversions.view_to_message(view, ViewStatus.OK, names, camera.name, header))
    header = conversions.header(stamp)
    return MultiViewKeypoints(
        header=header, set_id=set_id, model=model, object_id="plush_fox", views=views
    )


@pytest.fixture
def exchange(ros, nodes):
    """Publishes views in a namespace until an answer passes; the answer."""

    def run(namespace, message, accept=lambda answer: True):
        publisher = ros.node.create_publisher(
            MultiViewKeypoints, f"{namespace}/keypoints_2d", qos.keypoints()
        )
        answers = ros.collect(Keypoint3DArray, f"{namespace}/keypoints", qos.keypoints())

        def send_and_look():
            publisher.publish(message)
            ros.spin(0.1)
            return next((answer for answer in answers if accept(answer)), None)

        result = ros.spin_until(send_and_look, what=f"an answer in {namespace}")
        ros.node.destroy_publisher(publisher)
        return result

    return run


def wait_for_error(ros, namespace, task, text, node="triangulator"):
    """Waits for a diagnostic error of a node that contains a text."""
    arrays = ros.collect(DiagnosticArray, "/diagnostics")

    def found():
        return any(
            status.hardware_id == f"{namespace}/{node}"
            and status.name == f"{node}: {task}"
            and status.level == DiagnosticStatus.ERROR
            and text in status.message
            for array in arrays
            for status in array.status
        )

    return found


def infos_for(ros, namespace):
    """Publishes camera_info of all cameras in a namespace."""
    for camera in CAMERAS:
        topic = f"{namespace}/{camera.name}/camera_info"
        publisher = ros.node.create_publisher(CameraInfo, topic, qos.images())
        header = conversions.header(0, f"{camera.name}_optical")
        ros.node.create_timer(
            0.1,
            lambda publisher=publisher, camera=camera, header=header: publisher.publish(
                conversions.camera_info(camera, header)
            ),
        )


def all_refused(answer):
    return all(
        k.status == Keypoint3D.TOO_FEW_VIEWS and np.isnan(k.position.x) for k in answer.keypoints
    )


def test_rig_file_calibrates_the_triangulator(exchange):
    answer = exchange("/good", views_message(), lambda a: a.keypoints[0].status == Keypoint3D.OK)
    found = np.array([[k.position.x, k.position.y, k.position.z] for k in answer.keypoints])
    assert np.abs(found - POINTS).max() < 1e-6
    assert answer.header.frame_id == "rig_base"


def test_rig_description_publishes_tf_and_camera_info(ros, nodes):
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    transforms = ros.collect(TFMessage, "/tf_static", latched)
    infos = ros.collect(CameraInfo, "/good/cam2/camera_info", qos.images())
    ros.spin_until(lambda: infos and transforms, what="camera_info and TF")
    found = {t.child_frame_id: t for message in transforms for t in message.transforms}
    expected = CAMERAS[2].base_from_camera
    transform = conversions.transform_from_message(found["cam2_optical"].transform)
    assert np.allclose(transform.matrix, expected.matrix, atol=1e-12)
    assert found["cam2_optical"].header.frame_id == "rig_base"
    assert infos[0].distortion_model == "rational_polynomial"
    assert np.allclose(infos[0].d, CAMERAS[2].distortion)
    assert infos[0].header.frame_id == "cam2_optical"


def test_missing_tf_is_refused_and_reported(ros, exchange):
    infos_for(ros, "/no_tf")
    found = wait_for_error(ros, "/no_tf", "calibration", "no TF from nowhere to cam0_optical")
    answer = exchange("/no_tf", views_message(), lambda a: found())
    assert all_refused(answer)


def test_missing_calibration_is_refused_and_reported(ros, exchange):
    broadcaster = StaticTransformBroadcaster(ros.node)
    header = conversions.header(0, "base")
    broadcaster.sendTransform(
        [
            conversions.transform_stamped(c.base_from_camera, header, f"{c.name}_optical")
            for c in CAMERAS
        ]
    )
    found = wait_for_error(ros, "/no_info", "calibration", "nothing on cam0/camera_info")
    answer = exchange("/no_info", views_message(), lambda a: found())
    assert all_refused(answer)


def test_other_model_than_the_detectors_is_refused(ros, nodes):
    found = wait_for_error(ros, "/good", "keypoints_2d", "runs model 'other'")
    publisher = ros.node.create_publisher(MultiViewKeypoints, "/good/keypoints_2d", qos.keypoints())
    answers = ros.collect(Keypoint3DArray, "/good/keypoints", qos.keypoints())

    def send_and_look():
        publisher.publish(views_message(model="other"))
        ros.spin(0.1)
        return found()

    ros.spin_until(send_and_look, what="the report of another model")
    assert not answers


def test_unreliable_publisher_of_keypoints_is_reported(ros, nodes):
    unreliable = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    ros.node.create_publisher(MultiViewKeypoints, "/unreliable/keypoints_2d", unreliable)
    found = wait_for_error(ros, "/unreliable", "qos", "keypoints_2d has an incompatible")
    ros.spin_until(found, what="the report of the QoS mismatch")


def test_images_whose_qos_does_not_match_are_reported(ros, model, start_node):
    """The detector asks for reliable images, the camera is best effort: nothing would pass."""
    override = "qos_overrides./strict/cam2/image_raw.subscription.reliability"
    params = {"model": model, "cameras": NAMES, override: "reliable"}
    start_node("keypoint_detector", params, "/strict")
    ros.node.create_publisher(Image, "/strict/cam2/image_raw", qos.images())
    text = "a publisher of cam2/image_raw has an incompatible RELIABILITY: no messages pass"
    found = wait_for_error(ros, "/strict", "qos", text, node="keypoint_detector")
    ros.spin_until(found, what="the report of the QoS mismatch")
