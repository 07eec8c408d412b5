import mujoco
import numpy as np
import pytest

from s3k_ros.simulation import gripper_controller as gripper
from s3k_ros.simulation.cell import (
    ARM_JOINTS,
    HOME_JOINTS_RAD,
    TABLE_HEIGHT_M,
    build_cell,
)
from s3k_ros.simulation.rig import CAMERA_NAMES, demo_rig, scene_view
from s3k_ros.simulation.simulator import CONTROL_PERIOD_S, Simulator
from s3k_ros.simulation.trajectory_goal import GoalState, TrajectoryGoal
from s3k_ros.simulation.views import Views

pytestmark = pytest.mark.sim

HOME = np.array(HOME_JOINTS_RAD)


class Attachment:
    def finish(self, spec):
        """Nothing to add."""


class Marks(Attachment):
    """Small bright balls at known places."""

    points = np.array([[0.45, -0.2, 0.0], [0.6, 0.0, -0.1], [0.75, 0.2, 0.05], [0.5, 0.22, -0.1]])

    def attach(self, root):
        for point in self.points:
            root.worldbody.add(
                "geom", type="sphere", size=(0.006,), pos=point, rgba=(1, 0, 1, 1),
                contype=0, conaffinity=0,
            )  # fmt: skip


class Block(Attachment):
    """A loose block of 40 mm."""

    mass_kg = 0.1

    def attach(self, root):
        body = root.worldbody.add("body", name="block")
        body.add("freejoint", name="block")
        body.add(
            "geom",
            type="box",
            size=(0.02, 0.02, 0.03),
            mass=self.mass_kg,
            friction=(1, 0.01, 0.001),
        )


@pytest.fixture
def simulator():
    return Simulator(build_cell(), paced=False)


@pytest.fixture
def holding():
    """A simulator whose open gripper is around a weightless block."""
    cell = build_cell([Block()])
    simulator = Simulator(cell, paced=False)
    model, data = cell.model, simulator._data
    model.body_gravcomp[model.body("block").id] = 1.0
    mujoco.mj_forward(model, data)
    turn = np.zeros(4)
    mujoco.mju_mat2Quat(turn, data.site_xmat[cell.tcp_site])
    data.joint("block").qpos[:] = [*data.site_xpos[cell.tcp_site], *turn]
    return simulator


def run(simulator, duration, until=lambda: False):
    states = []
    for _ in range(round(duration / CONTROL_PERIOD_S)):
        simulator.feed()
        states.append(simulator.step())
        if until():
            break
    return states


def trajectory(to, duration, begin=HOME, start=None):
    rest = np.zeros((2, len(ARM_JOINTS)))
    return TrajectoryGoal(
        ARM_JOINTS, np.array([0.0, duration]), np.array([begin, to]), rest, rest, start=start
    )


FAR = HOME + np.array([0.5, 0.6, -0.3, -0.5, 0.4, -0.3, 0.8])


def test_the_arm_does_not_sag_at_home(simulator):
    state = run(simulator, 1.0)[-1]
    # The Sawyer repeats to 0.1 mm: about 0.1 mrad at its reach
    np.testing.assert_allclose(state.position, HOME, atol=1e-4)


def test_the_arm_tracks_a_trajectory_within_milliradians(simulator):
    handle = simulator.start_trajectory(trajectory(FAR, 1.2))
    worst = 0.0

    def tracked():
        nonlocal worst
        reference, _ = simulator._arm.reference
        worst = max(worst, np.abs(simulator.state.position - reference).max())
        return handle.done

    run(simulator, 3.0, tracked)
    assert handle.state is GoalState.SUCCEEDED
    np.testing.assert_allclose(simulator.state.position, FAR, atol=2e-3)
    # 20 mrad: one control cycle of the reference's fastest joint
    assert worst < 0.02


def test_cancel_stands_the_arm_still_within_three_tenths_of_a_second(simulator):
    handle = simulator.start_trajectory(trajectory(FAR, 1.2))
    run(simulator, 0.6)
    assert np.abs(simulator.state.velocity).max() > 0.5
    simulator.cancel_trajectory(handle)
    run(simulator, 0.3)
    assert handle.state is GoalState.CANCELED
    assert np.abs(simulator.state.velocity).max() < 0.02
    again = simulator.start_trajectory(trajectory(HOME, 2.0, begin=simulator.state.position))
    run(simulator, 4.0, lambda: again.done)
    assert again.state is GoalState.SUCCEEDED


