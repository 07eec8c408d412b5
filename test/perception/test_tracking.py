from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import chi2

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.params.tracking import TrackingParameters
from s3k_ros.perception.constant_velocity import MotionStates
from s3k_ros.perception.tracking import KeypointTracker, TrackedKeypoint
from s3k_ros.perception.triangulator import KeypointEstimate, Status

MS = 1_000_000
START_NS = 1_700_000_000_000_000_000
SHARED = np.diag([4e-6, 1e-6, 9e-6])
NOISE = np.diag([1e-6, 1e-6, 4e-6])
PARAMS = TrackingParameters(persistent_share=0.0)


def estimate(
    position: np.ndarray | None,
    covariance: np.ndarray = NOISE + SHARED,
    status: Status = Status.TOO_FEW_VIEWS,
    shared: np.ndarray = SHARED,
) -> KeypointEstimate:
    """An OK estimate, or without a position one of that status."""
    if position is None:
        nothing = np.full((3, 3), np.nan)
        return KeypointEstimate("nose", status, nothing[0], nothing, 0.1, np.nan, 0, nothing)
    return KeypointEstimate(
        "nose", Status.OK, np.asarray(position), covariance, 0.9, 0.4, 0b1011, shared
    )


class Run:
    """One keypoint, a set every 50 ms."""

    def __init__(self, params: TrackingParameters = PARAMS) -> None:
        self.tracker = KeypointTracker(1, params)
        self.time_ns = START_NS

    def see(self, position: object, step_ns: int = 50 * MS, **options: object) -> TrackedKeypoint:
        self.time_ns += step_ns
        raw = estimate(None if position is None else np.array(position, float), **options)
        return self.tracker.update(self.time_ns, [raw])[0]


def random_covariances(rng: np.random.Generator, count: int, scale: float) -> np.ndarray:
    factors = rng.normal(size=(count, 3, 3))
    return scale**2 * (factors @ factors.swapaxes(1, 2) + 0.2 * np.eye(3))


def nees(tracked: list[TrackedKeypoint], truth: np.ndarray) -> np.ndarray:
    errors = np.array([t.estimate.position for t in tracked]) - truth
    covariances = np.array([t.estimate.covariance for t in tracked])
    return np.einsum("ki,kij,kj->k", errors, np.linalg.inv(covariances), errors)


@dataclasses.dataclass
class Simulated:
    """NEES of many tracks that move as the filter expects."""

    measured: np.ndarray
    predicted: np.ndarray


def simulate(
    lasting: float, params: TrackingParameters, tell: bool = True, count: int = 1500
) -> Simulated:
    """Tracks of random motion, rates, gaps and covariances.

    Args:
        lasting: share of the noise that is the same in all sets of a track.
        params: of the tracker.
        tell: whether the tracker learns of the shared covariance.
        count: independent tracks.
    """
    rng = np.random.default_rng(7)
    q, v0 = params.velocity_change_m_s, params.initial_velocity_m_s
    x = rng.uniform(-0.5, 0.5, (count, 3))
    v = v0 * rng.normal(size=(count, 3))
    shared, noise = random_covariances(rng, count, 0.002), random_covariances(rng, count, 0.002)
    normal = np.linalg.cholesky
    bias = (normal(shared) @ rng.normal(size=(count, 3, 1)))[..., 0]
    bias += np.sqrt(lasting) * (normal(noise) @ rng.normal(size=(count, 3, 1)))[..., 0]
    tracker = KeypointTracker(count, params)
    told = shared if tell else np.zeros_like(shared)
    time_ns, measured, predicted = START_NS, np.empty(0), np.empty(0)
    for step in range(22):
        dt = rng.uniform(0.02, 0.08)
        time_ns += round(1e9 * dt)
        # Exact steps of a Wiener velocity: the two noises of one step are correlated.
        a, b = rng.normal(size=(2, count, 3))
        x = x + v * dt + q * dt**1.5 * (a / 2.0 + b / np.sqrt(12.0))
        v = v + q * np.sqrt(dt) * a
        white = np.sqrt(1.0 - lasting) * (normal(noise) @ rng.normal(size=(count, 3, 1)))[..., 0]
        seen = rng.uniform(size=count) < (0.7 if step else 1.0)
        raw = [
            estimate(p if ok else None, c, shared=s)
            for p, ok, c, s in zip(x + bias + white, seen, noise + shared, told, strict=True)
        ]
        tracked = tracker.update(time_ns, raw)
        if step >= 10:
            status = np.array([t.estimate.status for t in tracked])
            distance = nees(tracked, x)
            measured = np.append(measured, distance[status == Status.OK])
            predicted = np.append(predicted, distance[status == Status.PREDICTED])
    return Simulated(measured, predicted)


