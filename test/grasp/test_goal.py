from __future__ import annotations

import math
import re

import pytest

from s3k_ros.errors import ConfigurationError
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import GraspGoal, Refusal, check_names, resolve
from s3k_ros.params.grasp import GraspParameters, RobotParameters

NUMBERS = (
    "approach_distance_m", "lift_height_m", "opening_width_m",
    "grip_force_n", "contact_force_limit_n", "min_confidence",
)  # fmt: skip


def resolved(**fields):
    goal = GraspGoal(**{"keypoint": "paw", **fields})
    return resolve(goal, GraspParameters(), RobotParameters())


def test_negative_values_mean_the_servers_parameters():
    goal = resolved()
    for name in NUMBERS:
        assert getattr(goal, name) == getattr(GraspParameters(), name)
    assert goal.approach == (0.0, 0.0, -1.0)


def test_given_values_stay_and_the_approach_becomes_a_unit_vector():
    goal = resolved(lift_height_m=0.05, min_confidence=0.0, approach=(3.0, 0.0, -4.0))
    assert goal.lift_height_m == 0.05 and goal.min_confidence == 0.0
    assert goal.approach == pytest.approx((0.6, 0.0, -0.8))


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e6])
def test_numbers_that_are_not_finite_or_too_large_are_invalid(name, value):
    refusal = resolved(**{name: value})
    assert isinstance(refusal, Refusal) and refusal.code == GraspCode.INVALID_GOAL
    assert name in refusal.message


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"keypoint": ""}, "empty"),
        ({"toward_keypoint": "paw"}, "differ"),
        ({"approach": (math.nan, 0.0, 0.0)}, r"approach\[0\]"),
        ({"offset": (0.0, math.inf, 0.0)}, r"offset\[1\]"),
        ({"offset": (0.0, 0.0, 0.5)}, "longer than"),
        ({"opening_width_m": 0.09}, "wider than the gripper"),
        ({"approach_distance_m": 0.0}, "0.02 to 0.3"),
    ],
)
def test_invalid_goals_say_what_is_wrong(fields, says):
    refusal = resolved(**fields)
    assert isinstance(refusal, Refusal) and refusal.code == GraspCode.INVALID_GOAL
    assert re.search(says, refusal.message)


def test_an_unknown_keypoint_names_the_valid_ones():
    names = ("head", "body")
    refusal = check_names(GraspGoal("tail"), "fox", names)
    assert refusal is not None and refusal.code == GraspCode.UNKNOWN_KEYPOINT
    assert "'tail'" in refusal.message and "head, body" in refusal.message
    toward = check_names(GraspGoal("head", toward_keypoint="ear"), "fox", names)
    assert toward is not None and toward.code == GraspCode.UNKNOWN_KEYPOINT
    assert check_names(GraspGoal("head", toward_keypoint="body"), "fox", names) is None


def test_another_object_than_the_running_models_is_invalid():
    refusal = check_names(GraspGoal("head", object_id="bear"), "fox", ("head",))
    assert refusal is not None and refusal.code == GraspCode.INVALID_GOAL
    assert "bear" in refusal.message and "fox" in refusal.message
    assert check_names(GraspGoal("head", object_id="fox"), "fox", ("head",)) is None


@pytest.mark.parametrize(
    "values",
    [
        {"approach": (0.0, 0.0, 0.0)},
        {"approach": (0.0, -1.0)},
        {"workspace_low_m": (1.0, 1.0, 1.0)},
        {"second_goal": "queue"},
        {"lift_height_m": math.nan},
    ],
)
def test_bad_parameters_are_refused(values):
    with pytest.raises(ConfigurationError):
        GraspParameters(**values)


def test_robot_parameters_of_another_number_of_joints_are_refused():
    with pytest.raises(ConfigurationError, match="home_rad"):
        RobotParameters(home_rad=(0.0,) * 6)
