"""The example's decisions, with a cell that answers as it is told."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from s3k_ros.client import GraspCode, Holding, Keypoint, KeypointStatus, TaskResult

PATH = Path(__file__).parents[2] / "examples" / "clear_toys.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("clear_toys", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["clear_toys"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def result(code: GraspCode = GraspCode.SUCCESS, held: bool = False) -> TaskResult:
    holding = Holding.HOLDING if held else Holding.NOT_HOLDING
    return TaskResult(code, "as told", "verify", holding, 0.02)


HELD = result(held=True)


class Told:
    """Answers of the cell, in order; HELD and success when there are no more."""

    def __init__(self, grasps=(), places=()) -> None:
        self.grasps, self.places, self.calls = list(grasps), list(places), []

    def load_model(self, path):
        self.calls.append(("model", Path(path).stem))

    def keypoints(self):
        at = {"corner_a": (0.5, 0.0, 0.0), "corner_b": (0.7, 0.1, 0.0), "body": (0.6, 0.0, 0.0)}
        return {
            name: Keypoint(name, np.array(p), np.eye(3), 1.0, KeypointStatus.OK)
            for name, p in at.items()
        }

    def grasp(self, keypoint, toward, *, object_id, offset, lift_height_m, on_progress):
        self.calls.append(("grasp", object_id, keypoint))
        return self.grasps.pop(0) if self.grasps else HELD

    def place(self, at, *, approach_distance_m, until_contact, on_progress):
        self.calls.append(("place", tuple(at)))
        return self.places.pop(0) if self.places else result()

    def release(self):
        self.calls.append(("release",))
        return result()

    def grasped_at(self):
        return [call[2] for call in self.calls if call[0] == "grasp"]


def test_three_toys_are_grasped_by_their_own_models_and_placed(example):
    cell = Told()
    ids = [toy.object_id for toy in example.TOYS]
    assert example.clear(cell, example.TOYS, example.BIN) == ids
    kinds = [call[0] for call in cell.calls]
    assert kinds == ["model", "grasp", "place"] * 3
    assert [call[1] for call in cell.calls if call[0] == "grasp"] == ids


def test_a_stiff_toy_is_placed_by_its_middle_and_a_limp_one_by_the_grip(example):
    box, _, fox = example.TOYS
    cell = Told()
    example.clear(cell, [box, fox], (0.5, 0.5, 0.0))
    places = [call[1] for call in cell.calls if call[0] == "place"]
    assert places[0] == pytest.approx((0.5 - 0.1, 0.5 - 0.06 - 0.1 / 3, 0.0))
    assert places[1] == (0.5, 0.5, 0.0)


def test_a_keypoint_out_of_reach_gives_way_to_the_next(example):
    fox = example.TOYS[2]
    cell = Told(grasps=[result(GraspCode.UNREACHABLE)])
    assert example.clear(cell, [fox], example.BIN) == ["plush_fox"]
    assert cell.grasped_at() == [fox.grips[0][0], fox.grips[1][0]]


def test_a_slip_is_tried_again_at_another_keypoint(example):
    fox = example.TOYS[2]
    cell = Told(grasps=[result(GraspCode.SLIPPED)])
    assert example.clear(cell, [fox], example.BIN) == ["plush_fox"]
    assert cell.grasped_at() == [fox.grips[0][0], fox.grips[1][0]]


def test_what_cannot_be_placed_is_let_go(example):
    box = example.TOYS[0]
    cell = Told(places=[result(GraspCode.UNREACHABLE, held=True)] * 9)
    assert example.clear(cell, [box], example.BIN) == []
    assert [call[0] for call in cell.calls].count("release") == example.TRIES


def test_a_result_that_asks_for_a_person_stops_everything(example):
    cell = Told(grasps=[result(GraspCode.EMERGENCY_STOP)])
    with pytest.raises(example.SeriousError, match="EMERGENCY_STOP"):
        example.clear(cell, example.TOYS, example.BIN)
    assert cell.grasped_at() == [example.TOYS[0].grips[0][0]]


@pytest.mark.parametrize("number", range(3))
def test_models_and_keypoints_of_the_example_exist(example, number):
    toy = example.TOYS[number]
    from s3k_ros.perception.model_file import read_description

    description = read_description(PATH.parents[1] / toy.model)
    assert description.object_id == toy.object_id
    assert {name for grip in toy.grips for name in grip} <= set(description.keypoints)