def coverage(distances: np.ndarray, level: float = 0.95) -> float:
    return float((distances <= chi2.ppf(level, 3)).mean())


# A tight gate would cut the tails off; the gate has its own tests.
SIMULATED = TrackingParameters(persistent_share=0.0, gate_probability=1e-9, max_age_s=1.0)


def test_claimed_regions_hold_what_they_claim() -> None:
    run = simulate(0.0, SIMULATED)
    assert 0.93 < coverage(run.measured) < 0.97
    assert 0.93 < coverage(run.predicted) < 0.97
    assert 0.47 < coverage(run.measured, 0.5) < 0.53
    assert run.measured.mean() == pytest.approx(3.0, abs=0.2)


def test_regions_hold_too_where_half_of_the_noise_lasts() -> None:
    run = simulate(0.5, dataclasses.replace(SIMULATED, persistent_share=0.5))
    assert 0.93 < coverage(run.measured) < 0.97
    assert 0.93 < coverage(run.predicted) < 0.97


@pytest.mark.parametrize(("lasting", "tell"), [(0.0, False), (0.8, True)])
def test_a_filter_that_takes_all_noise_for_white_would_claim_too_much(
    lasting: float, tell: bool
) -> None:
    """What the floor is for: the same test without it."""
    assert coverage(simulate(lasting, SIMULATED, tell).measured) < 0.92


def test_tracking_sharpens_what_averages_out() -> None:
    rng = np.random.default_rng(5)
    run, raw, errors = Run(), [], []
    for _ in range(300):
        raw.append(np.linalg.cholesky(NOISE) @ rng.normal(size=3))
        errors.append(run.see(raw[-1]).estimate.position)
    filtered = np.std(errors[20:], axis=0)
    assert (filtered < 0.9 * np.std(raw[20:], axis=0)).all()


def test_covariance_never_falls_below_what_lasts() -> None:
    run = Run(TrackingParameters(persistent_share=0.25))
    for _ in range(500):
        found = run.see([0.6, 0.0, 0.1])
    excess = found.estimate.covariance - (SHARED + 0.25 * NOISE)
    assert np.linalg.eigvalsh(excess).min() > 0.0
    assert np.trace(excess) < 0.8 * 0.75 * np.trace(NOISE)


def test_first_estimate_is_passed_on_as_it_is() -> None:
    found = Run(TrackingParameters()).see([0.6, 0.0, 0.1])
    assert np.allclose(found.estimate.position, [0.6, 0.0, 0.1])
    assert np.allclose(found.estimate.covariance, NOISE + SHARED)
    assert (found.estimate.status, found.age_ns) == (Status.OK, 0)
    assert found.estimate.confidence == 0.9


def test_missing_keypoint_is_carried_on_with_its_age_and_a_growing_covariance() -> None:
    run = Run()
    for step in range(40):
        run.see([0.6 + 0.01 * step, 0.0, 0.1])
    traces = []
    for step in range(40, 44):
        found = run.see(None)
        assert found.estimate.status == Status.PREDICTED
        assert found.age_ns == (step - 39) * 50 * MS
        assert found.estimate.position[0] == pytest.approx(0.6 + 0.01 * step, abs=0.002)
        assert found.estimate.views_used == 0b1011
        assert np.isfinite(found.estimate.reprojection_error)
        traces.append(np.trace(found.estimate.covariance))
    assert traces == sorted(traces)
    assert found.velocity == pytest.approx([0.2, 0.0, 0.0], abs=0.02)


