from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.kinematic_cell import TABLE_HEIGHT_M, sawyer

from s3k_ros.grasp.arm.collision import CollisionModel
from s3k_ros.grasp.arm.trajectory import exceeded
from s3k_ros.grasp.codes import GraspCode
from s3k_ros.grasp.goal import GraspGoal, Refusal, resolve
from s3k_ros.grasp.planning.planner import ArmState, GraspPlan, GraspPlanner, Target
from s3k_ros.params.grasp import GraspParameters, RobotParameters

# Time for searches that a busy machine cannot use up.
GRASP = GraspParameters(grasp_depth_m=0.0, planning_timeout_s=60.0)
ROBOT = RobotParameters()
HOME = np.array(ROBOT.home_rad)
AT_HOME = ArmState.at_rest(HOME)
SMALL = np.eye(3) * 0.004**2


@pytest.fixture(scope="module")
def planner():
    return GraspPlanner(sawyer(ROBOT.limit_margin_rad), GRASP, ROBOT)


def goal(**fields):
    result = resolve(GraspGoal(**{"keypoint": "paw", **fields}), GRASP, ROBOT)
    assert isinstance(result, GraspGoal)
    return result


def target(x=0.6, y=0.05, height=0.03, line=(0.05, 0.03, 0.0), covariance=SMALL):
    position = np.array([x, y, TABLE_HEIGHT_M + height])
    return Target(position, covariance, None if line is None else np.array(line))


def planned(planner, **fields) -> GraspPlan:
    plan = planner.plan(goal(**fields), target(), AT_HOME)
    assert isinstance(plan, GraspPlan), plan
    return plan


def test_a_plan_goes_from_the_start_to_the_keypoint_and_up(planner):
    arm, plan = sawyer(), planned(planner)
    assert plan.approach is not None
    assert np.allclose(plan.approach.positions[0], HOME)
    assert np.allclose(plan.approach.end, plan.align.positions[0], atol=1e-6)
    assert np.allclose(plan.align.end, plan.lift.positions[0], atol=1e-6)
    reached = arm.forward(plan.align.end)
    assert np.abs(reached.translation - target().position).max() < 1e-4
    up = arm.forward(plan.lift.end).translation - reached.translation
    assert np.abs(up - [0, 0, GRASP.lift_height_m]).max() < 1e-4


def test_the_way_in_and_the_way_up_are_straight(planner):
    arm, plan = sawyer(), planned(planner)
    for part in (plan.align, plan.lift):
        points = np.array([arm.forward(q).translation for q in part.positions])
        assert np.abs(points[:, :2] - plan.grasp.translation[:2]).max() < 0.5e-3
        turned = [arm.forward(q).rotation.T @ plan.grasp.rotation for q in part.positions[::10]]
        assert max(np.abs(r - np.eye(3)).max() for r in turned) < 3e-3


def test_plans_keep_the_arms_limits_at_the_speed_scale(planner):
    plan = planned(planner)
    arm = sawyer()
    for part in (plan.approach, plan.align, plan.lift):
        assert part is not None and exceeded(part, planner.motion.limits) == ""
        assert (np.abs(part.velocities) <= ROBOT.speed_scale * arm.velocity * 1.001).all()
    speed = np.linalg.norm(
        np.diff([arm.forward(q).translation for q in plan.align.positions], axis=0), axis=1
    ) / np.diff(plan.align.times)
    assert speed.max() <= 1.02 * ROBOT.line_speed_m_s * ROBOT.speed_scale


def test_the_fingertips_stay_over_the_table(planner):
    plan = planner.plan(goal(), target(height=0.0), AT_HOME)
    assert isinstance(plan, GraspPlan)
    lowest = plan.grasp.translation[2] - ROBOT.fingertip_beyond_tcp_m
    assert lowest == pytest.approx(TABLE_HEIGHT_M + GRASP.finger_clearance_m)


def test_the_hand_goes_past_the_keypoint_by_the_depth():
    deep = dataclasses.replace(GRASP, grasp_depth_m=0.01)
    plan = GraspPlanner(sawyer(), deep, ROBOT).plan(goal(), target(height=0.05), AT_HOME)
    assert isinstance(plan, GraspPlan)
    expected = target(height=0.05).position - np.array([0.0, 0.0, 0.01])
    assert np.allclose(plan.grasp.translation, expected)


def test_the_hand_stays_high_on_its_way(planner):
    plan = planner.plan(goal(), target(x=0.7, y=0.3), AT_HOME)
    assert isinstance(plan, GraspPlan) and plan.approach is not None
    model = CollisionModel(sawyer(), HOME, TABLE_HEIGHT_M)
    heights = [model.hand_clearance(q) for q in plan.approach.positions[::5]]
    assert min(heights) > min(GRASP.transit_clearance_m, heights[0], heights[-1]) - 0.006


