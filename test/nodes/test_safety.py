"""The gates over DDS: a perfect robot says that something is wrong while the arm moves."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from support.server_cell import PARAMS, ServerCell, request

from s3k_ros.action import GraspAtKeypoint

pytestmark = pytest.mark.ros
Result = GraspAtKeypoint.Result

# Largest time from the robot's message to its arm's braking, s of its own clock. On a busy machine
# 0.05 was seen; test/simulation/test_robot_safety.py holds the 0.1 s to standstill, without ROS.
LATE_S = 0.3


@pytest.fixture(scope="module")
def module_cell(ros, robot, start_node):
    return ServerCell(ros, robot, start_node("grasp_server", PARAMS))


@pytest.fixture
def cell(module_cell):
    module_cell.reset()
    return module_cell


def spoil(robot, what: str) -> None:
    if what == "disabled":
        robot.say(enabled=False, reason="cuff")
    elif what == "collision":
        robot.say(collision=True)
    elif what == "silent wrench":
        robot.wrench_alive = False
    elif what == "nonsense":
        robot.force = np.full(3, np.nan)
    elif what == "silent state":
        robot.state_alive = False
    elif what == "back":
        robot.now -= 5.0
    elif what == "leap":
        robot.now += 30.0


@pytest.mark.parametrize(
    ("what", "phase", "code", "says"),
    [
        ("disabled", "approach", Result.ROBOT_DISABLED, "cuff"),
        ("collision", "lift", Result.ROBOT_COLLISION, "collision"),
        ("silent wrench", "align", Result.NO_WRENCH, "old"),
        ("nonsense", "align", Result.NO_WRENCH, "finite"),
        ("silent state", "approach", Result.ROBOT_DISABLED, "old"),
        ("back", "align", Result.WATCHDOG, "went back by"),
        ("leap", "approach", Result.WATCHDOG, "leapt by"),
    ],
)
def test_a_gate_stops_the_arm_with_its_own_code(cell, what, phase, code, says):
    handle = cell.send(request())
    cell.reach(phase)
    spoil(cell.robot, what)
    result = cell.result(handle).result
    assert result.code == code and says in result.message, result.message
    assert "arm at rest" in result.message and cell.robot.arm_speed == 0.0
    if what in ("back", "disabled"):  # `s3k bench faults` tries the next goal after all of them
        cell.reset()
        assert cell.grasp().result.code == Result.SUCCESS


def test_the_arm_is_told_to_stop_long_before_it_would_be_late(cell):
    """From the robot's message to its braking: what ROS adds to the simulator's own times."""
    delays = []
    for _ in range(3):
        cell.robot.speed = 1.0
        handle = cell.send(request())
        cell.reach("approach")
        cell.ros.spin(0.3)
        told = cell.robot.now
        cell.robot.say(enabled=False)
        assert cell.result(handle).result.code == Result.ROBOT_DISABLED
        delays.append(cell.robot.braked_at - told)
        cell.reset()
    # The best of three: other work on the machine may delay any of them.
    assert min(delays) < LATE_S, delays


def test_a_disabled_robot_bars_goals_before_anything_moves(cell):
    cell.robot.say(enabled=False)
    cell.ros.spin(0.3)
    assert cell.grasp().result.code == Result.ROBOT_DISABLED
    assert not cell.robot.arm_goals and not cell.robot.gripper_goals
    assert cell.grasp(dry_run=True).result.code == Result.SUCCESS


def test_the_same_goal_twice_is_busy_once(cell):
    first, second = cell.send(request()), cell.send(request())
    assert cell.result(second).result.code == Result.BUSY
    assert cell.result(first).result.code == Result.SUCCESS


def test_hostile_goals_move_nothing_and_end_with_a_code(tmp_path):
    """A small part of `s3k bench faults --hostile 10000`."""
    from s3k_ros.results import Result as Figures

    file = tmp_path / "hostile.json"
    began = time.monotonic()
    command = [sys.executable, "-m", "s3k_ros.cli", "bench", "faults", "--hostile", "150"]
    done = subprocess.run(
        [*command, "--json", str(file)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, (
        f"{done.stdout}{done.stderr} after {time.monotonic() - began:.0f} s"
    )
    figures = Figures.read(file).figures
    assert figures["commands_to_the_robot"] == {} and len(figures["actions"]) == 3
    assert len(figures["codes"]) >= 4
