"""Moves around obstacles, with and without something in the hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kinematic_cell import TABLE_HEIGHT_M, sawyer

from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.arm.collision import CollisionModel, Terms
from s3k_ros.grasp.arm.trajectory import JointTrajectory
from s3k_ros.grasp.arm.world import Scene, Wall, box
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import Refusal
from s3k_ros.grasp.planning.motion import OPEN_HAND, ArmState, Hand, MotionPlanner, Posture
from s3k_ros.params.grasp import GraspParameters, RobotParameters

# Time for searches that a busy machine cannot use up.
GRASP = GraspParameters(planning_timeout_s=60.0, free_space_time_s=30.0)
ROBOT = RobotParameters()
HOME = np.array(ROBOT.home_rad)
DOWN = np.diag([1.0, -1.0, -1.0])
DIVIDER = box("divider", (0.5, 0.03, 0.35), (0.65, 0.0, TABLE_HEIGHT_M + 0.175))
UP = np.array([0.0, 0.0, 1.0])


def planner(*boxes, **grasp) -> MotionPlanner:
    return MotionPlanner(sawyer(), dataclasses.replace(GRASP, **grasp), ROBOT, Scene(boxes))


def posture(motion, x, y, height) -> Posture:
    pose = Transform(DOWN, np.array([x, y, TABLE_HEIGHT_M + height]))
    return next(motion.postures([pose], HOME))


def assert_free(boxes, trajectory, hand=OPEN_HAND, margin=0.0):
    """By a model of its own, at every 2 ms, and a trajectory that never jumps."""
    model = CollisionModel(sawyer(), HOME, TABLE_HEIGHT_M, Scene(boxes), ROBOT)
    times = np.arange(0.0, trajectory.duration, 0.002)
    path = np.array([trajectory.sample(time)[0] for time in times])
    assert np.abs(np.diff(path, axis=0)).max() < 0.01
    assert model.first_collision(path, Terms(hand, margin_m=margin)) is None


def test_a_wall_between_start_and_goal_is_planned_around():
    motion = planner(DIVIDER)
    a, b = (posture(motion, 0.6, y, 0.15).joints for y in (-0.25, 0.25))
    direct = motion.free(ArmState.at_rest(a), b, around=False)
    assert isinstance(direct, Refusal) and direct.code == GraspCode.IN_COLLISION
    assert "divider" in direct.message
    around = motion.free(ArmState.at_rest(a), b)
    assert isinstance(around, JointTrajectory), around
    assert np.allclose(around.positions[0], a) and np.allclose(around.end, b, atol=1e-6)
    assert np.abs(around.velocities[[0, -1]]).max() < 1e-6
    assert_free((DIVIDER,), around, margin=0.5 * GRASP.obstacle_margin_m)


def test_the_same_question_has_the_same_answer():
    answers = []
    for _ in range(2):
        motion = planner(DIVIDER)
        a, b = (posture(motion, 0.6, y, 0.15).joints for y in (-0.25, 0.25))
        answers.append(motion.free(ArmState.at_rest(a), b).positions)
    answers.append(motion.free(ArmState.at_rest(a), b).positions)
    assert np.array_equal(answers[0], answers[1]) and np.array_equal(answers[0], answers[2])


def test_a_moving_arm_stops_before_it_goes_around():
    motion = planner(DIVIDER)
    a, b, c = (posture(motion, 0.6, y, 0.15).joints for y in (-0.35, -0.2, 0.25))
    first = motion.free(ArmState.at_rest(a), b)
    state = ArmState(*first.sample(0.4 * first.duration))
    assert state.moving
    around = motion.free(state, c)
    assert isinstance(around, JointTrajectory), around
    assert np.allclose(around.velocities[0], state.velocity)
    assert np.abs(around.velocities[1:-1]).max(axis=1).min() < 1e-3  # it stands still in between
    assert_free((DIVIDER,), around)


def test_what_is_held_hits_a_box_that_the_bare_hand_passes():
    low = box("low box", (0.2, 0.1, 0.1), (0.6, 0.0, TABLE_HEIGHT_M + 0.05))
    motion = planner(low, transit_clearance_m=0.0)
    a, b = (posture(motion, 0.6, y, 0.15).joints for y in (-0.25, 0.25))
    bare = motion.free(ArmState.at_rest(a), b, around=False)
    assert isinstance(bare, JointTrajectory), bare
    laden = motion.free(ArmState.at_rest(a), b, Hand(held_m=(0.06, 0.06, 0.2)), around=False)
    assert isinstance(laden, Refusal) and laden.code == GraspCode.IN_COLLISION
    assert "what the hand holds would touch low box" in laden.message
    carried = motion.free(ArmState.at_rest(a), b, Hand(held_m=(0.06, 0.06, 0.2)))
    assert isinstance(carried, JointTrajectory), carried
    assert_free((low,), carried, Hand(held_m=(0.06, 0.06, 0.2)))


def test_what_is_held_may_leave_what_it_stands_on_and_nothing_else():
    ledge = box("ledge", (0.1, 0.06, 0.02), (0.6, 0.2, TABLE_HEIGHT_M + 0.2))
    held = Hand(held_m=(0.05, 0.4, 0.1))  # its lower half stands in the table
    motion = planner(ledge)
    low = posture(motion, 0.6, 0.0, 0.03)
    for hand, distance, free in ((Hand(), 0.25, True), (held, 0.05, True), (held, 0.25, False)):
        result = motion.straight("way up", low, UP, distance, hand)
        assert isinstance(result, JointTrajectory) == free, result
    assert isinstance(result, Refusal) and "what the hand holds would touch ledge" in result.message


def test_a_hand_nearer_to_a_box_than_the_margin_may_leave_and_not_come():
    beside = box("beside", (0.1, 0.02, 0.1), (0.6, 0.098, TABLE_HEIGHT_M + 0.1))  # 8 mm away
    motion = planner(beside)
    low = posture(planner(), 0.6, 0.0, 0.1)
    assert isinstance(motion.straight("way back", low, UP, 0.1), JointTrajectory)
    result = motion.straight("way in", low, UP, 0.1, inwards=True)
    assert isinstance(result, Refusal) and result.code == GraspCode.IN_COLLISION


def test_narrow_jaws_pass_where_wide_ones_touch():
    motion = planner(box("post", (0.02, 0.02, 0.08), (0.6, 0.06, TABLE_HEIGHT_M + 0.04)))
    pose = Transform(DOWN, np.array([0.6, 0.0, TABLE_HEIGHT_M + 0.06]))
    joints = next(planner().postures([pose], HOME)).joints
    wide = motion.touches("grasp", joints, Hand(0.085))
    assert wide is not None and "finger_tip_link would touch post" in wide.message
    assert motion.touches("grasp", joints, Hand(0.02)) is None


def test_the_hand_stays_in_the_workspace_all_the_way():
    # Both ends lie inside; a turn of the whole arm between them would leave it.
    far, near = (0.9, 0.35), (0.9, -0.35)
    free = planner()
    a, b = (posture(free, *at, 0.3).joints for at in (far, near))
    usual = free.free(ArmState.at_rest(a), b, around=False)
    reached = max(free.arm.position(q)[0] for q in usual.positions)
    assert reached > 0.93
    motion = planner(workspace_high_m=(0.92, 0.65, 0.7))
    direct = motion.free(ArmState.at_rest(a), b, around=False)
    assert isinstance(direct, Refusal) and direct.code == GraspCode.OUTSIDE_WORKSPACE
    around = motion.free(ArmState.at_rest(a), b)
    assert isinstance(around, JointTrajectory), around
    assert max(motion.arm.position(q)[0] for q in around.positions) < 0.922


def test_an_arm_outside_the_workspace_may_come_back():
    motion = planner(workspace_low_m=(0.4, -0.65, -0.2))  # home lies at x = 0.33 m
    inside = posture(planner(), 0.6, 0.1, 0.2).joints
    assert isinstance(motion.free(ArmState.at_rest(HOME), inside), JointTrajectory)


def test_straight_ways_near_a_singularity_are_refused():
    strict = MotionPlanner(sawyer(), GRASP, dataclasses.replace(ROBOT, singularity_margin=0.2))
    result = strict.straight("way up", posture(planner(), 0.6, 0.0, 0.1), UP, 0.1)
    assert isinstance(result, Refusal) and result.code == GraspCode.UNREACHABLE
    assert "singularity" in result.message


def test_a_scene_that_home_stands_in_is_refused_by_name():
    with pytest.raises(ConfigurationError, match=r"home_rad.*would touch locker"):
        planner(box("locker", (0.2, 0.2, 0.2), (0.33, 0.16, 0.2)))
    wall = Wall("behind", np.array([0.2, 0.0, 0.0]), np.array([1.0, 0.0, 0.0]))
    with pytest.raises(ConfigurationError, match="behind"):
        MotionPlanner(sawyer(), GRASP, ROBOT, Scene(walls=(wall,)))


def test_postures_keep_clear_of_limits_singularities_and_obstacles():
    motion = planner()
    pose = Transform(DOWN, np.array([0.6, 0.1, TABLE_HEIGHT_M + 0.2]))
    found = list(motion.postures([pose], HOME))
    beside = box("beside", (0.02, 0.3, 0.3), (0.5, 0.1, TABLE_HEIGHT_M + 0.3))
    near = {tuple(p.joints.round(6)): p.cost for p in planner(beside).postures([pose], HOME)}
    assert all(near[tuple(p.joints.round(6))] >= p.cost for p in found)
    assert any(near[tuple(p.joints.round(6))] > p.cost for p in found)


joints = st.lists(st.floats(-0.4, 0.4), min_size=7, max_size=7).map(np.array)


@settings(deadline=None, max_examples=25)
@given(st.lists(joints, min_size=2, max_size=5))
def test_no_point_of_the_arm_moves_further_than_the_step_between_two_checks(corners):
    guard = MOTION._guard
    fine = guard.spaced(HOME + np.array(corners))
    assert np.allclose(fine[0], HOME + corners[0]) and np.allclose(fine[-1], HOME + corners[-1])
    tips = np.array([MOTION.arm.position(q) for q in fine])
    assert np.linalg.norm(np.diff(tips, axis=0), axis=1).max() <= guard.step + 1e-9
    # The far corner of something long in the hand, too.
    poses = [MOTION.arm.forward(q) for q in guard.spaced(HOME + np.array(corners), LONG)]
    ends = np.array([pose.apply(np.array([[0.2, 0.02, 0.02]]))[0] for pose in poses])
    assert np.linalg.norm(np.diff(ends, axis=0), axis=1).max() <= guard.step + 1e-9


MOTION = planner()
LONG = Hand(held_m=(0.4, 0.04, 0.04))
