"""The table of advice: whole, and about parameters that exist."""

from __future__ import annotations

import re

import pytest

from s3k_ros.grasp.advice import ADVICE
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.params.grasp import GraspParameters, GraspServerParameters, RobotParameters


@pytest.mark.parametrize("code", GraspCode, ids=lambda code: code.name)
def test_every_code_has_advice_that_names_parameters_that_exist(code):
    advice = ADVICE[code]
    known = {
        "grasp": {info.name for info in GraspParameters.describe()},
        "robot": {info.name for info in RobotParameters.describe()},
    }
    for prefix, name in re.findall(r"`(grasp|robot)\.(\w+)", f"{advice.cause} {advice.remedy}"):
        assert name in known[prefix]
    assert advice.cause.endswith(".") and advice.remedy.endswith((".", "?"))


def test_topics_and_actions_in_the_advice_are_parameters_of_the_server():
    names = {info.name for info in GraspServerParameters.describe()}
    assert {"arm_action", "gripper_action", "joint_states", "wrench"} <= names
