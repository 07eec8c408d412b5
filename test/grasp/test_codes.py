from __future__ import annotations

import re
from pathlib import Path

import pytest

from s3k_ros.grasp.codes import GraspCode, Holding, KeypointStatus
from s3k_ros.grasp.tasks.state import GraspState, PlaceState, ReleaseState

ROOT = Path(__file__).parents[2]


def constants(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"^uint8 ([A-Z_]+)=(\d+)", text, re.M)}


def test_codes_equal_the_constants_of_the_action():
    action = constants((ROOT / "action" / "GraspAtKeypoint.action").read_text())
    holding = {item.name: item.value for item in Holding}
    assert action == {item.name: item.value for item in GraspCode} | holding


def test_keypoint_statuses_equal_the_constants_of_the_message():
    message = constants((ROOT / "msg" / "Keypoint3D.msg").read_text())
    assert message == {item.name: item.value for item in KeypointStatus}


@pytest.mark.parametrize(
    ("action", "state", "phases"),
    [
        ("GraspAtKeypoint", GraspState, "observe, approach, align, close, lift or verify"),
        ("PlaceAt", PlaceState, "observe, transfer, lower, release or retreat"),
        ("Release", ReleaseState, "release or retreat"),
    ],
)
def test_phases_are_those_that_the_actions_document(action, state, phases):
    text = (ROOT / "action" / f"{action}.action").read_text()
    assert text.count(phases) == 2  # of the result and of the feedback
    spans = state.SPANS
    assert [phase.value for phase in spans] == re.split(", | or ", phases)
    ends = [0.0, *(end for _, end in spans.values())]
    assert ends == [*(start for start, _ in spans.values()), 1.0]
