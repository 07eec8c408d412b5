from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.velocity_arm import HOME, PERIOD, VelocityArm

from s3k_ros.control.controller import State

pytestmark = pytest.mark.sim

ANY = st.one_of(st.floats(), st.sampled_from([0.0, 1e300, -1e300, 0.05, -0.3]))
SIX = st.lists(ANY, min_size=6, max_size=6)


@pytest.fixture
def arm() -> VelocityArm:
    arm = VelocityArm()
    assert arm.enable() == ""
    return arm


def drive(arm: VelocityArm, seconds: float, *twist: float, frame: str = "") -> None:
    """Commands at 100 Hz."""
    for _ in range(round(seconds / PERIOD)):
        if twist:
            assert arm.command(*twist, frame=frame) == ""
        arm.step()


def test_it_says_nothing_until_it_is_enabled():
    arm = VelocityArm()
    arm.command(0.05, 0, 0, 0, 0, 0)
    assert all(arm.step().velocity is None for _ in range(20))


def test_a_command_from_before_enabling_moves_nothing():
    arm = VelocityArm()
    arm.step()
    arm.command(0.05, 0, 0, 0, 0, 0)
    arm.controller.enable(arm.now)
    drive(arm, 0.3)
    np.testing.assert_allclose(arm.joints, HOME, atol=1e-4)


def test_commands_at_4_hz_hold_between_each_other(arm):
    start = arm.point
    for cycle in range(400):
        if cycle % 25 == 0:
            arm.command(0.02, 0.0, 0.03, 0, 0, 0)
        arm.step()
    np.testing.assert_allclose(arm.point - start, [0.08, 0.0, 0.12], atol=0.006)


@pytest.mark.parametrize("frame", ["grasp_tcp", "robotiq_ft_frame_id", "right_hand"])
def test_a_twist_in_a_links_frame_moves_along_its_axes(arm, frame):
    start, axes = arm.point, arm.controller.arm.base_from(frame)
    drive(arm, 1.0, 0.0, 0.0, -0.05, 0, 0, 0, frame=frame)
    way = arm.point - start
    np.testing.assert_allclose(way / np.linalg.norm(way), -axes[:, 2], atol=0.03)


def test_the_arm_stops_when_commands_stop_and_goes_on_with_the_next(arm):
    drive(arm, 1.0, 0.05, 0, 0, 0, 0, 0)
    drive(arm, arm.params.command_timeout_s + 0.4)
    assert np.abs(arm.velocity).max() < 1e-3
    assert arm.controller.state is State.ON
    drive(arm, 0.5, 0.05, 0, 0, 0, 0, 0)
    assert np.abs(arm.velocity).max() > 0.01


@pytest.mark.parametrize("input_name", ["joints_speak", "wrench_speaks"])
def test_a_silent_input_stops_the_arm_within_its_limits_and_disables(arm, input_name):
    drive(arm, 1.0, 0.1, 0, 0, 0, 0, 0)
    setattr(arm, input_name, False)
    before, most = arm.velocity, np.array(arm.params.joint_acceleration) * PERIOD
    for _ in range(40):
        arm.command(0.1, 0, 0, 0, 0, 0)
        arm.step()
        assert np.all(np.abs(arm.velocity - before) <= most + 1e-9)
        before = arm.velocity
    assert arm.controller.state is State.OFF
    assert arm.step().velocity is None
    assert arm.controller.reason.startswith("no ")


@pytest.mark.parametrize(
    ("wrench", "said"), [([0, 0, 70, 0, 0, 0], "70.0 N"), ([0, 0, 0, 0, 0, 13], "13.0 N m")]
)
def test_too_hard_contact_stops_and_disables(arm, wrench, said):
    drive(arm, 0.5, 0.05, 0, 0, 0, 0, 0)
    arm.wrench = np.array(wrench, dtype=float)
    arm.step()
    assert arm.controller.state is State.STOPPING
    assert said in arm.controller.reason
    drive(arm, 0.4)
    assert arm.controller.state is State.OFF
    assert "contact" in arm.controller.enable(arm.now) or said == "13.0 N m"


