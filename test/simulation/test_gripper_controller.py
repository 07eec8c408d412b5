import pytest

from s3k_ros.params.simulation import GripperControlParameters
from s3k_ros.simulation.gripper_controller import CLOSED_RAD, MAX_EFFORT_N, GripperController
from s3k_ros.simulation.trajectory_goal import GoalState

DT = 0.01


class Fingers:
    """Fingers that follow their target until something is between them."""

    def __init__(self, blocked_at=None, **params):
        self.controller = GripperController(GripperControlParameters(**params))
        self.position, self.velocity, self.now = 0.0, 0.0, 0.0
        self.blocked_at = blocked_at

    def run(self, duration, handle=None):
        for _ in range(round(duration / DT)):
            self.now += DT
            self.target, self.force = self.controller.update(self.now, self.position, self.velocity)
            wanted = self.target
            if self.blocked_at is not None:
                wanted = min(wanted, self.blocked_at)
            self.velocity = (wanted - self.position) / DT
            self.position = wanted
            if handle is not None and handle.done:
                return


def test_the_fingers_reach_a_free_position_at_their_speed():
    fingers = Fingers(speed_rad_s=1.0)
    handle = fingers.controller.start(0.5, 30.0, 0.0)
    fingers.run(3.0, handle)
    assert (handle.state, handle.reached_goal, handle.stalled) == (
        GoalState.SUCCEEDED,
        True,
        False,
    )
    assert fingers.now == pytest.approx(0.5, abs=0.05)


def test_an_object_between_the_fingers_is_a_stall_and_the_force_stays():
    fingers = Fingers(blocked_at=0.4)
    handle = fingers.controller.start(CLOSED_RAD, 30.0, 0.0)
    fingers.run(3.0, handle)
    assert (handle.state, handle.reached_goal, handle.stalled) == (
        GoalState.SUCCEEDED,
        False,
        True,
    )
    assert handle.position == pytest.approx(0.4)
    fingers.run(1.0)
    assert (fingers.target, fingers.force) == (CLOSED_RAD, 30.0)


def test_cancel_stops_the_fingers_where_they_are():
    fingers = Fingers(speed_rad_s=1.0)
    handle = fingers.controller.start(CLOSED_RAD, 30.0, 0.0)
    fingers.run(0.3)
    fingers.controller.cancel(handle, fingers.position)
    fingers.run(1.0)
    assert handle.state is GoalState.CANCELED
    assert fingers.position == pytest.approx(0.3, abs=0.02)


def test_a_new_command_replaces_the_old():
    fingers = Fingers()
    old = fingers.controller.start(CLOSED_RAD, 30.0, 0.0)
    fingers.run(0.2)
    new = fingers.controller.start(0.0, 30.0, fingers.now)
    fingers.run(2.0, new)
    assert (old.state, new.state) == (GoalState.ABORTED, GoalState.SUCCEEDED)


def test_an_effort_of_zero_is_the_default_and_large_ones_are_limited():
    fingers = Fingers(default_effort_n=25.0)
    assert fingers.controller.start(0.1, 0.0, 0.0).effort == 25.0
    assert fingers.controller.start(0.1, 1000.0, 0.0).effort == MAX_EFFORT_N
