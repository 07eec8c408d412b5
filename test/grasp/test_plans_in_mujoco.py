"""Random plans against an independent model: MuJoCo's cell, with moma's shapes of the arm."""

from __future__ import annotations

import itertools

import mujoco
import numpy as np
import pytest
from support.kinematic_cell import TABLE_HEIGHT_M, sawyer

from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.arm.trajectory import JointTrajectory
from s3k_ros.grasp.arm.world import Scene, box
from s3k_ros.grasp.goal import GraspGoal, Refusal, resolve
from s3k_ros.grasp.planning.motion import ArmState, Hand, MotionPlanner
from s3k_ros.grasp.planning.planner import GraspPlan, GraspPlanner, Target
from s3k_ros.params.grasp import GraspParameters, RobotParameters
from s3k_ros.simulation.cell import CellModel, build_cell

# Time for searches that a busy machine cannot use up.
GRASP = GraspParameters(planning_timeout_s=60.0, free_space_time_s=30.0)
ROBOT = RobotParameters()
HOME = np.array(ROBOT.home_rad)
BOXES = (
    box("divider", (0.4, 0.03, 0.3), (0.65, 0.0, TABLE_HEIGHT_M + 0.15)),
    box("post", (0.05, 0.05, 0.45), (0.5, -0.4, TABLE_HEIGHT_M + 0.225)),
    box("lamp", (0.1, 0.1, 0.1), (0.55, 0.3, 0.45)),
)
STEP_S = 0.025


class Boxes:
    """The scene's boxes as bodies of the simulated cell."""

    def attach(self, root) -> None:
        for each in BOXES:
            root.worldbody.add(
                "geom", name=each.name, type="box", size=each.size / 2, pos=each.pose.translation
            )

    def finish(self, spec) -> None:
        pass


class Referee:
    """What touches what in MuJoCo, the arm's own links among each other included."""

    def __init__(self, cell: CellModel) -> None:
        self.cell, self.data = cell, cell.make_data()
        model = cell.model
        arm = model.geom_contype == 2
        model.geom_contype[arm] = 3
        model.body_contype[np.unique(model.geom_bodyid[arm])] |= 1
        # moma's volumes of the wrist overlap where two of its joints are one link apart.
        self.usual = set.union(*(self.pairs(q) for q in (HOME, np.zeros(7))))

    def pairs(self, joints: np.ndarray) -> set[tuple[str, str]]:
        self.data.qpos[self.cell.arm_qpos] = joints
        mujoco.mj_kinematics(self.cell.model, self.data)
        mujoco.mj_comPos(self.cell.model, self.data)
        mujoco.mj_collision(self.cell.model, self.data)
        found = set()
        for contact in self.data.contact[: self.data.ncon]:
            if contact.dist < 0.0:
                names = sorted(self._name(g) for g in contact.geom)
                found.add((names[0], names[1]))
        return found

    def touches(self, trajectory: JointTrajectory) -> set[tuple[str, str]]:
        times = np.arange(0.0, trajectory.duration + STEP_S, STEP_S)
        return set.union(*(self.pairs(trajectory.sample(t)[0]) for t in times)) - self.usual

    def _name(self, geom: int) -> str:
        model = self.cell.model
        body = model.geom(geom).bodyid[0]
        return model.geom(geom).name if body == 0 else model.body(body).name


@pytest.fixture(scope="module")
def referee():
    return Referee(build_cell((Boxes(),)))


def within_limits(trajectory: JointTrajectory, arm) -> None:
    """By finite differences of positions, velocities and accelerations alone."""
    step, scale = np.diff(trajectory.times)[:, None], ROBOT.speed_scale
    limits = (arm.velocity, np.array(ROBOT.max_acceleration), np.array(ROBOT.max_jerk))
    chain = (trajectory.positions, trajectory.velocities, trajectory.accelerations)
    for values, limit in zip(chain, limits, strict=True):
        assert (np.abs(np.diff(values, axis=0) / step) <= 1.02 * scale * limit).all()
    assert (trajectory.positions >= arm.lower - 1e-6).all()
    assert (trajectory.positions <= arm.upper + 1e-6).all()


def test_the_referee_sees_what_touches(referee):
    folded = np.array([0.0, -1.57, 0.0, 2.79, 0.0, -2.79, 3.3161])
    assert referee.pairs(folded) - referee.usual
    pose = Transform(np.diag([1.0, -1.0, -1.0]), np.array([0.6, 0.0, TABLE_HEIGHT_M + 0.1]))
    inside = sawyer().solve(pose, HOME)
    assert any("divider" in pair for pair in referee.pairs(inside))


def test_random_grasps_between_boxes_touch_nothing_and_keep_the_limits(referee):
    planner = GraspPlanner(sawyer(ROBOT.limit_margin_rad), GRASP, ROBOT, Scene(BOXES))
    rng = np.random.default_rng(11)
    planned, start = 0, HOME
    for _ in range(14):
        yaw, y = rng.uniform(-np.pi, np.pi), rng.uniform(0.12, 0.3) * rng.choice([-1, 1])
        position = np.array([rng.uniform(0.45, 0.75), y, TABLE_HEIGHT_M + rng.uniform(0.02, 0.1)])
        line = np.array([0.1 * np.cos(yaw), 0.1 * np.sin(yaw), 0.0])
        goal = resolve(GraspGoal("paw", toward_keypoint="body"), GRASP, ROBOT)
        target = Target(position, np.eye(3) * 0.003**2, line)
        plan = planner.plan(goal, target, ArmState.at_rest(start))
        if not isinstance(plan, GraspPlan):
            continue
        planned += 1
        for part in (plan.approach, plan.align, plan.lift):
            assert referee.touches(part) == set(), (position, part)
            within_limits(part, planner.motion.arm)
        start = plan.lift.end
    assert planned >= 10


def test_random_moves_between_boxes_touch_nothing(referee):
    motion = MotionPlanner(sawyer(ROBOT.limit_margin_rad), GRASP, ROBOT, Scene(BOXES))
    rng = np.random.default_rng(5)
    postures = [HOME]
    while len(postures) < 12:
        joints = np.clip(HOME + rng.normal(0.0, 0.6, 7), motion.arm.lower, motion.arm.upper)
        place = motion.arm.position(joints)
        if motion.outside({"": place}) is None and motion.touches("", joints, Hand()) is None:
            postures.append(joints)
    around = found = 0
    for start, goal in itertools.pairwise(postures):
        direct = motion.free(ArmState.at_rest(start), goal, around=False)
        move = motion.free(ArmState.at_rest(start), goal)
        if isinstance(move, Refusal):
            continue
        found += 1
        around += isinstance(direct, Refusal)
        assert referee.touches(move) == set()
        within_limits(move, motion.arm)
    assert found >= 8 and around >= 2
