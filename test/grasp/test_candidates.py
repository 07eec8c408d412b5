"""Which poses serve a grasp, and which of them a planner takes when things stand in the way."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kinematic_cell import TABLE_HEIGHT_M, sawyer

from s3k_ros.grasp.arm.trajectory import JointTrajectory
from s3k_ros.grasp.arm.world import Scene, box
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import GraspGoal, Refusal, resolve
from s3k_ros.grasp.planning.candidates import Candidate, Target, by_tilt, candidates
from s3k_ros.grasp.planning.planner import ArmState, GraspPlan, GraspPlanner
from s3k_ros.grasp.planning.pose import uncertain_width
from s3k_ros.params.grasp import GraspParameters, RobotParameters

# Time for searches that a busy machine cannot use up. What is held plays a part where a test says.
GRASP = GraspParameters(
    planning_timeout_s=60.0, free_space_time_s=30.0, held_object_m=(0.0, 0.0, 0.0)
)
ROBOT = RobotParameters()
UPRIGHT = dataclasses.replace(GRASP, tilts_rad=(0.0,))
AT_HOME = ArmState.at_rest(np.array(ROBOT.home_rad))
SMALL = np.eye(3) * 0.004**2
LINE = np.array([0.06, 0.02, 0.0])


def goal(**fields) -> GraspGoal:
    result = resolve(GraspGoal(**{"keypoint": "paw", **fields}), GRASP, ROBOT)
    assert isinstance(result, GraspGoal)
    return result


def target(x=0.6, y=0.05, height=0.05, line=LINE, covariance=SMALL) -> Target:
    return Target(np.array([x, y, TABLE_HEIGHT_M + height]), covariance, line)


def planner(*boxes, parameters=GRASP) -> GraspPlanner:
    return GraspPlanner(sawyer(ROBOT.limit_margin_rad), parameters, ROBOT, Scene(boxes))


def found(covariance=SMALL, line=LINE, parameters=GRASP, **fields) -> list[Candidate]:
    result = candidates(goal(**fields), target(line=line, covariance=covariance), parameters, ROBOT)
    assert isinstance(result, list), result
    return result


def test_the_servers_approach_may_tilt_and_a_goals_own_does_not():
    upright, tilted = by_tilt(found())
    assert {abs(each.tilt) for each in tilted} == {0.26, 0.52}
    for each in (*upright, *tilted):
        angle = np.arccos(np.clip(-each.approach[2], -1, 1))
        assert angle == pytest.approx(abs(each.tilt), abs=1e-6)
    assert all(each.tilt == 0.0 for each in found(approach=(0.5, 0.0, -1.0)))
    assert all(each.tilt == 0.0 for each in found(parameters=UPRIGHT))


def test_a_tilt_about_the_jaws_keeps_their_axis():
    upright, tilted = by_tilt(found())
    axis = upright[0].pose.rotation[:, 1]
    kept = [each for each in tilted if abs(each.pose.rotation[:, 1] @ axis) > 1 - 1e-9]
    assert 0 < len(kept) < len(tilted)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0.0005, 0.03), min_size=3, max_size=3), st.floats(0.02, 0.085))
def test_every_candidate_holds_the_region_and_a_refusal_means_that_none_does(sigmas, opening):
    covariance = np.diag(np.square(sigmas))
    asked = goal(opening_width_m=opening)
    room = opening - GRASP.uncertainty_margin_m
    where = target(line=None, covariance=covariance)
    result = candidates(asked, where, GRASP, ROBOT)
    if isinstance(result, Refusal):
        assert result.code == GraspCode.TOO_UNCERTAIN
        # The narrowest way to see the region is its least axis: only near that may one be missed.
        assert (
            uncertain_width(covariance, [0, 0, 1]) > 0 and min(sigmas[:2]) * 2 * 2.795 > room * 0.9
        )
        return
    for each in result:
        assert uncertain_width(covariance, each.pose.rotation[:, 1]) <= room


def test_the_jaws_close_where_the_region_is_narrow():
    covariance = np.diag([0.012**2, 0.003**2, 0.003**2])
    best = min(found(covariance, line=None), key=lambda each: each.cost)
    assert abs(best.pose.rotation[1, 1]) > 0.9


def test_a_box_beside_the_keypoint_turns_the_free_yaw():
    beside = box("beside", (0.3, 0.02, 0.1), (0.6, 0.1, TABLE_HEIGHT_M + 0.05))
    open_yaw = target(line=None)
    free = planner().plan(goal(), open_yaw, AT_HOME)
    beyond = planner(beside).plan(goal(), open_yaw, AT_HOME)
    assert isinstance(free, GraspPlan) and isinstance(beyond, GraspPlan)
    # Its jaws close along the box now, not across.
    assert abs(beyond.grasp.rotation[1, 1]) < 0.5


def test_a_box_on_the_way_in_leads_to_a_tilt_or_to_a_refusal():
    lid = box("lid", (0.12, 0.12, 0.02), (0.715, 0.05, TABLE_HEIGHT_M + 0.16))
    straight = planner(lid, parameters=UPRIGHT).plan(goal(), target(), AT_HOME)
    assert isinstance(straight, Refusal) and straight.code == GraspCode.IN_COLLISION
    assert "lid" in straight.message
    tilted = planner(lid).plan(goal(), target(), AT_HOME)
    assert isinstance(tilted, GraspPlan) and "approach tilted by" in tilted.note, tilted


def test_a_box_over_the_keypoint_is_in_collision():
    roof = box("roof", (0.4, 0.4, 0.02), (0.65, 0.05, TABLE_HEIGHT_M + 0.12))
    result = planner(roof).plan(goal(), target(), AT_HOME)
    assert isinstance(result, Refusal) and result.code == GraspCode.IN_COLLISION, result


def test_closing_jaws_that_would_touch_something_are_refused():
    # Between the open jaws and lower than their tips: only the closed ones, longer, reach it.
    stud = box("stud", (0.05, 0.02, 0.05), (0.6, 0.05, TABLE_HEIGHT_M + 0.025))
    narrow = dataclasses.replace(UPRIGHT, obstacle_margin_m=0.0, grasp_depth_m=0.0)
    for height, free in ((0.06, False), (0.08, True)):
        result = planner(stud, parameters=narrow).plan(goal(), target(height=height), AT_HOME)
        assert isinstance(result, GraspPlan) == free, (height, result)
        if isinstance(result, Refusal):
            assert "closing jaws" in result.message


def test_a_lift_is_planned_with_what_will_be_held():
    ledge = box("ledge", (0.1, 0.06, 0.02), (0.6, 0.25, TABLE_HEIGHT_M + 0.18))
    long = dataclasses.replace(UPRIGHT, held_object_m=(0.4, 0.04, 0.04))
    across = target(line=np.array([0.0, 0.05, 0.0]))  # its long side lies along y
    assert isinstance(planner(ledge, parameters=UPRIGHT).plan(goal(), across, AT_HOME), GraspPlan)
    result = planner(ledge, parameters=long).plan(goal(), across, AT_HOME)
    assert isinstance(result, Refusal) and "what the hand holds would touch ledge" in result.message


def test_a_correction_keeps_a_tilted_hand_tilted():
    lid = box("lid", (0.12, 0.12, 0.02), (0.715, 0.05, TABLE_HEIGHT_M + 0.16))
    cell = planner(lid)
    plan = cell.plan(goal(), target(), AT_HOME)
    assert isinstance(plan, GraspPlan)
    state = ArmState(*plan.align.sample(0.6 * plan.align.duration))
    moved = target(x=0.592)
    corrected = cell.correct(goal(), moved, state)
    assert isinstance(corrected, GraspPlan), corrected
    assert np.abs(corrected.grasp.rotation - plan.grasp.rotation).max() < 1e-3
    assert isinstance(corrected.align, JointTrajectory)
