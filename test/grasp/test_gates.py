from __future__ import annotations

import numpy as np
import pytest

from s3k_ros.grasp.codes import GraspCode, Holding, KeypointStatus
from s3k_ros.grasp.monitors import ContactMonitor, RestMonitor
from s3k_ros.grasp.ports import JointReading, WrenchReading
from s3k_ros.grasp.tasks.gates import KeypointReading, check_reading, median_position
from s3k_ros.grasp.tasks.holding import Evidence, judge
from s3k_ros.params.grasp import GraspParameters

PARAMS = GraspParameters()
POINT = np.array([0.6, 0.0, -0.1])
NAN = np.full(3, np.nan)


def reading(status=KeypointStatus.OK, position=POINT, confidence=0.9, received_at=10.0):
    return KeypointReading("paw", status, position, np.eye(3) * 1e-5, confidence, received_at)


def code(value, now=10.1, least=0.5):
    refusal = check_reading(value, "paw", now, least, PARAMS)
    return None if refusal is None else refusal.code


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (reading(), None),
        (None, GraspCode.NO_KEYPOINTS),
        (reading(received_at=9.0), GraspCode.STALE),
        (reading(confidence=0.4), GraspCode.LOW_CONFIDENCE),
        (reading(confidence=float("nan")), GraspCode.NO_KEYPOINTS),
        (reading(position=NAN), GraspCode.NO_KEYPOINTS),
        (reading(KeypointStatus.TOO_FEW_VIEWS, NAN), GraspCode.NO_KEYPOINTS),
        (reading(KeypointStatus.PREDICTED), GraspCode.NO_KEYPOINTS),
        (reading(KeypointStatus.LOW_CONFIDENCE, NAN), GraspCode.LOW_CONFIDENCE),
        (reading(KeypointStatus.INCONSISTENT, NAN), GraspCode.TOO_UNCERTAIN),
    ],
)
def test_each_bad_reading_has_its_code(value, expected):
    assert code(value) == expected


def test_age_counts_from_receipt_on_the_servers_clock():
    refusal = check_reading(reading(received_at=3.0), "paw", 10.0, 0.5, PARAMS)
    assert refusal is not None and "7.00 s ago" in refusal.message


def test_one_gross_error_in_three_does_not_move_the_median():
    points = [POINT, POINT + 0.002, POINT + np.array([0.5, -0.5, 0.5])]
    assert np.abs(median_position(points) - POINT).max() < 0.0021


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (Evidence(True, 0.03, 0.029, 2.0), Holding.HOLDING),
        (Evidence(True, 0.03, None, None), Holding.HOLDING),
        (Evidence(True, 0.03, 0.001, 2.0), Holding.NOT_HOLDING),
        (Evidence(False, 0.03, 0.03, 2.0), Holding.UNKNOWN),
        (Evidence(True, 0.03, 0.02, 2.0, creeping=True), Holding.UNKNOWN),
    ],
)
def test_width_and_stall_decide_holding(evidence, expected):
    assert judge(evidence, PARAMS)[0] == expected


def test_a_missing_load_leaves_holding_unknown_when_it_is_asked_for():
    asking = GraspParameters(min_load_n=0.5)
    assert judge(Evidence(True, 0.03, 0.03, 0.2), asking)[0] == Holding.UNKNOWN
    assert judge(Evidence(True, 0.03, 0.03, 1.2), asking)[0] == Holding.HOLDING
    assert judge(Evidence(True, 0.03, 0.03, None), asking)[0] == Holding.HOLDING


def test_rest_needs_a_tenth_of_a_second_without_motion():
    monitor = RestMonitor(0.01)
    at = [JointReading(np.full(7, 0.01 * i), None, 0.01 * i) for i in range(11)]
    for value in at:
        monitor.update(value)
    assert not monitor.at_rest(0.1)
    for i in range(1, 13):
        monitor.update(JointReading(at[-1].positions, None, 0.1 + 0.01 * i))
        if i not in (10, 11):  # the edge of the window, where rounding decides
            assert monitor.at_rest(0.1 + 0.01 * i) == (i > 11)
    assert not monitor.at_rest(0.5)  # the newest reading is too old to say


def test_rest_begins_anew_when_simulated_time_goes_back():
    monitor = RestMonitor(0.01)
    for i in range(20):
        monitor.update(JointReading(np.zeros(7), None, 50.0 + 0.01 * i))
    monitor.update(JointReading(np.zeros(7), None, 1.0))
    assert not monitor.at_rest(1.0)


def test_contact_is_the_change_since_tare_over_a_few_samples():
    monitor = ContactMonitor()
    still = tuple(WrenchReading(np.array([0.0, 0.0, 9.0]), 0.01 * i) for i in range(30))
    assert monitor.change(still) is None
    monitor.tare(still, 0.3)
    assert monitor.change(still) == pytest.approx(0.0)
    spike = (*still, WrenchReading(np.array([0.0, 0.0, -30.0]), 0.3))
    assert monitor.change(spike) == pytest.approx(13.0)
    push = (*still, *(WrenchReading(np.array([0.0, 30.0, 9.0]), 0.3 + 0.01 * i) for i in range(3)))
    assert monitor.change(push) == pytest.approx(30.0)
    monitor.tare((), 1.0)
    assert monitor.change(push) is None
