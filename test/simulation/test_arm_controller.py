import numpy as np
import pytest

from s3k_ros.params.simulation import ArmControlParameters
from s3k_ros.simulation.arm_controller import ArmController
from s3k_ros.simulation.trajectory_goal import (
    UNRESTRICTED,
    ErrorCode,
    GoalState,
    JointLimits,
    TrajectoryGoal,
    TrajectoryRefusedError,
)

JOINTS = ("a", "b")
LIMITS = JointLimits(np.array([-3.0, -3.0]), np.array([3.0, 3.0]), np.array([2.0, 2.0]))
DT = 0.01


class PerfectArm:
    """A controller and an arm that follows every reference exactly, on a clock that is counted."""

    def __init__(self, **params):
        self.controller = ArmController(JOINTS, LIMITS, ArmControlParameters(**params), np.zeros(2))
        self.now = 0.0
        self.position, self.velocity = np.zeros(2), np.zeros(2)
        self.error = np.zeros(2)
        self.fed = True
        self.trace = [self.position]

    def start(self, goal):
        return self.controller.start(self.controller.prepare(goal), self.now)

    def run(self, duration, until=None):
        for _ in range(round(duration / DT)):
            self.now += DT
            if self.fed:
                self.controller.feed(self.now)
            position, velocity = self.controller.update(
                self.now, self.position + self.error, self.velocity
            )
            self.position, self.velocity = position, velocity
            self.trace.append(position)
            if until is not None and until():
                return

    @property
    def speeds(self):
        return np.abs(np.diff(self.trace, axis=0)) / DT


def move(to=(1.0, -0.5), duration=1.0, **options):
    rest = np.zeros((2, 2))
    return TrajectoryGoal(
        joints=options.pop("joints", JOINTS),
        times=np.array([0.0, duration]),
        positions=np.array([options.pop("begin", (0.0, 0.0)), to]),
        velocities=rest,
        accelerations=rest,
        **options,
    )


def refused(arm, goal):
    with pytest.raises(TrajectoryRefusedError) as caught:
        arm.start(goal)
    return caught.value


def test_a_trajectory_arrives_on_time_and_smoothly():
    arm = PerfectArm()
    handle = arm.start(move())
    arm.run(2.0, until=lambda: handle.done)
    assert (handle.state, handle.code) == (GoalState.SUCCEEDED, ErrorCode.SUCCESSFUL)
    assert arm.now == pytest.approx(1.0, abs=2 * DT)
    np.testing.assert_allclose(arm.position, [1.0, -0.5], atol=1e-9)
    # a quintic between rests peaks at 15/8 of its mean speed
    assert arm.speeds.max() == pytest.approx(15 / 8, rel=0.01)


def test_joints_may_come_in_any_order():
    arm = PerfectArm()
    handle = arm.start(move(to=(-0.5, 1.0), joints=("b", "a")))
    arm.run(2.0, until=lambda: handle.done)
    np.testing.assert_allclose(arm.position, [1.0, -0.5], atol=1e-9)


def test_positions_alone_are_followed_on_straight_lines():
    arm = PerfectArm()
    goal = TrajectoryGoal(JOINTS, np.array([1.0, 2.0]), np.array([[0.5, 0.5], [0.5, 1.0]]))
    handle = arm.start(goal)
    arm.run(0.5)
    np.testing.assert_allclose(arm.position, [0.25, 0.25], atol=1e-6)
    arm.run(2.0, until=lambda: handle.done)
    np.testing.assert_allclose(arm.position, [0.5, 1.0], atol=1e-9)


@pytest.mark.parametrize(
    ("goal", "code", "word"),
    [
        (move(joints=("a", "c")), ErrorCode.INVALID_JOINTS, "c"),
        (TrajectoryGoal(JOINTS, np.zeros(0), np.zeros((0, 2))), ErrorCode.INVALID_GOAL, "points"),
        (
            TrajectoryGoal(JOINTS, np.array([1.0, 1.0]), np.zeros((2, 2))),
            ErrorCode.INVALID_GOAL,
            "increase",
        ),
        (move(to=(4.0, 0.0), duration=10.0), ErrorCode.INVALID_GOAL, "limits"),
        (move(to=(2.9, 0.0), duration=0.5), ErrorCode.INVALID_GOAL, "rad/s"),
        (move(to=(np.nan, 0.0)), ErrorCode.INVALID_GOAL, "finite"),
        (move(begin=(0.5, 0.0)), ErrorCode.INVALID_GOAL, "starts"),
        (move(path_tolerance={"z": 0.1}), ErrorCode.INVALID_JOINTS, "z"),
    ],
)
def test_goals_that_do_not_fit_are_refused_with_a_reason(goal, code, word):
    arm = PerfectArm()
    error = refused(arm, goal)
    assert error.code == code
    assert word in str(error)


def test_a_goal_that_ends_in_motion_is_refused():
    goal = TrajectoryGoal(JOINTS, np.array([0.0, 1.0]), np.zeros((2, 2)), np.full((2, 2), 0.1))
    assert "final velocity" in str(refused(PerfectArm(), goal))


