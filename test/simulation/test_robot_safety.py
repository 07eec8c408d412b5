"""The simulated robot's own safety: stops, collisions, the gate of a robot that may not move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from s3k_ros.grasp.arm.kinematics import ArmModel, JointLimits
from s3k_ros.grasp.arm.trajectory import joint_move
from s3k_ros.grasp.tool_weight import ToolWeight
from s3k_ros.params.admittance import ToolLoadParameters
from s3k_ros.params.grasp import RobotParameters
from s3k_ros.simulation.cell import (
    ARM_JOINTS,
    EFFORT_LIMITS_NM,
    HOME_JOINTS_RAD,
    POSITION_LIMITS_RAD,
    TOOL_LOAD,
    VELOCITY_LIMITS_RAD_S,
    build_cell,
)
from s3k_ros.simulation.shared_files import shared_file
from s3k_ros.simulation.simulator import Simulator
from s3k_ros.simulation.trajectory_goal import (
    ErrorCode,
    GoalState,
    TrajectoryGoal,
    TrajectoryRefusedError,
)

pytestmark = pytest.mark.sim

HOME = np.array(HOME_JOINTS_RAD)
OUT = HOME + np.array([0.8, 0.9, 0.3, -0.6, 0.4, -0.3, 0.8])
# Sawyer's hand on its straight way down to the table's top.
DOWN = HOME + np.array([0.0, 1.45, 0.0, -0.65, 0.0, -0.4, 0.0])
STILL_RAD_S = 0.02
STOP_S = 0.1


@pytest.fixture(scope="module")
def model():
    return build_cell()


@pytest.fixture
def simulator(model):
    return Simulator(model, paced=False)


def move(to=OUT, begin=HOME):
    robot = RobotParameters()
    limits = JointLimits(
        *POSITION_LIMITS_RAD, VELOCITY_LIMITS_RAD_S,
        np.array(robot.max_acceleration), np.array(robot.max_jerk),
    ).scaled(robot.speed_scale)  # fmt: skip
    found = joint_move(begin, to, limits, 0.02)
    parts = found.times, found.positions, found.velocities, found.accelerations
    return TrajectoryGoal(tuple(ARM_JOINTS), *parts)


def run(simulator, duration_s, until=lambda state: False):
    for _ in range(round(duration_s / 0.01)):
        simulator.feed()
        state = simulator.step()
        if until(state):
            break
    return simulator.state


def stop_time(simulator, act):
    """Seconds of simulated time from a command to the last movement."""
    began = last = simulator.state.stamp
    torque = 0.0
    act()
    for _ in range(60):
        simulator.feed()
        state = simulator.step()
        torque = max(torque, float(np.abs(state.effort / EFFORT_LIMITS_NM).max()))
        if np.abs(state.velocity).max() >= STILL_RAD_S:
            last = state.stamp
    return last - began, torque


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("how", ["cancel", "stop", "disable", "collision"])
def test_the_arm_stands_within_a_tenth_of_a_second(simulator, how, share):
    goal = move()
    handle = simulator.start_trajectory(goal)
    run(simulator, share * goal.times[-1])
    assert np.abs(simulator.state.velocity).max() > 0.2
    acts = {
        "cancel": lambda: simulator.cancel_trajectory(handle),
        "stop": simulator.stop_robot,
        "disable": simulator.disable_robot,
        "collision": lambda: push(simulator, 400.0),
    }
    took, torque = stop_time(simulator, acts[how])
    assert took <= STOP_S and torque <= 1.0 + 1e-6
    state = simulator.state
    if how == "cancel":
        assert handle.state is GoalState.CANCELED and state.robot.ready
    else:
        assert (handle.state, handle.code) == (GoalState.ABORTED, ErrorCode.PATH_TOLERANCE_VIOLATED)
        assert handle.message == "" and state.robot.reason
    still = np.array(state.position)
    assert np.abs(run(simulator, 0.5).position - still).max() < 1e-3


def push(simulator, force_n):
    """Somebody hits the forearm, for one cycle."""
    body = simulator.cell.model.body("sawyer/l4").id
    simulator._data.xfrc_applied[body, 2] = force_n
    simulator.step()
    simulator._data.xfrc_applied[body] = 0.0


def test_driving_into_the_table_trips_the_collision_detection(simulator):
    handle = simulator.start_trajectory(move(DOWN))
    state = run(simulator, 6.0, until=lambda state: handle.done)
    assert state.robot.collision and not state.robot.ready and "collision" in state.robot.reason
    assert (handle.code, handle.message) == (ErrorCode.PATH_TOLERANCE_VIOLATED, "")
    assert simulator.state.robot.enabled  # motors hold
    run(simulator, 0.3)
    assert np.abs(simulator.state.velocity).max() < STILL_RAD_S


def test_free_motion_and_a_grip_trip_nothing(simulator):
    handle = simulator.start_trajectory(move())
    simulator.start_gripper(0.79, 235.0)
    run(simulator, 4.0)
    assert handle.state is GoalState.SUCCEEDED and simulator.state.robot.ready


@pytest.mark.parametrize("how", ["stop_robot", "disable_robot"])
def test_a_robot_that_may_not_move_refuses_goals_until_it_may(simulator, how):
    getattr(simulator, how)()
    with pytest.raises(TrajectoryRefusedError) as caught:
        simulator.start_trajectory(move())
    assert caught.value.code == ErrorCode.PATH_TOLERANCE_VIOLATED and str(caught.value) == ""
    assert not simulator.command_velocity(np.full(7, 0.1))
    assert np.abs(run(simulator, 0.3).position - HOME).max() < 1e-3
    if how == "stop_robot":
        assert not simulator.enable_robot().ready  # a stop must be reset first
    simulator.reset_robot()
    assert simulator.enable_robot().ready
    handle = simulator.start_trajectory(move())
    run(simulator, 4.0, until=lambda state: handle.done)
    assert handle.state is GoalState.SUCCEEDED


# -- joint velocities --------------------------------------------------------------------------


def test_commanded_velocities_are_followed_and_brake_when_they_stop(simulator):
    wanted = np.array([0.2, -0.1, 0.1, 0.0, 0.3, 0.0, -0.5])
    for _ in range(40):
        assert simulator.command_velocity(wanted)
        simulator.step()
    np.testing.assert_allclose(simulator.state.velocity, wanted, atol=0.02)
    run(simulator, 0.09)
    np.testing.assert_allclose(simulator.state.velocity, wanted, atol=0.02)
    run(simulator, 0.12)  # the watchdog's 0.1 s are over, and the braking
    assert np.abs(simulator.state.velocity).max() < STILL_RAD_S
    still = np.array(simulator.state.position)
    assert np.abs(run(simulator, 0.5).position - still).max() < 2e-3


def test_velocities_are_refused_while_a_trajectory_runs(simulator):
    handle = simulator.start_trajectory(move())
    run(simulator, 0.5)
    assert not simulator.command_velocity(np.full(7, 0.1))
    run(simulator, 4.0, until=lambda state: handle.done)
    assert handle.state is GoalState.SUCCEEDED
    assert simulator.command_velocity(np.full(7, 0.1))


@pytest.mark.parametrize("bad", [np.full(7, np.nan), np.full(6, 0.1), np.full(7, np.inf)])
def test_velocities_that_make_no_sense_are_refused(simulator, bad):
    assert not simulator.command_velocity(bad)


def test_velocities_keep_the_joints_limits(simulator):
    for _ in range(300):
        simulator.command_velocity(np.array([0, 0, 0, 0, 0, 0, 100.0]))
        simulator.step()
    state = simulator.state
    assert state.position[6] <= POSITION_LIMITS_RAD[1][6] + 1e-3
    assert np.abs(state.velocity).max() < STILL_RAD_S


def test_a_trajectory_takes_over_from_velocities_and_a_stop_ends_them(simulator):
    for _ in range(30):
        simulator.command_velocity(np.array([0.3, 0, 0, 0, 0, 0, 0]))
        simulator.step()
    begin = np.array(simulator.state.position)
    handle = simulator.start_trajectory(move(begin=begin))
    run(simulator, 5.0, until=lambda state: handle.done)
    assert handle.state is GoalState.SUCCEEDED
    for _ in range(30):
        simulator.command_velocity(np.array([-0.5, 0, 0, 0, 0, 0, 0]))
        simulator.step()
    took, _ = stop_time(simulator, simulator.stop_robot)
    assert took <= STOP_S


def test_the_tool_hangs_on_the_sensor_with_the_mass_that_the_configuration_says(model):
    tree = model.model
    wrist = tree.site_bodyid[model.wrench_site]
    mass = float(tree.body_subtreemass[wrist])
    assert TOOL_LOAD.mass_kg == pytest.approx(mass, abs=1e-3)
    path = Path(__file__).parents[2] / "config" / "tool_load.yaml"
    nodes = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(nodes) == {"/**/admittance_controller", "/**/grasp_server"}
    for node in nodes.values():
        values = {key.removeprefix("wrench."): v for key, v in node["ros__parameters"].items()}
        assert ToolLoadParameters.from_mapping(values) == TOOL_LOAD


def test_without_the_tools_weight_a_turning_hand_feels_nothing(simulator):
    """Over a fast move through the cell: the tool's inertia is all that is left."""
    arm = ArmModel.from_file(shared_file("config/robots/sawyer_2f85.urdf"), ARM_JOINTS)
    weight = ToolWeight(arm, RobotParameters().wrench_frame, TOOL_LOAD)
    simulator.start_trajectory(move())
    forces, contacts = [], []
    for _ in range(250):
        simulator.feed()
        state = simulator.step()
        forces.append(state.wrench[:3])
        contacts.append(state.wrench[:3] - weight.at(state.position))
    change = np.linalg.norm(np.array(forces) - forces[0], axis=1)
    left = np.linalg.norm(np.array(contacts) - contacts[0], axis=1)
    assert change[-1] > 3.0 and left[-1] < 0.1
    assert left.max() < 3.0  # 1.12 kg at the acceleration of a planned motion
