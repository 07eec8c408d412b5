from __future__ import annotations

import re
from pathlib import Path

from s3k_ros.grasp.codes import GraspCode, Holding, KeypointStatus, Phase

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


def test_phases_are_those_that_the_action_documents():
    text = (ROOT / "action" / "GraspAtKeypoint.action").read_text()
    assert "observe, approach, align, close, lift or verify" in text
    assert [phase.value for phase in Phase][1:] == [
        "observe", "approach", "align", "close", "lift", "verify",
    ]  # fmt: skip
