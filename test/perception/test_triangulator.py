from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.rigs import make_rig
from support.synthetic_model import description

from s3k_ros.errors import ConfigurationError, DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.params.perception import TriangulationParameters
from s3k_ros.perception.description import DistanceDescription, SpaceConfidence
from s3k_ros.perception.detector import ViewKeypoints
from s3k_ros.perception.shape import Shape
from s3k_ros.perception.triangulator import (
    CommonMode,
    KeypointEstimate,
    KeypointTriangulator,
    Status,
)

NAMES = ("head", "tail")
POINTS = np.array([[0.62, 0.03, 0.08], [0.55, -0.04, 0.02]])


CORNERS = np.array([[0.55, -0.05, 0.02], [0.65, 0.02, 0.03], [0.58, 0.04, 0.12]])
RIGID = Shape.of(
    [
        DistanceDescription((i, j), float(np.linalg.norm(CORNERS[i] - CORNERS[j])), 1e-3)
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
)
# Where distances count, as after a calibration.
FITTED = SpaceConfidence(0.5, 0.45, 2.2, 0.3)
ELSEWHERE = POINTS + np.array([0.0, 0.2, 0.1])


def make_views(
    cameras: list[Camera], points: np.ndarray = POINTS, noise_px: float = 0.0, seed: int = 0
) -> list[ViewKeypoints | None]:
    """Perfect or noisy views of confidence 0.9 and error variance 1 px^2."""
    rng = np.random.default_rng(seed)
    count = len(points)
    return [
        ViewKeypoints(
            camera.project(points) + noise_px * rng.normal(size=(count, 2)),
            np.broadcast_to(np.eye(2), (count, 2, 2)).copy(),
            np.full(count, 0.9),
        )
        for camera in cameras
    ]


def changed(
    views: list[ViewKeypoints | None],
    view: int,
    keypoint: int,
    shift: tuple[float, float] = (0.0, 0.0),
    confidence: float = 0.9,
) -> list[ViewKeypoints | None]:
    old = views[view]
    assert old is not None
    pixels, confidences = old.pixels.copy(), old.confidences.copy()
    pixels[keypoint] += shift
    confidences[keypoint] = confidence
    result = list(views)
    result[view] = ViewKeypoints(pixels, old.covariances, confidences)
    return result


def assert_refused(estimate: KeypointEstimate, status: Status) -> None:
    assert estimate.status == status
    assert np.isnan(estimate.position).all()
    assert np.isnan(estimate.covariance).all()
    assert np.isnan(estimate.reprojection_error)


def test_perfect_views_give_the_positions() -> None:
    cameras = make_rig("plumb_bob")
    estimates = KeypointTriangulator(NAMES).estimate(cameras, make_views(cameras))
    for estimate, name, point in zip(estimates, NAMES, POINTS, strict=True):
        assert estimate.name == name
        assert estimate.status == Status.OK
        assert np.allclose(estimate.position, point, atol=1e-8)
        assert estimate.views_used == 0b1111
        assert estimate.confidence > 0.9
        assert estimate.reprojection_error < 1e-4


@pytest.mark.parametrize("missing", [[0], [1, 2], [0, 3]])
def test_missing_views_still_give_the_positions(missing: list[int]) -> None:
    cameras = make_rig()
    views = [None if i in missing else view for i, view in enumerate(make_views(cameras))]
    for estimate, point in zip(
        KeypointTriangulator(NAMES).estimate(cameras, views), POINTS, strict=True
    ):
        assert estimate.status == Status.OK
        assert np.allclose(estimate.position, point, atol=1e-8)
        assert estimate.views_used == sum(1 << i for i in range(4) if i not in missing)


@pytest.mark.parametrize("left", [0, 1])
def test_fewer_than_two_views_are_too_few(left: int) -> None:
    cameras = make_rig()
    views = [view if i < left else None for i, view in enumerate(make_views(cameras))]
    for estimate in KeypointTriangulator(NAMES).estimate(cameras, views):
        assert_refused(estimate, Status.TOO_FEW_VIEWS)
        assert estimate.confidence == 0.0
        assert estimate.views_used == 0


def test_same_camera_twice_is_one_view() -> None:
    camera = make_rig()[0]
    views = make_views([camera, camera])
    for estimate in KeypointTriangulator(NAMES).estimate([camera, camera], views):
        assert_refused(estimate, Status.TOO_FEW_VIEWS)


def test_unsure_view_is_left_out() -> None:
    cameras = make_rig()
    views = changed(make_views(cameras), 2, 0, (80.0, 0.0), confidence=0.05)
    head, tail = KeypointTriangulator(NAMES).estimate(cameras, views)
    assert head.views_used == 0b1011
    assert np.allclose(head.position, POINTS[0], atol=1e-8)
    assert tail.views_used == 0b1111


def test_only_unsure_views_are_low_confidence() -> None:
    cameras = make_rig()
    views = make_views(cameras)
    for i in range(4):
        views = changed(views, i, 0, confidence=0.03)
    head, tail = KeypointTriangulator(NAMES).estimate(cameras, views)
    assert_refused(head, Status.LOW_CONFIDENCE)
    assert tail.status == Status.OK


def test_views_that_are_hardly_sure_and_meet_badly_are_low_confidence() -> None:
    cameras = make_rig()[:2]
    views = changed(make_views(cameras), 0, 0, (0.0, 12.0), confidence=0.15)
    views = changed(views, 1, 0, confidence=0.15)
    head, tail = KeypointTriangulator(NAMES).estimate(cameras, views)
    assert_refused(head, Status.LOW_CONFIDENCE)
    assert head.confidence < 0.5
    assert tail.status == Status.OK


def test_unsure_views_that_agree_make_a_sure_keypoint() -> None:
    cameras = make_rig()
    views = make_views(cameras, noise_px=1.0)
    for i in range(4):
        views = changed(views, i, 0, confidence=0.2)
    head = KeypointTriangulator(NAMES).estimate(cameras, views)[0]
    assert head.status == Status.OK
    assert head.confidence > 0.9


@pytest.mark.parametrize("liar", range(4))
@pytest.mark.parametrize("shift", [(30.0, 0.0), (0.0, -30.0), (25.0, 25.0)])
def test_one_lying_view_of_four_is_dropped(liar: int, shift: tuple[float, float]) -> None:
    cameras = make_rig("plumb_bob")
    views = changed(make_views(cameras), liar, 0, shift)
    head, tail = KeypointTriangulator(NAMES).estimate(cameras, views)
    assert head.status == Status.OK
    assert head.views_used == 0b1111 & ~(1 << liar)
    # As a near miss the liar keeps a hundredth of a view's weight: half a millimetre.
    assert np.linalg.norm(head.position - POINTS[0]) < 5e-4
    assert tail.views_used == 0b1111


def test_two_views_that_contradict_two_others_are_inconsistent() -> None:
    cameras = make_rig()
    truth, elsewhere = make_views(cameras), make_views(cameras, ELSEWHERE)
    views = [*truth[:2], *elsewhere[2:]]
    for estimate in KeypointTriangulator(NAMES).estimate(cameras, views):
        assert_refused(estimate, Status.INCONSISTENT)
        assert 0.1 < estimate.confidence < 0.5
        assert estimate.views_used == 0b1111


def test_surer_views_win_against_as_many_unsure_ones() -> None:
    cameras = make_rig()
    truth, elsewhere = make_views(cameras), make_views(cameras, ELSEWHERE)
    views = [*truth[:2], *elsewhere[2:]]
    for i in (2, 3):
        views = changed(views, i, 0, confidence=0.2)
    head, tail = KeypointTriangulator(NAMES).estimate(cameras, views)
    assert head.status == Status.OK
    assert head.views_used == 0b0011
    assert np.linalg.norm(head.position - POINTS[0]) < 2e-3
    assert head.confidence < 0.99
    assert tail.status == Status.INCONSISTENT


def test_views_that_meet_nowhere_are_inconsistent() -> None:
    cameras = make_rig()[:2]
    views = changed(make_views(cameras), 0, 0, (0.0, 60.0))
    head, tail = KeypointTriangulator(NAMES).estimate(cameras, views)
    assert_refused(head, Status.INCONSISTENT)
    assert head.views_used == 0b11
    assert tail.status == Status.OK


@pytest.mark.parametrize(
    ("count", "outliers", "missing", "valid"),
    [
        (2, 0, 0, 0.999), (3, 0, 0, 0.999), (3, 1, 0, 0.92), (4, 0, 0, 0.999), (4, 0, 2, 0.999),
        (4, 1, 0, 0.98), (4, 1, 1, 0.92), (5, 1, 0, 0.98), (5, 1, 1, 0.98), (5, 2, 0, 0.95),
        (6, 1, 0, 0.98), (7, 1, 0, 0.98), (8, 1, 0, 0.98), (8, 1, 3, 0.98), (8, 3, 0, 0.95),
    ],
)  # fmt: skip
def test_regions_hold_the_truth_as_often_as_they_claim(
    count: int, outliers: int, missing: int, valid: float
) -> None:
    cameras = make_rig("rational_polynomial", count)
    keypoints = 2000
    rng = np.random.default_rng(3)
    points = np.array([0.6, 0.0, 0.05]) + rng.uniform(-0.1, 0.1, (keypoints, 3))
    params = TriangulationParameters(calibration_error_px=0.0)
    views = make_views(cameras, points, noise_px=1.0)
    order = rng.permuted(np.tile(np.arange(count), (keypoints, 1)), axis=1).T
    for view, place in zip(views, order, strict=True):
        assert view is not None
        lies = place < outliers
        view.pixels[lies] += rng.uniform(-120, 120, (int(lies.sum()), 2))
        view.pixels[(place >= outliers) & (place < outliers + missing)] = np.nan
    triangulator = KeypointTriangulator([str(i) for i in range(keypoints)], params)
    estimates = triangulator.estimate(cameras, views)
    good = [i for i, estimate in enumerate(estimates) if estimate.status == Status.OK]
    error = np.array([estimates[i].position - points[i] for i in good])
    covariance = np.array([estimates[i].covariance for i in good])
    squared = np.einsum("ni,nij,nj->n", error, np.linalg.inv(covariance), error)
    assert len(good) > valid * keypoints
    assert np.mean(np.linalg.norm(error, axis=1) > 0.03) < 0.01
    # 95 % of chi-square with 3 degrees of freedom.
    assert 0.93 < np.mean(squared < 7.815) < 0.97
    refused = [estimate.status for estimate in estimates if estimate.status != Status.OK]
    assert all(status == Status.INCONSISTENT for status in refused)


def test_keypoints_of_one_set_do_not_change_each_other() -> None:
    cameras = make_rig("plumb_bob", 5)
    points = POINTS[0] + np.random.default_rng(1).uniform(-0.1, 0.1, (9, 3))
    views = changed(make_views(cameras, points, noise_px=1.0), 2, 4, (60.0, -40.0))
    names = [str(i) for i in range(len(points))]
    together = KeypointTriangulator(names).estimate(cameras, views)
    for k, name in enumerate(names):
        own = [
            ViewKeypoints(view.pixels[[k]], view.covariances[[k]], view.confidences[[k]])
            for view in views
            if view is not None
        ]
        (alone,) = KeypointTriangulator([name]).estimate(cameras, own)
        assert alone.status == together[k].status
        assert alone.views_used == together[k].views_used
        # Gauss-Newton goes on until the last keypoint has arrived.
        assert np.allclose(alone.position, together[k].position, atol=1e-6)
        assert np.allclose(alone.covariance, together[k].covariance, rtol=1e-3)
        assert alone.confidence == pytest.approx(together[k].confidence, abs=1e-4)


def test_calibration_error_and_common_mode_widen_the_covariance() -> None:
    cameras = make_rig()
    views = make_views(cameras)
    none = TriangulationParameters(calibration_error_px=0.0)
    plain = KeypointTriangulator(NAMES, none).estimate(cameras, views)[0].covariance
    pixels = TriangulationParameters(calibration_error_px=1.0)  # doubles the variance of 1 px^2
    assert np.allclose(
        KeypointTriangulator(NAMES, pixels).estimate(cameras, views)[0].covariance, 2.0 * plain
    )
    metres = TriangulationParameters(calibration_error_px=0.0, calibration_error_m=0.003)
    shared = np.broadcast_to(np.diag([1e-6, 2e-6, 3e-6]), (2, 3, 3))
    constant = CommonMode.constant(shared)
    both = KeypointTriangulator(NAMES, metres, constant).estimate(cameras, views)[0].covariance
    assert np.allclose(both, plain + 9e-6 * np.eye(3) + shared[0])


def test_common_mode_grows_where_the_views_are_unsure() -> None:
    cameras, views = make_rig(), make_views(make_rig())
    none = TriangulationParameters(calibration_error_px=0.0)
    sure = [e.covariance for e in KeypointTriangulator(NAMES, none).estimate(cameras, views)]
    shared = np.broadcast_to(1e-6 * np.eye(3), (2, 3, 3))
    common = CommonMode(shared, np.trace(sure, axis1=1, axis2=2), growth=1.5)
    triangulator = KeypointTriangulator(NAMES, none, common)
    average = triangulator.estimate(cameras, views)[0].covariance
    assert np.allclose(average, sure[0] + shared[0], rtol=1e-3)
    wide = [dataclasses.replace(view, covariances=4.0 * view.covariances) for view in views]
    hard = triangulator.estimate(cameras, wide)[0].covariance
    # Near misses count a little more beside wide errors.
    assert np.allclose(hard, 4.0 * sure[0] + 8.0 * shared[0], rtol=0.01)


def test_growth_of_the_common_mode_is_bounded() -> None:
    common = CommonMode(np.ones((1, 1, 1)) * np.eye(3), np.array([3.0]), growth=1.0)
    assert common.factors(1e6 * np.eye(3)[np.newaxis]) == pytest.approx(10.0)
    assert common.factors(1e-6 * np.eye(3)[np.newaxis]) == pytest.approx(0.1)
    assert np.isnan(common.of(np.full((1, 3, 3), np.nan))).all()


def test_description_brings_names_and_common_mode() -> None:
    triangulator = KeypointTriangulator.from_description(description())
    assert triangulator.names == description().keypoints


def test_agreement_raises_and_disagreement_lowers_the_confidence() -> None:
    cameras = make_rig()
    triangulator = KeypointTriangulator(NAMES)
    two = triangulator.estimate(cameras[:2], make_views(cameras[:2]))[0].confidence
    four = triangulator.estimate(cameras, make_views(cameras))[0].confidence
    bent = triangulator.estimate(cameras, changed(make_views(cameras), 0, 0, (15.0, 0.0)))[0]
    assert 0.8 < two < four < 1.0
    assert bent.status == Status.OK
    assert bent.confidence < four


def test_known_distances_tell_which_of_two_pairs_of_views_is_right() -> None:
    cameras = make_rig()
    views = make_views(cameras)
    for i in (2, 3):
        away = cameras[i].project(ELSEWHERE[0]) - cameras[i].project(POINTS[0])
        views = changed(views, i, 0, (float(away[0]), float(away[1])))
    assert_refused(KeypointTriangulator(NAMES).estimate(cameras, views)[0], Status.INCONSISTENT)
    length = float(np.linalg.norm(POINTS[0] - POINTS[1]))
    shape = Shape.of([DistanceDescription((0, 1), length, 1e-3)])
    head, tail = KeypointTriangulator(NAMES, shape=shape).estimate(cameras, views)
    assert head.status == tail.status == Status.OK
    assert head.views_used == 0b0011
    assert np.linalg.norm(head.position - POINTS[0]) < 1e-3


def corners(cameras: list[Camera], seeing: set[int]) -> list[ViewKeypoints | None]:
    """Views of three keypoints, the last of which only some views show; others are lost."""
    views = make_views(cameras, CORNERS, noise_px=0.5)
    for i in range(len(cameras)):
        if i not in seeing:
            views = changed(views, i, 2, (90.0 - 60.0 * i, 70.0 * (-1) ** i), confidence=0.1)
    return views


@pytest.mark.parametrize("seeing", range(4))
def test_one_view_and_two_distances_give_a_position(seeing: int) -> None:
    cameras = make_rig("plumb_bob")
    views = corners(cameras, {seeing})
    names = ("a", "b", "c")
    alone = KeypointTriangulator(names).estimate(cameras, views)[2]
    assert alone.status != Status.OK
    triangulator = KeypointTriangulator(names, space=FITTED, shape=RIGID)
    found = triangulator.estimate(cameras, views)[2]
    assert found.status == Status.OK
    assert found.views_used == 1 << seeing
    error = found.position - CORNERS[2]
    assert np.linalg.norm(error) < 0.01
    # 99.9 % of chi-square with 3 degrees of freedom.
    assert error @ np.linalg.solve(found.covariance, error) < 16.3
    seen_by_all = triangulator.estimate(cameras, corners(cameras, {0, 1, 2, 3}))[2]
    assert found.confidence < seen_by_all.confidence


def test_one_view_that_does_not_fit_the_distances_is_refused() -> None:
    cameras = make_rig()
    views = changed(corners(cameras, {1}), 1, 2, (45.0, 60.0))
    triangulator = KeypointTriangulator(("a", "b", "c"), space=FITTED, shape=RIGID)
    a, b, c = triangulator.estimate(cameras, views)
    assert a.status == b.status == Status.OK
    assert c.status != Status.OK


def test_two_lost_keypoints_of_three_are_refused() -> None:
    cameras = make_rig()
    views = corners(cameras, {1})
    for i in (0, 2, 3):
        views = changed(views, i, 1, (-80.0 + 60.0 * i, 75.0), confidence=0.1)
    estimates = KeypointTriangulator(("a", "b", "c"), space=FITTED, shape=RIGID).estimate(
        cameras, views
    )
    assert [e.status == Status.OK for e in estimates] == [True, False, False]


def test_known_distances_narrow_the_covariance_and_stay_honest() -> None:
    cameras = make_rig("plumb_bob")
    length = float(np.linalg.norm(POINTS[0] - POINTS[1]))
    shape = Shape.of([DistanceDescription((0, 1), length, 3e-4)])
    none = TriangulationParameters(calibration_error_px=0.0)
    squared, plain, narrow = [], [], []
    for seed in range(300):
        views = make_views(cameras, noise_px=1.0, seed=seed)
        plain += KeypointTriangulator(NAMES, none).estimate(cameras, views)
        found = KeypointTriangulator(NAMES, none, shape=shape).estimate(cameras, views)
        narrow += found
        for estimate, point in zip(found, POINTS, strict=True):
            error = estimate.position - point
            squared.append(error @ np.linalg.solve(estimate.covariance, error))
    sizes = [np.mean([np.trace(e.covariance) for e in those]) for those in (plain, narrow)]
    # Of three directions one is known better.
    assert sizes[1] < 0.93 * sizes[0]
    # 95 % of chi-square with 3 degrees of freedom; standard error 0.9 % of 600.
    assert 0.92 < np.mean(np.array(squared) < 7.815) < 0.98


def test_a_keypoint_whose_distances_do_not_fit_is_less_believed() -> None:
    cameras = make_rig()
    length = float(np.linalg.norm(POINTS[0] - POINTS[1]))
    views = make_views(cameras)
    found = [
        KeypointTriangulator(
            NAMES, space=FITTED, shape=Shape.of([DistanceDescription((0, 1), stated, 1e-3)])
        ).estimate(cameras, views)[0]
        for stated in (length, length + 0.05)
    ]
    assert found[1].confidence < found[0].confidence
    # Views that all agree win: the toy may bend as never seen before.
    assert np.linalg.norm(found[1].position - POINTS[0]) < 1e-3


def test_misfitting_inputs_are_refused() -> None:
    cameras = make_rig()
    views = make_views(cameras)
    with pytest.raises(DataError, match="cameras"):
        KeypointTriangulator(NAMES).estimate(cameras[:3], views)
    with pytest.raises(DataError, match="keypoints"):
        KeypointTriangulator(("a", "b", "c")).estimate(cameras, views)
    with pytest.raises(DataError, match="common_mode"):
        KeypointTriangulator(NAMES, common_mode=CommonMode.constant(np.zeros((3, 3, 3))))
    with pytest.raises(DataError, match="references"):
        CommonMode(np.zeros((3, 3, 3)), np.ones(2))


@pytest.mark.parametrize(
    "values",
    [{"min_confidence": 1.5}, {"calibration_error_px": np.nan}, {"min_view_confidence": -1.0}],
)
def test_parameters_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(values))):
        TriangulationParameters.from_mapping(values)