def test_the_gate_stops_at_the_next_cycle_and_bars_enabling(arm):
    drive(arm, 0.5, 0.05, 0, 0, 0, 0, 0)
    arm.controller.gate = "a trajectory runs"
    drive(arm, 0.5)
    assert (arm.controller.state, arm.controller.reason) == (State.OFF, "a trajectory runs")
    assert arm.controller.enable(arm.now) == "a trajectory runs"


def test_an_unknown_tool_bars_enabling_until_it_is_zeroed():
    arm = VelocityArm()
    arm.wrench = np.array([0.0, 0.0, 11.0, 0.0, 0.0, 0.0])
    assert "calibrated" in arm.enable()
    for _ in range(40):
        arm.step()
    assert arm.controller.zero(arm.now) == ""
    assert arm.controller.enable(arm.now) == ""


@pytest.mark.parametrize(
    ("twist", "frame", "said"),
    [
        ([np.nan, 0, 0, 0, 0, 0], "", "finite"),
        ([0, 0, 0, 0, np.inf, 0], "", "finite"),
        ([50.0, 0, 0, 0, 0, 0], "", "unit"),
        ([0, 0, 0, 0, 0, -90.0], "", "unit"),
        ([0.01, 0, 0, 0, 0, 0], "camera", "frame 'camera'"),
    ],
)
def test_hostile_commands_are_refused_and_stop_the_arm(arm, twist, frame, said):
    drive(arm, 0.5, 0.05, 0, 0, 0, 0, 0)
    assert said in arm.command(*twist, frame=frame)
    drive(arm, 0.3)
    assert np.abs(arm.velocity).max() < 1e-3


def test_a_fast_command_is_slowed_down_in_its_direction(arm):
    drive(arm, 1.0, 0.2, 0.0, 0.2, 0, 0, 0)
    found = arm.controller.step(arm.now).twist[:3]
    np.testing.assert_allclose(found, 0.15 * np.array([1, 0, 1]) / np.sqrt(2), atol=0.003)


# One arm for all examples: they begin wherever the one before ended, which only widens the search.
_TRIED = VelocityArm()


@settings(max_examples=40, deadline=None)
@given(twists=st.lists(SIX, min_size=1, max_size=3), wrench=SIX, joints=st.lists(ANY, max_size=6))
def test_no_input_breaks_a_limit(twists, wrench, joints):
    arm, c = _TRIED, _TRIED.controller
    limits = np.array(arm.params.joint_acceleration) * PERIOD
    arm.wrench = np.zeros(6)
    for _ in range(30):
        arm.step()
    c.enable(arm.now)
    before = arm.velocity
    for twist in twists:
        c.hear_command(np.array(twist), "", arm.now)
        assert not c.hear_joints(np.array(joints), arm.now)
        c.hear_wrench(np.array(wrench), arm.now)
        for _ in range(15):
            arm.step()
            assert np.isfinite(arm.velocity).all()
            assert np.all(np.abs(arm.velocity) <= c.arm.velocity)
            assert np.all(np.abs(arm.velocity - before) <= limits + 1e-9)
            assert np.all((arm.joints >= c.arm.lower) & (arm.joints <= c.arm.upper))
            point = arm.point
            assert np.all(point >= np.array(arm.params.workspace_low_m) - 1e-3)
            assert np.all(point <= np.array(arm.params.workspace_high_m) + 1e-3)
            before = arm.velocity


@pytest.mark.parametrize("direction", [(0, 0, 1), (0, 1, 0), (0, -1, 0), (1, 0, 0), (0, 0, -1)])
def test_the_tool_point_slows_down_before_a_wall_and_does_not_pass(direction):
    arm = VelocityArm(avoid_table=False, workspace_high_m=(0.45, 0.3, 0.2),
                      workspace_low_m=(0.25, 0.0, 0.0))  # fmt: skip
    assert arm.enable() == ""
    drive(arm, 3.0, *(0.15 * np.array(direction)), 0, 0, 0)
    low, high = (np.array(getattr(arm.params, f"workspace_{end}_m")) for end in ("low", "high"))
    assert np.all(arm.point >= low) and np.all(arm.point <= high)
    gap = np.where(np.array(direction) > 0, high - arm.point, arm.point - low)
    assert gap[np.flatnonzero(direction)[0]] < 0.012