def test_the_wrench_shows_the_tools_weight_and_can_be_zeroed(simulator):
    state = run(simulator, 0.5)[-1]
    # gripper 1.12 kg with the sensor's upper part; the sensor's z points down at home
    assert state.wrench[2] == pytest.approx(11.0, abs=0.5)
    simulator.zero_wrench()
    np.testing.assert_allclose(run(simulator, 0.1)[-1].wrench, 0.0, atol=0.05)


def test_the_gripper_closes_to_its_end_on_nothing(simulator):
    handle = simulator.start_gripper(gripper.CLOSED_RAD, 40.0)
    run(simulator, 3.0, lambda: handle.done)
    assert (handle.reached_goal, handle.stalled) == (True, False)


def test_the_gripper_stalls_on_a_block_and_holds_it_by_friction(holding):
    handle = holding.start_gripper(gripper.CLOSED_RAD, 40.0)
    run(holding, 3.0, lambda: handle.done)
    assert (handle.reached_goal, handle.stalled) == (False, True)
    assert 0.40 < handle.position < 0.52  # 40 mm of 85 mm
    holding.cell.model.body_gravcomp[holding.cell.model.body("block").id] = 0.0
    before = holding._data.joint("block").qpos[2]
    run(holding, 2.0)
    assert holding._data.joint("block").qpos[2] > before - 0.003


@pytest.mark.parametrize("force", [20.0, 100.0])
def test_the_grip_force_is_the_commanded_one(holding, force):
    handle = holding.start_gripper(gripper.CLOSED_RAD, force)
    run(holding, 3.0, lambda: handle.done)
    data, total, six = holding._data, 0.0, np.zeros(6)
    for i in range(data.ncon):
        mujoco.mj_contactForce(holding.cell.model, data, i, six)
        total += six[0]
    assert total / 2 == pytest.approx(force, rel=0.15)  # two pads


def test_simulated_time_goes_on_over_a_reset(simulator):
    run(simulator, 0.5)
    handle = simulator.start_trajectory(trajectory(FAR, 2.0))
    run(simulator, 0.5)
    before = simulator.state
    simulator.reset(5)
    assert handle.state is GoalState.ABORTED
    after = simulator.step()
    assert after.stamp > before.stamp
    assert (after.seed, after.epoch) == (5, before.epoch + 1)
    np.testing.assert_allclose(after.position, HOME, atol=1e-3)


def test_a_known_point_is_rendered_where_the_camera_projects_it():
    cameras = demo_rig(640)
    cell = build_cell([Marks()], cameras)
    data = cell.make_data()
    mujoco.mj_camlight(cell.model, data)
    images = Views(cell.model, cameras).render_all(data)
    for camera in cameras:
        image = images[camera.name].astype(int)
        magenta = (image[..., 0] > 90) & (image[..., 2] > 90) & (image[..., 1] < 60)
        rows, columns = np.nonzero(magenta)
        found = 0
        for u, v in camera.project(Marks.points):
            near = np.hypot(columns - u, rows - v) < 8
            if near.sum() < 5:  # hidden by the arm
                continue
            found += 1
            assert columns[near].mean() == pytest.approx(u, abs=0.5)
            assert rows[near].mean() == pytest.approx(v, abs=0.5)
        assert found >= 3


def test_every_camera_sees_the_whole_workspace():
    corners = [
        (x, y, z)
        for x in (0.45, 0.75)
        for y in (-0.25, 0.25)
        for z in (TABLE_HEIGHT_M, TABLE_HEIGHT_M + 0.2)
    ]
    assert tuple(camera.name for camera in demo_rig()) == CAMERA_NAMES
    for camera in (*demo_rig(1280), scene_view()):
        pixels = camera.project(np.array(corners))
        assert np.all((pixels >= 0) & (pixels < [camera.width, camera.height]))


def test_the_rig_has_the_field_of_view_of_the_real_cameras():
    camera = demo_rig(1280)[0]
    assert (camera.width, camera.height, camera.matrix[0, 0]) == (1280, 960, 787.0)
    assert demo_rig(640)[0].matrix[0, 0] == 393.5