def test_a_refused_goal_leaves_the_running_one_alone():
    arm = PerfectArm()
    handle = arm.start(move())
    arm.run(0.3)
    refused(arm, move(joints=("a", "c")))
    arm.run(2.0, until=lambda: handle.done)
    assert handle.state is GoalState.SUCCEEDED


def test_a_trajectory_of_the_past_is_refused():
    arm = PerfectArm()
    arm.run(5.0)
    assert refused(arm, move(start=1.0)).code == ErrorCode.OLD_HEADER_TIMESTAMP


def test_cancel_stops_on_the_path_within_the_stop_time():
    arm = PerfectArm(stop_time_s=0.2)
    handle = arm.start(move())
    arm.run(0.5)
    arm.controller.cancel(handle)
    arm.run(0.3)
    assert handle.state is GoalState.CANCELED
    stood = arm.position
    arm.run(0.5)
    np.testing.assert_array_equal(arm.position, stood)
    assert arm.position[1] == pytest.approx(-0.5 * arm.position[0])  # still on the straight path
    # from 1.9 rad/s to rest in 0.2 s is 9.4 rad/s^2, plus the path's own acceleration
    assert np.abs(np.diff(arm.trace, 2, axis=0)).max() / DT**2 < 16.0


def test_the_next_goal_works_after_a_cancel():
    arm = PerfectArm()
    handle = arm.start(move())
    arm.run(0.5)
    arm.controller.cancel(handle)
    arm.run(0.3)
    again = arm.start(move(begin=tuple(arm.position), to=(0.0, 0.0)))
    arm.run(3.0, until=lambda: again.done)
    assert again.state is GoalState.SUCCEEDED


def test_a_new_goal_replaces_the_old_without_a_jump():
    arm = PerfectArm()
    old = arm.start(move())
    arm.run(0.5)
    new = arm.start(move(begin=tuple(arm.position), to=(0.5, 0.5)))
    assert (old.state, old.message) == (GoalState.ABORTED, "replaced by a new goal")
    arm.run(3.0, until=lambda: new.done)
    assert new.state is GoalState.SUCCEEDED
    assert arm.speeds.max() < 2.2
    np.testing.assert_allclose(arm.position, [0.5, 0.5], atol=1e-9)


def test_a_goal_stamped_ahead_lets_the_old_motion_run_until_then():
    arm = PerfectArm()
    arm.start(move())
    arm.run(0.4)
    reference = PerfectArm()
    reference.start(move())
    reference.run(0.6)
    goal = TrajectoryGoal(
        JOINTS,
        np.array([0.0, 1.0]),
        np.array([reference.position, [0.2, 0.2]]),
        np.array([reference.velocity, [0.0, 0.0]]),
        np.zeros((2, 2)),
        start=arm.now + 0.2,
    )
    handle = arm.start(goal)
    arm.run(0.2)
    np.testing.assert_allclose(arm.position, reference.position, atol=1e-9)
    arm.run(3.0, until=lambda: handle.done)
    assert handle.state is GoalState.SUCCEEDED
    assert arm.now == pytest.approx(1.6, abs=3 * DT)
    accelerations = np.abs(np.diff(arm.trace, 2, axis=0)) / DT**2
    assert accelerations.max() < 15.0


def test_cancel_also_stops_a_goal_that_has_yet_to_begin():
    arm = PerfectArm()
    arm.start(move())
    arm.run(0.4)
    handle = arm.start(move(begin=(0.6, -0.3), start=arm.now + 0.1))
    arm.controller.cancel(handle)
    arm.run(0.3)
    assert handle.state is GoalState.CANCELED
    assert np.abs(arm.velocity).max() == 0.0


def test_leaving_the_path_aborts_and_stops():
    arm = PerfectArm()
    handle = arm.start(move(path_tolerance={"b": 0.05}))
    arm.run(0.3)
    arm.error = np.array([0.0, 0.06])
    arm.run(0.3)
    assert handle.code == ErrorCode.PATH_TOLERANCE_VIOLATED
    assert handle.message.startswith("b is 0.06")
    assert arm.speeds[-1].max() == 0.0


def test_an_unrestricted_path_tolerance_never_aborts():
    arm = PerfectArm()
    handle = arm.start(move(path_tolerance={"a": UNRESTRICTED, "b": UNRESTRICTED}))
    arm.run(0.3)
    arm.error = np.array([2.0, 2.0])
    arm.run(0.3)
    arm.error = np.zeros(2)
    arm.run(2.0, until=lambda: handle.done)
    assert handle.state is GoalState.SUCCEEDED


def test_missing_the_goal_aborts_after_the_goal_time():
    arm = PerfectArm()
    arm.error = np.array([0.02, 0.0])
    handle = arm.start(move(goal_time_tolerance=0.5))
    arm.run(3.0, until=lambda: handle.done)
    assert handle.code == ErrorCode.GOAL_TOLERANCE_VIOLATED
    assert arm.now == pytest.approx(1.5, abs=3 * DT)


def test_the_watchdog_stops_the_arm_when_its_server_is_silent():
    arm = PerfectArm(watchdog_s=0.2)
    handle = arm.start(move())
    arm.run(0.4)
    arm.fed = False
    arm.run(0.6)
    assert handle.state is GoalState.ABORTED
    assert "watchdog" in handle.message
    assert arm.speeds[-1].max() == 0.0
