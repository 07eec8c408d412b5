"""`perception` on a scripted rig, beside the separate nodes that get its images over DDS."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import SetBool
from support import scripted_rig
from support.keypoint_messages import by_stamp, content, frames
from support.scripted_rig import CAMERAS, NAMES, POINTS, SWING_M
from support.synthetic_model import KEYPOINTS, write_model
from tf2_ros import StaticTransformBroadcaster

from s3k_ros.calibration.rig_file import rig_text
from s3k_ros.msg import (
    Keypoint2DArray,
    Keypoint3D,
    Keypoint3DArray,
    KeypointModel,
    MultiViewKeypoints,
)
from s3k_ros.ros import conversions, qos
from s3k_ros.srv import LoadModel

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def stack(ros, start_node, tmp_path_factory):
    """The fused node in /fused, the separate ones in /separate."""
    folder = tmp_path_factory.mktemp("fused")
    model = folder / "blobs.onnx"
    write_model(model)
    (folder / "rig.yaml").write_text(rig_text(CAMERAS, "base"))
    broadcaster = StaticTransformBroadcaster(ros.node)
    header = conversions.header(time.time_ns(), "base")
    broadcaster.sendTransform(
        [
            conversions.transform_stamped(c.base_from_camera, header, f"{c.name}_optical")
            for c in CAMERAS
        ]
    )
    remaps = [
        word
        for name in NAMES
        for topic in ("image_raw", "camera_info")
        for word in ("-r", f"{name}/{topic}:=/fused/{name}/{topic}")
    ]
    shared = {"cameras": list(NAMES), "model": model}
    detector = start_node(
        "keypoint_detector", {**shared, "set_timeout_s": 0.06}, "/separate", remaps
    )
    triangulator = start_node("triangulator", shared, "/separate", remaps)
    program = [sys.executable, str(Path(scripted_rig.__file__)), "perception"]
    fused = start_node(
        "perception",
        {**shared, "rig": folder / "rig.yaml", "tracking.enabled": True, "cam0.exposure_s": 0.004},
        "/fused",
        program=program,
    )
    keypoints = {
        place: ros.collect(Keypoint3DArray, f"/{place}/{topic}", qos.keypoints())
        for place, topic in (("fused", "keypoints_raw"), ("separate", "keypoints"))
    }
    views = {
        place: ros.collect(MultiViewKeypoints, f"/{place}/keypoints_2d", qos.keypoints())
        for place in ("fused", "separate")
    }
    tracked = ros.collect(Keypoint3DArray, "/fused/keypoints", qos.keypoints())
    diagnostics = ros.collect(DiagnosticArray, "/diagnostics")
    for process in (detector, triangulator, fused):
        process.wait_until_ready()
    yield SimpleNamespace(
        ros=ros, folder=folder, model=model, keypoints=keypoints, views=views, tracked=tracked,
        diagnostics=diagnostics, fused=fused, broadcaster=broadcaster,
    )  # fmt: skip
    for process in (fused, detector, triangulator):
        assert process.stop() == 0, process.output


def status_of(stack, node, task):
    """The newest diagnostic status of a task, None if there is none yet."""
    found = [s for a in stack.diagnostics for s in a.status if s.name == f"{node}: {task}"]
    return found[-1] if found else None


def test_results_equal_those_of_the_separate_nodes(stack):
    def good(place):
        return any(k.status == Keypoint3D.OK for m in stack.keypoints[place] for k in m.keypoints)

    stack.ros.spin_until(lambda: good("fused") and good("separate"), what="the first keypoints")
    stack.keypoints["fused"].clear(), stack.keypoints["separate"].clear()

    def of_the_same_frames():
        """Stamps of the sets that both have, with the same images: a busy machine loses some."""
        fused, separate = (by_stamp(stack.keypoints[place]) for place in ("fused", "separate"))
        views = [by_stamp(stack.views[place]) for place in ("fused", "separate")]
        common = set(fused) & set(separate) & set(views[0]) & set(views[1])
        common = {t for t in common if frames(views[0][t]) == frames(views[1][t])}
        used = {k.views_used for t in common for k in fused[t].keypoints if k.status == k.OK}
        # Complete sets and sets that lack a camera.
        return len(common) >= 12 and {0b1111, 0b1011} <= used and (fused, separate, views, common)

    fused, separate, views, common = stack.ros.spin_until(of_the_same_frames, what="common sets")
    for stamp in common:
        assert fused[stamp].header == separate[stamp].header
        assert fused[stamp].model == separate[stamp].model
        # NaN is NaN; everything else equal to the last bit.
        np.testing.assert_equal(content(fused[stamp]), content(separate[stamp]))
        assert [v.keypoints for v in views[0][stamp].views] == [
            v.keypoints for v in views[1][stamp].views
        ]


def test_keypoints_lie_where_the_blobs_are(stack):
    message = stack.keypoints["fused"][-1]
    found = np.array([[k.position.x, k.position.y, k.position.z] for k in message.keypoints])
    assert message.header.frame_id == "base"
    assert [k.name for k in message.keypoints] == list(KEYPOINTS)
    assert np.abs(found - POINTS).max() < SWING_M + 0.003


def test_tracked_keypoints_belong_to_the_same_sets_as_the_raw_ones(stack):
    stack.ros.spin_until(lambda: len(stack.tracked) > 5, what="tracked keypoints")
    raw = by_stamp(stack.keypoints["fused"])
    for stamp, message in by_stamp(stack.tracked).items():
        if stamp in raw:
            assert message.set_id == raw[stamp].set_id
            assert [k.name for k in message.keypoints] == [k.name for k in raw[stamp].keypoints]


def test_images_and_calibration_come_while_someone_listens(stack):
    images = stack.ros.collect(Image, "/fused/cam0/image_raw", qos.images())
    infos = stack.ros.collect(CameraInfo, "/fused/cam0/camera_info", qos.images())
    overlays = stack.ros.collect(Image, "/fused/cam0/keypoint_image", qos.images())
    stack.ros.spin_until(lambda: images and infos and overlays, what="images of cam0")
    assert (images[0].width, images[0].height, images[0].encoding) == (640, 480, "bgr8")
    assert images[0].header.frame_id == infos[0].header.frame_id == "cam0_optical"
    assert np.allclose(infos[0].k, CAMERAS[0].matrix.ravel())


def test_view_without_an_image_says_so(stack):
    views = stack.ros.collect(MultiViewKeypoints, "/fused/keypoints_2d", qos.keypoints())

    def lost():
        return [v for v in views if v.views[2].status == Keypoint2DArray.NO_IMAGE]

    stack.ros.spin_until(lost, what="a set without cam2")
    assert [view.camera for view in lost()[0].views] == list(NAMES)


def test_diagnostics_name_skew_and_drops_by_cause(stack):
    stack.diagnostics.clear()

    def lost():
        status = status_of(stack, "perception", "camera cam2")
        return status and status.level == DiagnosticStatus.WARN and status

    status = stack.ros.spin_until(lost, what="a warning of cam2")
    assert "the camera took the frame, but it did not arrive" in status.message
    rig = {v.key: v.value for v in status_of(stack, "perception", "rig").values}
    assert float(rig["skew_ms"]) == pytest.approx(0.3)
    assert int(rig["complete_sets"]) < int(rig["sets"])


def parameter(stack, kind, **request):
    name = {DescribeParameters: "describe", GetParameters: "get", SetParameters: "set"}[kind]
    return stack.ros.call(kind, f"/fused/perception/{name}_parameters", kind.Request(**request))


def test_live_parameters_have_the_camera_s_ranges_and_values(stack):
    described = parameter(stack, DescribeParameters, names=["cam1.exposure_s"]).descriptors[0]
    assert described.floating_point_range[0].to_value == pytest.approx(0.02)
    assert not described.read_only
    values = parameter(stack, GetParameters, names=["cam0.exposure_s", "cam1.exposure_s"]).values
    assert [v.double_value for v in values] == [0.004, 0.005]  # cam0's comes from the command line


def set_parameter(stack, name, value):
    message = Parameter(name, value=value).to_parameter_msg()
    return parameter(stack, SetParameters, parameters=[message]).results[0]


def test_change_of_a_live_parameter_is_that_of_the_camera(stack):
    assert set_parameter(stack, "cam1.exposure_s", 0.00612).successful
    value = parameter(stack, GetParameters, names=["cam1.exposure_s"]).values[0]
    assert value.double_value == pytest.approx(0.0061)  # what the camera made of it


def test_value_that_the_camera_refuses_is_refused_with_its_reason(stack):
    result = set_parameter(stack, "cam1.binning", 2)
    assert not result.successful
    assert "with this lens? never" in result.reason


def test_rig_stops_and_starts_without_losing_the_cameras(stack):
    def call(active):
        return stack.ros.call(SetBool, "/fused/rig/set_active", SetBool.Request(data=active))

    assert call(False).success
    stack.ros.spin(0.5)
    stack.keypoints["fused"].clear()
    stack.ros.spin(1.0)
    assert not stack.keypoints["fused"]
    assert call(True).success
    stack.ros.spin_until(lambda: stack.keypoints["fused"], what="keypoints again")


def test_model_is_swapped_without_losing_a_set(stack):
    other = stack.folder / "other.onnx"
    write_model(other, object_id="plush_bear")
    models = stack.ros.collect(KeypointModel, "/fused/keypoint_model", qos.latched())
    stack.keypoints["fused"].clear()
    stack.ros.spin(0.5)
    answer = stack.ros.call(LoadModel, "/fused/load_model", LoadModel.Request(path=str(other)))
    assert answer.success, answer.message
    assert answer.model.startswith("other@")
    stack.ros.spin_until(
        lambda: stack.keypoints["fused"][-1].model == answer.model, what="the new model"
    )
    stack.ros.spin(1.0)
    messages = stack.keypoints["fused"]
    # Every set of the rig, one after the other, from the one model and then from the other one.
    assert np.diff([m.set_id for m in messages]).tolist() == [1] * (len(messages) - 1)
    names = [m.model for m in messages]
    assert names == sorted(names, key=lambda name: name == answer.model)
    assert {m.object_id for m in messages if m.model == answer.model} == {"plush_bear"}
    stack.ros.spin_until(lambda: models and models[-1].model == answer.model)


def test_bad_model_is_refused_with_its_reason_and_the_old_one_stays(stack):
    bad = stack.folder / "bad.onnx"
    bad.write_bytes(stack.model.read_bytes()[:2000])
    running = stack.keypoints["fused"][-1].model
    answer = stack.ros.call(LoadModel, "/fused/load_model", LoadModel.Request(path=str(bad)))
    assert not answer.success
    assert "bad.onnx" in answer.message
    stack.keypoints["fused"].clear()
    stack.ros.spin_until(lambda: stack.keypoints["fused"], what="keypoints")
    assert stack.keypoints["fused"][-1].model == running


def test_events_of_the_rig_are_in_the_log(stack):
    assert "cam1: was away for a moment" in stack.fused.output
    assert "cam1: is back" in stack.fused.output
