"""The demo's judgement: the server's word alone is never enough."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.made_up_trial import REST, make_recording

from s3k_ros.demo.display import table_lines
from s3k_ros.demo.trial import (
    draw_seeds,
    grasp_error_mm,
    judge,
    keypoint_error_at_grasp,
    success_rate,
)
from s3k_ros.params.demo import DemoParameters

PARAMS = DemoParameters()
ENDED_S = 11.0


def test_a_lifted_paw_at_the_tcp_that_the_server_holds_is_a_success(recording, held_trial):
    assert judge(held_trial, recording, ENDED_S, PARAMS) == (True, "held")
    assert held_trial.rise_mm == pytest.approx(120, abs=0.1)
    assert held_trial.tcp_distance_mm == pytest.approx(0, abs=1)


def test_a_paw_left_on_the_table_fails_whatever_the_server_says(held_trial):
    success, reason = judge(held_trial, make_recording(lifted=False), ENDED_S, PARAMS)
    assert not success
    assert "rose by 0 mm" in reason


def test_a_paw_that_drops_while_the_hold_is_watched_fails(held_trial):
    recording = make_recording()
    stamp, points = recording.truth[-1]
    recording.truth[-1] = (stamp, points - [0, 0, 0.115])
    assert not judge(held_trial, recording, ENDED_S, PARAMS)[0]


def test_a_risen_paw_away_from_the_tcp_fails(held_trial):
    recording = make_recording()
    recording.tcp = [(stamp, point + np.array([0.2, 0, 0])) for stamp, point in recording.tcp]
    success, reason = judge(held_trial, recording, ENDED_S, PARAMS)
    assert not success
    assert "200 mm away" in reason


def test_without_a_tcp_nothing_is_held(held_trial):
    recording = make_recording()
    recording.tcp = []
    assert not judge(held_trial, recording, ENDED_S, PARAMS)[0]


def test_without_truth_nothing_is_held(held_trial):
    recording = make_recording()
    recording.truth = []
    assert judge(held_trial, recording, ENDED_S, PARAMS) == (False, "no ground truth to judge by")


@pytest.mark.parametrize("holding", ["UNKNOWN", "NOT_HOLDING"])
def test_a_lift_that_the_server_does_not_call_holding_fails(recording, held_trial, holding):
    assert not judge(dataclasses.replace(held_trial, holding=holding), recording, ENDED_S, PARAMS)[
        0
    ]


def test_an_aborted_grasp_fails_with_the_servers_message(recording, held_trial):
    trial = dataclasses.replace(held_trial, code=44, message="the jaws met nothing")
    assert judge(trial, recording, ENDED_S, PARAMS) == (False, "the jaws met nothing")


def test_no_result_at_all_fails(recording, held_trial):
    trial = dataclasses.replace(held_trial, code=None, message="")
    assert judge(trial, recording, ENDED_S, PARAMS) == (False, "no result")


def test_grasp_error_is_the_distance_to_the_true_paw_when_the_jaws_begin_to_close(recording):
    commanded = REST[2] + [0.003, 0.0, 0.004]
    assert grasp_error_mm(recording, "right_front_paw", commanded, ENDED_S) == pytest.approx(5.0)


def test_keypoint_error_at_grasp_is_of_the_last_valid_keypoint_before_the_close():
    recording = make_recording(noise_m=0.0)
    last = max(k.stamp_s for k in recording.keypoints if k.stamp_s <= 6.0)
    found = next(k for k in recording.keypoints if k.stamp_s == last)
    found.positions[2] += [0, 0, 0.007]
    error, confidence = keypoint_error_at_grasp(recording, "right_front_paw", ENDED_S)
    assert error == pytest.approx(7.0, abs=0.01)
    assert confidence == 0.97


def test_seeds_differ_and_do_not_depend_on_the_number_of_trials():
    assert draw_seeds(1, 3) == draw_seeds(1, 5)[:3]
    assert draw_seeds(1, 5) != draw_seeds(2, 5)
    assert len(set(draw_seeds(3, 100))) == 100


def test_trials_that_never_ran_count_as_failures(held_trial):
    assert success_rate([dataclasses.replace(held_trial, success=True)], 5) == 0.2


def test_table_has_one_aligned_row_a_trial_also_without_numbers(held_trial):
    lines = table_lines([held_trial, dataclasses.replace(held_trial, rise_mm=np.pi)])
    assert len({len(line) for line in lines}) == 1
