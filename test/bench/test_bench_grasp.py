"""`s3k bench grasp`: one grasp for real, and how many are counted."""

from __future__ import annotations

import argparse
import dataclasses

import pytest

from s3k_ros.bench import grasp
from s3k_ros.bench.grasp_trials import CONDITIONS, Trial, Tried

pytestmark = pytest.mark.sim


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    grasp.add_arguments(parser)
    return parser.parse_args(words)


def made_up(number: int, condition: str = "nominal", **changes) -> Tried:
    tried = Tried(
        trial=Trial("fox", condition, 0, number), code="SUCCESS", message="holding", lifted=True,
        said_holding=True, rise_m=0.14, seconds=7.0, off_mm=3.0, touches=(), looks=20,
        wall_s=4.0, cpu_s=4.0,
    )  # fmt: skip
    return dataclasses.replace(tried, **changes)


def test_one_grasp_of_the_box_with_perception_in_the_loop():
    words = ("--trials", "1", "--workers", "1", "--objects", "box", "--conditions", "nominal")
    result = grasp.run(arguments(*words, "--seed", "1000"))
    figures = result.figures["box"]["nominal"]
    assert figures["lifted_percent"] == 100.0 and figures["failures"] == {}
    assert figures["keypoint_off_mm"]["median"] < 10.0
    assert 3.0 < figures["seconds"]["median"] < 12.0
    names = [target.name for target in result.targets]
    assert names == [
        "box held and lifted, nominal", "box: median time per grasp",
        "grasps with a collision, all conditions",
    ]  # fmt: skip
    assert result.targets[0].passed and result.targets[2].passed


def test_truth_decides_and_failures_are_listed_by_cause(tmp_path, monkeypatch):
    touch = "sawyer/robotiq_fts300/robotiq_2f85/left_pad on table at 5.10 s"
    tried = [
        made_up(0),
        made_up(1, lifted=False, rise_m=0.0),  # dropped after a SUCCESS
        made_up(2, lifted=False, code="MISSED", message="closed on nothing", said_holding=False),
        made_up(3, touches=(touch,), seconds=9.5),
        *(made_up(number, "camera_dead") for number in range(4)),
    ]
    monkeypatch.setattr(grasp, "_attempts", lambda trials, workers: iter(tried))
    words = ("--trials", "4", "--objects", "fox", "--conditions", "nominal", "camera_dead")
    picture = tmp_path / "pictures" / "grasp.png"
    result = grasp.run(arguments(*words, "--picture", str(picture)))
    nominal = result.figures["fox"]["nominal"]
    assert nominal["lifted_percent"] == 50.0 and nominal["verdict_wrong"] == 1
    assert nominal["failures"] == {"LOST_AFTER_SUCCESS": 1, "MISSED": 1}
    assert "closed on nothing" in nominal["failed_scenes"][1]
    assert result.figures["collisions"] == {"grasps": 1, "table": 1}
    passed = {target.name: target.passed for target in result.targets}
    assert passed == {
        "fox held and lifted, nominal": False,
        "fox held and lifted, camera_dead": True,
        "fox: median time per grasp": True,
        "grasps with a collision, all conditions": False,
    }
    assert picture.stat().st_size > 10_000


def test_scenes_are_the_same_in_all_conditions_and_differ_otherwise():
    seeds = {Trial("fox", condition, 0, 5).scene_seed for condition in CONDITIONS}
    others = {Trial(what, "nominal", s, n).scene_seed
              for what in ("fox", "box") for s in (0, 1000) for n in (5, 6)}  # fmt: skip
    assert len(seeds) == 1 and len(others) == 8 and seeds < others
