from __future__ import annotations

import numpy as np
import pytest
from support.rigs import make_rig

from s3k_ros.errors import DataError
from s3k_ros.geometry.camera import Camera
from s3k_ros.perception.detector import ViewPeaks
from s3k_ros.perception.hypotheses import choose_peaks
from s3k_ros.perception.regions import Region
from s3k_ros.perception.triangulator import KeypointTriangulator, Status

LEFT, RIGHT = np.array([0.62, 0.06, 0.03]), np.array([0.64, -0.05, 0.03])
AWAY, ELSEWHERE = np.array([0.1, 0.1, 0.0]), np.array([0.0, 0.15, 0.1])


def make_view(camera: Camera, points: list[np.ndarray], masses: list[float]) -> ViewPeaks:
    """One keypoint, the candidates at the points' projections, strongest first."""
    order = np.argsort(masses)[::-1]
    pixels = camera.project(np.array(points)[order])[np.newaxis]
    count = len(points)
    return ViewPeaks(
        pixels=pixels,
        covariances=np.broadcast_to(np.eye(2), (1, count, 2, 2)).copy(),
        confidences=np.full((1, count), 0.9),
        masses=np.array(masses)[order][np.newaxis],
        weights=np.ones(1),
        features=np.zeros((1, count, 3)),
        excess=np.zeros((1, count, 2, 2)),
        region=Region.whole(640, 480),
    )


def assert_position(views: list[ViewPeaks | None], expected: np.ndarray) -> None:
    cameras = make_rig("plumb_bob")
    chosen = choose_peaks(cameras, views)
    estimate = KeypointTriangulator(["paw"]).estimate(cameras, chosen)[0]
    assert estimate.status == Status.OK
    assert np.allclose(estimate.position, expected, atol=1e-6)


@pytest.mark.parametrize("confused", [[0], [0, 1], [1, 3]])
def test_views_that_confuse_left_and_right_follow_the_surer_ones(confused: list[int]) -> None:
    cameras = make_rig("plumb_bob")
    views: list[ViewPeaks | None] = [
        make_view(camera, [LEFT, RIGHT], [0.55, 0.4] if i in confused else [0.1, 0.8])
        for i, camera in enumerate(cameras)
    ]
    assert_position(views, RIGHT)


def test_peaks_that_agree_stay_as_they_are() -> None:
    cameras = make_rig("plumb_bob")
    views: list[ViewPeaks | None] = [
        make_view(camera, [RIGHT, LEFT, RIGHT + 0.1], [0.6, 0.3, 0.05]) for camera in cameras
    ]
    assert_position(views, RIGHT)


def test_view_without_a_fitting_peak_keeps_its_strongest() -> None:
    cameras = make_rig("plumb_bob")
    views: list[ViewPeaks | None] = [
        make_view(camera, [RIGHT, LEFT], [0.6, 0.3]) for camera in cameras
    ]
    stray = make_view(cameras[2], [RIGHT + AWAY, RIGHT + ELSEWHERE], [0.3, 0.6])
    views[2] = stray
    chosen = choose_peaks(cameras, views)[2]
    assert chosen is not None
    assert np.array_equal(chosen.pixels[0], stray.pixels[0, 0])
    assert_position(views, RIGHT)  # the triangulator drops that view


def test_missing_views_and_missing_peaks_are_left_out() -> None:
    cameras = make_rig("plumb_bob")
    views: list[ViewPeaks | None] = [
        make_view(camera, [LEFT, RIGHT], [0.5, 0.4] if i == 1 else [0.1, 0.8])
        for i, camera in enumerate(cameras)
    ]
    views[0] = None
    last = views[3]
    assert last is not None
    last.pixels[0, 1] = np.nan
    last.masses[0, 1] = np.nan
    assert_position(views, RIGHT)


def test_single_view_keeps_its_strongest_peaks() -> None:
    cameras = make_rig()
    view = make_view(cameras[0], [LEFT, RIGHT], [0.7, 0.2])
    chosen = choose_peaks(cameras, [view, None, None, None])
    assert chosen[1:] == [None, None, None]
    assert chosen[0] is not None
    assert np.array_equal(chosen[0].pixels[0], view.pixels[0, 0])


def test_misfitting_views_are_refused() -> None:
    with pytest.raises(DataError, match="cameras"):
        choose_peaks(make_rig(), [None])
