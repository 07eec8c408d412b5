from __future__ import annotations

import numpy as np
import pytest
from support.kinematic_cell import TABLE_HEIGHT_M, sawyer

from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.arm.collision import CollisionModel, Terms
from s3k_ros.params.grasp import RobotParameters

HOME = np.array(RobotParameters().home_rad)
DOWN = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
# Postures of the vendor's driver: the first stands free, the second is folded onto its pedestal.
NEUTRAL = np.array([0.0, -1.18, 0.0, 2.18, 0.0, 0.57, 3.3161])
SHIPPING = np.array([0.0, -1.57, 0.0, 2.79, 0.0, -2.79, 3.3161])


@pytest.fixture(scope="module")
def model():
    return CollisionModel(sawyer(), HOME, TABLE_HEIGHT_M)


def over_table(height: float) -> np.ndarray:
    arm = sawyer()
    joints = arm.solve(Transform(DOWN, np.array([0.6, 0.1, TABLE_HEIGHT_M + height])), HOME)
    assert joints is not None
    return joints


def test_usual_postures_are_free(model):
    assert model.first_collision(np.stack([HOME, NEUTRAL, np.zeros(7)])) is None


def test_a_folded_arm_touches_itself(model):
    hit = model.first_collision(np.stack([HOME, SHIPPING]))
    assert hit is not None and hit.index == 1
    assert {hit.first, hit.second} == {"right_l0", "right_l4"}


def test_a_hand_below_the_table_touches_it(model):
    assert model.first_collision(over_table(0.01)) is None
    hit = model.first_collision(over_table(-0.02))
    assert hit is not None and hit.second == "the table"
    assert str(hit) == "robotiq_85_left_finger_tip_link would touch the table"


def test_clearance_raises_the_table_for_that_check_alone(model):
    joints = over_table(0.05)
    assert model.first_collision(joints) is None
    assert model.first_collision(joints, Terms(over_table_m=0.06)) is not None
    assert model.first_collision(joints) is None


def test_hand_clearance_is_the_height_of_the_open_fingertips(model):
    # The tips of the open jaws reach 2 mm past the TCP in the description.
    assert model.hand_clearance(over_table(0.10)) == pytest.approx(0.098, abs=1e-3)


def test_a_shoulder_that_stands_in_the_table_at_home_may_and_a_hand_may_not():
    high = CollisionModel(sawyer(), HOME, 0.05)  # right_l0 reaches down to 0.02 m
    assert high.first_collision(HOME) is None
    assert CollisionModel(sawyer(), HOME, 0.1).first_collision(HOME).first.startswith("robotiq")
