"""`camera_rig` on fake cameras, and what it says when it cannot start."""

from __future__ import annotations

import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import SetBool
from support.rigs import make_rig

from s3k_ros.calibration.rig_file import rig_text
from s3k_ros.cameras.host import Claims
from s3k_ros.errors import DeviceUnavailableError
from s3k_ros.ros import qos
from s3k_ros.ros.conversions import nanoseconds

pytestmark = pytest.mark.ros

NAMES = ["cam0", "cam1", "cam2", "cam3"]


@pytest.fixture(scope="module")
def rig_file(tmp_path_factory):
    """Calibration of all cameras but the last one."""
    path = tmp_path_factory.mktemp("rig") / "rig.yaml"
    path.write_text(rig_text(make_rig()[:3], "base"))
    return path


@pytest.fixture(scope="module")
def node(start_node, rig_file):
    params = {"source": "fake", "cameras": NAMES, "rig": rig_file, "camera.frame_rate_hz": 5.0}
    process = start_node("camera_rig", params, "/cell")
    process.wait_until_ready()
    yield process
    assert process.stop() == 0, process.output


@pytest.fixture(scope="module")
def images(ros, node):
    """The images of all cameras."""
    return {name: ros.collect(Image, f"/cell/{name}/image_raw", qos.images()) for name in NAMES}


def of_one_trigger(images, newest=False):
    """One image a camera whose stamps lie together."""
    by_camera = {n: {nanoseconds(i.header.stamp): i for i in found} for n, found in images.items()}
    for stamp in sorted(by_camera["cam0"], reverse=newest):
        near = {
            name: next((s for s in stamps if abs(s - stamp) < 5_000_000), None)
            for name, stamps in by_camera.items()
        }
        if all(near.values()):
            return {name: by_camera[name][s] for name, s in near.items()}
    return None


def test_images_of_one_trigger_have_its_stamp_and_content(ros, images):
    found = ros.spin_until(lambda: of_one_trigger(images), what="images of one trigger")
    greys = {np.frombuffer(image.data, np.uint8).max() for image in found.values()}
    assert len(greys) == 1  # the number of the trigger
    assert found["cam1"].header.frame_id == "cam1_optical"
    assert (found["cam1"].width, found["cam1"].height) == (640, 480)


def test_calibration_comes_from_the_rig_file(ros, images):
    infos = ros.collect(CameraInfo, "/cell/cam1/camera_info", qos.images())
    ros.spin_until(lambda: infos, what="camera_info")
    assert np.allclose(infos[0].k, make_rig()[1].matrix.ravel())
    assert infos[0].header.frame_id == "cam1_optical"
    assert (infos[0].roi.width, infos[0].binning_x) == (0, 0)


def set_parameter(ros, name, value):
    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    return ros.call(SetParameters, "/cell/camera_rig/set_parameters", request).results[0]


def test_ranges_follow_the_camera(ros, node):
    def largest_width():
        request = DescribeParameters.Request(names=["cam2.region_width"])
        answer = ros.call(DescribeParameters, "/cell/camera_rig/describe_parameters", request)
        return answer.descriptors[0].integer_range[0].to_value

    assert largest_width() == 640
    assert set_parameter(ros, "cam2.binning", 2).successful
    assert largest_width() == 320
    assert not set_parameter(ros, "cam2.region_width", 640).successful
    assert set_parameter(ros, "cam2.binning", 1).successful
    assert set_parameter(ros, "cam2.region_width", 640).successful
    assert set_parameter(ros, "cam2.region_height", 480).successful


def test_part_of_the_sensor_is_said_in_camera_info(ros, node, images):
    infos = ros.collect(CameraInfo, "/cell/cam2/camera_info", qos.images())
    assert set_parameter(ros, "cam2.region_width", 320).successful
    cropped = ros.spin_until(lambda: [i for i in infos if i.roi.width == 320], what="a region")
    assert (cropped[0].width, cropped[0].roi.height) == (640, 480)
    assert set_parameter(ros, "cam2.region_width", 640).successful


def test_diagnostics_tell_of_cameras_clocks_and_missing_calibration(ros, node, images):
    arrays = ros.collect(DiagnosticArray, "/diagnostics")

    def statuses():
        found = {s.name: s for a in arrays for s in a.status}
        return "camera_rig: rig" in found and "camera_rig: camera cam0" in found and found

    found = ros.spin_until(statuses, what="diagnostics of the rig")
    camera = {v.key: v.value for v in found["camera_rig: camera cam0"].values}
    assert {"device", "state", "received", "clock_drift_ppm", "stamp_error_ms"} <= set(camera)
    assert found["camera_rig: camera_info"].level == DiagnosticStatus.WARN
    assert "cam3" in found["camera_rig: camera_info"].message


def test_rig_stops_and_starts_on_request(ros, node, images):
    def call(active):
        request = SetBool.Request(data=active)
        return ros.call(SetBool, "/cell/rig/set_active", request)

    assert call(False).success
    ros.spin(1.0)
    for found in images.values():
        found.clear()
    ros.spin(1.0)
    assert not any(images.values())
    assert call(True).success
    ros.spin_until(lambda: of_one_trigger(images), what="images again")


