from __future__ import annotations

import numpy as np
import pytest
from support.kinematic_cell import TABLE_HEIGHT_M, sawyer, task_planner

from s3k_ros.grasp.arm.trajectory import exceeded
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import PlaceGoal, Refusal, ReleaseGoal, resolve
from s3k_ros.grasp.planning.place_planner import PlacePlan, kept_yaws
from s3k_ros.grasp.planning.planner import ArmState, Target
from s3k_ros.grasp.planning.ways_back import RetractGoal, RetreatGoal, RetreatPlan
from s3k_ros.params.grasp import GraspParameters, RobotParameters

GRASP, ROBOT = GraspParameters(), RobotParameters()
SPOT = np.array([0.55, -0.25, TABLE_HEIGHT_M + 0.04])
HOME = ArmState.at_rest(np.array(ROBOT.home_rad))
SHARP = np.zeros((3, 3))


@pytest.fixture(scope="module")
def planner():
    return task_planner(GRASP, ROBOT)


def place(planner, position=SPOT, covariance=SHARP, start=HOME, line=None, **fields):
    goal = resolve(PlaceGoal(position=tuple(position), **fields), GRASP, ROBOT)
    return planner.plan(goal, Target(np.array(position), covariance, line), start)


def hands(trajectory) -> np.ndarray:
    arm = sawyer()
    return np.array([arm.forward(q).translation for q in trajectory.positions])


def test_the_parts_of_a_place_join_and_the_straight_ones_are_straight(planner):
    plan = place(planner)
    assert isinstance(plan, PlacePlan), plan
    assert np.allclose(plan.transfer.positions[0], HOME.position)
    assert np.allclose(plan.transfer.end, plan.lower.positions[0], atol=1e-6)
    assert np.allclose(plan.lower.end, plan.retreat.positions[0], atol=1e-6)
    for part in (plan.lower, plan.retreat):
        assert np.abs(hands(part)[:, :2] - SPOT[:2]).max() < 0.5e-3
    assert np.abs(hands(plan.lower)[-1] - SPOT).max() < 1e-4
    assert np.abs(hands(plan.retreat)[-1] - SPOT - [0, 0, GRASP.retreat_distance_m]).max() < 1e-4


def test_every_part_keeps_the_arms_limits(planner):
    plan = place(planner, until_contact=True)
    limits = planner._places._motion.limits
    for part in (plan.transfer, plan.lower, plan.retreat):
        assert not exceeded(part, limits)


def test_a_place_that_stays_has_no_way_back(planner):
    assert place(planner, retreat_distance_m=0.0).retreat is None


def test_a_wide_region_is_too_uncertain_and_a_narrow_one_is_not(planner):
    assert isinstance(place(planner, covariance=np.eye(3) * 0.004**2), PlacePlan)
    refusal = place(planner, covariance=np.diag([0.0, 0.03**2, 0.0]))
    assert isinstance(refusal, Refusal) and refusal.code == GraspCode.TOO_UNCERTAIN


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"position": (0.55, -0.64, 0.66)}, GraspCode.OUTSIDE_WORKSPACE),  # above it
        ({"position": (0.99, 0.6, 0.3)}, GraspCode.UNREACHABLE),
        ({"position": (1e200, 0.0, 0.0)}, GraspCode.OUTSIDE_WORKSPACE),
    ],
)
def test_places_out_of_reach_are_refused(planner, fields, code):
    refusal = place(planner, **fields)
    assert isinstance(refusal, Refusal) and refusal.code == code, refusal


def test_yaws_are_tried_from_the_nearest_to_the_opposite():
    here = np.diag([1.0, -1.0, -1.0])
    tilted = here @ np.array([[1, 0, 0], [0, 0.98, -0.199], [0, 0.199, 0.98]])
    rotations = kept_yaws((0.0, 0.0, -1.0), tilted)
    turns = [float(np.arccos(np.clip((np.trace(r.T @ here) - 1) / 2, -1, 1))) for r in rotations]
    assert turns[0] < 1e-6 and np.allclose(turns, sorted(turns)) and turns[-1] > 3.1
    for r in rotations:
        assert np.allclose(r.T @ r, np.eye(3)) and np.allclose(r[:, 2], [0, 0, -1])


def test_a_hand_that_comes_sideways_keeps_the_axis_that_it_can():
    for approach in np.random.default_rng(0).normal(size=(50, 3)):
        for here in (np.eye(3), np.diag([1.0, -1.0, -1.0])):
            for r in kept_yaws(approach, here):
                assert np.allclose(r.T @ r, np.eye(3)) and np.linalg.det(r) > 0.9
                assert r[:, 2] @ approach > 0.99 * np.linalg.norm(approach)


# -- ways back ---------------------------------------------------------------------------------


def trail(length: int = 40) -> np.ndarray:
    """(T, n) rad, the newest last: out from home and bent."""
    along = np.linspace(0.0, 1.0, length)[:, None]
    bend = np.array([0.4, 0.3, 0.0, -0.2, 0.0, 0.1, 0.5])
    return HOME.position + along * bend + along**2 * bend[::-1] * 0.3


@pytest.mark.parametrize("distance", [0.01, 0.05, 0.2])
def test_a_retract_goes_back_along_the_trail_and_no_further(planner, distance):
    path = trail()
    plan = planner.plan(RetractGoal(path, distance), None, ArmState.at_rest(path[-1]))
    assert isinstance(plan, RetreatPlan)
    assert np.allclose(plan.retreat.positions[0], path[-1])
    away = np.array([np.abs(path - q).max(axis=1).min() for q in plan.retreat.positions])
    assert away.max() < 0.03  # between two points of the trail
    gone = np.linalg.norm(hands(plan.retreat)[-1] - hands(plan.retreat)[0])
    assert 0.5 * distance < gone < distance + 1e-6
    steps = np.linalg.norm(np.diff(hands(plan.retreat), axis=0), axis=1)
    assert (steps / np.diff(plan.retreat.times)).max() < 1.1 * GRASP.retract_speed_m_s
    assert np.abs(plan.retreat.velocities[[0, -1]]).max() < 1e-6


def test_a_retract_ends_where_the_trail_begins(planner):
    path = trail()[-4:]
    plan = planner.plan(RetractGoal(path, 0.2), None, ArmState.at_rest(path[-1]))
    assert np.allclose(plan.retreat.end, path[0], atol=1e-6)


def test_without_a_trail_there_is_no_way_back(planner):
    here = HOME.position[None]
    refusal = planner.plan(RetractGoal(here, 0.05), None, HOME)
    assert isinstance(refusal, Refusal) and "nowhere" in refusal.message


def test_a_retreat_goes_straight_back_along_the_hand_or_as_told(planner):
    plan = place(planner)
    start = ArmState.at_rest(plan.lower.end)
    back = planner.plan(RetreatGoal(0.08), None, start)
    assert np.abs(hands(back.retreat)[-1] - SPOT - [0, 0, 0.08]).max() < 1e-3
    aside = planner.plan(RetreatGoal(0.05, (0.0, 1.0, 0.0)), None, start)
    assert np.abs(hands(aside.retreat)[-1] - SPOT - [0, 0.05, 0]).max() < 1e-3


def test_a_release_is_planned_with_less_room_than_it_asks_for(planner):
    start = ArmState.at_rest(
        sawyer().solve(place(planner, position=(0.55, -0.25, 0.42)).pose, HOME.position)
    )
    goal = resolve(ReleaseGoal(retreat_distance_m=0.3), GRASP, ROBOT)
    plan = planner.plan(goal, None, start)
    assert isinstance(plan, RetreatPlan) and "mm only: end of the way back" in plan.note
