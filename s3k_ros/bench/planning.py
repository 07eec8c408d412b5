"""How long plans take, and how many there are: `s3k bench planning`.

Grasps at random places and headings over the reference cell's table, with its scene file, each from
home; a correction on the way in to a keypoint that moved by 14 mm; and moves from one side of a
wall in the middle of the table to the other, which need a way around. Times are processor time of
the one thread that plans, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from s3k_ros.calibration.rig_file import load_rig
from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.se3 import Transform
from s3k_ros.grasp.arm.kinematics import ArmModel
from s3k_ros.grasp.arm.trajectory import JointTrajectory
from s3k_ros.grasp.arm.world import Scene, box, load_scene
from s3k_ros.grasp.goal import GraspGoal, resolve
from s3k_ros.grasp.planning.motion import ArmState, MotionPlanner
from s3k_ros.grasp.planning.planner import GraspPlan, GraspPlanner, Target
from s3k_ros.params.grasp import GraspParameters, RobotParameters
from s3k_ros.results import Result
from s3k_ros.results import Target as Limit

Array = NDArray[np.float64]
Answer = TypeVar("Answer")

_GRASP, _ROBOT = GraspParameters(), RobotParameters()
_HOME = np.array(_ROBOT.home_rad)
_SIGMA_M = 0.004
_MOVED_M = np.array([0.012, -0.008, 0.0])
_WALL_M = (0.5, 0.03, 0.35)
_MEDIAN_MS = 500.0
_LEAST_PERCENT = 95.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k bench planning`."""
    parser.add_argument("--grasps", type=int, default=300)
    parser.add_argument("--walls", type=int, default=60, help="moves past a wall")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--robot", default="config/robots/sawyer_2f85.urdf", help="URDF")
    parser.add_argument("--scene", default="config/scene.yaml", help="scene file")


def run(args: argparse.Namespace) -> Result:
    """Plans one after the other.

    Raises:
        ConfigurationError: a number out of range, or a file that cannot be read.
    """
    for name in ("grasps", "walls"):
        if not 1 <= getattr(args, name) <= 100_000:
            raise ConfigurationError(f"--{name} = {getattr(args, name)} must be within 1..100000")
    if not Path(args.scene).is_file():
        raise ConfigurationError(f"--scene {args.scene}: no such file; run it in the repository")
    scene = load_scene(args.scene, _ROBOT.base_frame, load_rig)
    rng = np.random.default_rng(args.seed)
    grasps, corrections, planned = _grasps(args, scene, rng)
    around, found, seconds = _around(args, scene, rng)
    lead_ms = 1e3 * _ROBOT.correction_lead_s
    return Result.of_this_run(
        name="planning",
        seed=args.seed,
        figures={
            "grasps": args.grasps,
            "grasps_planned_percent": 100 * planned / args.grasps,
            **_spread("grasp_ms", grasps),
            **_spread("correction_ms", corrections),
            "moves_past_a_wall": len(around),
            "moves_past_a_wall_found_percent": 100 * found / len(around),
            **_spread("way_around_ms", around),
            **_spread("way_around_motion_s", seconds),
        },
        targets=(
            Limit.at_most("grasp, median", float(np.median(grasps)), _MEDIAN_MS, "ms"),
            Limit.at_most("correction, p95", _p95(corrections), lead_ms, "ms"),
            Limit.at_least("grasps planned", 100 * planned / args.grasps, _LEAST_PERCENT, "%"),
            Limit.at_least("ways around found", 100 * found / len(around), _LEAST_PERCENT, "%"),
        ),
    )


def _arm(args: argparse.Namespace) -> ArmModel:
    return ArmModel.from_file(args.robot, _ROBOT.arm_joints, limit_margin=_ROBOT.limit_margin_rad)


def _grasps(
    args: argparse.Namespace, scene: Scene, rng: np.random.Generator
) -> tuple[list[float], list[float], int]:
    """Times in ms of grasps and of corrections, and how many grasps were planned."""
    planner = GraspPlanner(_arm(args), _GRASP, _ROBOT, scene)
    goal = resolve(GraspGoal("paw", toward_keypoint="body"), _GRASP, _ROBOT)
    if not isinstance(goal, GraspGoal):
        raise ConfigurationError(goal.message)
    grasps, corrections = [], []
    for target in _targets(rng, args.grasps):
        plan, spent = _timed(lambda t=target: planner.plan(goal, t, ArmState.at_rest(_HOME)))
        grasps.append(spent)
        if isinstance(plan, GraspPlan):
            state = ArmState(*plan.align.sample(0.3 * plan.align.duration))
            moved = Target(target.position + _MOVED_M, target.covariance, target.line)
            corrections.append(_timed(lambda s=state, m=moved: planner.correct(goal, m, s))[1])
    return grasps, corrections, len(corrections)


def _targets(rng: np.random.Generator, count: int) -> Iterator[Target]:
    for _ in range(count):
        yaw = rng.uniform(-np.pi, np.pi)
        height = _GRASP.table_height_m + rng.uniform(0.01, 0.12)
        position = np.array([rng.uniform(0.4, 0.8), rng.uniform(-0.35, 0.35), height])
        line = 0.1 * np.array([np.cos(yaw), np.sin(yaw), 0.0])
        yield Target(position, np.eye(3) * _SIGMA_M**2, line)


def _around(
    args: argparse.Namespace, scene: Scene, rng: np.random.Generator
) -> tuple[list[float], int, list[float]]:
    """Times in ms of moves past a wall, how many were found, and their durations in s."""
    table = _GRASP.table_height_m
    wall = box("wall", _WALL_M, (0.65, 0.0, table + _WALL_M[2] / 2))
    motion = MotionPlanner(_arm(args), _GRASP, _ROBOT, Scene((*scene.boxes, wall), scene.walls))
    times, seconds = [], []
    while len(times) < args.walls:
        ends = [_posture(motion, rng, side) for side in (-1.0, 1.0)]
        if ends[0] is None or ends[1] is None:
            continue
        start, goal = ArmState.at_rest(ends[0]), ends[1]
        if isinstance(motion.free(start, goal, around=False), JointTrajectory):
            continue
        move, spent = _timed(lambda s=start, g=goal: motion.free(s, g))
        times.append(spent)
        if isinstance(move, JointTrajectory):
            seconds.append(move.duration)
    return times, len(seconds), seconds


def _posture(motion: MotionPlanner, rng: np.random.Generator, side: float) -> Array | None:
    """A free posture with the hand down, on one side of the wall."""
    place = [rng.uniform(0.45, 0.75), side * rng.uniform(0.12, 0.4), rng.uniform(0.08, 0.25)]
    place[2] += _GRASP.table_height_m
    pose = Transform(np.diag([1.0, -1.0, -1.0]), np.array(place))
    posture = next(motion.postures([pose], _HOME), None)
    return None if posture is None else posture.joints


def _timed(work: Callable[[], Answer]) -> tuple[Answer, float]:
    start = time.thread_time()
    answer = work()
    return answer, 1e3 * (time.thread_time() - start)


def _p95(values: list[float]) -> float:
    return float(np.percentile(values, 95)) if values else float("inf")


def _spread(name: str, values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    return {
        f"{name}_median": float(np.median(values)),
        f"{name}_p95": _p95(values),
        f"{name}_max": max(values),
    }