@pytest.mark.parametrize(
    "status", [Status.TOO_FEW_VIEWS, Status.LOW_CONFIDENCE, Status.INCONSISTENT]
)
def test_keypoint_that_stays_away_gets_its_own_status_back(status: Status) -> None:
    run = Run()
    run.see([0.6, 0.0, 0.1])
    statuses = [run.see(None, status=status).estimate.status for _ in range(12)]
    assert statuses == [Status.PREDICTED] * 10 + [status] * 2
    assert np.isnan(run.see(None).estimate.position).all()


def test_single_jump_is_left_out() -> None:
    run = Run()
    for _ in range(10):
        run.see([0.6, 0.0, 0.1])
    found = run.see([0.7, 0.0, 0.1])
    assert (found.estimate.status, found.age_ns) == (Status.PREDICTED, 50 * MS)
    assert found.estimate.position == pytest.approx([0.6, 0.0, 0.1], abs=1e-3)
    assert run.see([0.6, 0.0, 0.1]).estimate.status == Status.OK


def test_jump_that_persists_moves_the_track() -> None:
    run = Run()
    for _ in range(10):
        run.see([0.6, 0.0, 0.1])
    found = [run.see([0.7, 0.0, 0.1]) for _ in range(3)]
    statuses = [f.estimate.status for f in found]
    assert statuses == [Status.PREDICTED, Status.PREDICTED, Status.OK]
    assert found[-1].estimate.position == pytest.approx([0.7, 0.0, 0.1], abs=1e-3)
    assert found[-1].age_ns == 0
    assert run.see([0.7, 0.0, 0.1]).estimate.status == Status.OK


def test_jumps_that_disagree_do_not_move_the_track() -> None:
    run = Run()
    for _ in range(10):
        run.see([0.6, 0.0, 0.1])
    for x in (0.7, 0.5, 0.8, 0.4, 0.9):
        found = run.see([x, 0.0, 0.1])
        assert found.estimate.status == Status.PREDICTED
        assert found.estimate.position == pytest.approx([0.6, 0.0, 0.1], abs=1e-3)


def test_outliers_between_good_measurements_do_not_add_up() -> None:
    run = Run()
    run.see([0.6, 0.0, 0.1])
    for _ in range(5):
        assert run.see([0.7, 0.0, 0.1]).estimate.status == Status.PREDICTED
        assert run.see([0.6, 0.0, 0.1]).estimate.status == Status.OK


def test_good_measurements_fail_the_gate_as_rarely_as_it_says() -> None:
    rng = np.random.default_rng(3)
    params = dataclasses.replace(PARAMS, gate_probability=0.02)
    tracker = KeypointTracker(500, params)
    root = np.linalg.cholesky(NOISE)
    refused = 0
    for step in range(20):
        positions = (root @ rng.normal(size=(500, 3, 1)))[..., 0]
        found = tracker.update(START_NS + step * 50 * MS, [estimate(p) for p in positions])
        refused += sum(f.estimate.status == Status.PREDICTED for f in found)
    # At rest, where the filter expects motion, the gate is a little wide.
    assert 0.002 < refused / (500 * 19) < 0.022


def test_keypoints_are_predicted_to_a_requested_time() -> None:
    run = Run()
    for step in range(40):
        now = run.see([0.6 + 0.01 * step, 0.0, 0.1])
    later = run.tracker.at(run.time_ns + 100 * MS)[0]
    assert (later.estimate.status, later.age_ns) == (Status.PREDICTED, 100 * MS)
    assert later.estimate.position[0] == pytest.approx(1.01, abs=0.002)
    assert np.trace(later.estimate.covariance) > np.trace(now.estimate.covariance)
    again = run.tracker.at(run.time_ns)[0]
    assert again.estimate.status == Status.OK
    assert np.array_equal(again.estimate.position, now.estimate.position)


def test_prediction_to_a_time_equals_that_of_a_set_without_the_keypoint() -> None:
    run = Run()
    for step in range(5):
        run.see([0.6 + 0.01 * step, 0.0, 0.1])
    asked = run.tracker.at(run.time_ns + 100 * MS)[0]
    run.see(None)  # in two steps of 50 ms
    found = run.see(None)
    assert np.allclose(found.estimate.position, asked.estimate.position, atol=1e-12)
    assert np.allclose(found.estimate.covariance, asked.estimate.covariance, rtol=1e-9)


