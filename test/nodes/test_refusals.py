"""Bad parameters, model files and calibrations stop a node with exit code 2 and one clear line."""

from __future__ import annotations

import signal

import onnx
import pytest
import yaml
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.parameter import Parameter
from support.synthetic_model import write_model

from s3k_ros.calibration.rig_file import rig_text
from s3k_ros.simulation.rig import demo_rig

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A good model file and its broken copies."""
    folder = tmp_path_factory.mktemp("models")
    good = folder / "good.onnx"
    write_model(good)
    bare = onnx.load(good)
    del bare.metadata_props[:]
    onnx.save(bare, folder / "bare.onnx")
    return folder


# One of a kind: what else can be wrong with a value or a model file is tested without nodes.
BAD_STARTS = {
    "missing model": ("keypoint_detector", {"model": "{models}/none.onnx"}, "none.onnx"),
    "model without metadata": ("keypoint_detector", {"model": "{models}/bare.onnx"}, "metadata"),
    "other keypoints": (
        "keypoint_detector",
        {"model": "{models}/good.onnx", "keypoints": ["nose", "tail"]},
        "['nose', 'tail']",
    ),
    "nan": ("keypoint_detector", {"slop_s": ".nan"}, "slop_s = nan must be finite"),
    "over range of a library": (
        "triangulator",
        {"model": "{models}/good.onnx", "triangulation.min_confidence": 1.5},
        "min_confidence = 1.5",
    ),
    "unknown key": (
        "keypoint_detector",
        {"model": "{models}/good.onnx", "slop": 0.01},
        "unknown parameter 'slop'; valid: slop_s",
    ),
    "bad rig": ("rig_description", {"rig": "{models}/rig.yaml"}, "camera 'cam': matrix is missing"),
}


@pytest.fixture(scope="module")
def bad_starts(models, start_node):
    """All bad starts at once, each in its own namespace."""
    (models / "rig.yaml").write_text(
        "{base_frame: base, cameras: {cam: {frame: f, width: 1, height: 1}}}"
    )
    started = {}
    for number, (claim, (node, params, _)) in enumerate(BAD_STARTS.items()):
        filled = {
            k: v.replace("{models}", str(models)) if isinstance(v, str) else v
            for k, v in params.items()
        }
        started[claim] = start_node(node, filled, f"/bad{number}")
    return started


@pytest.mark.parametrize("claim", BAD_STARTS)
def test_bad_start_is_refused_with_its_reason(bad_starts, claim):
    process = bad_starts[claim]
    assert process.wait() == 2, process.output
    assert BAD_STARTS[claim][2] in process.output
    assert "Traceback" not in process.output


@pytest.fixture(scope="module")
def detector(models, start_node):
    return start_node("keypoint_detector", {"model": models / "good.onnx"}, "/good")


def set_parameter(ros, name, value):
    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    answer = ros.call(SetParameters, "/good/keypoint_detector/set_parameters", request)
    return answer.results[0]


@pytest.mark.parametrize("value", [float("nan"), 7.0])
def test_bad_change_of_a_parameter_is_refused_with_its_reason(ros, detector, value):
    result = set_parameter(ros, "overlay_scale", value)
    assert not result.successful
    assert "overlay_scale" in result.reason


def test_good_change_of_a_parameter_is_taken(ros, detector):
    assert set_parameter(ros, "overlay_scale", 0.5).successful


def test_read_only_parameter_cannot_change(ros, detector):
    result = set_parameter(ros, "slop_s", 0.01)
    assert not result.successful
    assert "read-only" in result.reason


def test_parameters_describe_themselves(ros, detector):
    request = DescribeParameters.Request(names=["slop_s"])
    answer = ros.call(DescribeParameters, "/good/keypoint_detector/describe_parameters", request)
    descriptor = answer.descriptors[0]
    assert "exposure" in descriptor.description
    assert descriptor.floating_point_range[0].from_value == pytest.approx(1e-4)
    assert descriptor.read_only


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_node_cleanly(start_node, tmp_path, number):
    rig = tmp_path / "rig.yaml"
    rig.write_text(rig_text(demo_rig(), "base"))
    process = start_node("rig_description", {"rig": rig}, f"/signal{int(number)}")
    process.wait_until_ready()
    assert process.stop(number) == 0, process.output
    assert "Traceback" not in process.output


def test_example_rig_is_that_of_the_simulated_cell():
    from s3k_ros.ros.resources import find_file

    text = find_file("config/rig.yaml").read_text()
    wanted = yaml.safe_load(rig_text(demo_rig(), "base"))
    assert rounded(yaml.safe_load(text)) == rounded(wanted)


def rounded(value):
    """Numbers to a nanometre: processors differ in the last digits."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return round(value, 9) + 0.0 if isinstance(value, float) else value
