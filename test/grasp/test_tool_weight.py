from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.executor_runs import PLACE, in_phase, started
from support.kinematic_cell import Cell, sawyer

from s3k_ros.errors import ConfigurationError
from s3k_ros.grasp.codes import GraspCode, Phase
from s3k_ros.grasp.ports import JointReading, WrenchReading
from s3k_ros.grasp.tasks.core import contact_limit
from s3k_ros.grasp.tool_weight import ToolWeight, WeighedWrench
from s3k_ros.params.admittance import ToolLoadParameters
from s3k_ros.params.grasp import RobotParameters

ROBOT = RobotParameters()
HOME = np.array(ROBOT.home_rad)
LOAD = ToolLoadParameters(mass_kg=2.0)


class Source:
    def __init__(self, latest) -> None:
        self.readings: list[WrenchReading] = []
        self.latest_reading = latest

    def recent(self):
        return tuple(self.readings)

    def latest(self):
        return self.latest_reading


def test_the_weight_hangs_down_however_the_hand_turns():
    arm, weight = sawyer(), ToolWeight(sawyer(), ROBOT.wrench_frame, LOAD)
    frame = arm.frame_id(ROBOT.wrench_frame)
    random = np.random.default_rng(3)
    for _ in range(20):
        joints = random.uniform(arm.lower, arm.upper)
        down = arm.rotation(frame, joints) @ weight.at(joints)
        np.testing.assert_allclose(down, [0.0, 0.0, -2.0 * 9.81], atol=1e-9)


def test_an_unknown_sensor_frame_is_named():
    with pytest.raises(
        ConfigurationError, match=r"robot.wrench_frame.*no_such_link.*wrench.mass_kg"
    ):
        ToolWeight(sawyer(), "no_such_link", LOAD)


def test_each_reading_keeps_the_weight_of_the_posture_in_which_it_came():
    joints, source = Source(JointReading(HOME, None, 0.0)), Source(None)
    weight = ToolWeight(sawyer(), ROBOT.wrench_frame, LOAD)
    weighed = WeighedWrench(source, joints, weight)
    source.readings.append(WrenchReading(np.zeros(3), 0.0))
    before = weighed.recent()[0].weight
    turned = HOME + 0.5
    joints.latest_reading = JointReading(turned, None, 1.0)
    source.readings.append(WrenchReading(np.ones(3), 1.0))
    old, new = weighed.recent()
    np.testing.assert_array_equal(old.weight, before)
    np.testing.assert_allclose(new.contact, 1.0 - weight.at(turned))
    np.testing.assert_array_equal(new.force, np.ones(3))  # as measured: a stuck sensor must show
    joints.latest_reading = None
    assert all(reading.weight is None for reading in weighed.recent())


@pytest.mark.parametrize(("tool", "code"), [(LOAD, GraspCode.CONTACT_FORCE), (None, 0)])
def test_a_push_in_approach_is_felt_where_the_weight_is_known(tool, code):
    """40 N with a limit of 30 N: without calibration, twice the tool's weight is allowed for."""
    cell = Cell(tool)
    started(cell)
    cell.run(until=in_phase(Phase.APPROACH, 0.1))
    free, begun = cell.wrench.force, cell.time
    cell.wrench.force = free + np.array([0.0, 0.0, 40.0])
    cell.run(until=lambda _: cell.time > begun + 0.1)
    cell.wrench.force = free
    assert cell.run().code == code


def test_a_heavy_tool_that_turns_is_no_contact_where_its_weight_is_known():
    """8 kg: turned by 0.9 rad they change the force by 68 N, where 54 N would be allowed for."""
    heavy = dataclasses.replace(LOAD, mass_kg=8.0)
    for known, code in ((heavy, GraspCode.SUCCESS), (None, GraspCode.CONTACT_FORCE)):
        cell = Cell(heavy)
        cell.tool = known  # what the executor is told; the sensor feels it anyway
        cell.arm.position = HOME + np.array([0.0, 0.0, 0.0, 0.0, 0.0, -0.9, 0.0])
        started(cell)
        assert cell.run().code == code


def test_what_is_held_is_allowed_for_while_it_is_carried_whatever_is_known_of_the_tool():
    cell = Cell(LOAD)
    started(cell)
    assert cell.run().code == GraspCode.SUCCESS
    assert cell.executor.start(PLACE) is None
    cell.run(until=in_phase(Phase.TRANSFER, 0.2))
    state, limit = cell.executor.state, 2.0 * ROBOT.payload_weight_n
    least = state.goal.contact_force_limit_n
    assert contact_limit(state, ROBOT, weighed=True) == pytest.approx(least + limit)
    more = limit + 2.0 * ROBOT.tool_weight_n
    assert contact_limit(state, ROBOT, weighed=False) == pytest.approx(least + more)
