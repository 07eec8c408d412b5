"""`s3k calibrate-wrench`: its postures, and the file that it writes."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation
from support.velocity_arm import HOME

from s3k_ros.control.calibration import Reading, condition, fit
from s3k_ros.control.wrench import ToolLoad
from s3k_ros.errors import UnsafeMotionError
from s3k_ros.geometry.se3 import Transform
from s3k_ros.params.admittance import ToolLoadParameters

GRAVITY = np.array([0.0, 0.0, -9.81])


@pytest.fixture
def calibrator():
    import rclpy

    from s3k_ros.ros import wrench_calibration

    parser = argparse.ArgumentParser()
    wrench_calibration.add_arguments(parser)
    rclpy.init(args=[], domain_id=101)
    node = wrench_calibration.Calibrator(parser.parse_args([]))
    yield node
    node.destroy_node()
    rclpy.try_shutdown()


def test_from_home_the_wrist_tilts_far_enough_and_touches_nothing(calibrator):
    postures = [HOME, *calibrator._plan(HOME, 35.0)]
    rotations = [calibrator._arm.forward(posture).rotation for posture in postures]
    assert len(postures) >= 5
    assert condition(rotations, GRAVITY) < 10.0


def test_small_tilts_and_low_hands_are_refused_before_anything_moves(calibrator):
    here = calibrator._arm.forward(HOME)
    low = calibrator._arm.solve(
        Transform(here.rotation, here.translation - np.array([0.0, 0.0, 0.2])), HOME
    )
    with pytest.raises(UnsafeMotionError, match="too alike"):
        calibrator._plan(HOME, 6.0)
    with pytest.raises(UnsafeMotionError, match="the table"):
        calibrator._plan(low, 35.0)


def test_the_written_file_gives_the_parameters_that_were_found():
    from s3k_ros.ros.wrench_calibration import text

    true = ToolLoad(np.arange(6.0), 1.5, np.array([0.01, -0.02, 0.05]), GRAVITY)
    turns = Rotation.from_euler("xy", [(0, 0), (0.5, 0), (-0.5, 0), (0, 0.5)]).as_matrix()
    readings = [Reading(turn, true.bias + true.weight(turn)) for turn in turns]
    content = yaml.safe_load(text(fit(readings, GRAVITY)))
    values = content["/**/admittance_controller"]["ros__parameters"]
    names = {name.removeprefix("wrench."): value for name, value in values.items()}
    load = ToolLoad.from_parameters(ToolLoadParameters.from_mapping(names))
    assert load.mass_kg == pytest.approx(1.5)
    np.testing.assert_allclose(load.com_m, true.com_m, atol=1e-5)
    np.testing.assert_allclose(load.bias, true.bias, atol=1e-4)
