# ruff: noqa: E402
"""Each kind of failure is made up from synthetic estimates and found by its name."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.run import guards
from s3k_ros.training.run.guards import COLLAPSE, DRIFT, LABELS, SWAP, GuardReport

pytestmark = pytest.mark.torch

NAMES = ["head", "left_paw", "right_paw", "body"]
SHAPE = np.array([[0.11, 0, 0.07], [0.07, 0.07, 0.02], [0.07, -0.07, 0.02], [0.0, 0, 0.05]])
PARAMS = TrainingParameters(stage="crop")


def scenes(count: int, seed: int, shape: np.ndarray = SHAPE) -> np.ndarray:
    """The shape at random places, upright, (count, K, 3)."""
    rng = np.random.default_rng(seed)
    yaw = rng.uniform(-np.pi, np.pi, count)
    c, s, o, i = np.cos(yaw), np.sin(yaw), np.zeros(count), np.ones(count)
    turn = np.stack([c, -s, o, s, c, o, o, o, i], -1).reshape(count, 3, 3)
    shift = np.concatenate([rng.uniform(-0.15, 0.15, (count, 1, 2)), np.zeros((count, 1, 1))], -1)
    return shape @ turn.transpose(0, 2, 1) + shift


def noise(points: np.ndarray, size: float, seed: int = 9) -> np.ndarray:
    return points + np.random.default_rng(seed).normal(0, size, points.shape)


LABELS_AT = noise(scenes(10, 0), 0.001)
TRUTH = scenes(40, 1)


def report(
    on_labels: np.ndarray | None = None, unlabelled: np.ndarray | None = None
) -> GuardReport:
    on_labels = noise(LABELS_AT, 0.003) if on_labels is None else on_labels
    unlabelled = noise(TRUTH, 0.003) if unlabelled is None else unlabelled
    return guards.inspect(NAMES, LABELS_AT, on_labels, unlabelled, None, PARAMS)


def found(result: GuardReport) -> set[tuple[str, str]]:
    return {(finding.kind, finding.keypoint) for finding in result.findings}


def test_nothing_is_reported_for_a_healthy_run() -> None:
    assert report().findings == ()


def test_collapse_towards_the_centre_is_found_though_all_views_agree() -> None:
    centre = TRUTH.mean(1, keepdims=True)
    shrunken = report(unlabelled=noise(centre + 0.75 * (TRUTH - centre), 0.002))
    assert found(shrunken) == {(COLLAPSE, name) for name in NAMES}


def test_one_keypoint_that_moves_to_the_centre_is_named_alone() -> None:
    estimates = noise(TRUTH, 0.002)
    estimates[:, 0] = estimates[:, 3] + 0.3 * (estimates[:, 0] - estimates[:, 3])
    assert (COLLAPSE, "head") in found(report(unlabelled=estimates))
    assert not {(COLLAPSE, "left_paw"), (COLLAPSE, "right_paw")} & found(
        report(unlabelled=estimates)
    )


def test_a_point_that_never_moves_is_a_collapse() -> None:
    estimates = noise(TRUTH, 0.002)
    estimates[:, 3] = noise(np.zeros((len(TRUTH), 3)), 0.001)
    assert (COLLAPSE, "body") in found(report(unlabelled=estimates))


def test_swapped_paws_are_found_on_unlabelled_samples() -> None:
    estimates = noise(TRUTH, 0.002)
    estimates[:8] = estimates[:8][:, [0, 2, 1, 3]]
    result = report(unlabelled=estimates)
    assert found(result) == {(SWAP, "left_paw"), (SWAP, "right_paw")}
    assert result.figures["left_paw"]["swapped"] == pytest.approx(0.2)


def test_swapped_paws_are_found_on_labelled_samples() -> None:
    on_labels = noise(LABELS_AT, 0.002)
    on_labels[:2] = on_labels[:2][:, [0, 2, 1, 3]]
    assert {(SWAP, "left_paw"), (SWAP, "right_paw")} <= found(report(on_labels=on_labels))


def test_keypoints_of_unlike_places_that_change_places_are_found() -> None:
    estimates = noise(TRUTH, 0.002)[:, [3, 1, 2, 0]]
    assert {(SWAP, "head"), (SWAP, "body")} <= found(report(unlabelled=estimates))


def test_labels_that_are_not_met_are_found() -> None:
    on_labels = noise(LABELS_AT, 0.002)
    on_labels[:, 1] += [0.0, 0.0, 0.03]
    result = report(on_labels=on_labels)
    assert found(result) == {(LABELS, "left_paw")}
    assert result.findings[0].value == pytest.approx(30, abs=2)
    assert result.findings[0].limit == pytest.approx(12)


def test_missing_estimates_on_labelled_samples_are_found() -> None:
    on_labels = noise(LABELS_AT, 0.002)
    on_labels[:7, 2] = np.nan
    assert found(report(on_labels=on_labels)) == {(LABELS, "right_paw")}


def test_distances_that_leave_their_range_are_a_drift() -> None:
    estimates = noise(TRUTH, 0.002)
    estimates[:, 0] += [0.0, 0.0, 0.09]
    result = report(unlabelled=estimates)
    assert (DRIFT, "head") in found(result)
    assert all(finding.kind == DRIFT for finding in result.findings)


def test_every_finding_says_what_was_measured_what_is_expected_and_what_to_do() -> None:
    centre = TRUTH.mean(1, keepdims=True)
    on_labels = LABELS_AT[:, [0, 2, 1, 3]]
    result = report(on_labels=on_labels, unlabelled=centre + 0.5 * (TRUTH - centre))
    assert {finding.kind for finding in result.findings} >= {COLLAPSE, SWAP, LABELS}
    for finding in result.findings:
        assert str(finding).startswith(f"{finding.kind} {finding.keypoint}: ")
        assert "expected" in finding.message
        assert "self_weight" in finding.message or "label more samples" in finding.message


def test_score_prefers_the_run_without_bias_though_the_biased_one_scatters_less() -> None:
    centre = TRUTH.mean(1, keepdims=True)
    biased = report(unlabelled=noise(centre + 0.85 * (TRUTH - centre), 0.0002))
    scattered = report(unlabelled=noise(TRUTH, 0.003))
    assert scattered.score < biased.score


def test_refused_estimates_do_not_improve_the_score() -> None:
    estimates = noise(TRUTH, 0.003)
    refused = estimates.copy()
    refused[:10] = np.nan
    assert report(unlabelled=refused).score > report(unlabelled=estimates).score


def test_score_tells_good_from_better_within_the_labelled_ranges() -> None:
    good, better = (report(unlabelled=noise(TRUTH, size)).score for size in (0.0012, 0.0004))
    assert better < good - 0.1


def test_margin_covers_another_draw_of_the_same_noise_but_not_a_bias() -> None:
    first = report()
    again = report(noise(LABELS_AT, 0.003, seed=11), noise(TRUTH, 0.003, seed=12))
    assert 0 < first.margin <= 0.1 * first.score
    assert abs(first.score - again.score) < 2 * first.margin
    centre = TRUTH.mean(1, keepdims=True)
    biased = report(unlabelled=noise(centre + 0.9 * (TRUTH - centre), 0.003))
    assert biased.score > first.score + biased.margin


def test_score_is_in_millimetres_and_finite_without_any_estimate() -> None:
    assert 0 < report().score < 20
    nothing = report(np.full_like(LABELS_AT, np.nan), np.full_like(TRUTH, np.nan))
    assert np.isfinite(nothing.score)
    assert {finding.kind for finding in nothing.findings} == {LABELS}


def test_one_keypoint_alone_can_be_inspected() -> None:
    result = guards.inspect(["tip"], LABELS_AT[:, :1], LABELS_AT[:, :1], TRUTH[:, :1], None, PARAMS)
    assert result.findings == ()
    assert result.score == 0


def test_without_unlabelled_samples_the_labelled_ones_show_the_shape() -> None:
    centre = LABELS_AT.mean(1, keepdims=True)
    shrunken = centre + 0.6 * (LABELS_AT - centre)
    none = np.zeros((0, 4, 3))
    result = guards.inspect(NAMES, LABELS_AT, shrunken, none, None, PARAMS)
    assert (COLLAPSE, "head") in found(result)


def test_shapes_that_do_not_belong_together_are_named() -> None:
    with pytest.raises(ConfigurationError, match="unlabelled has shape"):
        guards.inspect(NAMES, LABELS_AT, LABELS_AT, TRUTH[:, :3], None, PARAMS)
    with pytest.raises(ConfigurationError, match="on_labels 9"):
        guards.inspect(NAMES, LABELS_AT, LABELS_AT[:9], TRUTH, None, PARAMS)