def test_emulated_basler_cameras_give_images(ros, start_node):
    """Real pylon code underneath."""
    serials = '["0815-0000", "0815-0001"]'
    params = {"source": "basler", "cameras": ["left", "right"], "devices": serials, "rig": "''"}
    emulator = {"PYLON_CAMEMU": "2"}
    process = start_node("camera_rig", params, "/emulated", environment=emulator)
    process.wait_until_ready()
    images = ros.collect(Image, "/emulated/right/image_raw", qos.images())
    ros.spin_until(lambda: images, what="an emulated image")
    assert images[0].header.frame_id == "right_optical"
    assert abs(time.time_ns() - nanoseconds(images[-1].header.stamp)) < 60e9
    assert process.stop() == 0, process.output


def test_second_rig_on_the_same_cameras_is_refused(start_node, rig_file, node):
    process = start_node("camera_rig", {"source": "fake", "cameras": NAMES}, "/second")
    assert process.wait() == 2
    assert "camera cam0 is in use by another rig, process" in process.output


BAD_STARTS = {
    "misspelt setting of a camera": (
        {"source": "fake", "cameras": ["one"], "one.exposure": 0.004},
        "unknown parameter 'one.exposure'; valid: one.exposure_s",
    ),
    "value that the camera cannot take": (
        {"source": "fake", "cameras": ["two"], "two.gain_db": 90.0},
        "gain_db = 90.0 is not allowed: 0 to 24 dB",
    ),
    "cameras that are not there": (
        {"source": "basler", "cameras": ["left", "right"], "min_cameras": 2},
        "0 of 2 cameras are there, 2 must be",
    ),
}


@pytest.mark.parametrize("claim", BAD_STARTS)
def test_bad_start_is_refused_with_its_reason(start_node, claim):
    params, reason = BAD_STARTS[claim]
    process = start_node("camera_rig", params, f"/bad{list(BAD_STARTS).index(claim)}")
    assert process.wait() == 2
    assert reason in process.output
    assert "Traceback" not in process.output


# --- life cycle ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def managed(start_node):
    """A rig that waits to be configured."""
    params = {"source": "fake", "cameras": ["m0", "m1"], "rig": "''", "autostart": False}
    process = start_node("camera_rig", params, "/managed")
    process.wait_until_ready()
    yield process
    assert process.stop() == 0, process.output


def state(ros):
    request = GetState.Request()
    return ros.call(GetState, "/managed/camera_rig/get_state", request).current_state.label


def change_state(ros, label):
    request = ChangeState.Request(transition=Transition(id=STEPS[label]))
    return ros.call(ChangeState, "/managed/camera_rig/change_state", request).success


STEPS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
    "shutdown": Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
}


def claimed():
    """Whether another rig is kept from the first camera."""
    claims = Claims()
    try:
        claims.take("m0")
    except DeviceUnavailableError:
        return True
    claims.release("m0")
    return False


def test_managed_rig_takes_its_cameras_when_configured_and_images_when_active(ros, managed):
    images = ros.collect(Image, "/managed/m1/image_raw", qos.images())
    assert (state(ros), claimed()) == ("unconfigured", False)
    assert not change_state(ros, "activate")  # one step after the other
    assert change_state(ros, "configure")
    assert (state(ros), claimed()) == ("inactive", True)
    ros.spin(0.5)
    assert not images
    assert change_state(ros, "activate")
    ros.spin_until(lambda: images, what="images while active")
    assert not change_state(ros, "activate")
    assert state(ros) == "active"


def test_managed_rig_keeps_its_cameras_while_inactive(ros, managed):
    assert change_state(ros, "deactivate")
    assert (state(ros), claimed()) == ("inactive", True)
    # the other door leads to the same states
    assert ros.call(SetBool, "/managed/rig/set_active", SetBool.Request(data=True)).success
    assert state(ros) == "active"
    assert ros.call(SetBool, "/managed/rig/set_active", SetBool.Request(data=False)).success
    assert state(ros) == "inactive"


def test_managed_rig_lets_go_of_its_cameras_and_takes_them_again(ros, managed):
    assert change_state(ros, "cleanup")
    assert (state(ros), claimed()) == ("unconfigured", False)
    answer = ros.call(SetBool, "/managed/rig/set_active", SetBool.Request(data=True))
    assert (answer.success, answer.message) == (
        False, "the rig is unconfigured: configure it first",
    )  # fmt: skip
    claims = Claims()
    claims.take("m0")
    claims.take("m1")
    assert not change_state(ros, "configure")  # somebody else has them
    assert state(ros) == "unconfigured"
    claims.release("m0")
    claims.release("m1")
    assert change_state(ros, "configure")
    assert change_state(ros, "activate")
    images = ros.collect(Image, "/managed/m1/image_raw", qos.images())
    ros.spin_until(lambda: images, what="images after a new configuration")
    assert change_state(ros, "deactivate")
    assert change_state(ros, "cleanup")
    assert change_state(ros, "shutdown")
    assert (state(ros), claimed()) == ("finalized", False)