def test_a_low_hand_goes_up_before_it_goes_anywhere(planner):
    first = planned(planner)
    plan = planner.plan(goal(), target(x=0.5, y=-0.2), ArmState.at_rest(first.align.end))
    assert isinstance(plan, GraspPlan) and plan.approach is not None
    arm = sawyer()
    points = np.array([arm.forward(q).translation for q in plan.approach.positions])
    risen = points[:, 2] - points[0, 2] > GRASP.transit_clearance_m - 0.05
    assert np.abs(points[: np.argmax(risen), :2] - points[0, :2]).max() < 1e-3


def test_of_two_yaws_the_nearer_one_is_taken(planner):
    lines = [(0.05, 0.03, 0.0), (-0.05, -0.03, 0.0)]
    ends = []
    for line in lines:
        plan = planner.plan(goal(toward_keypoint="b"), target(line=line), AT_HOME)
        assert isinstance(plan, GraspPlan) and plan.approach is not None
        ends.append(plan.approach.end)
    assert np.allclose(ends[0], ends[1], atol=1e-6)


def test_a_line_along_the_approach_is_noted(planner):
    plan = planner.plan(goal(toward_keypoint="body"), target(line=(0, 0, 0.1)), AT_HOME)
    assert isinstance(plan, GraspPlan) and "yaw chosen by the server" in plan.note


@pytest.mark.parametrize(
    ("fields", "at", "code"),
    [
        ({}, {"x": 1.3}, GraspCode.OUTSIDE_WORKSPACE),
        ({}, {"height": 0.8}, GraspCode.OUTSIDE_WORKSPACE),
        ({}, {"x": 0.95, "y": 0.6, "height": 0.5}, GraspCode.UNREACHABLE),
        ({"approach": (1.0, 0.0, 0.0)}, {"x": 0.7, "line": None}, GraspCode.IN_COLLISION),
        ({}, {"covariance": np.eye(3) * 0.02**2}, GraspCode.TOO_UNCERTAIN),
    ],
)
def test_what_cannot_be_grasped_has_its_code(planner, fields, at, code):
    result = planner.plan(goal(**fields), target(**at), AT_HOME)
    assert isinstance(result, Refusal) and result.code == code, result


def test_the_uncertain_region_counts_across_the_jaws_alone(planner):
    along_line = np.diag([0.03**2, 0.004**2, 0.004**2])
    line = (0.1, 0.0, 0.0)
    fits = planner.plan(goal(), target(line=line, covariance=along_line), AT_HOME)
    assert isinstance(fits, GraspPlan)
    turned = planner.plan(goal(), target(line=(0, 0.1, 0), covariance=along_line), AT_HOME)
    assert isinstance(turned, Refusal) and turned.code == GraspCode.TOO_UNCERTAIN
    free = planner.plan(goal(), target(line=None, covariance=along_line), AT_HOME)
    assert isinstance(free, GraspPlan) and abs(free.grasp.rotation[1, 1]) > 0.8


def test_a_correction_continues_the_motion_to_the_moved_keypoint(planner):
    plan = planned(planner)
    time = 0.5 * plan.align.duration
    state = ArmState(*plan.align.sample(time))
    assert state.moving
    moved = dataclasses.replace(
        target(), position=target().position + np.array([0.02, -0.015, 0.0])
    )
    corrected = planner.correct(goal(), moved, state)
    assert isinstance(corrected, GraspPlan) and corrected.approach is None
    assert np.allclose(corrected.align.positions[0], state.position)
    assert np.allclose(corrected.align.velocities[0], state.velocity)
    end = sawyer().forward(corrected.align.end)
    assert np.abs(end.translation - moved.position).max() < 1e-4
    turned = end.rotation.T @ plan.grasp.rotation
    assert np.abs(turned - np.eye(3)).max() < 1e-3  # not to the yaw half a turn away


def test_a_moving_arm_is_planned_for_from_its_state(planner):
    plan = planned(planner)
    assert plan.approach is not None
    state = ArmState(*plan.approach.sample(0.5 * plan.approach.duration))
    again = planner.plan(goal(), target(x=0.65), state)
    assert isinstance(again, GraspPlan) and again.approach is not None
    assert np.allclose(again.approach.velocities[0], state.velocity)


@pytest.mark.slow
def test_random_toys_on_the_table_can_be_grasped(planner):
    rng = np.random.default_rng(7)
    for _ in range(60):
        yaw = rng.uniform(-np.pi, np.pi)
        where = target(
            rng.uniform(0.4, 0.8), rng.uniform(-0.35, 0.35), rng.uniform(0.01, 0.12),
            line=(0.1 * np.cos(yaw), 0.1 * np.sin(yaw), 0.0),
        )  # fmt: skip
        assert isinstance(planner.plan(goal(), where, AT_HOME), GraspPlan), where.position
