"""Places and releases on perfect kinematics: how they go well, and their own ends."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
from support.executor_runs import (
    GOAL,
    PAW,
    PLACE,
    PLACE_AT,
    PLACE_PHASES,
    RELEASE,
    SPOT,
    grasp,
    holding,
    in_phase,
    started,
    task,
    tcp,
)
from support.kinematic_cell import TABLE_HEIGHT_M, Cell, sawyer

from s3k_ros.grasp.codes import GraspCode, Holding, KeypointStatus, Phase
from s3k_ros.grasp.goal import PlaceGoal, Refusal, ReleaseGoal
from s3k_ros.params.grasp import GraspParameters

# Half a turn about x: the hand points down, its x axis along the base's.
DOWN = (1.0, 0.0, 0.0, 0.0)


def hand(cell):
    return sawyer().forward(cell.arm.position).rotation


# -- the good case -----------------------------------------------------------------------------


def test_a_place_goes_through_all_phases_and_lets_go_there():
    cell = Cell()
    executor = holding(cell)
    assert executor.start(PLACE) is None
    seen, fractions, opened_at = [], [], []

    def watch(executor):
        if not seen or seen[-1] != executor.state.phase:
            seen.append(executor.state.phase)
            if seen[-1] == Phase.RELEASE:
                opened_at.append(tcp(cell))
        fractions.append(executor.fraction)
        return False

    outcome = cell.run(until=watch)
    assert outcome.code == GraspCode.SUCCESS and outcome.holding == Holding.NOT_HOLDING
    assert seen == PLACE_PHASES and "arm at rest, gripper open at 85 mm" in outcome.message
    assert (np.diff(fractions) >= -1e-9).all() and executor.fraction == 1.0
    assert np.abs(opened_at[0] - SPOT).max() < 1e-3
    assert np.abs(outcome.grasp_pose.translation - SPOT).max() < 1e-9
    assert np.abs(tcp(cell) - SPOT - [0, 0, GraspParameters().retreat_distance_m]).max() < 1e-3
    assert cell.gripper.width == pytest.approx(0.085)


def test_a_place_at_a_keypoint_goes_there_with_an_offset():
    cell = Cell()
    executor = holding(cell)
    cell.keypoints.positions["right_front_paw"] = np.array(SPOT)
    goal = dataclasses.replace(PLACE_AT, offset=(0.0, 0.05, 0.02), retreat_distance_m=0.0)
    assert executor.start(goal) is None
    outcome = cell.run()
    assert outcome.code == GraspCode.SUCCESS and outcome.keypoint.name == "right_front_paw"
    assert np.abs(tcp(cell) - SPOT - [0.0, 0.05, 0.02]).max() < 1e-3


def test_the_hand_keeps_its_yaw_or_takes_the_one_it_is_given():
    cell = Cell()
    holding(cell)
    before = hand(cell)
    assert cell.executor.start(PLACE) is None
    assert cell.run().code == GraspCode.SUCCESS
    assert np.abs(hand(cell) - before).max() < 0.02
    cell = Cell()
    outcome = task(cell, dataclasses.replace(PLACE, orientation=DOWN))
    assert outcome.code == GraspCode.SUCCESS
    assert np.abs(hand(cell) - np.diag([1.0, -1.0, -1.0])).max() < 1e-3


def test_toward_keypoint_sets_the_yaw_of_a_place():
    cell = Cell()
    executor = holding(cell)
    cell.keypoints.positions = {
        "right_front_paw": np.array(SPOT), "body": np.add(SPOT, [0.1, 0.0, 0.0])
    }  # fmt: skip
    assert executor.start(dataclasses.replace(PLACE_AT, toward_keypoint="body")) is None
    assert cell.run().code == GraspCode.SUCCESS
    assert abs(hand(cell)[1, 1]) > 0.999  # the jaws close across the line, along y


@pytest.mark.parametrize("retreat", [0.0, 0.06])
def test_a_release_opens_where_the_hand_is_and_draws_it_back(retreat):
    cell = Cell()
    executor = holding(cell)
    before = tcp(cell)
    assert executor.start(ReleaseGoal(retreat_distance_m=retreat, release_width_m=0.05)) is None
    outcome = cell.run()
    assert outcome.code == GraspCode.SUCCESS and outcome.holding == Holding.NOT_HOLDING
    assert outcome.width == pytest.approx(0.05) and "gripper open at 50 mm" in outcome.message
    assert np.abs(tcp(cell) - before - [0.0, 0.0, retreat]).max() < 1e-3
    assert outcome.phase == (Phase.RETREAT if retreat else Phase.RELEASE)


def test_a_release_lets_go_however_narrow_it_is_told_to_open():
    cell = Cell()
    outcome = task(cell, ReleaseGoal(release_width_m=0.01))
    assert outcome.code == GraspCode.SUCCESS and outcome.width == pytest.approx(0.04)


def test_a_dry_run_of_a_place_shows_the_plan_and_moves_nothing():
    cell = Cell()
    started(cell, dataclasses.replace(PLACE, dry_run=True))  # with nothing held, too
    outcome = cell.run()
    assert outcome.code == GraspCode.SUCCESS and "nothing moved" in outcome.message
    assert outcome.grasp_pose is not None and len(cell.shown) == 1
    assert not cell.arm.sent and not cell.gripper.orders


def test_grasp_place_and_grasp_again():
    cell = Cell()
    executor = holding(cell)
    for goal in (PLACE, GOAL, RELEASE, GOAL):
        assert executor.start(goal) is None
        assert cell.run().code == GraspCode.SUCCESS


def test_any_task_is_busy_while_another_runs():
    cell = Cell()
    executor = holding(cell)
    assert executor.start(PLACE) is None
    cell.run(until=in_phase(Phase.LOWER))
    for goal in (GOAL, PLACE, RELEASE):
        refused = executor.start(goal)
        assert refused is not None and refused.code == GraspCode.BUSY
    assert cell.run().code == GraspCode.SUCCESS


# -- until contact -----------------------------------------------------------------------------


def lands(cell, height: float, stiffness: float = 2000.0):
    """The hand feels the ground at a height of the tool centre point."""

    def step():
        press = max(height - tcp(cell)[2], 0.0) * stiffness
        cell.wrench.force = np.array([0.0, 0.0, 9.0 - press])
        return False

    return lambda executor: step()


@pytest.mark.parametrize("stiffness", [800.0, 100_000.0])
def test_until_contact_lets_go_at_the_first_contact(stiffness):
    cell = Cell()
    executor = holding(cell)
    ground = SPOT[2] + 0.05
    assert executor.start(dataclasses.replace(PLACE, until_contact=True)) is None
    outcome = cell.run(until=lands(cell, ground, stiffness))
    assert outcome.code == GraspCode.SUCCESS and "at the first contact" in outcome.message
    assert outcome.grasp_pose.translation[2] == pytest.approx(ground, abs=0.012)
    assert tcp(cell)[2] == pytest.approx(
        outcome.grasp_pose.translation[2] + GraspParameters().retreat_distance_m, abs=2e-3
    )


def test_until_contact_without_a_contact_lets_go_at_the_end_of_the_way():
    cell = Cell()
    outcome = task(cell, dataclasses.replace(PLACE, until_contact=True))
    assert outcome.code == GraspCode.SUCCESS and "without a contact" in outcome.message


def test_until_contact_goes_down_slowly():
    cell = Cell()
    task(cell, dataclasses.replace(PLACE, until_contact=True))
    lower, _ = cell.arm.sent[-2]
    points = np.array([sawyer().forward(q).translation for q in lower.positions])
    speeds = np.linalg.norm(np.diff(points, axis=0), axis=1) / np.diff(lower.times)
    assert speeds.max() < 2.5 * GraspParameters().touch_speed_m_s


def test_until_contact_needs_a_force_sensor():
    cell = Cell()
    executor = holding(cell, require_wrench=False)
    cell.wrench.recent = tuple
    cell.wrench.readings.clear()
    assert executor.start(dataclasses.replace(PLACE, until_contact=True)) is None
    outcome = cell.run()
    assert outcome.code == GraspCode.NO_WRENCH and outcome.phase == Phase.LOWER
    assert outcome.holding == Holding.HOLDING


# -- nothing held, dropped, not released ---------------------------------------------------------


def test_there_is_nothing_to_place_before_a_grasp():
    cell = Cell()
    started(cell, PLACE)
    outcome = cell.run()
    assert outcome.code == GraspCode.NOTHING_HELD and "open" in outcome.message
    assert not cell.arm.sent and not cell.gripper.orders


def test_there_is_nothing_to_place_after_a_grip_on_nothing():
    cell = Cell()
    cell.gripper.toy_width = 0.0
    assert grasp(cell).code == GraspCode.MISSED
    assert cell.executor.start(PLACE) is None
    outcome = cell.run()
    assert outcome.code == GraspCode.NOTHING_HELD and "closed on nothing" in outcome.message


def test_there_is_nothing_to_place_after_a_release():
    cell = Cell()
    task(cell, ReleaseGoal(release_width_m=0.05))
    assert cell.executor.start(PLACE) is None
    assert cell.run().code == GraspCode.NOTHING_HELD


def test_jaws_that_somebody_opened_hold_nothing():
    cell = Cell()
    executor = holding(cell)
    cell.gripper.width, cell.gripper.orders = 0.06, [(0.06, 20.0)]
    assert executor.start(PLACE) is None
    outcome = cell.run()
    assert outcome.code == GraspCode.NOTHING_HELD and "something opened them" in outcome.message


def test_a_new_server_takes_jaws_that_are_neither_open_nor_closed_for_holding():
    cell = Cell()
    holding(cell)
    started(cell, PLACE)  # another executor, which knows of no grasp
    assert cell.run().code == GraspCode.SUCCESS


@pytest.mark.parametrize("phase", [Phase.TRANSFER, Phase.LOWER])
def test_what_falls_out_on_the_way_is_dropped(phase):
    cell = Cell()
    executor = holding(cell)
    assert executor.start(PLACE) is None
    cell.run(until=in_phase(phase, 0.2))
    cell.gripper.toy_width = 0.0
    outcome = cell.run()
    assert outcome.code == GraspCode.DROPPED and outcome.phase == phase
    assert outcome.holding == Holding.NOT_HOLDING and cell.arm.speed == 0.0


@pytest.mark.parametrize("goal", [PLACE, RELEASE])
@pytest.mark.parametrize("how", ["stalls", "silent"])
def test_jaws_that_do_not_open_have_not_released(goal, how):
    from s3k_ros.grasp.tasks.events import JawsFinished

    cell = Cell()
    executor = holding(cell)

    def jam(width: float, force: float) -> None:
        if how == "stalls":
            cell.gripper.report = JawsFinished(0.032, True)

    move, cell.gripper.move = cell.gripper.move, jam
    assert executor.start(goal) is None
    outcome = cell.run()
    assert outcome.code == GraspCode.NOT_RELEASED and outcome.phase == Phase.RELEASE
    says = "stalled while opening" if how == "stalls" else "stopped while opening"
    assert says in outcome.message and outcome.holding == Holding.UNKNOWN
    cell.gripper.move = move
    assert executor.start(PLACE) is None  # it may be held still
    assert cell.run().code == GraspCode.SUCCESS


# -- perception and planning -------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.TRANSFER, Phase.LOWER])
def test_a_keypoint_that_moves_is_followed(phase):
    cell = Cell()
    executor = holding(cell)
    cell.keypoints.positions["right_front_paw"] = np.array(SPOT)
    before = hand(cell)
    assert executor.start(dataclasses.replace(PLACE_AT, retreat_distance_m=0.0)) is None
    cell.run(until=in_phase(phase, 0.1))
    cell.keypoints.positions["right_front_paw"] = np.add(SPOT, [0.02, 0.025, 0.0])
    outcome = cell.run()
    assert outcome.code == GraspCode.SUCCESS
    assert np.abs(tcp(cell) - SPOT - [0.02, 0.025, 0.0]).max() < 1e-3
    assert np.abs(hand(cell) - before).max() < 0.02


def test_a_keypoint_that_jumps_while_the_hand_goes_down_is_gone_to_anew():
    cell = Cell()
    executor = holding(cell)
    cell.keypoints.positions["right_front_paw"] = np.array(SPOT)
    assert executor.start(dataclasses.replace(PLACE_AT, retreat_distance_m=0.0)) is None
    cell.run(until=in_phase(Phase.LOWER, 0.15))
    cell.keypoints.positions["right_front_paw"] = np.add(SPOT, [0.1, 0.1, 0.0])
    cell.run(until=in_phase(Phase.OBSERVE))
    assert cell.run().code == GraspCode.SUCCESS
    assert np.abs(tcp(cell) - SPOT - [0.1, 0.1, 0.0]).max() < 1e-3


@pytest.mark.parametrize("phase", [Phase.TRANSFER, Phase.LOWER])
def test_a_keypoint_lost_on_the_way_ends_as_lost_and_still_held(phase):
    cell = Cell()
    executor = holding(cell, lost_timeout_s=0.3)
    cell.keypoints.positions["right_front_paw"] = np.array(SPOT)
    assert executor.start(PLACE_AT) is None
    cell.run(until=in_phase(phase))
    cell.keypoints.hidden.add("right_front_paw")
    outcome = cell.run()
    assert outcome.code == GraspCode.LOST and outcome.phase == phase
    assert outcome.holding == Holding.HOLDING and "gripper untouched at 30 mm" in outcome.message


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        ({"sigma": 0.03}, GraspCode.TOO_UNCERTAIN),
        ({"confidence": 0.1}, GraspCode.LOW_CONFIDENCE),
        ({"hidden": {"right_front_paw"}}, GraspCode.NO_KEYPOINTS),
        (
            {"hidden": {"right_front_paw"}, "hidden_status": KeypointStatus.INCONSISTENT},
            GraspCode.TOO_UNCERTAIN,
        ),
    ],
)
def test_bad_perception_moves_nothing(spoil, code):
    cell = Cell()
    executor = holding(cell)
    for name, value in spoil.items():
        setattr(cell.keypoints, name, value)
    sent = len(cell.arm.sent)
    assert executor.start(PLACE_AT) is None
    outcome = cell.run()
    assert outcome.code == code and outcome.holding == Holding.HOLDING
    assert len(cell.arm.sent) == sent


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"position": (1.6, 0.0, -0.1)}, GraspCode.OUTSIDE_WORKSPACE),
        ({"position": (1e300, 0.0, -0.1)}, GraspCode.OUTSIDE_WORKSPACE),
        ({"keypoint": "left_ear"}, GraspCode.UNKNOWN_KEYPOINT),
        ({"keypoint": "head", "object_id": "bear"}, GraspCode.INVALID_GOAL),
    ],
)
def test_a_place_that_cannot_be_served_moves_nothing(fields, code):
    cell = Cell()
    executor = holding(cell)
    sent = len(cell.arm.sent)
    assert executor.start(dataclasses.replace(PLACE, **fields)) is None
    assert cell.run().code == code and len(cell.arm.sent) == sent


def test_no_table_stands_in_the_way_of_a_place_too_low():
    cell = Cell()
    low = (SPOT[0], SPOT[1], TABLE_HEIGHT_M - 0.05)
    outcome = task(cell, dataclasses.replace(PLACE, position=low))
    assert outcome.code == GraspCode.SUCCESS
    assert outcome.grasp_pose.translation[2] > TABLE_HEIGHT_M + 0.01


# -- hostile goals -----------------------------------------------------------------------------

_NUMBERS = (
    *("approach_distance_m", "retreat_distance_m", "release_width_m"),
    *("contact_force_limit_n", "min_confidence"),
)
_HOSTILE = [
    *(({name: value}, name) for name in _NUMBERS for value in (math.nan, math.inf, 1e9)),
    ({"position": (0.5, math.nan, 0.0)}, r"pose.position[1] = nan"),
    ({"position": (0.5, 0.0, math.inf)}, r"pose.position[2] = inf"),
    ({"orientation": (0.0, 0.0, 0.0, 0.0)}, "has norm 0, allowed: 0.99 to 1.01"),
    ({"orientation": (0.0, 0.0, math.nan, 1.0)}, "pose.orientation[2] = nan"),
    ({"orientation": (3.0, 0.0, 0.0, 4.0)}, "has norm 5"),
    ({"orientation": (1e-9, 0.0, 0.0, 0.0)}, "pose.orientation"),
    ({"approach": (0.0, math.nan, 0.0)}, "approach[1] = nan"),
    ({"offset": (0.0, 0.0, -math.inf)}, "offset[2] = -inf"),
    ({"offset": (9.0, 0.0, 0.0)}, "longer than 0.3 m"),
    ({"toward_keypoint": "body"}, "toward_keypoint"),
    ({"keypoint": "body", "toward_keypoint": "body"}, "must differ"),
]


@pytest.mark.parametrize(("fields", "says"), _HOSTILE)
def test_hostile_places_are_invalid_by_name_and_value(fields, says):
    executor = Cell().make_executor()
    refused = executor.start(dataclasses.replace(PLACE, **fields))
    assert refused is not None and refused.code == GraspCode.INVALID_GOAL
    assert says in refused.message and not executor.busy


@pytest.mark.parametrize("name", ["release_width_m", "retreat_distance_m", "contact_force_limit_n"])
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e9])
def test_hostile_releases_are_invalid_by_name(name, value):
    executor = Cell().make_executor()
    refused = executor.start(ReleaseGoal(**{name: value}))
    assert refused is not None and refused.code == GraspCode.INVALID_GOAL
    assert name in refused.message and refused.phase == Phase.RELEASE


def test_a_far_keypoint_is_not_the_paw():
    assert np.linalg.norm(PAW - SPOT) > 0.2  # or places would show nothing
    assert PlaceGoal(position=SPOT) == PLACE


def test_a_release_without_room_behind_the_hand_opens_all_the_same_and_says_so():
    cell = Cell()
    started(cell, ReleaseGoal(retreat_distance_m=0.3))  # at home, under its own elbow
    outcome = cell.run()
    assert outcome.code == GraspCode.SUCCESS and "(not drawn back: way back: " in outcome.message
    assert cell.gripper.width == pytest.approx(0.085)


def test_after_a_touch_without_room_behind_the_hand_it_lets_go_and_stays():
    cell = Cell()
    executor = holding(cell)
    assert executor.start(dataclasses.replace(PLACE, until_contact=True)) is None
    step = lands(cell, SPOT[2] + 0.05)
    cell.run(until=lambda executor: step(executor) or executor.state.touched)
    cell.planner.planner = SimpleNamespace(
        plan=lambda goal, target, start: Refusal(GraspCode.IN_COLLISION, "a shelf")
    )
    outcome = cell.run(until=step)
    assert outcome.code == GraspCode.SUCCESS and "not drawn back: a shelf" in outcome.message
    assert cell.gripper.width == pytest.approx(0.085)