def test_asking_for_a_time_long_after_the_last_set_gives_no_position() -> None:
    run = Run()
    run.see([0.6, 0.0, 0.1])
    found = run.tracker.at(run.time_ns + 600 * MS)[0]
    assert found.estimate.status == Status.TOO_FEW_VIEWS
    assert np.isnan(found.estimate.position).all()


def test_past_times_are_refused() -> None:
    run = Run()
    with pytest.raises(DataError, match="nothing was tracked"):
        run.tracker.at(START_NS)
    run.see([0.6, 0.0, 0.1])
    with pytest.raises(DataError, match="before the last set"):
        run.tracker.at(run.time_ns - 1)


@pytest.mark.parametrize(("back_ns", "what"), [(0, "repeats"), (30 * MS, "older")])
def test_repeated_and_late_sets_are_refused_and_change_nothing(back_ns: int, what: str) -> None:
    run = Run()
    before = [run.see([0.6 + 0.01 * i, 0.0, 0.1]) for i in range(5)][-1]
    with pytest.raises(DataError, match=what):
        run.see([0.9, 0.0, 0.1], step_ns=-back_ns)
    after = run.tracker.at(START_NS + 5 * 50 * MS)[0]
    assert np.array_equal(after.estimate.position, before.estimate.position)
    assert np.array_equal(after.estimate.covariance, before.estimate.covariance)


def test_clock_that_was_set_back_starts_anew() -> None:
    run = Run()
    for _ in range(5):
        run.see([0.6, 0.0, 0.1])
    found = run.see([0.9, 0.0, 0.1], step_ns=-5_000 * MS)
    assert found.estimate.status == Status.OK
    assert np.allclose(found.estimate.position, [0.9, 0.0, 0.1])


def test_keypoints_are_independent_of_each_other() -> None:
    tracker = KeypointTracker(3, PARAMS)
    points = np.array([[0.5, 0.0, 0.0], [0.6, 0.0, 0.0], [0.7, 0.0, 0.0]])
    for step in range(10):
        raw = [estimate(p) for p in points]
        if step == 9:
            raw[0], raw[1] = estimate(None), estimate(points[1] + 0.1)
        found = tracker.update(START_NS + step * 50 * MS, raw)
    assert [f.estimate.status for f in found] == [Status.PREDICTED, Status.PREDICTED, Status.OK]
    for keypoint, point in zip(found, points, strict=True):
        assert keypoint.estimate.position == pytest.approx(point, abs=1e-3)


def test_misfitting_inputs_are_refused() -> None:
    tracker = KeypointTracker(2)
    with pytest.raises(DataError, match="expected 2"):
        tracker.update(START_NS, [estimate(None)])


@pytest.mark.parametrize("values", [{"max_age_s": -1.0}, {"persistent_share": 1.5}])
def test_parameters_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(values))):
        TrackingParameters.from_mapping(values)


def test_two_predictions_equal_one_of_the_whole_time() -> None:
    rng = np.random.default_rng(1)
    states = MotionStates.at_rest(rng.normal(size=(4, 3)), random_covariances(rng, 4, 0.1), 0.3)
    twice = states.predicted(0.03, 0.5).predicted(0.05, 0.5)
    once = states.predicted(0.08, 0.5)
    assert np.allclose(twice.means, once.means)
    assert np.allclose(twice.covariances, once.covariances)


def test_update_agrees_with_the_weighted_mean_of_prior_and_measurement() -> None:
    rng = np.random.default_rng(2)
    prior, noise = random_covariances(rng, 4, 0.1), random_covariances(rng, 4, 0.2)
    x, z = rng.normal(size=(2, 4, 3))
    found = MotionStates.at_rest(x, prior, 0.3).updated(z, noise)
    information = np.linalg.inv(prior) + np.linalg.inv(noise)
    right = np.linalg.inv(prior) @ x[..., None] + np.linalg.inv(noise) @ z[..., None]
    assert np.allclose(found.positions, np.linalg.solve(information, right)[..., 0])
    assert np.allclose(found.position_covariances, np.linalg.inv(information))
