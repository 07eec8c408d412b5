"""A grasp over the simulated cell in one process: ports, stand-ins, what counts as a collision."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from s3k_ros.geometry.triangulation import triangulate
from s3k_ros.grasp.codes import GraspCode, KeypointStatus
from s3k_ros.grasp.goal import GraspGoal
from s3k_ros.grasp.tasks.gates import KeypointReading
from s3k_ros.simulation import rig
from s3k_ros.simulation.cell import TABLE_HEIGHT_M, WORKSPACE_CENTRE_M
from s3k_ros.simulation.cell_samples import hover
from s3k_ros.simulation.grasp_cell import GraspCell, Stage
from s3k_ros.simulation.miscalibration import miscalibrated
from s3k_ros.simulation.sight import KeypointFeed

pytestmark = pytest.mark.sim

SEED = 1000


@pytest.fixture(scope="module")
def stage():
    return Stage.build(("box",))


def test_the_corner_of_a_box_is_held_and_lifted(stage):
    cell = GraspCell(stage, SEED)
    executor, before = cell.make_executor(), cell.truth()["corner_a"]
    assert executor.start(GraspGoal("corner_a", toward_keypoint="corner_b")) is None
    outcome = cell.run()
    cell.wait(0.5)
    assert outcome is not None and outcome.code == GraspCode.SUCCESS, outcome
    assert cell.truth()["corner_a"][2] - before[2] > 0.10
    assert not cell.touches.found
    looks = cell.keypoints.looks
    cell.wait(0.5)
    assert 5 < looks == cell.keypoints.looks  # who does not grasp does not look


@pytest.mark.parametrize(
    ("place", "obstacle"),
    [((0.55, -0.2, TABLE_HEIGHT_M - 0.02), "table"), ((0.30, 0.56, 0.70), "camera_rear_left")],
)
def test_a_hand_that_runs_into_table_or_camera_is_seen(stage, place, obstacle):
    cell = GraspCell(stage, SEED)
    cell.touches.look(cell.data)
    assert not cell.touches.found
    cell.data.qpos[stage.cell.arm_qpos] = hover(stage.cell, np.array(place), 0.0)
    mujoco.mj_forward(stage.cell.model, cell.data)
    cell.touches.look(cell.data)
    assert obstacle in {touch.obstacle for touch in cell.touches.found}
    assert all(touch.part.startswith("sawyer/") for touch in cell.touches.found)


class Still:
    object_id, names = "box", ("corner",)

    def __call__(self, data):
        return [KeypointReading("corner", KeypointStatus.OK, np.zeros(3), np.eye(3), 1.0, -1.0)]


def test_keypoints_arrive_late_and_carry_the_time_of_arrival():
    feed = KeypointFeed(Still(), period_s=0.2, latency_s=0.25)
    for i in range(24):
        feed.step(0.01 * i, None)
    assert feed.sets == 0 and feed.looks == 2
    feed.step(0.25, None)
    assert feed.sets == 1 and feed.latest("corner").received_at == 0.25
    feed.alive = False
    for i in range(100):
        feed.step(0.26 + 0.01 * i, None)
    assert feed.sets == 1


def test_calibration_is_wrong_by_what_was_asked_for():
    cameras = rig.demo_rig()
    points = WORKSPACE_CENTRE_M + np.random.default_rng(0).uniform(-0.1, 0.1, (200, 3))
    pixels = np.array([camera.project(points) for camera in cameras])
    ones = np.broadcast_to(np.eye(2), (*pixels.shape, 2))
    for rms in (0.002, 0.005):
        off = []
        for seed in range(8):
            wrong = miscalibrated(cameras, rms, np.random.default_rng(seed))
            found = triangulate(wrong, pixels, ones).points
            off.append(((found - points) ** 2).sum(axis=1).mean())
        assert np.sqrt(np.mean(off)) == pytest.approx(rms, rel=0.15)
